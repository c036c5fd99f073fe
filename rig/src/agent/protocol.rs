//! What controller and agent say to each other: one JSON object a line, each request answered by
//! one reply with the same id, in any order.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::link::{LinkAccount, LinkOrder, Route, Rule, Settings};
use crate::plan::{CapturePlan, Gesture};
use crate::units::{NodeName, Signal, Timestamp};

/// Environment variable that tells which node a process belongs to.
pub const NODE_VARIABLE: &str = "RIG_NODE";

/// Name, in the abstract namespace (unix(7)) of the host, at which the first processes of containers tell of their programs.
pub const HOLD_SOCKET: &str = "rig-agent";

/// The first process of nodes' containers, an executable file: `hold/main.rs` tells what it does.
pub const HOLD_PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hold"));

/// Where the agent serves names: one of the loopback addresses, as other name services of a host have (systemd-resolved).
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);

/// Where the agent writes its capture, in its own file system.
pub const CAPTURE_PATH: &str = "/capture.pcapng";

/// The longest line either side accepts, in bytes.
pub const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;

/// How much of a file one answer holds, in bytes. In base64 it takes a third more, which fits into a line.
pub const PIECE_BYTES: usize = 512 * 1024;

/// The most rows of a socket table: both ends of a connection from each port of an address.
pub const MAX_SOCKET_ROWS: usize = 131_072;

/// A request with the id that its reply will carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestLine {
    /// Chosen by the controller, unique among requests under way.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// What the controller asks of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Request {
    /// First request: switch offloads off, open the capture on every interface and prove by a
    /// sentinel on each that it records. Answered by [`Response::Opened`].
    Open {
        /// The host's name; interfaces are named `host@network` in the capture.
        host: String,
        /// Network of each address, so that interfaces can be named after networks.
        networks: Vec<(IpAddr, String)>,
        /// How long the host outlives its controller.
        #[serde(default)]
        linger: Duration,
        /// Networks that the host is not on, and the links that lead there. Routes that it has by
        /// default are removed.
        #[serde(default)]
        routes: Vec<Route>,
        /// It is the host of a link, and forwards.
        #[serde(default)]
        link: Option<Box<LinkOrder>>,
        /// Answer nothing to packets for closed ports.
        #[serde(default)]
        stealth: bool,
        /// Have the host's programs ask the agent for names, by what it writes to `/etc/resolv.conf`.
        #[serde(default)]
        names: Names,
        /// What tells probes of paths from those of other cells, where the cell has links.
        #[serde(default)]
        path_key: Option<u64>,
        /// How the interfaces are captured.
        #[serde(default)]
        capture: CapturePlan,
    },
    /// Wait until a program of `node` listens on TCP `port`. Answered by [`Response::Listening`],
    /// or an error when the time is up, the node has no process left, or another node has the
    /// port.
    AwaitListening {
        /// The node whose socket it must be.
        node: NodeName,
        /// TCP port.
        port: u16,
        /// At most this long.
        within: Duration,
    },
    /// Wait until a program of `node` has an established TCP connection to `port`. Answered by
    /// [`Response::Connected`].
    AwaitConnected {
        /// The node whose socket it must be.
        node: NodeName,
        /// Remote TCP port.
        port: u16,
        /// At most this long.
        within: Duration,
    },
    /// Wait until a program of `node` has a UDP socket bound to `port`. Answered by
    /// [`Response::Bound`].
    AwaitBound {
        /// The node whose socket it must be.
        node: NodeName,
        /// UDP port.
        port: u16,
        /// At most this long.
        within: Duration,
    },
    /// Wait until a program was started, or could not be. Answered by [`Response::Started`] or
    /// [`Response::NotStarted`].
    AwaitStarted {
        /// The node.
        node: NodeName,
        /// Which start of the node it is; the first is 1.
        visit: u32,
        /// At most this long.
        within: Duration,
    },
    /// Wait, as long as the agent lives, until a program has ended. Answered by [`Response::Ended`], or an error when
    /// nobody saw how.
    AwaitEnded {
        /// The node.
        node: NodeName,
        /// Which start of the node it is; the first is 1.
        visit: u32,
        /// Which of the processes that stood for it one after another; the first is 0.
        generation: u32,
    },
    /// Send a signal to the main process of `node`. Answered by [`Response::Signalled`].
    Signal {
        /// The node.
        node: NodeName,
        /// The signal.
        signal: Signal,
    },
    /// Do something at a display, which runs in a container of its own inside the host. Answered by
    /// [`Response::Displayed`].
    Display {
        /// The node whose windows it shows.
        node: NodeName,
        /// Its number.
        number: u16,
        /// What to do.
        act: DisplayAct,
    },
    /// Stop every process of `node`, wait until one of its connections has data that nobody read,
    /// and kill them. Answered by [`Response::KilledUnread`].
    KillUnread {
        /// The node.
        node: NodeName,
        /// How long the data may take to come.
        within: Duration,
    },
    /// Cut the power: nothing leaves the host any more, nothing arrives, every program dies, and the
    /// kernel forgets every connection. Answered by [`Response::Cut`].
    Crash,
    /// Power a crashed host on. Answered by [`Response::Mended`].
    Boot,
    /// Pull the cables of the interfaces with these addresses. Answered by [`Response::Cut`].
    Unplug {
        /// An address of each.
        addresses: Vec<IpAddr>,
    },
    /// Put cables back. Answered by [`Response::Mended`].
    Plug {
        /// An address of each.
        addresses: Vec<IpAddr>,
    },
    /// Read a file that the agent wrote: the capture once it is closed, or a picture. Answered by
    /// [`Response::Piece`].
    Read {
        /// Which.
        file: HostFile,
        /// From which byte on.
        from: u64,
    },
    /// Keep the link address of a neighbour that will not answer when asked for it, as a router
    /// before it would. Answered by [`Response::Pinned`].
    Pin {
        /// The host's own address on the network.
        from: IpAddr,
        /// The neighbour's address there.
        neighbour: IpAddr,
        /// Its link address.
        mac: [u8; 6],
    },
    /// Send packets by which another host of a network sees that it lets them through. Answered by
    /// [`Response::Probed`], with none missing.
    Probe {
        /// The packets.
        probes: Vec<PathProbe>,
    },
    /// Wait until such packets have arrived. Answered by [`Response::Probed`].
    AwaitProbes {
        /// Their numbers.
        numbers: BTreeSet<u32>,
        /// At most this long.
        within: Duration,
    },
    /// Read the socket tables. Answered by [`Response::Sockets`].
    Sockets,
    /// Hand over more of a table that was read: of that very reading. Answered by [`Response::MoreSockets`].
    MoreSockets {
        /// The table, by the number that its first rows came with.
        table: u64,
        /// How many rows have come.
        from: usize,
    },
    /// Change what the link of this host does. Answered by [`Response::Changed`].
    Link {
        /// To what.
        change: LinkChange,
    },
    /// Outlive the controller: the end of input is no longer the agent's end. Answered by
    /// [`Response::Kept`].
    Keep,
    /// Last request before the agent's end: prove by sentinels that the capture is complete up to
    /// now, flush and close it. Answered by [`Response::Closed`].
    Close,
}

/// How long a request itself lets its answer wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The answer comes as soon as it can be given.
    None,
    /// At most this long.
    Within(Duration),
    /// It comes when it comes, at the latest with the end of the agent.
    Endless,
}

impl Request {
    /// How long this itself lets its answer wait.
    #[must_use]
    pub fn patience(&self) -> Patience {
        match self {
            Self::AwaitEnded { .. } => Patience::Endless,
            Self::AwaitStarted { within, .. }
            | Self::AwaitListening { within, .. }
            | Self::AwaitConnected { within, .. }
            | Self::AwaitBound { within, .. }
            | Self::AwaitProbes { within, .. }
            | Self::KillUnread { within, .. }
            | Self::Display {
                act: DisplayAct::Await { within, .. },
                ..
            } => Patience::Within(*within),
            Self::Open { .. }
            | Self::Signal { .. }
            | Self::Display {
                act: DisplayAct::Gesture { .. } | DisplayAct::Picture { .. },
                ..
            }
            | Self::Crash
            | Self::Boot
            | Self::Unplug { .. }
            | Self::Plug { .. }
            | Self::Read { .. }
            | Self::Pin { .. }
            | Self::Probe { .. }
            | Self::Sockets
            | Self::MoreSockets { .. }
            | Self::Link { .. }
            | Self::Keep
            | Self::Close => Patience::None,
        }
    }
}

/// A packet that shows whether a network lets through what has another one's addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathProbe {
    /// Its number in the cell.
    pub number: u32,
    /// The address of the interface that sends it.
    pub on: Ipv4Addr,
    /// Its source.
    pub from: Ipv4Addr,
    /// Its destination.
    pub to: Ipv4Addr,
}

/// What programs of a host are told when they ask for a name that `/etc/hosts` has not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Names {
    /// What the machine is set up for: an agent by hand shares its files.
    #[default]
    Machine,
    /// The agent answers at [`NAME_SERVER`].
    Served,
    /// Nobody can be asked: the port is a program's of the host.
    Left,
}

/// What is done at a display.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DisplayAct {
    /// Wait until it shows a window whose title contains this.
    Await {
        /// Part of the title.
        title: String,
        /// At most this long.
        within: Duration,
    },
    /// What a person does at a window.
    Gesture {
        /// What.
        gesture: Gesture,
        /// Part of the window's title; without it, the only window or the one that has the focus.
        window: Option<String>,
    },
    /// Write what it shows to [`HostFile::Picture`], as PNG.
    Picture {
        /// Also when it shows no window.
        empty_too: bool,
    },
}

/// A file that an agent writes, in its own file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostFile {
    /// What the host's interfaces saw, as pcapng.
    Capture,
    /// What the display of this number showed last, as PNG.
    Picture(u16),
}

impl fmt::Display for HostFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capture => write!(f, "the capture"),
            Self::Picture(number) => write!(f, "the picture of display {number}"),
        }
    }
}

/// What becomes otherwise at a link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkChange {
    /// Its settings, by the side that packets come from.
    Set(Box<[Settings; 2]>),
    /// A rule is added.
    Lose(Box<Rule>),
    /// Nothing passes between addresses of different groups; everything without any.
    Partition(Vec<Vec<Ipv4Addr>>),
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplyLine {
    /// The id of the request.
    pub id: u64,
    /// What became of it.
    pub result: Result<Response, AgentError>,
}

/// What an agent answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "re", rename_all = "kebab-case")]
pub enum Response {
    /// The capture records on every interface.
    Opened {
        /// Interfaces of the host.
        interfaces: Vec<HostInterface>,
    },
    /// The node listens.
    Listening {
        /// When it was seen.
        at: Timestamp,
    },
    /// The node is connected.
    Connected {
        /// When it was seen.
        at: Timestamp,
    },
    /// The node has the port.
    Bound {
        /// When it was seen.
        at: Timestamp,
    },
    /// The program runs.
    Started {
        /// Immediately before it was started.
        at: Timestamp,
        /// Its process, by its id in the host.
        pid: i32,
    },
    /// The kernel did not take the program (execve(2)).
    NotStarted {
        /// Why: an `errno`.
        errno: i32,
    },
    /// The program has ended.
    Ended {
        /// When it was told.
        at: Timestamp,
        /// How.
        how: ProcessEnd,
        /// Another process stands for it since: it went into the background.
        goes_on: bool,
    },
    /// The signal was sent; SIGKILL has ended the program, SIGSTOP has stopped it, and SIGCONT has
    /// let it go on.
    Signalled {
        /// Immediately before it was sent.
        at: Timestamp,
        /// The process, by its id in the host.
        pid: i32,
        /// The connections that no other process had open, each with its local end first; none where the node had no
        /// other process.
        #[serde(default)]
        alone_in: Option<Vec<(SocketAddr, SocketAddr)>>,
    },
    /// It was done.
    Displayed {
        /// When.
        at: Timestamp,
    },
    /// The node was killed with unread data.
    KilledUnread {
        /// Immediately before it was killed.
        at: Timestamp,
        /// How many bytes its connections had received and it had not read.
        unread_bytes: u64,
    },
    /// Nothing leaves these interfaces, and nothing arrives.
    Cut {
        /// From when on.
        at: Timestamp,
        /// The interfaces, the loopback interface left out.
        interfaces: Vec<HostInterface>,
    },
    /// The host is on its networks again.
    Mended {
        /// From when on.
        at: Timestamp,
    },
    /// A piece of a file: [`PIECE_BYTES`], and fewer at the end of the file.
    Piece {
        /// What the file holds there.
        #[serde(with = "as_base64")]
        bytes: Vec<u8>,
    },
    /// The neighbour's link address is kept.
    Pinned,
    /// Probes were sent, or have arrived.
    Probed {
        /// The numbers of those that have not.
        missing: Vec<u32>,
    },
    /// The socket tables.
    Sockets {
        /// Immediately before they were read.
        at: Timestamp,
        /// Immediately after they were read.
        until: Timestamp,
        /// One row a socket, listening ones first.
        sockets: Vec<SocketRow>,
        /// Where there are more than fit an answer: the number by which [`Request::MoreSockets`] asks for them.
        #[serde(default)]
        rest: Option<u64>,
    },
    /// More rows of a socket table.
    MoreSockets {
        /// The next ones.
        sockets: Vec<SocketRow>,
        /// There are more after them.
        more: bool,
    },
    /// The link does as it was told.
    Changed {
        /// Immediately before.
        at: Timestamp,
    },
    /// The agent stays when its controller goes.
    Kept,
    /// The capture is closed.
    Closed {
        /// What each interface's ring counted, and whether its sentinels were seen.
        interfaces: Vec<InterfaceProof>,
        /// Which node opened which connection, as seen at each outgoing SYN.
        owners: Vec<ConnectionOwner>,
        /// Which node's sockets sent datagrams.
        #[serde(default)]
        datagrams: Vec<DatagramSocket>,
        /// What the link did, where the host is that of one.
        #[serde(default)]
        link: Option<Box<LinkAccount>>,
    },
}

/// How a process ended (wait(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessEnd {
    /// It exited with this code.
    Exited(i32),
    /// The signal of this number killed it.
    Killed(i32),
}

/// Bytes as text.
mod as_base64 {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        BASE64_STANDARD.decode(&*text).map_err(D::Error::custom)
    }
}

/// Why an agent could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct AgentError {
    /// What kind of failure it was.
    pub kind: AgentErrorKind,
    /// Operation, object and cause, as a lower-case fragment.
    pub message: String,
}

/// Kinds of failure that the controller treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentErrorKind {
    /// The time was up.
    TimedOut,
    /// The node has no process on this host.
    NoProcess,
    /// Another node has the port.
    PortInUse,
    /// There is no window to do it at.
    NoWindow,
    /// The kernel, or the server of a display, refused something.
    System,
    /// The request made no sense at this moment.
    Protocol,
}

/// An interface of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInterface {
    /// Name in the namespace: `eth0`, `lo`.
    pub name: String,
    /// Name in the capture: `alice@lan`, `alice@lo`.
    pub label: String,
    /// Link-layer address, six bytes.
    pub mac: [u8; 6],
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Largest packet in bytes.
    pub mtu_bytes: u32,
    /// Offloads that could not be switched off, by their ethtool names.
    pub offloads_left: Vec<String>,
}

/// The proof that one interface's capture is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceProof {
    /// Name in the capture.
    pub label: String,
    /// Packets the kernel handed to the ring (`PACKET_STATISTICS`).
    pub received: u64,
    /// Packets the kernel dropped for want of room in the ring.
    pub dropped: u64,
    /// Segments and datagrams that came while the interface was being cut off or put back: the host's kernel
    /// may or may not have got them.
    #[serde(default)]
    pub unsure: u64,
    /// The opening sentinel was seen.
    pub opened: bool,
    /// The closing sentinel was seen.
    pub closed: bool,
}

impl InterfaceProof {
    /// Whether this interface's capture is what the host's kernel got and sent, and nothing is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.opened && self.closed && self.dropped == 0 && self.unsure == 0
    }
}

/// The node that opened a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionOwner {
    /// When the SYN was captured.
    pub at: Timestamp,
    /// Source of the SYN.
    pub local: SocketAddr,
    /// Destination of the SYN.
    pub remote: SocketAddr,
    /// The node, unless its socket was gone before it could be looked up.
    pub node: Option<NodeName>,
}

/// A UDP socket of a node, as it was seen when datagrams left its port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatagramSocket {
    /// Local address; unspecified where the socket may send from any of the host's.
    pub local: SocketAddr,
    /// Remote address; unspecified where it may send to anybody.
    pub remote: SocketAddr,
    /// The node that has it open.
    pub node: NodeName,
    /// When it was first seen.
    pub from: Timestamp,
    /// When it was last seen.
    pub until: Timestamp,
}

impl DatagramSocket {
    /// Whether the socket may send from `local` to `remote`, and how closely it is tied to the two: of several sockets
    /// with one port the closest takes what arrives (udp(7)).
    #[must_use]
    pub fn fits(&self, local: SocketAddr, remote: SocketAddr) -> Option<u8> {
        // A socket of IPv6 may serve IPv4 as well (ipv6(7), `IPV6_V6ONLY`).
        let fits = |own: SocketAddr, other: SocketAddr| {
            let any = own.ip().is_unspecified() && (own.is_ipv6() || other.is_ipv4());
            any || own.ip() == other.ip()
        };
        let connected = self.remote.port() != 0;
        let possible = self.local.port() == local.port()
            && fits(self.local, local)
            && (!connected || (self.remote.port() == remote.port() && fits(self.remote, remote)));
        let bound = u8::from(!self.local.ip().is_unspecified());
        possible.then_some(bound + 2 * u8::from(connected))
    }
}

/// One row of a socket table (as `netstat -tulan` or `ss` shows it).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketRow {
    /// `tcp` or `udp`.
    pub proto: String,
    /// State by its name in RFC 9293, with `_` (`FIN_WAIT_2`); `UNCONN` for unconnected UDP.
    pub state: String,
    /// Bytes not yet read by the program; for a listening socket, connections not yet accepted.
    pub recv_q: u32,
    /// Bytes not yet acknowledged by the peer; for a listening socket, its backlog.
    pub send_q: u32,
    /// Local address.
    pub local: SocketAddr,
    /// Remote address; unspecified where there is none.
    pub remote: SocketAddr,
    /// The node that has the socket open, where one does.
    pub node: Option<NodeName>,
    /// The timer that runs for a TCP connection, where one does.
    pub timer: Option<SocketTimer>,
    /// How often in a row a TCP connection has sent something again, or asked, without an answer.
    pub retransmits: u8,
}

/// A timer of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketTimer {
    /// What it is for.
    pub kind: TimerKind,
    /// When it goes off, in milliseconds from the reading of the table.
    pub expires_ms: u32,
}

/// What a timer of a TCP connection is for (`sock_diag(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimerKind {
    /// To send again what is not acknowledged: a SYN, data or a FIN.
    Retransmit,
    /// To ask whether the peer is still there, or to end a connection without a program in
    /// `FIN_WAIT_2`.
    Keepalive,
    /// To forget a closed connection.
    TimeWait,
    /// To ask a peer without room whether it has some.
    Probe,
}

impl TimerKind {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Retransmit => "retransmit",
            Self::Keepalive => "keepalive",
            Self::TimeWait => "time-wait",
            Self::Probe => "probe",
        }
    }
}
