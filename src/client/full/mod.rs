//! The full-screen front end: the conversation, the members and a line to type in.
//!
//! It sees what a pipe would see, lines in and lines out, so that nothing on the wire tells it from
//! the line mode.
//!
//! | module | what it holds |
//! |---|---|
//! | [`scrollback`] | the lines that are kept, and which of them are in view |
//! | [`roster`] | who is in the room, as far as the lines tell |
//! | [`entry`] | the line that is typed, and those typed before |
//! | [`model`] | all that is shown; what lines and keys change in it |
//! | [`draw`] | the model as a picture |
//! | [`hold`] | the terminal taken over, and put back whatever happens |
//! | [`events`] | keys and signals, each waited for by a thread of its own |
//! | [`run`] | the front end as a thread |

mod draw;
mod entry;
mod events;
mod hold;
mod model;
mod roster;
mod run;
mod scrollback;

pub(crate) use hold::check;
pub use run::{Full, open};
