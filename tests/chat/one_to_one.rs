//! The operator and one client at a time.

use std::time::{Duration, Instant};

use crate::support::{Server, is_refused};

#[test]
fn operator_and_client_talk_in_both_directions() {
    let mut server = Server::start(&["--one-to-one"]);
    let mut client = server.connect();
    assert_eq!(
        client.line().unwrap(),
        "* welcome to the chat: say `quit` to leave"
    );
    server.program.hear("is connected");
    server.program.say("good evening");
    assert_eq!(client.line().unwrap(), "operator: good evening");
    client.send("ciao\n\n");
    assert_eq!(server.program.hear("ciao"), "client: ciao");
    client.send("a bare send");
    assert_eq!(server.program.hear("bare"), "client: a bare send");
    client.send("\x1b[31mred\n");
    assert_eq!(server.program.hear("red"), "client: \\u{1b}[31mred");
    client.send("quit");
    assert_eq!(client.rest(), ["* goodbye"]);
    server.program.hear("is gone: the client quit");
}

#[test]
fn stop_ends_the_present_connection_and_the_next_client_is_served() {
    let mut server = Server::start(&["--one-to-one", "--backlog", "5"]);
    let mut first = server.connect();
    first.hear("* welcome");
    // The second waits in the backlog: its connection stands, but nobody greets it yet.
    let mut second = server.connect();
    second.send("early\n");
    server.program.say("to the first");
    first.hear("operator: to the first");
    server.program.say("stop");
    assert_eq!(first.rest(), ["* the operator ends this talk: goodbye"]);
    assert_eq!(
        second.line().unwrap(),
        "* welcome to the chat: say `quit` to leave"
    );
    server.program.hear("client: early");
    server.program.say("to the second");
    assert_eq!(second.line().unwrap(), "operator: to the second");
}

#[test]
fn the_next_client_is_served_after_a_quit_and_after_a_fin() {
    let server = Server::start(&["--one-to-one"]);
    for n in 0..3 {
        let mut client = server.connect();
        client.hear("* welcome");
        client.send(format!("visit {n}\n"));
        server.program.hear(&format!("client: visit {n}"));
        if n == 0 {
            client.send("quit\n");
            client.rest();
        }
    }
}

#[test]
fn close_ends_the_connection_and_the_server() {
    let mut server = Server::start(&["--one-to-one"]);
    let mut client = server.connect();
    client.hear("* welcome");
    server.program.say("close");
    assert_eq!(client.rest(), ["* the server shuts down: goodbye"]);
    drop(client);
    assert_eq!(server.program.ended().code(), Some(0));
    assert!(is_refused(server.address));
}

#[test]
fn close_ends_a_server_that_waits_for_a_client() {
    let mut server = Server::start(&["--one-to-one"]);
    server.program.say("hello?");
    server.program.hear("* nobody is connected");
    server.program.say("close");
    assert_eq!(server.program.ended().code(), Some(0));
}

#[test]
fn a_signal_ends_it_whatever_the_client_does() {
    let mut server = Server::start(&["--one-to-one"]);
    let mut client = server.connect();
    client.hear("* welcome");
    server.program.signal("TERM");
    let begin = Instant::now();
    assert_eq!(server.program.ended().code(), Some(0));
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(client.rest(), ["* the server shuts down: goodbye"]);
}
