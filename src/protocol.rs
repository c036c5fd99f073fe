//! The lines that server and client say to each other. `docs/chat.md` is their reference.
//!
//! A line that begins with `* ` is a notice of the server; every other line is `author: text`. No
//! name begins with `*`, so no member can speak as the server.

use std::fmt::Display;

use crate::names::{Name, NameError, OPERATOR};

/// The port that server and client use unless told otherwise.
pub const PORT: u16 = 15102;

/// The first line of a room: a request for a name follows.
pub const ROOM_GREETING: &str = "* welcome to the chat room: say `quit` to leave";

/// The first line of a one-to-one server: the talk begins at once.
pub const ONE_TO_ONE_GREETING: &str = "* welcome to the chat: say `quit` to leave";

/// Asks for a user name; the next message is taken as the answer.
pub const NAME_REQUEST: &str = "* your name?";

/// How the line begins that lets a user into the room.
pub const ADMITTED: &str = "* you are ";

/// What a client says to leave. The server answers with its farewell and closes first.
pub const QUIT: &str = "quit";

/// The last line to who has said [`QUIT`].
pub const GOODBYE: &str = "* goodbye";

/// Answers a telnet that asks whether somebody is there.
pub const PRESENT: &str = "* the server is here";

/// So many names of those present are listed to a newcomer; the others are counted.
const NAMES_LISTED: usize = 20;

/// Whether a message asks to leave. The terminal's other word for it, `exit`, works as well.
pub fn is_quit(message: &str) -> bool {
    matches!(message.trim(), QUIT | "exit")
}

/// A message, marked with its author.
pub fn said(author: impl Display, text: &str) -> String {
    format!("{author}: {text}")
}

/// What the operator says.
pub fn operator_said(text: &str) -> String {
    said(OPERATOR, text)
}

/// Lets `name` in and says who is there already.
pub fn admitted<'a>(name: &Name, present: impl ExactSizeIterator<Item = &'a Name>) -> String {
    let count = present.len();
    if count == 0 {
        return format!("{ADMITTED}{name}; nobody else is here");
    }
    let names: Vec<_> = present
        .take(NAMES_LISTED)
        .map(ToString::to_string)
        .collect();
    let more = match count - names.len() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!("{ADMITTED}{name}; here: {}{more}", names.join(", "))
}

/// The name cannot be used; a new [`NAME_REQUEST`] follows.
pub fn name_refused(text: &str, error: &NameError) -> String {
    // An over-long name is not sent back: the line would be as long as the message limit.
    match error {
        NameError::TooLong { .. } => format!("* that name cannot be used: {error}"),
        _ => format!("* the name `{}` cannot be used: {error}", text.trim()),
    }
}

/// The name is somebody else's at present; a new [`NAME_REQUEST`] follows.
pub fn name_taken(name: &Name) -> String {
    format!("* the name `{name}` is taken: choose another")
}

/// The message was over the limit and nobody got it.
pub fn too_long(max_bytes: usize) -> String {
    format!("{TOO_LONG}at most {max_bytes} bytes; it was not sent")
}

/// Whether a line is that of [`too_long`].
pub fn is_too_long(line: &str) -> bool {
    line.starts_with(TOO_LONG)
}

const TOO_LONG: &str = "* message too long: ";

/// Somebody came in.
pub fn joined(name: &Name) -> String {
    format!("* {name} has joined")
}

/// Somebody left, in whatever way.
pub fn left(name: &Name) -> String {
    format!("* {name} has left")
}

/// Somebody did not read and was dropped.
pub fn fell_behind(name: &Name) -> String {
    format!("* {name} fell behind and was dropped")
}

/// What a notice of a room says about its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence<'a> {
    /// The reader was let in.
    Admitted {
        /// Under this name.
        name: &'a str,
        /// These are there already.
        here: Vec<&'a str>,
        /// So many more are there.
        more: usize,
    },
    /// Somebody came in.
    Joined(&'a str),
    /// Somebody left, or was dropped.
    Left(&'a str),
}

/// Reads what [`admitted`], [`joined`], [`left`] and [`fell_behind`] write.
pub fn presence(line: &str) -> Option<Presence<'_>> {
    if let Some(rest) = line.strip_prefix(ADMITTED) {
        let (name, rest) = rest.split_once("; ")?;
        let list = rest.strip_prefix("here: ").unwrap_or_default();
        let (list, more) = match list.rsplit_once(" and ") {
            Some((list, more)) => (list, more.strip_suffix(" more")?.parse().ok()?),
            None => (list, 0),
        };
        let here = list.split(", ").filter(|name| !name.is_empty()).collect();
        return Some(Presence::Admitted { name, here, more });
    }
    let rest = line.strip_prefix("* ")?;
    // A sentence that merely ends so is about nobody.
    let name = |words: &str| rest.strip_suffix(words).filter(|name| !name.contains(' '));
    if let Some(name) = name(" has joined") {
        return Some(Presence::Joined(name));
    }
    name(" has left")
        .or_else(|| name(" fell behind and was dropped"))
        .map(Presence::Left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_words_leave_and_nothing_else_does() {
        assert!(is_quit("quit") && is_quit(" exit "));
        assert!(!is_quit("quit now") && !is_quit("Quit") && !is_quit("q"));
    }

    #[test]
    fn a_newcomer_is_told_a_bounded_number_of_names() {
        let name = |text: &str| Name::parse(text, 32).unwrap();
        let crowd: Vec<_> = (0..25).map(|n| name(&format!("u{n}"))).collect();
        let alone = admitted(&name("alice"), [].iter());
        assert_eq!(alone, "* you are alice; nobody else is here");
        let line = admitted(&name("alice"), crowd[..2].iter());
        assert_eq!(line, "* you are alice; here: u0, u1");
        assert!(admitted(&name("alice"), crowd.iter()).ends_with("u19 and 5 more"));
    }

    #[test]
    fn what_is_said_of_members_is_read_back() {
        let name = |text: &str| Name::parse(text, 32).unwrap();
        let crowd: Vec<_> = (0..25).map(|n| name(&format!("u{n}"))).collect();
        let line = admitted(&name("alice"), crowd.iter());
        let Some(Presence::Admitted {
            name: own,
            here,
            more,
        }) = presence(&line)
        else {
            panic!("{line}")
        };
        assert_eq!((own, here.len(), here[19], more), ("alice", 20, "u19", 5));
        let alone = admitted(&name("alice"), [].iter());
        let expected = Presence::Admitted {
            name: "alice",
            here: vec![],
            more: 0,
        };
        assert_eq!(presence(&alone), Some(expected));
        assert_eq!(
            presence(&joined(&name("bob"))),
            Some(Presence::Joined("bob"))
        );
        assert_eq!(presence(&left(&name("bob"))), Some(Presence::Left("bob")));
        assert_eq!(
            presence(&fell_behind(&name("bob"))),
            Some(Presence::Left("bob"))
        );
    }

    #[test]
    fn other_lines_say_nothing_of_members() {
        for line in [
            "bob: * carol has joined",
            "* the tide has left",
            "* you are what you eat",
            "* you are alice; here: bob and many more",
            "* goodbye",
            "",
        ] {
            assert_eq!(presence(line), None, "{line}");
        }
    }
}
