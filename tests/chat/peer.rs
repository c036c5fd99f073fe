//! The chat between two peers, on pipes and with bare connections.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use crate::support::{Program, Wire, is_refused};

/// A peer that listens on a free port of loopback.
fn listening() -> (Program, SocketAddr) {
    let peer = Program::start("chat-peer", &["--listen", "127.0.0.1", "0"]);
    let address = listens_on(&peer);
    (peer, address)
}

fn listens_on(peer: &Program) -> SocketAddr {
    let line = peer.hear("* listening on ");
    line.trim_start_matches("* listening on ").parse().unwrap()
}

/// A peer that connects to `address`.
fn calling(address: SocketAddr, args: &[&str]) -> Program {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let all = [args, &[host.as_str(), port.as_str()]].concat();
    Program::start("chat-peer", &all)
}

/// A listening socket that the test serves by hand.
fn foreign() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn accept(listener: &TcpListener) -> Wire {
    Wire::new(listener.accept().unwrap().0)
}

#[test]
fn two_peers_talk_at_once_and_either_may_end_it() {
    for caller_ends in [true, false] {
        let (mut one, address) = listening();
        let mut two = calling(address, &[]);
        two.hear(&format!("* {address} is connected"));
        one.hear("is connected");
        one.say("ciao");
        two.say("ciao a te");
        assert_eq!(two.hear("ciao"), "peer: ciao");
        assert_eq!(one.hear("ciao"), "peer: ciao a te");
        let (mut leaver, left) = if caller_ends { (two, one) } else { (one, two) };
        leaver.say(":q");
        assert_eq!(leaver.outcome(), (0, String::new(), String::new()));
        let (code, stdout, stderr) = left.outcome();
        assert_eq!((code, stdout.as_str()), (7, "* the peer has left"));
        assert!(
            stderr.starts_with("chat-peer: the peer at 127.0.0.1:"),
            "{stderr}"
        );
    }
}

/// Talks without a pause until nobody listens any more.
fn flood(mut stream: TcpStream) {
    let lines = "y\n".repeat(4096);
    while std::io::Write::write_all(&mut stream, lines.as_bytes()).is_ok() {}
}

#[test]
fn one_who_never_stops_is_left_all_the_same() {
    let (listener, address) = foreign();
    let mut peer = calling(address, &["--leave-wait", "200ms"]);
    let stream = listener.accept().unwrap().0;
    let flooding = std::thread::spawn(|| flood(stream));
    peer.hear("peer: y");
    peer.say(":q");
    assert_eq!(peer.ended().code(), Some(0));
    flooding.join().unwrap();
}

#[test]
fn the_user_need_not_wait_for_an_answer() {
    // A full backlog answers nobody.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _first = TcpStream::connect(address).unwrap();
    let mut peer = calling(address, &["--timeout", "60s"]);
    peer.say(":q");
    assert_eq!(peer.outcome(), (0, String::new(), String::new()));
}

#[test]
fn every_line_is_sent_with_its_line_feed() {
    let (listener, address) = foreign();
    let mut peer = calling(address, &[]);
    let mut wire = accept(&listener);
    peer.say("ciao");
    let mut bytes = [0; 16];
    let n = std::io::Read::read(&mut wire.stream, &mut bytes).unwrap();
    assert_eq!(&bytes[..n], b"ciao\n");
    peer.say(":q");
    // The word itself is not sent: the FIN says it.
    assert_eq!(wire.rest(), Vec::<String>::new());
    wire.send("one more thing\n");
    drop(wire);
    let (code, stdout, _) = peer.outcome();
    assert_eq!(code, 0);
    assert!(stdout.ends_with("peer: one more thing"), "{stdout}");
}

#[test]
fn a_failed_connection_is_told_and_then_the_port_is_listened_on() {
    // An address of its own, so that nobody takes the port meanwhile.
    let address = TcpListener::bind("127.0.77.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let peer = calling(address, &["--listen", "127.0.77.1"]);
    let told = peer.hear("* failed to connect to ");
    assert!(told.ends_with("connection refused: listening"), "{told}");
    assert_eq!(listens_on(&peer), address);
    let mut other = calling(address, &[]);
    other.hear("is connected");
    other.say("found you");
    peer.hear("peer: found you");
}

#[test]
fn a_host_that_does_not_exist_is_not_listened_for() {
    let (code, stdout, stderr) =
        Program::start("chat-peer", &["no-such-host.invalid", "15104"]).outcome();
    assert_eq!((code, stdout.as_str()), (6, ""));
    assert!(
        stderr.starts_with("chat-peer: no such host: no-such-host.invalid: "),
        "{stderr}"
    );
}

#[test]
fn a_port_in_use_cannot_be_listened_on() {
    let (_listener, address) = foreign();
    let port = address.port().to_string();
    let (code, _, stderr) =
        Program::start("chat-peer", &["--listen", "127.0.0.1", &port]).outcome();
    assert_eq!(code, 1);
    assert!(
        stderr.starts_with(&format!("chat-peer: failed to listen on {address}: ")),
        "{stderr}"
    );
}

#[test]
fn a_chat_is_between_two() {
    let (one, address) = listening();
    let _two = Wire::new(TcpStream::connect(address).unwrap());
    one.hear("is connected");
    assert!(is_refused(address));
}

#[test]
fn what_is_typed_before_the_peer_comes_is_sent_then() {
    let (mut peer, address) = listening();
    peer.say("early");
    peer.say("bird");
    peer.end_stdin();
    let mut wire = Wire::new(TcpStream::connect(address).unwrap());
    assert_eq!(wire.rest(), ["early", "bird"]);
    drop(wire);
    assert_eq!(peer.outcome().0, 0);
}

#[test]
fn a_peer_that_waits_alone_may_leave() {
    for end in [true, false] {
        let (mut peer, _) = listening();
        if end {
            peer.end_stdin();
        } else {
            peer.say(":q");
        }
        assert_eq!(peer.outcome(), (0, String::new(), String::new()));
    }
}

#[test]
fn a_reset_has_its_own_code() {
    let (mut peer, address) = listening();
    let wire = Wire::new(TcpStream::connect(address).unwrap());
    peer.say("unread");
    // The line is there and stays unread, so that closing resets.
    assert_eq!(wire.stream.peek(&mut [0; 1]).unwrap(), 1);
    drop(wire);
    let (code, _, stderr) = peer.outcome();
    assert_eq!(code, 5);
    assert!(stderr.ends_with("lost: reset by peer"), "{stderr}");
}

#[test]
fn what_a_hostile_peer_sends_is_made_harmless_and_stays_the_peers() {
    let (peer, address) = listening();
    let mut wire = Wire::new(TcpStream::connect(address).unwrap());
    wire.send(b"\x1b[2J\xff\n* the peer has left\n");
    assert_eq!(peer.hear("[2J"), "peer: \\u{1b}[2J\u{fffd}");
    assert_eq!(peer.hear("has left"), "peer: * the peer has left");
    wire.send("x".repeat(70_000));
    peer.hear("* a line too long to show was left out");
}

#[test]
fn a_peer_that_does_not_close_is_left_all_the_same() {
    let (listener, address) = foreign();
    let mut peer = calling(address, &["--leave-wait", "50ms"]);
    let mut wire = accept(&listener);
    peer.say(":q");
    assert_eq!(wire.line(), None);
    assert_eq!(peer.outcome().0, 0);
}

/// More lines than the kernels of both sides hold for a peer that does not read, in bytes.
const MANY_LINES: usize = 20_000;
const LINE_BYTES: usize = 1000;

/// A peer to which so many lines are typed, and then the end of its input; and its connection.
fn told_much(args: &[&str]) -> (Program, Wire) {
    let (listener, address) = foreign();
    let mut peer = calling(address, args);
    let line = "x".repeat(LINE_BYTES - 1);
    peer.type_all(std::iter::repeat_n(line, MANY_LINES));
    (peer, accept(&listener))
}

#[test]
fn a_peer_that_reads_slowly_gets_every_line_and_is_heard_out() {
    let (peer, mut wire) = told_much(&["--leave-wait", "300ms"]);
    let mut bytes = vec![0; 128 * 1024];
    let mut heard = 0;
    // Far longer in all than the peer waits, and never so long at once.
    loop {
        let n = std::io::Read::read(&mut wire.stream, &mut bytes).unwrap();
        heard += n;
        wire.send("go on\n");
        if n == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(heard, MANY_LINES * LINE_BYTES);
    drop(wire);
    let (code, _, stderr) = peer.outcome();
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
fn lines_that_the_peers_host_does_not_take_are_counted() {
    let (listener, address) = foreign();
    let socket = socket2::SockRef::from(&listener);
    socket.set_recv_buffer_size(4096).unwrap();
    let mut peer = calling(address, &["--leave-wait", "200ms"]);
    let line = "x".repeat(LINE_BYTES - 1);
    // The kernel of the peer takes all of it, and that of the other side a part.
    peer.type_all(std::iter::repeat_n(line, 100));
    let wire = accept(&listener);
    let (code, _, stderr) = peer.outcome();
    assert_eq!(code, 9, "{stderr}");
    let (lines, rest) = (stderr.strip_prefix("chat-peer: "))
        .and_then(|told| told.split_once(' '))
        .unwrap();
    assert!(
        (1..100).contains(&lines.parse::<usize>().unwrap()),
        "{stderr}"
    );
    assert!(rest.starts_with("lines were not heard back from 127.0.0.1:"));
    drop(wire);
}
