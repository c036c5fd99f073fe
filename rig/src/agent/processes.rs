//! Which node each process belongs to, read from `/proc` (proc(5)).
//!
//! A process belongs to the node that [`NODE_VARIABLE`] names in the environment it was started
//! with; one that was started without it belongs to the node of its parent. Whatever a program starts
//! descends from the first process of its container ([`super::programs`]), which reaps orphans and never
//! loses its environment: a daemon belongs to its node, too, whoever started it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;

use super::protocol::NODE_VARIABLE;
use crate::units::{NodeName, Timestamp};

/// How much of a process's environment is read, in bytes. The variable that is looked for is one
/// that the engine sets before the program's own.
const MAX_ENVIRONMENT_BYTES: u64 = 1024 * 1024;

/// How many ancestors of a process are asked for its node.
const MAX_GENERATIONS: usize = 32;

/// The nodes of connections, by their ends, and when it was found out.
type Connections = IndexMap<(SocketAddr, SocketAddr), (Timestamp, NodeName)>;

/// How many connections are kept in mind.
pub(super) const MAX_REMEMBERED: usize = 1024;

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
    /// It, or its first thread, was not waited for yet.
    has_ended: bool,
    /// What its own environment says.
    node: Option<NodeName>,
    /// It has an environment that can be read.
    has_environment: bool,
    /// Where the kernel shows its environment and files: `/proc/PID`, or a thread of it where its first has ended.
    folder: PathBuf,
}

/// What is known of first processes of containers that only hold a program.
#[derive(Debug, Clone, Default)]
struct Held {
    /// They are no programs of their nodes.
    holders: HashSet<Life>,
    /// The process that a node's program is; none once it has ended.
    mains: HashMap<NodeName, Option<i32>>,
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
    held: Arc<Mutex<Held>>,
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
            held: Arc::default(),
        }
    }

    /// Takes a process for one that only holds the program of `node`.
    pub(super) fn add_holder(&self, pid: i32, node: &NodeName) {
        let process = read_stat(&self.proc.join(pid.to_string()), pid);
        let mut held = self.held();
        held.holders.extend(process.map(|process| process.life));
        held.mains.insert(node.clone(), None);
    }

    /// Takes a process for the program of `node`; none for a program that has ended.
    pub(super) fn set_main(&self, node: &NodeName, pid: Option<i32>) {
        self.held().mains.insert(node.clone(), pid);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps in mind whose a connection is.
    pub(super) fn remember(&self, local: SocketAddr, remote: SocketAddr, node: &NodeName) {
        let mut connections = self.connections();
        // The oldest are mostly of connections whose owners have long been named.
        if connections.len() >= MAX_REMEMBERED {
            connections.shift_remove_index(0);
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
        let mut connections = self.connections();
        // What was found out before is of an earlier connection between the same ends.
        let (since, _) = connections.get(&(local, remote))?;
        if at > *since {
            return None;
        }
        let (_, node) = connections.shift_remove(&(local, remote))?;
        Some(node)
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The processes that live now; those that have ended but were not waited for do not count.
    pub(super) fn look(&self) -> Snapshot {
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
        drop(known);
        let mut held = self.held();
        let lives = |life: &Life| {
            live.get(&life.pid)
                .is_some_and(|process| process.life == *life)
        };
        held.holders.retain(lives);
        Snapshot {
            held: held.clone(),
            live,
        }
    }

    /// The parent of a process that lives.
    pub(super) fn parent_of(&self, pid: i32) -> Option<i32> {
        read_stat(&self.proc.join(pid.to_string()), pid).map(|process| process.parent)
    }

    fn read(&self, pid: i32) -> Option<Process> {
        let folder = self.proc.join(pid.to_string());
        let mut process = read_stat(&folder, pid)?;
        if process.has_ended {
            // The kernel shows a process whose first thread has ended as a zombie while others serve, and its files
            // with those.
            let live = live_thread(&folder, pid)?;
            process.stopped = live.stopped;
            process.folder = live.folder;
        }
        if let Ok(environment) = read_environment(&process.folder) {
            process.has_environment = !environment.is_empty();
            process.node = node_in(&environment);
        }
        Some(process)
    }
}

/// A thread of a process that goes on.
fn live_thread(folder: &Path, pid: i32) -> Option<Process> {
    let tasks = fs::read_dir(folder.join("task")).ok()?.flatten();
    let numbers = tasks.filter_map(|task| task.file_name().to_str()?.parse::<i32>().ok());
    let mut threads =
        numbers.filter_map(|tid| read_stat(&folder.join("task").join(tid.to_string()), pid));
    threads.find(|thread| !thread.has_ended)
}

/// The sockets, by their inodes, that a process has open.
fn sockets_of(process: &Process) -> impl Iterator<Item = u32> {
    fs::read_dir(process.folder.join("fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| socket_inode(&fs::read_link(entry.path()).ok()?))
}

fn read_stat(folder: &Path, pid: i32) -> Option<Process> {
    let stat = fs::read(folder.join("stat")).ok()?;
    let process = parse_stat(pid, &String::from_utf8_lossy(&stat))?;
    Some(Process {
        folder: folder.to_owned(),
        ..process
    })
}

/// The processes of one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    live: HashMap<i32, Process>,
    held: Held,
}

impl Snapshot {
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
        self.each_of(node).next().is_some()
    }

    /// Every process of `node`.
    pub(super) fn of(&self, node: &NodeName) -> Vec<i32> {
        self.each_of(node).map(|process| process.life.pid).collect()
    }

    fn each_of<'a>(&'a self, node: &'a NodeName) -> impl Iterator<Item = &'a Process> {
        let programs = self
            .live
            .values()
            .filter(|process| !self.held.holders.contains(&process.life));
        programs.filter(move |process| self.node_of(process.life.pid) == Some(node))
    }

    /// The process that has gone on longest of those that belong to `holder` since their parents have ended.
    pub(super) fn orphan_of(&self, holder: i32) -> Option<i32> {
        let orphans = self
            .live
            .values()
            .filter(|process| process.parent == holder);
        let oldest = orphans.min_by_key(|process| (process.life.started, process.life.pid));
        oldest.map(|process| process.life.pid)
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

    /// The main process of `node`: the one that its holder tells of. Without a holder it is the first process of the
    /// container, whose parent is outside the host; else the one that no other process of the node started. The
    /// oldest of several.
    pub(super) fn main_process(&self, node: &NodeName) -> Option<i32> {
        if let Some(main) = self.held.mains.get(node) {
            return main.filter(|pid| self.live.contains_key(pid));
        }
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

    /// The sockets, by their inodes, that a process has open and no other has.
    pub(super) fn sockets_alone(&self, pid: i32) -> HashSet<u32> {
        let (own, others): (Vec<_>, Vec<_>) = self
            .live
            .values()
            .partition(|process| process.life.pid == pid);
        let shared: HashSet<u32> = others.into_iter().flat_map(sockets_of).collect();
        let own = own.into_iter().flat_map(sockets_of);
        own.filter(|inode| !shared.contains(inode)).collect()
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
            for inode in self.live.get(&pid).into_iter().flat_map(sockets_of) {
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

/// Reads `/proc/PID/stat`. The command stands in parentheses and may hold anything, parentheses
/// included, so the last one ends it.
fn parse_stat(pid: i32, stat: &str) -> Option<Process> {
    let (command, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    // Field 22 of the line, the 18th after the parent.
    let started = fields.nth(17)?.parse().ok()?;
    Some(Process {
        life: Life { pid, started },
        parent,
        command: command.to_owned(),
        stopped: state == "T",
        has_ended: matches!(state, "Z" | "X"),
        node: None,
        has_environment: false,
        folder: PathBuf::new(),
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
