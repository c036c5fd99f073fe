//! The operator: words typed on stdin, and what the operator sees on stdout.

use std::io::{self, Read, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self as blocking, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::framing::{Decoder, Frame};

/// What the operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// `stop`: in a room no more newcomers; one to one, an end to the present connection.
    Stop,
    /// `close`: an end to everything.
    Close,
    /// Anything else is said to the client or the room.
    Say(String),
}

impl From<String> for Word {
    fn from(line: String) -> Self {
        match line.trim() {
            "stop" => Self::Stop,
            "close" => Self::Close,
            _ => Self::Say(line),
        }
    }
}

/// So many words may wait to be acted upon; then stdin is read no further for the moment.
const WORDS_WAITING: usize = 16;

/// The longest line an operator can type, in bytes.
const MAX_LINE_BYTES: usize = 4096;

/// Reads words from `input` on a thread of its own (a read of stdin cannot be cancelled).
///
/// The channel closes at the end of `input`, and nothing else happens then: a server without a
/// terminal goes on until it is signalled.
pub fn words(input: impl Read + Send + 'static) -> mpsc::Receiver<Word> {
    let (sender, receiver) = mpsc::channel(WORDS_WAITING);
    std::thread::spawn(move || {
        // A closed channel means that the server has ended.
        for_each_line(input, MAX_LINE_BYTES, |line| {
            sender.blocking_send(line.into()).is_ok()
        });
    });
    receiver
}

/// Calls `use_line` for each line of `input`, made harmless, until it returns false or the input
/// ends. A line over `max_bytes` is left out, with a warning.
pub(crate) fn for_each_line(
    mut input: impl Read,
    max_bytes: usize,
    mut use_line: impl FnMut(String) -> bool,
) {
    let mut decoder = Decoder::new(max_bytes);
    let mut bytes = [0; 4096];
    let mut ended = false;
    while !ended {
        match input.read(&mut bytes) {
            Ok(n) => {
                ended = n == 0;
                decoder.push(&bytes[..n]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::warn!("failed to read stdin: {error}");
                ended = true;
            }
        }
        let mut next = || match decoder.take() {
            None if ended => decoder.flush(),
            frame => frame,
        };
        while let Some(frame) = next() {
            let go_on = match frame {
                Frame::Message(line) => use_line(line),
                Frame::TooLong => {
                    tracing::warn!("a line over {max_bytes} bytes on stdin was left out");
                    true
                }
            };
            if !go_on {
                return;
            }
        }
    }
}

/// Lines for the operator, printed by a thread of their own: a stdout that nobody reads delays
/// neither the room nor its end.
#[derive(Debug, Clone)]
pub struct Console {
    blocks: blocking::Sender<Block>,
    counts: Arc<Counts>,
}

/// Lines that are printed together, each with its line end.
#[derive(Debug, Default)]
pub struct Block {
    text: String,
    lines: usize,
}

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicUsize,
    lost: AtomicUsize,
}

/// The thread that prints; see [`Printing::finish`].
#[derive(Debug)]
pub struct Printing {
    done: blocking::Receiver<()>,
    counts: Arc<Counts>,
}

/// When so many lines wait to be printed, further ones are counted and left out.
const LINES_WAITING: usize = 4096;

/// How long a stdout may take nothing at the end of the program, and how long the last lines may take in all.
const LAST_LINES_WAIT: Duration = Duration::from_millis(200);
const LAST_LINES_LIMIT: Duration = Duration::from_secs(2);

impl Console {
    /// A console that prints on stdout.
    pub fn stdout() -> (Self, Printing) {
        let (blocks, received) = blocking::channel::<Block>();
        let (done, printed) = blocking::channel();
        let counts = Arc::new(Counts::default());
        let counter = Arc::clone(&counts);
        std::thread::spawn(move || {
            // An error means that nobody can see the lines: they go nowhere from here on.
            let _ = print_all(&received, &counter);
            for _unseen in received {}
            let _ = done.send(());
        });
        let printing = Printing {
            done: printed,
            counts: Arc::clone(&counts),
        };
        (Self { blocks, counts }, printing)
    }

    /// A console of a server without an operator.
    pub fn none() -> Self {
        Self {
            blocks: blocking::channel().0,
            counts: Arc::default(),
        }
    }

    /// Shows a line, unless too many wait already.
    pub fn show(&self, line: impl AsRef<str>) {
        let mut block = Block::default();
        block.push(line.as_ref());
        self.show_block(block);
    }

    /// Shows several lines, unless too many wait already.
    pub fn show_block(&self, block: Block) {
        let Counts { waiting, lost } = &*self.counts;
        let lines = block.lines;
        if waiting.fetch_add(lines, Ordering::Relaxed) >= LINES_WAITING
            || self.blocks.send(block).is_err()
        {
            waiting.fetch_sub(lines, Ordering::Relaxed);
            lost.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

impl Block {
    /// Adds a line.
    pub fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.lines += 1;
    }

    /// How many lines it has.
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.lines == 0
    }
}

impl Printing {
    /// Waits for the last lines, as long as they are read. Every [`Console`] must be gone by then.
    pub fn finish(self) {
        let deadline = Instant::now() + LAST_LINES_LIMIT;
        let waiting = || self.counts.waiting.load(Ordering::Relaxed);
        let mut before = waiting();
        while self.done.recv_timeout(LAST_LINES_WAIT) == Err(RecvTimeoutError::Timeout) {
            let now = waiting();
            if now == before || Instant::now() >= deadline {
                return;
            }
            before = now;
        }
    }
}

fn print_all(blocks: &blocking::Receiver<Block>, counts: &Counts) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for block in blocks {
        out.write_all(block.text.as_bytes())?;
        counts.waiting.fetch_sub(block.lines, Ordering::Relaxed);
        match counts.lost.swap(0, Ordering::Relaxed) {
            0 => {}
            n => writeln!(
                out,
                "* {n} lines were not shown: stdout was not read fast enough"
            )?,
        }
        out.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn words_are_told_from_what_is_said() {
        let mut words = words(&b"ciao\n\n stop \r\nclose\nclose it\nlast"[..]);
        let say = |text: &str| Word::Say(text.to_owned());
        let mut seen = Vec::new();
        while let Some(word) = words.recv().await {
            seen.push(word);
        }
        assert_eq!(
            seen,
            [
                say("ciao"),
                Word::Stop,
                Word::Close,
                say("close it"),
                say("last")
            ]
        );
    }

    #[test]
    fn a_line_cut_over_reads_is_one_line() {
        let input = b"on".chain(&b"e\ntw"[..]).chain(&b"o"[..]);
        let mut lines = Vec::new();
        for_each_line(input, 100, |line| {
            lines.push(line);
            true
        });
        assert_eq!(lines, ["one", "two"]);
    }
}
