//! Runs cells, several at a time, until all are done or somebody asks to end.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::cell::{CellRun, run_cell};
use super::event::{CellReport, Event, RunReport, Trouble};
use super::mistakes::Mistakes;
use crate::backend::{Backend, BackendError, Blame};
use crate::matrix::Cell;
use crate::spec::Spec;
use crate::units::Timestamp;

/// What a run is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Id of the run.
    pub run: String,
    /// The matrix file as it was named.
    pub file: PathBuf,
    /// Folder of the evidence; it exists.
    pub out: PathBuf,
    /// How many cells run at the same time.
    pub jobs: usize,
    /// Whether cells that do not pass stay on the machine.
    pub keep: bool,
}

/// Runs `cells` and reports each to `events`. Once `stop` is cancelled no further cell starts and
/// those under way are given up; everything on the machine is removed before this returns.
pub async fn run<B: Backend>(
    backend: Arc<B>,
    spec: Arc<Spec>,
    cells: Vec<Cell>,
    settings: Settings,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) -> RunReport {
    let started = Timestamp::now();
    let mistakes = Mistakes::default();
    let reports: Vec<(usize, CellReport)> = futures_util::stream::iter(cells.iter().enumerate())
        .map(|(index, cell)| {
            let run = CellRun {
                backend: Arc::clone(&backend),
                spec: Arc::clone(&spec),
                cell: cell.clone(),
                out: settings.out.clone(),
                keep: settings.keep,
                events: events.clone(),
            };
            let events = events.clone();
            let (spec, mistakes, stop) = (&spec, &mistakes, &stop);
            async move {
                let report = if mistakes.concern(spec, cell) {
                    let why = "not run: another cell has met a mistake of the file that this one would meet, too";
                    not_tried(&cell.name, why)
                } else {
                    guarded(run, stop).await
                };
                mistakes.learn(spec, cell, &report);
                // A reporter that is gone has nothing left to tell.
                events
                    .send(Event::CellFinished(Box::new(report.clone())))
                    .await
                    .ok();
                (index, report)
            }
        })
        .buffer_unordered(settings.jobs.max(1))
        .collect()
        .await;
    let mut reports = reports;
    reports.sort_by_key(|(index, _)| *index);
    let left_behind = match backend.close().await {
        Ok(()) => Vec::new(),
        Err(error) => vec![error.message],
    };
    RunReport {
        run: settings.run,
        matrix: spec.name.clone(),
        file: settings.file,
        started,
        took: Timestamp::now().since(started),
        cells: reports.into_iter().map(|(_, report)| report).collect(),
        interrupted: stop.is_cancelled(),
        left_behind,
        out: settings.out,
    }
}

/// Runs a cell in a task of its own, so that a panic in it is an error of this cell alone.
async fn guarded<B: Backend>(run: CellRun<B>, stop: &CancellationToken) -> CellReport {
    let name = run.cell.name.clone();
    let given_up = || not_tried(&name, "the run ended before it");
    if stop.is_cancelled() {
        return given_up();
    }
    let started = Timestamp::now();
    let mut task = tokio::spawn(run_cell(run));
    let joined = tokio::select! {
        joined = &mut task => joined,
        () = stop.cancelled() => {
            // Its hosts go down with it: the removal is in the backend's hands.
            task.abort();
            task.await.ok();
            return given_up();
        }
    };
    joined.unwrap_or_else(|error| {
        let message = format!("this is a defect of rig: {error}");
        let report = CellReport::not_run(&name, BackendError::machine(message).into());
        CellReport {
            started,
            took: Timestamp::now().since(started),
            ..report
        }
    })
}

fn not_tried(cell: &str, why: &str) -> CellReport {
    let trouble = Trouble {
        message: why.to_owned(),
        hint: None,
        place: None,
        blame: Blame::Nobody,
    };
    CellReport::not_run(cell, trouble)
}
