//! A pattern, read and compiled.

use crate::analysis::Event;

use super::error::PatternError;
use super::explain;
use super::item::{Item, Test};
use super::library::{Definition, Library};
use super::matcher::{self, Outcome};
use super::outcome::{Match, Mismatch, NamedEvent};
use super::parse;
#[cfg(test)]
use super::parse::Tree;
use super::program::{Instruction, Program};
use super::trace::trace;

/// A pattern that was read; see docs/patterns.md for its grammar.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: String,
    pub(super) items: Vec<Item>,
    pub(super) program: Program,
    #[cfg(test)]
    pub(super) tree: Tree,
}

impl Pattern {
    /// Reads a pattern, in which the names of [`Library::builtin`] may stand.
    ///
    /// Text, nesting, bounds and the size of the compiled pattern are limited; what goes beyond is
    /// an error like any other.
    ///
    /// ```
    /// # use rig::pattern::Pattern;
    /// assert!(Pattern::parse("> SYN  < SYN-ACK  > ACK ... < FIN  > FIN").is_ok());
    /// let error = Pattern::parse("> SYN_ACK").unwrap_err();
    /// assert_eq!((error.offset_bytes, error.len_bytes), (2, 7));
    /// assert_eq!(error.hint.as_deref(), Some("did you mean `SYN-ACK`?"));
    /// ```
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Self::parse_with(text, Library::builtin())
    }

    /// Reads a pattern whose names are those of `library`.
    pub fn parse_with(text: &str, library: &Library) -> Result<Self, PatternError> {
        let parsed = parse::parse(text, library)?;
        let program = Program::compile(&parsed.tree, &parsed.items, 0..text.len())?;
        Ok(Self {
            source: text.to_owned(),
            items: parsed.items,
            program,
            #[cfg(test)]
            tree: parsed.tree,
        })
    }

    /// A named pattern of `library`.
    pub(super) fn of(definition: &Definition) -> Result<Self, PatternError> {
        let (tree, items) = (&definition.tree, &definition.items);
        Ok(Self {
            source: definition.body.clone(),
            items: items.clone(),
            program: Program::compile(tree, items, 0..definition.body.len())?,
            #[cfg(test)]
            tree: tree.clone(),
        })
    }

    /// The text it was read from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// How many of the first bytes of a payload it looks at, if it asks for payload.
    #[must_use]
    pub fn looked_at_bytes(&self) -> Option<usize> {
        self.items.iter().filter_map(Item::looked_at_bytes).max()
    }

    /// Whether the events of a flow, from first to last, are what the pattern describes.
    ///
    /// Takes a number of steps that grows with the number of events and with the size of the
    /// pattern, never faster.
    pub fn matches(&self, events: &[Event]) -> Result<Match, Box<Mismatch>> {
        let (outcome, _) = matcher::run(&self.program, &self.items, events);
        match outcome {
            Outcome::Matched => Ok(Match {
                named: self.named(events),
            }),
            Outcome::Stuck { at, waiting } => Err(Box::new(explain::mismatch(
                &self.program,
                &self.items,
                events,
                at,
                &waiting,
            ))),
        }
    }

    /// The events of a flow that matched, each with the item that took it.
    fn named(&self, events: &[Event]) -> Vec<NamedEvent> {
        let program = &self.program;
        let accept = |&state: &usize| program.instructions[state] == Instruction::Accept;
        let goal: Vec<_> = (0..program.instructions.len()).filter(accept).collect();
        trace(program, &self.items, events, &goal)
            .into_iter()
            .enumerate()
            .filter_map(|(event, item)| {
                let item = &self.items[item?];
                let named = matches!(item.test, Test::Event(_));
                named.then(|| NamedEvent {
                    event,
                    frame: events[event].frame,
                    item: item.text.clone(),
                    any: item.takes_all(),
                })
            })
            .collect()
    }
}
