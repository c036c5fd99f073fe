//! What is judged and what comes of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::agent::protocol::{ConnectionOwner, DatagramSocket, InterfaceProof, SocketRow};
use crate::analysis::Flow;
use crate::link::{LinkAccount, What};
use crate::plan::Stream;
use crate::spec::Place;
use crate::units::{HostName, MarkName, NodeName, Signal, Timestamp};

/// The result of a check, of a cell, or of a run. Ordered from good to bad: a cell is the worst of
/// its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It holds.
    Pass,
    /// A cell fails, as the matrix file says that it will.
    #[serde(rename = "xfail")]
    ExpectedFailure,
    /// It was not run, for a reason that is given.
    Skipped,
    /// The evidence is not complete enough to tell.
    Inconclusive,
    /// It does not hold.
    Fail,
    /// It could not be run: the machine, the engine or a program did not do its part.
    Error,
}

impl Verdict {
    /// The word that reports use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::ExpectedFailure => "xfail",
            Self::Skipped => "skipped",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
            Self::Error => "error",
        }
    }
}

/// Everything that was observed of a cell.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The flows of `wire.pcapng`, with events and payload kept, in order of their first packet.
    pub flows: Vec<Flow>,
    /// By host.
    pub hosts: BTreeMap<HostName, HostEvidence>,
    /// By node; a node that was never started has no entry.
    pub nodes: BTreeMap<NodeName, NodeEvidence>,
    /// What links did to the packets of `wire.pcapng`, as far as they are there.
    pub deeds: Vec<LinkDeed>,
    /// Socket tables by mark and host.
    pub marks: Marks,
    /// What each host saw of its connections, where there are marks: flows with their states kept.
    pub views: BTreeMap<HostName, Vec<Flow>>,
    /// When hosts were cut off.
    pub outages: Vec<HostOutage>,
    /// Frames of `wire.pcapng` that the machine took on a network where nothing of the cell does.
    pub taken: Vec<TakenFrame>,
}

/// A frame that left one host and never reached the next on the same network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenFrame {
    /// `frame.number`; the first is 1.
    pub frame: u64,
    /// The interface that sent it.
    pub from: String,
    /// The interface that it was for.
    pub to: String,
}

/// Socket tables by mark and host.
pub type Marks = BTreeMap<MarkName, BTreeMap<HostName, SocketTable>>;

/// The socket table of a host at a marked moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SocketTable {
    /// Immediately before it was read.
    pub from: Timestamp,
    /// Immediately after it was read.
    pub until: Timestamp,
    /// One row a socket, listening ones first.
    pub sockets: Vec<SocketRow>,
}

/// A time during which a host was off a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOutage {
    /// The host.
    pub host: HostName,
    /// What became of it: `has crashed` or `is unplugged`.
    pub why: &'static str,
    /// Its address there.
    pub address: IpAddr,
    /// From when on nothing arrived.
    pub from: Timestamp,
    /// Since when packets arrive again.
    pub until: Option<Timestamp>,
}

/// What a host's agent reported.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostEvidence {
    /// Proof of completeness of each interface; empty when the agent could not be asked.
    pub interfaces: Vec<InterfaceProof>,
    /// Which node opened which connection.
    pub owners: Vec<ConnectionOwner>,
    /// Which node's sockets sent datagrams.
    #[serde(default)]
    pub datagrams: Vec<DatagramSocket>,
    /// What it did to packets, where it is the host of a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkAccount>,
}

/// What a link did to a packet of `wire.pcapng`.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkDeed {
    /// The link.
    pub link: HostName,
    /// `frame.number` of the packet as it was sent; the first is 1.
    pub frame: u64,
    /// What was done.
    pub what: What,
}

/// What was observed of a node.
#[derive(Debug, Clone, Default)]
pub struct NodeEvidence {
    /// One entry for each time it was started.
    pub visits: Vec<Visit>,
    /// Every line it printed, in order.
    pub output: Vec<OutputLine>,
    /// Bytes that it printed and that were not kept.
    pub dropped_bytes: usize,
    /// How many of all lines, kept or not, contain each text that an output check asks about, by where they were printed.
    pub counts: BTreeMap<Stream, BTreeMap<String, u64>>,
}

/// One life of a node's program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// When it was started.
    pub started: Timestamp,
    /// How it ended; `None` while it ran when the steps were done.
    pub ended: Option<VisitEnd>,
}

/// The end of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VisitEnd {
    /// When it was seen.
    pub at: Timestamp,
    /// How it ended.
    #[serde(flatten)]
    pub how: HowEnded,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HowEnded {
    /// It exited with this code.
    #[serde(rename = "code")]
    Exited(i32),
    /// The signal of this number killed it.
    #[serde(rename = "signal")]
    Killed(i32),
    /// Nobody saw how. The engine's word for it: an exit code, or 128 plus the number of a signal.
    #[serde(rename = "engine-code")]
    Unseen(i64),
}

/// What engines add to a signal's number to make an exit code.
pub(super) const SIGNAL_CODE_BASE: i64 = 128;

/// `exited with code 0`, `was killed by SIGKILL`.
impl fmt::Display for VisitEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.how {
            HowEnded::Exited(code) => write!(f, "exited with code {code}"),
            HowEnded::Killed(number) => match Signal::from_number(number) {
                Some(signal) => write!(f, "was killed by {signal}"),
                None => write!(f, "was killed by signal {number}"),
            },
            HowEnded::Unseen(code) => write!(f, "ended with code {code} by the engine's word"),
        }
    }
}

/// A line of a program's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutputLine {
    /// When its end was read.
    pub at: Timestamp,
    /// Where it was printed.
    pub stream: Stream,
    /// The line without its end, as UTF-8 with replacement characters, not yet made printable.
    pub text: String,
}

/// The verdict on one check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckReport {
    /// The check, in a line.
    pub check: String,
    /// Where it stands in the matrix file.
    pub place: Place,
    /// Its result.
    pub verdict: Verdict,
    /// Why: what was expected and what came. Empty for a plain pass.
    pub detail: String,
    /// The first flow that is wrong, with what is wrong; beside the pattern where that did not match.
    pub ladder: Option<String>,
    /// Frames of `wire.pcapng` on which the result rests.
    pub frames: Vec<u64>,
}

/// A comment for a packet of `wire.pcapng`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Annotation {
    /// `frame.number`, the first is 1.
    pub frame: u64,
    /// The comment.
    pub comment: String,
}

/// The verdict on a cell's checks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    /// The worst of the checks; `Pass` where there are none.
    pub verdict: Verdict,
    /// One report a check, in the order of the file.
    pub checks: Vec<CheckReport>,
    /// Comments for the packets that the checks rest on.
    pub annotations: Vec<Annotation>,
    /// Why the evidence of the cell cannot be relied on, if it cannot: captures that are not proven
    /// complete, or that tell another story than the kernel.
    pub doubt: Option<String>,
}
