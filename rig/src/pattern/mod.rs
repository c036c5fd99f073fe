//! What a whole connection must look like: pattern text, and its match against a flow's events.
//!
//! ```text
//! > SYN  < SYN-ACK  > ACK        # the handshake
//! ...                            # any data and acknowledgements
//! < FIN  > FIN                   # an orderly close, the responder first
//! ```
//!
//! Text is read into a tree ([`Pattern::parse`]), the tree is compiled to a small program, and the
//! program is run over the events with a set of states, so that a match costs a bounded number of
//! steps for each event, whatever the pattern. Where a flow does not match, [`Mismatch`] says how
//! far it came, what was expected there, what came, and shows both side by side. The grammar is
//! explained in docs/patterns.md.
//!
//! Patterns have names where a [`Library`] gives them one; a [`PatternFile`] defines some, and so
//! does the file beside this one, library.pattern. A name is replaced by what it stands for while
//! a text is read, so that the later stages know of none.

mod compiled;
mod error;
mod outcome;

mod item;
mod property;

mod event;

mod conditions;
mod cursor;
mod parse;
mod quantifier;
mod reference;

mod definitions;
mod file;
mod library;

mod matcher;
mod program;
mod trace;

mod explain;
mod ladder;
mod nearest;

mod learn;

#[cfg(test)]
pub(crate) mod testing;

pub use compiled::Pattern;
pub use error::PatternError;
pub use event::EventPattern;
pub use file::{MAX_PATTERN_FILE_BYTES, NamedPattern, PatternFile};
pub use ladder::draw_flow;
pub use learn::{LearnError, Learner, propose};
pub use library::{DefinitionError, LIBRARY_TEXT, Library, MAX_DEFINITIONS};
pub use outcome::{Match, Mismatch, NamedEvent};
pub use parse::MAX_PATTERN_BYTES;
