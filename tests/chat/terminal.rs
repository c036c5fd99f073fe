//! The client on a terminal: line editing, incoming lines above the prompt, and a terminal that is
//! left as it was found.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use assert_cmd::cargo::cargo_bin;
use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};

use crate::support::{PATIENCE, Server};

/// A client whose stdin, stdout and stderr are one pseudo-terminal.
struct Terminal {
    child: Child,
    keys: File,
    shown: mpsc::Receiver<Vec<u8>>,
    seen: String,
    /// Kept open, so that the terminal can be looked at after the client has ended.
    line: OwnedFd,
}

impl Terminal {
    fn start(server: &Server, args: &[&str]) -> Self {
        let pty = openpty(None, None).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = Command::new(cargo_bin("chat-client"))
            .args(["127.0.0.1", "--port", &server.address.port().to_string()])
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
            line: pty.slave,
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn see(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.shown.recv_timeout(left) else {
                panic!("no `{text}` on the terminal: {:?}", self.seen);
            };
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    /// Whether keys are echoed by the kernel: line editors switch that off.
    fn echoes(&self) -> bool {
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
    alice.press("half a li");
    alice.see("half a li");
    assert!(!alice.echoes(), "the line editor is at work");
    server.program.say("close");
    alice.see("* the server shuts down: goodbye");
    alice.see("closed the connection\r\n");
    assert_eq!(alice.child.wait().unwrap().code(), Some(7));
    assert!(alice.echoes());
}
