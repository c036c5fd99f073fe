//! The staged and the upper-case programs, on pipes: the calls that they print.

use std::io::Read as _;
use std::net::{Shutdown, SocketAddr, TcpListener};

use crate::support::{Program, Wire, free_address, is_refused};

/// A staged server on `address`.
fn staged(address: SocketAddr, stages: &str) -> Program {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let args = [
        "staged",
        "--listen",
        &host,
        "--port",
        &port,
        "--halt-at",
        stages,
    ];
    Program::start("specimen", &args)
}

/// A client of the kind `command`.
fn client(command: &str, address: SocketAddr, args: &[&str]) -> Program {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let fixed = [command, &host, "--port", &port];
    Program::start("specimen", &[&fixed, args].concat())
}

/// An upper-case server on a free port of loopback.
fn upper(args: &[&str]) -> (Program, SocketAddr) {
    let fixed = ["upper-server", "--listen", "127.0.0.1", "--port", "0"];
    let server = Program::start("specimen", &[&fixed, args].concat());
    let line = server.hear("listening on ");
    let address = line.trim_start_matches("listening on ").parse().unwrap();
    (server, address)
}

/// A listening socket that the test serves by hand.
fn foreign() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn the_staged_server_goes_on_by_lines_and_by_the_signal() {
    let address = free_address();
    let mut server = staged(address, "start,socket,bind,listen");
    server.hear("halted before socket()");
    assert!(is_refused(address));
    // The second line is for the second halt.
    server.say("on\non");
    server.hear("halted after socket()");
    assert_eq!(server.hear("bind"), format!("bind({address}) = 0"));
    server.hear("halted after bind()");
    assert!(is_refused(address));
    server.signal("USR1");
    assert_eq!(server.hear("listen"), "listen(5) = 0");
    server.hear("halted after listen()");
    let visitor = client("staged-client", address, &[]);
    assert_eq!(visitor.hear("send"), "send(12) = 12");
    visitor.hear("waiting for recv()");
    server.say("on");
    assert_eq!(
        server.outcome(),
        (0, "close() = 0".to_owned(), String::new())
    );
    let (code, stdout, stderr) = visitor.outcome();
    assert_eq!((code, stdout.as_str()), (5, "recv(1024) = -1 ECONNRESET"));
    assert_eq!(stderr, "specimen: recv(1024): reset by peer");
}

#[test]
fn the_end_of_stdin_does_not_move_the_staged_server() {
    let address = free_address();
    let mut server = staged(address, "bind,accept-never");
    server.hear("halted after bind()");
    server.end_stdin();
    server.signal("USR1");
    server.hear("halted before an accept() that never comes");
    server.signal("USR1");
    server.hear("halted before an accept() that never comes");
    assert!(server.is_running());
}

#[test]
fn a_call_that_fails_has_the_name_of_its_errno() {
    let (_listener, address) = foreign();
    let mut server = staged(address, "socket");
    server.hear("halted after socket()");
    server.say("on");
    let (code, stdout, stderr) = server.outcome();
    assert_eq!(
        (code, stdout),
        (1, format!("bind({address}) = -1 EADDRINUSE"))
    );
    assert!(
        stderr.starts_with(&format!("specimen: bind({address}): ")),
        "{stderr}"
    );

    let address = free_address();
    let (code, stdout, _) = client("staged-client", address, &[]).outcome();
    assert_eq!(code, 3);
    assert!(
        stdout.ends_with(&format!("connect({address}) = -1 ECONNREFUSED")),
        "{stdout}"
    );
}

#[test]
fn the_staged_client_ends_with_its_input_or_with_the_server() {
    let (listener, address) = foreign();
    let mut visitor = client("staged-client", address, &[]);
    let mut wire = Wire::new(listener.accept().unwrap().0);
    visitor.hear("waiting for recv()");
    visitor.end_stdin();
    assert_eq!(
        visitor.outcome(),
        (0, "close() = 0".to_owned(), String::new())
    );
    assert_eq!(wire.rest(), ["hello, stage"]);

    let visitor = client("staged-client", address, &[]);
    let mut wire = Wire::new(listener.accept().unwrap().0);
    wire.stream.read_exact(&mut [0; 12]).unwrap();
    wire.send("ciao");
    visitor.hear("recv(1024) = 4 \"ciao\"");
    wire.stream.shutdown(Shutdown::Write).unwrap();
    let (code, stdout, _) = visitor.outcome();
    assert_eq!((code, stdout.as_str()), (7, "recv(1024) = 0\nclose() = 0"));
}

#[test]
fn a_server_that_answers_once_closes_at_once() {
    let (server, address) = upper(&["--receive", "100", "--receives", "1"]);
    let mut client = client(
        "upper-client",
        address,
        &["--halt-at", "receive", "--late", "9"],
    );
    client.hear("halted after recv()");
    assert_eq!(server.hear("A: close()"), "A: close() = 0");
    client.say("on");
    let (code, stdout, _) = client.outcome();
    assert_eq!(
        (code, stdout.as_str()),
        (0, "A: send(9) = 9\nA: close() = 0")
    );
}

#[test]
fn small_receives_and_repeated_answers() {
    let (server, address) = upper(&["--receive", "5"]);
    let args = ["--send", "20", "--receive", "5", "--receives", "4"];
    let mut small = client("upper-client", address, &args);
    small.hear("A: recv(5) = 5 \"PQRST\"");
    assert!(small.ended().success());
    server.hear("A: recv(5) = 5 \"pqrst\"");

    let (server, address) = upper(&["--repeat", "1000"]);
    let args = ["--receives", "2", "--halt-at", "send"];
    let mut unread = client("upper-client", address, &args);
    unread.hear("halted after send()");
    server.hear("A: send(13000) = 13000");
    unread.say("on");
    unread.hear("A: recv(1024) = 1024");
    assert_eq!(unread.outcome().0, 0);
    server.hear("A: recv(1024) = -1 ECONNRESET");
    // One client's reset is not the next one's.
    assert_eq!(client("upper-client", address, &[]).outcome().0, 0);
}

#[test]
fn two_connections_are_crossed_and_one_stays_open() {
    let (mut server, address) = upper(&["--cross", "7,5"]);
    let args = ["--connections", "2", "--order", "B,A", "--send", "13,9"];
    let (code, stdout, _) = client("upper-client", address, &args).outcome();
    assert_eq!(code, 0);
    let calls: Vec<_> = stdout
        .lines()
        .filter(|line| line.contains("recv") || line.contains("send"))
        .collect();
    let expected = [
        "B: send(13) = 13",
        "A: send(9) = 9",
        "A: recv(1024) = 7 \"ABCDEFG\"",
        "B: recv(1024) = 5 \"ABCDE\"",
    ];
    assert_eq!(calls, expected);
    server.hear("A: close() = 0");
    server.hear("B stays open");
    assert!(server.is_running());
}

#[test]
fn sends_and_receives_alternate() {
    let (server, address) = upper(&[]);
    let (code, stdout, _) =
        client("upper-client", address, &["--send", "9,9", "--alternate"]).outcome();
    assert_eq!(code, 0);
    let answers = stdout.matches("A: recv(1024) = 9 \"ABCDEFGHI\"").count();
    assert_eq!(answers, 2, "{stdout}");
    server.hear("A: recv(1024) = 0");
}

#[test]
fn an_order_that_names_a_connection_that_is_not_there_is_told() {
    let (_server, address) = upper(&[]);
    let (code, _, stderr) = client("upper-client", address, &["--order", "B"]).outcome();
    assert_eq!(code, 1);
    assert_eq!(
        stderr,
        "specimen: --order names B, and --connections opens 1"
    );
}
