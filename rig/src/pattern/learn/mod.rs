//! From connections as they should be to a pattern that describes them.
//!
//! A connection is taken apart at its SYN, FIN and RST ([`walk`]); data stands between these.
//! Connections with the same such marks share a way through the pattern, and what differs between
//! the ways becomes alternatives ([`propose`]). Data is named one by one only where it was the same
//! in every connection, else it is `...`. What is proposed is held against every connection before
//! it is given out.

mod comments;
mod propose;
mod walk;

#[cfg(test)]
mod tests;

pub use propose::{LearnError, Learner, propose};
