//! The servers under load: ours and that of ncat.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running server; killed at the end.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Whether it asks for a name.
    pub(crate) asks_names: bool,
}

impl Server {
    /// `chat-server` with `places`, on a port that the system chooses.
    pub(crate) fn ours(places: usize) -> Self {
        let places = places.to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
        command
            .args(["--listen", "127.0.0.1", "--port", "0"])
            .args(["--rate", "0", "--backlog", "4096"])
            .args(["--max-connections", &places])
            .env("CHAT_LOG", "warn");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
        // The operator's screen is read on, as a terminal would.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        Self {
            child,
            address,
            asks_names: true,
        }
    }

    /// `ncat --chat` on a port that was free a moment ago.
    ///
    /// # Errors
    /// It cannot be started, or does not listen.
    pub(crate) fn ncat() -> std::io::Result<Self> {
        let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut child = Command::new("ncat")
            .args(["--listen", "--chat", "--verbose", "--max-conns", "1000"])
            .args(["127.0.0.1", &free.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let server = Self {
            child,
            address: free,
            asks_names: false,
        };
        let mut line = String::new();
        while !line.contains("Listening on") {
            line.clear();
            if log.read_line(&mut line)? == 0 {
                return Err(std::io::Error::other("it does not listen"));
            }
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(server)
    }

    /// A figure of `/proc/PID/status`, in KiB.
    pub(crate) fn memory_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The processor time that its threads have taken.
    pub(crate) fn processor_time(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        threads
            .map(|thread| time_on_processor(&thread.unwrap().path().join("schedstat")))
            .sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processor time that the calling thread has taken.
pub(crate) fn own_processor_time() -> Duration {
    time_on_processor("/proc/thread-self/schedstat".as_ref())
}

/// The first figure of a `schedstat` file is a time in nanoseconds.
fn time_on_processor(file: &std::path::Path) -> Duration {
    let figures = std::fs::read_to_string(file).unwrap();
    let nanos = figures.split_whitespace().next().unwrap().parse().unwrap();
    Duration::from_nanos(nanos)
}
