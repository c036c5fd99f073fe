//! What an agent does for each request.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use super::capture::Capture;
use super::filters::Filter;
use super::forward::Forwarder;
use super::interfaces::Interface;
use super::names::{self, NameService};
use super::owners::{Attempts, OwnerWatch, Owners};
use super::paths::Paths;
use super::processes::{MAX_REMEMBERED, Processes};
use super::programs::Programs;
use super::protocol::{
    AgentError, AgentErrorKind, HOLD_SOCKET, HostFile, LinkChange, Names, PIECE_BYTES, PathProbe,
    Request, Response, SocketRow,
};
use super::tables::Tables;
use super::waiting::{Goal, wait_for};
use super::{display, interfaces, outage, route, routes, signals, sockets};
use crate::link::{LinkOrder, Route};
use crate::plan::CapturePlan;
use crate::units::{NodeName, Timestamp};

/// The longest that a host outlives a controller that did not ask to keep it.
const MAX_LINGER: Duration = Duration::from_mins(1);

/// The host that the agent holds.
#[derive(Debug)]
pub(super) struct Host {
    processes: Processes,
    programs: Programs,
    attempts: Attempts,
    tables: Tables,
    capture_path: PathBuf,
    recording: Mutex<Recording>,
    kept: AtomicBool,
    linger: OnceLock<Duration>,
    /// As long as the agent lives: programs may outlive the capture.
    name_service: OnceLock<NameService>,
}

/// What has become of the capture. There is one in an agent's life.
#[derive(Debug)]
enum Recording {
    NotYet,
    Now(Box<Running>),
    Over,
}

/// What runs while the capture does.
#[derive(Debug)]
struct Running {
    capture: Capture,
    /// On any other host.
    owners: Option<OwnerWatch>,
    /// On the host of a link.
    forwarder: Option<Forwarder>,
}

/// What becomes of a host when it is opened.
struct Order<'a> {
    stealth: bool,
    routes: &'a [Route],
    link: Option<LinkOrder>,
    capture: CapturePlan,
    paths: Paths,
}

impl Host {
    /// A host that is not captured yet.
    pub(super) fn new(capture_path: PathBuf) -> Self {
        let processes = Processes::new();
        Self {
            programs: Programs::new(processes.clone()),
            processes,
            attempts: Attempts::default(),
            tables: Tables::default(),
            capture_path,
            recording: Mutex::new(Recording::NotYet),
            kept: AtomicBool::new(false),
            linger: OnceLock::new(),
            name_service: OnceLock::new(),
        }
    }

    /// Whether it shall outlive its controller.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// How long it outlives a controller that has gone, unless it is kept.
    pub(super) fn linger(&self) -> Duration {
        self.linger.get().copied().unwrap_or_default()
    }

    /// Does what is asked.
    pub(super) async fn answer(&self, request: Request) -> Result<Response, AgentError> {
        match request {
            Request::Open {
                host,
                networks,
                linger,
                stealth,
                names,
                path_key,
                routes,
                link,
                capture,
            } => {
                // A second opening is refused below, and the first one's word stands.
                self.linger.set(linger.min(MAX_LINGER)).ok();
                let order = Order {
                    stealth,
                    routes: &routes,
                    link: link.map(|link| *link),
                    capture,
                    paths: Paths::new(path_key),
                };
                let opened = self.open(&host, &networks, order).await?;
                if let Err(error) = self.serve_names(names) {
                    // What is not found takes its time then, as it does without a rig.
                    tracing::warn!(%error, "names cannot be served to the programs of {host}");
                }
                Ok(opened)
            }
            Request::AwaitListening { node, port, within } => {
                let at = self.wait_for(&node, Goal::Listening(port), within).await?;
                Ok(Response::Listening { at })
            }
            Request::AwaitConnected { node, port, within } => {
                let at = self.wait_for(&node, Goal::Connected(port), within).await?;
                Ok(Response::Connected { at })
            }
            Request::AwaitBound { node, port, within } => {
                let at = self.wait_for(&node, Goal::Bound(port), within).await?;
                Ok(Response::Bound { at })
            }
            Request::AwaitStarted {
                node,
                visit,
                within,
            } => self.programs.await_started(node, visit, within).await,
            Request::AwaitEnded {
                node,
                visit,
                generation,
            } => self.programs.await_ended(node, visit, generation).await,
            Request::Signal { node, signal } => {
                signals::signal(&self.processes, &node, signal).await
            }
            Request::KillUnread { node, within } => {
                signals::kill_unread(&self.processes, &node, within).await
            }
            Request::Crash => self.crash().await,
            Request::Boot => self.boot().await,
            Request::Unplug { addresses } => self.unplug(&addresses).await,
            Request::Plug { addresses } => self.plug(&addresses).await,
            Request::Pin {
                from,
                neighbour,
                mac,
            } => self.pin(from, neighbour, mac).await,
            Request::Display { node, number, act } => {
                let picture = self.path(HostFile::Picture(number));
                display::act(self.processes.clone(), node, number, act, picture).await
            }
            Request::Read { file, from } => self.read(file, from).await,
            Request::Probe { probes } => self.probe(&probes).await,
            Request::AwaitProbes { numbers, within } => self.await_probes(numbers, within).await,
            Request::Sockets => self.sockets().await,
            Request::MoreSockets { table, from } => self.more_sockets(table, from),
            Request::Link { change } => self.change_link(change).await,
            Request::Keep => {
                self.kept.store(true, Ordering::Relaxed);
                Ok(Response::Kept)
            }
            Request::Close => self.close().await,
        }
    }

    async fn wait_for(
        &self,
        node: &NodeName,
        goal: Goal,
        within: Duration,
    ) -> Result<Timestamp, AgentError> {
        wait_for(&self.processes, &self.attempts, node, goal, within).await
    }

    fn path(&self, file: HostFile) -> PathBuf {
        match file {
            HostFile::Capture => self.capture_path.clone(),
            HostFile::Picture(number) => {
                let name = format!("display-{number}.png");
                self.capture_path.with_file_name(name)
            }
        }
    }

    async fn read(&self, file: HostFile, from: u64) -> Result<Response, AgentError> {
        if file == HostFile::Capture && !matches!(*self.recording.lock().await, Recording::Over) {
            return Err(protocol("the capture is still written"));
        }
        let path = self.path(file);
        let shown = path.display().to_string();
        let read = tokio::task::spawn_blocking(move || piece(&path, from));
        let bytes = read
            .await
            .map_err(io::Error::from)
            .flatten()
            .map_err(|error| system("read", &shown, &error))?;
        Ok(Response::Piece { bytes })
    }

    async fn open(
        &self,
        host: &str,
        networks: &[(IpAddr, String)],
        order: Order<'_>,
    ) -> Result<Response, AgentError> {
        let Order {
            stealth,
            routes,
            link,
            capture,
            paths,
        } = order;
        let mut recording = self.recording.lock().await;
        if !matches!(*recording, Recording::NotYet) {
            return Err(protocol("the capture was opened before"));
        }
        self.programs
            .listen(HOLD_SOCKET)
            .map_err(|error| system("listen to the programs of", host, &error))?;
        let interfaces = interfaces::prepare(host, networks)
            .map_err(|error| system("prepare the interfaces of", host, &error))?;
        if stealth {
            outage::filter_all(&interfaces, Filter::Stealth)
                .map_err(|error| system("make a stealth host of", host, &error))?;
        }
        // Where a link joins networks the engine gives every host a way out, those without routes too.
        routes::set(routes).map_err(|error| system("set the routes of", host, &error))?;
        let capture = Capture::open(&self.capture_path, interfaces, capture, paths)
            .await
            .map_err(|error| system("open the capture of", host, &error))?;
        // No program runs on the host of a link: what leaves it is others'.
        let owners = if link.is_some() {
            None
        } else {
            let watch = OwnerWatch::start(self.processes.clone(), self.attempts.clone());
            Some(watch.map_err(|error| system("watch connections of", host, &error))?)
        };
        let forwarder = link.map(|link| Forwarder::start(link, capture.interfaces()));
        let forwarder = forwarder
            .transpose()
            .map_err(|error| system("forward between the networks of", host, &error))?;
        let interfaces = capture.interfaces().iter().map(|i| i.public.clone());
        let interfaces = interfaces.collect();
        *recording = Recording::Now(Box::new(Running {
            capture,
            owners,
            forwarder,
        }));
        Ok(Response::Opened { interfaces })
    }

    /// Sees to what programs are told that ask for a name.
    fn serve_names(&self, names: Names) -> io::Result<()> {
        match names {
            Names::Machine => return Ok(()),
            Names::Served => {
                self.name_service.set(NameService::start()?).ok();
            }
            Names::Left => {}
        }
        names::direct_programs(names == Names::Served)
    }

    async fn close(&self) -> Result<Response, AgentError> {
        let mut recording = self.recording.lock().await;
        match std::mem::replace(&mut *recording, Recording::Over) {
            Recording::NotYet => {
                *recording = Recording::NotYet;
                Err(protocol("the capture was not opened"))
            }
            Recording::Over => Err(protocol("the capture was closed before")),
            Recording::Now(running) => {
                let Running {
                    capture,
                    owners,
                    forwarder,
                } = *running;
                let interfaces = capture.close().await;
                let owners = match owners {
                    Some(owners) => owners.finish().await,
                    None => Ok(Owners::default()),
                };
                let interfaces =
                    interfaces.map_err(|error| system("close", "the capture", &error))?;
                let owners =
                    owners.map_err(|error| system("name", "the owners of connections", &error))?;
                // After the capture, so that what is captured is accounted for.
                let link = match forwarder {
                    Some(forwarder) => Some(Box::new(
                        forwarder
                            .finish()
                            .await
                            .map_err(|error| system("end", "the link", &error))?,
                    )),
                    None => None,
                };
                Ok(Response::Closed {
                    interfaces,
                    owners: owners.connections,
                    datagrams: owners.datagrams,
                    link,
                })
            }
        }
    }

    async fn probe(&self, probes: &[PathProbe]) -> Result<Response, AgentError> {
        let recording = self.recording.lock().await;
        let Recording::Now(running) = &*recording else {
            return Err(protocol("the host does not run"));
        };
        for probe in probes {
            let sent = running.capture.probe(probe);
            sent.map_err(|error| system("probe the path to", &probe.to.to_string(), &error))?;
        }
        Ok(Response::Probed {
            missing: Vec::new(),
        })
    }

    async fn await_probes(
        &self,
        numbers: BTreeSet<u32>,
        within: Duration,
    ) -> Result<Response, AgentError> {
        let paths = match &*self.recording.lock().await {
            Recording::Now(running) => running.capture.paths().clone(),
            _ => return Err(protocol("the host does not run")),
        };
        let missing = paths.missing(numbers, within).await;
        Ok(Response::Probed { missing })
    }

    async fn change_link(&self, change: LinkChange) -> Result<Response, AgentError> {
        let recording = self.recording.lock().await;
        let Recording::Now(running) = &*recording else {
            return Err(protocol("the host does not run"));
        };
        let Some(forwarder) = &running.forwarder else {
            return Err(protocol("the host is not that of a link"));
        };
        let at = forwarder.change(change).await;
        let at = at.map_err(|error| system("change", "the link", &error))?;
        Ok(Response::Changed { at })
    }

    /// Reads the tables on a thread of its own: tens of thousands of sockets take a while, and others ask meanwhile.
    async fn sockets(&self) -> Result<Response, AgentError> {
        let processes = self.processes.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let at = Timestamp::now();
            let table = sockets::table(&processes.look())?;
            Ok((at, Timestamp::now(), table))
        });
        let (at, until, table) = reading
            .await
            .map_err(io::Error::from)
            .flatten()
            .map_err(|error| system("read", "the socket tables", &error))?;
        self.remember(&table);
        let (sockets, rest) = self.tables.begin(table);
        Ok(Response::Sockets {
            at,
            until,
            sockets,
            rest,
        })
    }

    /// Keeps in mind whose connections are, those that were opened here: who looks after SYNs may come too late to see the
    /// program of a short one.
    fn remember(&self, table: &[SocketRow]) {
        let listening = table.iter().filter(|row| row.state == "LISTEN");
        let served: HashSet<u16> = listening.map(|row| row.local.port()).collect();
        let opened = table.iter().filter(|row| {
            row.proto == "tcp" && row.remote.port() != 0 && !served.contains(&row.local.port())
        });
        for row in opened.take(MAX_REMEMBERED) {
            if let Some(node) = &row.node {
                self.processes.remember(row.local, row.remote, node);
            }
        }
    }

    fn more_sockets(&self, table: u64, from: usize) -> Result<Response, AgentError> {
        let more = self.tables.more(table, from);
        let (sockets, more) = more.ok_or_else(|| protocol("no such rows are kept"))?;
        Ok(Response::MoreSockets { sockets, more })
    }

    async fn crash(&self) -> Result<Response, AgentError> {
        let failed = |error| system("crash", "the host", &error);
        let recording = self.recording.lock().await;
        let capture = recorded(&recording)?;
        let every: Vec<_> = capture.interfaces().iter().enumerate().collect();
        let at = capture.outages().begin(&every).map_err(failed)?;
        self.programs.all_killed();
        outage::lose_memory(&self.processes).await.map_err(failed)?;
        Ok(cut(at, &every))
    }

    async fn boot(&self) -> Result<Response, AgentError> {
        let recording = self.recording.lock().await;
        let capture = recorded(&recording)?;
        let every: Vec<_> = capture.interfaces().iter().enumerate().collect();
        let at = capture.outages().end(&every);
        let at = at.map_err(|error| system("boot", "the host", &error))?;
        Ok(Response::Mended { at })
    }

    async fn unplug(&self, addresses: &[IpAddr]) -> Result<Response, AgentError> {
        let recording = self.recording.lock().await;
        let capture = recorded(&recording)?;
        let found = with_addresses(capture.interfaces(), addresses)?;
        let at = capture.outages().begin(&found);
        let at = at.map_err(|error| system("unplug", "the host", &error))?;
        Ok(cut(at, &found))
    }

    async fn plug(&self, addresses: &[IpAddr]) -> Result<Response, AgentError> {
        let recording = self.recording.lock().await;
        let capture = recorded(&recording)?;
        let found = with_addresses(capture.interfaces(), addresses)?;
        let at = capture.outages().end(&found);
        let at = at.map_err(|error| system("plug in", "the host", &error))?;
        Ok(Response::Mended { at })
    }

    async fn pin(
        &self,
        from: IpAddr,
        neighbour: IpAddr,
        mac: [u8; 6],
    ) -> Result<Response, AgentError> {
        let recording = self.recording.lock().await;
        let capture = recorded(&recording)?;
        for (_, interface) in with_addresses(capture.interfaces(), &[from])? {
            route::pin_neighbour(interface.index, neighbour, mac).map_err(|error| {
                system("keep the link address of", &neighbour.to_string(), &error)
            })?;
        }
        Ok(Response::Pinned)
    }
}

/// The capture, while it records.
fn recorded(recording: &Recording) -> Result<&Capture, AgentError> {
    match recording {
        Recording::Now(running) => Ok(&running.capture),
        Recording::NotYet => Err(protocol("the capture was not opened")),
        Recording::Over => Err(protocol("the capture was closed before")),
    }
}

/// The interfaces that have these addresses, with their places in the list.
fn with_addresses<'a>(
    interfaces: &'a [Interface],
    addresses: &[IpAddr],
) -> Result<Vec<(usize, &'a Interface)>, AgentError> {
    let find = |address| {
        let mut all = interfaces.iter().enumerate();
        all.find(|(_, interface)| interface.public.addresses.contains(address))
            .ok_or_else(|| protocol(&format!("no interface has the address {address}")))
    };
    addresses.iter().map(find).collect()
}

/// The answer that tells which interfaces are cut off, the loopback interface left out.
fn cut(at: Timestamp, interfaces: &[(usize, &Interface)]) -> Response {
    let wired = interfaces.iter().filter(|(_, one)| !one.is_loopback());
    Response::Cut {
        at,
        interfaces: wired.map(|(_, one)| one.public.clone()).collect(),
    }
}

fn protocol(message: &str) -> AgentError {
    AgentError {
        kind: AgentErrorKind::Protocol,
        message: message.to_owned(),
    }
}

fn system(operation: &str, object: &str, cause: &io::Error) -> AgentError {
    AgentError {
        kind: AgentErrorKind::System,
        message: format!("{operation} {object}: {cause}"),
    }
}

/// What a file holds from a byte on, at most [`PIECE_BYTES`] of it.
fn piece(path: &Path, from: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(PIECE_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
