//! The window client: the terminal client's talk with another front end.
//!
//! What the window knows and does is decided without a display; what is drawn is compiled with the
//! feature `gui` alone.
//!
//! | module | what it holds |
//! |---|---|
//! | [`args`] | the command line |
//! | [`conversation`] | the lines that are kept, and what of them is unread |
//! | [`members`] | who is in the room, as its notices tell |
//! | [`visit`] | one visit to the server, on a thread of its own |
//! | [`model`] | what the window knows: events in, effects out |
//! | [`scroll`] | which rows of the conversation are in view |
//! | [`palette`] | the colours of both themes, and their contrast |
//! | `transcript` | the widget that draws the conversation (`gui`) |
//! | `view` | the window's contents (`gui`) |
//! | `style` | how its parts look in a palette (`gui`) |
//! | `program` | opens the window and carries out effects (`gui`) |
//! | `frames` | tests: the window in the event loop, without a display (`gui`) |

pub mod args;
pub mod conversation;
pub mod members;
pub mod model;
pub mod palette;
pub mod scroll;
pub mod visit;

#[cfg(all(test, feature = "gui"))]
mod frames;
#[cfg(feature = "gui")]
mod program;
#[cfg(feature = "gui")]
mod style;
#[cfg(feature = "gui")]
mod transcript;
#[cfg(feature = "gui")]
mod view;

pub use args::Args;
#[cfg(feature = "gui")]
pub use program::main;
