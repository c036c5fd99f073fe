//! The chat over datagrams: server and clients on pipes, and bare sockets for what they do not do.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::process::ExitStatusExt as _;

use crate::support::{PATIENCE, Program};

/// A server on a free port of loopback.
struct Server {
    program: Program,
    address: SocketAddr,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let all = [&["server", "--listen", "127.0.0.1", "--port", "0"], args].concat();
        let program = Program::start("chat-udp", &all);
        let line = program.hear("* listening on ");
        let address = line.trim_start_matches("* listening on ").parse().unwrap();
        Self { program, address }
    }

    /// A client that is in the book.
    fn client(&self, name: &str, args: &[&str]) -> Program {
        let client = client(self.address, name, args);
        client.hear(&format!("* you are {name}"));
        client
    }
}

fn client(server: SocketAddr, name: &str, args: &[&str]) -> Program {
    let (host, port) = (server.ip().to_string(), server.port().to_string());
    let fixed = ["client", &host, "--port", &port, "--name", name];
    Program::start("chat-udp", &[&fixed, args].concat())
}

/// A socket that the test serves by hand.
struct Bare(UdpSocket);

impl Bare {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn send(&self, to: SocketAddr, bytes: impl AsRef<[u8]>) {
        self.0.send_to(bytes.as_ref(), to).unwrap();
    }

    /// The next datagram.
    fn next(&self) -> (String, SocketAddr) {
        let mut bytes = [0; 2048];
        let (len, from) = self.0.recv_from(&mut bytes).expect("a datagram in time");
        (String::from_utf8(bytes[..len].to_vec()).unwrap(), from)
    }

    /// Waits for a datagram that begins so, and gives it whole.
    fn hear(&self, begin: &str) -> (String, SocketAddr) {
        loop {
            let (datagram, from) = self.next();
            if datagram.starts_with(begin) {
                return (datagram, from);
            }
        }
    }

    /// Plays the server for a client that joins; gives the client's address.
    fn let_in(&self, name: &str) -> SocketAddr {
        let (_, from) = self.hear(&format!("hi {name}"));
        self.send(from, format!("hi * you are {name}; nobody else is here"));
        from
    }
}

#[test]
fn every_command_is_answered() {
    let server = Server::start(&[]);
    let mut alice = server.client("alice", &[]);
    let mut bob = server.client("bob", &[]);
    let mut ask = |typed: &str, answer: &str| {
        alice.say(typed);
        assert_eq!(alice.hear(answer), answer);
    };
    ask("$userlist", "* 2 users: alice, bob");
    ask("$roomlist", "* 0 rooms");
    ask(
        "hello?",
        "* you are in no room and no private talk: that was said to nobody",
    );
    ask("$roomcreate den", "* you are in den");
    ask("$roomlist", "* 1 room: den (1)");
    ask("$roomjoin attic", "* there is no room attic");
    ask("$poke carol", "* there is no user carol");
    bob.say("$roomjoin den");
    alice.hear("* bob has entered den");
    alice.say("$$ciao");
    assert_eq!(bob.hear("ciao"), "alice: $ciao");
    assert_eq!(alice.hear("ciao"), "alice: $ciao");
    bob.say("$poke alice");
    bob.hear("* you talk to alice alone");
    alice.hear("* bob talks to you alone");
    bob.say("psst");
    assert_eq!(alice.hear("psst"), "bob -> alice: psst");
    bob.say("$roomleave");
    bob.hear("* the private talk with alice is over");
    alice.say("$kick");
    alice.hear("* everybody is out of den");
    bob.hear("* alice has put everybody out of den");
    bob.say("$roomleave");
    bob.hear("* you are in no room");
}

#[test]
fn quit_and_the_end_of_input_leave() {
    let server = Server::start(&[]);
    let mut bob = server.client("bob", &[]);
    bob.say("$roomcreate den");
    bob.hear("* you are in den");
    for word in ["quit", "exit", ""] {
        let mut alice = server.client("alice", &[]);
        alice.say("$roomjoin den");
        alice.hear("* you are in den");
        if word.is_empty() {
            alice.say("last words");
            alice.end_stdin();
            bob.hear("alice: last words");
        } else {
            alice.say(word);
        }
        let (code, stdout, stderr) = alice.outcome();
        assert!(stdout.ends_with("* goodbye"), "{stdout}");
        assert_eq!((code, stderr.as_str()), (0, ""));
        bob.hear("* alice has left");
    }
}

#[test]
fn a_name_in_use_and_a_bad_name_have_their_own_code() {
    let server = Server::start(&[]);
    let _alice = server.client("alice", &[]);
    for (name, reason) in [
        ("ALICE", "the name `ALICE` is taken: choose another"),
        ("a\nb", "the name `a\\u{a}b` cannot be used: use letters"),
    ] {
        let (code, _, stderr) = client(server.address, name, &[]).outcome();
        assert_eq!(code, 8, "{stderr}");
        let start = format!(
            "chat-udp: the server at {} refused the name: ",
            server.address
        );
        assert!(stderr.starts_with(&(start + reason)), "{stderr}");
    }
}

#[test]
fn a_port_where_nobody_receives_has_its_own_code() {
    // An address of its own, so that nobody takes the port meanwhile.
    let nobody = UdpSocket::bind("127.0.77.2:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (code, _, stderr) = client(nobody, "alice", &[]).outcome();
    assert_eq!(code, 3, "{stderr}");
    assert_eq!(
        stderr,
        format!("chat-udp: failed to join at {nobody}: connection refused")
    );
}

#[test]
fn a_lost_request_to_join_is_repeated_so_many_times() {
    let server = Bare::new();
    let silent = client(
        server.address(),
        "alice",
        &["--retry", "20ms", "--tries", "3"],
    );
    let (code, _, stderr) = silent.outcome();
    assert_eq!(code, 4);
    assert!(stderr.ends_with("no answer to 3 datagrams"), "{stderr}");
    for _ in 0..3 {
        assert_eq!(server.next().0, "hi alice");
    }
    server.0.set_nonblocking(true).unwrap();
    assert!(server.0.recv(&mut [0; 1]).is_err(), "a fourth request");
    server.0.set_nonblocking(false).unwrap();

    let bob = client(
        server.address(),
        "bob",
        &["--retry", "20ms", "--tries", "100"],
    );
    for _ in 0..2 {
        assert_eq!(server.next().0, "hi bob");
    }
    server.let_in("bob");
    bob.hear("* you are bob");
}

#[test]
fn a_lost_answer_is_told() {
    let server = Bare::new();
    let mut alice = client(server.address(), "alice", &["--answer-wait", "50ms"]);
    server.let_in("alice");
    alice.say("$userlist");
    assert_eq!(server.hear("ul").0, "ul");
    alice.hear("* no answer to $userlist: it was lost, or its answer; try again");
    // A refusal is an answer, and so is a late one of no harm.
    alice.say("$kick");
    let (_, from) = server.hear("ki");
    server.send(from, "no ki * you are in no room");
    assert_eq!(alice.hear("room"), "* you are in no room");
    server.send(from, "ul * 1 user: alice");
    alice.hear("* 1 user: alice");
}

#[test]
fn an_unknown_command_is_told_and_never_sent() {
    let server = Bare::new();
    let mut alice = client(server.address(), "alice", &["--keep-alive", "10m"]);
    server.let_in("alice");
    alice.say("$dance");
    alice.hear("* unknown command; there are: $userlist ");
    alice.say(&"x".repeat(1025));
    alice.hear("* message too long: at most 1024 bytes; it was not sent");
    alice.say("$roomlist");
    assert_eq!(server.next().0, "rl");
}

#[test]
fn everything_that_was_piped_comes_back() {
    const TEXTS: usize = 100;
    let server = Server::start(&[]);
    let mut bob = server.client("bob", &[]);
    bob.say("$roomcreate den");
    bob.hear("* you are in den");
    let mut alice = server.client("alice", &[]);
    alice.say("$roomjoin den");
    // More at once than the server takes, which throws away what is more.
    for n in 0..TEXTS {
        alice.say(&n.to_string());
    }
    alice.end_stdin();
    for n in 0..TEXTS {
        assert_eq!(bob.hear("alice: "), format!("alice: {n}"));
    }
    let (code, _, stderr) = alice.outcome();
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
fn texts_that_do_not_come_back_are_counted() {
    let server = Bare::new();
    let mut alice = client(server.address(), "alice", &["--answer-wait", "100ms"]);
    let address = server.let_in("alice");
    for text in ["one", "two", "three", "four"] {
        alice.say(text);
        server.hear(&format!("tx {text}"));
    }
    server.send(address, "tx bob: alice: one");
    server.send(address, "tx alice: one");
    server.send(address, "no tx * you are in no room");
    alice.end_stdin();
    server.hear("by");
    server.send(address, "by * goodbye");
    let (code, _, stderr) = alice.outcome();
    assert_eq!(code, 9);
    assert!(
        stderr.starts_with("chat-udp: 2 lines were not heard back from 127.0.0.1:"),
        "{stderr}"
    );
}

#[test]
fn a_goodbye_without_an_answer_is_repeated_and_then_the_client_leaves() {
    let server = Bare::new();
    let mut alice = client(server.address(), "alice", &["--retry", "20ms"]);
    server.let_in("alice");
    alice.say("quit");
    for _ in 0..3 {
        assert_eq!(server.next().0, "by");
    }
    assert_eq!(alice.outcome().0, 0);
}

#[test]
fn who_vanishes_without_a_word_is_forgotten_and_the_name_is_free() {
    let server = Server::start(&["--forget-after", "1s"]);
    let mut bob = server.client("bob", &["--keep-alive", "50ms"]);
    bob.say("$roomcreate den");
    bob.hear("* you are in den");
    let mut alice = server.client("alice", &["--keep-alive", "50ms"]);
    alice.say("$roomjoin den");
    alice.hear("* you are in den");
    alice.signal("KILL");
    assert_eq!(alice.ended().signal(), Some(9));
    let told = "* alice was silent for 1s and is forgotten";
    assert_eq!(bob.hear("silent"), told);
    assert_eq!(server.program.hear("silent"), told);
    server.client("alice", &[]);
    // Bob's signs of life have kept bob in the book.
    bob.say("$roomlist");
    bob.hear("* 1 room: den (1)");
}

#[test]
fn who_was_frozen_and_forgotten_joins_again() {
    let server = Server::start(&["--forget-after", "1s"]);
    let mut alice = server.client("alice", &["--keep-alive", "50ms"]);
    alice.signal("STOP");
    server.program.hear("* alice was silent");
    alice.signal("CONT");
    alice.hear("* the server has forgotten you: joining again");
    alice.hear("* you are alice; nobody else is here");
    alice.say("$userlist");
    alice.hear("* 1 user: alice");
}

#[test]
fn a_server_that_is_gone_or_silent_has_its_own_code() {
    let mut server = Server::start(&[]);
    let alice = server.client("alice", &["--keep-alive", "50ms"]);
    server.program.signal("KILL");
    server.program.ended();
    let (code, _, stderr) = alice.outcome();
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.ends_with(" is gone: connection refused"), "{stderr}");

    let silent = Bare::new();
    let bob = client(silent.address(), "bob", &["--keep-alive", "50ms"]);
    silent.let_in("bob");
    let (code, _, stderr) = bob.outcome();
    assert_eq!(code, 4);
    assert!(
        stderr.ends_with(" is gone: no answer to 4 signs of life"),
        "{stderr}"
    );
}

#[test]
fn every_way_to_end_the_server_is_clean() {
    for how in ["TERM", "INT", "close"] {
        let mut server = Server::start(&[]);
        let alice = server.client("alice", &[]);
        match how {
            "close" => server.program.say("close"),
            signal => server.program.signal(signal),
        }
        assert_eq!(server.program.ended().code(), Some(0), "{how}");
        let (code, stdout, stderr) = alice.outcome();
        assert_eq!(
            (code, stdout.as_str()),
            (7, "* the server shuts down: goodbye")
        );
        assert!(stderr.ends_with(" ended the chat"), "{stderr}");
    }
}

#[test]
fn the_operator_speaks_and_stops_newcomers() {
    let mut server = Server::start(&[]);
    let mut alice = server.client("alice", &[]);
    server.program.hear("* alice has joined from 127.0.0.1:");
    server.program.say("tea is ready");
    assert_eq!(alice.hear("tea"), "operator: tea is ready");
    server.program.say("stop");
    server.program.hear("* newcomers are refused");
    let (code, _, stderr) = client(server.address, "bob", &[]).outcome();
    assert_eq!(code, 8);
    assert!(stderr.ends_with("newcomers are refused"), "{stderr}");
    alice.say("$userlist");
    alice.hear("* 1 user: alice");
}

#[test]
fn strangers_and_oversized_datagrams_are_told_and_do_nothing() {
    let server = Server::start(&[]);
    let mut alice = server.client("alice", &[]);
    alice.say("$roomcreate den");
    alice.hear("* you are in den");
    let stranger = Bare::new();
    stranger.send(server.address, "tx alice: I am alice");
    assert!(
        stranger
            .next()
            .0
            .starts_with("wh * your address is not in the book")
    );
    stranger.send(server.address, "hi mallory\n");
    assert_eq!(stranger.next().0, "hi * you are mallory; here: alice");
    stranger.send(server.address, [b'x'; 1201]);
    assert!(
        stranger
            .next()
            .0
            .starts_with("no ?? * datagram too long: at most 1200 bytes")
    );
    stranger.send(server.address, "rj den");
    stranger.hear("rj ");
    stranger.send(server.address, b"tx \x1b[2J\xff\n* goodbye\xe2\x80\xae");
    assert_eq!(
        alice.hear("[2J"),
        "mallory: \\u{1b}[2J\u{fffd}\\u{a}* goodbye\\u{202e}"
    );
}

#[test]
fn a_client_hears_its_server_alone_and_shows_nothing_hostile() {
    let server = Bare::new();
    let alice = client(server.address(), "alice", &[]);
    let to_alice = server.let_in("alice");
    Bare::new().send(to_alice, "tx * you have won");
    server.send(to_alice, b"tx bob: \x1b]0;owned\x07");
    server.send(to_alice, "zz what");
    server.send(to_alice, [b'x'; 3000]);
    server.send(to_alice, "nt * the end");
    alice.hear("* you are alice");
    assert_eq!(alice.hear(""), "bob: \\u{1b}]0;owned\\u{7}");
    assert_eq!(alice.hear(""), "* the end");
}

#[test]
fn a_flood_from_strangers_and_from_a_user_leaves_the_others_served() {
    let server = Server::start(&["--rate", "5", "--burst", "5"]);
    let mut alice = server.client("alice", &["--retry", "50ms"]);
    let flooder = Bare::new();
    flooder.send(server.address, "hi mallory");
    flooder.hear("hi ");
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in 0..20_000_u32 {
        // Datagrams that the kernel has no room for are lost, as such a flood wants it.
        let _ = stranger.send_to(&n.to_be_bytes(), server.address);
        let _ = flooder.0.send_to(b"ul", server.address);
    }
    flooder.hear("nt * too fast: at most 5 a second");
    // A command lost in the flood is told to the user, who asks again.
    loop {
        alice.say("$userlist");
        let answer = alice.hear("*");
        if answer == "* 2 users: alice, mallory" {
            break;
        }
        assert!(answer.starts_with("* no answer to $userlist"), "{answer}");
    }
}

#[test]
fn a_port_in_use_cannot_be_had() {
    let taken = Bare::new();
    let port = taken.address().port().to_string();
    let args = ["server", "--listen", "127.0.0.1", "--port", &port];
    let (code, stdout, stderr) = Program::start("chat-udp", &args).outcome();
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(
        stderr.contains("chat-udp: failed to listen on 127.0.0.1:"),
        "{stderr}"
    );
}

#[test]
fn a_stdout_that_is_not_read_costs_lines_and_not_the_place() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    let server = Bare::new();
    let (host, port) = (server.address().ip(), server.address().port());
    let mut alice = Command::new(assert_cmd::cargo::cargo_bin("chat-udp"))
        .args(["client", &host.to_string(), "--port", &port.to_string()])
        .args(["--name", "alice", "--keep-alive", "20ms"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let to_alice = server.let_in("alice");
    // More than the pipe and the lines that wait can hold; each sign of life shows that the client
    // goes on, and has read what was sent before the last one.
    for n in 0..400 {
        server.send(to_alice, format!("tx bob: {n} {}", "x".repeat(1000)));
        if n % 20 == 0 {
            server.hear("ka");
        }
    }
    server.hear("ka");
    let mut lines = BufReader::new(alice.stdout.take().unwrap()).lines();
    let mut shown = lines.by_ref().map(Result::unwrap);
    assert_eq!(
        shown.next().unwrap(),
        "* you are alice; nobody else is here"
    );
    // Read on until the client says what was lost; only a new line makes it say so.
    loop {
        server.send(to_alice, "tx bob: still there?");
        server.hear("ka");
        let told = shown.find(|line| !line.starts_with("bob: ") || line.ends_with("there?"));
        if told
            .unwrap()
            .ends_with(" lines were not shown: stdout was not read")
        {
            break;
        }
    }
    drop(alice.stdin.take());
    server.hear("by");
    server.send(to_alice, "by * goodbye");
    assert_eq!(alice.wait().unwrap().code(), Some(0));
}
