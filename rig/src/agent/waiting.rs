//! Waiting until a program listens, or is connected.
//!
//! The kernel tells nobody when a socket begins to listen, so the socket table is read again and
//! again; one reading of those that listen takes about 20 us. One of connections walks the hash table of the whole
//! machine, 1 ms and more for each family (Linux 6.18, 262,144 buckets): so they are read when a SYN has left the
//! host, and without one only now and then.

use std::io;
use std::time::Duration;

use netlink_packet_sock_diag::inet::StateFlags;
use tokio::time::Instant;

use super::owners::Attempts;
use super::processes::Processes;
use super::protocol::{AgentError, AgentErrorKind};
use super::sockets::{self, KernelSocket};
use crate::units::{NodeName, Timestamp};

/// Time between two looks at the socket table.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long after the last SYN of the host its connections are looked at that often: most are made or refused by then.
const ATTEMPT_LASTS: Duration = Duration::from_secs(1);

/// Time between two looks at connections while no SYN leaves: one may have been accepted, or be long under way.
const LOOK_UNPROMPTED_EVERY: Duration = Duration::from_millis(100);

/// Time between two looks at the processes, where the socket table has nothing new.
const LOOK_AT_PROCESSES_EVERY: Duration = Duration::from_millis(25);

/// How long a node must have been seen without a process to count as ended. A node's container has
/// been started when it is waited for, but its first process may still be becoming the program.
pub(super) const ABSENT_FOR: Duration = Duration::from_millis(100);

/// What a node's socket shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Listen on this TCP port.
    Listening(u16),
    /// Be connected to this TCP port of another socket. A connection that the other side has
    /// closed since counts, too: it may be short.
    Connected(u16),
    /// Be bound to this UDP port.
    Bound(u16),
}

impl Goal {
    /// The sockets that may do it.
    fn sockets(self) -> io::Result<Vec<KernelSocket>> {
        match self {
            Self::Listening(_) => sockets::tcp(&StateFlags::LISTEN),
            Self::Connected(_) => sockets::tcp(&(StateFlags::ESTABLISHED | StateFlags::CLOSE_WAIT)),
            Self::Bound(_) => sockets::udp(),
        }
    }

    fn fits(self, socket: &KernelSocket) -> bool {
        let port_fits = match self {
            Self::Listening(port) | Self::Bound(port) => socket.local.port() == port,
            Self::Connected(port) => socket.remote.port() == port,
        };
        port_fits && socket.inode != 0
    }

    fn text(self, node: &NodeName) -> String {
        match self {
            Self::Listening(port) => format!("wait until {node} listens on TCP port {port}"),
            Self::Connected(port) => format!("wait until {node} is connected to TCP port {port}"),
            Self::Bound(port) => format!("wait until {node} is bound to UDP port {port}"),
        }
    }
}

/// Waits until a socket of `node` does what it shall; gives when that was seen.
pub(super) async fn wait_for(
    processes: &Processes,
    attempts: &Attempts,
    node: &NodeName,
    goal: Goal,
    within: Duration,
) -> Result<Timestamp, AgentError> {
    let started = Instant::now();
    let mut pace = Pace::default();
    let mut sockets = Vec::new();
    let mut view = View::default();
    let mut absent_since = None;
    loop {
        if pace.is_due(goal, attempts.count(), Instant::now()) {
            sockets = goal.sockets().map_err(|error| AgentError {
                kind: AgentErrorKind::System,
                message: format!("{}: read the socket table: {error}", goal.text(node)),
            })?;
        }
        let inodes: Vec<u32> = sockets
            .iter()
            .filter(|socket| goal.fits(socket))
            .map(|socket| socket.inode)
            .collect();
        view.update(processes, node, inodes);
        if let Some(inode) = view.reached {
            let found = sockets.iter().find(|socket| socket.inode == inode);
            if let (Goal::Connected(_), Some(socket)) = (goal, found) {
                processes.remember(socket.local, socket.remote, node);
            }
            return Ok(Timestamp::now());
        }
        // From the first look that missed it: on a busy machine the one before may be long ago.
        absent_since = match absent_since {
            _ if view.present => None,
            None => view.looked_at,
            since => since,
        };
        let failure = |kind, cause| {
            Err(AgentError {
                kind,
                message: format!("{}: {cause}", goal.text(node)),
            })
        };
        let ended = absent_since.is_some_and(|since| since.elapsed() >= ABSENT_FOR);
        let late = started.elapsed() >= within;
        match (&view.other, goal) {
            (Some(other), Goal::Listening(_) | Goal::Bound(_)) if ended || late => {
                let does = if matches!(goal, Goal::Bound(_)) {
                    "is bound to"
                } else {
                    "listens on"
                };
                let cause = format!("node {other} {does} it");
                return failure(AgentErrorKind::PortInUse, cause);
            }
            _ if ended => {
                let cause = "its program has ended".to_owned();
                return failure(AgentErrorKind::NoProcess, cause);
            }
            _ if late => {
                // How long that is the reader knows as the deadline of a step, not as what was
                // left of it.
                return failure(AgentErrorKind::TimedOut, "not in time".to_owned());
            }
            _ => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// When the socket table is read again.
#[derive(Debug, Default)]
struct Pace {
    attempts: u64,
    attempted_at: Option<Instant>,
    looked_at: Option<Instant>,
}

impl Pace {
    /// Whether the table is to be read now; it is taken to be.
    fn is_due(&mut self, goal: Goal, attempts: u64, now: Instant) -> bool {
        if self.attempts != attempts {
            self.attempts = attempts;
            self.attempted_at = Some(now);
        }
        let prompted = self
            .attempted_at
            .is_some_and(|at| now.duration_since(at) < ATTEMPT_LASTS);
        let every = match goal {
            Goal::Connected(_) if !prompted => LOOK_UNPROMPTED_EVERY,
            _ => LOOK_EVERY,
        };
        let due = self
            .looked_at
            .is_none_or(|at| now.duration_since(at) >= every);
        if due {
            self.looked_at = Some(now);
        }
        due
    }
}

/// What is known of the node's processes and of the owners of the sockets in question.
#[derive(Debug, Default)]
struct View {
    looked_at: Option<Instant>,
    inodes: Vec<u32>,
    /// The node has a process, or may be about to.
    present: bool,
    /// One of the sockets that is the node's, by its inode.
    reached: Option<u32>,
    /// Another node that one of them belongs to.
    other: Option<NodeName>,
}

impl View {
    /// Looks at the processes where there are other sockets than before, or the last look was too
    /// long ago.
    fn update(&mut self, processes: &Processes, node: &NodeName, inodes: Vec<u32>) {
        let is_recent = |at: Instant| at.elapsed() < LOOK_AT_PROCESSES_EVERY;
        if self.inodes == inodes && self.looked_at.is_some_and(is_recent) {
            return;
        }
        let now = processes.look();
        self.present = now.has(node) || now.is_starting();
        if inodes.is_empty() {
            (self.reached, self.other) = (None, None);
        } else {
            let owners = now.socket_owners();
            let mut found = inodes
                .iter()
                .filter_map(|inode| Some((*inode, owners.get(inode)?)));
            let of_node = found.clone().find(|(_, owner)| *owner == node);
            self.reached = of_node.map(|(inode, _)| inode);
            let other = found.find(|(_, owner)| *owner != node);
            self.other = other.map(|(_, owner)| owner.clone());
        }
        self.inodes = inodes;
        self.looked_at = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The milliseconds of `during` at which the table is read, looked for one after another.
    fn looks(goal: Goal, attempts: impl Fn(u32) -> u64, during: u32) -> Vec<u32> {
        let start = Instant::now();
        let mut pace = Pace::default();
        (0..during)
            .filter(|&ms| pace.is_due(goal, attempts(ms), start + MS * ms))
            .collect()
    }

    #[test]
    fn sockets_that_listen_are_looked_for_at_once_and_often() {
        assert_eq!(looks(Goal::Listening(1), |_| 0, 16), [0, 5, 10, 15]);
        assert_eq!(looks(Goal::Bound(1), |_| 9, 16), [0, 5, 10, 15]);
    }

    #[test]
    fn connections_are_looked_for_when_a_syn_has_left() {
        let none = looks(Goal::Connected(1), |_| 0, 250);
        assert_eq!(none, [0, 100, 200]);
        let one = looks(Goal::Connected(1), |ms| u64::from(ms >= 122), 140);
        assert_eq!(one, [0, 100, 122, 127, 132, 137]);
        // Not for ever: the next look comes as late as without one.
        let later = looks(Goal::Connected(1), |ms| u64::from(ms >= 3), 1300);
        assert_eq!(later[later.len() - 4..], [995, 1000, 1100, 1200]);
    }
}
