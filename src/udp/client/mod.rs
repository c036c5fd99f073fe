//! The terminal client of the chat over datagrams.
//!
//! | module | what it holds |
//! |---|---|
//! | [`args`] | the command line |
//! | [`words`] | what the user types, as datagrams |
//! | [`join`] | from a host's name into the server's book |
//! | `texts` | what the user has said, and how much of it has come back |
//! | [`talk`] | sends and receives at once, until one side leaves |

pub mod args;
pub mod join;
pub mod talk;
mod texts;
pub mod words;

pub use args::Args;
pub use talk::main;
