//! What is wrong with a pattern's text.

use crate::units::printable;

/// A pattern that could not be read, with the place in its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// What is wrong, as a lower-case fragment, safe to print.
    pub message: String,
    /// Offset of the first byte that is wrong; the length of the text when something is missing
    /// at its end. Always a character boundary.
    pub offset_bytes: usize,
    /// Length of what is wrong; 0 at the end of the text.
    pub len_bytes: usize,
    /// What to write instead, where that can be told.
    pub hint: Option<String>,
}

impl PatternError {
    pub(super) fn new(message: impl Into<String>, offset_bytes: usize, len_bytes: usize) -> Self {
        Self {
            message: message.into(),
            offset_bytes,
            len_bytes,
            hint: None,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The longest piece of a pattern's text that a message quotes, in characters.
const MAX_QUOTED_CHARS: usize = 40;

/// `text` between backquotes, shortened and safe to print.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(MAX_QUOTED_CHARS).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("`{}{more}`", printable(&short))
}

/// The name among `known` that `text` was probably meant to be.
pub(super) fn near_name<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    /// Names further off than this are not what was meant (Damerau-Levenshtein, 0 to 1).
    const LEAST_LIKENESS: f64 = 0.6;
    // Names are short; a long word is no misspelling and would only cost time.
    if text.len() > MAX_QUOTED_CHARS {
        return None;
    }
    known
        .iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(text, name), *name))
        .filter(|(likeness, _)| *likeness >= LEAST_LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
