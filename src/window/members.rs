//! Who is in the room, as its notices tell.

use std::collections::BTreeSet;

use crate::names::Name;
use crate::protocol::{self, Presence};

/// So many names are kept; the others are counted.
const MAX_NAMES: usize = 10_000;

/// The longest name that is taken for one, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// The members that the server has told of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    own: Option<String>,
    names: BTreeSet<String>,
    others: usize,
}

impl Members {
    /// Takes note of a line of the server.
    pub fn hear(&mut self, line: &str) {
        match protocol::presence(line) {
            Some(Presence::Admitted { name, here, more }) if is_name(name) => {
                *self = Self {
                    own: Some(name.to_owned()),
                    names: BTreeSet::new(),
                    others: more,
                };
                self.add(name);
                for name in here {
                    self.add(name);
                }
            }
            // A server that has let nobody in by name says this about something else.
            _ if self.own.is_none() => {}
            Some(Presence::Joined(name)) => self.add(name),
            Some(Presence::Left(name)) => {
                if !self.names.remove(name) {
                    self.others = self.others.saturating_sub(1);
                }
            }
            Some(Presence::Admitted { .. }) | None => {}
        }
    }

    fn add(&mut self, name: &str) {
        if self.names.len() < MAX_NAMES && is_name(name) {
            self.names.insert(name.to_owned());
        } else {
            self.others = self.others.saturating_add(1);
        }
    }

    /// The name under which the user was let in; none in a foreign room, which does not tell.
    pub fn own(&self) -> Option<&str> {
        self.own.as_deref()
    }

    /// How many there are, the user too.
    pub fn count(&self) -> usize {
        // What a server tells may be any number.
        self.names.len().saturating_add(self.others)
    }

    /// The names that are known, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

/// Whether it is a name of ours, and nothing that would be drawn over its neighbours.
fn is_name(name: &str) -> bool {
    Name::parse(name, MAX_NAME_BYTES).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> Members {
        let mut members = Members::default();
        for line in lines {
            members.hear(line);
        }
        members
    }

    #[test]
    fn they_come_and_go() {
        let members = told(&[
            "* you are bob; here: alice, carol",
            "* dave has joined",
            "* alice has left",
            "dave: * eve has joined",
            "* carol fell behind and was dropped",
        ]);
        assert_eq!(members.own(), Some("bob"));
        assert_eq!(members.names().collect::<Vec<_>>(), ["bob", "dave"]);
    }

    #[test]
    fn those_without_a_name_are_counted() {
        let members = told(&["* you are bob; here: alice and 5 more", "* x has left"]);
        assert_eq!(members.count(), 6);
        assert_eq!(members.names().count(), 2);
    }

    #[test]
    fn a_foreign_room_has_no_members_to_show() {
        let members = told(&[
            "* you are Z\u{301}\u{301}; nobody else is here",
            "* bob has joined",
        ]);
        assert_eq!((members.own(), members.count()), (None, 0));
        let members = told(&["* somebody has joined", "user4: ciao"]);
        assert_eq!((members.own(), members.count()), (None, 0));
    }

    #[test]
    fn a_flood_of_names_is_counted_and_not_kept() {
        let mut members = told(&["* you are bob; nobody else is here"]);
        for n in 0..2 * MAX_NAMES {
            members.hear(&format!("* u{n} has joined"));
        }
        assert_eq!(members.names().count(), MAX_NAMES);
        assert_eq!(members.count(), 2 * MAX_NAMES + 1);
    }

    #[test]
    fn a_server_may_tell_any_number() {
        let lie = format!("* you are bob; here: alice and {} more", usize::MAX);
        assert_eq!(told(&[&lie, "* zoe has joined"]).count(), usize::MAX);
    }
}
