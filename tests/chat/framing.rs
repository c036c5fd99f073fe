//! Clients of different authors in one room, and bytes that must not reach a terminal.

use std::io::Read as _;

use nix::sys::socket::{MsgFlags, send};

use crate::support::Server;

#[test]
fn lines_of_both_kinds_and_bare_sends_are_served_in_one_room() {
    let server = Server::start(&["--quiet", "150ms"]);
    let mut unix = server.join("unix");
    let mut telnet = server.connect();
    telnet.send("telnet\r\n");
    telnet.hear("* you are telnet;");
    let mut bare = server.connect();
    bare.hear("* your name?");
    bare.send("ninechars");
    bare.hear("* you are ninechars;");

    bare.send("a bare send");
    unix.send("a line\n");
    telnet.send("a CR LF line\r\n");
    for member in [&mut unix, &mut telnet, &mut bare] {
        let mut heard: Vec<_> = std::iter::from_fn(|| member.line())
            .filter(|l| !l.starts_with('*'))
            .take(3)
            .collect();
        heard.sort();
        assert_eq!(
            heard,
            [
                "ninechars: a bare send",
                "telnet: a CR LF line",
                "unix: a line"
            ]
        );
    }
    bare.send("quit");
    assert_eq!(bare.line().unwrap(), "* goodbye");
    assert_eq!(bare.line(), None);
}

#[test]
fn a_line_in_many_segments_is_one_message() {
    let server = Server::start(&["--quiet", "10s"]);
    let mut alice = server.join("alice");
    for byte in "perché no?\r\n".as_bytes() {
        alice.send([*byte]);
    }
    assert_eq!(alice.line().unwrap(), "alice: perché no?");
}

#[test]
fn a_character_split_over_segments_survives_longer_than_the_quiet_time() {
    let server = Server::start(&["--quiet", "20ms", "--tail-wait", "10s"]);
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    alice.send(b"caf\xc3");
    // Each exchange of another member is ended by quiet: the quiet time passes three times.
    for _ in 0..3 {
        bob.send("bare");
        assert_eq!(bob.line().unwrap(), "bob: bare");
    }
    alice.send(b"\xa9");
    assert_eq!(bob.line().unwrap(), "alice: café");
}

#[test]
fn what_a_terminal_would_act_upon_is_made_harmless() {
    let server = Server::start(&[]);
    let mut alice = server.join("alice");
    for (sent, shown) in [
        (&b"\x1b[2Jgone\n"[..], "alice: \\u{1b}[2Jgone"),
        (b"over\rwritten\n", "alice: over\\u{d}written"),
        (b"\x1b]0;title\x07\n", "alice: \\u{1b}]0;title\\u{7}"),
        (
            "back\u{202e}wards\n".as_bytes(),
            "alice: back\\u{202e}wards",
        ),
        ("c1 \u{9b}31m\n".as_bytes(), "alice: c1 \\u{9b}31m"),
        (b"latin caf\xe9\n", "alice: latin caf\u{fffd}"),
        (b"\xff\xff\xfe\xffx\n", "alice: \u{fffd}\u{fffd}\u{fffd}x"),
    ] {
        alice.send(sent);
        assert_eq!(alice.line().unwrap(), shown);
    }
}

#[test]
fn commands_of_telnet_are_no_text_wherever_they_are_cut() {
    // What telnet of the inetutils sends for ctrl-C and `send` of most commands, and what others begin with.
    let said = [
        &b"\xff\xfb\x1f\xff\xfd\x03al\xff\xf1ice\r\0"[..],
        b"\xff\xf4\xff\xfd\x06after ctrl-C\r\n",
        b"\xff\xfa\x18\0xterm\xff\xf0\xff\xf5\xff\xf8a\xff\xf9 line\r\n",
        b"\xff\xfe\x01\xff\xfc\x01quit\r\0",
    ];
    let refusals = b"\xff\xfe\x1f\xff\xfc\x03\xff\xfc\x06";
    for size in [1, 2, 3, 5, 1000] {
        let server = Server::start(&["--quiet", "10s"]);
        let mut bob = server.join("bob");
        let mut telnet = server.connect();
        for piece in said.concat().chunks(size) {
            telnet.send(piece);
        }
        let mut told = Vec::new();
        telnet.stream.read_to_end(&mut told).unwrap();
        for expected in [
            "* alice has joined",
            "alice: after ctrl-C",
            "alice: a line",
            "* alice has left",
        ] {
            assert_eq!(bob.line().unwrap(), expected, "pieces of {size}");
        }
        let commands: Vec<_> = (told.split(|&byte| byte == 255).skip(1))
            .flat_map(|rest| [255, rest[0], rest[1]])
            .collect();
        assert_eq!(commands, refusals, "pieces of {size}");
    }
}

#[test]
fn who_asks_whether_somebody_is_there_sees_a_line() {
    let server = Server::start(&[]);
    let mut alice = server.join("alice");
    alice.send(b"\xff\xf6");
    assert_eq!(alice.line().unwrap(), "* the server is here");
}

#[test]
fn the_urgent_byte_of_a_synch_is_no_text_either() {
    let server = Server::start(&[]);
    let mut alice = server.join("alice");
    // IAC is urgent, the mark behind it is not: so does telnet of the inetutils.
    let urgent = send(
        std::os::fd::AsRawFd::as_raw_fd(&alice.stream),
        b"\xff",
        MsgFlags::MSG_OOB,
    );
    assert_eq!(urgent.unwrap(), 1);
    alice.send(b"\xf2ciao\n");
    assert_eq!(alice.line().unwrap(), "alice: ciao");
}
