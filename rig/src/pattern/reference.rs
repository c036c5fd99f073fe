//! Names of patterns within patterns: `handshake`, `reset-by(initiator)`.

use super::cursor::Cursor;
use super::error::{PatternError, near_name, quoted};
use super::item::Test;
use super::library::Library;
use super::parse::{MAX_DEPTH, Parser, Tree, near_event};
use super::program::MAX_INSTRUCTIONS;

/// The longest name of a pattern with its argument, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// The most names that a hint lists.
const MAX_NAMES_LISTED: usize = 12;

/// A name in a pattern's text.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    /// With its argument: `reset-by(initiator)`.
    pub(super) name: String,
    /// Offset of its first byte.
    pub(super) at: usize,
    /// Its length in bytes.
    pub(super) len: usize,
}

/// Reads a name with its argument: `word` or `word(word)`, the parenthesis right after the name.
pub(super) fn name(cursor: &mut Cursor<'_>) -> Result<Reference, PatternError> {
    let at = cursor.at();
    let word = cursor.take_name();
    check_word(cursor, at, word)?;
    let mut name = word.to_owned();
    let open = cursor.at();
    if cursor.eat("(") {
        cursor.skip_space();
        let argument_at = cursor.at();
        let argument = cursor.take_name();
        if !argument.is_empty() {
            check_word(cursor, argument_at, argument)?;
        }
        cursor.skip_space();
        if argument.is_empty() || !cursor.eat(")") {
            return Err(PatternError::new(
                format!("the argument of {} is a word and `)`", quoted(word)),
                open,
                1,
            )
            .hint(format!(
                "write `{0}(word)`, or `{0} (` with a space where a group follows",
                quoted(word).trim_matches('`')
            )));
        }
        name = format!("{word}({argument})");
    }
    let len = cursor.at() - at;
    if name.len() > MAX_NAME_BYTES {
        let message = format!("the name of a pattern has at most {MAX_NAME_BYTES} bytes");
        return Err(PatternError::new(message, at, len));
    }
    Ok(Reference { name, at, len })
}

fn check_word(cursor: &Cursor<'_>, at: usize, word: &str) -> Result<(), PatternError> {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(letters) {
        return Ok(());
    }
    let message = format!("{} is not a name of a pattern", quoted(word));
    let error = cursor.error_since(at, message);
    Err(match near_event(word) {
        Some(event) => error.hint(direction_hint(event)),
        None => {
            error.hint("such a name has lower-case letters, digits and single `-` between them")
        }
    })
}

fn direction_hint(event: &str) -> String {
    format!(
        "the event is written `> {event}` for initiator to responder, `< {event}` for the way back, `- {event}` for either"
    )
}

impl Parser<'_> {
    /// The head of a definition, when one stands here: a name and `=`.
    pub(super) fn definition_ahead(&self) -> Option<Reference> {
        let mut ahead = self.cursor.clone();
        ahead.peek().filter(char::is_ascii_lowercase)?;
        let head = name(&mut ahead).ok()?;
        ahead.skip_space();
        ahead.eat("=").then_some(head)
    }

    /// A name, and in its place what it stands for.
    pub(super) fn reference(&mut self, depth: usize) -> Result<Tree, PatternError> {
        let reference = name(&mut self.cursor)?;
        let tree = match self.library {
            // What it stands for is not known yet; an item keeps its place.
            None => self.push(Test::Filler, &reference.name),
            Some(library) => self.written_out(library, &reference, depth)?,
        };
        self.references.push(reference);
        Ok(tree)
    }

    /// The tree of a named pattern, whose items become some of this one.
    fn written_out(
        &mut self,
        library: &Library,
        reference: &Reference,
        depth: usize,
    ) -> Result<Tree, PatternError> {
        let error = |message: String| PatternError::new(message, reference.at, reference.len);
        let Some(definition) = library.get(&reference.name) else {
            let known: Vec<&str> = library.names().collect();
            return Err(unknown(&known, reference));
        };
        let deep = depth + 1 + definition.depth;
        if deep > MAX_DEPTH {
            return Err(error(format!(
                "groups nest more than {MAX_DEPTH} deep when this name is written out"
            )));
        }
        // Checked before anything is copied: names of names of names must cost nothing.
        if self.items.len() + definition.items.len() > MAX_INSTRUCTIONS {
            return Err(error(format!(
                "the pattern is too large: more than {MAX_INSTRUCTIONS} events when this name is written out"
            )));
        }
        self.deepest = self.deepest.max(deep);
        let first = self.items.len();
        self.items.extend(definition.items.iter().cloned());
        Ok(shifted(&definition.tree, first))
    }
}

/// `tree` with its items further back in the list.
fn shifted(tree: &Tree, by: usize) -> Tree {
    let all = |parts: &[Tree]| parts.iter().map(|part| shifted(part, by)).collect();
    match tree {
        Tree::Item(item) => Tree::Item(item + by),
        Tree::Sequence(parts) => Tree::Sequence(all(parts)),
        Tree::Choice(parts) => Tree::Choice(all(parts)),
        Tree::Repeat { body, min, max } => Tree::Repeat {
            body: Box::new(shifted(body, by)),
            min: *min,
            max: *max,
        },
    }
}

/// The error for a name that is not among those that are known.
pub(super) fn unknown(known: &[&str], reference: &Reference) -> PatternError {
    let name = &reference.name;
    let error = PatternError::new(
        format!("there is no pattern {}", quoted(name)),
        reference.at,
        reference.len,
    );
    // With another argument, or without one, it would be known.
    let word = name.split('(').next().unwrap_or(name);
    let same_word = |known: &&str| known.split('(').next() == Some(word);
    let variants: Vec<String> = known
        .iter()
        .copied()
        .filter(same_word)
        .map(|known| format!("`{known}`"))
        .take(MAX_NAMES_LISTED)
        .collect();
    if !variants.is_empty() {
        return error.hint(format!("write {}", variants.join(" or ")));
    }
    if let Some(near) = near_name(name, known) {
        return error.hint(format!("did you mean `{near}`?"));
    }
    if let Some(event) = near_event(name) {
        return error.hint(direction_hint(event));
    }
    if known.is_empty() {
        return error.hint("no pattern has a name here");
    }
    let listed = &known[..known.len().min(MAX_NAMES_LISTED)];
    let more = if known.len() > listed.len() {
        ", …"
    } else {
        ""
    };
    error.hint(format!("patterns are {}{more}", listed.join(", ")))
}
