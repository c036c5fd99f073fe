//! The terminal client.
//!
//! | module | what it holds |
//! |---|---|
//! | [`args`] | the command line |
//! | [`exit`] | how a talk can end, each with its exit code |
//! | [`program`] | runs a talk and reports how it ended |
//! | [`connect`] | from a host's name to a connection |
//! | [`naming`] | when the server has asked for a name, and when the user may speak |
//! | `said` | what the user has said, and how much of it was heard |
//! | [`screen`] | lines to a terminal or a pipe |
//! | [`input`] | lines from a terminal or a pipe |
//! | [`full`] | the same on the whole of a terminal |
//! | [`talk`] | sends and receives at once, until one side leaves |

pub mod args;
pub mod connect;
pub mod exit;
pub mod full;
pub mod input;
pub mod naming;
pub mod program;
mod said;
pub mod screen;
pub mod talk;

pub use args::{Args, Ending, Ui, Visit};
pub use exit::{Exit, Failure};
pub use said::LEAVE_WAITS;
pub(crate) use talk::LOOK_EVERY;
pub use talk::{FrontEnd, main, talk};
