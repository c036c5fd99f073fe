//! Captures of the same traffic, taken at several places, become one.
//!
//! A packet that was recorded at both ends is one packet with a delay; one that was recorded only
//! where it was sent was lost on the way. The clocks of the places are aligned by the packets that
//! they share, as NTP does (RFC 5905 section 8), and the uncertainty that remains is told.
//!
//! [`Reconciliation`] puts [`Source`]s together and gives packet by packet, each once. docs/analysis.md says by which
//! rules.

mod source;

mod sighting;

mod survey;

mod copies;

mod sides;

mod clocks;

mod align;

mod passage;

mod recut;

mod window;

mod join;

pub use clocks::{Alignment, Clock};
pub use copies::Repeated;
pub use join::{Outline, Passage, Reconciliation, Tally};
pub use passage::Fate;
pub use source::{ReconcileError, Source};

#[cfg(test)]
mod tests;

#[cfg(test)]
mod link_tests;
