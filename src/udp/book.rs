//! The address book: who has which name and address, and who is in which room.
//!
//! It knows no datagrams. A room exists as long as somebody is in it, so there are never more rooms
//! than users.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use tokio::time::Instant;

use super::gate::Allowance;
use crate::names::Name;

/// A user.
#[derive(Debug)]
pub struct User {
    /// Who it is.
    pub name: Name,
    /// When the latest datagram came from the user's address.
    pub heard: Instant,
    /// How fast the user may send.
    pub allowance: Allowance,
    /// The key of the room the user is in.
    room: Option<String>,
    /// Who alone gets what the user says.
    poked: Option<SocketAddr>,
}

#[derive(Debug)]
struct Room {
    name: Name,
    members: BTreeSet<SocketAddr>,
}

/// Whom a removal concerns.
#[derive(Debug)]
pub struct Removed {
    /// The name that is free again.
    pub name: Name,
    /// Who was in the same room.
    pub mates: BTreeSet<SocketAddr>,
    /// Who talked to the user privately, and now does not any more.
    pub talkers: BTreeSet<SocketAddr>,
}

/// The users and rooms.
#[derive(Debug, Default)]
pub struct Book {
    users: HashMap<SocketAddr, User>,
    by_name: BTreeMap<String, SocketAddr>,
    rooms: BTreeMap<String, Room>,
}

impl Book {
    /// Enters a user whose name and address are both new.
    pub fn add(&mut self, address: SocketAddr, name: Name, now: Instant, allowance: Allowance) {
        self.by_name.insert(name.key().to_owned(), address);
        let user = User {
            name,
            heard: now,
            allowance,
            room: None,
            poked: None,
        };
        self.users.insert(address, user);
    }

    /// Takes a user out of the book, the room and all private talks.
    pub fn remove(&mut self, address: SocketAddr) -> Option<Removed> {
        let mates = self.leave_room(address).map(|(_, mates)| mates);
        let user = self.users.remove(&address)?;
        self.by_name.remove(user.name.key());
        let mut talkers = BTreeSet::new();
        // A later user of the same address must not get what was meant for this one.
        for (talker, other) in &mut self.users {
            if other.poked == Some(address) {
                other.poked = None;
                talkers.insert(*talker);
            }
        }
        Some(Removed {
            name: user.name,
            mates: mates.unwrap_or_default(),
            talkers,
        })
    }

    /// The user at an address.
    pub fn user(&self, address: SocketAddr) -> Option<&User> {
        self.users.get(&address)
    }

    /// The user at an address, to be changed.
    pub fn user_mut(&mut self, address: SocketAddr) -> Option<&mut User> {
        self.users.get_mut(&address)
    }

    /// The user of a name: the address, and the name as it was given.
    pub fn find(&self, name: &Name) -> Option<(SocketAddr, &Name)> {
        let address = *self.by_name.get(name.key())?;
        Some((address, &self.users.get(&address)?.name))
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is no user.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// How many users have this IP address.
    pub fn len_at(&self, address: IpAddr) -> usize {
        self.users.keys().filter(|a| a.ip() == address).count()
    }

    /// Every address, in no order.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.users.keys().copied()
    }

    /// The users by name, each with the name of the room.
    pub fn users(&self) -> impl ExactSizeIterator<Item = (&Name, Option<&Name>)> {
        self.by_name.values().map(|address| {
            // Names and users are entered and removed together.
            let user = &self.users[address];
            (&user.name, self.room_of(user).map(|room| &room.name))
        })
    }

    /// The users not heard since `limit`.
    pub fn silent_since(&self, limit: Instant) -> Vec<SocketAddr> {
        let silent = self.users.iter().filter(|(_, user)| user.heard < limit);
        silent.map(|(address, _)| *address).collect()
    }

    /// The rooms by name, each with the number of its members.
    pub fn rooms(&self) -> impl ExactSizeIterator<Item = (&Name, usize)> {
        self.rooms
            .values()
            .map(|room| (&room.name, room.members.len()))
    }

    /// The room's name as it was given at its creation.
    pub fn room_named(&self, name: &Name) -> Option<&Name> {
        self.rooms.get(name.key()).map(|room| &room.name)
    }

    /// The room that the user is in, and everybody there.
    pub fn room_at(&self, address: SocketAddr) -> Option<(&Name, &BTreeSet<SocketAddr>)> {
        let room = self.room_of(self.users.get(&address)?)?;
        Some((&room.name, &room.members))
    }

    /// Puts the user into the room `name`, which is made if it is new. The user must be in none.
    pub fn enter_room(&mut self, address: SocketAddr, name: &Name) {
        let Some(user) = self.users.get_mut(&address) else {
            return;
        };
        user.room = Some(name.key().to_owned());
        let room = self
            .rooms
            .entry(name.key().to_owned())
            .or_insert_with(|| Room {
                name: name.clone(),
                members: BTreeSet::new(),
            });
        room.members.insert(address);
    }

    /// Takes the user out of the room; gives its name and who is still there.
    pub fn leave_room(&mut self, address: SocketAddr) -> Option<(Name, BTreeSet<SocketAddr>)> {
        let key = self.users.get_mut(&address)?.room.take()?;
        let room = self.rooms.get_mut(&key)?;
        room.members.remove(&address);
        let left = (room.name.clone(), room.members.clone());
        if room.members.is_empty() {
            self.rooms.remove(&key);
        }
        Some(left)
    }

    /// Whom the user talks to privately.
    pub fn poked_by(&self, address: SocketAddr) -> Option<(SocketAddr, &Name)> {
        let poked = self.users.get(&address)?.poked?;
        Some((poked, &self.users.get(&poked)?.name))
    }

    /// Begins, changes or ends the user's private talk.
    pub fn poke(&mut self, address: SocketAddr, poked: Option<SocketAddr>) {
        if let Some(user) = self.users.get_mut(&address) {
            user.poked = poked;
        }
    }

    fn room_of(&self, user: &User) -> Option<&Room> {
        self.rooms.get(user.room.as_deref()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text, 32).unwrap()
    }

    fn at(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    fn book(names: &[&str]) -> Book {
        let mut book = Book::default();
        let now = Instant::now();
        for (port, text) in (1..).zip(names) {
            book.add(at(port), name(text), now, Allowance::new(0, 1));
        }
        book
    }

    #[test]
    fn a_room_lives_as_long_as_somebody_is_in_it() {
        let mut book = book(&["alice", "bob"]);
        book.enter_room(at(1), &name("Den"));
        book.enter_room(at(2), &name("den"));
        assert_eq!(book.rooms().next(), Some((&name("Den"), 2)));
        let (room, left) = book.leave_room(at(1)).unwrap();
        assert_eq!((room, left), (name("Den"), BTreeSet::from([at(2)])));
        assert_eq!(book.leave_room(at(1)), None);
        book.remove(at(2));
        assert_eq!(book.rooms().len(), 0);
    }

    #[test]
    fn who_is_removed_leaves_nothing_behind() {
        let mut book = book(&["alice", "bob", "carol"]);
        book.enter_room(at(1), &name("den"));
        book.enter_room(at(2), &name("den"));
        book.poke(at(3), Some(at(1)));
        let removed = book.remove(at(1)).unwrap();
        assert_eq!(removed.mates, BTreeSet::from([at(2)]));
        assert_eq!(removed.talkers, BTreeSet::from([at(3)]));
        assert_eq!(book.poked_by(at(3)), None);
        assert_eq!((book.find(&name("alice")), book.len()), (None, 2));
        assert!(book.remove(at(1)).is_none());
    }
}
