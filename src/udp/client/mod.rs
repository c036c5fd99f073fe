//! The terminal client of the chat over datagrams.
//!
//! | module | what it holds |
//! |---|---|
//! | [`args`] | the command line |
//! | [`words`] | what the user types, as datagrams |
//! | [`join`] | from a host's name into the server's book |
//! | [`talk`] | sends and receives at once, until one side leaves |

pub mod args;
pub mod join;
pub mod talk;
pub mod words;

pub use args::Args;
pub use talk::main;
