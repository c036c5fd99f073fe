//! Programs and connections that end with their test.

use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;

/// No event that a test waits for takes longer, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running program with its lines. Killed at the end of the test.
pub(crate) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
}

impl Program {
    /// Starts one of this package's programs with its stdin open.
    pub(crate) fn start(name: &str, args: &[&str]) -> Self {
        let mut child = Command::new(cargo_bin(name))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take(),
            stdout: lines(child.stdout.take().unwrap()),
            stderr: lines(child.stderr.take().unwrap()),
            child,
        }
    }

    /// Types a line.
    pub(crate) fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Types all of `lines`, on a thread of its own as the program need not read them at once, and ends its stdin.
    pub(crate) fn type_all(&mut self, lines: impl Iterator<Item = String> + Send + 'static) {
        let mut stdin = self.stdin.take().expect("stdin is open");
        thread::spawn(move || {
            for line in lines {
                // A program that has ended reads no more.
                if stdin.write_all(format!("{line}\n").as_bytes()).is_err() {
                    return;
                }
            }
        });
    }

    /// Ends its stdin.
    pub(crate) fn end_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits for a line on stdout that contains `text`, and returns it.
    pub(crate) fn hear(&self, text: &str) -> String {
        wait_for(&self.stdout, text, "stdout")
    }

    /// Waits for a line on stderr that contains `text`, and returns it.
    pub(crate) fn log(&self, text: &str) -> String {
        wait_for(&self.stderr, text, "stderr")
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill")
            .args(["-s", signal, &id])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the program did not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end and returns the exit code and all of stdout and stderr not heard yet.
    pub(crate) fn outcome(mut self) -> (i32, String, String) {
        let code = self.ended().code().expect("ended by itself");
        let rest = |lines: &mpsc::Receiver<String>| lines.iter().collect::<Vec<_>>().join("\n");
        (code, rest(&self.stdout), rest(&self.stderr))
    }

    /// Whether it is running.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn wait_for(lines: &mpsc::Receiver<String>, text: &str, what: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) if line.contains(text) => return line,
            Ok(line) => seen.push(line),
            Err(error) => panic!("no `{text}` on {what} ({error}); seen: {seen:#?}"),
        }
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// A server on a free port of loopback.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut all = vec!["--listen", "127.0.0.1", "--port", "0"];
        all.extend(args);
        let program = Program::start("chat-server", &all);
        let line = program.hear("* listening on ");
        let address = line.trim_start_matches("* listening on ").parse().unwrap();
        Self { program, address }
    }

    /// A bare connection to it.
    pub(crate) fn connect(&self) -> Wire {
        Wire::new(TcpStream::connect(self.address).unwrap())
    }

    /// A bare connection that is in the room as `name`.
    pub(crate) fn join(&self, name: &str) -> Wire {
        let mut wire = self.connect();
        wire.send(format!("{name}\n"));
        wire.hear(&format!("* you are {name}"));
        wire
    }

    /// A client on a pipe.
    pub(crate) fn client(&self, args: &[&str]) -> Program {
        client(self.address, args)
    }
}

/// A client on a pipe that talks to `address`.
pub(crate) fn client(address: SocketAddr, args: &[&str]) -> Program {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut all = vec![host.as_str(), "--port", port.as_str()];
    all.extend(args);
    Program::start("chat-client", &all)
}

/// A bare connection, as netcat's.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    received: BufReader<TcpStream>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let received = BufReader::new(stream.try_clone().unwrap());
        Self { stream, received }
    }

    /// Sends bytes as they are, in one segment.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// The next line; none at the server's FIN.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let n = self
            .received
            .read_until(b'\n', &mut line)
            .expect("a line or the FIN in time");
        (n > 0).then(|| {
            String::from_utf8(line)
                .expect("valid UTF-8")
                .trim_end()
                .to_owned()
        })
    }

    /// Waits for a line that contains `text` and returns it.
    pub(crate) fn hear(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        while let Some(line) = self.line() {
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("the server closed before `{text}`; seen: {seen:#?}");
    }

    /// All lines up to the server's FIN.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }

    /// Sends FIN and goes on receiving.
    pub(crate) fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

/// Whether a new connection to `address` is refused.
pub(crate) fn is_refused(address: SocketAddr) -> bool {
    match TcpStream::connect(address) {
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    }
}

/// An address of loopback that nobody listens on, for the length of a test that is quick.
pub(crate) fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}
