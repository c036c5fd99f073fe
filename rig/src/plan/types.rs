//! The types of a plan.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::containers::ContainerPlan;
use super::windows::{DisplayPlan, Gesture, WindowAct};
use crate::analysis::{ConnState, Sender};
use crate::link::{LinkOrder, Route, Rule, Settings};
use crate::pattern::{EventPattern, Pattern};
use crate::spec::{Copies, FlowEnd, HostFault, Located, Place, SocketPattern, Stream};
use crate::units::{HostName, ImageName, MarkName, NetworkName, NodeName, Signal, TerminalSize};

/// Everything that a cell needs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Stable name of the cell: `server=ours,client=netcat`.
    pub cell: String,
    /// Networks, in the order of the file.
    pub networks: Vec<NetworkPlan>,
    /// Hosts, in the order of the file; only those that the cell's nodes use. After them those that
    /// forward the packets of links.
    pub hosts: Vec<HostPlan>,
    /// Links, in the order of the file; only those between networks that the cell's hosts use.
    pub links: Vec<LinkPlan>,
    /// Ways to networks that hosts are not on.
    pub routes: BTreeMap<HostName, Vec<Route>>,
    /// Nodes, in the order of the file; only those present in the cell.
    pub nodes: Vec<NodePlan>,
    /// What is done, in order; `use` steps are already replaced by what they stand for.
    pub steps: Vec<Step>,
    /// What must hold; only the checks whose `when` holds in the cell.
    pub checks: Vec<Check>,
}

impl Plan {
    /// The node with this name.
    #[must_use]
    pub fn node(&self, name: &NodeName) -> Option<&NodePlan> {
        self.nodes.iter().find(|node| node.name == *name)
    }

    /// The host with this name.
    #[must_use]
    pub fn host(&self, name: &HostName) -> Option<&HostPlan> {
        self.hosts.iter().find(|host| host.name == *name)
    }

    /// The link with this name.
    #[must_use]
    pub fn link(&self, name: &HostName) -> Option<&LinkPlan> {
        self.links.iter().find(|link| link.name == *name)
    }

    /// Whether the file gives the port of name servers to a program of a host: where one is ready when it listens there
    /// or is bound to it, and where a check is about flows to one at that port.
    #[must_use]
    pub fn has_name_server(&self, host: &HostName) -> bool {
        let is_ready = |node: &NodePlan| {
            matches!(
                node.ready,
                Some(Ready::Bound(NAME_SERVER_PORT) | Ready::Listening(NAME_SERVER_PORT))
            )
        };
        let is_called = |node: &NodePlan| {
            self.checks.iter().any(|check| match &check.kind {
                CheckKind::Flow(flow) => {
                    let responder = &flow.flows.responder;
                    responder.node == node.name && responder.port == Some(NAME_SERVER_PORT)
                }
                _ => false,
            })
        };
        let mut nodes = self.nodes.iter().filter(|node| node.host == *host);
        nodes.any(|node| is_ready(node) || is_called(node))
    }
}

/// The port of name servers (RFC 1035, section 4.2).
pub const NAME_SERVER_PORT: u16 = 53;

/// An IPv4 subnet of 24 bits prefix length, the size of every network the rig makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet(Ipv4Addr);

impl Subnet {
    /// Prefix length in bits.
    pub const PREFIX_BITS: u8 = 24;
    /// First host number that the rig gives out; lower ones are the engine's gateway and spare.
    pub const FIRST_HOST: u8 = 10;

    /// The subnet that contains `address`.
    #[must_use]
    pub fn containing(address: Ipv4Addr) -> Self {
        let [a, b, c, _] = address.octets();
        Self(Ipv4Addr::new(a, b, c, 0))
    }

    /// The address with this host number.
    #[must_use]
    pub fn address(self, host_number: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.0.octets();
        Ipv4Addr::new(a, b, c, host_number)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0, Self::PREFIX_BITS)
    }
}

/// The networks that a cell needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkNeeds {
    /// How many.
    pub count: usize,
    /// Links join them, so that packets with addresses of one are on another.
    pub joined: bool,
}

/// A broadcast domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPlan {
    /// Name in the file.
    pub name: NetworkName,
    /// Its addresses.
    pub subnet: Subnet,
}

/// A network namespace with its interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPlan {
    /// Name in the file.
    pub name: HostName,
    /// One interface a network, in the order of the file.
    pub interfaces: Vec<InterfacePlan>,
    /// `net.*` kernel settings of the namespace.
    pub sysctls: BTreeMap<String, Located<String>>,
    /// Where its entry stands in the file.
    pub place: Place,
    /// Whether it answers nothing to packets for closed ports.
    pub stealth: bool,
    /// How it is captured.
    pub capture: CapturePlan,
}

/// How the interfaces of a host are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturePlan {
    /// Memory for the packets of an interface that were not written yet, in bytes.
    pub ring_bytes: u32,
    /// How many bytes of a packet are recorded at most, from the Ethernet header on; all without it.
    pub snap_bytes: Option<u32>,
}

impl CapturePlan {
    /// The ring of an interface where the file does not say otherwise, in bytes.
    pub const RING_BYTES: u32 = 32 * 1024 * 1024;

    /// The same in a cell of more than [`Self::FEW_INTERFACES`], so that its hosts fit a usual machine.
    pub const RING_BYTES_OF_MANY: u32 = 8 * 1024 * 1024;

    /// How many interfaces of a cell, `lo` of each host included, have large rings: 1 GiB together.
    pub const FEW_INTERFACES: usize = 32;
}

impl Default for CapturePlan {
    fn default() -> Self {
        Self {
            ring_bytes: Self::RING_BYTES,
            snap_bytes: None,
        }
    }
}

/// An interface of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfacePlan {
    /// The network it is on.
    pub network: NetworkName,
    /// Its address.
    pub address: Ipv4Addr,
}

/// Two networks that are joined.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkPlan {
    /// Name in the file, and of the host that forwards.
    pub name: HostName,
    /// The networks, in the order of the sides.
    pub joins: [NetworkName; 2],
    /// What it is and does at first.
    pub order: LinkOrder,
    /// Where each of its rules stands in the file.
    pub rule_places: Vec<Place>,
}

/// One program on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// Name in the file.
    pub name: NodeName,
    /// Where it runs.
    pub host: HostName,
    /// Which implementation it is, for reports.
    pub implementation: String,
    /// Image it runs from.
    pub image: ImageName,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where `run:` stands in the file.
    pub command_place: Place,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// The terminal that it runs on; pipes without it.
    pub terminal: Option<TerminalSize>,
    /// The display that its windows are on.
    pub display: Option<DisplayPlan>,
    /// What is typed as soon as it runs.
    pub join: Option<Input>,
    /// When it counts as started; at once without it.
    pub ready: Option<Ready>,
    /// Names that resolve to addresses inside the node: every node and host of the cell.
    pub names: BTreeMap<String, Ipv4Addr>,
    /// What its container has beside the image.
    pub container: ContainerPlan,
}

/// When a node counts as started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// It listens on this TCP port.
    Listening(u16),
    /// It has an established connection to this TCP port.
    Connected(u16),
    /// It has a socket bound to this UDP port.
    Bound(u16),
    /// It printed a line that contains this text.
    Output(String),
    /// It shows a window whose title contains this text.
    Window(String),
}

/// A step with its deadline.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// How long it may take.
    pub within: Duration,
    /// Where it stands in the file.
    pub place: Place,
    /// How reports name it: `hear bob "ciao"`.
    pub text: String,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start these nodes, at the same time where none waits for another, and wait until each is
    /// ready. Starting a node that has ended is its next visit.
    Start(Vec<NodeName>),
    /// Give a node input as a person would; `text` is what the transcript shows.
    Say {
        /// The node.
        node: NodeName,
        /// What was said.
        text: String,
        /// How.
        input: Input,
    },
    /// Wait until a node has printed `text` since the last `hear` of it.
    Hear {
        /// The node.
        node: NodeName,
        /// What must be in its output.
        text: String,
    },
    /// Make a node leave as a person would.
    Leave {
        /// The node.
        node: NodeName,
        /// How.
        input: Input,
    },
    /// Send a signal to a node's main process.
    Kill {
        /// The node.
        node: NodeName,
        /// The signal.
        signal: Signal,
    },
    /// Send SIGKILL to a node while a connection of it has data that it has not read; it is stopped
    /// first, and the data is waited for.
    KillUnread(NodeName),
    /// Do something to a whole host.
    Host {
        /// What.
        fault: HostFault,
        /// The host.
        host: HostName,
        /// Whose cables, where it is about cables.
        networks: Vec<NetworkName>,
    },
    /// Freeze a node.
    Pause(NodeName),
    /// Thaw a node.
    Resume(NodeName),
    /// SIGTERM, and SIGKILL when the node has not ended within the grace; waits for the end.
    Stop {
        /// The node.
        node: NodeName,
        /// Time between the two signals.
        grace: Duration,
    },
    /// Wait until a node's program has ended.
    Wait(NodeName),
    /// Wait until the socket table of a node's host is so.
    Until(SocketRows),
    /// Do something at the windows of a node.
    Window {
        /// The node.
        node: NodeName,
        /// What.
        act: WindowAct,
    },
    /// Read the socket tables of every host under this name.
    Mark(MarkName),
    /// Let this much time pass.
    Settle(Duration),
    /// Give a link other settings.
    Link {
        /// The link.
        link: HostName,
        /// All of them, by the side that packets come from.
        settings: Box<[Settings; 2]>,
        /// What of them is new: `cut uplink`.
        what: String,
    },
    /// Let a link lose packets.
    Lose {
        /// The link.
        link: HostName,
        /// Which.
        rule: Box<Rule>,
    },
    /// Let links pass nothing between the addresses of different groups; everything without any.
    Partition {
        /// The groups.
        groups: Vec<Vec<Ipv4Addr>>,
        /// How the file names them: `alice, bob | server`.
        what: String,
    },
}

/// Whose fault it is when a step is not done in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lateness {
    /// The programs': they did not do what the step waits for, and the cell fails.
    Programs,
    /// The rig's, the engine's or the machine's, which do the step themselves: the cell is an error.
    Machine,
}

impl Action {
    /// Whose fault it is when this is not done in time.
    #[must_use]
    pub fn lateness(&self) -> Lateness {
        match self {
            Self::Hear { .. }
            | Self::Until(_)
            | Self::Wait(_)
            | Self::Stop { .. }
            | Self::Window {
                act: WindowAct::Await(_),
                ..
            } => Lateness::Programs,
            // Whether a program is not ready or the machine could not start it in time cannot be told apart.
            Self::Start(_)
            | Self::Say { .. }
            | Self::Leave { .. }
            | Self::Kill { .. }
            | Self::KillUnread(_)
            | Self::Host { .. }
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Window {
                act: WindowAct::Gesture { .. } | WindowAct::Screenshot(_),
                ..
            }
            | Self::Mark(_)
            | Self::Settle(_)
            | Self::Link { .. }
            | Self::Lose { .. }
            | Self::Partition { .. } => Lateness::Machine,
        }
    }
}

/// How a node is given input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Bytes for its standard input.
    Stdin(Vec<u8>),
    /// End of its standard input.
    Eof,
    /// A signal.
    Signal(Signal),
    /// What a person does at its window.
    Window(Gesture),
}

/// A check with its place.
#[derive(Debug, Clone)]
pub struct Check {
    /// What must hold.
    pub kind: CheckKind,
    /// Where it stands in the file.
    pub place: Place,
    /// How reports name it: `flow alice -> server:15102 fate SF`.
    pub text: String,
}

/// What a check is about.
#[derive(Debug, Clone)]
pub enum CheckKind {
    /// Connections between two nodes.
    Flow(Box<FlowCheck>),
    /// How a program ended.
    Exit(ExitCheck),
    /// What a program printed.
    Output(OutputCheck),
    /// What a socket table showed.
    Sockets(SocketCheck),
    /// That a rule of a link has lost a packet.
    Loss(LossCheck),
}

/// That a rule of a link has lost a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LossCheck {
    /// The link.
    pub link: HostName,
    /// The rule, by its position among those of the link.
    pub rule: usize,
}

/// A check on every flow that the selector finds.
#[derive(Debug, Clone)]
pub struct FlowCheck {
    /// Which flows.
    pub flows: FlowSelector,
    /// How many there must be; without it, at least one.
    pub count: Option<Copies>,
    /// Allowed fates; empty allows any.
    pub fate: Vec<ConnState>,
    /// Who must have closed first.
    pub closed_by: Option<Sender>,
    /// What the whole flow must be.
    pub pattern: Option<Pattern>,
    /// Events that must not occur.
    pub never: Vec<EventPattern>,
}

/// Which flows a check is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowSelector {
    /// Who opened them.
    pub initiator: FlowEnd,
    /// To whom.
    pub responder: FlowEnd,
    /// Only the n-th of them in order of their first packet, counted from 1.
    pub nth: Option<usize>,
}

/// How a node's last visit must have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitCheck {
    /// The node.
    pub node: NodeName,
    /// Allowed exit codes; empty when a signal or `running` is meant.
    pub codes: Vec<i64>,
    /// The signal that must have ended it.
    pub signal: Option<Signal>,
    /// It must still have been running when the steps were done.
    pub running: bool,
}

/// What a node must have printed, over all its visits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputCheck {
    /// The node.
    pub node: NodeName,
    /// Which of its outputs; both without it.
    pub stream: Option<Stream>,
    /// Text that must occur in a line.
    pub text: String,
    /// In how many lines.
    pub count: Copies,
}

/// What the socket table of a node's host must have shown at a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketCheck {
    /// The moment.
    pub mark: MarkName,
    /// What it must have shown.
    pub rows: SocketRows,
}

/// What a socket table must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketRows {
    /// Whose sockets: those of this node, and those of its host that no process owns any more.
    pub node: NodeName,
    /// Rows that must be there.
    pub has: Vec<SocketPattern>,
    /// Rows that must not be there.
    pub lacks: Vec<SocketPattern>,
}
