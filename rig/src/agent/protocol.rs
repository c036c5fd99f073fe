//! What controller and agent say to each other: one JSON object a line, each request answered by
//! one reply with the same id, in any order.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{NodeName, Signal, Timestamp};

/// Environment variable that tells which node a process belongs to.
pub const NODE_VARIABLE: &str = "RIG_NODE";

/// Where the agent writes its capture, in its own file system.
pub const CAPTURE_PATH: &str = "/capture.pcapng";

/// The longest line either side accepts, in bytes.
pub const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;

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
    /// Send a signal to the main process of `node`. Answered by [`Response::Signalled`].
    Signal {
        /// The node.
        node: NodeName,
        /// The signal.
        signal: Signal,
    },
    /// Read the socket tables. Answered by [`Response::Sockets`].
    Sockets,
    /// Outlive the controller: the end of input is no longer the agent's end. Answered by
    /// [`Response::Kept`].
    Keep,
    /// Last request before the agent's end: prove by sentinels that the capture is complete up to
    /// now, flush and close it. Answered by [`Response::Closed`].
    Close,
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
    /// The signal was sent.
    Signalled {
        /// Immediately before it was sent.
        at: Timestamp,
        /// The process, by its id in the host.
        pid: i32,
    },
    /// The socket tables.
    Sockets {
        /// When they were read.
        at: Timestamp,
        /// One row a socket, listening ones first.
        sockets: Vec<SocketRow>,
    },
    /// The agent stays when its controller goes.
    Kept,
    /// The capture is closed.
    Closed {
        /// What each interface's ring counted, and whether its sentinels were seen.
        interfaces: Vec<InterfaceProof>,
        /// Which node opened which connection, as seen at each outgoing SYN.
        owners: Vec<ConnectionOwner>,
    },
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
    /// The kernel refused something.
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
    /// The opening sentinel was seen.
    pub opened: bool,
    /// The closing sentinel was seen.
    pub closed: bool,
}

impl InterfaceProof {
    /// Whether nothing can be missing from this interface's capture.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.opened && self.closed && self.dropped == 0
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
}
