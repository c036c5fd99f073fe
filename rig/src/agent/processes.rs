//! Which node each process belongs to, read from `/proc` (proc(5)).
//!
//! A process belongs to the node that [`NODE_VARIABLE`] names in the environment it was started
//! with; one that was started without it belongs to the node of its parent.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::protocol::NODE_VARIABLE;
use crate::units::{NodeName, Timestamp};

/// How much of a process's environment is read, in bytes. The variable that is looked for is one
/// that the engine sets before the program's own.
const MAX_ENVIRONMENT_BYTES: u64 = 1024 * 1024;

/// How many ancestors of a process are asked for its node.
const MAX_GENERATIONS: usize = 32;

/// The nodes of connections, by their ends, and when it was found out.
type Connections = HashMap<(SocketAddr, SocketAddr), (Timestamp, NodeName)>;

/// How many connections are kept in mind.
const MAX_REMEMBERED: usize = 1024;

/// A process, told apart from a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Life {
    pid: i32,
    /// Clock ticks from the machine's start to the process's.
    started: u64,
}

#[derive(Debug, Clone)]
struct Process {
    life: Life,
    parent: i32,
    /// Name of the program, at most 15 bytes.
    command: String,
    /// A signal has stopped it.
    stopped: bool,
    /// What its own environment says.
    node: Option<NodeName>,
    /// It has an environment that can be read.
    has_environment: bool,
}

/// The processes of the host, and which node each was seen to belong to. Clones share what they
/// know.
#[derive(Debug, Clone)]
pub(super) struct Processes {
    proc: PathBuf,
    own_pid: i32,
    /// Programs may write over their environment (those that show their state in `ps` do), so what
    /// was read once is kept while the process lives.
    known: Arc<Mutex<HashMap<Life, NodeName>>>,
    /// The nodes of connections, by their ends, that somebody has found out and whose programs may be gone when
    /// the next asks.
    connections: Arc<Mutex<Connections>>,
}

impl Processes {
    /// The processes that `/proc` shows.
    pub(super) fn new() -> Self {
        let own_pid = i32::try_from(std::process::id()).unwrap_or(1);
        Self::at(Path::new("/proc"), own_pid)
    }

    fn at(proc: &Path, own_pid: i32) -> Self {
        Self {
            proc: proc.to_owned(),
            own_pid,
            known: Arc::default(),
            connections: Arc::default(),
        }
    }

    /// Keeps in mind whose a connection is.
    pub(super) fn remember(&self, local: SocketAddr, remote: SocketAddr, node: &NodeName) {
        let mut connections = self.connections();
        if connections.len() >= MAX_REMEMBERED {
            connections.clear();
        }
        connections.insert((local, remote), (Timestamp::now(), node.clone()));
    }

    /// Whose the connection is that was begun at `at`, by what was kept in mind since.
    pub(super) fn recall(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        at: Timestamp,
    ) -> Option<NodeName> {
        let (since, node) = self.connections().remove(&(local, remote))?;
        (at <= since).then_some(node)
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The processes that live now; those that have ended but were not waited for do not count.
    pub(super) fn look(&self) -> Snapshot<'_> {
        let mut live = HashMap::new();
        let entries = fs::read_dir(&self.proc).into_iter().flatten().flatten();
        for entry in entries {
            let pid = entry.file_name().to_str().and_then(|n| n.parse().ok());
            let Some(pid) = pid.filter(|&pid| pid != self.own_pid) else {
                continue;
            };
            // A process that ends between the listing and the reading is no error.
            if let Some(process) = self.read(pid) {
                live.insert(pid, process);
            }
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|life, _| live.get(&life.pid).is_some_and(|p| p.life == *life));
        for process in live.values_mut() {
            match (&process.node, known.get(&process.life)) {
                (_, Some(node)) => process.node = Some(node.clone()),
                (Some(node), None) => {
                    known.insert(process.life, node.clone());
                }
                (None, None) => {}
            }
        }
        Snapshot {
            processes: self,
            live,
        }
    }

    fn read(&self, pid: i32) -> Option<Process> {
        let folder = self.proc.join(pid.to_string());
        let stat = fs::read(folder.join("stat")).ok()?;
        let mut process = parse_stat(pid, &String::from_utf8_lossy(&stat))?;
        if let Ok(environment) = read_environment(&folder) {
            process.has_environment = !environment.is_empty();
            process.node = node_in(&environment);
        }
        Some(process)
    }

    /// The sockets, by their inodes, that a process has open.
    fn sockets_of(&self, pid: i32) -> impl Iterator<Item = u32> {
        let folder = self.proc.join(pid.to_string()).join("fd");
        fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| socket_inode(&fs::read_link(entry.path()).ok()?))
    }
}

/// The processes of one moment.
#[derive(Debug)]
pub(super) struct Snapshot<'processes> {
    processes: &'processes Processes,
    live: HashMap<i32, Process>,
}

impl Snapshot<'_> {
    /// The node of a process: its own, or that of its nearest ancestor that has one.
    fn node_of(&self, pid: i32) -> Option<&NodeName> {
        let mut process = self.live.get(&pid)?;
        for _ in 0..MAX_GENERATIONS {
            if process.node.is_some() {
                return process.node.as_ref();
            }
            process = self.live.get(&process.parent)?;
        }
        None
    }

    /// Whether a program of `node` runs.
    pub(super) fn has(&self, node: &NodeName) -> bool {
        self.live
            .values()
            .any(|process| process.node.as_ref() == Some(node))
    }

    /// Every process of `node`.
    pub(super) fn of(&self, node: &NodeName) -> Vec<i32> {
        let pids = self.live.keys().copied();
        pids.filter(|&pid| self.node_of(pid) == Some(node))
            .collect()
    }

    /// Whether a process has been stopped by a signal; one that has ended has not.
    pub(super) fn is_stopped(&self, pid: i32) -> bool {
        self.live.get(&pid).is_some_and(|process| process.stopped)
    }

    /// Whether nothing runs but the agent.
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Whether a container is being started: its first process has not yet become the program, so
    /// that nothing tells whose it will be. While the kernel loads a program (execve(2)), the process
    /// has the program's name already and no environment yet; on a slow file system this takes long.
    pub(super) fn is_starting(&self) -> bool {
        let is_loading = |p: &Process| p.parent == 0 && !p.has_environment;
        self.live
            .values()
            .any(|p| p.node.is_none() && (p.command.starts_with("runc:[") || is_loading(p)))
    }

    /// The main process of `node`: the first process of its container, whose parent is outside the
    /// host; else the one that no other process of the node started. The oldest of several.
    pub(super) fn main_process(&self, node: &NodeName) -> Option<i32> {
        self.live
            .values()
            .filter(|process| process.node.as_ref() == Some(node))
            .min_by_key(|process| {
                let parent_is_of_node = self.node_of(process.parent) == Some(node);
                (
                    process.parent != 0,
                    parent_is_of_node,
                    process.life.started,
                    process.life.pid,
                )
            })
            .map(|process| process.life.pid)
    }

    /// The node that has each socket open, by the socket's inode. Of several processes that share
    /// a socket the one with the lowest id counts that belongs to a node.
    pub(super) fn socket_owners(&self) -> HashMap<u32, NodeName> {
        let mut pids: Vec<i32> = self.live.keys().copied().collect();
        pids.sort_unstable();
        let mut owners = HashMap::new();
        for pid in pids {
            let Some(node) = self.node_of(pid) else {
                continue;
            };
            for inode in self.processes.sockets_of(pid) {
                owners.entry(inode).or_insert_with(|| node.clone());
            }
        }
        owners
    }
}

fn read_environment(folder: &Path) -> io::Result<Vec<u8>> {
    let mut environment = Vec::new();
    fs::File::open(folder.join("environ"))?
        .take(MAX_ENVIRONMENT_BYTES)
        .read_to_end(&mut environment)?;
    Ok(environment)
}

/// The node that an environment names: `NAME=value` strings, each ended by a zero byte.
fn node_in(environment: &[u8]) -> Option<NodeName> {
    environment.split(|&byte| byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(NODE_VARIABLE.as_bytes())?;
        let value = std::str::from_utf8(value.strip_prefix(b"=")?).ok()?;
        NodeName::new(value).ok()
    })
}

/// Reads `/proc/PID/stat`; `None` for a process that has ended, too. The command stands in
/// parentheses and may hold anything, parentheses included, so the last one ends it.
fn parse_stat(pid: i32, stat: &str) -> Option<Process> {
    let (command, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    let parent = fields.next()?.parse().ok()?;
    // Field 22 of the line, the 18th after the parent.
    let started = fields.nth(17)?.parse().ok()?;
    Some(Process {
        life: Life { pid, started },
        parent,
        command: command.to_owned(),
        stopped: state == "T",
        node: None,
        has_environment: false,
    })
}

/// The inode in `socket:[12345]`.
fn socket_inode(link: &Path) -> Option<u32> {
    let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    inode.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Id, parent, start, state, environment, sockets.
    type Fake<'a> = (i32, i32, u64, &'a str, &'a str, &'a [u32]);

    /// A `/proc` with these processes.
    fn fake(processes: &[Fake<'_>]) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        for (pid, parent, started, state, environment, sockets) in processes {
            let folder = proc.path().join(pid.to_string());
            fs::create_dir_all(folder.join("fd")).unwrap();
            let zeros = "0 ".repeat(17);
            let stat = format!("{pid} (a) b (c) {state} {parent} {zeros}{started} 0 0\n");
            fs::write(folder.join("stat"), stat).unwrap();
            fs::write(folder.join("environ"), environment).unwrap();
            for (fd, inode) in sockets.iter().enumerate() {
                let link = folder.join("fd").join(fd.to_string());
                std::os::unix::fs::symlink(format!("socket:[{inode}]"), link).unwrap();
            }
        }
        proc
    }

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    #[test]
    fn processes_belong_to_the_node_of_their_environment_or_parent() {
        let proc = fake(&[
            (1, 0, 1, "S", "RIG_NODE=agent\0", &[1]),
            (7, 0, 50, "S", "PATH=/bin\0RIG_NODE=alice\0", &[10, 11]),
            (8, 7, 60, "S", "PATH=/bin\0", &[11, 12]),
            (9, 0, 70, "S", "XRIG_NODE=carol\0RIG_NODE=bob\0", &[12, 13]),
            (12, 0, 55, "S", "RIG_NODE=alice\0", &[]),
            (13, 0, 40, "Z", "RIG_NODE=alice\0", &[]),
            (14, 0, 41, "S", "", &[14]),
        ]);
        let processes = Processes::at(proc.path(), 1);
        let now = processes.look();
        assert!(now.has(&node("alice")) && now.has(&node("bob")));
        assert!(!now.has(&node("agent")) && !now.has(&node("carol")));
        assert_eq!(now.main_process(&node("alice")), Some(7));
        assert_eq!(now.main_process(&node("carol")), None);
        let owners = now.socket_owners();
        for (inode, owner) in [
            (1, None),
            (10, Some("alice")),
            (12, Some("alice")),
            (13, Some("bob")),
            (14, None),
        ] {
            assert_eq!(owners.get(&inode), owner.map(node).as_ref(), "{inode}");
        }
    }

    #[test]
    fn without_a_container_the_topmost_process_is_the_main_one() {
        let proc = fake(&[
            (20, 5, 50, "S", "RIG_NODE=alice\0", &[]),
            (19, 20, 51, "S", "RIG_NODE=alice\0", &[]),
        ]);
        let processes = Processes::at(proc.path(), 1);
        assert_eq!(processes.look().main_process(&node("alice")), Some(20));
    }

    #[test]
    fn a_process_that_writes_over_its_environment_keeps_its_node() {
        let proc = fake(&[(7, 0, 50, "S", "RIG_NODE=alice\0", &[])]);
        let processes = Processes::at(proc.path(), 1);
        assert!(processes.look().has(&node("alice")));
        fs::write(proc.path().join("7/environ"), "idle, 3 clients").unwrap();
        assert!(processes.look().has(&node("alice")));
        // Another process with the same id is another life.
        let stat = format!("7 (x) S 0 {}51 0\n", "0 ".repeat(17));
        fs::write(proc.path().join("7/stat"), stat).unwrap();
        assert!(!processes.look().has(&node("alice")));
    }

    #[test]
    fn a_container_that_is_being_started_is_seen() {
        let proc = fake(&[(7, 0, 50, "S", "PATH=/bin\0", &[])]);
        let processes = Processes::at(proc.path(), 1);
        assert!(!processes.look().is_starting());
        let stat = format!("7 (runc:[2:INIT]) S 0 {}50 0\n", "0 ".repeat(17));
        fs::write(proc.path().join("7/stat"), stat).unwrap();
        assert!(processes.look().is_starting());
    }

    #[test]
    fn a_program_that_is_being_loaded_is_seen() {
        let proc = fake(&[(7, 0, 50, "R", "", &[]), (8, 7, 50, "R", "", &[])]);
        let processes = Processes::at(proc.path(), 1);
        assert!(processes.look().is_starting());
        fs::write(proc.path().join("7/environ"), "RIG_NODE=alice\0").unwrap();
        assert!(!processes.look().is_starting());
        assert!(processes.look().has(&node("alice")));
        // A program may write over its environment before anybody has looked.
        let proc = fake(&[(9, 0, 51, "S", "idle", &[])]);
        assert!(!Processes::at(proc.path(), 1).look().is_starting());
    }

    #[test]
    fn what_is_no_process_or_socket_is_left_out() {
        assert!(parse_stat(7, "").is_none());
        assert!(parse_stat(7, "7 (x) S").is_none());
        assert!(parse_stat(7, "7 (x) S a b").is_none());
        assert_eq!(socket_inode(Path::new("pipe:[7]")), None);
        assert_eq!(socket_inode(Path::new("socket:[7]")), Some(7));
    }
}
