//! What a matrix file says, complete and typed.
//!
//! A [`Spec`] holds no unknown keys and no dangling names, as far as they can be told without
//! choosing a cell; what depends on the cell is checked when the cell is planned.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::{Chord, Field, Located, Place, Source, Template};
use crate::analysis::{ConnState, Sender};
use crate::link::{Key, Protocol, Setting};
use crate::pattern::{EventPattern, Library, Pattern};
use crate::units::{
    HostName, ImageName, MarkName, NetworkName, NodeName, ScreenName, Signal, TerminalSize,
};

/// How long a step may take when neither it nor `timeouts` says otherwise.
pub const DEFAULT_STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a `start` may take when neither it nor `timeouts` says otherwise.
pub const DEFAULT_START_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between SIGTERM and SIGKILL of a `stop` step that does not say otherwise.
pub const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(5);
/// The size of a display whose entry does not say otherwise.
pub const DEFAULT_DISPLAY: DisplaySize = DisplaySize {
    width: 1024,
    height: 768,
};
/// The most hosts that a file may have: each has a host number in a subnet of 24 bits.
pub const MAX_HOSTS: usize = 200;

/// The most links that a file may have: their addresses come after those of the hosts.
pub const MAX_LINKS: usize = 40;

/// The most networks that a file may have.
pub const MAX_NETWORKS: usize = 200;
/// The most nodes that a file may have.
pub const MAX_NODES: usize = 200;
/// The most steps of a cell, and the most checks of a file.
pub const MAX_STEPS: usize = 1000;
/// The longest text that a template may become, in bytes.
pub const MAX_RENDERED_BYTES: usize = 64 * 1024;

/// A matrix file.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The file's name and text, for errors of later stages.
    pub source: Arc<Source>,
    /// Folder of the file.
    pub dir: PathBuf,
    /// Name of the matrix.
    pub name: String,
    /// Deadlines of steps that give none.
    pub timeouts: Timeouts,
    /// The patterns that checks can name: those of the file, and those that come with `rig`.
    pub patterns: Library,
    /// Images by name, in the order of the file, as are all maps here.
    pub images: IndexMap<ImageName, Image>,
    /// Implementations by name.
    pub implementations: IndexMap<String, Implementation>,
    /// Networks by name, with the place of the name.
    pub networks: IndexMap<NetworkName, Place>,
    /// Hosts by name.
    pub hosts: IndexMap<HostName, Host>,
    /// Links between networks by name.
    pub links: IndexMap<HostName, LinkSpec>,
    /// Axes of the matrix by name.
    pub axes: IndexMap<String, Axis>,
    /// Which cells are taken out of the product of the axes.
    pub exclude: Vec<CellRule>,
    /// Which of those are wanted after all.
    pub include: Vec<CellRule>,
    /// Which cells are expected to fail.
    pub expected_failures: Vec<ExpectedFailure>,
    /// Nodes by name.
    pub nodes: IndexMap<NodeName, Node>,
    /// What is done.
    pub steps: Vec<StepSpec>,
    /// What must hold.
    pub checks: Vec<CheckSpec>,
}

/// Deadlines of steps that give none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Of every step but `start`.
    pub step: Duration,
    /// Of `start`.
    pub start: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            step: DEFAULT_STEP_TIMEOUT,
            start: DEFAULT_START_TIMEOUT,
        }
    }
}

/// Where the file system of a node comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Where its entry stands.
    pub place: Place,
    /// Where it comes from.
    pub origin: ImageOrigin,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageOrigin {
    /// It is on the engine, can be pulled, or is made by a program.
    Reference(BaseImage),
    /// It is built.
    Build(Box<ImageBuild>),
}

/// How an image is built. Relative paths of the file are already joined to the file's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageBuild {
    /// The Dockerfile.
    pub dockerfile: Located<PathBuf>,
    /// Folder of the build's context, if it has one.
    pub context: Option<Located<PathBuf>>,
    /// Package whose binaries are part of the context.
    pub cargo: Option<CargoBuild>,
    /// The image that the Dockerfile starts from, and how it is made where it is missing.
    pub base: Option<BaseImage>,
}

/// A package whose binaries go into an image. Its workspace is that of the file's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CargoBuild {
    /// Name of the package.
    pub package: Located<String>,
    /// Cargo profile; `None` leaves the choice to the rig.
    pub profile: Option<Located<String>>,
    /// Features of the package, beside its default ones.
    pub features: Vec<Located<String>>,
    /// How the binaries are linked.
    pub link: Linking,
}

/// How the binaries of a package are linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Linking {
    /// As the workspace says; for images made `FROM scratch`, statically.
    #[default]
    Static,
    /// With the C library and what else is loaded at run time: a program that opens windows cannot do
    /// otherwise.
    Dynamic,
}

/// An image that no Dockerfile makes, and how it is made where it is missing and cannot be pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// Its reference: `debian:bookworm-slim`.
    pub image: Located<String>,
    /// Program that makes it, called with the reference.
    pub make: Option<Located<PathBuf>>,
}

/// A program and how a person uses it.
#[derive(Debug, Clone)]
pub struct Implementation {
    /// Where its entry stands.
    pub place: Place,
    /// Image it runs from.
    pub image: Located<ImageName>,
    /// Program and arguments.
    pub run: Vec<Template>,
    /// Where `run` stands.
    pub run_place: Place,
    /// The terminal that it runs on; pipes without it.
    pub terminal: Option<TerminalSize>,
    /// When it counts as started; at once without it.
    pub ready: Option<ReadySpec>,
    /// The display that its windows are on.
    pub display: Option<DisplaySpec>,
    /// What is typed as soon as it runs, before it counts as started.
    pub join: Option<SaySpec>,
    /// What a `say` step types.
    pub say: Option<SaySpec>,
    /// What a `leave` step does.
    pub leave: Option<LeaveSpec>,
    /// Environment variables.
    pub env: IndexMap<String, Template>,
}

/// When a node counts as started.
#[derive(Debug, Clone)]
pub enum ReadySpec {
    /// It listens on this TCP port.
    Listening(Field<u16>),
    /// It has an established connection to this TCP port.
    Connected(Field<u16>),
    /// It has a socket bound to this UDP port.
    Bound(Field<u16>),
    /// It printed a line that contains this text.
    Output(Template),
    /// It shows a window whose title contains this text.
    Window(Template),
}

/// A display of a program's own, at which no person sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisplaySpec {
    /// Where its entry stands.
    pub place: Place,
    /// How large it is.
    pub size: DisplaySize,
}

/// Width and height of a display, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisplaySize {
    /// From left to right.
    pub width: u16,
    /// From top to bottom.
    pub height: u16,
}

/// Where a person types.
#[derive(Debug, Clone)]
pub enum SaySpec {
    /// On the terminal: this goes to the standard input.
    Stdin(Template),
    /// At the program's window.
    Type(Template),
}

/// How a person leaves a program.
#[derive(Debug, Clone)]
pub enum LeaveSpec {
    /// By typing this.
    Stdin(Template),
    /// By typing this at its window.
    Type(Template),
    /// By pressing these keys at its window.
    Keys(Vec<Field<Chord>>),
    /// By ending the standard input.
    Eof,
    /// By a signal.
    Signal(Signal),
}

/// A network namespace.
#[derive(Debug, Clone)]
pub struct Host {
    /// Where its entry stands.
    pub place: Place,
    /// Networks it is on, in the order given.
    pub networks: Vec<Located<NetworkName>>,
    /// `net.*` kernel settings.
    pub sysctls: IndexMap<String, Located<String>>,
    /// Whether it answers nothing to packets for closed ports.
    pub stealth: bool,
}

/// Two networks that are joined.
#[derive(Debug, Clone)]
pub struct LinkSpec {
    /// Where its name stands.
    pub place: Place,
    /// The networks.
    pub joins: [Located<NetworkName>; 2],
    /// In which cells it is there.
    pub when: When,
    /// What it does to packets from either side.
    pub settings: Vec<SettingSpec>,
    /// What else it does to those that come from one of its networks.
    pub from: Vec<(Located<NetworkName>, Vec<SettingSpec>)>,
    /// Where its random numbers begin.
    pub seed: Option<Field<Seed>>,
    /// Whether it translates addresses.
    pub nat: Option<Field<Nat>>,
    /// Packets that it loses.
    pub lose: Vec<LoseSpec>,
}

/// A setting of a link.
#[derive(Debug, Clone)]
pub struct SettingSpec {
    /// Which.
    pub key: Key,
    /// Its value.
    pub value: Field<Setting>,
}

/// Where random numbers begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

/// How a link translates addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// Not at all.
    None,
    /// Hosts of the network that is named first are hidden behind the link's address.
    Masquerade,
}

/// Which packets a link loses; [`crate::link::Rule`] explains each field.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of the rule")]
pub struct LoseSpec {
    pub place: Place,
    /// A node, a host or a network.
    pub from: Option<Field<String>>,
    /// A node, a host or a network.
    pub to: Option<Field<String>>,
    pub event: Option<Field<PacketEvent>>,
    pub protocol: Option<Field<Protocol>>,
    pub port: Option<Field<u16>>,
    pub nth: Option<Field<Times>>,
    pub count: Option<Field<Times>>,
    pub every: Option<Field<Times>>,
}

/// An event that one packet can be seen to be.
#[derive(Debug, Clone)]
pub struct PacketEvent(pub EventPattern);

/// A number of packets, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times(pub u64);

/// One dimension of the matrix.
#[derive(Debug, Clone)]
pub struct Axis {
    /// Where its name stands.
    pub place: Place,
    /// Its values by name, at least one.
    pub values: IndexMap<String, AxisValue>,
}

/// A value of an axis.
#[derive(Debug, Clone)]
pub struct AxisValue {
    /// Where its name stands.
    pub place: Place,
    /// What `${AXIS.KEY}` stands for where this value is chosen.
    pub settings: IndexMap<String, Located<String>>,
    /// What `use: AXIS` does where this value is chosen.
    pub steps: Option<Vec<StepSpec>>,
}

/// A set of cells: those whose values are among the named ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellRule {
    /// The values.
    pub when: When,
    /// Why, for lists.
    pub reason: Option<String>,
    /// Where it stands.
    pub place: Place,
}

/// Cells that are expected to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedFailure {
    /// Which cells.
    pub when: When,
    /// Why.
    pub reason: String,
    /// Parts of the lines of the checks and steps that may fail; empty where any may.
    pub fails: Vec<String>,
    /// Where it stands.
    pub place: Place,
}

/// In which cells something holds: in those whose value on each named axis is among the given
/// ones. Without any axis it holds everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct When {
    /// Axis and allowed values.
    pub conditions: IndexMap<String, Vec<Located<String>>>,
}

impl When {
    /// Whether it holds in a cell, whose value on an axis `value_on` tells.
    pub fn holds<'a>(&self, value_on: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.conditions.iter().all(|(axis, allowed)| {
            value_on(axis).is_some_and(|value| allowed.iter().any(|a| a.value == value))
        })
    }

    /// Whether it holds in every cell.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.conditions.is_empty()
    }
}

/// One program on a host.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where its name stands.
    pub place: Place,
    /// Host it runs on.
    pub on: Field<HostName>,
    /// Implementation it is.
    pub is: Field<String>,
    /// In which cells it is there.
    pub when: When,
    /// Environment variables, over those of the implementation.
    pub env: IndexMap<String, Template>,
}

/// A step of the file.
#[derive(Debug, Clone)]
pub struct StepSpec {
    /// Where it stands.
    pub place: Place,
    /// In which cells it is done.
    pub when: When,
    /// Its deadline.
    pub within: Option<Duration>,
    /// What is done.
    pub action: ActionSpec,
}

/// What a step does; [`crate::plan::Action`] explains each.
#[derive(Debug, Clone)]
#[expect(
    missing_docs,
    reason = "the fields are those of the action of the plan"
)]
pub enum ActionSpec {
    /// Start nodes.
    Start(Vec<Field<NodeName>>),
    /// Give a node input.
    Say {
        node: Field<NodeName>,
        text: Template,
    },
    /// Wait for a text in a node's output.
    Hear {
        node: Field<NodeName>,
        text: Template,
    },
    /// Make a node leave.
    Leave(Field<NodeName>),
    /// Send a signal.
    Kill {
        node: Field<NodeName>,
        signal: Field<Signal>,
    },
    /// SIGKILL while a connection has unread data.
    KillUnread(Field<NodeName>),
    /// Do something to a whole host.
    Host {
        fault: HostFault,
        host: Field<HostName>,
        /// Whose cable; all of them without it.
        network: Option<Field<NetworkName>>,
    },
    /// Freeze a node.
    Pause(Field<NodeName>),
    /// Thaw a node.
    Resume(Field<NodeName>),
    /// SIGTERM, then SIGKILL.
    Stop {
        node: Field<NodeName>,
        grace: Duration,
    },
    /// Wait for the end of a node's program.
    Wait(Field<NodeName>),
    /// Wait until the socket table of a node's host shows something.
    Until {
        node: Field<NodeName>,
        has: Vec<SocketPattern>,
        lacks: Vec<SocketPattern>,
    },
    /// Do something at a node's window.
    Window {
        node: Field<NodeName>,
        step: WindowStep,
    },
    /// Read the socket tables.
    Mark(MarkName),
    /// Let time pass.
    Settle(Duration),
    /// Change settings of a link, in both directions or in one.
    Link {
        link: Field<HostName>,
        /// The network whose packets are meant.
        from: Option<Field<NetworkName>>,
        set: Vec<SettingSpec>,
    },
    /// Let a link lose packets.
    Lose {
        link: Field<HostName>,
        rule: Box<LoseSpec>,
    },
    /// Let links pass nothing between groups of nodes, hosts or networks; none to heal them.
    Partition(Vec<Vec<Field<String>>>),
    /// Do what the cell's value on this axis says under `do`.
    Use(Located<String>),
}

/// What a step does at a window; [`crate::plan::WindowAct`] explains each.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of the act of the plan")]
pub enum WindowStep {
    /// Type a text.
    Type {
        text: Template,
        window: Option<Template>,
    },
    /// Press keys.
    Press {
        keys: Vec<Field<Chord>>,
        window: Option<Template>,
    },
    /// Click at a point of the display.
    Click { x: u16, y: u16, button: u8 },
    /// Take a picture of the display.
    Screenshot(ScreenName),
    /// Wait for a window with this in its title.
    Await(Template),
}

/// What can be done to a whole host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostFault {
    /// Cut its power: its programs die, its connections are forgotten, and nobody is told.
    Crash,
    /// Power it on after a crash.
    Boot,
    /// Crash it and power it on.
    Reboot,
    /// Pull its cable.
    Unplug,
    /// Put its cable back.
    Plug,
}

impl HostFault {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Crash,
        Self::Boot,
        Self::Reboot,
        Self::Unplug,
        Self::Plug,
    ];

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Boot => "boot",
            Self::Reboot => "reboot",
            Self::Unplug => "unplug",
            Self::Plug => "plug",
        }
    }
}

/// A check of the file.
#[derive(Debug, Clone)]
pub struct CheckSpec {
    /// Where it stands.
    pub place: Place,
    /// In which cells it must hold.
    pub when: When,
    /// What must hold.
    pub kind: CheckSpecKind,
}

/// What a check is about; [`crate::plan::CheckKind`] explains each.
#[derive(Debug, Clone)]
pub enum CheckSpecKind {
    /// Connections between two nodes.
    Flow(Box<FlowCheckSpec>),
    /// How a program ended.
    Exit {
        /// The node.
        node: Field<NodeName>,
        /// How.
        end: ExitSpec,
    },
    /// What a program printed.
    Output {
        /// The node.
        node: Field<NodeName>,
        /// Which of its outputs; both without it.
        stream: Option<Stream>,
        /// Text that must occur in a line.
        text: Template,
        /// In how many lines.
        count: Field<Copies>,
    },
    /// What a socket table showed.
    Sockets {
        /// The node.
        node: Field<NodeName>,
        /// The moment.
        mark: Located<MarkName>,
        /// Rows that must be there.
        has: Vec<SocketPattern>,
        /// Rows that must not be there.
        lacks: Vec<SocketPattern>,
    },
}

/// A check on connections.
#[derive(Debug, Clone)]
pub struct FlowCheckSpec {
    /// Who opened them, to whom.
    pub ends: Field<FlowEnds>,
    /// Only the n-th of them, counted from 1.
    pub nth: Option<Field<usize>>,
    /// How many there must be.
    pub count: Option<Field<Copies>>,
    /// Allowed fates; empty allows any.
    pub fate: Vec<Field<ConnState>>,
    /// Who must have closed first.
    pub closed_by: Option<Field<ClosedBy>>,
    /// What the whole flow must be.
    pub pattern: Option<Field<Pattern>>,
    /// Events that must not occur.
    pub never: Vec<Field<EventPattern>>,
}

/// Both ends of a flow: `alice -> server:15102`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowEnds {
    /// Who opened it.
    pub initiator: FlowEnd,
    /// To whom.
    pub responder: FlowEnd,
}

/// One end of a flow, by the node whose socket it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowEnd {
    /// The node.
    pub node: NodeName,
    /// The port, if it matters.
    pub port: Option<u16>,
}

impl fmt::Display for FlowEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.node),
            None => write!(f, "{}", self.node),
        }
    }
}

/// Who closed a connection, as a file says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClosedBy {
    /// `initiator` or `responder`.
    Side(Sender),
    /// The node at one of the ends.
    Node(NodeName),
}

/// How a program must have ended.
#[derive(Debug, Clone)]
pub enum ExitSpec {
    /// With one of these exit codes.
    Codes(Vec<Field<i64>>),
    /// By this signal.
    Signal(Field<Signal>),
    /// Not at all: it ran when the steps were done.
    Running,
}

/// How often something may occur, bounds included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    /// At least.
    pub min: u64,
    /// At most; without it, any number.
    pub max: Option<u64>,
}

impl Copies {
    /// Once or more often.
    pub const SOME: Self = Self { min: 1, max: None };

    /// Whether `count` is within the bounds.
    #[must_use]
    pub fn allow(self, count: u64) -> bool {
        count >= self.min && self.max.is_none_or(|max| count <= max)
    }
}

impl fmt::Display for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.max {
            Some(max) if max == self.min => write!(f, "{max}"),
            Some(max) => write!(f, "{} to {max}", self.min),
            None => write!(f, "{} or more", self.min),
        }
    }
}

/// An output of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Which rows of a socket table are meant; what is not given may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SocketPattern {
    /// `tcp` or `udp`.
    pub proto: Option<String>,
    /// State by its name in RFC 9293, with `_`, or `UNCONN`.
    pub state: Option<String>,
    /// Local port.
    pub port: Option<u16>,
    /// Remote port.
    pub remote_port: Option<u16>,
    /// Receive queue in bytes.
    pub recv_q: Option<u32>,
    /// Send queue in bytes.
    pub send_q: Option<u32>,
    /// What the timer that runs is for: `retransmit`, `keepalive`, `time-wait` or `probe`.
    pub timer: Option<String>,
    /// How often in a row something was sent again without an answer.
    pub retransmits: Option<Copies>,
    /// Whether a program has it open.
    pub owned: Option<bool>,
    /// How many rows; without it, at least one.
    pub count: Option<Copies>,
}
