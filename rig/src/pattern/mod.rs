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

mod compiled;
mod error;
mod outcome;

mod item;

mod conditions;
mod cursor;
mod parse;

mod matcher;
mod program;
mod trace;

mod explain;
mod ladder;

#[cfg(test)]
pub(crate) mod testing;

pub use compiled::Pattern;
pub use error::PatternError;
pub use outcome::{Match, Mismatch, NamedEvent};
pub use parse::MAX_PATTERN_BYTES;
