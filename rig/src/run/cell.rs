//! The life of one cell: hosts up, steps, hosts down, evidence, verdict.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::driver::{Driver, Observed, StepError};
use super::event::{CellReport, Event, StepReport, Trouble};
use super::evidence::{self, Gathered, Settled};
use super::expected;
use super::printed::Wanted;
use super::transcript::Transcript;
use super::windows::Screen;
use crate::agent::protocol::{HostFile, Request, Response};
use crate::backend::{Backend, BackendError, Blame, LiveCell};
use crate::judge::{HostEvidence, Verdict};
use crate::matrix::{self, Cell};
use crate::pcapng::HostCapture;
use crate::plan::{self, Action, CheckKind, Plan, Ready};
use crate::spec::{Place, Spec};
use crate::units::{HostName, NodeName, Timestamp};

/// What a cell needs to run.
pub(super) struct CellRun<B> {
    pub(super) backend: Arc<B>,
    pub(super) spec: Arc<Spec>,
    pub(super) cell: Cell,
    pub(super) out: PathBuf,
    pub(super) keep: bool,
    pub(super) events: mpsc::Sender<Event>,
}

/// What was seen of a cell by the end of its steps.
struct Seen {
    observed: Observed,
    hosts: Vec<(HostEvidence, HostCapture)>,
    /// Pictures of the displays as the steps left them.
    last_screens: Vec<Screen>,
}

/// What is known of a cell while it runs.
struct Progress {
    started: Timestamp,
    steps: Vec<StepReport>,
}

/// Runs one cell to its report.
pub(super) async fn run_cell<B: Backend>(run: CellRun<B>) -> CellReport {
    let cell = run.cell.name.clone();
    run.events
        .send(Event::CellStarted { cell: cell.clone() })
        .await
        .ok();
    let mut progress = Progress {
        started: Timestamp::now(),
        steps: Vec::new(),
    };
    let report = match attempt(&run, &mut progress).await {
        Ok(report) => report,
        Err(error) => progress.report(&cell, Verdict::Error, Some(error.into())),
    };
    expected::weigh(report, matrix::expected_failure(&run.spec, &run.cell))
}

async fn attempt<B: Backend>(
    run: &CellRun<B>,
    progress: &mut Progress,
) -> Result<CellReport, BackendError> {
    let lease = run
        .backend
        .lease(plan::networks_needed(&run.spec, &run.cell))
        .await?;
    let plan = plan::plan(&run.spec, &run.cell, lease.subnets())
        .map_err(|diagnostics| BackendError::machine(format!("plan the cell: {diagnostics}")))?;
    let plan = Arc::new(plan);
    let live = run.backend.open(Arc::clone(&plan), lease).await?;
    let transcript = Arc::new(Transcript::new(progress.started, wanted(&plan)));
    let driver = Driver::new(&live, &plan, Arc::clone(&transcript));
    let failure = drive(run, &plan, &driver, progress).await;
    let last_screens = driver.last_screens().await;
    let observed = driver.observe().await;
    let hosts = close_hosts(&live, &plan).await;
    let hint = driver.hint_of_kept_back(!run.keep).await;
    // Not before: the end of a program's input is its word to leave.
    drop(driver);
    let trouble = failure.map(|(error, place)| error.into_trouble(place));
    let trouble = trouble.map(|(verdict, mut trouble)| {
        trouble.hint = trouble.hint.or(hint);
        (verdict, trouble)
    });
    // Unless somebody may want to look at it, its removal goes on beside what follows.
    let kept = run.keep.then_some(live);
    let seen = Seen {
        observed,
        hosts,
        last_screens,
    };
    let mut report = finish(run, &plan, &transcript, seen, trouble, progress).await?;
    if let Some(live) = kept.filter(|_| report.verdict != Verdict::Pass) {
        // The verdict stands, whatever becomes of what was to be looked at.
        match live.keep().await {
            Ok(kept) => report.kept = kept,
            Err(error) => tracing::warn!(cell = report.cell, %error, "the hosts were not kept"),
        }
    }
    Ok(report)
}

/// The texts that steps and checks will look for in the output of each node.
fn wanted(plan: &Plan) -> BTreeMap<NodeName, Wanted> {
    let mut wanted: BTreeMap<NodeName, Wanted> = BTreeMap::new();
    for node in &plan.nodes {
        if let Some(Ready::Output(text)) = &node.ready {
            let of_node = wanted.entry(node.name.clone()).or_default();
            of_node.heard.push(text.clone());
        }
    }
    for step in &plan.steps {
        if let Action::Hear { node, text } = &step.action {
            let of_node = wanted.entry(node.clone()).or_default();
            of_node.heard.push(text.clone());
        }
    }
    for check in &plan.checks {
        if let CheckKind::Output(output) = &check.kind {
            let of_node = wanted.entry(output.node.clone()).or_default();
            of_node.counted.push(output.text.clone());
        }
    }
    wanted
}

/// Does the steps in order, up to the first that fails.
async fn drive<B: Backend, C: LiveCell>(
    run: &CellRun<B>,
    plan: &Plan,
    driver: &Driver<'_, C>,
    progress: &mut Progress,
) -> Option<(StepError, Place)> {
    for (index, step) in plan.steps.iter().enumerate() {
        let event = Event::Step {
            cell: plan.cell.clone(),
            index,
            total: plan.steps.len(),
            text: step.text.clone(),
        };
        run.events.send(event).await.ok();
        let started = Timestamp::now();
        let result = driver.step(step).await;
        let verdict = match &result {
            Ok(()) => Verdict::Pass,
            Err(error) => error.verdict(),
        };
        progress.steps.push(StepReport {
            step: step.text.clone(),
            started,
            took: Timestamp::now().since(started),
            verdict,
        });
        if let Err(error) = result {
            return Some((error, step.place));
        }
    }
    None
}

/// Closes the capture of every host and fetches it. A host that does not answer leaves its
/// evidence incomplete, which the judge will tell.
async fn close_hosts<C: LiveCell>(live: &C, plan: &Plan) -> Vec<(HostEvidence, HostCapture)> {
    join_all(plan.hosts.iter().map(|host| close_host(live, &host.name))).await
}

async fn close_host<C: LiveCell>(live: &C, host: &HostName) -> (HostEvidence, HostCapture) {
    let mut evidence = HostEvidence::default();
    let mut bytes = Vec::new();
    match live.ask(host, Request::Close).await {
        Ok(Response::Closed {
            interfaces,
            owners,
            datagrams,
            link,
        }) => {
            evidence.link = link.map(|account| *account);
            match live.fetch(host, HostFile::Capture).await {
                Ok(fetched) => {
                    bytes = fetched;
                    evidence.interfaces = interfaces;
                }
                Err(error) => tracing::warn!(%host, %error, "no capture"),
            }
            evidence.owners = owners;
            evidence.datagrams = datagrams;
        }
        Ok(other) => tracing::warn!(%host, ?other, "the agent answered something else"),
        Err(error) => tracing::warn!(%host, %error, "the capture was not closed"),
    }
    (
        evidence,
        HostCapture {
            host: host.to_string(),
            bytes,
        },
    )
}

async fn finish<B: Backend>(
    run: &CellRun<B>,
    plan: &Arc<Plan>,
    transcript: &Arc<Transcript>,
    seen: Seen,
    trouble: Option<(Verdict, Trouble)>,
    progress: &mut Progress,
) -> Result<CellReport, BackendError> {
    let mut evidence_of_hosts = BTreeMap::new();
    let mut captures = Vec::new();
    for (host, (evidence, capture)) in plan.hosts.iter().zip(seen.hosts) {
        evidence_of_hosts.insert(host.name.clone(), evidence);
        captures.push(capture);
    }
    let gathered = Gathered {
        plan: Arc::clone(plan),
        transcript: Arc::clone(transcript),
        observed: seen.observed,
        last_screens: seen.last_screens,
        hosts: evidence_of_hosts,
        captures,
        folder: run.out.join(&plan.cell),
        judged: trouble.is_none(),
    };
    let Settled { judgement, screens } =
        tokio::task::spawn_blocking(move || evidence::settle(gathered))
            .await
            .map_err(|error| BackendError::machine(format!("judge the cell: {error}")))??;
    // What the machine took may be why a step failed.
    let trouble = match (trouble, &judgement.doubt) {
        (Some((verdict, trouble)), Some(doubt)) => {
            let message = format!("{}\n{doubt}", trouble.message);
            let verdict = match verdict {
                Verdict::Fail => Verdict::Inconclusive,
                other => other,
            };
            Some((verdict, Trouble { message, ..trouble }))
        }
        (trouble, _) => trouble,
    };
    let verdict = trouble
        .as_ref()
        .map_or(judgement.verdict, |(verdict, _)| *verdict);
    let doubt = judgement.doubt.map(|message| Trouble {
        message,
        hint: None,
        place: None,
        blame: Blame::Machine,
    });
    let trouble = trouble.map(|(_, trouble)| trouble).or(doubt);
    let mut report = progress.report(&plan.cell, verdict, trouble);
    report.checks = judgement.checks;
    report.screens = screens;
    report.evidence = Some(PathBuf::from(&plan.cell));
    Ok(report)
}

impl Progress {
    fn report(&mut self, cell: &str, verdict: Verdict, trouble: Option<Trouble>) -> CellReport {
        CellReport {
            cell: cell.to_owned(),
            verdict,
            expected: None,
            started: self.started,
            took: Timestamp::now().since(self.started),
            steps: std::mem::take(&mut self.steps),
            checks: Vec::new(),
            trouble,
            evidence: None,
            screens: Vec::new(),
            kept: Vec::new(),
        }
    }
}

impl StepError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Unmet(_) => Verdict::Fail,
            Self::Backend(_) => Verdict::Error,
        }
    }

    fn into_trouble(self, step: Place) -> (Verdict, Trouble) {
        let verdict = self.verdict();
        let trouble = match self {
            Self::Unmet(message) => Trouble {
                message,
                hint: None,
                place: Some(step),
                blame: Blame::Nobody,
            },
            Self::Backend(error) => error.into(),
        };
        (verdict, trouble)
    }
}
