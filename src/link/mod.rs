//! One connection: messages in, lines out, and an orderly end.
//!
//! [`Incoming`] and [`Outgoing`] are the two directions. Their futures can be dropped at any
//! `await` without losing a byte, so that a session waits for both, and for more, in one `select!`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`incoming`] | bytes into messages, up to the peer's FIN |
//! | [`outgoing`] | lines into bytes, up to one's own |

pub mod incoming;
pub mod outgoing;
#[cfg(test)]
mod testing;

pub use incoming::{Event, Framing, Incoming};
pub use outgoing::{Lines, Outgoing, line};
