//! The lines that are kept, as rows to draw, and what of them is unread.

use std::collections::VecDeque;
use std::ops::Range;

/// So many lines are kept; the oldest go first.
pub const MAX_LINES: usize = 10_000;

/// So much text is kept, in bytes: a few long lines must not cost what many short ones do not.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The longest row, in bytes. A longer line has several: only those in view are laid out.
const MAX_ROW_BYTES: usize = 1024;

/// How far from a row's end a blank is looked for, to part the line there, in bytes.
const BLANK_WITHIN_BYTES: usize = 100;

/// The longest name that a line is split at, in bytes.
const MAX_AUTHOR_BYTES: usize = 64;

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The server sent it.
    Server,
    /// The window says it.
    Window,
}

/// A line of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it comes from.
    pub source: Source,
    /// When it came, as it is shown.
    pub time: String,
    /// The whole line.
    pub text: String,
    /// Whether stdout was told that it was shown.
    told: bool,
    rows: usize,
}

impl Line {
    /// How many bytes of the text are the author's name.
    pub fn author_len(&self) -> Option<usize> {
        let (author, _) = self.text.split_once(": ")?;
        let named = self.source == Source::Server
            && !author.is_empty()
            && author.len() <= MAX_AUTHOR_BYTES
            && !author.contains(' ');
        named.then_some(author.len())
    }

    /// Whether it is a notice and nobody's words.
    pub fn is_notice(&self) -> bool {
        self.source == Source::Window || self.text.starts_with("* ")
    }
}

/// A piece of a line that is laid out as one paragraph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Number of the line.
    pub line: u64,
    /// The piece of its text.
    pub bytes: Range<usize>,
    /// Whether it ends the line.
    pub is_last: bool,
}

/// What was said, as far as it is kept. Lines and rows are numbered from the beginning, also when the
/// first of them are gone.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    lines: VecDeque<Line>,
    first_line: u64,
    rows: VecDeque<Row>,
    first_row: u64,
    bytes: usize,
    unread: Unread,
}

/// What came while the user could not see it.
#[derive(Debug, Clone, Copy, Default)]
struct Unread {
    /// The line that the marker stands above.
    from: Option<u64>,
    count: usize,
}

impl Conversation {
    /// Adds a line at the end and gives its number.
    pub fn push(&mut self, source: Source, time: String, text: String) -> u64 {
        let number = self.end_line();
        let pieces = pieces(&text);
        let rows = pieces.len();
        for (index, bytes) in pieces.into_iter().enumerate() {
            self.rows.push_back(Row {
                line: number,
                bytes,
                is_last: index + 1 == rows,
            });
        }
        self.bytes += text.len();
        self.lines.push_back(Line {
            source,
            time,
            text,
            told: false,
            rows,
        });
        // The newest line stays, however long it is.
        while self.lines.len() > MAX_LINES || (self.bytes > MAX_BYTES && self.lines.len() > 1) {
            self.drop_first();
        }
        number
    }

    fn drop_first(&mut self) {
        if let Some(line) = self.lines.pop_front() {
            self.first_line += 1;
            self.first_row += line.rows as u64;
            self.rows.drain(..line.rows);
            self.bytes -= line.text.len();
        }
    }

    fn end_line(&self) -> u64 {
        self.first_line + self.lines.len() as u64
    }

    /// The line with this number, if it is kept.
    pub fn line(&self, number: u64) -> Option<&Line> {
        self.lines.get(index(number, self.first_line)?)
    }

    /// The row with this number, if it is kept, with its line.
    pub fn row(&self, number: u64) -> Option<(&Row, &Line)> {
        let row = self.rows.get(index(number, self.first_row)?)?;
        Some((row, self.line(row.line)?))
    }

    /// Numbers of the rows that are kept.
    pub fn rows(&self) -> Range<u64> {
        self.first_row..self.first_row + self.rows.len() as u64
    }

    /// The last line that the server sent.
    pub fn last_heard(&self) -> Option<u64> {
        let from_server = |line: &Line| line.source == Source::Server;
        let place = self.lines.iter().rposition(from_server)?;
        Some(self.first_line + place as u64)
    }

    /// Whether stdout has yet to be told that a line was shown.
    pub fn is_untold(&self, number: u64) -> bool {
        self.line(number)
            .is_some_and(|line| !line.told && line.source == Source::Server)
    }

    /// The text of a line that was shown, the first time that this is asked.
    pub fn tell(&mut self, number: u64) -> Option<&str> {
        if !self.is_untold(number) {
            return None;
        }
        let line = self.lines.get_mut(index(number, self.first_line)?)?;
        line.told = true;
        Some(&line.text)
    }

    /// Notes that the user could not see this line come.
    pub fn note_unread(&mut self, line: u64) {
        if self.unread.count == 0 {
            self.unread.from = Some(line);
        }
        self.unread.count += 1;
    }

    /// Notes that the user sees the end of the conversation. The marker stays where it is.
    pub fn note_seen(&mut self) {
        self.unread.count = 0;
    }

    /// Takes the marker away.
    pub fn clear_marker(&mut self) {
        self.unread = Unread::default();
    }

    /// So many lines have not been seen.
    pub fn unread(&self) -> usize {
        self.unread.count
    }

    /// The line that the marker stands above, if it is kept.
    pub fn marker(&self) -> Option<u64> {
        self.unread.from.filter(|&from| from >= self.first_line)
    }
}

fn index(number: u64, first: u64) -> Option<usize> {
    number.checked_sub(first)?.try_into().ok()
}

/// Parts a text where it is too long for one row: at a blank where there is one nearby.
fn pieces(text: &str) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while text.len() - start > MAX_ROW_BYTES {
        let end = text.floor_char_boundary(start + MAX_ROW_BYTES);
        let near = text.floor_char_boundary(end - BLANK_WITHIN_BYTES);
        let end = text[near..end].rfind(' ').map_or(end, |at| near + at + 1);
        pieces.push(start..end);
        start = end;
    }
    pieces.push(start..text.len());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(conversation: &mut Conversation, text: &str) -> u64 {
        conversation.push(Source::Server, "12:00".to_owned(), text.to_owned())
    }

    #[test]
    fn a_bounded_number_of_lines_is_kept_under_their_numbers() {
        let mut conversation = Conversation::default();
        for n in 0..MAX_LINES + 10 {
            assert_eq!(said(&mut conversation, &format!("alice: {n}")), n as u64);
        }
        assert_eq!(conversation.line(9), None);
        assert_eq!(conversation.line(10).unwrap().text, "alice: 10");
        assert_eq!(conversation.rows(), 10..10 + MAX_LINES as u64);
        let (row, line) = conversation.row(11).unwrap();
        assert_eq!((row.line, line.text.as_str()), (11, "alice: 11"));
    }

    #[test]
    fn long_lines_are_bounded_together_and_the_newest_stays() {
        let mut conversation = Conversation::default();
        for _ in 0..300 {
            said(&mut conversation, &"x".repeat(64 * 1024));
        }
        assert!(conversation.bytes <= MAX_BYTES);
        assert!(conversation.rows.len() <= MAX_BYTES / MAX_ROW_BYTES);
        let last = said(&mut conversation, &"é".repeat(MAX_BYTES));
        assert_eq!(conversation.lines.len(), 1);
        assert!(conversation.line(last).is_some());
    }

    #[test]
    fn the_rows_of_a_line_are_the_line() {
        for text in [
            "short".to_owned(),
            "é".repeat(3000),
            "word and word ".repeat(500),
            String::new(),
        ] {
            let rows = pieces(&text);
            let joined: String = rows.iter().map(|range| &text[range.clone()]).collect();
            assert_eq!(joined, text);
            assert!(rows.iter().all(|range| range.len() <= MAX_ROW_BYTES));
        }
    }

    #[test]
    fn a_line_is_told_once_and_the_windows_own_never() {
        let mut conversation = Conversation::default();
        let line = said(&mut conversation, "alice: ciao");
        let own = conversation.push(Source::Window, String::new(), "connecting".to_owned());
        assert_eq!(conversation.tell(line), Some("alice: ciao"));
        assert_eq!(conversation.tell(line), None);
        assert_eq!(conversation.tell(own), None);
        assert_eq!(conversation.tell(7), None);
    }

    #[test]
    fn the_marker_stays_above_the_first_unread_line_until_it_is_cleared() {
        let mut conversation = Conversation::default();
        said(&mut conversation, "a: 1");
        for text in ["a: 2", "a: 3"] {
            let line = said(&mut conversation, text);
            conversation.note_unread(line);
        }
        assert_eq!((conversation.marker(), conversation.unread()), (Some(1), 2));
        conversation.note_seen();
        assert_eq!((conversation.marker(), conversation.unread()), (Some(1), 0));
        let line = said(&mut conversation, "a: 4");
        conversation.note_unread(line);
        assert_eq!((conversation.marker(), conversation.unread()), (Some(3), 1));
        conversation.clear_marker();
        assert_eq!((conversation.marker(), conversation.unread()), (None, 0));
    }

    #[test]
    fn an_author_is_a_word_before_a_colon() {
        let mut conversation = Conversation::default();
        for (text, author) in [
            ("alice: ciao", Some("alice")),
            ("* the server shuts down: goodbye", None),
            ("no colon", None),
            (": nobody", None),
            (&format!("{}: long", "x".repeat(65)), None),
        ] {
            let number = said(&mut conversation, text);
            let line = conversation.line(number).unwrap();
            assert_eq!(line.author_len().map(|len| &line.text[..len]), author);
        }
    }
}
