//! A process of a simulated host.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::program::{Input, Program, Running};
use crate::backend::{LiveNode, OutputChunk};
use crate::judge::{HowEnded, VisitEnd};
use crate::plan::{NodePlan, Stream};
use crate::units::{HostName, NodeName, Timestamp};

/// Id of a process in its cell.
pub(super) type Pid = i32;

/// The most chunks of output that wait to be read; a program that prints more is ended by SIGPIPE.
const MAX_OUTPUT_CHUNKS: usize = 4096;

/// The most chunks of standard input that wait.
const MAX_INPUT_CHUNKS: usize = 64;

/// A program that runs, or has run.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) node: NodeName,
    pub(super) host: HostName,
    pub(super) running: Running,
    pub(super) frozen: bool,
    /// What happened while it was frozen.
    pub(super) pending: VecDeque<Input>,
    output: Option<mpsc::Sender<OutputChunk>>,
    ended: watch::Sender<Option<VisitEnd>>,
}

impl Process {
    /// A process that has not done anything yet, its standard input, and what its node's driver
    /// holds of it.
    pub(super) fn new(
        node: &NodePlan,
        program: Program,
        started: Timestamp,
    ) -> (Self, mpsc::Receiver<Vec<u8>>, LiveNode) {
        let (input, stdin) = mpsc::channel(MAX_INPUT_CHUNKS);
        let (output, chunks) = mpsc::channel(MAX_OUTPUT_CHUNKS);
        let (ended, end) = watch::channel(None);
        let process = Self {
            node: node.name.clone(),
            host: node.host.clone(),
            running: Running::new(program),
            frozen: false,
            pending: VecDeque::new(),
            output: Some(output),
            ended,
        };
        let live = LiveNode {
            started,
            input,
            output: chunks,
            ended: end,
            retired: watch::channel(None).1,
            leaving: Arc::default(),
        };
        (process, stdin, live)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.output.is_some()
    }

    /// Prints a line; false when nobody has read for too long.
    pub(super) fn print(&self, at: Timestamp, stream: Stream, text: &str) -> bool {
        let chunk = OutputChunk {
            at,
            stream,
            bytes: format!("{text}\n").into_bytes(),
        };
        match self.output.as_ref().map(|output| output.try_send(chunk)) {
            Some(Err(mpsc::error::TrySendError::Full(_))) => false,
            // A driver that has gone away reads no output, as a closed terminal.
            Some(Ok(()) | Err(mpsc::error::TrySendError::Closed(_))) | None => true,
        }
    }

    /// Ends its outputs and tells how it ended.
    pub(super) fn end(&mut self, at: Timestamp, how: HowEnded) {
        self.output = None;
        self.pending.clear();
        self.ended.send_replace(Some(VisitEnd { at, how }));
    }
}
