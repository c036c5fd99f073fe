//! The text of a condition in pieces.

use std::ops::Range;

use crate::spec::Fault;
use crate::units::printable;

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name, a number, an address: whatever stands without quotes.
    Word(&'a str),
    /// Text between quotes, without them.
    Quoted(&'a str),
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
    Not,
    In,
    Contains,
    Open,
    Close,
    Comma,
}

/// A piece and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Piece<'a> {
    pub(super) token: Token<'a>,
    pub(super) range: Range<usize>,
}

const SIGNS: [(&str, Token<'static>); 12] = [
    ("==", Token::Eq),
    ("!=", Token::Ne),
    ("<=", Token::Le),
    (">=", Token::Ge),
    ("&&", Token::And),
    ("||", Token::Or),
    ("<", Token::Lt),
    (">", Token::Gt),
    ("!", Token::Not),
    ("(", Token::Open),
    (")", Token::Close),
    (",", Token::Comma),
];

/// Cuts the text into pieces.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Fault> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (token, len) = if let Some((sign, token)) =
            SIGNS.iter().find(|(sign, _)| rest.starts_with(sign))
        {
            (*token, sign.len())
        } else if c == '"' || c == '\'' {
            quoted(rest, c).ok_or_else(|| fault(at..text.len(), "this text has no end", None))?
        } else if is_word(c) {
            let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            (word(&rest[..len]), len)
        } else {
            let shown = printable(&c.to_string());
            let hint = (c == '=').then_some("write `==` to compare");
            let message = format!("`{shown}` means nothing here");
            return Err(fault(at..at + c.len_utf8(), &message, hint));
        };
        let range = at..at + len;
        at = range.end;
        pieces.push(Piece { token, range });
    }
    Ok(pieces)
}

fn quoted(rest: &str, quote: char) -> Option<(Token<'_>, usize)> {
    let len = rest[1..].find(quote)?;
    Some((Token::Quoted(&rest[1..=len]), len + 2))
}

fn word(word: &str) -> Token<'_> {
    match word {
        "and" => Token::And,
        "or" => Token::Or,
        "not" => Token::Not,
        "in" => Token::In,
        "contains" => Token::Contains,
        word => Token::Word(word),
    }
}

/// Addresses, ranges of them, durations, and names with `.`, `-` or `_` are one word.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | ':' | '/' | '-' | '^')
}

pub(super) fn fault(range: Range<usize>, message: &str, hint: Option<&str>) -> Fault {
    Fault {
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
        range: Some(range),
    }
}
