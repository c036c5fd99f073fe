//! Cells are driven: steps with deadlines, evidence, clean-up. The runner emits [`Event`]s and
//! prints nothing.

mod buffering;
mod cell;
mod driver;
mod event;
mod evidence;
mod expected;
mod faults;
mod hosts;
mod inputs;
mod link_changes;
mod mistakes;
mod out;
mod printed;
mod ready;
mod schedule;
mod terminal;
mod transcript;
mod windows;

#[cfg(test)]
mod tests;

pub use event::{CellReport, Event, ImageState, RunReport, StepReport, Trouble};
pub use out::{OutError, OutFolder};
pub use schedule::{Settings, run};
