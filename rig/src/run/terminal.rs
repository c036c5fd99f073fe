//! A program's terminal: what is drawn on it becomes lines, as they appear on the screen.
//!
//! A program on a terminal draws: it moves the cursor, wipes, writes over what is there. What a
//! person sees is the screen, so the screen is kept, and a line of it that was not there before is a
//! line that the program printed. Rows that only moved, as all do when a view scrolls, are none. A row
//! is divided at vertical lines such as `│`, so that what stands in one column is told from what
//! stands in the next.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::backend::OutputChunk;
use crate::plan::Stream;
use crate::units::TerminalSize;

/// Pieces of text that may wait to be read.
const QUEUE: usize = 256;

/// A picture is drawn in pieces: it is looked at when nothing more has come for this time,
const QUIET: Duration = Duration::from_millis(10);

/// or after this time, where something comes all the time.
const LONGEST: Duration = Duration::from_millis(100);

/// Rows that may scroll off the screen before they are looked at.
const SCROLLED_ROWS: usize = 1000;

/// What is written before rows that scrolled off are looked at, in bytes: each can be a line end.
const PIECE_BYTES: usize = SCROLLED_ROWS / 2;

/// What divides a row.
const VERTICAL_LINES: [char; 3] = ['│', '┃', '║'];

/// Turns what a program writes to its terminal into the lines that appear there.
pub(super) fn watch(
    size: TerminalSize,
    mut output: mpsc::Receiver<OutputChunk>,
) -> mpsc::Receiver<OutputChunk> {
    let (sender, lines) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let mut screen = Screen::new(size);
        while let Some(chunk) = output.recv().await {
            let mut at = chunk.at;
            screen.write(&chunk.bytes);
            let longest = Instant::now() + LONGEST;
            loop {
                let until = longest.min(Instant::now() + QUIET);
                let Ok(Some(chunk)) = timeout_at(until, output.recv()).await else {
                    break;
                };
                at = chunk.at;
                screen.write(&chunk.bytes);
            }
            let bytes = screen.news();
            if bytes.is_empty() {
                continue;
            }
            let chunk = OutputChunk {
                at,
                stream: Stream::Stdout,
                bytes,
            };
            if sender.send(chunk).await.is_err() {
                return;
            }
        }
    });
    lines
}

/// A screen, and what was seen on it.
struct Screen {
    parser: vt100::Parser,
    /// The rows at the last look, of the usual screen and of the alternate one.
    seen: [Vec<Row>; 2],
    /// Lines that appeared since they were asked for last, each with its end.
    news: Vec<u8>,
}

/// A row of a screen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    /// What stands between vertical lines.
    parts: Vec<String>,
    /// Whether its line goes on in the next row, since it was too long for the screen.
    goes_on: bool,
}

impl Screen {
    fn new(size: TerminalSize) -> Self {
        Self {
            parser: vt100::Parser::new(size.rows, size.columns, SCROLLED_ROWS),
            seen: [Vec::new(), Vec::new()],
            news: Vec::new(),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.parser.process(piece);
            // What scrolls off further would not be seen any more.
            if self.parser.screen().scrollback_len() >= PIECE_BYTES {
                self.look(Extent::Scrolled);
            }
        }
    }

    /// The lines that appeared since the last call, each with its end.
    fn news(&mut self) -> Vec<u8> {
        self.look(Extent::All);
        std::mem::take(&mut self.news)
    }

    fn look(&mut self, extent: Extent) {
        let mut rows = self.scrolled();
        let scrolled = rows.len();
        let screen = self.parser.screen_mut();
        screen.clear_scrollback();
        let seen = &mut self.seen[usize::from(screen.alternate_screen())];
        rows.extend(rows_in_view(screen));
        let new = New::of(seen, &rows);
        let end = match extent {
            Extent::All => rows.len(),
            Extent::Scrolled => scrolled,
        };
        for line in new.lines(&rows, end) {
            self.news.extend_from_slice(line.as_bytes());
            self.news.push(b'\n');
        }
        // What is left for the next look must be new then.
        for (row, number) in rows.iter_mut().zip(0..).skip(end) {
            let parts = row.parts.iter_mut().zip(&new.0);
            parts
                .filter(|(_, new)| new[number])
                .for_each(|(part, _)| part.clear());
        }
        *seen = rows.split_off(scrolled);
    }

    /// The rows above the screen, the oldest first.
    fn scrolled(&mut self) -> Vec<Row> {
        let screen = self.parser.screen_mut();
        let mut rows = Vec::new();
        let mut left = screen.scrollback_len();
        while left > 0 {
            screen.set_scrollback(left);
            let mut view = rows_in_view(screen);
            view.truncate(left);
            left -= view.len();
            rows.extend(view);
        }
        screen.set_scrollback(0);
        rows
    }
}

fn rows_in_view(screen: &vt100::Screen) -> Vec<Row> {
    let (_, columns) = screen.size();
    let rows = screen.rows(0, columns.get()).zip(0..);
    rows.map(|(text, number)| Row {
        parts: text
            .split(VERTICAL_LINES)
            .map(|part| part.trim_end().to_owned())
            .collect(),
        goes_on: screen.row_wrapped(number),
    })
    .collect()
}

/// How far to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// At everything.
    All,
    /// Only at what has scrolled off: the rest is being drawn.
    Scrolled,
}

/// What is new, by column and row.
struct New(Vec<Vec<bool>>);

impl New {
    fn of(before: &[Row], rows: &[Row]) -> Self {
        let columns = rows.iter().map(|row| row.parts.len()).max().unwrap_or(0);
        let columns = 0..columns;
        Self(columns.map(|column| added(before, rows, column)).collect())
    }

    /// The new lines that begin in the first `end` rows, in order.
    fn lines(&self, rows: &[Row], end: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let mut number = 0;
        while let Some(row) = rows[..end].get(number) {
            let first = number;
            number += 1;
            if row.parts.len() > 1 {
                let parts = row.parts.iter().zip(&self.0).filter(|(_, new)| new[first]);
                lines.extend(parts.map(|(part, _)| part.trim().to_owned()));
                continue;
            }
            // A line that is longer than the screen is wide is one line.
            let single = |row: &Row| row.parts.len() == 1;
            while rows[number - 1].goes_on && rows[..end].get(number).is_some_and(single) {
                number += 1;
            }
            if self.0[0][first..number].contains(&true) {
                let parts = rows[first..number].iter().map(|row| row.parts[0].as_str());
                lines.push(parts.collect::<String>().trim().to_owned());
            }
        }
        lines
    }
}

/// Which rows have something in a column that was not there before. The longest common subsequence is
/// what was there, so that rows that moved are not new, and a text that comes again is.
fn added(before: &[Row], rows: &[Row], column: usize) -> Vec<bool> {
    let texts = |rows: &[Row]| -> Vec<(usize, String)> {
        let parts = rows.iter().map(|row| row.parts.get(column));
        let texts = parts.map(|part| part.map_or("", |part| part.trim()).to_owned());
        texts
            .enumerate()
            .filter(|(_, text)| !text.is_empty())
            .collect()
    };
    let (old, now) = (texts(before), texts(rows));
    // common[i][j]: length of the longest common subsequence of old[i..] and now[j..].
    let mut common = vec![vec![0_u32; now.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..now.len()).rev() {
            common[i][j] = if old[i].1 == now[j].1 {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let mut added = vec![false; rows.len()];
    let (mut i, mut j) = (0, 0);
    while let Some((row, text)) = now.get(j) {
        if old.get(i).is_some_and(|(_, was)| was == text) {
            (i, j) = (i + 1, j + 1);
        } else if i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            i += 1;
        } else {
            added[*row] = true;
            j += 1;
        }
    }
    added
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;

    fn screen(size: &str) -> Screen {
        Screen::new(size.parse().unwrap())
    }

    /// The lines that appear as `text` is written.
    fn lines(screen: &mut Screen, text: &str) -> Vec<String> {
        screen.write(text.as_bytes());
        let news = String::from_utf8(screen.news()).unwrap();
        news.lines().map(str::to_owned).collect()
    }

    #[test]
    fn printed_lines_appear_once_however_far_they_scroll() {
        let mut screen = screen("20x4");
        let all: Vec<_> = (0..5000).map(|n| format!("line {n}\r\n")).collect();
        let seen = lines(&mut screen, &all.concat());
        assert_eq!(seen.len(), 5000);
        assert_eq!(seen[4999], "line 4999");
        assert_eq!(lines(&mut screen, "more\r\n"), ["more"]);
        assert_eq!(lines(&mut screen, "more\r\n"), ["more"], "it came again");
    }

    #[test]
    fn a_line_longer_than_the_screen_is_one_line() {
        let mut screen = screen("10x4");
        let long = "a line that takes several rows";
        assert_eq!(lines(&mut screen, long), [long]);
        assert_eq!(
            lines(&mut screen, " and more"),
            [format!("{long} and more")]
        );
        assert_eq!(
            lines(&mut screen, "\r\nx\r\ny"),
            ["x", "y"],
            "its rest is not new"
        );
    }

    #[test]
    fn what_is_drawn_over_is_new_and_what_moved_is_not() {
        let mut screen = screen("20x5");
        let draw = |rows: &[&str]| {
            let rows = rows.iter().enumerate();
            let rows = rows.map(|(n, row)| format!("\u{1b}[{};1H\u{1b}[K{row}", n + 1));
            rows.collect::<Vec<_>>().concat()
        };
        let first = draw(&["one", "two", "three", "> "]);
        assert_eq!(lines(&mut screen, &first), ["one", "two", "three", ">"]);
        let scrolled = draw(&["two", "three", "one", "> x"]);
        assert_eq!(lines(&mut screen, &scrolled), ["one", "> x"]);
    }

    #[test]
    fn columns_are_told_apart() {
        let mut screen = screen("30x3");
        let first = "\u{1b}[Hbob: ciao │ alice\u{1b}[2;1Hbob: again │ bob";
        let seen = lines(&mut screen, first);
        assert_eq!(seen, ["bob: ciao", "alice", "bob: again", "bob"]);
        // One column scrolls, the other does not.
        let second = "\u{1b}[Hbob: again │ alice\u{1b}[2;1Hcarol: me  │ bob";
        assert_eq!(lines(&mut screen, second), ["carol: me"]);
    }

    #[test]
    fn a_screen_that_comes_back_is_not_new() {
        let mut screen = screen("20x3");
        assert_eq!(lines(&mut screen, "$ program\r\n"), ["$ program"]);
        let full = "\u{1b}[?1049h\u{1b}[2J\u{1b}[Hdrawn\u{1b}[?1049l";
        assert_eq!(lines(&mut screen, full), [""; 0], "nobody can have seen it");
        assert_eq!(lines(&mut screen, "\u{1b}[?1049h\u{1b}[Hdrawn"), ["drawn"]);
        assert_eq!(lines(&mut screen, "\u{1b}[?1049lbye\r\n"), ["bye"]);
    }

    #[test]
    fn hostile_output_is_only_text() {
        let mut screen = screen("40x4");
        let seen = lines(
            &mut screen,
            "\u{1b}]0;title\u{7}\u{1b}[31mred\u{1b}[0m\0\u{8}\u{9b}5n",
        );
        assert!(
            seen.iter().all(|line| !line.contains(char::is_control)),
            "{seen:?}"
        );
        let mut noise = Vec::new();
        for n in 0..100_000_u32 {
            noise.push(n.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
        }
        screen.write(&noise);
        screen.news();
    }

    #[tokio::test(start_paused = true)]
    async fn a_picture_that_comes_in_pieces_is_one_picture() {
        let (sender, output) = mpsc::channel(4);
        let mut lines = watch("20x3".parse().unwrap(), output);
        for piece in ["bob: ci", "ao"] {
            let chunk = OutputChunk {
                at: Timestamp(1),
                stream: Stream::Stdout,
                bytes: piece.into(),
            };
            sender.send(chunk).await.unwrap();
        }
        drop(sender);
        assert_eq!(lines.recv().await.unwrap().bytes, b"bob: ciao\n");
        assert!(lines.recv().await.is_none());
    }
}
