//! What steps do to programs beyond what a person would.

use std::net::SocketAddr;

use tokio::time::Instant;

use super::driver::{ANSWER_MARGIN, Deadline, Driver, StepError};
use crate::agent::protocol::{Request, Response};
use crate::backend::{BackendError, LiveCell};
use crate::units::{HostName, NodeName, Signal, Timestamp};

/// Signals that stop a program, so that nothing it sends is caused by them.
const STILL_SIGNALS: [&str; 4] = ["STOP", "TSTP", "TTIN", "TTOU"];

/// What a fault was done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Victim {
    /// A program.
    Node(NodeName),
    /// A whole host.
    Host(HostName),
}

impl Victim {
    /// Whether it is this node.
    pub(super) fn is(&self, node: &NodeName) -> bool {
        matches!(self, Self::Node(name) if name == node)
    }
}

/// Something done to a node or host that the wire may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// When it was done.
    pub(super) at: Timestamp,
    /// To what.
    pub(super) on: Victim,
    /// What: `SIGKILL alice`.
    pub(super) what: String,
    /// Whether it makes the node's side of a connection send something; stopping a program does
    /// not.
    pub(super) sends: bool,
    /// The connections that it ends, each with the node's end first, where others of the node go on.
    pub(super) alone_in: Option<Vec<(SocketAddr, SocketAddr)>>,
}

impl<C: LiveCell> Driver<'_, C> {
    /// Sends a signal to a node.
    pub(super) async fn signal(&self, node: &NodeName, signal: Signal) -> Result<(), StepError> {
        let host = self.host_of(node)?;
        let sends = !STILL_SIGNALS.contains(&signal.name());
        if sends {
            self.let_end(node);
        }
        let request = Request::Signal {
            node: node.clone(),
            signal,
        };
        let Response::Signalled { at, alone_in, .. } = self.cell.ask(&host, request).await? else {
            return Err(other_answer(&format!("send {signal} to {node}")));
        };
        // What catches a signal may close whatever its program has.
        let alone_in = alone_in.filter(|_| signal == Signal::KILL);
        self.fault(at, node, &signal.to_string(), "", sends, alone_in);
        Ok(())
    }

    /// Kills a node while it has unread data.
    pub(super) async fn kill_unread(
        &self,
        node: &NodeName,
        deadline: Deadline,
    ) -> Result<(), StepError> {
        let host = self.host_of(node)?;
        let left = deadline.at.saturating_duration_since(Instant::now());
        let request = Request::KillUnread {
            node: node.clone(),
            within: left.saturating_sub(ANSWER_MARGIN),
        };
        let answer = self.cell.ask(&host, request).await?;
        let Response::KilledUnread { at, unread_bytes } = answer else {
            return Err(other_answer(&format!("kill {node} with unread data")));
        };
        let detail = format!(" with {unread_bytes} bytes unread");
        self.fault(at, node, &Signal::KILL.to_string(), &detail, true, None);
        Ok(())
    }

    /// Freezes or thaws a node.
    pub(super) async fn freeze(&self, node: &NodeName, frozen: bool) -> Result<(), StepError> {
        let at = self.cell.freeze(node, frozen).await?;
        let what = if frozen { "freeze" } else { "thaw" };
        self.fault(at, node, what, "", !frozen, None);
        Ok(())
    }

    fn fault(
        &self,
        at: Timestamp,
        node: &NodeName,
        what: &str,
        detail: &str,
        sends: bool,
        alone_in: Option<Vec<(SocketAddr, SocketAddr)>>,
    ) {
        self.transcript.done(at, node, &format!("{what}{detail}"));
        let what = format!("{what} {node}{detail}");
        self.state().faults.push(Fault {
            at,
            on: Victim::Node(node.clone()),
            what,
            sends,
            alone_in,
        });
    }
}

/// The error of an agent that answered something else than was asked.
pub(super) fn other_answer(operation: &str) -> StepError {
    let message = format!("{operation}: the agent gave an answer to another question");
    BackendError::machine(message).into()
}
