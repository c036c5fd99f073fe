//! A server that halts after each of its calls and never accepts, and a client that finds out.
//!
//! | module | what it holds |
//! |---|---|
//! | [`server`] | socket, bind, listen, each when told |
//! | [`client`] | connects, sends 12 bytes, waits |

pub mod client;
pub mod server;

/// The port of the reports.
pub const PORT: u16 = 49152;
