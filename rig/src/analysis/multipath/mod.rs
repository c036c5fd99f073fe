//! Multipath TCP (RFC 8684, and RFC 6824 for version 0): connections of several subflows, each of which is a flow.
//!
//! A subflow has numbers, a fate and counters of its own, as every TCP connection. What is common to all of a
//! connection is kept beside them: the data by its own numbers, which are the same on whatever subflow it goes, and
//! its close, by `DATA_FIN` or `MP_FASTCLOSE`.

mod told;

mod signals;

mod ranges;

mod connection;

mod subflow;

pub use signals::Signals;
pub use told::{Connection, DataFin, DataSide, Fallback, Joined, Multipath, MultipathFate, Role};

pub(super) use connection::Connections;
pub(super) use signals::Signal;
pub(super) use subflow::{Seen, Subflow};

#[cfg(test)]
mod tests;
