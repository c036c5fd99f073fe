//! What an agent does for each request.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::capture::Capture;
use super::owners::OwnerWatch;
use super::processes::Processes;
use super::protocol::{AgentError, AgentErrorKind, Request, Response};
use super::sys::ProcessHandle;
use super::waiting::{ABSENT_FOR, Goal, wait_for};
use super::{interfaces, sockets};
use crate::units::{NodeName, Signal, Timestamp};

/// Time between two looks for a process that is to be signalled: the kernel tells nobody when a
/// process becomes another program.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The longest that containers that are being started hold up the answer to a signal; less than
/// the controller waits for it.
const MAX_START: Duration = Duration::from_secs(5);

/// The longest that a host outlives a controller that did not ask to keep it.
const MAX_LINGER: Duration = Duration::from_mins(1);

/// The host that the agent holds.
#[derive(Debug)]
pub(super) struct Host {
    processes: Processes,
    capture_path: PathBuf,
    recording: Mutex<Recording>,
    kept: AtomicBool,
    linger: OnceLock<Duration>,
}

/// What has become of the capture. There is one in an agent's life.
#[derive(Debug)]
enum Recording {
    NotYet,
    Now(Box<(Capture, OwnerWatch)>),
    Over,
}

impl Host {
    /// A host that is not captured yet.
    pub(super) fn new(capture_path: PathBuf) -> Self {
        Self {
            processes: Processes::new(),
            capture_path,
            recording: Mutex::new(Recording::NotYet),
            kept: AtomicBool::new(false),
            linger: OnceLock::new(),
        }
    }

    /// Whether it shall outlive its controller.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// How long it outlives a controller that has gone, unless it is kept.
    pub(super) fn linger(&self) -> Duration {
        self.linger.get().copied().unwrap_or_default()
    }

    /// Does what is asked.
    pub(super) async fn answer(&self, request: Request) -> Result<Response, AgentError> {
        match request {
            Request::Open {
                host,
                networks,
                linger,
            } => {
                // A second opening is refused below, and the first one's word stands.
                self.linger.set(linger.min(MAX_LINGER)).ok();
                self.open(&host, &networks).await
            }
            Request::AwaitListening { node, port, within } => {
                let at = wait_for(&self.processes, &node, Goal::Listening(port), within).await?;
                Ok(Response::Listening { at })
            }
            Request::AwaitConnected { node, port, within } => {
                let at = wait_for(&self.processes, &node, Goal::Connected(port), within).await?;
                Ok(Response::Connected { at })
            }
            Request::Signal { node, signal } => self.signal(&node, signal).await,
            Request::Sockets => self.sockets(),
            Request::Keep => {
                self.kept.store(true, Ordering::Relaxed);
                Ok(Response::Kept)
            }
            Request::Close => self.close().await,
        }
    }

    async fn open(
        &self,
        host: &str,
        networks: &[(IpAddr, String)],
    ) -> Result<Response, AgentError> {
        let mut recording = self.recording.lock().await;
        if !matches!(*recording, Recording::NotYet) {
            return Err(protocol("the capture was opened before"));
        }
        let interfaces = interfaces::prepare(host, networks)
            .map_err(|error| system("prepare the interfaces of", host, &error))?;
        let capture = Capture::open(&self.capture_path, interfaces)
            .await
            .map_err(|error| system("open the capture of", host, &error))?;
        let owners = OwnerWatch::start(self.processes.clone())
            .map_err(|error| system("watch connections of", host, &error))?;
        let interfaces = capture.interfaces().iter().map(|i| i.public.clone());
        let interfaces = interfaces.collect();
        *recording = Recording::Now(Box::new((capture, owners)));
        Ok(Response::Opened { interfaces })
    }

    async fn close(&self) -> Result<Response, AgentError> {
        let mut recording = self.recording.lock().await;
        match std::mem::replace(&mut *recording, Recording::Over) {
            Recording::NotYet => {
                *recording = Recording::NotYet;
                Err(protocol("the capture was not opened"))
            }
            Recording::Over => Err(protocol("the capture was closed before")),
            Recording::Now(both) => {
                let (capture, owners) = *both;
                let interfaces = capture.close().await;
                let owners = owners.finish().await;
                let interfaces =
                    interfaces.map_err(|error| system("close", "the capture", &error))?;
                let owners =
                    owners.map_err(|error| system("name", "the owners of connections", &error))?;
                Ok(Response::Closed { interfaces, owners })
            }
        }
    }

    fn sockets(&self) -> Result<Response, AgentError> {
        let at = Timestamp::now();
        let sockets = sockets::table(&self.processes.look())
            .map_err(|error| system("read", "the socket tables", &error))?;
        Ok(Response::Sockets { at, sockets })
    }

    /// Signals the main process of a node. The process is taken hold of before it is looked at a
    /// second time, so that the signal cannot reach another one that came to have its id.
    async fn signal(&self, node: &NodeName, signal: Signal) -> Result<Response, AgentError> {
        let gone = || AgentError {
            kind: AgentErrorKind::NoProcess,
            message: format!("send {signal} to {node}: its program has ended"),
        };
        let failed = |error: io::Error| {
            if error.raw_os_error() == Some(libc::ESRCH) {
                return gone();
            }
            system(&format!("send {signal} to"), node.as_str(), &error)
        };
        let pid = self.main_process(node).await.ok_or_else(gone)?;
        let process = ProcessHandle::open(pid).map_err(failed)?;
        if self.processes.look().main_process(node) != Some(pid) {
            return Err(gone());
        }
        let at = Timestamp::now();
        process.send(signal).map_err(failed)?;
        Ok(Response::Signalled { at, pid })
    }

    /// The main process of a node. Where there is none, its first process may still be becoming the
    /// program: it has ended only when no container has been starting for a while.
    async fn main_process(&self, node: &NodeName) -> Option<i32> {
        let asked = Instant::now();
        let mut starting_at = asked;
        loop {
            let starting = {
                let now = self.processes.look();
                if let Some(pid) = now.main_process(node) {
                    return Some(pid);
                }
                now.is_starting()
            };
            if starting {
                starting_at = Instant::now();
            }
            if starting_at.elapsed() >= ABSENT_FOR || asked.elapsed() >= MAX_START {
                return None;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn protocol(message: &str) -> AgentError {
    AgentError {
        kind: AgentErrorKind::Protocol,
        message: message.to_owned(),
    }
}

fn system(operation: &str, object: &str, cause: &io::Error) -> AgentError {
    AgentError {
        kind: AgentErrorKind::System,
        message: format!("{operation} {object}: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::agent::protocol::NODE_VARIABLE;

    #[tokio::test]
    async fn a_program_that_appears_after_the_request_is_signalled() {
        let host = Host::new(PathBuf::new());
        let node = NodeName::new("late-to-be-signalled").unwrap();
        // The first look comes before the program, the second one after it.
        let (reply, mut child) = tokio::join!(host.signal(&node, Signal::TERM), async {
            let mut command = Command::new("sleep");
            command.arg("60").env(NODE_VARIABLE, node.as_str());
            command.spawn().unwrap()
        });
        let pid = i32::try_from(child.id()).unwrap();
        // Only a refused signal leaves it running.
        if reply.is_err() {
            child.kill().unwrap();
        }
        child.wait().unwrap();
        assert!(matches!(reply, Ok(Response::Signalled { pid: told, .. }) if told == pid));
        let refused = host.signal(&node, Signal::TERM).await.unwrap_err();
        assert_eq!(refused.kind, AgentErrorKind::NoProcess);
    }
}
