//! What a matrix file says, complete and typed.
//!
//! A [`Spec`] holds no unknown keys and no dangling names, as far as they can be told without
//! choosing a cell; what depends on the cell is checked when the cell is planned.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::{Field, Located, Place, Source, Template};
use crate::analysis::{ConnState, Sender};
use crate::pattern::{EventPattern, Library, Pattern};
use crate::units::{HostName, ImageName, MarkName, NetworkName, NodeName, Signal};

/// How long a step may take when neither it nor `timeouts` says otherwise.
pub const DEFAULT_STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a `start` may take when neither it nor `timeouts` says otherwise.
pub const DEFAULT_START_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between SIGTERM and SIGKILL of a `stop` step that does not say otherwise.
pub const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(5);
/// The most hosts that a file may have: each has a host number in a subnet of 24 bits.
pub const MAX_HOSTS: usize = 200;

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
    /// Axes of the matrix by name.
    pub axes: IndexMap<String, Axis>,
    /// Which cells are taken out of the product of the axes.
    pub exclude: Vec<CellRule>,
    /// Which of those are wanted after all.
    pub include: Vec<CellRule>,
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
    /// Package whose static binaries are part of the context.
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
    /// When it counts as started; at once without it.
    pub ready: Option<ReadySpec>,
    /// What is written to its standard input as soon as it runs, before it counts as started.
    pub join: Option<Template>,
    /// What a `say` step writes to its standard input.
    pub say: Option<Template>,
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
    /// It printed a line that contains this text.
    Output(Template),
}

/// How a person leaves a program.
#[derive(Debug, Clone)]
pub enum LeaveSpec {
    /// By typing this.
    Stdin(Template),
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
}

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
    /// Read the socket tables.
    Mark(MarkName),
    /// Let time pass.
    Settle(Duration),
    /// Do what the cell's value on this axis says under `do`.
    Use(Located<String>),
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
    /// How many rows; without it, at least one.
    pub count: Option<Copies>,
}
