//! The programs of the host, as the first processes of their containers tell of them.
//!
//! `rig/hold/main.rs` is that first process, and tells what it writes. It is known by what the kernel says of who is at
//! the other end (`SO_PEERCRED`): its parent is outside the host, where no program under test has one.

use std::collections::HashMap;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener as StdUnixListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::processes::Processes;
use super::protocol::{AgentError, AgentErrorKind, ProcessEnd, Response};
use crate::units::{NodeName, Timestamp};

/// Programs of a host that are kept in mind.
const MAX_PROGRAMS: usize = 4096;

/// How much one holder may write, in bytes: a line of some thirty for each process that ends.
const MAX_TOLD_BYTES: u64 = 64 * 1024 * 1024;

/// Processes that may stand for one program, one after another.
const MAX_GENERATIONS: usize = 64;

/// What a holder waits for before it starts its program.
const GO_ON: &[u8] = b"\n";

/// The parent of the first process of a container, as its host sees it (`pid_namespaces`(7)).
const OUTSIDE: i32 = 0;

/// A node, and which start of it; the first is 1.
type Start = (NodeName, u32);

/// The programs that were started on the host. Clones share what they know.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    processes: Processes,
    started: Arc<Mutex<HashMap<Start, Program>>>,
    news: watch::Sender<()>,
}

/// One start of a node's program.
#[derive(Debug)]
struct Program {
    holder: i32,
    /// When it was about to be.
    at: Timestamp,
    /// Its process, or why there is none (an `errno`).
    started: Option<Result<i32, i32>>,
    /// The process that stands for it at the moment.
    main: Option<i32>,
    /// How those ended that stood for it.
    ends: Vec<End>,
    /// Nothing more will be told.
    over: bool,
}

#[derive(Debug, Clone, Copy)]
struct End {
    at: Timestamp,
    how: ProcessEnd,
    goes_on: bool,
}

/// What a holder tells.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Holds(NodeName, u32),
    Started(i32),
    Failed(i32),
    Ended {
        pid: i32,
        how: ProcessEnd,
        others: bool,
    },
}

impl Programs {
    pub(super) fn new(processes: Processes) -> Self {
        Self {
            processes,
            started: Arc::default(),
            news: watch::Sender::new(()),
        }
    }

    /// Listens to holders at a name in the abstract namespace (unix(7)).
    pub(super) fn listen(&self, name: &str) -> io::Result<()> {
        let address = SocketAddr::from_abstract_name(name)?;
        let listener = StdUnixListener::bind_addr(&address)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let programs = self.clone();
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => programs.admit(stream),
                    Err(error) => {
                        tracing::error!(%error, "programs that are started are no longer heard of");
                        break;
                    }
                }
            }
        });
        Ok(())
    }

    /// Listens to a first process of a container, and to nobody else.
    fn admit(&self, stream: UnixStream) {
        let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let Some(holder) = peer.filter(|&pid| self.processes.parent_of(pid) == Some(OUTSIDE))
        else {
            tracing::warn!(
                ?peer,
                "a program of the host speaks as if it were the first of its container"
            );
            return;
        };
        tokio::spawn(self.clone().hear(stream, holder));
    }

    async fn hear(self, stream: UnixStream, holder: i32) {
        let (reading, mut writing) = stream.into_split();
        let mut lines = BufReader::new(reading.take(MAX_TOLD_BYTES)).lines();
        let mut key = None;
        while let Ok(Some(line)) = lines.next_line().await {
            let Some(word) = parse(&line) else {
                tracing::warn!(
                    holder,
                    "a first process of a container says what nobody understands"
                );
                break;
            };
            match (word, &key) {
                (Word::Holds(node, visit), None) => {
                    if !self.add(holder, &node, visit) || writing.write_all(GO_ON).await.is_err() {
                        break;
                    }
                    key = Some((node, visit));
                }
                (word, Some(key)) => self.take(key, &word),
                (_, None) => break,
            }
        }
        if let Some(key) = key
            && let Some(program) = self.programs().get_mut(&key)
        {
            program.over = true;
        }
        self.news.send_replace(());
    }

    fn add(&self, holder: i32, node: &NodeName, visit: u32) -> bool {
        let mut programs = self.programs();
        let key = (node.clone(), visit);
        if programs.len() >= MAX_PROGRAMS || programs.contains_key(&key) {
            tracing::warn!(%node, visit, "a program is not kept in mind");
            return false;
        }
        self.processes.add_holder(holder, node);
        let program = Program {
            holder,
            at: Timestamp::now(),
            started: None,
            main: None,
            ends: Vec::new(),
            over: false,
        };
        programs.insert(key, program);
        true
    }

    fn take(&self, key: &Start, word: &Word) {
        let mut programs = self.programs();
        let Some(program) = programs.get_mut(key) else {
            return;
        };
        match *word {
            Word::Started(pid) if program.started.is_none() => {
                program.started = Some(Ok(pid));
                program.main = Some(pid);
                self.processes.set_main(&key.0, Some(pid));
            }
            Word::Failed(errno) => program.started = Some(Err(errno)),
            Word::Ended { pid, how, others } if program.main == Some(pid) => {
                // As a program does that goes into the background: its first process exits, and has left its work
                // to another.
                let retires =
                    others && how == ProcessEnd::Exited(0) && program.ends.len() < MAX_GENERATIONS;
                let next = retires
                    .then(|| self.processes.look().orphan_of(program.holder))
                    .flatten();
                program.main = next;
                self.processes.set_main(&key.0, next);
                program.ends.push(End {
                    at: Timestamp::now(),
                    how,
                    goes_on: next.is_some(),
                });
            }
            Word::Started(_) | Word::Ended { .. } | Word::Holds(..) => {}
        }
        drop(programs);
        self.news.send_replace(());
    }

    /// The agent itself has killed every program, with those that would have told of it.
    pub(super) fn all_killed(&self) {
        for ((node, _), program) in &mut *self.programs() {
            if program.main.take().is_some() {
                self.processes.set_main(node, None);
                program.ends.push(End {
                    at: Timestamp::now(),
                    how: ProcessEnd::Killed(libc::SIGKILL),
                    goes_on: false,
                });
            }
        }
        self.news.send_replace(());
    }

    /// Waits until a program was started, or could not be.
    pub(super) async fn await_started(
        &self,
        node: NodeName,
        visit: u32,
        within: Duration,
    ) -> Result<Response, AgentError> {
        let key = (node, visit);
        let at = |program: &Program| match program.started {
            Some(Ok(pid)) => Some(Ok(Response::Started {
                at: program.at,
                pid,
            })),
            Some(Err(errno)) => Some(Ok(Response::NotStarted { errno })),
            None if program.over => Some(Err(unseen(&key.0, "was started"))),
            None => None,
        };
        let answer = tokio::time::timeout(within, self.wait(&key, at)).await;
        answer.unwrap_or_else(|_| {
            Err(AgentError {
                kind: AgentErrorKind::TimedOut,
                message: format!("wait for the start of {}: not in time", key.0),
            })
        })
    }

    /// Waits until the process has ended that stood for a program after so many others.
    pub(super) async fn await_ended(
        &self,
        node: NodeName,
        visit: u32,
        generation: u32,
    ) -> Result<Response, AgentError> {
        let key = (node, visit);
        let place = usize::try_from(generation).unwrap_or(usize::MAX);
        let ended = |program: &Program| match program.ends.get(place) {
            Some(&End { at, how, goes_on }) => Some(Ok(Response::Ended { at, how, goes_on })),
            None if program.over => Some(Err(unseen(&key.0, "ended"))),
            None => None,
        };
        self.wait(&key, ended).await
    }

    /// Waits until something can be said of a program; one that nobody has told of may still come.
    async fn wait<T>(&self, key: &Start, say: impl Fn(&Program) -> Option<T>) -> T {
        let mut news = self.news.subscribe();
        loop {
            news.mark_unchanged();
            if let Some(said) = self.programs().get(key).and_then(&say) {
                return said;
            }
            // The sender lives as long as `self`.
            news.changed().await.ok();
        }
    }

    fn programs(&self) -> MutexGuard<'_, HashMap<Start, Program>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unseen(node: &NodeName, what: &str) -> AgentError {
    AgentError {
        kind: AgentErrorKind::NoProcess,
        message: format!(
            "the first process of {node}'s container ended before anybody saw how its program {what}"
        ),
    }
}

fn parse(line: &str) -> Option<Word> {
    let words: Vec<_> = line.split(' ').collect();
    let number = |text: &str| text.parse().ok();
    let others = |left: &str| match left {
        "others" => Some(true),
        "alone" => Some(false),
        _ => None,
    };
    Some(match words[..] {
        ["hold", node, visit] => Word::Holds(NodeName::new(node).ok()?, visit.parse().ok()?),
        ["started", pid] => Word::Started(number(pid)?),
        ["failed", errno] => Word::Failed(number(errno)?),
        ["exited", pid, code, left] => Word::Ended {
            pid: number(pid)?,
            how: ProcessEnd::Exited(number(code)?),
            others: others(left)?,
        },
        ["killed", pid, signal, left] => Word::Ended {
            pid: number(pid)?,
            how: ProcessEnd::Killed(number(signal)?),
            others: others(left)?,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::agent::protocol::NODE_VARIABLE;
    use crate::units::Signal;

    /// How long a machine may take for anything here.
    const SOON: Duration = Duration::from_secs(20);

    /// A real holder, as it runs in a container, and what hears it.
    struct Room {
        programs: Programs,
        node: NodeName,
        holder: Child,
    }

    impl Room {
        /// Holds a program of the shell's.
        async fn holds(name: &str, script: &str) -> Self {
            Self::with(name, &["sh", "-c", script]).await
        }

        async fn with(name: &str, command: &[&str]) -> Self {
            // Not written here: while another test's child has the file open still, it cannot be run (`ETXTBSY`).
            let program = concat!(env!("OUT_DIR"), "/hold");
            let socket = format!("rig-test-{}-{name}", std::process::id());
            let address = SocketAddr::from_abstract_name(&socket).unwrap();
            let listener = StdUnixListener::bind_addr(&address).unwrap();
            listener.set_nonblocking(true).unwrap();
            let listener = UnixListener::from_std(listener).unwrap();
            let holder = Command::new(program)
                .args([&socket, name, "1"])
                .args(command)
                .env(NODE_VARIABLE, name)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let programs = Programs::new(Processes::new());
            let (stream, _) = listener.accept().await.unwrap();
            let pid = i32::try_from(holder.id()).unwrap();
            tokio::spawn(programs.clone().hear(stream, pid));
            Self {
                programs,
                node: NodeName::new(name).unwrap(),
                holder,
            }
        }

        async fn started(&self) -> Response {
            let node = self.node.clone();
            self.programs.await_started(node, 1, SOON).await.unwrap()
        }

        async fn ended(&self, generation: u32) -> (ProcessEnd, bool) {
            let node = self.node.clone();
            let ended = self.programs.await_ended(node, 1, generation).await;
            let Ok(Response::Ended { how, goes_on, .. }) = ended else {
                panic!("{ended:?}");
            };
            (how, goes_on)
        }

        fn signal(&self, signal: Signal) {
            let main = self.programs.processes.look().main_process(&self.node);
            let pid = nix::unistd::Pid::from_raw(main.unwrap());
            let signal = nix::sys::signal::Signal::try_from(signal.number()).unwrap();
            nix::sys::signal::kill(pid, signal).unwrap();
        }

        fn code(mut self) -> Option<i32> {
            self.holder.wait().unwrap().code()
        }
    }

    #[tokio::test]
    async fn an_exit_is_told_from_a_signal_of_the_same_number() {
        let exits = Room::holds("exits", "exit 143").await;
        assert!(matches!(exits.started().await, Response::Started { .. }));
        assert_eq!(exits.ended(0).await, (ProcessEnd::Exited(143), false));
        assert_eq!(exits.code(), Some(143));
        let killed = Room::holds("killed", "kill -TERM $$").await;
        assert_eq!(killed.ended(0).await, (ProcessEnd::Killed(15), false));
        assert_eq!(killed.code(), Some(143));
    }

    #[tokio::test]
    async fn why_a_program_was_not_started_is_told() {
        for (command, errno) in [
            ("/nonexistent/program", libc::ENOENT),
            ("/etc", libc::EACCES),
        ] {
            let room = Room::with("missing", &[command]).await;
            assert_eq!(room.started().await, Response::NotStarted { errno });
            assert_eq!(room.code(), Some(125));
        }
    }

    #[tokio::test]
    async fn a_program_that_goes_into_the_background_is_still_there() {
        // Its parent has ended, its environment and its session are others: nothing but its reaper tells whose it is.
        let script = "env -i setsid sleep 60 & exit 0";
        let room = Room::holds("daemon", script).await;
        assert_eq!(room.ended(0).await, (ProcessEnd::Exited(0), true));
        let now = room.programs.processes.look();
        assert!(now.has(&room.node));
        assert_eq!(now.of(&room.node), [now.main_process(&room.node).unwrap()]);
        room.signal(Signal::TERM);
        assert_eq!(room.ended(1).await, (ProcessEnd::Killed(15), false));
        // As the first process ended.
        assert_eq!(room.code(), Some(0));
    }

    #[tokio::test]
    async fn what_a_killed_program_leaves_goes_on_without_it() {
        let room = Room::holds("listener", "sleep 60 & wait").await;
        room.started().await;
        let of = |room: &Room| room.programs.processes.look().of(&room.node);
        let both = async {
            while of(&room).len() < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(SOON, both).await.unwrap();
        room.signal(Signal::KILL);
        assert_eq!(room.ended(0).await, (ProcessEnd::Killed(9), false));
        let now = room.programs.processes.look();
        assert_eq!(now.main_process(&room.node), None);
        let left = now.of(&room.node);
        assert_eq!(left.len(), 1, "{left:?}");
        let left = nix::unistd::Pid::from_raw(left[0]);
        nix::sys::signal::kill(left, nix::sys::signal::Signal::SIGKILL).unwrap();
        assert_eq!(room.code(), Some(137));
    }

    #[tokio::test]
    async fn a_holder_that_is_killed_says_nothing_more() {
        let mut room = Room::holds("shot", "sleep 60").await;
        let Response::Started { pid, .. } = room.started().await else {
            panic!("not started");
        };
        room.holder.kill().unwrap();
        let node = room.node.clone();
        let refused = room.programs.await_ended(node, 1, 0).await.unwrap_err();
        assert_eq!(refused.kind, AgentErrorKind::NoProcess);
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        room.holder.wait().unwrap();
    }

    #[test]
    fn only_what_holders_say_is_understood() {
        let alice = NodeName::new("alice").unwrap();
        assert_eq!(parse("hold alice 2"), Some(Word::Holds(alice, 2)));
        assert_eq!(parse("started 7"), Some(Word::Started(7)));
        for line in [
            "",
            "hold",
            "hold ../x 1",
            "started x",
            "exited 7 0",
            "exited 7 0 maybe",
            "killed 7 9 alone 1",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
