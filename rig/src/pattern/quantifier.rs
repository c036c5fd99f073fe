//! Quantifiers: how often an item stands in a row.

use super::error::{PatternError, quoted};
use super::parse::{MAX_COUNT, Parser, Tree};

impl Parser<'_> {
    /// The quantifier after `body`, if one follows.
    pub(super) fn quantified(&mut self, body: Tree) -> Result<Tree, PatternError> {
        // White space and comments may stand before a quantifier, and belong to no item without one.
        let mut ahead = self.cursor.clone();
        ahead.skip_space();
        if !matches!(ahead.peek(), Some('?' | '*' | '+' | '{')) {
            return Ok(body);
        }
        self.cursor = ahead;
        let start = self.cursor.at();
        let (min, max) = match self.cursor.peek() {
            Some('?') => (0, Some(1)),
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('{') => self.counts()?,
            _ => return Ok(body),
        };
        if self.cursor.at() == start {
            self.cursor.bump();
        }
        let mut ahead = self.cursor.clone();
        ahead.skip_space();
        if matches!(ahead.peek(), Some('?' | '*' | '+' | '{')) {
            return Err(ahead
                .error_here("an item has one quantifier")
                .hint("put parentheses around the item and its first quantifier"));
        }
        Ok(Tree::Repeat {
            body: Box::new(body),
            min,
            max,
        })
    }

    /// `{n}`, `{n,}` or `{n,m}`.
    fn counts(&mut self) -> Result<(u32, Option<u32>), PatternError> {
        let start = self.cursor.at();
        self.cursor.eat("{");
        let min = self.count()?;
        let max = if self.cursor.eat(",") {
            self.cursor.skip_space();
            match self.cursor.peek() {
                Some('}') => None,
                _ => Some(self.count()?),
            }
        } else {
            Some(min)
        };
        if !self.cursor.eat("}") {
            let found = self.cursor.next_shown();
            return Err(self
                .cursor
                .error_here(format!("`}}` was expected, not {found}"))
                .hint("a quantifier is `{n}`, `{n,}` or `{n,m}`"));
        }
        match max {
            Some(max) if max < min => Err(self.cursor.error_since(
                start,
                format!("no number is at least {min} and at most {max}"),
            )),
            Some(0) => Err(self
                .cursor
                .error_since(start, "an item that must not occur is left out")),
            _ => Ok((min, max)),
        }
    }

    fn count(&mut self) -> Result<u32, PatternError> {
        self.cursor.skip_space();
        let start = self.cursor.at();
        let digits = self.cursor.take_while(|c| c.is_ascii_digit());
        if digits.is_empty() {
            let found = self.cursor.next_shown();
            return Err(self
                .cursor
                .error_here(format!("a number was expected, not {found}"))
                .hint("a quantifier is `{n}`, `{n,}` or `{n,m}`"));
        }
        let count = digits.parse().ok().filter(|&count| count <= MAX_COUNT);
        let error = || {
            self.cursor.error_since(
                start,
                format!(
                    "{} is too many, at most {MAX_COUNT} are allowed",
                    quoted(digits)
                ),
            )
        };
        let count = count.ok_or_else(error)?;
        self.cursor.skip_space();
        Ok(count)
    }
}
