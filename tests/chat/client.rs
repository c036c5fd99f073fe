//! The terminal client, on a pipe.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::support::{Program, Server, Wire, client, free_address};

/// A foreign server: a listening socket that the test serves by hand.
fn foreign() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn accept(listener: &TcpListener) -> Wire {
    Wire::new(listener.accept().unwrap().0)
}

#[test]
fn two_clients_talk_at_once_and_quit_leaves() {
    let server = Server::start(&[]);
    let mut alice = server.client(&["--name", "alice"]);
    alice.hear("* you are alice");
    let mut bob = server.client(&["--name", "bob"]);
    bob.hear("* you are bob; here: alice");
    alice.say("ciao");
    assert_eq!(bob.hear("ciao"), "alice: ciao");
    bob.say("ciao a te");
    assert_eq!(alice.hear("a te"), "bob: ciao a te");
    alice.say("quit");
    let (code, stdout, stderr) = alice.outcome();
    assert_eq!(
        (code, stdout.as_str(), stderr.as_str()),
        (0, "* goodbye", "")
    );
    bob.hear("* alice has left");
    bob.say("exit");
    assert_eq!(bob.outcome().0, 0);
}

#[test]
fn the_end_of_a_pipe_leaves_after_everything_was_sent() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    let mut alice = server.client(&["--name", "alice"]);
    // All at once, before the server has asked for a name.
    alice.say("one");
    alice.say("two");
    alice.end_stdin();
    assert_eq!(alice.outcome().0, 0);
    assert_eq!(bob.hear("one"), "alice: one");
    assert_eq!(bob.line().unwrap(), "alice: two");
    assert_eq!(bob.line().unwrap(), "* alice has left");
}

#[test]
fn a_room_that_takes_its_time_hears_everything_that_was_piped() {
    const LINES: usize = 600;
    // It takes three seconds for them, far longer than the client waits for a silent server.
    let server = Server::start(&["--rate", "200", "--burst", "1"]);
    let mut bob = server.join("bob");
    let mut alice = server.client(&["--name", "alice", "--leave-wait", "200ms"]);
    for n in 0..LINES {
        alice.say(&n.to_string());
    }
    alice.end_stdin();
    bob.hear("* alice has joined");
    for n in 0..LINES {
        assert_eq!(bob.line().unwrap(), format!("alice: {n}"));
    }
    assert_eq!(bob.line().unwrap(), "* alice has left");
    let (code, stdout, stderr) = alice.outcome();
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.ends_with("alice: 599\n* goodbye"), "{stdout:.200}");
}

#[test]
fn a_room_without_a_rate_hears_everything_that_was_piped() {
    const LINES: usize = 20_000;
    let server = Server::start(&["--rate", "0", "--queue", "300", "--send-buffer", "4096"]);
    let mut alice = server.client(&["--name", "alice"]);
    alice.type_all((0..LINES).map(|n| n.to_string()));
    let (code, stdout, stderr) = alice.outcome();
    assert_eq!((code, stderr.as_str()), (0, ""));
    let own: Vec<_> = (stdout.lines())
        .filter_map(|line| line.strip_prefix("alice: "))
        .collect();
    assert!(own.iter().map(|n| n.parse::<usize>().unwrap()).eq(0..LINES));
}

#[test]
fn a_one_to_one_server_that_takes_its_time_is_waited_for() {
    const LINES: usize = 60;
    let server = Server::start(&["--one-to-one", "--burst", "1"]);
    let mut alice = server.client(&["--leave-wait", "200ms"]);
    for n in 0..LINES {
        alice.say(&n.to_string());
    }
    alice.end_stdin();
    for n in 0..LINES {
        let line = server.program.hear("client: ");
        assert_eq!(line, format!("client: {n}"));
    }
    let (code, _, stderr) = alice.outcome();
    assert_eq!((code, stderr.as_str()), (0, ""));
}

/// A room that is served by hand, and lets a client in as alice.
fn room_by_hand(args: &[&str]) -> (Program, Wire) {
    let (listener, address) = foreign();
    let alice = client(address, &[&["--name", "alice"], args].concat());
    let mut wire = accept(&listener);
    wire.send("* welcome to the chat room: say `quit` to leave\n* your name?\n");
    assert_eq!(wire.line().unwrap(), "alice");
    wire.send("* you are alice; nobody else is here\n");
    alice.hear("* you are alice");
    (alice, wire)
}

#[test]
fn lines_that_a_silent_room_does_not_repeat_are_counted() {
    let (mut alice, mut wire) = room_by_hand(&["--leave-wait", "100ms"]);
    for word in ["one", "two", "three"] {
        alice.say(word);
    }
    alice.end_stdin();
    assert_eq!(wire.line().unwrap(), "one");
    wire.send("alice: one\n");
    // The client closes first.
    assert_eq!(wire.rest(), ["two", "three", "quit"]);
    let (code, _, stderr) = alice.outcome();
    assert_eq!(code, 9);
    assert!(
        stderr.starts_with("chat-client: 2 lines were not heard back from 127.0.0.1 port "),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn lines_that_a_room_has_not_repeated_when_it_closes_are_counted() {
    let (mut alice, mut wire) = room_by_hand(&[]);
    alice.say("one");
    alice.say("quit");
    assert_eq!(wire.line().unwrap(), "one");
    assert_eq!(wire.line().unwrap(), "quit");
    wire.send("* the server shuts down: goodbye\n");
    wire.finish();
    let (code, _, stderr) = alice.outcome();
    assert_eq!(code, 9);
    assert!(
        stderr.contains("1 line was not heard back")
            && stderr.ends_with(": it closed the connection"),
        "{stderr}"
    );

    let (mut alice, mut wire) = room_by_hand(&[]);
    alice.say("one");
    assert_eq!(wire.line().unwrap(), "one");
    wire.finish();
    let (code, _, stderr) = alice.outcome();
    assert_eq!(code, 7);
    assert!(
        stderr.ends_with(" closed the connection; 1 line was not heard back"),
        "{stderr}"
    );
}

#[test]
fn a_server_that_still_talks_is_heard_out_whatever_it_takes() {
    let (mut alice, mut wire) = room_by_hand(&["--leave-wait", "300ms"]);
    alice.end_stdin();
    assert_eq!(wire.line().unwrap(), "quit");
    // Slower than all at once, and never silent for as long as the client waits.
    for n in 0..15 {
        wire.send(format!("bob: {n}\n"));
        alice.hear(&format!("bob: {n}"));
        std::thread::sleep(Duration::from_millis(100));
    }
    wire.send("* goodbye\n");
    wire.finish();
    let (code, stdout, stderr) = alice.outcome();
    assert_eq!(
        (code, stdout.as_str(), stderr.as_str()),
        (0, "* goodbye", "")
    );
}

#[test]
fn a_room_that_does_not_know_the_word_is_left_while_others_talk() {
    let (listener, address) = foreign();
    let mut alice = client(address, &["--leave-wait", "300ms"]);
    let mut wire = accept(&listener);
    alice.say("quit");
    assert_eq!(wire.line().unwrap(), "quit");
    let mut talker = wire.stream.try_clone().unwrap();
    let talking = std::thread::spawn(move || {
        while talker.write_all(b"<user4> ciao\n").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(wire.line(), None, "the client closes first");
    wire.finish();
    assert_eq!(alice.outcome().0, 0);
    talking.join().unwrap();
}

#[test]
fn a_server_asks_for_options_of_telnet_in_vain() {
    let (listener, address) = foreign();
    let mut alice = client(address, &[]);
    let mut wire = accept(&listener);
    wire.send(b"\xff\xfd\x18\xff\xfb\x01login\xff\xf9: \n");
    assert_eq!(alice.hear("login"), "login: ");
    let mut bytes = [0; 6];
    wire.stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, *b"\xff\xfc\x18\xff\xfe\x01");
    alice.say("ciao");
    assert_eq!(wire.line().unwrap(), "ciao");
}

#[test]
fn without_a_name_the_first_line_typed_is_it() {
    let server = Server::start(&[]);
    let mut alice = server.client(&[]);
    alice.hear("* your name?");
    alice.say("alice");
    alice.hear("* you are alice");
}

#[test]
fn a_taken_name_has_its_own_code_when_nobody_can_be_asked() {
    let server = Server::start(&[]);
    let mut alice = server.join("alice");
    let mut other = server.client(&["--name", "alice"]);
    other.say("must not become a name");
    let (code, _, stderr) = other.outcome();
    assert_eq!(code, 8);
    assert!(stderr.ends_with("refused the name: the name `alice` is taken: choose another"));
    alice.send("quit\n");
    assert_eq!(alice.rest(), ["* goodbye"]);
}

#[test]
fn a_message_too_long_for_the_server_is_answered_and_the_talk_goes_on() {
    let server = Server::start(&[]);
    let mut alice = server.client(&["--name", "alice"]);
    alice.say(&"x".repeat(100_000));
    alice.hear("* message too long: at most 4096 bytes");
    alice.say("short");
    alice.hear("alice: short");
}

#[test]
fn a_name_with_a_line_end_is_one_message() {
    let server = Server::start(&[]);
    let alice = server.client(&["--name", "alice\nciao"]);
    let (code, _, stderr) = alice.outcome();
    assert_eq!(code, 8);
    assert!(stderr.contains("alice\\u{a}ciao"), "{stderr}");
}

#[test]
fn bare_framing_sends_each_message_without_a_line_end() {
    let (listener, address) = foreign();
    let mut alice = client(address, &["--framing", "bare", "--pause", "50ms"]);
    let mut wire = accept(&listener);
    let mut bytes = [0; 64];
    for (typed, sent) in [
        ("ninechars", "ninechars"),
        ("ciao", "ciao"),
        ("exit", "quit"),
    ] {
        alice.say(typed);
        let n = wire.stream.read(&mut bytes).unwrap();
        assert_eq!(&bytes[..n], sent.as_bytes());
    }
    drop(wire);
    assert_eq!(alice.outcome().0, 0);
}

#[test]
fn after_quit_the_client_waits_for_the_servers_fin() {
    let (listener, address) = foreign();
    let mut alice = client(address, &["--leave-wait", "20s"]);
    let mut wire = accept(&listener);
    alice.say("quit");
    assert_eq!(wire.line().unwrap(), "quit");
    // The client's FIN has not come: this direction is open until the server closes.
    wire.stream.set_nonblocking(true).unwrap();
    let early = wire.stream.peek(&mut [0; 1]);
    assert_eq!(early.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    wire.stream.set_nonblocking(false).unwrap();
    wire.send("farewell\n");
    wire.finish();
    assert_eq!(wire.line(), None);
    let (code, stdout, _) = alice.outcome();
    assert_eq!((code, stdout.as_str()), (0, "farewell"));
}

#[test]
fn a_server_that_does_not_know_the_word_is_left_all_the_same() {
    let (listener, address) = foreign();
    let mut alice = client(address, &["--leave-wait", "50ms"]);
    let mut wire = accept(&listener);
    alice.say("quit");
    assert_eq!(wire.rest(), ["quit"]);
    drop(wire);
    assert_eq!(alice.outcome().0, 0);
}

#[test]
fn a_foreign_server_never_gets_the_name_as_a_message() {
    let (listener, address) = foreign();
    let mut alice = client(address, &["--name", "alice"]);
    let mut wire = accept(&listener);
    wire.send("<announce> 127.0.0.1 is connected as <user4>.\n");
    alice.say("ciao");
    assert_eq!(wire.line().unwrap(), "ciao");
}

#[test]
fn what_a_hostile_server_sends_is_made_harmless() {
    let (listener, address) = foreign();
    let alice = client(address, &["--quiet", "50ms"]);
    let mut wire = accept(&listener);
    wire.send(b"\x1b[2J\x1b]0;owned\x07\xff\n");
    assert_eq!(
        alice.hear("owned"),
        "\\u{1b}[2J\\u{1b}]0;owned\\u{7}\u{fffd}"
    );
    wire.send("a bare\u{202e} send");
    assert_eq!(alice.hear("bare"), "a bare\\u{202e} send");
}

#[test]
fn a_refused_connection_has_its_own_code() {
    let (code, stdout, stderr) = client(free_address(), &[]).outcome();
    assert_eq!((code, stdout.as_str()), (3, ""));
    assert!(
        stderr.starts_with("chat-client: failed to connect to 127.0.0.1"),
        "{stderr}"
    );
    assert!(
        stderr.ends_with(": connection refused") && stderr.lines().count() == 1,
        "{stderr}"
    );
}

#[test]
fn a_host_that_does_not_exist_has_its_own_code() {
    let host = Program::start("chat-client", &["no-such-host.invalid"]);
    let (code, _, stderr) = host.outcome();
    assert_eq!(code, 6);
    assert!(
        stderr.starts_with("chat-client: no such host: no-such-host.invalid: "),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1);
}

#[tokio::test]
async fn an_address_that_never_answers_has_its_own_code() {
    // With a full backlog the kernel drops every further SYN.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let _waiting = TcpStream::connect(address).unwrap();
    let (code, _, stderr) = client(address, &["--timeout", "300ms"]).outcome();
    assert_eq!(code, 4);
    assert!(stderr.ends_with(": timed out after 300ms"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1);
}

#[test]
fn a_reset_has_its_own_code() {
    let (listener, address) = foreign();
    let mut alice = client(address, &[]);
    alice.say("unread");
    let wire = accept(&listener);
    // Closing a socket with unread bytes resets the connection.
    wire.stream.peek(&mut [0; 1]).unwrap();
    drop(wire);
    let (code, _, stderr) = alice.outcome();
    assert_eq!(code, 5, "{stderr}");
    assert!(stderr.ends_with(": reset by peer"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1);
}

#[test]
fn a_server_that_closes_unasked_has_its_own_code() {
    let mut server = Server::start(&[]);
    let alice = server.client(&["--name", "alice"]);
    alice.hear("* you are alice");
    server.program.say("close");
    let (code, stdout, stderr) = alice.outcome();
    assert_eq!(
        (code, stdout.as_str()),
        (7, "* the server shuts down: goodbye")
    );
    assert!(
        stderr.starts_with("chat-client: the server at 127.0.0.1"),
        "{stderr}"
    );
    assert!(server.program.ended().success());
}

#[test]
fn a_client_that_is_killed_leaves_the_room() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    let mut alice = server.client(&["--name", "alice"]);
    alice.hear("* you are alice");
    alice.signal("KILL");
    alice.ended();
    bob.hear("* alice has left");
}

#[test]
fn one_to_one_with_the_client() {
    let mut server = Server::start(&["--one-to-one"]);
    let mut alice = server.client(&["--name", "alice"]);
    alice.hear("* welcome to the chat");
    alice.say("ciao");
    assert_eq!(
        server.program.hear("client: "),
        "client: ciao",
        "the name was not sent"
    );
    server.program.say("ciao a te");
    assert_eq!(alice.hear("a te"), "operator: ciao a te");
}

#[test]
fn a_long_answer_is_shown_whole_through_a_pipe() {
    let (listener, address) = foreign();
    let alice = client(address, &[]);
    let mut wire = accept(&listener);
    for n in 0..5000 {
        wire.stream
            .write_all(format!("line {n}\n").as_bytes())
            .unwrap();
    }
    wire.finish();
    let (code, stdout, _) = alice.outcome();
    assert_eq!(code, 7);
    assert_eq!(stdout.lines().count(), 5000);
    assert!(stdout.ends_with("line 4999"));
}
