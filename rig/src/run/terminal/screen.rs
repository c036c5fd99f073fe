//! A screen, and what was seen on it.

use std::collections::HashMap;

use super::rows::{self, Line, New, Row};
use crate::units::TerminalSize;

/// Rows that may scroll off the screen before they are looked at.
const SCROLLED_ROWS: usize = 1000;

/// What is written before rows that scrolled off are looked at, in bytes: each can be a line end.
const PIECE_BYTES: usize = SCROLLED_ROWS / 2;

/// Begins and ends a picture that shall be seen as a whole (synchronized output, a private mode of DEC's kind).
const WHOLE_PICTURES: &[u16] = &[2026];

/// A screen, and what was seen on it.
pub(super) struct Screen {
    parser: vt100::Parser<Eye>,
}

impl Screen {
    pub(super) fn new(size: TerminalSize) -> Self {
        let (rows, columns) = (size.rows, size.columns);
        let eye = Eye::default();
        Self {
            parser: vt100::Parser::new_with_callbacks(rows, columns, SCROLLED_ROWS, eye),
        }
    }

    /// Takes in what the program writes, and what that makes certain.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.parser.callbacks_mut().is_complete = false;
        for piece in bytes.chunks(PIECE_BYTES) {
            self.parser.process(piece);
            let (screen, eye) = self.parser.screen_and_callbacks_mut();
            eye.is_complete &= eye.has_seen(screen);
            // What scrolls off further would not be seen any more.
            if self.parser.screen().scrollback_len() >= PIECE_BYTES {
                self.look(Extent::Scrolled);
            }
        }
    }

    /// Looks at a picture of which more may come.
    pub(super) fn glance(&mut self) {
        self.look(Extent::Sure);
    }

    /// Looks at a picture of which nothing more comes.
    pub(super) fn complete(&mut self) {
        self.look(Extent::All);
    }

    /// Looks at a picture that is never complete: the row that the cursor stands in may be half drawn, all others
    /// are taken as they are.
    pub(super) fn complete_but_for_the_cursor(&mut self) {
        self.look(Extent::AllButCursor);
    }

    /// Whether nothing was written since the last complete picture.
    pub(super) fn is_complete(&self) -> bool {
        self.parser.callbacks().is_complete
    }

    /// The number of the picture that is drawn and shall be seen as a whole.
    pub(super) fn announced(&self) -> Option<u64> {
        let eye = self.parser.callbacks();
        eye.announced.then_some(eye.pictures)
    }

    /// Takes the picture that was announced as it is.
    pub(super) fn give_up_waiting(&mut self) {
        self.parser.callbacks_mut().announced = false;
    }

    /// The lines that have appeared since the last call, each with its end.
    pub(super) fn take_news(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.parser.callbacks_mut().news)
    }

    fn look(&mut self, extent: Extent) {
        let (screen, eye) = self.parser.screen_and_callbacks_mut();
        eye.look(screen, extent);
    }
}

/// What was seen.
#[derive(Default)]
struct Eye {
    /// Of the usual screen and of the alternate one.
    seen: [Seen; 2],
    /// The program draws a picture that shall be seen as a whole.
    announced: bool,
    /// How many such pictures were begun.
    pictures: u64,
    /// Nothing was written since the last complete picture.
    is_complete: bool,
    /// Lines that have appeared, each with its end.
    news: Vec<u8>,
}

/// What was seen of a screen.
#[derive(Default)]
struct Seen {
    /// The rows of the last complete picture.
    rows: Vec<Row>,
    /// Rows that scrolled off since then and begin a line whose end is still in view.
    held: Vec<Row>,
    /// The lines that were told of since, by column and text, and how often.
    told: HashMap<(usize, String), usize>,
}

/// How far to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// At what no later piece of the picture can turn into something else.
    Sure,
    /// Only at what has scrolled off: the rest is being drawn.
    Scrolled,
    /// At everything but the row of the cursor.
    AllButCursor,
    /// The same, of a picture that the program calls whole: somebody may be typing in that row, a picture a key.
    Whole,
    /// At everything: the picture is complete.
    All,
}

impl vt100::Callbacks for Eye {
    fn unhandled_csi(
        &mut self,
        screen: &mut vt100::Screen,
        private: Option<u8>,
        _: Option<u8>,
        parameters: &[&[u16]],
        command: char,
    ) {
        if private != Some(b'?') || !parameters.contains(&WHOLE_PICTURES) {
            return;
        }
        match command {
            // One that is announced again is the same one.
            'h' if !self.announced => {
                self.announced = true;
                self.is_complete = false;
                self.pictures += 1;
            }
            'l' if self.announced => {
                self.announced = false;
                self.look(screen, Extent::Whole);
            }
            _ => {}
        }
    }
}

impl Eye {
    /// Whether the screen shows what the last complete picture did: more may have been written after its end.
    fn has_seen(&self, screen: &vt100::Screen) -> bool {
        let seen = &self.seen[usize::from(screen.alternate_screen())];
        screen.scrollback_len() == 0 && rows::in_view(screen) == seen.rows
    }

    fn look(&mut self, screen: &mut vt100::Screen, extent: Extent) {
        let seen = &mut self.seen[usize::from(screen.alternate_screen())];
        let mut rows = seen.held.clone();
        rows.extend(scrolled(screen));
        let scrolled = rows.len();
        rows.extend(rows::in_view(screen));
        let new = New::of(&seen.rows, &rows);
        let end = match extent {
            Extent::Scrolled => rows::end_of_lines(&rows, scrolled),
            Extent::Sure | Extent::AllButCursor | Extent::Whole | Extent::All => rows.len(),
        };
        // A row that is drawn ends where the cursor is, until it is drawn to its end.
        let (cursor, _) = screen.cursor_position();
        let cursor = scrolled + usize::from(cursor);
        // Nobody types where no cursor is shown.
        let typed_at = extent != Extent::Whole || !screen.hide_cursor();
        let is_drawn = |line: &Line| typed_at && line.rows.contains(&cursor);
        let is_due = |line: &Line, unheard_of: bool| match extent {
            Extent::Sure => unheard_of && !is_drawn(line),
            Extent::Scrolled => line.rows.start < end,
            Extent::AllButCursor | Extent::Whole => !is_drawn(line),
            Extent::All => true,
        };
        let mut met: HashMap<(usize, String), usize> = HashMap::new();
        for (line, unheard_of) in new.lines() {
            if !is_due(line, unheard_of) {
                continue;
            }
            let key = line.key();
            let count = met.entry(key.clone()).or_default();
            *count += 1;
            if *count <= seen.told.get(&key).copied().unwrap_or(0) {
                continue;
            }
            self.news.extend_from_slice(line.text.as_bytes());
            self.news.push(b'\n');
            if extent == Extent::Sure {
                *seen.told.entry(key).or_default() += 1;
            }
        }
        if extent == Extent::Sure {
            return;
        }
        // Lines that are left for the next look, and from where on they are needed for it.
        let is_left = |line: &Line, unheard_of| !is_due(line, unheard_of);
        let mut left: HashMap<(usize, String), usize> = HashMap::new();
        let mut held_from = scrolled;
        for (line, _) in new
            .lines()
            .filter(|&(line, unheard_of)| is_left(line, unheard_of))
        {
            held_from = held_from.min(line.rows.start);
            *left.entry(line.key()).or_default() += 1;
        }
        self.is_complete |= match extent {
            Extent::All => true,
            Extent::Whole => left.is_empty(),
            Extent::Sure | Extent::Scrolled | Extent::AllButCursor => false,
        };
        let held = rows[held_from..scrolled].to_vec();
        new.wipe(is_left, &mut rows);
        seen.rows = rows.split_off(scrolled);
        seen.held = held;
        seen.told.retain(|key, told| {
            let untold = told.saturating_sub(met.get(key).copied().unwrap_or(0));
            *told = untold.min(left.get(key).copied().unwrap_or(0));
            *told > 0
        });
        screen.clear_scrollback();
    }
}

/// The rows above the screen, the oldest first.
fn scrolled(screen: &mut vt100::Screen) -> Vec<Row> {
    let mut scrolled = Vec::new();
    let mut left = screen.scrollback_len();
    while left > 0 {
        screen.set_scrollback(left);
        let mut view = rows::in_view(screen);
        view.truncate(left);
        left -= view.len();
        scrolled.extend(view);
    }
    screen.set_scrollback(0);
    scrolled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(size: &str) -> Screen {
        Screen::new(size.parse().unwrap())
    }

    /// The lines that appear as `text` is written, which completes a picture.
    fn lines(screen: &mut Screen, text: &str) -> Vec<String> {
        screen.write(text.as_bytes());
        screen.complete();
        told(screen)
    }

    fn told(screen: &mut Screen) -> Vec<String> {
        let news = String::from_utf8(screen.take_news()).unwrap();
        news.lines().map(str::to_owned).collect()
    }

    /// Pictures of a conversation that stands at the end of its view and of what is typed below it, each line of
    /// `said` one picture later; beside it the members.
    fn pictures(said: &[&str], height: usize) -> Vec<Vec<String>> {
        let picture = |count: usize| {
            let view = height - 1;
            let first = count.saturating_sub(view);
            let mut rows = vec![String::new(); view - (count - first)];
            rows.extend(said[first..count].iter().map(|&line| line.to_owned()));
            for (row, member) in rows.iter_mut().zip(["ann", "bob", "cem"]) {
                *row = format!("{row:<20}│ {member}");
            }
            rows.push("> ".to_owned());
            rows
        };
        (0..=said.len()).map(picture).collect()
    }

    /// What changes one picture into the next, cell by cell, as libraries for terminals write it.
    fn changes(before: &[String], after: &[String]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, (before, after)) in before.iter().zip(after).enumerate() {
            let cell = |row: &str, column| row.chars().nth(column).unwrap_or(' ');
            let width = before.chars().count().max(after.chars().count());
            let mut goes_on = false;
            for column in 0..width {
                if cell(before, column) == cell(after, column) {
                    goes_on = false;
                    continue;
                }
                if !goes_on {
                    let there = format!("\u{1b}[{};{}H", number + 1, column + 1);
                    bytes.extend(there.bytes());
                }
                goes_on = true;
                bytes.extend(cell(after, column).to_string().bytes());
            }
        }
        bytes.extend(format!("\u{1b}[{};3H", after.len()).bytes());
        bytes
    }

    /// Lines that are alike, so that half of one and half of another make a third, and two that come again.
    const SAID: [&str; 12] = [
        "<user5> ciao",
        "<user6> e a te",
        "<user7> qui carol",
        "<user8> qui dave",
        "<user9> qui erin",
        "<user8> qui dave",
        "<user10> qui frank",
        "<user11> qui grace",
        "<user9> qui erin",
        "<user11> qui heidi",
        "> qui judy",
        "<user13> qui kate",
    ];

    /// What is heard of a conversation whose pictures are written in two pieces, the second long after the first.
    fn heard_when_cut(height: usize, cut: impl Fn(usize) -> usize) -> Vec<String> {
        let mut screen = screen(&format!("30x{height}"));
        let pictures = pictures(&SAID, height);
        let blank = vec![String::new(); height];
        lines(
            &mut screen,
            &String::from_utf8(changes(&blank, &pictures[0])).unwrap(),
        );
        let mut heard = Vec::new();
        for two in pictures.windows(2) {
            let bytes = changes(&two[0], &two[1]);
            let (first, second) = bytes.split_at(cut(bytes.len()));
            screen.write(first);
            screen.glance();
            heard.extend(told(&mut screen));
            screen.write(second);
            screen.complete();
            heard.extend(told(&mut screen));
        }
        heard
    }

    #[test]
    fn a_picture_that_is_cut_anywhere_is_heard_as_it_is() {
        for height in [4, 8, 15] {
            for cut in 0..100 {
                let heard = heard_when_cut(height, |length| cut * length / 100);
                assert_eq!(heard, SAID, "height {height}, cut at {cut} of 100");
            }
        }
    }

    #[test]
    fn a_whole_picture_is_heard_at_its_end_and_not_before() {
        for height in [4, 8, 15] {
            let mut screen = screen(&format!("30x{height}"));
            let blank = vec![String::new(); height];
            let mut before = blank;
            let mut heard = Vec::new();
            for picture in pictures(&SAID, height) {
                screen.write(b"\x1b[?2026h");
                for byte in changes(&before, &picture) {
                    screen.write(&[byte]);
                    assert!(screen.announced().is_some());
                    assert_eq!(told(&mut screen), [""; 0]);
                }
                screen.write(b"\x1b[?2026l");
                assert_eq!(screen.announced(), None);
                heard.extend(told(&mut screen));
                before = picture;
            }
            heard.retain(|line| SAID.contains(&line.as_str()));
            assert_eq!(heard, SAID);
        }
    }

    #[test]
    fn what_is_typed_is_one_line_in_however_many_pictures() {
        for keys in [1, 2, 5, 10] {
            let mut screen = screen("30x4");
            lines(&mut screen, "bob: ciao\x1b[4H> ");
            let typed = "qui judy again";
            let mut heard = Vec::new();
            let mut draw = |screen: &mut Screen, picture: &str| {
                screen.write(format!("\x1b[?2026h{picture}\x1b[?2026l").as_bytes());
                screen.glance();
                heard.extend(told(screen));
            };
            for end in (keys..typed.len()).step_by(keys) {
                draw(&mut screen, &format!("\x1b[4H> {}", &typed[..end]));
                // What others say meanwhile, and where the cursor goes back to.
                draw(
                    &mut screen,
                    &format!("\x1b[2Hbob: {end}\x1b[4;{}H", end + 3),
                );
            }
            draw(&mut screen, &format!("\x1b[3H> {typed}\x1b[4H\x1b[K> "));
            heard.retain(|line| line.contains("qui"));
            assert_eq!(heard, [format!("> {typed}")], "{keys} keys a picture");
        }
    }

    #[test]
    fn what_is_wiped_and_drawn_again_in_one_picture_is_not_new() {
        let mut screen = screen("20x4");
        assert_eq!(lines(&mut screen, "one\r\ntwo\r\n"), ["one", "two"]);
        screen.write(b"\x1b[2J\x1b[Hone\r\n");
        screen.glance();
        assert_eq!(lines(&mut screen, "two\r\nthree\r\n"), ["three"]);
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
    fn long_lines_appear_once_however_far_they_scroll() {
        let mut screen = screen("20x4");
        let all: Vec<_> = (0..2000)
            .map(|n| format!("line {n} {}", "which goes on ".repeat(n % 7)))
            .collect();
        let mut heard = Vec::new();
        for pieces in all.chunks(90) {
            screen.write((pieces.join("\r\n") + "\r\n").as_bytes());
            screen.glance();
            heard.extend(told(&mut screen));
        }
        screen.complete();
        heard.extend(told(&mut screen));
        let all: Vec<_> = all.iter().map(|line| line.trim()).collect();
        for (heard, line) in heard.iter().zip(&all) {
            assert_eq!(heard, line);
        }
        assert_eq!(heard.len(), all.len());
    }

    #[test]
    fn a_row_that_is_drawn_while_a_picture_never_ends_is_told_once() {
        let mut screen = screen("20x4");
        screen.write(b"one\r\nbob: ci");
        screen.complete_but_for_the_cursor();
        assert_eq!(told(&mut screen), ["one"]);
        screen.write(b"ao\r\n");
        screen.complete_but_for_the_cursor();
        assert_eq!(told(&mut screen), ["bob: ciao"]);
        assert_eq!(lines(&mut screen, "two"), ["two"]);
    }

    #[test]
    fn what_vanishes_from_a_picture_that_never_ends_is_new_when_it_comes_again() {
        let mut screen = screen("20x4");
        for _ in 0..3 {
            screen.write(b"\x1b[Hbob is typing\r\n");
            screen.glance();
            assert_eq!(told(&mut screen), ["bob is typing"]);
            screen.write(b"\x1b[H\x1b[K\r\n");
            screen.complete_but_for_the_cursor();
            assert_eq!(told(&mut screen), [""; 0]);
        }
    }

    #[test]
    fn a_line_without_end_is_kept_until_it_is_told() {
        let mut screen = screen("20x4");
        let text = "as long as five rows ".repeat(5);
        screen.write(text.as_bytes());
        screen.complete_but_for_the_cursor();
        assert_eq!(told(&mut screen), [""; 0]);
        assert_eq!(lines(&mut screen, "and more\r\n"), [text + "and more"]);
    }

    #[test]
    fn a_picture_is_complete_only_while_nothing_else_is_written() {
        let mut screen = screen("20x4");
        for (written, complete) in [
            ("\u{1b}[?2026hone\r\n\u{1b}[?2026l", true),
            ("\u{1b}[?2026htwo\r\n\u{1b}[?2026l\u{1b}[?25h", true),
            ("\u{1b}[?2026hthree\r\n\u{1b}[?2026l> ", false),
            ("\u{1b}[?2026h\r\n\u{1b}[?2026l\u{1b}[?2026h", false),
            ("\u{1b}[?2026h\u{1b}[?2026l", true),
            ("\u{1b}[?2026htyped\u{1b}[?2026l", false),
            ("", false),
        ] {
            screen.write(written.as_bytes());
            assert_eq!(screen.is_complete(), complete, "{written:?}");
        }
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
        screen.complete();
    }
}
