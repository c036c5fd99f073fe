//! Lines to a terminal or a pipe, written by a thread of their own: a reader that stalls keeps the
//! client from receiving, but not from sending or leaving.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self as blocking, RecvTimeoutError};
use std::time::Duration;

use rustyline::ExternalPrinter;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// So many lines may wait to be shown before no more are received.
const LINES_WAITING: usize = 64;

/// How long each of the last lines may take to be shown.
const LAST_LINES_WAIT: Duration = Duration::from_secs(1);

/// Nets to nothing on a terminal when a line end follows: one line up, one line down.
const NOTHING_SHOWN: &str = "\u{1b}[A";

/// Where received lines go.
#[derive(Debug)]
pub struct Screen {
    lines: mpsc::Sender<String>,
    /// Lines that were shown.
    shown: Arc<AtomicU64>,
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
        let shown = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&shown);
        std::thread::spawn(move || {
            while let Some(line) = received.blocking_recv() {
                // Nobody can see the lines any more: the rest goes nowhere.
                if print(&line).is_err() {
                    received.close();
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            for line in at_end {
                // An editor that is gone has nothing left to show.
                let _ = print(line);
            }
            let _ = told.send(());
        });
        Self { lines, shown, done }
    }

    /// Waits for room for one line. None when nobody can see it: stdout is closed.
    pub async fn room(&self) -> Option<mpsc::Permit<'_, String>> {
        self.lines.reserve().await.ok()
    }

    /// Whether there is no room for a line at present, though somebody may see it.
    pub fn is_full(&self) -> bool {
        !self.lines.is_closed() && self.lines.capacity() == 0
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

    /// Waits until the last lines are shown, as long as each of them is within a moment.
    pub fn finish(self) {
        let Self { lines, shown, done } = self;
        drop(lines);
        // No more come, so that there are only so many rounds.
        let mut before = shown.load(Ordering::Relaxed);
        while done.recv_timeout(LAST_LINES_WAIT) == Err(RecvTimeoutError::Timeout) {
            let now = shown.load(Ordering::Relaxed);
            if now == before {
                return;
            }
            before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread::sleep;

    use super::*;

    #[tokio::test]
    async fn the_last_lines_are_waited_for_as_long_as_each_comes_in_time() {
        const LINES: u32 = 4;
        let seen = Arc::new(Mutex::new(0));
        let count = Arc::clone(&seen);
        let screen = Screen::of(move |_| {
            // Longer than is waited for one of them, all in all.
            sleep(LAST_LINES_WAIT * 2 / 5);
            *count.lock().unwrap() += 1;
            Ok(())
        });
        for _ in 0..LINES {
            assert!(screen.show("ciao".to_owned(), LAST_LINES_WAIT).await);
        }
        screen.finish();
        assert_eq!(*seen.lock().unwrap(), LINES);
    }
}
