//! The window's client and the terminal's cannot be told apart by the server: the same script, played to
//! both, gives the same bytes in the same pieces, the same order of closes, the same lines and the same
//! exit code.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};

use chat::client::Exit;
use chat::window::Args;
use chat::window::model::{Effect, Message, Model, UP};
use chat::window::visit::{Event, begin};
use clap::Parser as _;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::{PATIENCE, Program, client};

/// What is done next, and what is waited for.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// The server sends these bytes.
    Send(&'static str),
    /// The user sees a line with this text.
    See(&'static str),
    /// The user types this line.
    Type(&'static str),
    /// The user leaves without a word: the end of input, or the window's close button.
    Leave,
    /// The server waits for the next bytes, the client's FIN or its RST.
    Read,
    /// The server sends its FIN.
    Close,
    /// The server ends with unread bytes: a RST.
    Reset,
}

use Act::{Close, Leave, Read, Reset, See, Send, Type};

/// What a server and a user notice of a client.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    wire: Vec<String>,
    shown: Vec<String>,
    exit: i32,
}

/// A user before one of the clients.
trait Front {
    fn see(&mut self, text: &str);
    fn type_line(&mut self, line: &str);
    fn leave(&mut self);
    /// Waits for the end: the lines shown and the exit code.
    fn end(self: Box<Self>) -> (Vec<String>, i32);
}

struct Terminal {
    program: Program,
    shown: Vec<String>,
}

impl Front for Terminal {
    fn see(&mut self, text: &str) {
        loop {
            let line = self.program.hear("");
            let found = line.contains(text);
            self.shown.push(line);
            if found {
                return;
            }
        }
    }

    fn type_line(&mut self, line: &str) {
        self.program.say(line);
    }

    fn leave(&mut self) {
        self.program.end_stdin();
    }

    fn end(self: Box<Self>) -> (Vec<String>, i32) {
        let Self { program, mut shown } = *self;
        let (exit, rest, _) = program.outcome();
        shown.extend(rest.lines().map(str::to_owned));
        (shown, exit)
    }
}

/// The window without its display: every line is drawn as soon as it is there.
struct Window {
    runtime: Runtime,
    model: Model,
    args: Args,
    visit: u64,
    events: mpsc::Receiver<Event>,
    shown: Vec<String>,
    quits: bool,
}

impl Window {
    fn open(args: &[&str]) -> Self {
        let args = Args::parse_from([&["chat-gui"], args].concat());
        let clock = || "12:00:00".to_owned();
        let (model, effects) = Model::new(&args.visit.host, args.visit.port, clock);
        let mut window = Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap(),
            model,
            args,
            visit: 0,
            events: mpsc::channel(1).1,
            shown: vec![],
            quits: false,
        };
        window.carry_out(effects);
        window
    }

    fn update(&mut self, message: Message) {
        let effects = self.model.update(message);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Begin(number, typed) => {
                    self.visit = number;
                    self.events = begin(self.args.visit.clone(), typed);
                }
                Effect::Tell(line) if line == UP => {}
                Effect::Tell(line) => self.shown.push(line),
                Effect::Complain(_) | Effect::FieldFocus(_) | Effect::AwaitFarewell => {}
                Effect::Quit => self.quits = true,
            }
        }
    }

    /// Waits for the next event of the visit and draws what it brings; false at its end.
    fn step(&mut self) -> bool {
        let next = self
            .runtime
            .block_on(async { timeout(PATIENCE, self.events.recv()).await });
        let event = next.expect("an event in time").expect("the visit goes on");
        let ended = matches!(event, Event::Ended(_));
        self.update(Message::Visit(self.visit, event));
        let rows = self.model.conversation().rows();
        let line = |row| self.model.conversation().row(row).map(|(row, _)| row.line);
        let lines: Vec<u64> = rows.filter_map(line).collect();
        self.update(Message::Shown(lines));
        !ended
    }
}

impl Front for Window {
    fn see(&mut self, text: &str) {
        while !self.shown.iter().any(|line| line.contains(text)) {
            assert!(self.step(), "no `{text}` in the window: {:?}", self.shown);
        }
    }

    fn type_line(&mut self, line: &str) {
        self.update(Message::Draft(line.to_owned()));
        self.update(Message::Send);
        assert_eq!(self.model.draft(), "", "{:?}", self.model.hint());
    }

    fn leave(&mut self) {
        self.update(Message::Leave);
    }

    fn end(mut self: Box<Self>) -> (Vec<String>, i32) {
        while self.step() {}
        // One that ended unasked stays open, for the user to see why.
        let left = matches!(self.model.exit(), Exit::Left | Exit::Unheard);
        assert_eq!(self.quits, left);
        (self.shown, self.model.exit() as i32)
    }
}

fn play(script: &[Act], front: impl FnOnce(&TcpListener) -> Box<dyn Front>) -> Seen {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut front = front(&listener);
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut wire = Vec::new();
    for &act in script {
        match act {
            Send(text) => stream.write_all(text.as_bytes()).unwrap(),
            See(text) => front.see(text),
            Type(line) => front.type_line(line),
            Leave => front.leave(),
            Read => wire.push(read(&mut stream)),
            Close => {
                wire.push("server FIN".to_owned());
                stream.shutdown(Shutdown::Write).unwrap();
            }
            Reset => {
                // The bytes are there, and nobody reads them: the kernel resets.
                stream.peek(&mut [0]).unwrap();
                break;
            }
        }
    }
    drop(stream);
    let (shown, exit) = front.end();
    Seen { wire, shown, exit }
}

/// The next piece of what the client sends. The script goes on when it was read, so that each message
/// is a piece of its own.
fn read(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4096];
    match stream.read(&mut bytes) {
        Ok(0) => "client FIN".to_owned(),
        Ok(n) => String::from_utf8_lossy(&bytes[..n]).into_owned(),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => "client RST".to_owned(),
        Err(error) => panic!("{error}"),
    }
}

/// Plays a script to both clients and returns what both have shown to be the same.
fn same(options: &[&str], script: &[Act]) -> Seen {
    let terminal = play(script, |listener| {
        let program = client(listener.local_addr().unwrap(), options);
        Box::new(Terminal {
            program,
            shown: vec![],
        })
    });
    let window = play(script, |listener| {
        let port = listener.local_addr().unwrap().port().to_string();
        let place = ["127.0.0.1", "--port", &port];
        Box::new(Window::open(&[&place, options].concat()))
    });
    assert_eq!(window, terminal);
    window
}

#[test]
fn a_visit_to_a_room_that_ends_by_quit() {
    let seen = same(
        &["--name", "alice"],
        &[
            Send("* welcome to the chat room: say `quit` to leave\n* your name?\n"),
            Read,
            Send("* you are alice; here: bob\n"),
            See("* you are"),
            Type("ciao, perché no?"),
            Read,
            Send("alice: ciao, perché no?\nbob: \u{1b}[2Jboo\u{202e}\n"),
            See("boo"),
            Type("quit"),
            Read,
            Send("* goodbye\n"),
            Close,
            Read,
        ],
    );
    let wire = [
        "alice\n",
        "ciao, perché no?\n",
        "quit\n",
        "server FIN",
        "client FIN",
    ];
    assert_eq!(seen.wire, wire);
    assert!(
        seen.shown
            .contains(&"bob: \\u{1b}[2Jboo\\u{202e}".to_owned())
    );
    assert_eq!(seen.exit, 0);
}

#[test]
fn what_a_room_did_not_repeat_is_told_alike() {
    let seen = same(
        &["--name", "alice", "--leave-wait", "50ms"],
        &[
            Send("* welcome to the chat room: say `quit` to leave\n* your name?\n"),
            Read,
            Send("* you are alice; here: bob\n"),
            See("* you are"),
            Type("heard"),
            Read,
            Send("alice: heard\n"),
            See("heard"),
            Type("unheard"),
            Read,
            Leave,
            Read,
            Read,
            Close,
        ],
    );
    assert_eq!(seen.wire[3..], ["quit\n", "client FIN", "server FIN"]);
    assert_eq!(seen.exit, 9);
}

#[test]
fn closing_the_window_is_the_end_of_input() {
    let seen = same(
        &[],
        &[Send("hello\n"), See("hello"), Leave, Read, Close, Read],
    );
    assert_eq!(seen.wire, ["quit\n", "server FIN", "client FIN"]);
}

#[test]
fn a_server_that_does_not_know_the_word_is_left_alike() {
    let seen = same(
        &["--leave-wait", "50ms"],
        &[Send("hello\n"), See("hello"), Type("exit"), Read, Read],
    );
    assert_eq!(seen.wire, ["quit\n", "client FIN"]);
}

#[test]
fn a_server_that_closes_is_answered_alike() {
    let seen = same(&[], &[Send("hello\n"), See("hello"), Close, Read]);
    assert_eq!(seen.wire, ["server FIN", "client FIN"]);
    assert_eq!(seen.exit, 7);
}

#[test]
fn a_reset_is_told_alike() {
    let seen = same(&[], &[Send("hello\n"), See("hello"), Type("ciao"), Reset]);
    assert_eq!(seen.exit, 5);
}

#[test]
fn bare_messages_are_alike() {
    let seen = same(
        &["--framing", "bare", "--pause", "1ms", "--quiet", "10ms"],
        &[
            Send("hello"),
            See("hello"),
            Type("one"),
            Read,
            Type("two"),
            Read,
            Type("quit"),
            Read,
            Close,
            Read,
        ],
    );
    assert_eq!(
        seen.wire,
        ["one", "two", "quit", "server FIN", "client FIN"]
    );
}
