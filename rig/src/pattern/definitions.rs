//! Definitions before what they name is known: in which order they can be read.

use std::ops::Range;

use indexmap::IndexMap;

use super::cursor::Cursor;
use super::error::{PatternError, quoted};
use super::library::{Library, MAX_DEFINITIONS};
use super::parse::{Parser, check_length};
use super::reference::{Reference, name, unknown};

/// The most names that the message about a circle lists.
const MAX_CIRCLE_SHOWN: usize = 8;

/// A definition as written.
#[derive(Debug, Clone)]
pub(super) struct Raw<'a> {
    /// With its argument.
    pub(super) name: String,
    /// Where the name stands in `text`; empty where it stands elsewhere.
    pub(super) name_range: Range<usize>,
    /// The text that the body is a part of.
    pub(super) text: &'a str,
    /// Up to the end of its last item.
    pub(super) body: Range<usize>,
    /// What it names.
    references: Vec<Reference>,
    /// What is wrong with it, whatever the names mean.
    wrong: Option<PatternError>,
}

impl<'a> Raw<'a> {
    /// A definition whose name stands elsewhere.
    pub(super) fn named(written: &str, text: &'a str) -> Result<Self, PatternError> {
        let mut cursor = Cursor::new(written);
        let found = name(&mut cursor)?;
        if !cursor.rest().is_empty() {
            return Err(cursor
                .error_here(format!("{} is not a name of a pattern", quoted(written)))
                .hint("write `name` or `name(argument)`"));
        }
        let mut raw = Self {
            name: found.name,
            name_range: 0..0,
            text,
            body: 0..text.len(),
            references: Vec::new(),
            wrong: None,
        };
        raw.wrong = check_length(text, text.len(), 0)
            .and_then(|()| raw.look_through())
            .err();
        Ok(raw)
    }

    /// A definition within a file, whose body begins at `start`; also gives where the body ends.
    pub(super) fn within(
        text: &'a str,
        head: Reference,
        start: usize,
    ) -> Result<(Self, usize), PatternError> {
        let mut parser = Parser::new(Cursor::starting_at(text, start), None);
        parser.sequence(0)?;
        if parser.definition_ahead().is_none() {
            parser.at_end()?;
        }
        let end = parser.cursor.at();
        check_length(text, end, start)?;
        let raw = Self {
            name: head.name,
            name_range: head.at..head.at + head.len,
            text,
            body: start..parser.items_end,
            references: parser.references,
            wrong: None,
        };
        Ok((raw, end))
    }

    /// An error about its name.
    fn error(&self, message: String) -> PatternError {
        PatternError::new(message, self.name_range.start, self.name_range.len())
    }

    /// Finds the names in a body that is a text of its own.
    fn look_through(&mut self) -> Result<(), PatternError> {
        let mut parser = Parser::new(Cursor::new(self.text), None);
        parser.only_pattern()?;
        self.body.end = parser.items_end;
        self.references = parser.references;
        Ok(())
    }
}

/// An order in which each definition comes after those that it names, and what keeps the others
/// from having a place in it.
pub(super) fn in_order(
    raws: &[Raw<'_>],
    library: &Library,
) -> (Vec<usize>, Vec<(usize, PatternError)>) {
    let mut known = Known::default();
    let mut errors = known.collect(raws);
    let mut waiting: Vec<usize> = Vec::new();
    for &index in known.by_name.values() {
        match raws[index].problem(&known, library) {
            Some(error) => errors.push((index, error)),
            None => waiting.push(index),
        }
    }
    waiting.sort_unstable();
    let order = known.sorted(raws, waiting, &mut errors);
    errors.sort_by_key(|(index, error)| (*index, error.offset_bytes));
    (order, errors)
}

impl Raw<'_> {
    /// What is wrong with it by itself.
    fn problem(&self, known: &Known<'_>, library: &Library) -> Option<PatternError> {
        if self.wrong.is_some() {
            return self.wrong.clone();
        }
        let missing = self.references.iter().find(|reference| {
            known.index_of(reference).is_none() && library.get(&reference.name).is_none()
        })?;
        let names: Vec<&str> = known
            .by_name
            .keys()
            .copied()
            .chain(library.names())
            .collect();
        Some(unknown(&names, missing))
    }
}

/// The definitions by their names.
#[derive(Default)]
struct Known<'a> {
    by_name: IndexMap<&'a str, usize>,
}

impl<'a> Known<'a> {
    fn index_of(&self, reference: &Reference) -> Option<usize> {
        self.by_name.get(reference.name.as_str()).copied()
    }

    /// Takes the definitions in; gives what is wrong with those that are one too many.
    fn collect(&mut self, raws: &'a [Raw<'_>]) -> Vec<(usize, PatternError)> {
        let mut errors = Vec::new();
        for (index, raw) in raws.iter().enumerate() {
            if index >= MAX_DEFINITIONS {
                let message = format!("more than {MAX_DEFINITIONS} patterns are defined");
                errors.push((index, raw.error(message)));
                break;
            }
            if self.by_name.contains_key(raw.name.as_str()) {
                let message = format!("{} is defined twice", quoted(&raw.name));
                errors.push((index, raw.error(message)));
            } else {
                self.by_name.insert(&raw.name, index);
            }
        }
        errors
    }

    /// Puts `waiting` in order. What names one that is wrong is left out: it is told there.
    fn sorted(
        &self,
        raws: &[Raw<'_>],
        mut waiting: Vec<usize>,
        errors: &mut Vec<(usize, PatternError)>,
    ) -> Vec<usize> {
        let mut order = Vec::new();
        let mut placed = vec![false; raws.len()];
        let mut given_up = vec![true; raws.len()];
        for &index in &waiting {
            given_up[index] = false;
        }
        // Each round places or gives up one definition at least, so they are no more than these.
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain(|&index| {
                let references = raws[index].references.iter();
                let mut needed = references.filter_map(|reference| self.index_of(reference));
                if needed.clone().any(|other| given_up[other]) {
                    given_up[index] = true;
                } else if needed.all(|other| placed[other]) {
                    placed[index] = true;
                    order.push(index);
                } else {
                    return true;
                }
                false
            });
            if waiting.len() == before {
                let (index, error) = self.circle(raws, waiting[0], &placed);
                errors.push((index, error));
                given_up[index] = true;
                waiting.retain(|&other| other != index);
            }
        }
        order
    }

    /// The error for definitions that name each other in a circle, to which the way from `first`
    /// leads: each that is not placed names another one that is not.
    fn circle(&self, raws: &[Raw<'_>], first: usize, placed: &[bool]) -> (usize, PatternError) {
        let next = |index: usize| {
            raws[index].references.iter().find_map(|reference| {
                let other = self.index_of(reference).filter(|&other| !placed[other])?;
                Some((reference, other))
            })
        };
        let mut way = vec![first];
        let mut last = first;
        while let Some((reference, other)) = next(last) {
            if let Some(start) = way.iter().position(|&index| index == other) {
                let circle = way[start..].iter();
                let mut names: Vec<_> = circle.map(|&index| raws[index].name.as_str()).collect();
                if names.len() > MAX_CIRCLE_SHOWN {
                    names.truncate(MAX_CIRCLE_SHOWN);
                    names.push("…");
                }
                names.push(&raws[other].name);
                let message = format!("the pattern is made of itself: {}", names.join(" names "));
                return (
                    last,
                    PatternError::new(message, reference.at, reference.len),
                );
            }
            way.push(other);
            last = other;
        }
        (
            last,
            raws[last].error("the pattern names what cannot be read".to_owned()),
        )
    }
}
