//! What a user may be called.

use std::fmt;
use std::sync::Arc;

/// The author of what the operator says; nobody else may take it.
pub const OPERATOR: &str = "operator";

/// Words that mean something else on the wire, and so can name nobody.
const RESERVED: [&str; 3] = [OPERATOR, "quit", "exit"];

/// The name of a member: letters and digits of any script, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(Arc<str>);

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Over the limit.
    #[error("it is {len_bytes} bytes long, {max_bytes} are allowed")]
    TooLong {
        /// Its length.
        len_bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// A character that no name holds, or a wrong first one.
    #[error("use letters, digits, `-`, `_` and `.`, and begin with a letter or digit")]
    Form,
    /// A word with a meaning of its own.
    #[error("it is reserved")]
    Reserved,
}

impl Name {
    /// Takes `text`, blanks around it cut off, as a name of at most `max_bytes`.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(text: &str, max_bytes: usize) -> Result<Self, NameError> {
        let name = text.trim();
        if name.len() > max_bytes {
            return Err(NameError::TooLong {
                len_bytes: name.len(),
                max_bytes,
            });
        }
        // Some letters are invisible.
        let plain = |c: char| c.is_alphanumeric() && !crate::text::acts_on_terminal(c);
        let form = name.chars().next().is_some_and(plain)
            && name
                .chars()
                .all(|c| plain(c) || matches!(c, '-' | '_' | '.'));
        if !form {
            return Err(NameError::Form);
        }
        if RESERVED.contains(&name.to_lowercase().as_str()) {
            return Err(NameError::Reserved);
        }
        Ok(Self(name.into()))
    }

    /// What two names must differ in: `Alice` and `alice` are one.
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_taken() {
        for text in ["alice", " bob ", "Zoë", "李", "r2-d2_x.y", "7"] {
            assert_eq!(Name::parse(text, 32).unwrap().to_string(), text.trim());
        }
        assert_eq!(Name::parse("Alice", 32).unwrap().key(), "alice");
    }

    #[test]
    fn names_that_could_pass_for_something_else_are_not() {
        for text in [
            "",
            "*",
            "* you are bob",
            "a b",
            "a:b",
            ".a",
            "-a",
            "\\u{1b}x",
            "\u{3164}",
            "operator\u{3164}",
            "alice\u{115f}",
        ] {
            assert_eq!(Name::parse(text, 32), Err(NameError::Form), "{text}");
        }
        for text in ["operator", "Quit", "EXIT"] {
            assert_eq!(Name::parse(text, 32), Err(NameError::Reserved), "{text}");
        }
        let error = Name::parse("abcdef", 5).unwrap_err();
        assert_eq!(error.to_string(), "it is 6 bytes long, 5 are allowed");
    }
}
