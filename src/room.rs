//! The members of the room, and how a message reaches them.
//!
//! Delivery never waits: a message is appended to the room's [`Feed`], from which each member's session
//! takes what waits for it. A member for whom too much waits does not read; it is dropped, and nobody
//! else notices a delay. All members see all messages in the same order, which the room's lock makes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio_util::sync::CancellationToken;

use crate::feed::{Feed, Key};
use crate::limits::{GATHERINGS, STALLED_TURNS, TURNS_LEFT};
use crate::link::Lines;
use crate::names::Name;
use crate::operator::{Block, Console};
use crate::pending::Pending;
use crate::protocol;

/// A chat room.
#[derive(Debug)]
pub struct Room {
    members: Mutex<Members>,
    queue: u64,
    console: Console,
    shutdown: CancellationToken,
}

#[derive(Debug, Default)]
struct Members {
    by_key: HashMap<String, Member>,
    feed: Feed,
    /// What the operator is shown next.
    unshown: Block,
    seats_given: u64,
}

#[derive(Debug)]
struct Member {
    name: Name,
    seat: u64,
    reader: Key,
    dismissed: CancellationToken,
}

/// A member's place in the room. Dropping it leaves the room.
#[derive(Debug)]
pub struct Seat {
    room: Arc<Room>,
    name: Name,
    number: u64,
    dismissed: CancellationToken,
}

/// What is said to a member, from its coming to its leaving.
#[derive(Debug)]
pub struct Outbox {
    room: Arc<Room>,
    reader: Key,
}

/// The name is somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken;

impl Room {
    /// An empty room, in which `queue` messages may wait for each member. Once `shutdown` is
    /// cancelled it no longer tells the members who leaves.
    pub fn new(queue: u32, console: Console, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            members: Mutex::default(),
            queue: queue.into(),
            console,
            shutdown,
        })
    }

    /// Lets `name` in and tells everybody else. Returns the welcome by name too, which goes before what
    /// comes out of the outbox.
    ///
    /// # Errors
    /// The name is taken.
    pub fn join(self: &Arc<Self>, name: &Name) -> Result<(Seat, Outbox, String), Taken> {
        let mut members = self.lock();
        if members.by_key.contains_key(name.key()) {
            return Err(Taken);
        }
        let present = members.by_key.values().map(|m| &m.name);
        let welcome = protocol::admitted(name, present);
        self.tell(&mut members, protocol::joined(name));
        members.seats_given += 1;
        let number = members.seats_given;
        let dismissed = self.shutdown.child_token();
        let reader = members.feed.add();
        let member = Member {
            name: name.clone(),
            seat: number,
            reader,
            dismissed: dismissed.clone(),
        };
        members.by_key.insert(name.key().to_owned(), member);
        drop(members);
        self.deliver();
        let seat = Seat {
            room: Arc::clone(self),
            name: name.clone(),
            number,
            dismissed,
        };
        let outbox = Outbox {
            room: Arc::clone(self),
            reader,
        };
        Ok((seat, outbox, welcome))
    }

    /// Says `text` to everybody as the operator.
    pub fn say_as_operator(&self, text: &str) {
        self.tell(&mut self.lock(), protocol::operator_said(text));
        self.deliver();
    }

    /// Whether the queue of some member is half full.
    pub fn is_crowded(&self) -> bool {
        self.lock().feed.any_behind(self.queue / 2)
    }

    /// Lets the members' sessions send while a queue is half full; it may be for want of a turn.
    ///
    /// A member whose socket is full takes nothing however often the others give way, and gets no more
    /// turns.
    pub async fn leave_turns(&self) {
        let (mut slowest, mut stalled) = (None, 0);
        for _ in 0..TURNS_LEFT {
            let now = Some(self.lock().feed.slowest());
            stalled = if now == slowest { stalled + 1 } else { 0 };
            if !self.is_crowded() || stalled > STALLED_TURNS {
                return;
            }
            slowest = now;
            self.deliver();
            tokio::task::yield_now().await;
        }
    }

    /// How many members are present.
    pub fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Whether nobody is present.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives `text` to every member and the operator, and drops the members that fell behind. They
    /// learn of it from [`Room::deliver`].
    fn tell(&self, members: &mut Members, text: String) {
        let Members {
            by_key,
            feed,
            unshown,
            ..
        } = members;
        // Each round but the last drops a member at least, so the rounds are bounded.
        let mut news = vec![text];
        while let Some(text) = news.pop() {
            feed.push(&text);
            unshown.push(&text);
            if !feed.any_behind(self.queue) {
                continue;
            }
            by_key.retain(|_, member| {
                let kept = !feed.is_behind(member.reader, self.queue);
                if !kept {
                    tracing::warn!(name = %member.name, queue = self.queue, "member fell behind and is dropped");
                    feed.drop_out(member.reader);
                    member.dismissed.cancel();
                    news.push(protocol::fell_behind(&member.name));
                }
                kept
            });
        }
    }

    /// Shows the operator what was said and has the members' sessions send it.
    fn deliver(&self) {
        let mut members = self.lock();
        if members.unshown.is_empty() {
            return;
        }
        // Under the lock, so that the operator sees all in the members' order.
        self.console
            .show_block(std::mem::take(&mut members.unshown));
        let parked = members.feed.publish();
        drop(members);
        for waker in parked {
            waker.wake();
        }
    }

    fn leave(&self, seat: &Seat) {
        let mut members = self.lock();
        let key = seat.name.key();
        // After a drop the name may be another member's already.
        if members
            .by_key
            .get(key)
            .is_some_and(|m| m.seat == seat.number)
            && let Some(member) = members.by_key.remove(key)
        {
            members.feed.leave(member.reader);
            if !self.shutdown.is_cancelled() {
                self.tell(&mut members, protocol::left(&seat.name));
            }
        }
        drop(members);
        self.deliver();
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        // The state is whole between any two statements, so a panic elsewhere does not spoil it.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The member's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Says `text` to every member, the author included; to nobody once the member was dismissed. True if nothing else waits to be delivered,
    /// so that it is for the caller to call [`Seat::deliver`].
    pub fn say(&self, text: &str) -> bool {
        let text = protocol::said(&self.name, text);
        let mut members = self.room.lock();
        // Dropped under the same lock: the name may be another member's by now.
        if self.dismissed.is_cancelled() {
            return false;
        }
        let first = members.unshown.is_empty();
        self.room.tell(&mut members, text);
        first
    }

    /// Has everything sent that was said. Whoever has something to say as well speaks first, so that one
    /// write to each member carries it all.
    pub async fn deliver(&self) {
        let waiting = || self.room.lock().unshown.lines();
        let mut said = waiting();
        for _ in 0..GATHERINGS {
            tokio::task::yield_now().await;
            if std::mem::replace(&mut said, waiting()) == said {
                break;
            }
        }
        self.room.deliver();
    }

    /// Resolves when the member fell behind and was dropped, or when the room shuts down.
    pub async fn dismissed(&self) {
        self.dismissed.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.leave(self);
    }
}

impl Lines for Outbox {
    fn poll_take(&mut self, cx: &mut Context<'_>, pending: &mut Pending) -> Poll<()> {
        let feed = &mut self.room.lock().feed;
        if feed.take(self.reader, pending) {
            return Poll::Ready(());
        }
        feed.park(self.reader, cx.waker());
        Poll::Pending
    }
}

impl Outbox {
    /// Takes nothing more, for want of somebody to send it to.
    pub fn give_up(&mut self) {
        self.room.lock().feed.drop_out(self.reader);
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.room.lock().feed.remove(self.reader);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn room(queue: u32) -> Arc<Room> {
        Room::new(queue, Console::none(), CancellationToken::new())
    }

    fn name(text: &str) -> Name {
        Name::parse(text, 32).unwrap()
    }

    fn lines(outbox: &mut Outbox) -> Vec<String> {
        let mut written = Vec::new();
        let mut pending = Pending::default();
        let mut cx = Context::from_waker(Waker::noop());
        while outbox.poll_take(&mut cx, &mut pending).is_ready() {
            while !pending.is_empty() {
                assert!(pending.poll_write(&mut cx, &mut written).is_ready());
            }
        }
        let text = String::from_utf8(written).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn say(seat: &Seat, text: &str) {
        assert!(seat.say(text), "it is for the caller to deliver it");
        seat.room.deliver();
    }

    #[test]
    fn a_message_goes_to_every_member_marked_with_its_author() {
        let room = room(10);
        let (alice, mut to_alice, welcome) = room.join(&name("alice")).unwrap();
        assert_eq!(welcome, "* you are alice; nobody else is here");
        let (_bob, mut to_bob, welcome) = room.join(&name("bob")).unwrap();
        assert_eq!(welcome, "* you are bob; here: alice");
        say(&alice, "ciao");
        assert_eq!(lines(&mut to_alice), ["* bob has joined", "alice: ciao"]);
        assert_eq!(lines(&mut to_bob), ["alice: ciao"]);
    }

    #[tokio::test]
    async fn who_speaks_while_another_delivers_is_delivered_with_it() {
        let room = room(10);
        let (alice, mut to_alice, _) = room.join(&name("alice")).unwrap();
        let (bob, _to_bob, _) = room.join(&name("bob")).unwrap();
        lines(&mut to_alice);
        assert!(alice.say("one"));
        let also = tokio::spawn(async move { (bob.say("two"), bob) });
        assert!(lines(&mut to_alice).is_empty(), "nothing is sent yet");
        alice.deliver().await;
        assert_eq!(lines(&mut to_alice), ["alice: one", "bob: two"]);
        assert!(!also.await.unwrap().0, "alice delivers for both");
    }

    #[test]
    fn a_leaver_is_gone_at_once_and_not_told_of_it() {
        let room = room(10);
        let (alice, mut to_alice, _) = room.join(&name("alice")).unwrap();
        let (_bob, mut to_bob, _) = room.join(&name("bob")).unwrap();
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
        let (alice, _lines, _) = room.join(&name("alice")).unwrap();
        assert_eq!(room.join(&name("Alice")).err(), Some(Taken));
        drop(alice);
        assert!(room.join(&name("Alice")).is_ok());
    }

    #[tokio::test]
    async fn a_member_that_falls_behind_is_dropped_and_the_others_lose_nothing() {
        let room = room(4);
        let (alice, mut to_alice, _) = room.join(&name("alice")).unwrap();
        let (slow, _unread, _) = room.join(&name("slow")).unwrap();
        let mut heard = Vec::new();
        for n in 0..10 {
            say(&alice, &n.to_string());
            heard.extend(lines(&mut to_alice));
        }
        slow.dismissed().await;
        assert_eq!(room.len(), 1);
        assert!(!slow.say("I am still here"));
        room.deliver();
        assert!(
            lines(&mut to_alice).is_empty(),
            "whoever was dropped is silent"
        );
        let said: Vec<_> = heard.iter().filter(|l| l.starts_with("alice: ")).collect();
        assert_eq!(said.len(), 10);
        assert!(heard.contains(&"* slow fell behind and was dropped".to_owned()));
        // The late end of the dropped seat does not touch whoever has the name now.
        let (_again, _lines, _) = room.join(&name("slow")).unwrap();
        drop(slow);
        assert_eq!(room.len(), 2);
    }

    #[test]
    fn a_room_that_shuts_down_tells_nobody_who_leaves() {
        let shutdown = CancellationToken::new();
        let room = Room::new(10, Console::none(), shutdown.clone());
        let (alice, _to_alice, _) = room.join(&name("alice")).unwrap();
        let (_bob, mut to_bob, _) = room.join(&name("bob")).unwrap();
        lines(&mut to_bob);
        shutdown.cancel();
        drop(alice);
        assert!(lines(&mut to_bob).is_empty());
    }
}
