//! The full-screen client: what a terminal shows, and that it is left as it was found.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::tcgetattr;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, ttyname};

use crate::support::{Server, client};
use crate::terminal::{Terminal, cells};

/// What programs write to leave the alternate screen, and to enter it.
const LEFT: &str = "\u{1b}[?1049l";
const ENTERED: &str = "\u{1b}[?1049h";

fn alice(server: &Server) -> Terminal {
    let mut alice = Terminal::start(server, &["--name", "alice", "--ui", "full"]);
    alice.see_shown("connected as alice");
    alice
}

impl Terminal {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// Waits for the end, and expects the terminal as it was before.
    fn code_with_the_terminal_back(&mut self) -> std::process::ExitStatus {
        self.see(LEFT);
        let status = self.child.wait().unwrap();
        assert!(self.echoes());
        assert!(!self.screen.screen().alternate_screen());
        assert!(!self.screen.screen().bracketed_paste());
        assert!(!self.screen.screen().hide_cursor());
        status
    }
}

#[test]
fn a_talk_on_the_whole_terminal() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    let mut alice = alice(&server);
    assert!(!alice.echoes(), "the kernel does not echo keys");
    alice.see_shown("│ bob");
    alice.press("half a li");
    alice.see_shown("> half a li");
    bob.send("meanwhile\u{1b}[2J\n");
    alice.see_shown("bob: meanwhile\\u{1b}[2J");
    // ctrl-U wipes the line; what a pipe ends a line with is Enter too.
    alice.press("\u{15}whole\n");
    bob.hear("alice: whole");
    alice.see_shown("alice: whole");
    let _carol = server.join("carol");
    alice.see_shown("│ carol");
    alice.press("quit\r");
    assert_eq!(alice.code_with_the_terminal_back().code(), Some(0));
    alice.see_shown("* goodbye");
}

#[test]
fn what_is_typed_at_once_is_drawn_at_once() {
    const ROUNDS: usize = 20;
    let line = "more than the front end lets wait ".repeat(10) + "and an end";
    let server = Server::start(&[]);
    let mut alice = alice(&server);
    alice.see_shown("> type a message");
    alice.seen.clear();
    for _ in 0..ROUNDS {
        alice.press(&line);
        alice.see_shown("and an end");
        // ctrl-U wipes it.
        alice.press("\u{15}");
        alice.see_shown("> type a message");
    }
    assert_eq!(alice.seen.matches("\u{1b}[?2026h").count(), ROUNDS * 2);
}

#[test]
fn a_view_that_was_moved_stays_and_tells_of_new_lines() {
    let server = Server::start(&["--rate", "0"]);
    let mut bob = server.join("bob");
    let mut alice = alice(&server);
    for n in 0..100 {
        bob.send(format!("line {n}\n"));
    }
    alice.see_shown("bob: line 99");
    alice.press("\u{1b}[5~");
    alice.see_shown("earlier lines; End goes back");
    bob.send("unseen\n");
    alice.see_shown("1 new line below; End goes there");
    assert!(!alice.screen.screen().contents().contains("unseen"));
    alice.press("\u{1b}[F");
    alice.see_shown("bob: unseen");
}

#[test]
fn another_size_is_another_picture() {
    let server = Server::start(&[]);
    let _bob = server.join("bob");
    let mut alice = alice(&server);
    let path = ttyname(&alice.line).unwrap();
    let stty = Command::new("stty")
        .args(["cols", "40", "rows", "10", "-F"])
        .arg(path)
        .status()
        .unwrap();
    assert!(stty.success());
    alice.screen.screen_mut().set_size(cells(10), cells(40));
    // The kernel tells those whose controlling terminal it is; this one is only lent.
    kill(alice.pid(), Signal::SIGWINCH).unwrap();
    alice.see_shown("connected as alice, 2 here");
    assert!(!alice.screen.screen().contents().contains('│'));
}

#[test]
fn the_terminal_is_put_back_when_the_server_closes() {
    let mut server = Server::start(&[]);
    let mut alice = alice(&server);
    alice.press("half a li");
    alice.see_shown("> half a li");
    server.program.say("close");
    assert_eq!(alice.code_with_the_terminal_back().code(), Some(7));
    alice.see_shown("* the server shuts down: goodbye");
    alice.see_shown("closed the connection");
}

#[test]
fn a_signal_ends_the_client_and_puts_the_terminal_back() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let server = Server::start(&[]);
        let mut bob = server.join("bob");
        let mut alice = alice(&server);
        kill(alice.pid(), signal).unwrap();
        let status = alice.code_with_the_terminal_back();
        assert_eq!(status.signal(), Some(signal as i32), "{status}");
        bob.hear("* alice has left");
    }
}

#[test]
fn a_client_that_is_stopped_gives_the_terminal_back_until_it_goes_on() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    let mut alice = alice(&server);
    let before = tcgetattr(&alice.line).unwrap();
    // ctrl-Z, and the signal from elsewhere.
    for by_key in [true, false] {
        alice.seen.clear();
        if by_key {
            alice.press("\u{1a}");
        } else {
            kill(alice.pid(), Signal::SIGTSTP).unwrap();
        }
        let stopped = waitpid(alice.pid(), Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(stopped, WaitStatus::Stopped(alice.pid(), Signal::SIGSTOP));
        alice.see(LEFT);
        assert!(alice.echoes());
        bob.send(format!("sleeping {by_key}\n"));
        kill(alice.pid(), Signal::SIGCONT).unwrap();
        alice.see(ENTERED);
        alice.see_shown(&format!("bob: sleeping {by_key}"));
        assert_eq!(tcgetattr(&alice.line).unwrap(), before);
    }
    alice.press("still here\r");
    bob.hear("alice: still here");
}

#[test]
fn a_terminal_is_needed_and_said_to_be_before_anything_is_sent() {
    let server = Server::start(&[]);
    let (code, stdout, stderr) = client(server.address, &["--ui", "full"]).outcome();
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert_eq!(
        stderr,
        "chat-client: failed to start: --ui full needs a terminal: stdin is none"
    );
}

#[test]
fn leaving_twice_is_at_once_and_says_what_was_not_heard() {
    let server = Server::start(&[]);
    let mut alice = alice(&server);
    server.program.signal("STOP");
    alice.press("lost\r");
    // ctrl-C leaves, and does not wait the second time.
    alice.press("\u{3}");
    alice.see_shown("leaving");
    alice.press("\u{3}");
    assert_eq!(alice.code_with_the_terminal_back().code(), Some(9));
    alice.see_shown("1 line was not heard back");
    server.program.signal("CONT");
}
