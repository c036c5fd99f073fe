//! The datagrams that server and client send to each other: a two-letter code, and after a space a
//! text in UTF-8. `docs/chat.md` has the table.

use crate::text;

/// The port that server and client use unless told otherwise.
pub const PORT: u16 = 15103;

/// The longest datagram, in bytes: it crosses every usual path in one packet.
pub const MAX_DATAGRAM_BYTES: usize = 1200;

/// The longest text that a user can say, in bytes, made harmless. With its author in front it still
/// fits into a datagram.
pub const MAX_TEXT_BYTES: usize = 1024;

/// A buffer for one datagram: a longer one fills it, and is known by that.
pub type Buffer = [u8; MAX_DATAGRAM_BYTES + 1];

/// What a datagram is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A user gives a name and comes into the book.
    Hello,
    /// The last datagram: of a user who leaves, of a server that ends.
    Goodbye,
    /// Nothing but a sign of life, and its answer.
    KeepAlive,
    /// What is said.
    Text,
    /// `$userlist`
    UserList,
    /// `$roomlist`
    RoomList,
    /// `$roomcreate NAME`
    RoomCreate,
    /// `$roomjoin NAME`
    RoomJoin,
    /// `$roomleave`
    RoomLeave,
    /// `$poke USER`
    Poke,
    /// `$kick`
    Kick,
    /// The server tells something unasked.
    Notice,
    /// The server refuses: the refused code, and a reason.
    Refused,
    /// The server does not know the sender's address.
    WhoAreYou,
}

impl Code {
    const ALL: [(Self, &str); 14] = [
        (Self::Hello, "hi"),
        (Self::Goodbye, "by"),
        (Self::KeepAlive, "ka"),
        (Self::Text, "tx"),
        (Self::UserList, "ul"),
        (Self::RoomList, "rl"),
        (Self::RoomCreate, "rc"),
        (Self::RoomJoin, "rj"),
        (Self::RoomLeave, "lv"),
        (Self::Poke, "pk"),
        (Self::Kick, "ki"),
        (Self::Notice, "nt"),
        (Self::Refused, "no"),
        (Self::WhoAreYou, "wh"),
    ];

    /// Its two letters.
    pub fn letters(self) -> &'static str {
        let of_self = Self::ALL.iter().find(|(code, _)| *code == self);
        // The table is complete, as a test shows.
        of_self.map_or("??", |(_, letters)| letters)
    }

    /// The code of two letters.
    pub fn of(letters: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == letters);
        found.map(|(code, _)| *code)
    }
}

/// A datagram that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// What it is about.
    pub code: Code,
    /// Its text, harmless and without a line end; often empty.
    pub text: String,
}

/// Why a datagram was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Over the limit; the rest of it is gone.
    #[error("datagram too long: at most {MAX_DATAGRAM_BYTES} bytes; it was not read")]
    TooLong,
    /// No code, or one that nobody knows.
    #[error("unknown code: a datagram begins with two letters and a space")]
    UnknownCode,
}

/// A datagram of `code` with `text`.
pub fn encode(code: Code, text: &str) -> String {
    if text.is_empty() {
        code.letters().to_owned()
    } else {
        format!("{} {text}", code.letters())
    }
}

/// Reads a datagram. A line end behind it, as netcat's, does not belong to the text.
///
/// # Errors
/// It is too long, or its code is unknown.
pub fn decode(bytes: &[u8]) -> Result<Datagram, Malformed> {
    if bytes.len() > MAX_DATAGRAM_BYTES {
        return Err(Malformed::TooLong);
    }
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let (letters, text) = match bytes.iter().position(|&b| b == b' ') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[][..]),
    };
    let code = std::str::from_utf8(letters).ok().and_then(Code::of);
    Ok(Datagram {
        code: code.ok_or(Malformed::UnknownCode)?,
        text: text::harmless(text),
    })
}

/// The text of [`Code::Refused`].
pub fn refusal(of: Option<Code>, reason: &str) -> String {
    let letters = of.map_or("??", Code::letters);
    format!("{letters} {reason}")
}

/// Takes the text of [`Code::Refused`] apart again: the refused code and the reason.
pub fn refused(text: &str) -> (Option<Code>, &str) {
    match text.split_once(' ') {
        Some((letters, reason)) => (Code::of(letters), reason),
        None => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_two_letters_of_its_own() {
        for (code, letters) in Code::ALL {
            assert_eq!((code.letters(), letters.len()), (letters, 2));
            assert_eq!(Code::of(letters), Some(code));
            for text in ["", "ciao  a tutti "] {
                let datagram = encode(code, text);
                let text = text.to_owned();
                assert_eq!(decode(datagram.as_bytes()), Ok(Datagram { code, text }));
            }
        }
    }

    #[test]
    fn a_line_end_does_not_count_and_what_is_hostile_is_made_harmless() {
        let text = |bytes: &[u8]| decode(bytes).unwrap().text;
        assert_eq!(text(b"tx ciao\r\n"), "ciao");
        assert_eq!(text(b"tx a\nb\x1b[2J\xff"), "a\\u{a}b\\u{1b}[2J\u{fffd}");
        assert_eq!(text(b"ul\n"), "");
    }

    #[test]
    fn what_is_no_datagram_is_told_apart() {
        for bytes in [
            &b""[..],
            b" ",
            b"u",
            b"ull",
            b"UL",
            b"xx ciao",
            b"\xff\xff",
            b"tx\tx",
        ] {
            assert_eq!(decode(bytes), Err(Malformed::UnknownCode), "{bytes:?}");
        }
        let mut long = [b'x'; MAX_DATAGRAM_BYTES + 1];
        long[..3].copy_from_slice(b"tx ");
        assert_eq!(decode(&long), Err(Malformed::TooLong));
        assert!(decode(&long[1..]).is_err_and(|e| e == Malformed::UnknownCode));
        assert!(decode(&long[..MAX_DATAGRAM_BYTES]).is_ok());
    }

    #[test]
    fn a_refusal_says_of_what() {
        let text = refusal(Some(Code::RoomJoin), "* no");
        assert_eq!(refused(&text), (Some(Code::RoomJoin), "* no"));
        assert_eq!(refused(&refusal(None, "* no")), (None, "* no"));
        assert_eq!(refused("odd"), (None, "odd"));
    }
}
