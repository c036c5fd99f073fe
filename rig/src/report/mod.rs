//! Events become what people and tools read: the terminal, JSON, `JUnit`, HTML.
//!
//! Reporters only consume [`Event`](crate::run::Event)s; they decide nothing and ask nothing.
//!
//! | reporter | writes | when |
//! |---|---|---|
//! | [`Plain`] | a line for each image and finished cell (stderr) | at once |
//! | [`Terminal`] | a bar, the running cells, and each cell that did not pass (stderr) | at once |
//! | [`Summary`] | what did not pass and why, and the counts (stdout) | at the end |
//! | [`Files`] | `verdict.json` for each cell; `run.json`, `junit.xml`, `index.html` | at each cell, at the end |
//!
//! Whatever comes from outside (a program's output, a name, the matrix file) is made harmless and
//! bounded in [`text`], once, before it goes anywhere. docs/evidence.md tells what every file holds.

mod reporter;
mod screen;

pub mod text;

mod explain;

mod plain;
mod summary;
mod terminal;

mod files;
mod html;
mod json;
mod junit;

mod outcome;

#[cfg(test)]
mod sample;

pub use explain::{MatrixSource, explain_check, explain_trouble};
pub use files::Files;
pub use outcome::{Outcome, outcome};
pub use plain::Plain;
pub use reporter::{ReportError, Reporter, Reporters};
pub use screen::Screen;
pub use summary::Summary;
pub use terminal::Terminal;
