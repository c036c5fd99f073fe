//! The chat between two peers: one program, of which one instance listens and the other connects.
//!
//! | module | what it holds |
//! |---|---|
//! | [`args`] | the command line |
//! | [`keyboard`] | what the user types, also before anybody is there |
//! | [`meet`] | connects, or listens for one peer |
//! | [`talk`] | sends and receives at once, until one side ends it |

pub mod args;
pub mod keyboard;
pub mod meet;
pub mod talk;

pub use args::Args;
pub use talk::main;
