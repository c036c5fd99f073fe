//! The text of a matrix file, with places in it.

use super::Place;
use crate::units::acts_on_terminal;

/// A matrix file's name and text.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    text: String,
    shown: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// Takes a file's text; `name` is how errors call the file.
    #[must_use]
    pub fn new(name: &str, text: String) -> Self {
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            name: name.to_owned(),
            shown: harmless(&text),
            text,
            line_starts,
        }
    }

    /// How errors call the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text as it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text without what acts on a terminal; offsets are those of the text as it was read.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The place of `len_bytes` bytes from `offset_bytes` on, cut to the text and to one line.
    #[must_use]
    pub fn place(&self, offset_bytes: usize, len_bytes: usize) -> Place {
        let start = floor_char_boundary(&self.text, offset_bytes);
        let line_index = self.line_starts.partition_point(|&at| at <= start) - 1;
        let line_start = self.line_starts[line_index];
        let line_end = line_start + self.line(line_index).len();
        let wanted_end = start.saturating_add(len_bytes);
        let end = floor_char_boundary(&self.text, wanted_end.min(line_end)).max(start);
        Place {
            line: saturate(line_index + 1),
            column: saturate(self.text[line_start..start].chars().count() + 1),
            offset_bytes: start,
            len_bytes: end - start,
        }
    }

    /// A line by its number counted from 0, without its end; empty past the last one.
    #[must_use]
    pub fn line(&self, index: usize) -> &str {
        let Some(&start) = self.line_starts.get(index) else {
            return "";
        };
        let end = match self.line_starts.get(index + 1) {
            Some(&next) => next - 1,
            None => self.text.len(),
        };
        let line = &self.text[start..end];
        line.strip_suffix('\r').unwrap_or(line)
    }

    /// Offset of the first byte of a line, by its number counted from 0.
    #[must_use]
    pub fn line_start(&self, index: usize) -> Option<usize> {
        self.line_starts.get(index).copied()
    }
}

/// Replaces what a terminal acts upon by harmless characters of the same length in bytes, so that
/// offsets into the text stay what they are. Line ends and tabs stay.
#[must_use]
pub(super) fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            '\r' => ' ',
            c if !acts_on_terminal(c) => c,
            c => match c.len_utf8() {
                1 => '?',
                2 => '\u{b7}',
                _ => '\u{fffd}',
            },
        })
        .collect()
}

/// The largest character boundary of `text` that is not past `at`.
fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

pub(super) fn saturate(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_and_stay_on_their_line() {
        let source = Source::new("x.yaml", "a: è\r\nbcd: 1\n".to_owned());
        let place = source.place(3, 100);
        assert_eq!((place.line, place.column, place.len_bytes), (1, 4, 2));
        let place = source.place(7, 2);
        assert_eq!((place.line, place.column), (2, 1));
        assert_eq!(source.place(4, 1).offset_bytes, 3, "inside a character");
        assert_eq!(source.place(1000, 5).line, 3, "past the end");
    }

    #[test]
    fn harmless_text_keeps_its_length() {
        let text = "a\u{1b}[2J\u{85}\u{202e}b\u{feff}";
        let shown = harmless(text);
        assert_eq!(shown.len(), text.len());
        assert!(!shown.chars().any(acts_on_terminal));
    }
}
