//! What is said in a room: kept once, and read by each member from its own place.
//!
//! Lines are gathered in an open piece. Publishing it seals it: from then on it never changes, and all
//! readers share its bytes and send them with one write. A piece goes when its last reader has taken it,
//! so that nothing is kept for readers that are up to date.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::Bytes;

use crate::limits::PIECE_BYTES;
use crate::pending::Pending;

/// The lines of a room and where its readers are in them.
#[derive(Debug, Default)]
pub struct Feed {
    pieces: VecDeque<Piece>,
    /// The number of the first of `pieces`.
    first: u64,
    /// The lines after the last piece.
    open: Vec<u8>,
    /// Lines before `open`, and in it.
    sealed_lines: u64,
    open_lines: u64,
    places: Vec<Place>,
    free: Vec<usize>,
    /// Readers that still get what is appended.
    readers: usize,
    parked: Vec<Waker>,
    /// How often `parked` was emptied.
    rounds: u64,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// Lines before it.
    lines_before: u64,
    /// So many have not taken it yet.
    readers: usize,
}

/// Where a reader is.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The piece that it takes next.
    next: u64,
    /// The piece before which it stops, once it has left.
    end: Option<u64>,
    /// Its waker's round and index in `parked`.
    parked: (u64, usize),
}

/// A reader's key; it is given back with [`Feed::remove`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(usize);

impl Feed {
    /// A new reader, which gets what is appended from now on.
    pub fn add(&mut self) -> Key {
        self.seal();
        self.readers += 1;
        let place = Place {
            next: self.end(),
            end: None,
            parked: (u64::MAX, 0),
        };
        if let Some(index) = self.free.pop() {
            self.places[index] = place;
            return Key(index);
        }
        self.places.push(place);
        Key(self.places.len() - 1)
    }

    /// Appends a line, without its line end. Readers get it once it is published.
    pub fn push(&mut self, text: &str) {
        if self.readers == 0 {
            return;
        }
        if self.open.len() + text.len() >= PIECE_BYTES {
            self.seal();
        }
        self.open.extend_from_slice(text.as_bytes());
        self.open.push(b'\n');
        self.open_lines += 1;
    }

    /// Makes what was appended ready to be taken, and returns whom to wake.
    pub fn publish(&mut self) -> Vec<Waker> {
        self.seal();
        self.rounds += 1;
        std::mem::take(&mut self.parked)
    }

    /// Moves what waits for a reader into `pending`, as far as there is room; false if nothing waits.
    pub fn take(&mut self, key: Key, pending: &mut Pending) -> bool {
        let Place { mut next, end, .. } = self.places[key.0];
        let end = end.unwrap_or_else(|| self.end());
        if next == end {
            return false;
        }
        while next < end && pending.has_room() {
            let piece = self.piece(next);
            piece.readers -= 1;
            pending.share(piece.bytes.clone());
            next += 1;
        }
        self.places[key.0].next = next;
        self.forget_taken();
        true
    }

    /// Remembers whom to wake for a reader for which nothing waits.
    pub fn park(&mut self, key: Key, waker: &Waker) {
        let place = &mut self.places[key.0];
        if place.parked.0 == self.rounds {
            self.parked[place.parked.1].clone_from(waker);
        } else {
            place.parked = (self.rounds, self.parked.len());
            self.parked.push(waker.clone());
        }
    }

    /// The piece that the slowest reader takes next.
    pub fn slowest(&self) -> u64 {
        self.first
    }

    /// Whether more than `lines` wait for some reader.
    pub fn any_behind(&self, lines: u64) -> bool {
        self.waiting_from(self.first) > lines
    }

    /// Whether more than `lines` wait for this reader, which has not left.
    pub fn is_behind(&self, key: Key, lines: u64) -> bool {
        let Place { next, end, .. } = self.places[key.0];
        end.is_none() && self.waiting_from(next) > lines
    }

    /// A reader gets nothing of what is appended from now on; what waits for it already, it may take.
    pub fn leave(&mut self, key: Key) {
        if self.places[key.0].end.is_none() {
            self.seal();
            self.places[key.0].end = Some(self.end());
            self.readers -= 1;
        }
    }

    /// A reader gets nothing more, not even what waits for it.
    pub fn drop_out(&mut self, key: Key) {
        self.leave(key);
        let Place { next, end, .. } = self.places[key.0];
        let end = end.unwrap_or(next);
        for number in next..end {
            self.piece(number).readers -= 1;
        }
        self.places[key.0].next = end;
        self.forget_taken();
    }

    /// A reader is gone, and its key with it.
    pub fn remove(&mut self, key: Key) {
        self.drop_out(key);
        self.free.push(key.0);
    }

    /// The number of the piece after the last.
    fn end(&self) -> u64 {
        self.first + self.pieces.len() as u64
    }

    /// A piece that some reader has not taken, which is why it is there.
    fn piece(&mut self, number: u64) -> &mut Piece {
        let index = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        &mut self.pieces[index]
    }

    fn waiting_from(&self, number: u64) -> u64 {
        let index = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        let before = self
            .pieces
            .get(index)
            .map_or(self.sealed_lines, |piece| piece.lines_before);
        self.sealed_lines + self.open_lines - before
    }

    fn seal(&mut self) {
        if self.open.is_empty() {
            return;
        }
        self.pieces.push_back(Piece {
            bytes: Bytes::copy_from_slice(&self.open),
            lines_before: self.sealed_lines,
            readers: self.readers,
        });
        self.sealed_lines += self.open_lines;
        self.open_lines = 0;
        self.open.clear();
        self.open.shrink_to(PIECE_BYTES);
        self.forget_taken();
    }

    fn forget_taken(&mut self) {
        while self.pieces.front().is_some_and(|piece| piece.readers == 0) {
            self.pieces.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use super::*;

    fn taken(feed: &mut Feed, key: Key) -> String {
        let mut written = Vec::new();
        let mut pending = Pending::default();
        let mut cx = Context::from_waker(Waker::noop());
        while feed.take(key, &mut pending) {
            while !pending.is_empty() {
                assert!(pending.poll_write(&mut cx, &mut written).is_ready());
            }
        }
        String::from_utf8(written).unwrap()
    }

    fn published(feed: &mut Feed, lines: &[&str]) {
        for line in lines {
            feed.push(line);
        }
        feed.publish();
    }

    #[test]
    fn each_reader_gets_what_is_said_while_it_is_there() {
        let mut feed = Feed::default();
        feed.push("to nobody");
        let first = feed.add();
        published(&mut feed, &["one", "two"]);
        let second = feed.add();
        published(&mut feed, &["three"]);
        feed.leave(second);
        published(&mut feed, &["four"]);
        assert_eq!(taken(&mut feed, first), "one\ntwo\nthree\nfour\n");
        assert_eq!(taken(&mut feed, second), "three\n");
    }

    #[test]
    fn nothing_is_taken_before_it_is_published() {
        let mut feed = Feed::default();
        let reader = feed.add();
        feed.push("one");
        assert_eq!(taken(&mut feed, reader), "");
        feed.publish();
        assert_eq!(taken(&mut feed, reader), "one\n");
    }

    #[test]
    fn what_all_have_taken_or_given_up_is_not_kept() {
        let mut feed = Feed::default();
        let readers = [feed.add(), feed.add(), feed.add()];
        for n in 0..10 {
            published(&mut feed, &[&n.to_string()]);
            taken(&mut feed, readers[0]);
        }
        assert_eq!(feed.pieces.len(), 10);
        feed.drop_out(readers[1]);
        feed.leave(readers[2]);
        assert_eq!(feed.pieces.len(), 10);
        feed.remove(readers[2]);
        assert_eq!(feed.pieces.len(), 0);
        // A key that was given back serves the next reader.
        assert_eq!(feed.add(), readers[2]);
        published(&mut feed, &["last"]);
        assert_eq!(taken(&mut feed, readers[1]), "");
        assert_eq!(taken(&mut feed, readers[2]), "last\n");
    }

    #[test]
    fn lines_that_wait_are_counted_for_each_reader() {
        let mut feed = Feed::default();
        let (slow, quick) = (feed.add(), feed.add());
        published(&mut feed, &["one", "two"]);
        taken(&mut feed, quick);
        feed.push("three");
        assert!(feed.any_behind(2) && !feed.any_behind(3));
        assert!(feed.is_behind(slow, 2) && !feed.is_behind(slow, 3));
        assert!(feed.is_behind(quick, 0) && !feed.is_behind(quick, 1));
        feed.drop_out(slow);
        assert!(!feed.any_behind(1));
    }

    #[test]
    fn a_piece_is_no_larger_than_its_bound_and_a_long_line_is_whole() {
        let mut feed = Feed::default();
        let reader = feed.add();
        let (line, long) = ("x".repeat(PIECE_BYTES / 3), "y".repeat(2 * PIECE_BYTES));
        published(&mut feed, &[&line, &line, &line, &long, &line]);
        let sizes: Vec<_> = feed.pieces.iter().map(|piece| piece.bytes.len()).collect();
        let unit = line.len() + 1;
        assert_eq!(sizes, [2 * unit, unit, long.len() + 1, unit]);
        assert_eq!(taken(&mut feed, reader).lines().count(), 5);
    }

    #[test]
    fn a_reader_that_waits_twice_is_woken_once() {
        let mut feed = Feed::default();
        let reader = feed.add();
        feed.park(reader, Waker::noop());
        feed.park(reader, Waker::noop());
        assert_eq!(feed.publish().len(), 1);
        assert!(feed.publish().is_empty());
    }
}
