//! The guard of everything that a run has on an engine.

use std::fmt;
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_util::task::TaskTracker;

use super::engine::Docker;
use super::labels::RunId;
use super::sweep::{Kept, remove_run};
use crate::backend::BackendError;

/// How long work that was given up may take to undo itself before the sweep begins.
const UNDO_TIMEOUT: Duration = Duration::from_secs(15);

/// Removes what a run has on the engine when the run did not do so itself: after an error of the
/// engine, a second ctrl-c, or while a panic unwinds. Drop it while the run's runtime still lives,
/// so that requests under way come to their end first.
pub struct Sweeper {
    run: RunId,
    work: TaskTracker,
    kept: Kept,
    armed: bool,
    on_failure: fn(&BackendError),
}

impl Sweeper {
    /// A guard for what carries the label of `run`; `on_failure` is told when something stays.
    #[must_use]
    pub fn new(run: RunId, on_failure: fn(&BackendError)) -> Self {
        Self {
            run,
            work: TaskTracker::new(),
            kept: Kept::default(),
            armed: true,
            on_failure,
        }
    }

    /// The run that it guards.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Requests that go on to their end, and the undoing of what was given up.
    pub(super) fn work(&self) -> &TaskTracker {
        &self.work
    }

    /// What of the run stays on the engine on purpose.
    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The run has removed everything itself.
    pub fn stand_down(mut self) {
        self.armed = false;
    }
}

impl fmt::Debug for Sweeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweeper")
            .field("run", &self.run)
            .field("armed", &self.armed)
            .finish_non_exhaustive()
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (run, work, kept) = (self.run.clone(), self.work.clone(), self.kept.clone());
        // The runtime that was here may be unwinding: the sweep brings its own.
        let swept = thread::spawn(move || sweep(&run, &work, &kept)).join();
        if let Ok(Err(error)) = swept {
            (self.on_failure)(&error);
        }
    }
}

fn sweep(run: &RunId, work: &TaskTracker, kept: &Kept) -> Result<(), BackendError> {
    let runtime = Runtime::new()
        .map_err(|error| BackendError::machine(format!("start a runtime: {error}")))?;
    runtime.block_on(async {
        work.close();
        // What is late is swept as far as the engine knows of it.
        tokio::time::timeout(UNDO_TIMEOUT, work.wait()).await.ok();
        // An engine that cannot be reached was never given anything.
        let Ok(engine) = Docker::connect().await else {
            return Ok(());
        };
        remove_run(&engine.client, run, kept).await
    })
}
