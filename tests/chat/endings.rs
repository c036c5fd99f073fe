//! How connections end: who closes first, and how long it may take.

use std::time::{Duration, Instant};

use crate::support::{Program, Server, Wire};

/// The process must have ended within this time of the order to: longer than all that it waits for, on a busy machine.
const END_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn after_quit_the_server_says_goodbye_and_closes_first() {
    let server = Server::start(&["--quiet", "50ms"]);
    for quit in ["quit\n", "quit\r\n", "quit"] {
        let mut alice = server.join("alice");
        alice.send(quit);
        // The FIN is read here while this side's direction is open.
        assert_eq!(alice.rest(), ["* goodbye"], "{quit:?}");
    }
}

#[test]
fn a_port_in_use_ends_the_server_with_a_line_that_names_it() {
    let first = Server::start(&[]);
    let port = first.address.port().to_string();
    let args = ["--listen", "127.0.0.1", "--port", &port];
    let (code, stdout, stderr) = Program::start("chat-server", &args).outcome();
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains(&format!(
        "chat-server: failed to listen on 127.0.0.1:{port}: "
    )));
}

#[test]
fn quit_leaves_before_a_name_is_given_too() {
    let server = Server::start(&[]);
    let mut nobody = server.connect();
    nobody.send("quit\n");
    assert_eq!(nobody.rest().last().unwrap(), "* goodbye");
}

#[test]
fn a_client_that_closes_first_gets_what_was_said_before_and_a_fin() {
    let server = Server::start(&[]);
    let mut netcat = server.connect();
    netcat.send("alice\nciao");
    netcat.finish();
    let rest = netcat.rest();
    assert_eq!(rest[rest.len() - 2..], ["alice: ciao", "* goodbye"]);
}

#[test]
fn signals_end_every_session_with_farewell_and_fin() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(&[]);
        let mut alice = server.join("alice");
        let mut unnamed = server.connect();
        unnamed.hear("* your name?");
        server.program.signal(signal);
        let begin = Instant::now();
        for client in [&mut alice, &mut unnamed] {
            assert_eq!(client.rest(), ["* the server shuts down: goodbye"]);
        }
        drop((alice, unnamed));
        assert_eq!(server.program.ended().code(), Some(0));
        assert!(begin.elapsed() < END_WITHIN, "{:?}", begin.elapsed());
    }
}

#[test]
fn a_client_that_never_closes_does_not_hold_up_the_end() {
    let mut server = Server::start(&[]);
    let alice = server.join("alice");
    server.program.signal("TERM");
    let begin = Instant::now();
    assert_eq!(server.program.ended().code(), Some(0));
    assert!(begin.elapsed() < END_WITHIN, "{:?}", begin.elapsed());
    drop(alice);
}

#[test]
fn a_client_that_does_not_read_does_not_hold_up_the_end() {
    let mut server = Server::start(&["--send-buffer", "4096", "--rate", "0", "--queue", "65536"]);
    let mut alice = server.join("alice");
    let _slow = server.join("slow");
    alice.hear("* slow has joined");
    // More than the kernel holds for the slow member; its queue in the server holds the rest.
    fill(&mut alice, 2000);
    server.program.signal("TERM");
    let begin = Instant::now();
    assert_eq!(server.program.ended().code(), Some(0));
    assert!(begin.elapsed() < END_WITHIN, "{:?}", begin.elapsed());
}

/// Sends `count` large messages, each after the one before has come back.
fn fill(talker: &mut Wire, count: usize) {
    let body = "x".repeat(4000);
    for _ in 0..count {
        talker.send(format!("{body}\n"));
        talker.hear(&body);
    }
}
