//! The state of a fake cell: its hosts, processes and connections. Everything that happens to it
//! happens in one call, at once and in a fixed order.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use tokio::sync::watch;

use super::capture::{HostCapture, frame};
use super::process::{Pid, Process};
use super::program::{Act, Input};
use super::tcp::{Closed, Conn, ConnId, Segment, Side, State};
use crate::agent::protocol::{ConnectionOwner, SocketRow};
use crate::judge::HowEnded;
use crate::link::Route;
use crate::pcapng::Direction;
use crate::plan::{HostPlan, Plan, Subnet};
use crate::units::{HostName, NodeName, Signal, Timestamp};

/// The first port of initiators, as Linux chooses them.
const FIRST_EPHEMERAL_PORT: u16 = 32_768;

/// Time between two packets, at least.
const BETWEEN_PACKETS: Duration = Duration::from_micros(10);

/// The most inputs that one call may lead to: programs that answer each other for ever are a
/// mistake of a test.
const MAX_INPUTS: usize = 100_000;

/// Backlog that listening sockets show.
const BACKLOG: u32 = 128;

/// A host: what it captures, and who opened connections there.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) plan: HostPlan,
    pub(super) capture: HostCapture,
    pub(super) owners: Vec<ConnectionOwner>,
    pub(super) closed: bool,
}

/// A fake cell.
#[derive(Debug)]
pub(super) struct World {
    pub(super) hosts: BTreeMap<HostName, Host>,
    pub(super) processes: BTreeMap<Pid, Process>,
    /// Ways to other networks; what links do to packets is not pretended.
    routes: BTreeMap<HostName, Vec<Route>>,
    listeners: BTreeMap<(HostName, u16), Pid>,
    conns: Vec<Conn>,
    queue: VecDeque<(Pid, Input)>,
    last: Timestamp,
    /// Counts the calls that changed something, for those who wait.
    pub(super) changes: watch::Sender<u64>,
}

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        let hosts = plan.hosts.iter().map(|host| {
            let state = Host {
                plan: host.clone(),
                capture: HostCapture::new(host),
                owners: Vec::new(),
                closed: false,
            };
            (host.name.clone(), state)
        });
        Self {
            hosts: hosts.collect(),
            processes: BTreeMap::new(),
            routes: plan.routes.clone(),
            listeners: BTreeMap::new(),
            conns: Vec::new(),
            queue: VecDeque::new(),
            last: Timestamp::default(),
            changes: watch::channel(0).0,
        }
    }

    /// The present moment, later than every one before.
    pub(super) fn tick(&mut self) -> Timestamp {
        let least = u64::try_from(BETWEEN_PACKETS.as_nanos()).unwrap_or(u64::MAX);
        self.last = Timestamp::now().max(Timestamp(self.last.0.saturating_add(least)));
        self.last
    }

    /// Adds a process and lets it start.
    pub(super) fn spawn(&mut self, process: Process) -> Pid {
        let pid = self
            .processes
            .last_key_value()
            .map_or(2, |(pid, _)| pid + 1);
        self.processes.insert(pid, process);
        self.happen(pid, Input::Started);
        pid
    }

    /// Lets something happen to a process, and everything that follows from it.
    pub(super) fn happen(&mut self, pid: Pid, input: Input) {
        self.queue.push_back((pid, input));
        self.settle();
    }

    /// The latest process of a node that is alive.
    pub(super) fn alive(&self, node: &NodeName) -> Option<Pid> {
        let mut latest = self.processes.iter().rev();
        latest
            .find(|(_, process)| process.node == *node && process.is_alive())
            .map(|(pid, _)| *pid)
    }

    /// Which process listens on a port of a host.
    pub(super) fn listener(&self, host: &HostName, port: u16) -> Option<Pid> {
        self.listeners.get(&(host.clone(), port)).copied()
    }

    /// Whether a process has an established connection to a port.
    pub(super) fn is_connected(&self, pid: Pid, port: u16) -> bool {
        self.conns.iter().any(|conn| {
            let client = conn.end(Side::Client);
            client.owner == Some(pid)
                && client.state == State::Established
                && conn.end(Side::Server).address.port() == port
        })
    }

    /// Delivers a signal as a kernel does.
    pub(super) fn signal(&mut self, pid: Pid, signal: Signal) {
        match signal.number() {
            libc::SIGKILL => {
                self.exit(pid, HowEnded::Killed(libc::SIGKILL));
                self.settle();
            }
            libc::SIGSTOP => self.freeze(pid, true),
            libc::SIGCONT => self.freeze(pid, false),
            libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH => {}
            _ => self.happen(pid, Input::Signal(signal)),
        }
    }

    /// Stops a process from running, or lets it go on with what happened meanwhile.
    pub(super) fn freeze(&mut self, pid: Pid, frozen: bool) {
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        process.frozen = frozen;
        if !frozen {
            let pending = std::mem::take(&mut process.pending);
            self.queue
                .extend(pending.into_iter().map(|input| (pid, input)));
        }
        self.settle();
    }

    /// The socket table of a host: listening sockets first.
    pub(super) fn sockets(&self, host: &HostName) -> Vec<SocketRow> {
        let listening = self.listeners.iter().filter(|((on, _), _)| on == host);
        let mut rows: Vec<_> = listening
            .map(|(&(_, port), pid)| SocketRow {
                proto: "tcp".to_owned(),
                state: "LISTEN".to_owned(),
                recv_q: 0,
                send_q: BACKLOG,
                local: (Ipv4Addr::UNSPECIFIED, port).into(),
                remote: (Ipv4Addr::UNSPECIFIED, 0).into(),
                node: self.node_of(Some(*pid)),
                timer: None,
                retransmits: 0,
            })
            .collect();
        for conn in &self.conns {
            for side in [Side::Client, Side::Server] {
                let end = conn.end(side);
                if end.host == *host && end.state != State::Closed {
                    rows.push(SocketRow {
                        proto: "tcp".to_owned(),
                        state: end.state.name().to_owned(),
                        recv_q: end.unread,
                        send_q: 0,
                        local: end.address.into(),
                        remote: conn.end(side.other()).address.into(),
                        node: self.node_of(end.owner),
                        timer: None,
                        retransmits: 0,
                    });
                }
            }
        }
        rows
    }

    /// What the connections of a process have received and it has not read.
    pub(super) fn unread_bytes(&self, pid: Pid) -> u64 {
        let sides = [Side::Client, Side::Server];
        let ends = self
            .conns
            .iter()
            .flat_map(|conn| sides.map(|side| conn.end(side)));
        let own = ends.filter(|end| end.owner == Some(pid) && end.state != State::Closed);
        own.map(|end| u64::from(end.unread)).sum()
    }

    fn node_of(&self, pid: Option<Pid>) -> Option<NodeName> {
        Some(self.processes.get(&pid?)?.node.clone())
    }

    /// Gives every input that waits to its program, and does what the programs do.
    fn settle(&mut self) {
        for _ in 0..MAX_INPUTS {
            let Some((pid, input)) = self.queue.pop_front() else {
                break;
            };
            self.deliver(pid, input);
        }
        debug_assert!(self.queue.is_empty(), "programs answer each other for ever");
        self.queue.clear();
        self.changes.send_modify(|count| *count += 1);
    }

    fn deliver(&mut self, pid: Pid, input: Input) {
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        if !process.is_alive() {
            return;
        }
        if process.frozen {
            if let Input::Data(conn, bytes) = &input {
                let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                self.end_of(*conn, pid).unread += len;
            }
            // Only what a driver said to it before it was frozen can fill this, and that is bounded.
            if let Some(process) = self.processes.get_mut(&pid) {
                process.pending.push_back(input);
            }
            return;
        }
        let acts = process.running.on(input.clone());
        if let Input::Data(conn, _) = input {
            self.end_of(conn, pid).unread = 0;
        }
        for act in acts {
            self.act(pid, act);
        }
    }

    /// The end of a connection that a process holds or held.
    fn end_of(&mut self, conn: ConnId, pid: Pid) -> &mut super::tcp::End {
        let side = self.side_of(conn, pid);
        self.conns[conn.0].end_mut(side)
    }

    fn side_of(&self, conn: ConnId, pid: Pid) -> Side {
        if self.conns[conn.0].end(Side::Client).owner == Some(pid) {
            Side::Client
        } else {
            Side::Server
        }
    }

    fn act(&mut self, pid: Pid, act: Act) {
        match act {
            Act::Listen(port) => self.listen(pid, port),
            Act::StopListening => self.listeners.retain(|_, owner| *owner != pid),
            Act::Connect(address, port) => self.connect(pid, address, port),
            Act::Send(conn, bytes) => self.send(pid, conn, &bytes),
            Act::Shutdown(conn) => {
                let side = self.side_of(conn, pid);
                let mut segments = Vec::new();
                let told = self.conns[conn.0].shutdown(side, &mut segments);
                self.transmit(conn, &segments);
                if told {
                    self.tell(conn, side.other(), Input::Eof(conn));
                }
            }
            Act::Close(conn) => self.close(conn, self.side_of(conn, pid)),
            Act::Abort(conn) => {
                let side = self.side_of(conn, pid);
                let mut segments = Vec::new();
                self.conns[conn.0].reset(side, &mut segments);
                self.transmit(conn, &segments);
                self.tell(conn, side.other(), Input::Reset(conn));
            }
            Act::Print(stream, text) => {
                let at = self.tick();
                let printed = self.processes.get(&pid).map(|p| p.print(at, stream, &text));
                if printed == Some(false) {
                    self.exit(pid, HowEnded::Killed(libc::SIGPIPE));
                }
            }
            Act::Exit(code) => self.exit(pid, HowEnded::Exited(code)),
            Act::Die(signal) => self.exit(pid, HowEnded::Killed(signal.number())),
        }
    }

    fn listen(&mut self, pid: Pid, port: u16) {
        let Some(host) = self.processes.get(&pid).map(|process| process.host.clone()) else {
            return;
        };
        if self.listener(&host, port).is_some() {
            let text = format!("address in use: {port}");
            self.act(pid, Act::Print(crate::plan::Stream::Stderr, text));
            self.exit(pid, HowEnded::Exited(1));
        } else {
            self.listeners.insert((host, port), pid);
        }
    }

    fn connect(&mut self, pid: Pid, address: Ipv4Addr, port: u16) {
        let Some((client, local, server)) = self.route(pid, address) else {
            self.queue
                .push_back((pid, Input::ConnectFailed("no route to host")));
            return;
        };
        let number = self.conns.len();
        let ephemeral =
            u16::try_from(number).map_or(u16::MAX, |n| FIRST_EPHEMERAL_PORT.saturating_add(n));
        let local = SocketAddrV4::new(local, ephemeral);
        let remote = SocketAddrV4::new(address, port);
        let listener = self.listener(&server, port);
        let owner = ConnectionOwner {
            at: self.tick(),
            local: SocketAddr::V4(local),
            remote: SocketAddr::V4(remote),
            node: self.node_of(Some(pid)),
        };
        if let Some(host) = self.hosts.get_mut(&client) {
            host.owners.push(owner);
        }
        let mut conn = Conn::new(number, (client, local, pid), (server, remote, listener));
        let mut segments = Vec::new();
        let open = conn.open(&mut segments);
        self.conns.push(conn);
        let conn = ConnId(number);
        self.transmit(conn, &segments);
        if open {
            self.tell(conn, Side::Server, Input::Accepted(conn));
            self.queue.push_back((pid, Input::Connected(conn)));
        } else {
            self.conns[number].end_mut(Side::Client).owner = None;
            self.queue
                .push_back((pid, Input::ConnectFailed("connection refused")));
        }
    }

    /// The host of a process, the address that it sends from, and the host that has `to`.
    fn route(&self, pid: Pid, to: Ipv4Addr) -> Option<(HostName, Ipv4Addr, HostName)> {
        let from = &self.hosts.get(&self.processes.get(&pid)?.host)?.plan;
        if to.is_loopback() {
            return Some((from.name.clone(), to, from.name.clone()));
        }
        let (server, network) = self.hosts.values().find_map(|host| {
            let mut interfaces = host.plan.interfaces.iter();
            let interface = interfaces.find(|interface| interface.address == to)?;
            Some((host.plan.name.clone(), &interface.network))
        })?;
        if server == from.name {
            return Some((server.clone(), to, server));
        }
        let via = self.routes.get(&from.name).and_then(|routes| {
            let route = routes.iter().find(|route| route.network.contains(&to))?;
            route.via.map(Subnet::containing)
        });
        let mut interfaces = from.interfaces.iter();
        let local = interfaces.find(|interface| {
            interface.network == *network || via == Some(Subnet::containing(interface.address))
        })?;
        Some((from.name.clone(), local.address, server))
    }

    fn send(&mut self, pid: Pid, conn: ConnId, bytes: &[u8]) {
        let side = self.side_of(conn, pid);
        let mut segments = Vec::new();
        let arrived = self.conns[conn.0].send(side, bytes, &mut segments);
        let sent = segments.iter().any(|segment| !segment.payload.is_empty());
        self.transmit(conn, &segments);
        if !arrived {
            self.tell(conn, side, Input::Reset(conn));
        } else if sent {
            self.tell(conn, side.other(), Input::Data(conn, bytes.to_vec()));
        }
    }

    fn close(&mut self, conn: ConnId, side: Side) {
        let mut segments = Vec::new();
        let closed = self.conns[conn.0].close(side, &mut segments);
        self.transmit(conn, &segments);
        match closed {
            Closed::Quietly => {}
            Closed::ByFin => self.tell(conn, side.other(), Input::Eof(conn)),
            Closed::ByReset => self.tell(conn, side.other(), Input::Reset(conn)),
        }
    }

    /// Queues an input for the process at one end, if there still is one.
    fn tell(&mut self, conn: ConnId, side: Side, input: Input) {
        if let Some(pid) = self.conns[conn.0].end(side).owner {
            self.queue.push_back((pid, input));
        }
    }

    /// Ends a process: its kernel closes what it had open.
    fn exit(&mut self, pid: Pid, how: HowEnded) {
        let at = self.tick();
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        if !process.is_alive() {
            return;
        }
        process.end(at, how);
        self.listeners.retain(|_, owner| *owner != pid);
        for number in 0..self.conns.len() {
            for side in [Side::Client, Side::Server] {
                if self.conns[number].end(side).owner == Some(pid) {
                    self.close(ConnId(number), side);
                }
            }
        }
    }

    /// Puts segments on record where they are sent and where they arrive.
    fn transmit(&mut self, conn: ConnId, segments: &[Segment]) {
        for segment in segments {
            let conn = &self.conns[conn.0];
            let (from, to) = (conn.end(segment.from), conn.end(segment.from.other()));
            let on_loopback = from.host == to.host;
            let packet = frame(conn, segment, on_loopback);
            let ends = [
                (from.host.clone(), *from.address.ip(), Direction::Outbound),
                (to.host.clone(), *to.address.ip(), Direction::Inbound),
            ];
            for (host, address, direction) in ends {
                let at = self.tick();
                let address = (!on_loopback).then_some(address);
                if let Some(host) = self.hosts.get_mut(&host).filter(|host| !host.closed) {
                    host.capture.add(address, at, direction, packet.clone());
                }
            }
        }
    }
}
