//! What the runner tells the reporters.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::backend::{BackendError, Blame};
use crate::judge::{CheckReport, Verdict};
use crate::spec::Place;
use crate::units::{ImageName, Timestamp};

/// Something happened in a run.
#[derive(Debug, Clone)]
pub enum Event {
    /// The run begins.
    Started {
        /// Id of the run; every container and network carries it as a label.
        run: String,
        /// Name of the matrix.
        matrix: String,
        /// Cells that will run, in order.
        cells: Vec<String>,
        /// How many run at the same time.
        jobs: usize,
        /// Where the evidence goes.
        out: PathBuf,
    },
    /// An image is looked for or made.
    Image {
        /// Its name in the file.
        name: ImageName,
        /// What becomes of it.
        state: ImageState,
    },
    /// A cell begins.
    CellStarted {
        /// Its name.
        cell: String,
    },
    /// A cell begins a step.
    Step {
        /// The cell.
        cell: String,
        /// Which step, counted from 0.
        index: usize,
        /// How many there are.
        total: usize,
        /// The step in a line.
        text: String,
    },
    /// A cell has its verdict.
    CellFinished(Box<CellReport>),
    /// Somebody asked the run to end early: no further cell starts.
    Interrupted,
    /// The run is over and everything it had on the machine is gone, save what is said here.
    Finished(Box<RunReport>),
}

/// What becomes of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageState {
    /// A part of its making begins: compiling, pulling, building.
    Working(String),
    /// A line that its making printed.
    Output(String),
    /// It is there.
    Ready {
        /// Reference by which the engine knows it.
        reference: String,
        /// How long it took.
        took: Duration,
    },
}

/// What became of a cell.
#[derive(Debug, Clone, Serialize)]
pub struct CellReport {
    /// Stable name.
    pub cell: String,
    /// The worst of its checks, or `Error`; `ExpectedFailure` where the file says so.
    pub verdict: Verdict,
    /// Why it is expected to fail, where the file says that it is.
    pub expected: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// How long it took, without the removal of its hosts.
    pub took: Duration,
    /// The steps that were begun.
    pub steps: Vec<StepReport>,
    /// The checks, in the order of the file.
    pub checks: Vec<CheckReport>,
    /// What kept it from running or made it inconclusive, or why it was skipped.
    pub trouble: Option<Trouble>,
    /// Folder of its evidence, relative to the run's; `None` when there is none.
    pub evidence: Option<PathBuf>,
    /// Pictures of its displays, relative to that folder.
    pub screens: Vec<PathBuf>,
    /// Names of the containers that were left on the machine to be looked at.
    pub kept: Vec<String>,
}

impl CellReport {
    /// The report of a cell that was not run, with the reason: an error where something is to
    /// blame for it, else skipped.
    #[must_use]
    pub fn not_run(cell: &str, trouble: Trouble) -> Self {
        Self {
            cell: cell.to_owned(),
            verdict: match trouble.blame {
                Blame::Input | Blame::Machine => Verdict::Error,
                Blame::Nobody => Verdict::Skipped,
            },
            expected: None,
            started: Timestamp::now(),
            took: Duration::ZERO,
            steps: Vec::new(),
            checks: Vec::new(),
            trouble: Some(trouble),
            evidence: None,
            screens: Vec::new(),
            kept: Vec::new(),
        }
    }
}

/// What became of a step.
#[derive(Debug, Clone, Serialize)]
pub struct StepReport {
    /// The step in a line.
    pub step: String,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Whether it did what it should.
    pub verdict: Verdict,
}

/// Something that kept a cell from a plain verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Operation, object and cause.
    pub message: String,
    /// What may mend it.
    pub hint: Option<String>,
    /// The place in the matrix file.
    pub place: Option<Place>,
    /// Whose fault it is.
    pub blame: Blame,
}

impl From<BackendError> for Trouble {
    fn from(error: BackendError) -> Self {
        Self {
            message: error.message,
            hint: error.hint,
            place: error.place,
            blame: error.blame,
        }
    }
}

/// What became of a run.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// Id of the run.
    pub run: String,
    /// Name of the matrix.
    pub matrix: String,
    /// The matrix file as it was named.
    pub file: PathBuf,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Every cell, in the order of the matrix; those that did not run are skipped.
    pub cells: Vec<CellReport>,
    /// Whether it was ended early.
    pub interrupted: bool,
    /// What could not be removed from the machine.
    pub left_behind: Vec<String>,
    /// Folder of the evidence.
    pub out: PathBuf,
}

impl RunReport {
    /// How many cells have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.cells
            .iter()
            .filter(|cell| cell.verdict == verdict)
            .count()
    }
}
