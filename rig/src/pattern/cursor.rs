//! A place in a pattern's text, and what can be read from there.

use super::error::PatternError;

/// Reads a text from left to right; every offset is a character boundary.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Reads on from `at`, which is a character boundary.
    pub(super) fn starting_at(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    /// Offset of the next character.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What was read since `start`.
    pub(super) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Reads `wanted` when it stands here.
    pub(super) fn eat(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    pub(super) fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// Skips white space, and comments from `#` to the end of the line.
    pub(super) fn skip_space(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if self.peek() != Some('#') {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    /// Reads a name: letters, digits and `_`, with single `-` between them.
    pub(super) fn take_name(&mut self) -> &'a str {
        let start = self.at;
        loop {
            self.take_while(|c| c.is_alphanumeric() || c == '_');
            let mut ahead = self.rest().chars();
            let joins = ahead.next() == Some('-')
                && ahead
                    .next()
                    .is_some_and(|c| c.is_alphanumeric() || c == '_');
            if self.at == start || !joins {
                return self.since(start);
            }
            self.at += 1;
        }
    }

    /// An error about what was read since `start`.
    pub(super) fn error_since(&self, start: usize, message: impl Into<String>) -> PatternError {
        PatternError::new(message, start, self.at - start)
    }

    /// An error about the next character, or about the end of the text.
    pub(super) fn error_here(&self, message: impl Into<String>) -> PatternError {
        let len = self.peek().map_or(0, char::len_utf8);
        PatternError::new(message, self.at, len)
    }

    /// The next character as an error names it.
    pub(super) fn next_shown(&self) -> String {
        match self.peek() {
            Some(c) => super::error::quoted(c.encode_utf8(&mut [0; 4])),
            None => "the end of the pattern".to_owned(),
        }
    }
}
