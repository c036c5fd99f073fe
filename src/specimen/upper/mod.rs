//! A server that answers in upper case, and a client that sends, receives and closes, each in the
//! numbers and the order that its options say.
//!
//! | module | what it holds |
//! |---|---|
//! | [`server`] | receives and answers, one connection after the other or two crossed |
//! | [`client`] | opens, sends, receives, closes |

pub mod client;
pub mod server;

/// The port of the reports.
pub const PORT: u16 = 12345;

/// What connections are called in the lines about them, in the order in which they were opened.
pub const NAMES: [&str; 4] = ["A", "B", "C", "D"];

/// The most that one call receives or sends, in bytes.
pub const MAX_BYTES: u32 = 65_536;
