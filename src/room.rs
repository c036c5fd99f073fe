//! The members of the room, and how a message reaches them.
//!
//! Delivery never waits: each member has a bounded queue, filled here and emptied by the member's
//! session. A member whose queue is full does not read; it is dropped, and nobody else notices a
//! delay. All members see all messages in the same order, since delivery holds the room's lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::link::{Line, line};
use crate::names::Name;
use crate::operator::Console;
use crate::protocol;

/// A chat room.
#[derive(Debug)]
pub struct Room {
    members: Mutex<Members>,
    queue: usize,
    console: Console,
    shutdown: CancellationToken,
}

#[derive(Debug, Default)]
struct Members {
    by_key: HashMap<String, Member>,
    seats_given: u64,
}

#[derive(Debug)]
struct Member {
    name: Name,
    seat: u64,
    outbox: mpsc::Sender<Line>,
    behind: CancellationToken,
}

/// A member's place in the room. Dropping it leaves the room.
#[derive(Debug)]
pub struct Seat {
    room: Arc<Room>,
    name: Name,
    number: u64,
    behind: CancellationToken,
}

/// The name is somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken;

impl Room {
    /// An empty room, in which `queue` messages may wait for each member. Once `shutdown` is
    /// cancelled it no longer tells the members who leaves.
    pub fn new(queue: usize, console: Console, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            members: Mutex::default(),
            queue,
            console,
            shutdown,
        })
    }

    /// Lets `name` in and tells everybody. The lines for the newcomer come out of the receiver,
    /// the first being the welcome by name.
    ///
    /// # Errors
    /// The name is taken.
    pub fn join(self: &Arc<Self>, name: &Name) -> Result<(Seat, mpsc::Receiver<Line>), Taken> {
        let mut members = self.lock();
        if members.by_key.contains_key(&name.key()) {
            return Err(Taken);
        }
        let (outbox, lines) = mpsc::channel(self.queue);
        let present = members.by_key.values().map(|m| &m.name);
        // The queue is new and has room for one.
        let _ = outbox.try_send(line(&protocol::admitted(name, present)));
        self.tell(&mut members, protocol::joined(name));
        members.seats_given += 1;
        let number = members.seats_given;
        let behind = CancellationToken::new();
        let member = Member {
            name: name.clone(),
            seat: number,
            outbox,
            behind: behind.clone(),
        };
        members.by_key.insert(name.key(), member);
        Ok((
            Seat {
                room: Arc::clone(self),
                name: name.clone(),
                number,
                behind,
            },
            lines,
        ))
    }

    /// Says `text` to everybody as the operator.
    pub fn say_as_operator(&self, text: &str) {
        self.tell(&mut self.lock(), protocol::operator_said(text));
    }

    /// How many members are present.
    pub fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Whether nobody is present.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives `text` to every member and the operator, and drops the members that fell behind.
    fn tell(&self, members: &mut Members, text: String) {
        // Each round but the last drops a member at least, so the rounds are bounded.
        let mut news = vec![text];
        while let Some(text) = news.pop() {
            let line = line(&text);
            self.console.show(text);
            members.by_key.retain(|_, member| {
                let kept = member.outbox.try_send(Arc::clone(&line)).is_ok();
                if !kept {
                    tracing::warn!(name = %member.name, queue = self.queue, "member fell behind and is dropped");
                    member.behind.cancel();
                    news.push(protocol::fell_behind(&member.name));
                }
                kept
            });
        }
    }

    fn leave(&self, seat: &Seat) {
        let mut members = self.lock();
        let key = seat.name.key();
        // After a drop the name may be another member's already.
        if members
            .by_key
            .get(&key)
            .is_some_and(|m| m.seat == seat.number)
        {
            members.by_key.remove(&key);
            if !self.shutdown.is_cancelled() {
                self.tell(&mut members, protocol::left(&seat.name));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        // The map is whole between any two statements, so a panic elsewhere does not spoil it.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The member's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Says `text` to every member, the author included.
    pub fn say(&self, text: &str) {
        let text = protocol::said(&self.name.to_string(), text);
        self.room.tell(&mut self.room.lock(), text);
    }

    /// Resolves when the member fell behind and was dropped.
    pub async fn fell_behind(&self) {
        self.behind.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.leave(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(queue: usize) -> Arc<Room> {
        Room::new(queue, Console::none(), CancellationToken::new())
    }

    fn name(text: &str) -> Name {
        Name::parse(text, 32).unwrap()
    }

    fn lines(receiver: &mut mpsc::Receiver<Line>) -> Vec<String> {
        std::iter::from_fn(|| receiver.try_recv().ok())
            .map(|l| l.trim_end().to_owned())
            .collect()
    }

    #[test]
    fn a_message_goes_to_every_member_marked_with_its_author() {
        let room = room(10);
        let (alice, mut to_alice) = room.join(&name("alice")).unwrap();
        let (_bob, mut to_bob) = room.join(&name("bob")).unwrap();
        alice.say("ciao");
        assert_eq!(
            lines(&mut to_alice),
            [
                "* you are alice; nobody else is here",
                "* bob has joined",
                "alice: ciao"
            ]
        );
        assert_eq!(
            lines(&mut to_bob),
            ["* you are bob; here: alice", "alice: ciao"]
        );
    }

    #[test]
    fn a_leaver_is_gone_at_once_and_not_told_of_it() {
        let room = room(10);
        let (alice, mut to_alice) = room.join(&name("alice")).unwrap();
        let (_bob, mut to_bob) = room.join(&name("bob")).unwrap();
        lines(&mut to_alice);
        lines(&mut to_bob);
        drop(alice);
        assert_eq!(room.len(), 1);
        assert!(lines(&mut to_alice).is_empty());
        assert_eq!(lines(&mut to_bob), ["* alice has left"]);
    }

    #[test]
    fn a_taken_name_is_refused_and_free_again_after_leaving() {
        let room = room(10);
        let (alice, _lines) = room.join(&name("alice")).unwrap();
        assert_eq!(room.join(&name("Alice")).err(), Some(Taken));
        drop(alice);
        assert!(room.join(&name("Alice")).is_ok());
    }

    #[tokio::test]
    async fn a_member_that_falls_behind_is_dropped_and_the_others_lose_nothing() {
        let room = room(4);
        let (alice, mut to_alice) = room.join(&name("alice")).unwrap();
        let (slow, _unread) = room.join(&name("slow")).unwrap();
        let mut heard = Vec::new();
        for n in 0..10 {
            alice.say(&n.to_string());
            heard.extend(lines(&mut to_alice));
        }
        slow.fell_behind().await;
        assert_eq!(room.len(), 1);
        let said: Vec<_> = heard.iter().filter(|l| l.starts_with("alice: ")).collect();
        assert_eq!(said.len(), 10);
        assert!(heard.contains(&"* slow fell behind and was dropped".to_owned()));
        // The late end of the dropped seat does not touch whoever has the name now.
        let (_again, _lines) = room.join(&name("slow")).unwrap();
        drop(slow);
        assert_eq!(room.len(), 2);
    }

    #[test]
    fn a_room_that_shuts_down_tells_nobody_who_leaves() {
        let shutdown = CancellationToken::new();
        let room = Room::new(10, Console::none(), shutdown.clone());
        let (alice, _to_alice) = room.join(&name("alice")).unwrap();
        let (_bob, mut to_bob) = room.join(&name("bob")).unwrap();
        lines(&mut to_bob);
        shutdown.cancel();
        drop(alice);
        assert!(lines(&mut to_bob).is_empty());
    }
}
