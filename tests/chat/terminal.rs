//! The clients on a terminal: line editing, incoming lines above the prompt, and a terminal that is
//! left as it was found.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

use crate::support::{PATIENCE, Program, Server, Wire};

/// The terminal's size at first.
const SIZE: Winsize = Winsize {
    ws_row: 24,
    ws_col: 80,
    ws_xpixel: 0,
    ws_ypixel: 0,
};

/// A program whose stdin, stdout and stderr are one pseudo-terminal.
pub(crate) struct Terminal {
    pub(crate) child: Child,
    keys: File,
    shown: mpsc::Receiver<Vec<u8>>,
    pub(crate) seen: String,
    /// What a terminal of that size shows now.
    pub(crate) screen: vt100::Parser,
    /// Kept open, so that the terminal can be looked at after the program has ended.
    pub(crate) line: OwnedFd,
}

impl Terminal {
    pub(crate) fn start(server: &Server, args: &[&str]) -> Self {
        let port = server.address.port().to_string();
        Self::run(
            "chat-client",
            &[&["127.0.0.1", "--port", &port], args].concat(),
        )
    }

    fn run(program: &str, args: &[&str]) -> Self {
        let pty = openpty(&SIZE, None).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = Command::new(cargo_bin(program))
            .args(args)
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keys = File::from(pty.master);
        let mut screen = keys.try_clone().unwrap();
        let (sender, shown) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(n @ 1..) = screen.read(&mut bytes) {
                if sender.send(bytes[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keys,
            shown,
            seen: String::new(),
            screen: vt100::Parser::new(cells(SIZE.ws_row), cells(SIZE.ws_col), 0),
            line: pty.slave,
        }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the text was written to the terminal.
    pub(crate) fn see(&mut self, text: &str) {
        self.see_until(text, |terminal| terminal.seen.contains(text));
    }

    /// Waits until the terminal shows the text, wherever its parts were written.
    pub(crate) fn see_shown(&mut self, text: &str) {
        self.see_until(text, |terminal| {
            terminal.screen.screen().contents().contains(text)
        });
    }

    fn see_until(&mut self, text: &str, is_seen: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_seen(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.shown.recv_timeout(left) else {
                let screen = self.screen.screen().contents();
                panic!(
                    "no `{text}` on the terminal: {:?}, which shows\n{screen}",
                    self.seen
                );
            };
            self.screen.process(&bytes);
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    /// Waits until the line editor is at work: a key pressed earlier is echoed by the kernel.
    fn see_editor(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.echoes() {
            assert!(Instant::now() < deadline, "no line editor");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether keys are echoed by the kernel: line editors switch that off.
    pub(crate) fn echoes(&self) -> bool {
        tcgetattr(&self.line)
            .unwrap()
            .local_flags
            .contains(LocalFlags::ECHO)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A height or a width of a terminal.
pub(crate) fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap()
}

#[test]
fn lines_are_edited_and_others_are_heard_meanwhile() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    let mut alice = Terminal::start(&server, &["--name", "alice"]);
    alice.see("* you are alice; here: bob");
    alice.press("half a li");
    alice.see("half a li");
    bob.send("meanwhile\n");
    alice.see("bob: meanwhile");
    // ctrl-U wipes the line.
    alice.press("\u{15}whole\r");
    bob.hear("alice: whole");
    alice.press("quit\r");
    alice.see("* goodbye");
    assert_eq!(alice.child.wait().unwrap().code(), Some(0));
    assert!(alice.echoes());
}

#[test]
fn a_taken_name_is_asked_for_again() {
    let server = Server::start(&[]);
    let _alice = server.join("alice");
    let mut other = Terminal::start(&server, &["--name", "alice"]);
    other.see("is taken: choose another");
    other.press("carol\r");
    other.see("* you are carol; here: alice");
}

#[test]
fn the_terminal_is_put_back_when_the_server_closes() {
    let mut server = Server::start(&[]);
    let mut alice = Terminal::start(&server, &["--name", "alice"]);
    alice.see("* you are alice");
    alice.see_editor();
    alice.press("half a li");
    alice.see("half a li");
    server.program.say("close");
    alice.see("* the server shuts down: goodbye");
    alice.see("closed the connection\r\n");
    assert_eq!(alice.child.wait().unwrap().code(), Some(7));
    assert!(alice.echoes());
}

#[test]
fn a_peer_leaves_a_terminal_as_it_was() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut peer = Terminal::run("chat-peer", &["127.0.0.1", &port]);
    let mut wire = Wire::new(listener.accept().unwrap().0);
    peer.see("is connected");
    peer.see_editor();
    peer.press("wrong\u{15}ciao\r");
    assert_eq!(wire.line().unwrap(), "ciao");
    wire.send("ciao a te\n");
    peer.see("peer: ciao a te");
    peer.press(":q\r");
    assert_eq!(wire.line(), None);
    drop(wire);
    assert_eq!(peer.child.wait().unwrap().code(), Some(0));
    assert!(peer.echoes());
}

#[test]
fn a_chat_over_datagrams_leaves_a_terminal_as_it_was() {
    let server = Program::start(
        "chat-udp",
        &["server", "--listen", "127.0.0.1", "--port", "0"],
    );
    let line = server.hear("* listening on 127.0.0.1:");
    let (_, port) = line.rsplit_once(':').unwrap();
    let args = ["client", "127.0.0.1", "--port", port, "--name", "alice"];
    let mut alice = Terminal::run("chat-udp", &args);
    alice.see("* you are alice");
    alice.see_editor();
    alice.press("$dance\r");
    alice.see("* unknown command");
    server.signal("TERM");
    alice.see("* the server shuts down: goodbye");
    alice.see("ended the chat\r\n");
    assert_eq!(alice.child.wait().unwrap().code(), Some(7));
    assert!(alice.echoes());
}
