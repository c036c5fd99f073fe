//! What the user types, as datagrams.

use super::super::wire::{Code, MAX_TEXT_BYTES};
use crate::protocol;

/// What a typed line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// Nothing: the line is empty.
    Nothing,
    /// To leave.
    Leave,
    /// To send a datagram.
    Send(Code, String),
    /// It cannot be done; the user is told why.
    Wrong(String),
}

/// The commands, each with the name of its argument.
const COMMANDS: [(&str, Code, Option<&str>); 7] = [
    ("userlist", Code::UserList, None),
    ("roomlist", Code::RoomList, None),
    ("roomcreate", Code::RoomCreate, Some("NAME")),
    ("roomjoin", Code::RoomJoin, Some("NAME")),
    ("roomleave", Code::RoomLeave, None),
    ("poke", Code::Poke, Some("USER")),
    ("kick", Code::Kick, None),
];

/// Reads a line, which is harmless already.
pub fn read(line: &str) -> Typed {
    if line.trim().is_empty() {
        Typed::Nothing
    } else if protocol::is_quit(line) {
        Typed::Leave
    } else if let Some(text) = line.strip_prefix('$') {
        if text.starts_with('$') {
            say(text)
        } else {
            command(text)
        }
    } else {
        say(line)
    }
}

/// What the user typed for a code; none for what is no command.
pub fn command_of(code: Code) -> Option<&'static str> {
    let found = COMMANDS.iter().find(|(_, of, _)| *of == code);
    found.map(|(name, ..)| *name)
}

fn say(text: &str) -> Typed {
    if text.len() > MAX_TEXT_BYTES {
        return Typed::Wrong(protocol::too_long(MAX_TEXT_BYTES));
    }
    Typed::Send(Code::Text, text.to_owned())
}

fn command(text: &str) -> Typed {
    let (name, argument) = text.split_once(' ').unwrap_or((text, ""));
    let argument = argument.trim();
    let known = COMMANDS.iter().find(|(known, ..)| *known == name);
    let Some((_, code, wanted)) = known else {
        let all = COMMANDS.map(|(name, ..)| format!("${name}")).join(" ");
        return Typed::Wrong(format!("* unknown command; there are: {all}"));
    };
    match wanted {
        Some(wanted) if argument.is_empty() => Typed::Wrong(format!("* write ${name} {wanted}")),
        None if !argument.is_empty() => Typed::Wrong(format!("* ${name} stands alone")),
        _ if argument.len() > MAX_TEXT_BYTES => Typed::Wrong(protocol::too_long(MAX_TEXT_BYTES)),
        _ => Typed::Send(*code, argument.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_code() {
        for (line, code, argument) in [
            ("$userlist", Code::UserList, ""),
            ("$roomlist ", Code::RoomList, ""),
            ("$roomcreate  den ", Code::RoomCreate, "den"),
            ("$roomjoin den", Code::RoomJoin, "den"),
            ("$roomleave", Code::RoomLeave, ""),
            ("$poke bob", Code::Poke, "bob"),
            ("$kick", Code::Kick, ""),
            ("ciao  a tutti", Code::Text, "ciao  a tutti"),
            ("$$5 each", Code::Text, "$5 each"),
        ] {
            assert_eq!(read(line), Typed::Send(code, argument.to_owned()), "{line}");
        }
        assert_eq!(command_of(Code::Poke), Some("poke"));
        assert_eq!(command_of(Code::Text), None);
    }

    #[test]
    fn the_user_is_told_what_is_wrong() {
        for (line, told) in [
            ("$", "* unknown command; there are: $userlist $roomlist"),
            ("$userlists", "* unknown command"),
            ("$roomcreate", "* write $roomcreate NAME"),
            ("$poke ", "* write $poke USER"),
            ("$kick bob", "* $kick stands alone"),
        ] {
            let Typed::Wrong(text) = read(line) else {
                panic!("{line}");
            };
            assert!(text.starts_with(told), "{line}: {text}");
        }
        let long = "x".repeat(MAX_TEXT_BYTES + 1);
        for line in [&long, &format!("$poke {long}")] {
            assert_eq!(read(line), Typed::Wrong(protocol::too_long(MAX_TEXT_BYTES)));
        }
        assert_eq!(read("  "), Typed::Nothing);
        assert_eq!(read(" quit"), Typed::Leave);
    }
}
