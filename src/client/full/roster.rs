//! Who is in the room, as far as the lines of its server tell.
//!
//! The lines are those of `chat-server`; of a foreign room nothing is known.

use std::collections::BTreeSet;

use crate::names::Name;
use crate::protocol;

/// So many names are kept; a server that tells of more is not believed.
const MAX_NAMES: usize = 10_000;

/// A longer name is none, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// The members of a room.
#[derive(Debug, Default)]
pub(super) struct Roster {
    own: Option<String>,
    others: BTreeSet<String>,
    /// Members that were counted and not named.
    unnamed: usize,
}

impl Roster {
    /// Takes note of a line of the server.
    pub(super) fn hear(&mut self, line: &str) {
        let Some(notice) = line.strip_prefix("* ") else {
            return;
        };
        if let Some(admitted) = line.strip_prefix(protocol::ADMITTED) {
            self.admitted(admitted);
        } else if self.own.is_none() {
            // No room of ours, or not in it yet.
        } else if let Some(name) = notice.strip_suffix(" has joined") {
            if self.others.len() < MAX_NAMES && is_name(name) {
                self.others.insert(name.to_owned());
            }
        } else if let Some(name) = gone(notice)
            && is_name(name)
            && !self.others.remove(name)
        {
            self.unnamed = self.unnamed.saturating_sub(1);
        }
    }

    /// One's own name, once the room has let one in.
    pub(super) fn own(&self) -> Option<&str> {
        self.own.as_deref()
    }

    /// The others that are known by name, in their order.
    pub(super) fn others(&self) -> impl Iterator<Item = &str> {
        self.others.iter().map(String::as_str)
    }

    /// Others that are not known by name.
    pub(super) fn unnamed(&self) -> usize {
        self.unnamed
    }

    /// How many are in the room; 0 where that is not known.
    pub(super) fn count(&self) -> usize {
        match self.own {
            // What a server tells may be any number.
            Some(_) => self.unnamed.saturating_add(1 + self.others.len()),
            None => 0,
        }
    }

    /// `alice; here: bob, carol and 5 more`, or `alice; nobody else is here`.
    fn admitted(&mut self, text: &str) {
        let Some((own, rest)) = text.split_once("; ") else {
            return;
        };
        if !is_name(own) {
            return;
        }
        *self = Self {
            own: Some(own.to_owned()),
            ..Self::default()
        };
        let Some(names) = rest.strip_prefix("here: ") else {
            return;
        };
        let counted = names.strip_suffix(" more");
        let counted = counted.and_then(|names| names.rsplit_once(" and "));
        let (names, unnamed) = match counted {
            Some((names, count)) => (names, count.parse().unwrap_or_default()),
            None => (names, 0),
        };
        self.unnamed = unnamed;
        let names = names.split(", ").filter(|name| is_name(name));
        self.others = names.take(MAX_NAMES).map(str::to_owned).collect();
    }
}

fn gone(notice: &str) -> Option<&str> {
    notice
        .strip_suffix(" has left")
        .or_else(|| notice.strip_suffix(" fell behind and was dropped"))
}

/// Whether it is a name of ours, and nothing that would be drawn over its neighbours.
fn is_name(text: &str) -> bool {
    Name::parse(text, MAX_NAME_BYTES).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &[&str]) -> (Vec<String>, usize) {
        let mut roster = Roster::default();
        for line in lines {
            roster.hear(line);
        }
        let names = roster.own().into_iter().chain(roster.others());
        (names.map(str::to_owned).collect(), roster.count())
    }

    #[test]
    fn members_come_and_go_as_the_server_tells() {
        let name = |text: &str| Name::parse(text, 32).unwrap();
        let present = [name("bob"), name("carol")];
        let (names, count) = after(&[
            protocol::ROOM_GREETING,
            &protocol::admitted(&name("alice"), present.iter()),
            &protocol::joined(&name("dave")),
            &protocol::left(&name("bob")),
            &protocol::fell_behind(&name("carol")),
            "dave: * erin has joined",
        ]);
        assert_eq!(names, ["alice", "dave"]);
        assert_eq!(count, 2);
    }

    #[test]
    fn a_name_is_what_a_server_of_ours_takes_for_one() {
        let (names, count) = after(&[
            "* you are हिन्दी; here: café, Z\u{301}\u{301}, \u{202e}x",
            "* ที่ has joined",
            "* a:b has joined",
        ]);
        assert_eq!((names.len(), count), (3, 3), "{names:?}");
    }

    #[test]
    fn members_that_were_not_named_are_counted() {
        let (names, count) = after(&["* you are alice; here: bob and 5 more", "* zoe has left"]);
        assert_eq!(names, ["alice", "bob"]);
        assert_eq!(count, 6);
        let lie = format!("* you are alice; here: bob and {} more", usize::MAX);
        assert_eq!(after(&[&lie, "* zoe has joined"]).1, usize::MAX);
    }

    #[test]
    fn nothing_is_known_of_other_servers() {
        assert_eq!(after(&["* bob has joined", "alice: ciao"]), (vec![], 0));
        assert_eq!(
            after(&["* you are the best", "* x has joined"]),
            (vec![], 0)
        );
    }

    #[test]
    fn a_server_that_lies_costs_little() {
        let mut roster = Roster::default();
        roster.hear("* you are alice; nobody else is here");
        for n in 0..MAX_NAMES + 5 {
            roster.hear(&format!("* u{n} has joined"));
        }
        roster.hear(&format!("* {} has joined", "x".repeat(1000)));
        assert_eq!(roster.count(), MAX_NAMES + 1);
    }
}
