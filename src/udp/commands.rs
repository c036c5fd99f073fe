//! What a user may ask for, and what comes of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::limits::MAX_NAME_BYTES;
use super::service::{GOODBYE, Service, Who};
use super::wire::{Code, Datagram, MAX_TEXT_BYTES, Malformed};
use crate::names::Name;
use crate::protocol;

impl Service {
    /// A datagram from a user.
    pub(super) fn serve(&mut self, who: &Who, datagram: Result<Datagram, Malformed>) {
        let Datagram { code, text } = match datagram {
            Ok(datagram) => datagram,
            Err(malformed) => return self.refuse(who.address, None, &format!("* {malformed}")),
        };
        let done = match code {
            Code::Hello => self.hello_again(who, &text),
            Code::Goodbye => {
                self.remove(who.address, "has left");
                Ok(GOODBYE.to_owned())
            }
            Code::KeepAlive => Ok(String::new()),
            Code::Text => return self.say(who, &text),
            Code::UserList => Ok(self.user_list()),
            Code::RoomList => Ok(self.room_list()),
            Code::RoomCreate => self.create_room(who, &text),
            Code::RoomJoin => self.join_room(who, &text),
            Code::RoomLeave => self.leave(who),
            Code::Poke => self.poke(who, &text),
            Code::Kick => self.kick(who),
            Code::Notice | Code::Refused | Code::WhoAreYou => {
                Err("* only a server says that".to_owned())
            }
        };
        match done {
            Ok(answer) => self.tell(who.address, code, &answer),
            Err(reason) => self.refuse(who.address, Some(code), &reason),
        }
    }

    /// A repeated request to join is answered again: the first answer may have been lost.
    fn hello_again(&self, who: &Who, text: &str) -> Result<String, String> {
        let name = &who.name;
        match Name::parse(text, MAX_NAME_BYTES) {
            Ok(again) if again.key() == name.key() => {
                let others = self.book.users().map(|(other, _)| other);
                let others: Vec<_> = others.filter(|other| *other != name).cloned().collect();
                Ok(protocol::admitted(name, others.iter()))
            }
            _ => Err(format!("* you are {name} already")),
        }
    }

    /// Text goes to the user in a private talk, or else to everybody in the room. The author gets
    /// it too, which is the sign that it has arrived.
    fn say(&mut self, who: &Who, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        if text.len() > MAX_TEXT_BYTES {
            let told = protocol::too_long(MAX_TEXT_BYTES);
            return self.refuse(who.address, Some(Code::Text), &told);
        }
        let author = &who.name;
        if let Some((poked, name)) = self.book.poked_by(who.address) {
            let said = protocol::said(format!("{author} -> {name}"), text);
            self.tell_all(BTreeSet::from([who.address, poked]), Code::Text, &said);
        } else if let Some((_, members)) = self.book.room_at(who.address) {
            let said = protocol::said(author, text);
            self.tell_all(members.clone(), Code::Text, &said);
        } else {
            let told = "* you are in no room and no private talk: that was said to nobody";
            self.refuse(who.address, Some(Code::Text), told);
        }
    }

    fn user_list(&self) -> String {
        let users = self.book.users().map(|(name, room)| match room {
            Some(room) => format!("{name} (in {room})"),
            None => name.to_string(),
        });
        listed("user", users)
    }

    fn room_list(&self) -> String {
        let rooms = self
            .book
            .rooms()
            .map(|(name, len)| format!("{name} ({len})"));
        listed("room", rooms)
    }

    fn create_room(&mut self, who: &Who, text: &str) -> Result<String, String> {
        let name = room_name(text)?;
        if let Some(name) = self.book.room_named(&name) {
            return Err(format!("* there is a room {name} already"));
        }
        let max = self.limits.max_rooms;
        if self.book.rooms().len() >= max as usize {
            return Err(format!("* {max} rooms at most"));
        }
        tracing::debug!(room = %name, "created");
        Ok(self.enter_room(who, &name))
    }

    fn join_room(&mut self, who: &Who, text: &str) -> Result<String, String> {
        let name = room_name(text)?;
        let room = self.book.room_named(&name).cloned();
        let room = room.ok_or_else(|| format!("* there is no room {name}"))?;
        let present = self.book.room_at(who.address).map(|(present, _)| present);
        if present == Some(&room) {
            return Ok(format!("* you are in {room}"));
        }
        Ok(self.enter_room(who, &room))
    }

    /// Text goes to the room from now on: a private talk is over.
    fn enter_room(&mut self, who: &Who, room: &Name) -> String {
        self.leave_room(who);
        self.book.poke(who.address, None);
        self.book.enter_room(who.address, room);
        let entered = format!("* {} has entered {room}", who.name);
        self.tell_mates(who.address, &entered);
        format!("* you are in {room}")
    }

    /// Ends the private talk, or leaves the room where there is none.
    fn leave(&mut self, who: &Who) -> Result<String, String> {
        if let Some((_, name)) = self.book.poked_by(who.address) {
            let told = format!("* the private talk with {name} is over");
            self.book.poke(who.address, None);
            return Ok(told);
        }
        let room = self.leave_room(who).ok_or(NO_ROOM)?;
        Ok(format!("* you have left {room}"))
    }

    fn leave_room(&mut self, who: &Who) -> Option<Name> {
        let (room, mates) = self.book.leave_room(who.address)?;
        let left = format!("* {} has left {room}", who.name);
        self.tell_all(mates, Code::Notice, &left);
        Some(room)
    }

    fn poke(&mut self, who: &Who, text: &str) -> Result<String, String> {
        let name =
            Name::parse(text, MAX_NAME_BYTES).map_err(|e| protocol::name_refused(text, &e))?;
        let poked = self.book.find(&name);
        let (poked, name) = poked.ok_or_else(|| format!("* there is no user {name}"))?;
        if poked == who.address {
            return Err("* that is you".to_owned());
        }
        let answer = format!("* you talk to {name} alone; `$roomleave` ends it");
        self.book.poke(who.address, Some(poked));
        let author = &who.name;
        let told = format!("* {author} talks to you alone; `$poke {author}` answers");
        self.tell(poked, Code::Notice, &told);
        Ok(answer)
    }

    /// Puts everybody out of the room that the user is in, the user too.
    fn kick(&mut self, who: &Who) -> Result<String, String> {
        let (room, members) = self.book.room_at(who.address).ok_or(NO_ROOM)?;
        let (room, mut members) = (room.clone(), members.clone());
        for member in &members {
            self.book.leave_room(*member);
        }
        members.remove(&who.address);
        let told = format!("* {} has put everybody out of {room}", who.name);
        self.tell_all(members, Code::Notice, &told);
        Ok(format!("* everybody is out of {room}"))
    }

    fn tell_mates(&mut self, from: SocketAddr, text: &str) {
        if let Some((_, members)) = self.book.room_at(from) {
            let mut mates = members.clone();
            mates.remove(&from);
            self.tell_all(mates, Code::Notice, text);
        }
    }
}

const NO_ROOM: &str = "* you are in no room";

fn room_name(text: &str) -> Result<Name, String> {
    Name::parse(text, MAX_NAME_BYTES).map_err(|e| protocol::name_refused(text, &e))
}

/// A line that lists as many items as a text may hold, and counts the others.
fn listed(what: &str, items: impl ExactSizeIterator<Item = String>) -> String {
    let count = items.len();
    let plural = if count == 1 { "" } else { "s" };
    let mut line = format!("* {count} {what}{plural}");
    let mut separator = ": ";
    for (n, item) in items.enumerate() {
        if line.len() + separator.len() + item.len() > MAX_TEXT_BYTES {
            return format!("{line} and {} more", count - n);
        }
        line.push_str(separator);
        line.push_str(&item);
        separator = ", ";
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::testing::Talk;
    use crate::udp::wire::MAX_DATAGRAM_BYTES;

    #[test]
    fn text_goes_to_the_room_and_back_to_its_author() {
        let mut talk = Talk::new(&["alice", "bob", "carol"]);
        let nobody = "1 no tx * you are in no room and no private talk: that was said to nobody";
        assert_eq!(talk.say(1, "tx ciao"), [nobody]);
        assert_eq!(talk.say(1, "rc Den"), ["1 rc * you are in Den"]);
        let entered = ["1 nt * bob has entered Den", "2 rj * you are in Den"];
        assert_eq!(talk.say(2, "rj den"), entered);
        assert_eq!(talk.say(2, "rj den"), ["2 rj * you are in Den"]);
        assert_eq!(
            talk.say(1, "tx ciao"),
            ["1 tx alice: ciao", "2 tx alice: ciao"]
        );
        assert_eq!(talk.say(1, "tx  "), [""; 0]);
        let left = ["1 nt * bob has left Den", "2 lv * you have left Den"];
        assert_eq!(talk.say(2, "lv"), left);
        assert_eq!(talk.say(2, "lv"), ["2 no lv * you are in no room"]);
        assert_eq!(talk.say(1, "tx ciao"), ["1 tx alice: ciao"]);
    }

    #[test]
    fn the_lists_name_users_and_rooms() {
        let mut talk = Talk::new(&["bob", "alice"]);
        assert_eq!(talk.say(1, "rl"), ["1 rl * 0 rooms"]);
        talk.say(1, "rc den");
        assert_eq!(talk.say(2, "ul"), ["2 ul * 2 users: alice, bob (in den)"]);
        assert_eq!(talk.say(2, "rl"), ["2 rl * 1 room: den (1)"]);
    }

    #[test]
    fn a_private_talk_goes_to_two_alone_until_it_is_left() {
        let mut talk = Talk::new(&["alice", "bob", "carol"]);
        talk.say(1, "rc den");
        talk.say(3, "rj den");
        let told = [
            "1 pk * you talk to bob alone; `$roomleave` ends it",
            "2 nt * alice talks to you alone; `$poke alice` answers",
        ];
        let mut answers = talk.say(1, "pk Bob");
        answers.sort();
        assert_eq!(answers, told);
        let said = ["1 tx alice -> bob: psst", "2 tx alice -> bob: psst"];
        assert_eq!(talk.say(1, "tx psst"), said);
        // The room is still heard.
        assert_eq!(
            talk.say(3, "tx ciao"),
            ["1 tx carol: ciao", "3 tx carol: ciao"]
        );
        assert_eq!(
            talk.say(1, "lv"),
            ["1 lv * the private talk with bob is over"]
        );
        assert_eq!(talk.say(1, "tx ciao").len(), 2);
        assert_eq!(talk.say(1, "pk alice"), ["1 no pk * that is you"]);
        assert_eq!(talk.say(1, "pk dave"), ["1 no pk * there is no user dave"]);
    }

    #[test]
    fn a_kick_empties_the_room() {
        let mut talk = Talk::new(&["alice", "bob"]);
        assert_eq!(talk.say(1, "ki"), ["1 no ki * you are in no room"]);
        talk.say(1, "rc den");
        talk.say(2, "rj den");
        let mut told = talk.say(2, "ki");
        told.sort();
        let all = [
            "1 nt * bob has put everybody out of den",
            "2 ki * everybody is out of den",
        ];
        assert_eq!(told, all);
        assert_eq!(talk.say(1, "rj den"), ["1 no rj * there is no room den"]);
    }

    #[test]
    fn entering_a_room_leaves_the_one_before() {
        let mut talk = Talk::new(&["alice", "bob"]);
        talk.say(1, "rc den");
        talk.say(2, "rj den");
        let moved = ["1 nt * bob has left den", "2 rc * you are in attic"];
        assert_eq!(talk.say(2, "rc attic"), moved);
        assert_eq!(
            talk.say(2, "rc Den"),
            ["2 no rc * there is a room den already"]
        );
        talk.service.limits.max_rooms = 2;
        assert_eq!(talk.say(2, "rc loft"), ["2 no rc * 2 rooms at most"]);
        let bad = talk.say(2, "rc a b");
        assert!(bad[0].contains("the name `a b` cannot be used"), "{bad:?}");
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let mut talk = Talk::new(&["alice", "bob"]);
        let refused = |talk: &mut Talk, datagram: &str| talk.say(1, datagram).concat();
        assert!(refused(&mut talk, "xx").starts_with("1 no ?? * unknown code"));
        assert!(refused(&mut talk, "nt * you won").starts_with("1 no nt * only a server"));
        let long = format!("tx {}", "x".repeat(1197));
        let told = "1 no tx * message too long: at most 1024 bytes; it was not sent";
        assert_eq!(refused(&mut talk, &long), told);
        let oversized = format!("{long}x");
        assert!(refused(&mut talk, &oversized).starts_with("1 no ?? * datagram too long"));
        // What is made harmless grows, and may be too long then.
        let hostile = format!("tx {}", "\u{1b}".repeat(1000));
        assert_eq!(refused(&mut talk, &hostile), told);
    }

    #[test]
    fn every_answer_fits_into_a_datagram() {
        let long = "x".repeat(29);
        let names: Vec<_> = (100..250).map(|n| format!("{long}{n}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let mut talk = Talk::new(&names);
        talk.say(1, &format!("rc {long}"));
        talk.say(2, &format!("pk {}", names[0]));
        let text = format!("tx {}", "x".repeat(MAX_TEXT_BYTES));
        for (from, datagram) in [(1, "ul"), (1, "hi"), (2, &text), (1, &text), (9, "hi new")] {
            for answer in talk.say(from, datagram) {
                let (_, answer) = answer.split_once(' ').unwrap();
                assert!(answer.len() <= MAX_DATAGRAM_BYTES, "{answer}");
            }
        }
        assert!(talk.say(1, "ul").concat().ends_with(" more"));
    }
}
