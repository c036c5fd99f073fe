//! `rig run`.

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use indexmap::IndexMap;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::args::RunArgs;
use super::exit::Exit;
use super::{input, say};
use crate::backend::docker::{Docker, ImageProgress, RunId, Sweeper};
use crate::backend::{BackendError, Blame};
use crate::matrix::{self, Cell};
use crate::plan::{self, NetworkNeeds};
use crate::report::{
    Files, MatrixSource, Outcome, Plain, Reporters, Screen, Summary, Terminal, outcome,
};
use crate::run::{self, CellReport, Event, ImageState, OutFolder, RunReport, Settings, Trouble};
use crate::spec::{Image, ImageOrigin, Located, Spec};
use crate::units::{ImageName, Timestamp};

/// Events that may wait for the reporters.
const EVENT_QUEUE: usize = 1024;

/// A run that is ready to begin.
struct Prepared {
    spec: Arc<Spec>,
    cells: Vec<Cell>,
    settings: Settings,
    run: RunId,
    source: MatrixSource,
    cargo_profile: Option<String>,
}

pub(super) fn main(args: &RunArgs) -> Exit {
    let (prepared, out) = match prepare(args) {
        Ok(ready) => ready,
        Err(exit) => return exit,
    };
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return say::failure(Exit::Machine, &format!("start a runtime: {error}")),
    };
    let sweeper = Sweeper::new(prepared.run.clone(), not_swept);
    let (exit, clean) = runtime.block_on(supervise(prepared, &sweeper));
    if clean {
        sweeper.stand_down();
    } else {
        drop(sweeper);
    }
    // What still runs belongs to a run that was given up.
    runtime.shutdown_background();
    drop(out);
    exit
}

/// Reads the file and everything else that can be wrong before the engine is asked.
fn prepare(args: &RunArgs) -> Result<(Prepared, OutFolder), Exit> {
    let (spec, matrix) = input::load(&args.file)?;
    let cells = matrix::select(&matrix.cells, &args.filter)
        .map_err(|error| say::failure(Exit::Input, &error.to_string()))?;
    let out = OutFolder::take(&args.out)
        .map_err(|error| say::failure(Exit::Input, &error.to_string()))?;
    let jobs = args.jobs.or_else(|| thread::available_parallelism().ok());
    let run = RunId::new();
    let prepared = Prepared {
        source: MatrixSource::new(&args.file, spec.source.text()),
        settings: Settings {
            run: run.to_string(),
            file: args.file.clone(),
            out: args.out.clone(),
            jobs: jobs.map_or(1, NonZeroUsize::get),
            keep: args.keep,
        },
        spec: Arc::new(spec),
        cells,
        run,
        cargo_profile: args.cargo_profile.clone(),
    };
    Ok((prepared, out))
}

/// Runs, and ends early when asked to: once for an orderly end, twice to leave at once. Tells how
/// it ended, and whether nothing of the run is left on the engine.
async fn supervise(prepared: Prepared, sweeper: &Sweeper) -> (Exit, bool) {
    let stop = CancellationToken::new();
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            return (
                say::failure(Exit::Machine, &format!("watch for signals: {error}")),
                true,
            );
        }
    };
    let (events, queue) = mpsc::channel(EVENT_QUEUE);
    let reporters = reporters(&prepared);
    // The reporters are done once the run is over and nobody else can tell them anything.
    let teller = events.downgrade();
    let mut running = Box::pin(async {
        tokio::join!(
            drive(prepared, sweeper, events, stop.clone()),
            report(reporters, queue)
        )
    });
    let finished = tokio::select! {
        finished = &mut running => finished,
        () = signals.next() => {
            stop.cancel();
            if let Some(events) = teller.upgrade() {
                // A queue that is full is no reason to wait: the summary says it again.
                events.try_send(Event::Interrupted).ok();
            }
            tokio::select! {
                finished = &mut running => finished,
                () = signals.next() => return (Exit::Interrupted, false),
            }
        }
    };
    let (outcome, told) = finished;
    let exit = match exit_of(&outcome.report) {
        // What the run itself came to says more than a report that could not be written.
        exit if told || matches!(exit, Exit::Interrupted | Exit::Input) => exit,
        _ => Exit::Machine,
    };
    let clean = outcome.closed && outcome.report.left_behind.is_empty();
    (exit, clean)
}

/// What a run came to.
struct Driven {
    report: RunReport,
    /// Whether the backend was there and has removed what it made.
    closed: bool,
}

/// Makes the images and runs the cells.
async fn drive(
    prepared: Prepared,
    sweeper: &Sweeper,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) -> Driven {
    let started = Timestamp::now();
    let Prepared {
        spec,
        cells,
        settings,
        cargo_profile,
        ..
    } = prepared;
    let begun = Event::Started {
        run: settings.run.clone(),
        matrix: spec.name.clone(),
        cells: cells.iter().map(|cell| cell.name.clone()).collect(),
        jobs: settings.jobs,
        out: settings.out.clone(),
    };
    events.send(begun).await.ok();
    let needs = Needs::of(&spec, &cells, cargo_profile.as_deref(), settings.jobs);
    let listener = |progress| {
        // A reporter that lags behind misses a line of a build, nothing more.
        events.try_send(image_event(progress)).ok();
    };
    let backend = tokio::select! {
        backend = connect_and_prepare(sweeper, &needs, &listener) => backend,
        () = stop.cancelled() => Err(BackendError {
            blame: Blame::Nobody,
            ..BackendError::machine("the run ended while images were made")
        }),
    };
    let driven = match backend {
        Ok(backend) => {
            let backend = Arc::new(backend);
            let report = run::run(backend, spec, cells, settings, events.clone(), stop).await;
            // The making of the images is a part of it.
            let report = RunReport {
                started,
                took: Timestamp::now().since(started),
                ..report
            };
            Driven {
                report,
                closed: true,
            }
        }
        Err(error) => Driven {
            report: not_begun(&spec, &cells, settings, started, error),
            closed: false,
        },
    };
    let finished = Event::Finished(Box::new(driven.report.clone()));
    events.send(finished).await.ok();
    driven
}

/// The report of a run that could not begin: it tells of every cell why.
fn not_begun(
    spec: &Spec,
    cells: &[Cell],
    settings: Settings,
    started: Timestamp,
    error: BackendError,
) -> RunReport {
    let interrupted = error.blame == Blame::Nobody;
    let trouble = Trouble::from(error);
    let report = |cell: &Cell| CellReport::not_run(&cell.name, trouble.clone());
    RunReport {
        run: settings.run,
        matrix: spec.name.clone(),
        file: settings.file,
        started,
        took: Timestamp::now().since(started),
        cells: cells.iter().map(report).collect(),
        interrupted,
        left_behind: Vec::new(),
        out: settings.out,
    }
}

async fn connect_and_prepare(
    sweeper: &Sweeper,
    needs: &Needs,
    listener: &(dyn Fn(ImageProgress) + Sync),
) -> Result<Docker, BackendError> {
    let engine = Docker::connect().await?;
    Docker::prepare(
        engine,
        sweeper,
        &needs.images,
        needs.displays,
        &needs.networks,
        listener,
    )
    .await
}

/// What the chosen cells run from.
struct Needs {
    images: IndexMap<ImageName, Image>,
    displays: bool,
    /// Those of the cells that begin together.
    networks: Vec<NetworkNeeds>,
}

impl Needs {
    fn of(spec: &Spec, cells: &[Cell], cargo_profile: Option<&str>, jobs: usize) -> Self {
        let mut used = BTreeSet::new();
        let mut displays = false;
        for plan in cells
            .iter()
            .filter_map(|cell| plan::sketch(spec, cell).ok())
        {
            for node in plan.nodes {
                used.insert(node.image);
                displays |= node.display.is_some();
            }
        }
        let images = spec.images.iter();
        let images = images.filter(|(name, _)| used.contains(*name));
        Self {
            images: images
                .map(|(name, image)| (name.clone(), compiled_with(image, cargo_profile)))
                .collect(),
            displays,
            networks: cells
                .iter()
                .take(jobs)
                .map(|cell| plan::networks_needed(spec, cell))
                .collect(),
        }
    }
}

/// An image whose programs are compiled with a profile of Cargo, where the file names none.
fn compiled_with(image: &Image, profile: Option<&str>) -> Image {
    let mut image = image.clone();
    if let ImageOrigin::Build(build) = &mut image.origin
        && let Some(cargo) = &mut build.cargo
        && cargo.profile.is_none()
    {
        let place = cargo.package.place;
        cargo.profile = profile.map(|name| Located::new(name.to_owned(), place));
    }
    image
}

fn image_event(progress: ImageProgress) -> Event {
    match progress {
        ImageProgress::Working { name, what } => Event::Image {
            name,
            state: ImageState::Working(what),
        },
        ImageProgress::Output { name, line } => Event::Image {
            name,
            state: ImageState::Output(line),
        },
        ImageProgress::Ready {
            name,
            reference,
            took,
        } => Event::Image {
            name,
            state: ImageState::Ready { reference, took },
        },
    }
}

fn reporters(prepared: &Prepared) -> Reporters {
    let source = || prepared.source.clone();
    let screen = Screen::of(&io::stderr());
    let reporters = if screen.terminal {
        Reporters::new().with(Terminal::new(source(), screen))
    } else {
        Reporters::new().with(Plain::new(io::stderr(), source(), screen))
    };
    reporters
        .with(Files::new(prepared.settings.out.clone(), source()))
        .with(Summary::new(
            io::stdout(),
            source(),
            Screen::of(&io::stdout()),
        ))
}

/// Tells the reporters of every event; whether all of them could do their part.
async fn report(mut reporters: Reporters, mut queue: mpsc::Receiver<Event>) -> bool {
    let mut all_well = true;
    while let Some(event) = queue.recv().await {
        // A reader that has gone away has seen enough.
        let failed = reporters.on(&event).into_iter();
        for error in failed.filter(|error| !error.is_broken_pipe()) {
            all_well = false;
            say::failure(Exit::Machine, &error.to_string());
        }
        if matches!(event, Event::Finished(_)) {
            break;
        }
    }
    all_well
}

fn exit_of(report: &RunReport) -> Exit {
    let input = report.cells.iter().any(|cell| {
        cell.trouble
            .as_ref()
            .is_some_and(|trouble| trouble.blame == Blame::Input)
    });
    match outcome(report) {
        Outcome::Interrupted => Exit::Interrupted,
        _ if input => Exit::Input,
        Outcome::Error => Exit::Machine,
        Outcome::Failed => Exit::Failed,
        Outcome::Inconclusive => Exit::Inconclusive,
        Outcome::Passed => Exit::Passed,
    }
}

/// The signals that ask a run to end.
struct Signals {
    all: [Signal; 3],
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            all: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
        })
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.all;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

fn not_swept(error: &BackendError) {
    say::failure(
        Exit::Machine,
        &format!("clean up: {error}; `rig gc` removes the rest"),
    );
}
