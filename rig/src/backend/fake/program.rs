//! The simulated programs: what happens to one comes in as an [`Input`], what it does goes out as
//! [`Act`]s. No I/O and no clock.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::tcp::ConnId;
use crate::plan::{NodePlan, Stream};
use crate::units::Signal;

/// Exit code of a client that could not connect.
const EXIT_NOT_CONNECTED: i32 = 2;

/// Exit code of a client whose connection was reset.
const EXIT_RESET: i32 = 4;

/// What happens to a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    Started,
    Accepted(ConnId),
    Connected(ConnId),
    ConnectFailed(&'static str),
    Data(ConnId, Vec<u8>),
    Eof(ConnId),
    Reset(ConnId),
    Stdin(Vec<u8>),
    StdinEof,
    /// Any but those that the kernel acts upon itself.
    Signal(Signal),
}

/// What a program does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    Listen(u16),
    StopListening,
    Connect(Ipv4Addr, u16),
    Send(ConnId, Vec<u8>),
    /// `shutdown(SHUT_WR)`.
    Shutdown(ConnId),
    Close(ConnId),
    /// `close` with `SO_LINGER` of zero.
    Abort(ConnId),
    Print(Stream, String),
    Exit(i32),
    /// The default action of a signal.
    Die(Signal),
}

/// A command is not one of a simulated program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// There is no such program.
    #[error("no program `{0}` in the image")]
    Unknown(String),
    /// Its arguments make no sense.
    #[error("wrong arguments for `{0}`: see the table in backend::fake")]
    Usage(String),
}

/// A simulated program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// `fake-server PORT`.
    Server {
        /// Port to listen on.
        port: u16,
        /// Never listens.
        never_ready: bool,
        /// Resets every connection at once.
        refuse: bool,
    },
    /// `fake-client ADDRESS PORT NAME`.
    Client {
        /// Where the server is.
        address: Ipv4Addr,
        /// Its port.
        port: u16,
        /// The name under which it joins.
        name: String,
    },
    /// Either with `--exit CODE`.
    Exit(i32),
}

impl Program {
    /// The program that a node's command means.
    pub fn of(node: &NodePlan) -> Result<Self, ProgramError> {
        let mut words = node.command.iter().map(String::as_str);
        let program = words.next().unwrap_or_default();
        if !matches!(program, "fake-server" | "fake-client") {
            return Err(ProgramError::Unknown(program.to_owned()));
        }
        let usage = || ProgramError::Usage(program.to_owned());
        let (mut never_ready, mut refuse, mut exit) = (false, false, None);
        let mut positional = Vec::new();
        while let Some(word) = words.next() {
            match word {
                "--never-ready" => never_ready = true,
                "--refuse" => refuse = true,
                "--exit" => {
                    let code = words.next().and_then(|code| code.parse().ok());
                    exit = Some(code.ok_or_else(usage)?);
                }
                _ => positional.push(word),
            }
        }
        let port = |text: &str| text.parse().map_err(|_| usage());
        let address = |text: &str| {
            let named = node.names.get(text).copied();
            named.or_else(|| text.parse().ok()).ok_or_else(usage)
        };
        let parsed = match (program, &positional[..]) {
            ("fake-server", [p]) => Self::Server {
                port: port(p)?,
                never_ready,
                refuse,
            },
            ("fake-client", [a, p, name]) => Self::Client {
                address: address(a)?,
                port: port(p)?,
                name: (*name).to_owned(),
            },
            _ => return Err(usage()),
        };
        Ok(exit.map_or(parsed, Self::Exit))
    }
}

/// A program that runs.
#[derive(Debug)]
pub(super) struct Running {
    program: Program,
    /// Bytes of the standard input that are no whole line yet.
    stdin: Lines,
    /// A server's members, a client's server.
    peers: BTreeMap<ConnId, Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    name: Option<String>,
    lines: Lines,
}

/// Bytes gathered into lines.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.0.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(end) = self.0.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line[..end]).into_owned());
        }
        lines
    }
}

fn out(text: impl Into<String>) -> Act {
    Act::Print(Stream::Stdout, text.into())
}

fn err(text: impl Into<String>) -> Act {
    Act::Print(Stream::Stderr, text.into())
}

fn message(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

impl Running {
    pub(super) fn new(program: Program) -> Self {
        Self {
            program,
            stdin: Lines::default(),
            peers: BTreeMap::new(),
        }
    }

    /// What the program does when `input` happens to it.
    pub(super) fn on(&mut self, input: Input) -> Vec<Act> {
        match self.program.clone() {
            Program::Exit(code) => vec![out("leaving"), Act::Exit(code)],
            Program::Server {
                port,
                never_ready,
                refuse,
            } => self.serve(input, port, never_ready, refuse),
            Program::Client {
                address,
                port,
                name,
            } => self.chat(input, address, port, &name),
        }
    }

    fn serve(&mut self, input: Input, port: u16, never_ready: bool, refuse: bool) -> Vec<Act> {
        match input {
            Input::Started if never_ready => vec![out("not listening")],
            Input::Started => vec![Act::Listen(port), out(format!("listening on {port}"))],
            Input::Accepted(conn) if refuse => vec![Act::Abort(conn)],
            Input::Accepted(conn) => {
                self.peers.insert(conn, Peer::default());
                vec![]
            }
            Input::Data(conn, bytes) => {
                let peer = self.peers.get_mut(&conn);
                let lines = peer.map_or_else(Vec::new, |peer| peer.lines.push(&bytes));
                lines
                    .iter()
                    .flat_map(|line| self.heard(conn, line))
                    .collect()
            }
            Input::Eof(conn) => {
                let mut acts = self.left(conn);
                acts.push(Act::Close(conn));
                acts
            }
            Input::Reset(conn) => self.left(conn),
            Input::Stdin(bytes) => {
                let lines = self.stdin.push(&bytes);
                lines.iter().flat_map(|line| self.operator(line)).collect()
            }
            Input::Signal(_) => self.farewell(),
            Input::StdinEof | Input::Connected(_) | Input::ConnectFailed(_) => vec![],
        }
    }

    /// A member said a line; the first is its name.
    fn heard(&mut self, conn: ConnId, line: &str) -> Vec<Act> {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return vec![];
        };
        let Some(name) = peer.name.clone() else {
            peer.name = Some(line.to_owned());
            return vec![out(format!("{line} joined"))];
        };
        if line == "quit" {
            let mut acts = vec![Act::Send(conn, message("bye")), Act::Close(conn)];
            acts.extend(self.left(conn));
            return acts;
        }
        self.tell_all_but(conn, &format!("{name}: {line}"))
    }

    fn tell_all_but(&self, author: ConnId, text: &str) -> Vec<Act> {
        let others = self.peers.keys().filter(|&&conn| conn != author);
        others.map(|&conn| Act::Send(conn, message(text))).collect()
    }

    fn left(&mut self, conn: ConnId) -> Vec<Act> {
        match self.peers.remove(&conn).and_then(|peer| peer.name) {
            Some(name) => vec![out(format!("{name} left"))],
            None => vec![],
        }
    }

    fn operator(&mut self, line: &str) -> Vec<Act> {
        match line {
            "stop" => vec![Act::StopListening],
            "close" => self.farewell(),
            _ => self
                .peers
                .keys()
                .map(|&conn| Act::Send(conn, message(&format!("server: {line}"))))
                .collect(),
        }
    }

    fn farewell(&mut self) -> Vec<Act> {
        let mut acts = vec![Act::StopListening];
        for conn in std::mem::take(&mut self.peers).into_keys() {
            acts.push(Act::Send(conn, message("the server ends")));
            acts.push(Act::Close(conn));
        }
        acts.push(Act::Exit(0));
        acts
    }

    fn chat(&mut self, input: Input, address: Ipv4Addr, port: u16, name: &str) -> Vec<Act> {
        match input {
            Input::Started => vec![Act::Connect(address, port)],
            Input::Connected(conn) => {
                self.peers.insert(conn, Peer::default());
                vec![out("connected"), Act::Send(conn, message(name))]
            }
            Input::ConnectFailed(why) => vec![err(why), Act::Exit(EXIT_NOT_CONNECTED)],
            Input::Data(conn, bytes) => {
                let peer = self.peers.entry(conn).or_default();
                peer.lines.push(&bytes).into_iter().map(out).collect()
            }
            Input::Eof(conn) => vec![out("server closed"), Act::Close(conn), Act::Exit(0)],
            Input::Reset(_) => vec![err("reset by peer"), Act::Exit(EXIT_RESET)],
            Input::Stdin(bytes) => {
                let lines = self.stdin.push(&bytes);
                self.to_server(|conn| {
                    let said = lines.iter().map(|line| Act::Send(conn, message(line)));
                    said.collect()
                })
            }
            Input::StdinEof => self.to_server(|conn| vec![Act::Shutdown(conn)]),
            Input::Signal(signal) => vec![Act::Die(signal)],
            Input::Accepted(_) => vec![],
        }
    }

    fn to_server(&self, acts: impl Fn(ConnId) -> Vec<Act>) -> Vec<Act> {
        self.peers.keys().flat_map(|&conn| acts(conn)).collect()
    }
}
