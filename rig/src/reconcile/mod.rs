//! Captures of the same traffic, taken at several places, become one.
//!
//! A packet that was recorded at both ends is one packet with a delay; one that was recorded only
//! where it was sent was lost on the way. The clocks of the places are aligned by the packets that
//! they share, as NTP does (RFC 5905 section 8), and the uncertainty that remains is told.
//!
//! [`Capture`] reads a file, [`reconcile`] puts several together. docs/analysis.md says by which
//! rules.

mod capture;

mod sighting;

mod sides;

mod clocks;

mod passage;

mod join;

pub use capture::Capture;
pub use clocks::{Alignment, Clock};
pub use join::{Reconciled, reconcile};
pub use passage::{Fate, Passage};

#[cfg(test)]
mod tests;
