//! Cells are driven: steps with deadlines, evidence, clean-up. The runner emits [`Event`]s and
//! prints nothing.

mod cell;
mod driver;
mod event;
mod evidence;
mod out;
mod schedule;
mod transcript;

#[cfg(test)]
mod tests;

pub use event::{CellReport, Event, ImageState, RunReport, StepReport, Trouble};
pub use out::{OutError, OutFolder};
pub use schedule::{Settings, run};
