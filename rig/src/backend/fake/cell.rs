//! The backend that keeps its cells in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::display;
use super::pool::Pool;
use super::process::{Pid, Process};
use super::program::{Input, Program};
use super::world::World;
use crate::agent::protocol::{HostFile, Request, Response};
use crate::backend::{Backend, BackendError, LiveCell, LiveNode, SubnetLease};
use crate::plan::{NetworkNeeds, NodePlan, Plan};
use crate::units::{HostName, NodeName, Signal, Timestamp};

/// What goes wrong in the cells of a [`FakeBackend`].
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// The engine refuses to bring hosts up, with this cause.
    pub open_fails: Option<String>,
    /// The kernel drops this many packets on every interface of these hosts.
    pub drops: BTreeMap<HostName, u64>,
    /// The closing sentinel is not seen on these hosts.
    pub sentinel_missing: Vec<HostName>,
    /// The agents of these hosts answer this often, then never again.
    pub agent_lost_after: BTreeMap<HostName, usize>,
    /// This stays on the machine.
    pub left_behind: Option<String>,
}

/// A backend that keeps its cells in memory.
#[derive(Debug, Default)]
pub struct FakeBackend {
    faults: Faults,
    pool: Arc<Pool>,
    live: Arc<AtomicUsize>,
    kept: Arc<AtomicUsize>,
}

impl FakeBackend {
    /// A backend whose cells have these faults.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self {
            faults,
            ..Self::default()
        }
    }

    /// How many cells are up.
    #[must_use]
    pub fn live_cells(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    /// How many cells were left for somebody to look at.
    #[must_use]
    pub fn kept_cells(&self) -> usize {
        self.kept.load(Ordering::SeqCst)
    }
}

impl Backend for FakeBackend {
    type Cell = FakeCell;

    async fn lease(&self, needs: NetworkNeeds) -> Result<Arc<dyn SubnetLease>, BackendError> {
        Ok(Arc::new(self.pool.take(needs.count)?))
    }

    async fn open(
        &self,
        plan: Arc<Plan>,
        lease: Arc<dyn SubnetLease>,
    ) -> Result<Self::Cell, BackendError> {
        if let Some(cause) = &self.faults.open_fails {
            return Err(BackendError::machine(format!(
                "start the hosts of {}: {cause}",
                plan.cell
            )));
        }
        self.live.fetch_add(1, Ordering::SeqCst);
        Ok(FakeCell {
            world: Arc::new(Mutex::new(World::new(&plan))),
            faults: self.faults.clone(),
            asked: Mutex::default(),
            kept: self.kept.clone(),
            _lease: lease,
            _live: Live(self.live.clone()),
        })
    }

    async fn close(&self) -> Result<(), BackendError> {
        match &self.faults.left_behind {
            Some(what) => Err(BackendError::machine(format!("remove {what}"))),
            None => Ok(()),
        }
    }
}

/// Counts a cell until it is dropped.
#[derive(Debug)]
struct Live(Arc<AtomicUsize>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A cell in memory.
pub struct FakeCell {
    pub(super) world: Arc<Mutex<World>>,
    faults: Faults,
    /// How often each agent was asked.
    asked: Mutex<BTreeMap<HostName, usize>>,
    kept: Arc<AtomicUsize>,
    _lease: Arc<dyn SubnetLease>,
    _live: Live,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn no_process(node: &NodeName) -> BackendError {
    BackendError::machine(format!("find the process of {node}: it has none"))
}

impl FakeCell {
    /// Waits until `ready` gives an answer; it is asked again after every change.
    pub(super) async fn until<T>(
        &self,
        within: Duration,
        what: &str,
        ready: impl Fn(&mut World) -> Option<Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let mut changes = locked(&self.world).changes.subscribe();
        let wait = async {
            loop {
                if let Some(answer) = ready(&mut locked(&self.world)) {
                    return answer;
                }
                if changes.changed().await.is_err() {
                    return Err(BackendError::machine(format!("{what}: the cell is gone")));
                }
            }
        };
        tokio::time::timeout(within, wait)
            .await
            .unwrap_or_else(|_| Err(BackendError::machine(format!("{what}: not in time"))))
    }

    async fn await_listening(
        &self,
        host: &HostName,
        node: &NodeName,
        port: u16,
        within: Duration,
    ) -> Result<Response, BackendError> {
        let what = format!("wait until {node} listens on port {port}");
        self.until(within, &what, |world| {
            let Some(pid) = world.alive(node) else {
                return Some(Err(no_process(node)));
            };
            match world.listener(host, port) {
                Some(owner) if owner == pid => Some(Ok(Response::Listening { at: world.tick() })),
                Some(_) => Some(Err(BackendError::machine(format!(
                    "{what}: another node has the port"
                )))),
                None => None,
            }
        })
        .await
    }

    async fn await_connected(
        &self,
        node: &NodeName,
        port: u16,
        within: Duration,
    ) -> Result<Response, BackendError> {
        let what = format!("wait until {node} is connected to port {port}");
        self.until(within, &what, |world| {
            let Some(pid) = world.alive(node) else {
                return Some(Err(no_process(node)));
            };
            world
                .is_connected(pid, port)
                .then(|| Ok(Response::Connected { at: world.tick() }))
        })
        .await
    }

    /// Ends the capture of a host.
    fn close_agent(&self, name: &HostName) -> Result<Response, BackendError> {
        let mut world = locked(&self.world);
        let host = world.hosts.get_mut(name).ok_or_else(|| no_host(name))?;
        host.closed = true;
        let dropped = self.faults.drops.get(name).copied().unwrap_or(0);
        let sentinel = !self.faults.sentinel_missing.contains(name);
        Ok(Response::Closed {
            interfaces: host.capture.proofs(dropped, sentinel),
            owners: host.owners.clone(),
            datagrams: Vec::new(),
            link: None,
        })
    }

    /// Counts a request; an error once the agent is lost.
    fn count_request(&self, host: &HostName) -> Result<(), BackendError> {
        let mut asked = locked(&self.asked);
        let count = asked.entry(host.clone()).or_default();
        *count += 1;
        match self.faults.agent_lost_after.get(host) {
            Some(limit) if *count > *limit => Err(BackendError::machine(format!(
                "ask the agent of {host}: it has ended"
            ))),
            _ => Ok(()),
        }
    }
}

fn no_host(host: &HostName) -> BackendError {
    BackendError::machine(format!("find host {host}: it is not part of the cell"))
}

impl LiveCell for FakeCell {
    async fn start(&self, node: &NodePlan) -> Result<LiveNode, BackendError> {
        let program = Program::of(node).map_err(|error| {
            BackendError::input(format!("start {}: {error}", node.name), node.command_place)
        })?;
        let (stdin, live, pid) = {
            let mut world = locked(&self.world);
            if !world.hosts.contains_key(&node.host) {
                return Err(no_host(&node.host));
            }
            let started = world.tick();
            let (process, stdin, live) = Process::new(node, program, started);
            let pid = world.spawn(process);
            (stdin, live, pid)
        };
        let ended = live.ended.clone();
        tokio::spawn(read_input(self.world.clone(), pid, stdin, ended));
        Ok(live)
    }

    async fn ask(&self, host: &HostName, request: Request) -> Result<Response, BackendError> {
        self.count_request(host)?;
        match request {
            Request::Open { .. } => {
                let world = locked(&self.world);
                let host = world.hosts.get(host).ok_or_else(|| no_host(host))?;
                Ok(Response::Opened {
                    interfaces: host.capture.interfaces().to_vec(),
                })
            }
            Request::AwaitListening { node, port, within } => {
                self.await_listening(host, &node, port, within).await
            }
            Request::AwaitConnected { node, port, within } => {
                self.await_connected(&node, port, within).await
            }
            Request::AwaitBound { node, .. } => Err(BackendError::machine(format!(
                "wait until {node} is bound to a UDP port: simulated hosts have no datagrams"
            ))),
            Request::Signal { node, signal } => {
                let mut world = locked(&self.world);
                let pid = world.alive(&node).ok_or_else(|| no_process(&node))?;
                let at = world.tick();
                world.signal(pid, signal);
                Ok(Response::Signalled {
                    at,
                    pid,
                    alone_in: None,
                })
            }
            Request::Display { node, act, .. } => self.at_display(&node, act).await,
            Request::KillUnread { node, .. } => {
                let mut world = locked(&self.world);
                let pid = world.alive(&node).ok_or_else(|| no_process(&node))?;
                let unread_bytes = world.unread_bytes(pid);
                if unread_bytes == 0 {
                    let message = format!("kill {node} with unread data: it has none");
                    return Err(BackendError::machine(message));
                }
                let at = world.tick();
                world.signal(pid, Signal::KILL);
                Ok(Response::KilledUnread { at, unread_bytes })
            }
            Request::Crash
            | Request::Boot
            | Request::Unplug { .. }
            | Request::Plug { .. }
            | Request::AwaitStarted { .. }
            | Request::AwaitEnded { .. }
            | Request::Probe { .. }
            | Request::AwaitProbes { .. }
            | Request::Pin { .. }
            | Request::MoreSockets { .. }
            | Request::Read { .. } => {
                let message = format!("do something to host {host}: nobody simulates that");
                Err(BackendError::machine(message))
            }
            Request::Sockets => {
                let mut world = locked(&self.world);
                let at = world.tick();
                let sockets = world.sockets(host);
                let until = world.tick();
                Ok(Response::Sockets {
                    at,
                    until,
                    sockets,
                    rest: None,
                })
            }
            // Nothing of what it would do to packets is pretended.
            Request::Link { .. } => Ok(Response::Changed {
                at: locked(&self.world).tick(),
            }),
            Request::Keep => Ok(Response::Kept),
            Request::Close => self.close_agent(host),
        }
    }

    async fn freeze(&self, node: &NodeName, frozen: bool) -> Result<Timestamp, BackendError> {
        let mut world = locked(&self.world);
        let pid = world.alive(node).ok_or_else(|| no_process(node))?;
        let at = world.tick();
        world.freeze(pid, frozen);
        Ok(at)
    }

    async fn fetch(&self, host: &HostName, file: HostFile) -> Result<Vec<u8>, BackendError> {
        if file != HostFile::Capture {
            return Ok(display::PICTURE.to_vec());
        }
        let world = locked(&self.world);
        let state = world.hosts.get(host).ok_or_else(|| no_host(host))?;
        if !state.closed {
            return Err(BackendError::machine(format!(
                "fetch the capture of {host}: its agent still writes it"
            )));
        }
        state
            .capture
            .written()
            .map_err(|error| BackendError::machine(format!("fetch the capture of {host}: {error}")))
    }

    async fn keep(self) -> Result<Vec<String>, BackendError> {
        self.kept.fetch_add(1, Ordering::SeqCst);
        let world = locked(&self.world);
        Ok(world.hosts.keys().map(ToString::to_string).collect())
    }
}

/// Hands what is said to a program over to it, until it ends or its input does.
async fn read_input(
    world: Arc<Mutex<World>>,
    pid: Pid,
    mut stdin: mpsc::Receiver<Vec<u8>>,
    mut ended: tokio::sync::watch::Receiver<Option<crate::judge::VisitEnd>>,
) {
    loop {
        let input = tokio::select! {
            bytes = stdin.recv() => bytes.map_or(Input::StdinEof, Input::Stdin),
            _ = ended.wait_for(Option::is_some) => return,
        };
        let last = input == Input::StdinEof;
        locked(&world).happen(pid, input);
        if last {
            return;
        }
    }
}
