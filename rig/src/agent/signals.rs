//! Signals to the programs of a node, each made sure of.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::processes::Processes;
use super::protocol::{AgentError, AgentErrorKind, Response};
use super::sockets;
use super::sys::ProcessHandle;
use super::waiting::ABSENT_FOR;
use crate::units::{NodeName, Signal, Timestamp};

/// Time between two looks for a process that is to be signalled: the kernel tells nobody when a
/// process becomes another program.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The longest that containers that are being started hold up the answer to a signal; less than
/// the controller waits for it.
const MAX_START: Duration = Duration::from_secs(5);

/// How long the kernel may take to end, stop or continue a program; a busy machine takes
/// milliseconds.
const EFFECT_WITHIN: Duration = Duration::from_secs(3);

/// Time between two looks at whether it has.
const EFFECT_EVERY: Duration = Duration::from_millis(1);

/// Time between two looks at the queues of a node's connections.
const QUEUES_EVERY: Duration = Duration::from_millis(5);

/// Signals the main process of a node. The process is taken hold of before it is looked at a second
/// time, so that the signal cannot reach another one that came to have its id.
pub(super) async fn signal(
    processes: &Processes,
    node: &NodeName,
    signal: Signal,
) -> Result<Response, AgentError> {
    let failed = |error| failed(node, signal, &error);
    let main = main_process(processes, node).await;
    let pid = main.ok_or_else(|| gone(node, signal))?;
    let process = ProcessHandle::open(pid).map_err(failed)?;
    let now = processes.look();
    if now.main_process(node) != Some(pid) {
        return Err(gone(node, signal));
    }
    // Of others the connections go on.
    let has_others = now.of(node).len() > 1;
    let alone_in = has_others
        .then(|| sockets::connections_alone(&now, pid))
        .transpose();
    let alone_in = alone_in.map_err(|error| AgentError {
        kind: AgentErrorKind::System,
        message: format!("read the connections of {node}: {error}"),
    })?;
    let at = Timestamp::now();
    process.send(signal).map_err(failed)?;
    await_effect(processes, node, &[(pid, process)], signal).await?;
    Ok(Response::Signalled { at, pid, alone_in })
}

/// Kills every process of a node while a connection of it has data that nobody read. They are
/// stopped first, so that what is unread stays so.
pub(super) async fn kill_unread(
    processes: &Processes,
    node: &NodeName,
    within: Duration,
) -> Result<Response, AgentError> {
    let started = Instant::now();
    let main = main_process(processes, node).await;
    main.ok_or_else(|| gone(node, Signal::KILL))?;
    let all = hold_all(processes, node);
    let outcome = async {
        send_all(node, &all, Signal::STOP)?;
        await_effect(processes, node, &all, Signal::STOP).await?;
        let left = within.saturating_sub(started.elapsed());
        let unread_bytes = await_unread(processes, node, left).await?;
        let at = Timestamp::now();
        send_all(node, &all, Signal::KILL)?;
        await_effect(processes, node, &all, Signal::KILL).await?;
        Ok(Response::KilledUnread { at, unread_bytes })
    };
    let outcome = outcome.await;
    if outcome.is_err() {
        // They go on as they were before; one that has ended needs nothing.
        send_all(node, &all, Signal::CONT).ok();
    }
    outcome
}

/// The main process of a node. Where there is none, its first process may still be becoming the
/// program: it has ended only when no container has been starting for a while.
async fn main_process(processes: &Processes, node: &NodeName) -> Option<i32> {
    let asked = Instant::now();
    let mut absent_since = None;
    loop {
        let starting = {
            let now = processes.look();
            if let Some(pid) = now.main_process(node) {
                return Some(pid);
            }
            now.is_starting()
        };
        if starting {
            absent_since = None;
        }
        let absent =
            !starting && absent_since.get_or_insert_with(Instant::now).elapsed() >= ABSENT_FOR;
        if absent || asked.elapsed() >= MAX_START {
            return None;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Takes hold of every process of a node; one that ends meanwhile is left out.
fn hold_all(processes: &Processes, node: &NodeName) -> Vec<(i32, ProcessHandle)> {
    let found = processes.look().of(node);
    let held: Vec<_> = found
        .into_iter()
        .filter_map(|pid| Some((pid, ProcessHandle::open(pid).ok()?)))
        .collect();
    let still = processes.look().of(node);
    held.into_iter()
        .filter(|(pid, _)| still.contains(pid))
        .collect()
}

fn send_all(
    node: &NodeName,
    all: &[(i32, ProcessHandle)],
    signal: Signal,
) -> Result<(), AgentError> {
    for (_, process) in all {
        match process.send(signal) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            answer => answer.map_err(|error| failed(node, signal, &error))?,
        }
    }
    Ok(())
}

/// Waits until the signals that no program can catch have done what they do: others are the program's
/// business.
async fn await_effect(
    processes: &Processes,
    node: &NodeName,
    all: &[(i32, ProcessHandle)],
    signal: Signal,
) -> Result<(), AgentError> {
    let started = Instant::now();
    loop {
        let mut done = true;
        for (pid, process) in all {
            let ended = process.has_ended().map_err(|e| failed(node, signal, &e))?;
            done &= ended
                || match signal {
                    Signal::KILL => false,
                    Signal::STOP => processes.look().is_stopped(*pid),
                    Signal::CONT => !processes.look().is_stopped(*pid),
                    _ => true,
                };
        }
        if done {
            return Ok(());
        }
        if started.elapsed() >= EFFECT_WITHIN {
            return Err(AgentError {
                kind: AgentErrorKind::TimedOut,
                message: format!(
                    "send {signal} to {node}: it had no effect within {} s; is the node paused?",
                    EFFECT_WITHIN.as_secs()
                ),
            });
        }
        tokio::time::sleep(EFFECT_EVERY).await;
    }
}

/// Waits until a connection of a node has data that nobody read; gives how much.
async fn await_unread(
    processes: &Processes,
    node: &NodeName,
    within: Duration,
) -> Result<u64, AgentError> {
    let started = Instant::now();
    loop {
        let unread =
            sockets::unread_bytes(&processes.look(), node).map_err(|error| AgentError {
                kind: AgentErrorKind::System,
                message: format!("read the queues of {node}: {error}"),
            })?;
        if unread > 0 {
            return Ok(unread);
        }
        if started.elapsed() >= within {
            return Err(AgentError {
                kind: AgentErrorKind::TimedOut,
                message: format!(
                    "kill {node} with unread data: none of its connections has any, and none came in time"
                ),
            });
        }
        tokio::time::sleep(QUEUES_EVERY).await;
    }
}

fn gone(node: &NodeName, signal: Signal) -> AgentError {
    AgentError {
        kind: AgentErrorKind::NoProcess,
        message: format!("send {signal} to {node}: its program has ended"),
    }
}

fn failed(node: &NodeName, signal: Signal, error: &io::Error) -> AgentError {
    if error.raw_os_error() == Some(libc::ESRCH) {
        return gone(node, signal);
    }
    AgentError {
        kind: AgentErrorKind::System,
        message: format!("send {signal} to {node}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::agent::protocol::NODE_VARIABLE;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn spawn(node: &NodeName, input: Stdio) -> Child {
        let mut command = Command::new("sleep");
        command.arg("60").env(NODE_VARIABLE, node.as_str());
        command.stdin(input).spawn().unwrap()
    }

    #[tokio::test]
    async fn a_program_that_appears_after_the_request_is_signalled() {
        let processes = Processes::new();
        let node = node("late-to-be-signalled");
        // The first look comes before the program, the second one after it.
        let (reply, mut child) = tokio::join!(signal(&processes, &node, Signal::TERM), async {
            spawn(&node, Stdio::null())
        });
        let pid = i32::try_from(child.id()).unwrap();
        // Only a refused signal leaves it running.
        if reply.is_err() {
            child.kill().unwrap();
        }
        child.wait().unwrap();
        assert!(matches!(reply, Ok(Response::Signalled { pid: told, .. }) if told == pid));
        let refused = signal(&processes, &node, Signal::TERM).await.unwrap_err();
        assert_eq!(refused.kind, AgentErrorKind::NoProcess);
    }

    #[tokio::test]
    async fn signals_that_cannot_be_caught_have_done_their_work() {
        let processes = Processes::new();
        let node = node("stops-and-goes-on");
        let mut child = spawn(&node, Stdio::null());
        let pid = i32::try_from(child.id()).unwrap();
        signal(&processes, &node, Signal::STOP).await.unwrap();
        assert!(processes.look().is_stopped(pid));
        signal(&processes, &node, Signal::CONT).await.unwrap();
        assert!(!processes.look().is_stopped(pid));
        signal(&processes, &node, Signal::KILL).await.unwrap();
        assert!(child.try_wait().unwrap().is_some());
    }

    #[tokio::test]
    async fn only_a_program_with_unread_data_is_killed_for_it() {
        let processes = Processes::new();
        let node = node("reads-nothing");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut ours, _) = listener.accept().unwrap();
        let mut child = spawn(&node, OwnedFd::from(theirs).into());
        let soon = Duration::from_millis(50);
        let refused = kill_unread(&processes, &node, soon).await.unwrap_err();
        assert!(
            refused.message.contains("none of its connections"),
            "{refused}"
        );
        assert_eq!(child.try_wait().unwrap(), None);
        ours.write_all(b"nobody reads this").unwrap();
        let killed = kill_unread(&processes, &node, EFFECT_WITHIN).await.unwrap();
        assert!(
            matches!(
                killed,
                Response::KilledUnread {
                    unread_bytes: 17,
                    ..
                }
            ),
            "{killed:?}"
        );
        child.wait().unwrap();
    }
}
