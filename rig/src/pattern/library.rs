//! Patterns with names, to be used in other patterns.

use std::fmt;
use std::sync::{Arc, LazyLock};

use indexmap::IndexMap;

use super::cursor::Cursor;
use super::definitions::{Raw, in_order};
use super::error::PatternError;
use super::file::PatternFile;
use super::item::{Item, Test};
use super::parse::{Parser, Tree};
use super::program::Program;

/// The most definitions of a file.
pub const MAX_DEFINITIONS: usize = 256;

/// The text of the library that every pattern can use, in the syntax of pattern files.
pub const LIBRARY_TEXT: &str = include_str!("library.pattern");

static BUILTIN: LazyLock<Library> = LazyLock::new(|| {
    // The text is part of the program; a unit test reads every definition.
    PatternFile::parse(LIBRARY_TEXT, &Library::default())
        .map(|file| file.library)
        .unwrap_or_default()
});

/// Patterns by name, each complete: what it names is written out already.
#[derive(Debug, Clone, Default)]
pub struct Library {
    /// In the order in which messages list them.
    definitions: IndexMap<String, Arc<Definition>>,
}

/// A pattern with a name.
pub(super) struct Definition {
    /// As written.
    pub(super) body: String,
    pub(super) tree: Tree,
    pub(super) items: Vec<Item>,
    /// How deep its groups nest.
    pub(super) depth: usize,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.body)
    }
}

impl Library {
    /// The patterns that come with `rig`; `rig patterns` prints them.
    #[must_use]
    pub fn builtin() -> &'static Self {
        &BUILTIN
    }

    /// The names, with their arguments.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.definitions.keys().map(String::as_str)
    }

    /// What a name stands for, as it was written.
    #[must_use]
    pub fn body(&self, name: &str) -> Option<&str> {
        self.definitions.get(name).map(|found| found.body.as_str())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Definition> {
        self.definitions.get(name).map(Arc::as_ref)
    }

    /// These patterns and further ones, each a name and its text. They may name each other and go
    /// before patterns of the same name that are here already.
    ///
    /// Also gives what is wrong with those that could not be read, by their positions. Their names
    /// are known all the same, so that what names them is not told to be wrong too.
    #[must_use]
    pub fn with(&self, texts: &[(&str, &str)]) -> (Self, Vec<(usize, DefinitionError)>) {
        let mut errors = Vec::new();
        let mut raws = Vec::new();
        for (index, (name, text)) in texts.iter().enumerate() {
            match Raw::named(name, text) {
                Ok(raw) => raws.push((index, raw)),
                Err(error) => errors.push((index, DefinitionError::Name(error))),
            }
        }
        let (indices, raws): (Vec<_>, Vec<_>) = raws.into_iter().unzip();
        let (library, wrong) = self.extended(&raws);
        let wrong = wrong.into_iter();
        errors.extend(wrong.map(|(at, error)| (indices[at], DefinitionError::Text(error))));
        (library, errors)
    }

    /// These patterns and those of `raws`, and what is wrong with some of them.
    pub(super) fn extended(&self, raws: &[Raw<'_>]) -> (Self, Vec<(usize, PatternError)>) {
        let mut library = self.clone();
        let (order, mut errors) = in_order(raws, self);
        let mut right = vec![false; raws.len()];
        for index in order {
            let raw = &raws[index];
            match raw.read(&library) {
                Ok(definition) => {
                    library.insert(raw, definition);
                    right[index] = true;
                }
                Err(error) => {
                    library.insert(raw, Definition::stand_in());
                    errors.push((index, error));
                }
            }
        }
        for (raw, right) in raws.iter().zip(right) {
            if !right {
                library.insert(raw, Definition::stand_in());
            }
        }
        (library, errors)
    }

    fn insert(&mut self, raw: &Raw<'_>, definition: Definition) {
        let definition = Arc::new(definition);
        self.definitions.insert(raw.name.clone(), definition);
    }
}

impl Definition {
    /// In the place of one that is wrong: what names it is not wrong for that.
    fn stand_in() -> Self {
        let test = Test::Filler;
        let body = "...".to_owned();
        Self {
            items: vec![Item {
                test,
                text: body.clone(),
            }],
            body,
            tree: Tree::Item(0),
            depth: 0,
        }
    }
}

/// What is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefinitionError {
    /// Its name; offsets are those of the name.
    Name(PatternError),
    /// Its text; offsets are those of the text.
    Text(PatternError),
}

impl Raw<'_> {
    /// Reads the body with every name written out.
    fn read(&self, library: &Library) -> Result<Definition, PatternError> {
        let mut parser = Parser::new(
            Cursor::starting_at(self.text, self.body.start),
            Some(library),
        );
        let tree = parser.sequence(0)?;
        let parsed = parser.finish(tree);
        // Compiled for its size alone, so that one which is too large is told where it stands.
        Program::compile(&parsed.tree, &parsed.items, self.body.clone())?;
        Ok(Definition {
            body: self.text[self.body.clone()].trim().to_owned(),
            tree: parsed.tree,
            items: parsed.items,
            depth: parsed.depth,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pattern;
    use super::*;

    #[test]
    fn the_library_is_read_and_explained() {
        let file = PatternFile::parse(LIBRARY_TEXT, &Library::default()).unwrap();
        assert_eq!(file.definitions.len(), Library::builtin().names().count());
        for definition in &file.definitions {
            let name = &definition.name;
            assert!(Pattern::parse(name).is_ok(), "{name}");
            let clauses = ["(3.", "(RFC 8684, 3."];
            let clause = clauses
                .iter()
                .any(|clause| definition.comment.contains(clause));
            assert!(
                clause,
                "{name} has no clause of its RFC: {}",
                definition.comment
            );
        }
    }

    #[test]
    fn definitions_of_texts_are_told_apart_from_their_names() {
        let library = Library::builtin();
        let own = library
            .with(&[("refused", "> SYN < RST  # ours"), ("says(bye)", "refused")])
            .0;
        assert_eq!(own.body("refused"), Some("> SYN < RST"));
        assert_ne!(library.body("refused"), own.body("refused"));
        let errors = library
            .with(&[
                ("Loud", "> SYN"),
                ("a", "> SYN b = > FIN"),
                ("b", "> FINN"),
                ("c", "b"),
                ("two words", "> SYN"),
            ])
            .1;
        let shown: Vec<_> = errors
            .iter()
            .map(|(at, error)| match error {
                DefinitionError::Name(error) => format!("name {at} {error}"),
                DefinitionError::Text(error) => format!("text {at} {error}"),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "name 0 `Loud` is not a name of a pattern",
                "name 4 `two words` is not a name of a pattern",
                "text 1 `b` is defined within a pattern",
                "text 2 `FINN` is not an event",
            ]
        );
    }
}
