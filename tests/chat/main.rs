//! End-to-end tests of the chat programs: the real binaries, over loopback, on ports that the
//! system chooses. Every wait is for an event and has a bound.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod endings;
mod framing;
mod full;
mod limits;
mod one_to_one;
mod peer;
mod room;
mod specimen;
mod support;
mod terminal;
mod udp;
mod web;
mod window;
