//! A server, and what the kernel tells of it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use chat::text;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::soak::PATIENCE;

/// Time between two looks at what the kernel cannot be waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A running server; killed at the end.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) stdin: Option<ChildStdin>,
    child: Mutex<Child>,
    /// Reads its stdout to the end, and fails at what is not harmless.
    reader: Option<JoinHandle<()>>,
    /// Open descriptors before anybody came.
    descriptors: usize,
    /// Lines on stdout that are wanted.
    wanted: Arc<Mutex<Option<Wanted>>>,
}

/// Whose lines are wanted, and where they go.
struct Wanted {
    is: fn(&str) -> bool,
    to: mpsc::UnboundedSender<String>,
}

impl Subject {
    /// Starts one of this package's servers on a free port of loopback.
    pub(crate) fn start(program: &str, args: &[&str]) -> Self {
        let mut child = Command::new(cargo_bin(program))
            .args(args)
            .args(["--listen", "127.0.0.1", "--port", "0"])
            // A log of every hostile connection would measure the log.
            .env("CHAT_LOG", "error")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = out.next().unwrap().unwrap();
        let (_, address) = first.rsplit_once(' ').unwrap();
        let wanted: Arc<Mutex<Option<Wanted>>> = Arc::default();
        let listener = Arc::clone(&wanted);
        let reader = std::thread::spawn(move || {
            for line in out {
                let line = line.expect("valid UTF-8 on stdout");
                assert_harmless(&line);
                if let Some(wanted) = &*listener.lock().unwrap()
                    && (wanted.is)(&line)
                {
                    wanted.to.send(line).ok();
                }
            }
        });
        let mut subject = Self {
            name: format!("{program} {}", args.join(" "))
                .trim_end()
                .to_owned(),
            address: address.parse().unwrap(),
            stdin: child.stdin.take(),
            reader: Some(reader),
            descriptors: 0,
            child: Mutex::new(child),
            wanted,
        };
        subject.descriptors = subject.open_descriptors();
        subject
    }

    /// The lines on stdout that `is` wants, from now on.
    pub(crate) fn lines(&self, is: fn(&str) -> bool) -> mpsc::UnboundedReceiver<String> {
        let (to, lines) = mpsc::unbounded_channel();
        *self.wanted.lock().unwrap() = Some(Wanted { is, to });
        lines
    }

    /// Fails where the server has ended, or has printed what it should not.
    pub(crate) fn assert_running(&self) {
        let reads = self
            .reader
            .as_ref()
            .is_some_and(|reader| !reader.is_finished());
        assert!(reads, "{}: its stdout is closed or not harmless", self.name);
        let ended = self.child.lock().unwrap().try_wait().unwrap();
        assert!(ended.is_none(), "{} has ended: {ended:?}", self.name);
    }

    /// A figure of `/proc/PID/status`, in KiB.
    pub(crate) fn memory_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// How many descriptors it has open.
    pub(crate) fn open_descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// Waits until it has no more descriptors open than before anybody came.
    pub(crate) async fn gives_back(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let open = self.open_descriptors();
            if open <= self.descriptors {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{} keeps {open} descriptors, {} at first",
                self.name,
                self.descriptors
            );
            sleep(LOOK_EVERY).await;
        }
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.lock().unwrap().id())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
        let read = self.reader.take().map(JoinHandle::join);
        if let Some(Err(panic)) = read
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Fails where a line would move a terminal.
pub(crate) fn assert_harmless(line: &str) {
    assert!(
        !line.contains(text::acts_on_terminal),
        "not made harmless: {line:?}"
    );
}
