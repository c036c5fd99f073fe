//! A pattern, read and compiled.

use crate::analysis::Event;

use super::error::PatternError;
use super::explain;
use super::item::{Item, Test};
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
    /// Reads a pattern.
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
        let (tree, items) = parse::parse(text)?;
        let program = Program::compile(&tree, &items, text.len())?;
        Ok(Self {
            source: text.to_owned(),
            items,
            program,
            #[cfg(test)]
            tree,
        })
    }

    /// The text it was read from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
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
