//! Plans become live hosts and nodes.
//!
//! [`Backend`] is what the runner needs of a place where cells can live, and no more.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{mpsc, watch};

use crate::agent::protocol::{HostFile, Request, Response};
use crate::judge::VisitEnd;
use crate::plan::{NetworkNeeds, NodePlan, Plan, Stream, Subnet};
use crate::units::{HostName, NodeName, Timestamp};

pub mod docker;
mod error;

pub mod fake;

pub use error::{BackendError, Blame};

/// A place where cells can live.
pub trait Backend: Send + Sync + 'static {
    /// A cell that is up.
    type Cell: LiveCell;

    /// Takes subnets that nothing else uses until the lease is dropped.
    fn lease(
        &self,
        needs: NetworkNeeds,
    ) -> impl Future<Output = Result<Arc<dyn SubnetLease>, BackendError>> + Send;

    /// Brings up the hosts of a plan, capturing. The plan's subnets are those of the lease.
    fn open(
        &self,
        plan: Arc<Plan>,
        lease: Arc<dyn SubnetLease>,
    ) -> impl Future<Output = Result<Self::Cell, BackendError>> + Send;

    /// Removes everything that this run still has on the machine, and says what could not be
    /// removed.
    fn close(&self) -> impl Future<Output = Result<(), BackendError>> + Send;
}

/// Subnets in use by one cell; they are free again when it is dropped.
pub trait SubnetLease: std::fmt::Debug + Send + Sync {
    /// The subnets, in the order of the plan's networks.
    fn subnets(&self) -> &[Subnet];
}

/// A cell whose hosts are up.
pub trait LiveCell: Send + Sync + 'static {
    /// Starts a node's program. Its host is up.
    fn start(&self, node: &NodePlan)
    -> impl Future<Output = Result<LiveNode, BackendError>> + Send;

    /// Asks the agent of a host.
    fn ask(
        &self,
        host: &HostName,
        request: Request,
    ) -> impl Future<Output = Result<Response, BackendError>> + Send;

    /// Freezes or thaws every process of a node.
    fn freeze(
        &self,
        node: &NodeName,
        frozen: bool,
    ) -> impl Future<Output = Result<Timestamp, BackendError>> + Send;

    /// A file that a host's agent wrote: its capture, after it answered `Close`, or a picture.
    fn fetch(
        &self,
        host: &HostName,
        file: HostFile,
    ) -> impl Future<Output = Result<Vec<u8>, BackendError>> + Send;

    /// Leaves the cell on the machine for somebody to look at; without this, what it has there is
    /// removed in the background once it is dropped, at the latest by [`Backend::close`]. Gives
    /// the names by which its hosts and programs can be found there.
    fn keep(self) -> impl Future<Output = Result<Vec<String>, BackendError>> + Send;
}

/// A program that was started.
#[derive(Debug)]
pub struct LiveNode {
    /// When it was started.
    pub started: Timestamp,
    /// What goes to its standard input; dropping it ends the input.
    pub input: mpsc::Sender<Vec<u8>>,
    /// What it prints, until both outputs have ended.
    pub output: mpsc::Receiver<OutputChunk>,
    /// How it ended, once it has.
    pub ended: watch::Receiver<Option<VisitEnd>>,
    /// The last of its processes that has ended and left its work to another, in the background.
    pub retired: watch::Receiver<Option<VisitEnd>>,
    /// Set by whoever tells the program to end: then the end of its main process is its end, whatever it leaves.
    pub leaving: Arc<AtomicBool>,
}

/// Bytes that a program printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// When they were read.
    pub at: Timestamp,
    /// Where they were printed.
    pub stream: Stream,
    /// The bytes.
    pub bytes: Vec<u8>,
}
