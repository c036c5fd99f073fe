//! The line that is typed, and those typed before.

use std::collections::VecDeque;

use tui_input::{Input, InputRequest};

use crate::text;

/// The longest line that can be typed, in bytes; what a server takes is mostly less.
const MAX_BYTES: usize = 16 * 1024;

/// So many lines typed before are kept.
const MAX_HISTORY: usize = 100;

/// A line editor.
#[derive(Debug, Default)]
pub(super) struct Entry {
    input: Input,
    history: VecDeque<String>,
    /// Which of the lines typed before is shown, counted from the newest, and what was typed
    /// instead of it.
    recalled: Option<(usize, String)>,
}

/// Which way through the lines typed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recall {
    Older,
    Newer,
}

impl Entry {
    /// What is typed.
    pub(super) fn text(&self) -> &str {
        self.input.value()
    }

    /// The cells that the text takes up to the cursor, and how many of them are left of a view of
    /// `width` cells.
    pub(super) fn cursor(&self, width: usize) -> (usize, usize) {
        (self.input.visual_cursor(), self.input.visual_scroll(width))
    }

    /// Moves or deletes.
    pub(super) fn edit(&mut self, request: InputRequest) {
        self.input.handle(request);
    }

    /// Puts text at the cursor: line ends and tabs become spaces, and characters that a terminal
    /// acts upon are left out, as is what does not fit.
    pub(super) fn insert(&mut self, text: &str) {
        let room = MAX_BYTES.saturating_sub(self.text().len());
        let mut more = String::new();
        for c in text.chars() {
            let c = if matches!(c, '\r' | '\n' | '\t') {
                ' '
            } else {
                c
            };
            if more.len() + c.len_utf8() > room {
                break;
            }
            if !text::acts_on_terminal(c) {
                more.push(c);
            }
        }
        let cursor = self.input.cursor();
        let before: String = self.text().chars().take(cursor).collect();
        let whole = format!("{before}{more}{}", &self.text()[before.len()..]);
        self.input = std::mem::take(&mut self.input)
            .with_value(whole)
            .with_cursor(cursor + more.chars().count());
    }

    /// Empties the line, which becomes one of those typed before.
    pub(super) fn take(&mut self) -> String {
        let line = self.input.value_and_reset();
        self.recalled = None;
        if !line.trim().is_empty() && self.history.front() != Some(&line) {
            self.history.push_front(line.clone());
            self.history.truncate(MAX_HISTORY);
        }
        line
    }

    /// Puts a line back that could not be used.
    pub(super) fn give_back(&mut self, line: String) {
        self.input = Input::new(line);
    }

    /// Shows an older or a newer of the lines typed before.
    pub(super) fn recall(&mut self, way: Recall) {
        let now = self.recalled.as_ref().map(|(place, _)| *place);
        let next = match (way, now) {
            (Recall::Older, None) => Some(0),
            (Recall::Older, Some(place)) => Some(place + 1),
            (Recall::Newer, None) => return,
            (Recall::Newer, Some(place)) => place.checked_sub(1),
        };
        let Some(place) = next else {
            let (_, draft) = self.recalled.take().unwrap_or_default();
            self.input = Input::new(draft);
            return;
        };
        let Some(line) = self.history.get(place) else {
            return;
        };
        let draft = match self.recalled.take() {
            Some((_, draft)) => draft,
            None => self.text().to_owned(),
        };
        self.input = Input::new(line.clone());
        self.recalled = Some((place, draft));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(lines: &[&str], typed: &str) -> Entry {
        let mut entry = Entry::default();
        for line in lines {
            entry.insert(line);
            entry.take();
        }
        entry.insert(typed);
        entry
    }

    #[test]
    fn lines_typed_before_come_back_and_so_does_the_one_that_was_begun() {
        let mut entry = entry(&["one", "two", "two", " "], "thr");
        entry.recall(Recall::Newer);
        assert_eq!(entry.text(), "thr");
        entry.recall(Recall::Older);
        assert_eq!(entry.text(), "two");
        entry.recall(Recall::Older);
        entry.recall(Recall::Older);
        assert_eq!(entry.text(), "one");
        entry.recall(Recall::Newer);
        entry.recall(Recall::Newer);
        assert_eq!(entry.text(), "thr");
    }

    #[test]
    fn what_is_pasted_becomes_one_harmless_line() {
        let entry = entry(&[], "one\ntwo\t\u{1b}[2J\u{202e}three");
        assert_eq!(entry.text(), "one two [2Jthree");
    }

    #[test]
    fn a_line_and_the_lines_before_are_bounded() {
        let mut entry = entry(&[], &"é".repeat(MAX_BYTES));
        assert_eq!(entry.text().len(), MAX_BYTES);
        entry.take();
        for n in 0..2 * MAX_HISTORY {
            entry.insert(&n.to_string());
            entry.take();
        }
        assert_eq!(entry.history.len(), MAX_HISTORY);
    }

    #[test]
    fn a_character_of_several_code_points_is_deleted_whole() {
        let mut entry = entry(&[], "a👨\u{200d}👩\u{200d}👧");
        assert_eq!(entry.cursor(20).0, 3);
        entry.edit(InputRequest::DeletePrevChar);
        assert_eq!(entry.text(), "a");
    }
}
