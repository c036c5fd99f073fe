//! Every limit: what happens at it, and that the room goes on.

use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Server};

#[test]
fn an_over_long_message_is_answered_and_the_connection_goes_on() {
    let server = Server::start(&["--max-message", "20"]);
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    alice.hear("* bob has joined");
    alice.send("exactly twenty bytes\n");
    assert_eq!(alice.line().unwrap(), "alice: exactly twenty bytes");
    alice.send("twenty-one bytes long\n");
    assert_eq!(
        alice.line().unwrap(),
        "* message too long: at most 20 bytes; it was not sent"
    );
    // A line that streams in for long is answered once, and its end begins a new message.
    for _ in 0..100 {
        alice.send([b'x'; 10_000]);
    }
    alice.send("\nshort\n");
    alice.hear("* message too long");
    assert_eq!(alice.line().unwrap(), "alice: short");
    assert_eq!(bob.line().unwrap(), "alice: exactly twenty bytes");
    assert_eq!(bob.line().unwrap(), "alice: short");
}

#[test]
fn a_member_that_does_not_read_is_dropped_by_name_and_the_others_lose_nothing() {
    const MESSAGES: usize = 1500;
    let server = Server::start(&["--queue", "64", "--send-buffer", "4096", "--rate", "0"]);
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    let mut slow = server.join("slow");
    alice.hear("* slow has joined");
    bob.hear("* slow has joined");
    let body = "x".repeat(3000);
    let mut told = 0;
    for n in 0..MESSAGES {
        alice.send(format!("{n} {body}\n"));
        // One message at a time: both readers get each before the next is sent.
        for member in [&mut alice, &mut bob] {
            let mut line = member.line().unwrap();
            if line == "* slow fell behind and was dropped" {
                told += 1;
                line = member.line().unwrap();
            }
            assert!(
                line.starts_with(&format!("alice: {n} ")),
                "lost {n}: {line:.40}"
            );
        }
    }
    assert_eq!(told, 2, "both readers were told once");
    let log = server.program.log("fell behind");
    assert!(log.contains("WARN") && log.contains("name=slow"), "{log}");
    // The name is free again, and the slow member's connection ends.
    let _again = server.join("slow");
    while slow.line().is_some_and(|l| !l.starts_with("alice: 1499 ")) {}
}

#[test]
fn many_who_speak_and_leave_at_once_are_not_taken_for_members_who_do_not_read() {
    const MEMBERS: usize = 100;
    let server = Server::start(&["--queue", "16"]);
    let mut alice = server.join("alice");
    let mut crowd: Vec<_> = (0..MEMBERS)
        .map(|n| server.join(&format!("m{n}")))
        .collect();
    for member in &mut crowd {
        member.send("ciao\n");
    }
    let mut heard = |ending: &str| {
        for n in 0..MEMBERS {
            let line = alice.line().unwrap();
            assert!(line.ends_with(ending), "{n}: {line}");
        }
    };
    heard(" has joined");
    heard(": ciao");
    drop(crowd);
    heard(" has left");
}

#[test]
fn a_connection_over_the_limit_is_told_so_and_a_free_place_is_given_again() {
    let server = Server::start(&["--max-connections", "2"]);
    let mut alice = server.join("alice");
    let _bob = server.join("bob");
    let mut third = server.connect();
    assert_eq!(
        third.line().unwrap(),
        "* the room is full: 2 connections at most; try again later"
    );
    assert_eq!(third.line(), None);
    alice.send("quit\n");
    alice.rest();
    drop(alice);
    // The place is free when the server has seen the FIN; a refusal until then is an event too.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut carol = server.connect();
        if carol.line().unwrap().starts_with("* welcome") {
            break;
        }
        assert!(Instant::now() < deadline, "the place was never given again");
    }
}

#[test]
fn a_client_that_gives_no_name_is_let_go() {
    let server = Server::start(&["--name-wait", "100ms"]);
    let mut silent = server.connect();
    assert_eq!(
        silent.rest().last().unwrap(),
        "* no name within 100ms: goodbye"
    );
}

#[test]
fn a_client_may_try_so_many_names() {
    let server = Server::start(&["--name-tries", "2", "--max-name", "5"]);
    let mut alice = server.connect();
    alice.send("abcdef\n???\n");
    let rest = alice.rest();
    assert_eq!(
        rest[2],
        "* that name cannot be used: it is 6 bytes long, 5 are allowed"
    );
    assert_eq!(rest.last().unwrap(), "* no usable name in 2 tries: goodbye");
}

#[test]
fn messages_over_the_rate_come_later_and_none_is_lost() {
    let server = Server::start(&["--rate", "50", "--burst", "10"]);
    let mut alice = server.join("alice");
    let begin = Instant::now();
    let all: Vec<_> = (0..30).map(|n| n.to_string()).collect();
    alice.send(all.join("\n") + "\n");
    for n in 0..30 {
        assert_eq!(alice.line().unwrap(), format!("alice: {n}"));
    }
    // Ten at once and twenty more at fifty a second.
    assert!(
        begin.elapsed() >= Duration::from_millis(380),
        "{:?}",
        begin.elapsed()
    );
}
