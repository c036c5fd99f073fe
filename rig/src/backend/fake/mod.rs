//! Cells that live in memory, for tests of everything above a backend, with no engine.
//!
//! Hosts, programs and a small TCP are simulated; the captures are real pcapng files of real
//! packets, so that analysis, patterns and checks work on them as on those of a live cell. Nothing
//! moves unless a program is started, given input or signalled.
//!
//! A node's command names a simulated program ([`Program`]):
//!
//! | command | does |
//! |---|---|
//! | `fake-server PORT` | a room: what one member says is heard by the others; `quit` makes it close that connection first; operator words `stop` and `close`; a farewell on SIGTERM, SIGINT and SIGHUP |
//! | `fake-server PORT --never-ready` | runs and never listens |
//! | `fake-server PORT --refuse` | accepts, and resets every connection at once |
//! | `fake-client ADDRESS PORT NAME` | connects, says its name, then each line of its input |
//! | either with `--exit CODE` | ends at once with that code |
//!
//! A program with a display shows one window, whose title is the node's name; what is typed there it
//! reads as its standard input, other keys and clicks do nothing, and every picture is the same.
//!
//! [`Faults`] make a cell go wrong where a real one could.

mod capture;
mod process;
mod program;
mod tcp;
mod world;

mod cell;
mod display;
mod pool;

#[cfg(test)]
mod tests;

pub use cell::{FakeBackend, FakeCell, Faults};
pub use program::{Program, ProgramError};
