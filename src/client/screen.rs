//! Lines to a terminal or a pipe, written by a thread of their own: a reader that stalls keeps the
//! client from receiving, but not from sending or leaving.

use std::io::{self, Write as _};
use std::sync::mpsc as blocking;
use std::time::Duration;

use rustyline::ExternalPrinter;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// So many lines may wait to be shown before no more are received.
const LINES_WAITING: usize = 64;

/// How long the last lines may take to be shown.
const LAST_LINES_WAIT: Duration = Duration::from_secs(1);

/// Nets to nothing on a terminal when a line end follows: one line up, one line down.
const NOTHING_SHOWN: &str = "\u{1b}[A";

/// Where received lines go.
#[derive(Debug)]
pub struct Screen {
    lines: mpsc::Sender<String>,
    done: blocking::Receiver<()>,
}

impl Screen {
    /// Plain lines on stdout, each flushed.
    pub fn pipe() -> Self {
        let print = |line: &str| {
            let mut out = io::stdout().lock();
            writeln!(out, "{line}")?;
            out.flush()
        };
        Self::of(print)
    }

    /// Lines handed to `print`, each once the one before it was taken; an error of `print` means that
    /// nobody sees lines any more.
    pub fn of(print: impl FnMut(&str) -> io::Result<()> + Send + 'static) -> Self {
        Self::with(print, &[])
    }

    /// Lines above the prompt of a line editor.
    ///
    /// The printer only hands a line on to the editor's thread, one at a time. So at the end two
    /// more that show nothing are handed on: when the first of them is taken the last line was
    /// shown.
    pub fn terminal(mut printer: impl ExternalPrinter + Send + 'static) -> Self {
        let print = move |line: &str| {
            printer
                .print(format!("{line}\n"))
                .map_err(|_| io::ErrorKind::BrokenPipe.into())
        };
        Self::with(print, &[NOTHING_SHOWN; 2])
    }

    /// Lines that `print` shows one by one, and then those `at_end`.
    pub(super) fn with(
        mut print: impl FnMut(&str) -> io::Result<()> + Send + 'static,
        at_end: &'static [&'static str],
    ) -> Self {
        let (lines, mut received) = mpsc::channel::<String>(LINES_WAITING);
        let (told, done) = blocking::channel();
        std::thread::spawn(move || {
            while let Some(line) = received.blocking_recv() {
                // Nobody can see the lines any more: the rest goes nowhere.
                if print(&line).is_err() {
                    received.close();
                }
            }
            for line in at_end {
                // An editor that is gone has nothing left to show.
                let _ = print(line);
            }
            let _ = told.send(());
        });
        Self { lines, done }
    }

    /// Waits for room for one line. None when nobody can see it: stdout is closed.
    pub async fn room(&self) -> Option<mpsc::Permit<'_, String>> {
        self.lines.reserve().await.ok()
    }

    /// Shows `line` if there is room for it within `patience`; false when nobody will see it.
    pub async fn show(&self, line: String, patience: Duration) -> bool {
        match timeout(patience, self.lines.reserve()).await {
            Ok(Ok(permit)) => {
                permit.send(line);
                true
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Waits a moment until the last lines are shown.
    pub fn finish(self) {
        drop(self.lines);
        // Past the time there is nothing more to be done for them.
        let _ = self.done.recv_timeout(LAST_LINES_WAIT);
    }
}
