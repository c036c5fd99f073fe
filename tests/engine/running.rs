//! A `rig` that goes on while a test does something to it.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::with_environment;

/// The longest that anything a test waits for may take: images may be made before it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);

/// Time between two looks at something that has no event.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// A running `rig`; killed when a test fails before it has ended.
pub(crate) struct Running {
    child: Child,
    stderr: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = with_environment(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let told = Arc::clone(&stderr);
        let reader = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                writeln!(told.lock().unwrap(), "{line}").unwrap();
            }
        });
        Self {
            child,
            stderr,
            reader: Some(reader),
        }
    }

    /// What it has said on stderr so far.
    pub(crate) fn said(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until it has said something on stderr.
    pub(crate) fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.said().contains(text) {
            assert!(Instant::now() < deadline, "no `{text}`:\n{}", self.said());
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() || self.said().contains(text),
                "{}",
                self.said()
            );
            thread::sleep(PAUSE);
        }
    }

    /// Sends it a signal by `kill -NAME`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for its end, and gives what it said on stdout and stderr.
    pub(crate) fn end(&mut self, within: Duration) -> (ExitStatus, String, String) {
        let deadline = Instant::now() + within;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it goes on:\n{}", self.said());
            thread::sleep(PAUSE);
        };
        let mut stdout = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut stdout)
            .unwrap();
        self.reader.take().unwrap().join().unwrap();
        (status, stdout, self.said())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Orderly, so that nothing stays on the engine; then for sure.
            self.signal("INT");
            let deadline = Instant::now() + Duration::from_secs(30);
            while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
                thread::sleep(PAUSE);
            }
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}
