//! When a screen is looked at.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::screen::Screen;
use crate::backend::OutputChunk;
use crate::plan::Stream;
use crate::units::{TerminalSize, Timestamp};

/// Pieces of text that may wait to be read.
const QUEUE: usize = 256;

/// A picture is drawn in pieces: it is glanced at when nothing more has come for this time,
const QUIET: Duration = Duration::from_millis(10);

/// or after this time, where something comes all the time.
const LONGEST: Duration = Duration::from_millis(100);

/// A picture whose program does not say so is complete when nothing more has come for this time: a busy
/// machine may cut one in two for many times as long as [`QUIET`],
const COMPLETE_AFTER: Duration = Duration::from_millis(500);

/// or after this time, where the program never rests.
const COMPLETE_WITHIN: Duration = Duration::from_secs(2);

/// How long a picture that was announced is waited for. Terminals wait less before they show a part of it; here it
/// is a program that was frozen, or forgot to say that it is done.
const ANNOUNCED_FOR: Duration = Duration::from_secs(2);

/// What is seen of a program's terminal.
#[derive(Debug)]
pub(in crate::run) struct Watched {
    /// The lines that appear on it, as if they were printed.
    pub(in crate::run) lines: mpsc::Receiver<OutputChunk>,
    /// Whether the picture is complete, and all lines of it have been taken.
    pub(in crate::run) is_complete: watch::Receiver<bool>,
}

/// Longer than a picture goes on after the last output, or without a rest, whether it was announced or not.
pub(in crate::run) const PICTURE_TAKES: Duration =
    COMPLETE_WITHIN.saturating_add(COMPLETE_AFTER.saturating_mul(2));

/// Turns what a program writes to its terminal into the lines that appear there.
pub(in crate::run) fn watch(size: TerminalSize, output: mpsc::Receiver<OutputChunk>) -> Watched {
    let (sender, lines) = mpsc::channel(QUEUE);
    let (complete, is_complete) = watch::channel(true);
    tokio::spawn(async move {
        let mut watcher = Watcher {
            screen: Screen::new(size),
            output,
            sender,
            complete,
            at: Timestamp(0),
        };
        // Nobody reads the lines any more.
        watcher.run().await.ok();
    });
    Watched { lines, is_complete }
}

/// Nobody reads the lines.
struct Unread;

impl<T> From<mpsc::error::SendError<T>> for Unread {
    fn from(_: mpsc::error::SendError<T>) -> Self {
        Self
    }
}

/// What a wait for output came to.
enum Waited {
    /// Something was written.
    Written,
    /// Nothing came in time.
    Quiet,
    /// Nothing will come any more.
    Ended,
}

struct Watcher {
    screen: Screen,
    output: mpsc::Receiver<OutputChunk>,
    sender: mpsc::Sender<OutputChunk>,
    complete: watch::Sender<bool>,
    /// When the program wrote last.
    at: Timestamp,
}

impl Watcher {
    async fn run(&mut self) -> Result<(), Unread> {
        while let Some(chunk) = self.output.recv().await {
            self.write(chunk).await?;
            if let Waited::Ended = self.picture().await? {
                break;
            }
        }
        self.screen.complete();
        self.tell().await
    }

    /// Follows a picture, of which a piece was written, until it is complete.
    async fn picture(&mut self) -> Result<Waited, Unread> {
        let mut begun = Instant::now();
        loop {
            if let Waited::Ended = self.piece().await? {
                return Ok(Waited::Ended);
            }
            if self.screen.announced().is_some() {
                if let Waited::Ended = self.announced().await? {
                    return Ok(Waited::Ended);
                }
            } else if begun.elapsed() >= COMPLETE_WITHIN {
                self.screen.complete_but_for_the_cursor();
                self.tell().await?;
                begun = Instant::now();
            } else {
                self.screen.glance();
                self.tell().await?;
                match self.written_within(COMPLETE_AFTER).await? {
                    Waited::Written => {}
                    Waited::Quiet => {
                        self.screen.complete();
                        self.tell().await?;
                        return Ok(Waited::Quiet);
                    }
                    Waited::Ended => return Ok(Waited::Ended),
                }
            }
        }
    }

    /// Waits for a short pause.
    async fn piece(&mut self) -> Result<Waited, Unread> {
        let longest = Instant::now() + LONGEST;
        while Instant::now() < longest {
            match self.written_within(QUIET).await? {
                Waited::Written => {}
                paused => return Ok(paused),
            }
        }
        Ok(Waited::Written)
    }

    /// Waits until no picture is announced that is not there, or the one that is has had its time.
    async fn announced(&mut self) -> Result<Waited, Unread> {
        let mut until = Instant::now() + ANNOUNCED_FOR;
        let mut awaited = self.screen.announced();
        while awaited.is_some() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.screen.give_up_waiting();
                break;
            }
            if let Waited::Ended = self.written_within(left).await? {
                return Ok(Waited::Ended);
            }
            let announced = self.screen.announced();
            if announced != awaited {
                awaited = announced;
                until = Instant::now() + ANNOUNCED_FOR;
            }
        }
        Ok(Waited::Written)
    }

    async fn written_within(&mut self, wait: Duration) -> Result<Waited, Unread> {
        match timeout_at(Instant::now() + wait, self.output.recv()).await {
            Ok(Some(chunk)) => {
                self.write(chunk).await?;
                Ok(Waited::Written)
            }
            Ok(None) => Ok(Waited::Ended),
            Err(_) => Ok(Waited::Quiet),
        }
    }

    async fn write(&mut self, chunk: OutputChunk) -> Result<(), Unread> {
        self.complete.send_replace(false);
        self.at = chunk.at;
        self.screen.write(&chunk.bytes);
        self.tell().await
    }

    /// Passes on the lines that have appeared, and says so once a picture is complete.
    async fn tell(&mut self) -> Result<(), Unread> {
        let chunk = |bytes| OutputChunk {
            at: self.at,
            stream: Stream::Stdout,
            bytes,
        };
        let news = self.screen.take_news();
        if !news.is_empty() {
            self.sender.send(chunk(news)).await?;
        }
        if self.screen.is_complete() {
            // When nothing waits to be taken any more, what came before the last piece has been used, too.
            self.sender.send(chunk(Vec::new())).await?;
            self.sender.reserve_many(QUEUE).await?;
            // What waits to be read belongs to the next.
            self.complete.send_replace(self.output.is_empty());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(text: &str) -> OutputChunk {
        OutputChunk {
            at: Timestamp(1),
            stream: Stream::Stdout,
            bytes: text.into(),
        }
    }

    struct Program {
        output: mpsc::Sender<OutputChunk>,
        watched: Watched,
    }

    impl Program {
        fn on(size: &str) -> Self {
            let (sender, output) = mpsc::channel(4);
            Self {
                output: sender,
                watched: watch(size.parse().unwrap(), output),
            }
        }

        async fn write(&self, text: &str) {
            self.output.send(chunk(text)).await.unwrap();
        }

        /// The next lines that are told.
        async fn lines(&mut self) -> Vec<String> {
            loop {
                let bytes = self.watched.lines.recv().await.unwrap().bytes;
                let text = String::from_utf8(bytes).unwrap();
                if !text.is_empty() {
                    return text.lines().map(str::to_owned).collect();
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_comes_in_pieces_is_one_line_however_long_the_pause() {
        let mut program = Program::on("20x3");
        program.write("bob: ci").await;
        tokio::time::sleep(COMPLETE_AFTER / 2).await;
        program.write("ao\r\n").await;
        assert_eq!(program.lines().await, ["bob: ciao"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_is_sure_is_told_before_the_picture_is_complete() {
        let mut program = Program::on("20x3");
        let begun = Instant::now();
        program.write("bob: ciao\r\n> ").await;
        assert_eq!(program.lines().await, ["bob: ciao"]);
        assert_eq!(begun.elapsed(), QUIET);
        assert_eq!(program.lines().await, [">"]);
        assert!(begun.elapsed() >= COMPLETE_AFTER);
    }

    #[tokio::test(start_paused = true)]
    async fn an_announced_picture_is_waited_for_and_told_at_once() {
        let mut program = Program::on("20x3");
        let begun = Instant::now();
        program.write("\u{1b}[?2026hone\r\n").await;
        tokio::time::sleep(COMPLETE_AFTER * 2).await;
        program.write("two\r\n> x\u{1b}[?2026l").await;
        assert_eq!(program.lines().await, ["one", "two"]);
        assert_eq!(begun.elapsed(), COMPLETE_AFTER * 2);
        // What is typed may not be whole.
        assert_eq!(program.lines().await, ["> x"]);
        assert!(begun.elapsed() >= COMPLETE_AFTER * 3);
        // One that never comes is not waited for without end.
        program.write("\u{1b}[?2026h\r\nthree\r\n").await;
        assert_eq!(program.lines().await, ["three"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_never_rests_is_heard_too() {
        let mut program = Program::on("20x4");
        program.write("same\r\n").await;
        assert_eq!(program.lines().await, ["same"]);
        tokio::time::sleep(COMPLETE_AFTER * 2).await;
        let begun = Instant::now();
        let output = program.output.clone();
        tokio::spawn(async move {
            // A text that stands there already, so that it is not sure, and a clock that the cursor stands behind.
            for n in 0.. {
                let text = format!("\u{1b}[3Hsame\u{1b}[2H{n}");
                if output.send(chunk(&text)).await.is_err() {
                    return;
                }
                tokio::time::sleep(QUIET * 2).await;
            }
        });
        assert_eq!(program.lines().await, ["same"]);
        let took = begun.elapsed();
        assert!(took >= COMPLETE_WITHIN, "{took:?}");
        assert!(took < COMPLETE_WITHIN + LONGEST * 2, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_learns_that_a_picture_is_complete_and_taken() {
        let Program {
            output,
            mut watched,
        } = Program::on("20x3");
        assert!(*watched.is_complete.borrow());
        let (taken, has_taken) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Some(chunk) = watched.lines.recv().await {
                // A reader that is slow to use what it takes.
                tokio::task::yield_now().await;
                taken.send_modify(|all| all.extend(chunk.bytes));
            }
        });
        for (text, lines) in [("> ", ">\n"), ("x", ">\n> x\n")] {
            output.send(chunk(text)).await.unwrap();
            let complete = &mut watched.is_complete;
            complete.wait_for(|complete| !complete).await.unwrap();
            complete.wait_for(|complete| *complete).await.unwrap();
            assert_eq!(*has_taken.borrow(), lines.as_bytes());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_announced_picture_that_never_comes_does_not_keep_others_waiting() {
        let mut program = Program::on("20x3");
        let begun = Instant::now();
        program.write("\u{1b}[?2026hone\r\n").await;
        assert_eq!(program.lines().await, ["one"]);
        let took = begun.elapsed();
        assert!(
            took >= ANNOUNCED_FOR && took < ANNOUNCED_FOR + LONGEST,
            "{took:?}"
        );
        // One that is announced again and again, and never there.
        let begun = Instant::now();
        for _ in 0..30 {
            program.write("\u{1b}[?2026h\u{1b}[H\u{1b}[Kx\r\n").await;
            tokio::time::sleep(LONGEST).await;
        }
        assert_eq!(program.lines().await, ["x"]);
        assert!(begun.elapsed() <= LONGEST * 31);
        program.write("\u{1b}[?2026l").await;
        // Many in a row, the next always begun: each has its own time.
        for n in 0..300 {
            program
                .write(&format!(
                    "\u{1b}[?2026h\u{1b}[H\u{1b}[K{n}\r\n\u{1b}[?2026l\u{1b}[?2026h"
                ))
                .await;
            assert_eq!(program.lines().await, [n.to_string()]);
            tokio::time::sleep(LONGEST).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_output_completes_the_picture() {
        let program = Program::on("20x3");
        program.write("bob: ciao").await;
        let Program {
            output,
            mut watched,
        } = program;
        drop(output);
        assert_eq!(watched.lines.recv().await.unwrap().bytes, b"bob: ciao\n");
        while let Some(chunk) = watched.lines.recv().await {
            assert_eq!(chunk.bytes, b"");
        }
    }
}
