//! A cell on the engine: its hosts, the containers of its nodes, and their removal.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use futures_util::future::{join_all, try_join_all};
use tokio::sync::Semaphore;

use super::agent_link::AgentLink;
use super::display::Display;
use super::engine::{ENGINE_TIMEOUT, Shared, answered, bounded, cause, status};
use super::host::{self, CreatedHost};
use super::{display, networks, node, paths, words};
use crate::agent::protocol::{HostFile, PIECE_BYTES, Request, Response};
use crate::backend::{BackendError, LiveCell, LiveNode, SubnetLease};
use crate::plan::{NodePlan, Plan};
use crate::units::{HostName, NodeName, Timestamp};

/// The largest file that is fetched from a host, in bytes: a capture.
const MAX_FETCHED_BYTES: usize = 1024 * 1024 * 1024;

/// How often the removal of a container is asked for where another one of it is under way.
const REMOVAL_ATTEMPTS: u32 = 3;

/// How often a node is asked to be frozen. Where cgroups are of version 1, runc tries for about 0.2 s,
/// and then thaws again what it has frozen: too short for a process that waits for a busy processor.
const FREEZE_ATTEMPTS: u32 = 20;

/// Hosts of a cell that are started at the same time. The engine (seen in 20.10) loses count of a
/// network's endpoints where several come or go at once; while they come, the count can only be too
/// low, which hurts nobody.
const STARTS_AT_ONCE: usize = 2;

/// Time between the ends of two hosts of a cell whose controller is gone, for the same reason.
const LEAVING_PAUSE: Duration = Duration::from_millis(250);

/// A cell whose hosts are up on the engine; dropping it removes everything it has there.
#[derive(Debug)]
pub struct DockerCell {
    containers: Arc<Containers>,
    plan: Arc<Plan>,
    links: BTreeMap<HostName, Arc<AgentLink>>,
    hosts: HashMap<HostName, String>,
    nodes: Mutex<HashMap<NodeName, NodeContainers>>,
    prefix: String,
}

/// The containers of one node, one a visit.
#[derive(Debug, Default)]
struct NodeContainers {
    /// Made ahead of the first visit, while the hosts came up.
    ready: Option<String>,
    /// The one that runs, or ran last.
    present: Option<String>,
    visits: u32,
    display: Option<Display>,
}

/// Every container of a cell, removed when the cell is dropped.
#[derive(Debug)]
pub(super) struct Containers {
    pub(super) shared: Arc<Shared>,
    made: Mutex<Vec<Made>>,
    lease: Option<Arc<dyn SubnetLease>>,
    /// Left on the engine on purpose.
    kept: AtomicBool,
}

/// What a container is to its cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It has the interfaces of a host.
    Host,
    /// It joins a host.
    Node,
}

/// A container of a cell.
#[derive(Debug)]
struct Made {
    id: String,
    name: String,
    role: Role,
    /// Keeps the agent of a host alive until the container is removed.
    link: Option<Arc<AgentLink>>,
}

impl DockerCell {
    /// Brings up every host of the plan at the same time, and makes the nodes' containers meanwhile.
    pub(super) async fn open(
        shared: Arc<Shared>,
        plan: Arc<Plan>,
        lease: Arc<dyn SubnetLease>,
    ) -> Result<Self, BackendError> {
        let number = shared.cells.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("rig-{}-{number}", shared.run);
        let containers = Arc::new(Containers {
            shared: Arc::clone(&shared),
            made: Mutex::default(),
            lease: Some(lease),
            kept: AtomicBool::new(false),
        });
        let created = try_join_all(
            plan.hosts
                .iter()
                .map(|host| async { host::create(&containers, &plan, host, &prefix).await }),
        )
        .await?;
        let hosts: HashMap<_, _> = created
            .iter()
            .map(|host| (host.plan.name.clone(), host.container.clone()))
            .collect();
        let turns = Semaphore::new(STARTS_AT_ONCE);
        let lingers = (0..).map(|index| LEAVING_PAUSE * index);
        let key = paths::key(&plan);
        let start_hosts = async {
            let hosts = lingers
                .zip(&created)
                .map(|(linger, host)| start_host(&containers, &plan, host, linger, key, &turns));
            let links: BTreeMap<_, _> = try_join_all(hosts).await?.into_iter().collect();
            paths::prove(&plan, &links).await?;
            Ok::<_, BackendError>(links)
        };
        let (links, nodes) = tokio::join!(
            start_hosts,
            create_nodes(&containers, &plan, &hosts, &prefix),
        );
        Ok(Self {
            links: links?,
            nodes: Mutex::new(nodes?),
            hosts,
            containers,
            plan,
            prefix,
        })
    }

    /// The container for the next visit of a node, and which visit it is.
    async fn next_container(&self, node: &NodePlan) -> Result<(String, u32), BackendError> {
        let (visit, display) = {
            let mut nodes = self.nodes();
            let entry = nodes.entry(node.name.clone()).or_default();
            entry.visits += 1;
            if let Some(ready) = entry.ready.take() {
                entry.present = Some(ready.clone());
                return Ok((ready, entry.visits));
            }
            (entry.visits, entry.display.clone())
        };
        let host = self
            .hosts
            .get(&node.host)
            .ok_or_else(|| no_host(&node.host))?;
        let cell = &self.plan.cell;
        let joins = node::Joins {
            host,
            prefix: &self.prefix,
            display: display.as_ref(),
        };
        let container = node::create(&self.containers, cell, node, joins, visit).await?;
        self.nodes().entry(node.name.clone()).or_default().present = Some(container.clone());
        Ok((container, visit))
    }

    fn nodes(&self) -> std::sync::MutexGuard<'_, HashMap<NodeName, NodeContainers>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveCell for DockerCell {
    async fn start(&self, node: &NodePlan) -> Result<LiveNode, BackendError> {
        let display = self.nodes().get(&node.name).and_then(|n| n.display.clone());
        if let Some(display) = display {
            display.up(&self.containers.shared, &node.name).await?;
        }
        let link = self.links.get(&node.host);
        let link = link.ok_or_else(|| no_host(&node.host))?;
        let (container, visit) = self.next_container(node).await?;
        let visit = node::Visit {
            container,
            number: visit,
            link: Arc::clone(link),
        };
        node::start(&self.containers.shared, node, visit).await
    }

    async fn ask(&self, host: &HostName, request: Request) -> Result<Response, BackendError> {
        self.links
            .get(host)
            .ok_or_else(|| no_host(host))?
            .ask(request)
            .await
    }

    async fn freeze(&self, node: &NodeName, frozen: bool) -> Result<Timestamp, BackendError> {
        let verb = if frozen { "freeze" } else { "thaw" };
        let operation = format!("{verb} node `{node}`");
        let container = self
            .nodes()
            .get(node)
            .and_then(|containers| containers.present.clone())
            .ok_or_else(|| BackendError::machine(format!("{operation}: it was not started")))?;
        let client = &self.containers.shared.client;
        if !frozen {
            let at = Timestamp::now();
            bounded(&operation, client.unpause_container(&container)).await?;
            return Ok(at);
        }
        let mut attempts_left = FREEZE_ATTEMPTS;
        loop {
            attempts_left -= 1;
            let at = Timestamp::now();
            match answered(&operation, client.pause_container(&container)).await? {
                Ok(()) => return Ok(at),
                Err(error) if attempts_left > 0 && words::is_not_at_rest(&cause(&error)) => (),
                Err(error) => {
                    let why = cause(&error);
                    return Err(BackendError::machine(format!("{operation}: {why}")));
                }
            }
        }
    }

    async fn fetch(&self, host: &HostName, file: HostFile) -> Result<Vec<u8>, BackendError> {
        let failed = |why| BackendError::machine(format!("read {file} of host `{host}`: {why}"));
        let mut bytes = Vec::new();
        while bytes.len() <= MAX_FETCHED_BYTES {
            let from = bytes.len() as u64;
            let Response::Piece { bytes: piece } =
                self.ask(host, Request::Read { file, from }).await?
            else {
                return Err(failed("its agent answered something else"));
            };
            bytes.extend_from_slice(&piece);
            if piece.len() < PIECE_BYTES {
                return Ok(bytes);
            }
        }
        Err(failed("it is too large"))
    }

    async fn keep(self) -> Result<Vec<String>, BackendError> {
        for link in self.links.values() {
            link.ask(Request::Keep).await?;
        }
        Ok(self.containers.keep())
    }
}

/// Starts one host; a future of its own so that hosts come up at the same time.
async fn start_host(
    containers: &Containers,
    plan: &Plan,
    host: &CreatedHost,
    linger: Duration,
    path_key: Option<u64>,
    turns: &Semaphore,
) -> Result<(HostName, Arc<AgentLink>), BackendError> {
    let name = host.plan.name.clone();
    let link = host::start(containers, host, turns).await?;
    host::open(&link, plan, host, linger, path_key).await?;
    Ok((name, link))
}

/// Makes the container of every node, ahead of its start.
async fn create_nodes(
    containers: &Arc<Containers>,
    plan: &Plan,
    hosts: &HashMap<HostName, String>,
    prefix: &str,
) -> Result<HashMap<NodeName, NodeContainers>, BackendError> {
    let made = plan.nodes.iter().map(|node| async move {
        let host = hosts.get(&node.host).ok_or_else(|| no_host(&node.host))?;
        let display = display::create(containers, &plan.cell, node, host, prefix).await?;
        let joins = node::Joins {
            host,
            prefix,
            display: display.as_ref(),
        };
        let container = node::create(containers, &plan.cell, node, joins, 1).await?;
        Ok((
            node.name.clone(),
            NodeContainers {
                ready: Some(container),
                display,
                ..Default::default()
            },
        ))
    });
    Ok(try_join_all(made).await?.into_iter().collect())
}

impl Containers {
    /// Makes a container of this cell and gives its id. One that the engine was asked for is
    /// known here, and removed, even when nobody waits for it any more.
    pub(super) async fn create(
        self: &Arc<Self>,
        role: Role,
        operation: &str,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<String, BackendError> {
        let containers = Arc::clone(self);
        let operation = operation.to_owned();
        let name = name.to_owned();
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let making = async move {
            let client = &containers.shared.client;
            let created = bounded(&operation, client.create_container(Some(options), body)).await?;
            containers.own(role, &created.id, name);
            Ok(created.id)
        };
        self.shared.finish(making).await
    }

    fn own(&self, role: Role, id: &str, name: String) {
        self.made().push(Made {
            id: id.to_owned(),
            name,
            role,
            link: None,
        });
    }

    /// Keeps the agent in a container alive until the container is removed.
    pub(super) fn hold(&self, id: &str, link: &Arc<AgentLink>) {
        if let Some(made) = self.made().iter_mut().find(|made| made.id == id) {
            made.link = Some(Arc::clone(link));
        }
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Vec<Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the containers and networks out of every removal of this run; gives the containers'
    /// names, hosts first.
    fn keep(&self) -> Vec<String> {
        self.kept.store(true, Ordering::Relaxed);
        let networks = self.lease.iter().flat_map(|lease| lease.subnets());
        let names = networks.map(|&subnet| networks::name(&self.shared.run, subnet));
        let made = self.made();
        let ids = made.iter().map(|made| made.id.clone());
        self.shared.kept.add(names.chain(ids));
        let sorted = made.iter().map(|one| (one.role == Role::Node, &one.name));
        let sorted: BTreeSet<_> = sorted.collect();
        sorted.into_iter().map(|(_, name)| name.clone()).collect()
    }
}

impl Drop for Containers {
    /// Removes the containers in the background, off the path of the next cell; the networks are
    /// free for it once all of them are gone. Networks that a container may still be on are leased
    /// to nobody any more: the sweep of the whole run removes them.
    fn drop(&mut self) {
        // Forgotten unless it is given back: neither a kept cell nor one whose removal is cut short
        // frees its networks.
        let lease = ManuallyDrop::new(self.lease.take());
        if self.kept.load(Ordering::Relaxed) {
            return;
        }
        let made = std::mem::take(&mut *self.made());
        let shared = Arc::clone(&self.shared);
        let removal = async move {
            if remove_cell(&shared.client, made).await {
                drop(ManuallyDrop::into_inner(lease));
            }
        };
        // Without a runtime the sweep of the whole run removes them.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.shared.work.spawn_on(removal, &runtime);
        }
    }
}

/// Removes the containers of a cell and tells whether all of them are gone. Hosts go one after
/// another, each with its agent alive until then: where several endpoints leave a network at once,
/// the engine (seen in 20.10) may lose count of them and never let the network go.
async fn remove_cell(client: &bollard::Docker, made: Vec<Made>) -> bool {
    let (hosts, nodes): (Vec<_>, Vec<_>) =
        made.into_iter().partition(|made| made.role == Role::Host);
    let nodes = join_all(nodes.iter().map(|node| remove(client, &node.id))).await;
    let mut all_gone = nodes.into_iter().all(|gone| gone);
    for host in hosts {
        all_gone &= remove(client, &host.id).await;
        drop(host.link);
    }
    all_gone
}

/// Removes a container, whatever it is doing, and tells whether it is gone.
async fn remove(client: &bollard::Docker, id: &str) -> bool {
    let operation = format!("remove container {id}");
    let mut why = String::new();
    for _ in 0..REMOVAL_ATTEMPTS {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        match answered(&operation, client.remove_container(id, Some(options))).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) if status(&error) == Some(404) => return true,
            Ok(Err(error)) => {
                why = cause(&error);
                if !words::is_removal_under_way(&why) {
                    break;
                }
                await_removal(client, id).await;
            }
            Err(error) => {
                why = error.message;
                break;
            }
        }
    }
    tracing::debug!(id, error = why, "a container was not removed at once");
    false
}

/// Waits until a removal that somebody else asked for has ended, well or not.
async fn await_removal(client: &bollard::Docker, id: &str) {
    let options = WaitContainerOptionsBuilder::new()
        .condition("removed")
        .build();
    let mut removed = std::pin::pin!(client.wait_container(id, Some(options)));
    // Whatever it tells, the next attempt finds out how things are.
    tokio::time::timeout(ENGINE_TIMEOUT, removed.next())
        .await
        .ok();
}

fn no_host(host: &HostName) -> BackendError {
    BackendError::machine(format!("there is no host `{host}` in this cell"))
}
