//! Drives the nodes of one cell through its steps.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::buffering::KeptBack;
use super::faults::Fault;
use super::inputs::describe;
use super::link_changes;
use super::terminal;
use super::transcript::{Heard, Transcript};
use super::windows::Screen;
use crate::agent::protocol::{MAX_SOCKET_ROWS, Request, Response};
use crate::backend::{BackendError, LiveCell, LiveNode};
use crate::judge::{HostOutage, Marks, NodeEvidence, SocketTable, Visit, VisitEnd, unfit};
use crate::plan::{
    Action, CheckKind, HostPlan, Input, Lateness, NodePlan, Plan, Ready, SocketRows, Step,
};
use crate::units::{HostName, MarkName, NodeName, Signal, Timestamp, printable, show_duration};

/// How long the end of a program may take to become known once a check wants to know it.
const END_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the last output of an ended program may take to arrive.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(3);

/// How much sooner than its step an agent gives up waiting.
pub(super) const ANSWER_MARGIN: Duration = Duration::from_millis(300);

/// How long the end of a program that did not become ready may take to become known.
const END_OF_UNREADY: Duration = Duration::from_secs(2);

/// The least and the longest time between two looks at a socket table: the kernel tells nobody when a queue grows,
/// and takes milliseconds of a processor for each look.
const SOCKETS_EVERY: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(100)];

/// What part of the time waited so far the next look may come late by.
const LATE_BY_PART: u32 = 10;

/// How many of a node's last lines an error shows.
const SHOWN_LINES: usize = 5;

/// Why a step did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StepError {
    /// What was waited for did not come: the programs' answer to the question of the step.
    Unmet(String),
    /// The machine, the engine or a program did not do its part.
    Backend(BackendError),
}

impl From<BackendError> for StepError {
    fn from(error: BackendError) -> Self {
        Self::Backend(error)
    }
}

/// By when a step must be done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    /// How long it is after the step's beginning.
    pub(super) within: Duration,
}

impl Deadline {
    /// How long an agent may wait: it knows why nothing comes, so its answer shall come before the
    /// step is given up.
    pub(super) fn left_to_agent(self) -> Duration {
        let left = self.at.saturating_duration_since(Instant::now());
        left.saturating_sub(ANSWER_MARGIN)
    }
}

/// A cell in motion.
pub(super) struct Driver<'a, C> {
    pub(super) cell: &'a C,
    pub(super) plan: &'a Plan,
    pub(super) transcript: Arc<Transcript>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    visits: BTreeMap<NodeName, Vec<LiveVisit>>,
    marks: Marks,
    pub(super) faults: Vec<Fault>,
    pub(super) outages: Vec<HostOutage>,
    /// What was changed at links, and when.
    link_changes: Vec<(Timestamp, String)>,
    /// The node whose readiness was waited for last.
    awaited: Option<NodeName>,
    /// How the socket table that is waited for differed at last.
    unfit: Option<String>,
    /// A text that was not heard, and may have been kept back.
    pub(super) kept_back: Option<KeptBack>,
    screens: Vec<Screen>,
}

/// A node's program, from its start on.
#[derive(Debug)]
pub(super) struct LiveVisit {
    started: Timestamp,
    /// `None` once its input has ended.
    pub(super) input: Option<mpsc::Sender<Vec<u8>>>,
    ended: watch::Receiver<Option<VisitEnd>>,
    /// Set once it was told to end.
    pub(super) leaving: Arc<AtomicBool>,
    /// Of a program on a terminal: whether its picture is complete.
    picture: Option<watch::Receiver<bool>>,
}

/// What was observed of the nodes.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) nodes: BTreeMap<NodeName, NodeEvidence>,
    pub(super) marks: Marks,
    pub(super) faults: Vec<Fault>,
    /// Pictures that steps took.
    pub(super) screens: Vec<Screen>,
    /// What was changed at links, and when.
    pub(super) link_changes: Vec<(Timestamp, String)>,
    pub(super) outages: Vec<HostOutage>,
}

impl<'a, C: LiveCell> Driver<'a, C> {
    pub(super) fn new(cell: &'a C, plan: &'a Plan, transcript: Arc<Transcript>) -> Self {
        Self {
            cell,
            plan,
            transcript,
            state: Mutex::default(),
        }
    }

    /// Does one step within its deadline.
    pub(super) async fn step(&self, step: &Step) -> Result<(), StepError> {
        self.transcript.rig(Timestamp::now(), &step.text);
        let deadline = Deadline {
            at: Instant::now() + step.within,
            within: step.within,
        };
        match timeout_at(deadline.at, self.act(&step.action, deadline)).await {
            Ok(result) => result.map_err(|error| at_step(error, step)),
            Err(_) => Err(self.overdue(step)),
        }
    }

    async fn act(&self, action: &Action, deadline: Deadline) -> Result<(), StepError> {
        match action {
            Action::Start(nodes) => self.start(nodes, deadline).await,
            Action::Say { node, text, input } => {
                self.must_run(node, &format!("say something to {node}"))
                    .await?;
                self.transcript.told(node, text);
                self.give(node, input).await
            }
            Action::Hear { node, text } => self.hear(node, text).await,
            Action::Leave { node, input } => {
                self.must_run(node, &format!("tell {node} to leave"))
                    .await?;
                self.transcript.told(node, &describe(input));
                self.let_end(node);
                self.give(node, input).await
            }
            Action::Kill { node, signal } => self.signal(node, *signal).await,
            Action::KillUnread(node) => self.kill_unread(node, deadline).await,
            Action::Host {
                fault,
                host,
                networks,
            } => self.change_host(*fault, host, networks).await,
            Action::Pause(node) => self.freeze(node, true).await,
            Action::Resume(node) => self.freeze(node, false).await,
            Action::Stop { node, grace } => self.stop(node, *grace).await,
            Action::Wait(node) => self.wait(node).await,
            Action::Until(rows) => self.until(rows).await,
            Action::Window { node, act } => self.at_window(node, act, deadline).await,
            Action::Mark(mark) => self.mark(mark).await,
            Action::Link { .. } | Action::Lose { .. } | Action::Partition { .. } => {
                self.change_links(action).await
            }
            Action::Settle(time) => {
                tokio::time::sleep(*time).await;
                Ok(())
            }
        }
    }

    /// Starts nodes in their order: those that others will look for, by listening, come up before
    /// the next ones; nodes between which nothing waits start at the same time.
    async fn start(&self, names: &[NodeName], deadline: Deadline) -> Result<(), StepError> {
        let nodes: Vec<&NodePlan> = names
            .iter()
            .filter_map(|name| self.plan.node(name))
            .collect();
        let same_time = |a: &&NodePlan, b: &&NodePlan| listens(a) == listens(b);
        for group in nodes.chunk_by(same_time) {
            try_join_all(group.iter().map(|node| self.start_one(node, deadline))).await?;
        }
        Ok(())
    }

    async fn start_one(&self, node: &NodePlan, deadline: Deadline) -> Result<(), StepError> {
        if self.running(&node.name) {
            let message = format!("start node `{}`: it is still running", node.name);
            return Err(BackendError::machine(message).into());
        }
        self.transcript.expect(&node.name);
        let LiveNode {
            started,
            input,
            output,
            ended,
            retired,
            leaving,
        } = self.cell.start(node).await?;
        let (output, picture) = match node.terminal {
            Some(size) => {
                let watched = terminal::watch(size, output);
                (watched.lines, Some(watched.is_complete))
            }
            None => (output, None),
        };
        let transcript = Arc::clone(&self.transcript);
        let name = node.name.clone();
        tokio::spawn(async move { transcript.record(name, output).await });
        tokio::spawn(note_end(
            Arc::clone(&self.transcript),
            node.name.clone(),
            ended.clone(),
        ));
        tokio::spawn(note_retirements(
            Arc::clone(&self.transcript),
            node.name.clone(),
            retired,
        ));
        self.transcript.done(started, &node.name, "started");
        let visit = LiveVisit {
            started,
            input: Some(input),
            ended,
            leaving,
            picture,
        };
        self.state()
            .visits
            .entry(node.name.clone())
            .or_default()
            .push(visit);
        self.state().awaited = Some(node.name.clone());
        match &node.join {
            Some(Input::Window(gesture)) => {
                self.join_at_window(node, gesture, deadline).await?;
            }
            Some(join) => {
                self.transcript.told(&node.name, &describe(join));
                // A program that has ended already is what its readiness will tell.
                self.give(&node.name, join).await.ok();
            }
            None => {}
        }
        self.await_ready(node, deadline).await
    }

    /// How a node's program ended, for the middle of an error; empty where it goes on.
    pub(super) async fn end_told(&self, node: &NodeName) -> String {
        let Some(ended) = self.last_visit(node, |visit| visit.ended.clone()) else {
            return String::new();
        };
        match timeout(END_OF_UNREADY, end_of(ended)).await {
            Ok(Some(end)) => format!("; {node} {end}"),
            _ => String::new(),
        }
    }

    fn overdue(&self, step: &Step) -> StepError {
        let within = show_duration(step.within);
        let (what, more) = match &step.action {
            Action::Start(names) => ("ready", self.not_ready(names)),
            Action::Hear { node, text } => {
                self.suspect(node, text);
                ("", self.last_words(node))
            }
            Action::Until(_) => {
                let why = self.state().unfit.take().unwrap_or_default();
                ("", format!(": {why}"))
            }
            action => match action.lateness() {
                Lateness::Programs => ("", String::new()),
                Lateness::Machine => ("done", String::new()),
            },
        };
        let not = ["not", what].join(" ");
        let message = format!("{}: {} within {within}{more}", step.text, not.trim_end());
        match step.action.lateness() {
            Lateness::Programs => StepError::Unmet(message),
            Lateness::Machine => {
                StepError::Backend(BackendError::machine(message).or_at(step.place))
            }
        }
    }

    /// What the node that a start waits for has printed.
    fn not_ready(&self, names: &[NodeName]) -> String {
        let awaited = self.state().awaited.clone();
        let Some(name) = awaited.filter(|name| names.contains(name)) else {
            return String::new();
        };
        let node = self.plan.node(&name);
        if let Some(Ready::Output(text)) = node.and_then(|node| node.ready.as_ref()) {
            self.suspect(&name, text);
        }
        self.last_words(&name)
    }

    /// The last lines of a node, for the end of an error.
    pub(super) fn last_words(&self, node: &NodeName) -> String {
        let lines = self.transcript.last_lines(node, SHOWN_LINES);
        if lines.is_empty() {
            return format!("; {node} printed nothing");
        }
        format!("; {node} printed last:\n  {}", lines.join("\n  "))
    }

    pub(super) async fn hear(&self, node: &NodeName, text: &str) -> Result<(), StepError> {
        let mut news = self.transcript.news();
        loop {
            news.mark_unchanged();
            match self.transcript.listen(node, text) {
                Heard::Yes => return Ok(()),
                Heard::Never => {
                    let shown = printable(text);
                    let end = self.end_told(node).await;
                    let said = self.last_words(node);
                    return Err(StepError::Unmet(format!(
                        "{node} ended without printing \"{shown}\"{end}{said}"
                    )));
                }
                // The sender lives as long as the transcript; the step's deadline bounds the wait.
                Heard::NotYet => news.changed().await.unwrap_or_default(),
            }
        }
    }

    async fn change_links(&self, action: &Action) -> Result<(), StepError> {
        let Some((links, change, what)) = link_changes::of(action, self.plan) else {
            return Ok(());
        };
        for link in links {
            let change = change.clone();
            if let Response::Changed { at } = self.cell.ask(link, Request::Link { change }).await? {
                self.state().link_changes.push((at, what.clone()));
            }
        }
        Ok(())
    }

    async fn stop(&self, node: &NodeName, grace: Duration) -> Result<(), StepError> {
        self.signal(node, Signal::TERM).await?;
        if timeout(grace, self.wait(node)).await.is_ok() {
            return Ok(());
        }
        if let Err(error) = self.signal(node, Signal::KILL).await {
            // It may have ended by now, and the engine be late to say so.
            let ended = timeout(END_TIMEOUT, self.wait(node)).await;
            return ended.unwrap_or(Err(error));
        }
        self.wait(node).await
    }

    pub(super) async fn wait(&self, node: &NodeName) -> Result<(), StepError> {
        let ended = self
            .last_visit(node, |visit| visit.ended.clone())
            .ok_or_else(|| {
                BackendError::machine(format!("wait for node `{node}`: it was not started"))
            })?;
        let lost = || {
            let message = format!("wait for node `{node}`: the engine lost sight of it");
            StepError::Backend(BackendError::machine(message))
        };
        end_of(ended).await.map(drop).ok_or_else(lost)
    }

    async fn mark(&self, mark: &MarkName) -> Result<(), StepError> {
        let tables =
            try_join_all(self.hosts_of_programs().map(|host| self.table(&host.name))).await?;
        self.state()
            .marks
            .insert(mark.clone(), tables.into_iter().collect());
        Ok(())
    }

    /// The hosts that can have sockets: no program runs on that of a link.
    fn hosts_of_programs(&self) -> impl Iterator<Item = &HostPlan> {
        let hosts = self.plan.hosts.iter();
        hosts.filter(|host| self.plan.link(&host.name).is_none())
    }

    /// Reads the socket table of a node's host until it is as wanted.
    async fn until(&self, rows: &SocketRows) -> Result<(), StepError> {
        let Some(node) = self.plan.node(&rows.node) else {
            let message = format!("node `{}` is not part of the cell", rows.node);
            return Err(BackendError::machine(message).into());
        };
        let [least, longest] = SOCKETS_EVERY;
        let started = Instant::now();
        // Bounded by the step's deadline.
        loop {
            let (_, table) = self.table(&node.host).await?;
            let Some(why) = unfit(rows, &table.sockets) else {
                return Ok(());
            };
            self.state().unfit = Some(why);
            let pause = (started.elapsed() / LATE_BY_PART).clamp(least, longest);
            tokio::time::sleep(pause).await;
        }
    }

    async fn table(&self, host: &HostName) -> Result<(HostName, SocketTable), StepError> {
        let failed = || {
            BackendError::machine(format!(
                "read the socket tables of host `{host}`: its agent answered something else"
            ))
        };
        let Response::Sockets {
            at,
            until,
            mut sockets,
            mut rest,
        } = self.cell.ask(host, Request::Sockets).await?
        else {
            return Err(failed().into());
        };
        // A long table comes in several answers, each with a row at least.
        while let Some(table) = rest {
            let from = sockets.len();
            let request = Request::MoreSockets { table, from };
            let answer = self.cell.ask(host, request).await?;
            let Response::MoreSockets {
                sockets: next,
                more,
            } = answer
            else {
                return Err(failed().into());
            };
            if next.is_empty() || from + next.len() > MAX_SOCKET_ROWS {
                return Err(failed().into());
            }
            sockets.extend(next);
            rest = rest.filter(|_| more);
        }
        let table = SocketTable {
            from: at,
            until,
            sockets,
        };
        Ok((host.clone(), table))
    }

    /// Waits for the ends that checks want to know and for the last output of ended programs, and
    /// gives what was observed.
    pub(super) async fn observe(&self) -> Observed {
        let wanted = self
            .plan
            .checks
            .iter()
            .filter_map(|check| match &check.kind {
                CheckKind::Exit(exit) if !exit.running => Some(&exit.node),
                _ => None,
            });
        let ends: Vec<_> = wanted
            .filter_map(|node| self.last_visit(node, |visit| visit.ended.clone()))
            .map(end_of)
            .collect();
        // A program that does not end is what the check will tell.
        timeout(END_TIMEOUT, join_all(ends)).await.ok();
        timeout(OUTPUT_TIMEOUT, self.silence_of_ended()).await.ok();
        timeout(terminal::PICTURE_TAKES, self.complete_pictures())
            .await
            .ok();
        let mut lines = self.transcript.lines();
        let mut state = self.state();
        let nodes = state.visits.iter().map(|(name, visits)| {
            let visits = visits
                .iter()
                .map(|visit| Visit {
                    started: visit.started,
                    ended: *visit.ended.borrow(),
                })
                .collect();
            let output = lines.remove(name).unwrap_or_default();
            let evidence = NodeEvidence {
                visits,
                output,
                dropped_bytes: self.transcript.dropped_bytes(name),
                counts: self.transcript.counts(name),
            };
            (name.clone(), evidence)
        });
        let nodes = nodes.collect();
        Observed {
            nodes,
            marks: std::mem::take(&mut state.marks),
            faults: std::mem::take(&mut state.faults),
            screens: std::mem::take(&mut state.screens),
            link_changes: std::mem::take(&mut state.link_changes),
            outages: std::mem::take(&mut state.outages),
        }
    }

    async fn silence_of_ended(&self) {
        let mut news = self.transcript.news();
        loop {
            news.mark_unchanged();
            let names: Vec<_> = self.state().visits.keys().cloned().collect();
            let silent = names
                .iter()
                .all(|name| self.running(name) || self.transcript.is_silent(name));
            if silent {
                return;
            }
            news.changed().await.unwrap_or_default();
        }
    }

    /// Waits until the picture on every terminal is complete: what was drawn last shall count.
    async fn complete_pictures(&self) {
        let pictures: Vec<_> = {
            let state = self.state();
            let visits = state.visits.values().flatten();
            visits.filter_map(|visit| visit.picture.clone()).collect()
        };
        for mut picture in pictures {
            // One whose watcher has ended is complete.
            picture.wait_for(|complete| *complete).await.ok();
        }
    }

    pub(super) fn host_of(&self, node: &NodeName) -> Result<HostName, BackendError> {
        self.plan
            .node(node)
            .map(|plan| plan.host.clone())
            .ok_or_else(|| BackendError::machine(format!("there is no node `{node}` in this cell")))
    }

    pub(super) fn keep_screen(&self, screen: Screen) {
        self.state().screens.push(screen);
    }

    pub(super) fn running(&self, node: &NodeName) -> bool {
        self.last_visit(node, |visit| visit.ended.borrow().is_none())
            .unwrap_or(false)
    }

    pub(super) fn visits(&self, node: &NodeName) -> usize {
        self.state().visits.get(node).map_or(0, Vec::len)
    }

    pub(super) fn last_visit<T>(
        &self,
        node: &NodeName,
        look: impl FnOnce(&mut LiveVisit) -> T,
    ) -> Option<T> {
        self.state()
            .visits
            .get_mut(node)
            .and_then(|visits| visits.last_mut())
            .map(look)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether others may wait for this node: nodes that listen come up first.
fn listens(node: &NodePlan) -> bool {
    matches!(node.ready, Some(Ready::Listening(_) | Ready::Bound(_)))
}

fn at_step(error: StepError, step: &Step) -> StepError {
    match error {
        StepError::Backend(error) => StepError::Backend(error.or_at(step.place)),
        unmet @ StepError::Unmet(_) => unmet,
    }
}

/// Waits until a program has ended; `None` when its end cannot be learned any more.
async fn end_of(mut ended: watch::Receiver<Option<VisitEnd>>) -> Option<VisitEnd> {
    ended
        .wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|end| *end)
}

/// Notes each process that ends and leaves its work to another.
async fn note_retirements(
    transcript: Arc<Transcript>,
    node: NodeName,
    mut retired: watch::Receiver<Option<VisitEnd>>,
) {
    while retired.changed().await.is_ok() {
        let end = *retired.borrow_and_update();
        if let Some(end) = end {
            transcript.retired(&node, end);
        }
    }
}

async fn note_end(
    transcript: Arc<Transcript>,
    node: NodeName,
    ended: watch::Receiver<Option<VisitEnd>>,
) {
    if let Some(end) = end_of(ended).await {
        transcript.ended(&node, end);
    }
}
