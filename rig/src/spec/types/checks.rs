//! What must be seen of a cell.

use std::fmt;

use super::When;
use crate::analysis::{ConnState, Sender};
use crate::pattern::{EventPattern, Pattern};
use crate::spec::{Field, Located, Place, Template};
use crate::units::{MarkName, NodeName, Signal};

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
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
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
