//! Packets under way, by the time at which they leave.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::units::Timestamp;

/// Things that are due at some time; those of the same time come out as they went in.
#[derive(Debug)]
pub struct Schedule<T> {
    heap: BinaryHeap<Entry<T>>,
    next: u64,
}

#[derive(Debug)]
struct Entry<T> {
    /// The earliest is the greatest, as the heap has it.
    key: Reverse<(Timestamp, u64)>,
    item: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            next: 0,
        }
    }
}

impl<T> Schedule<T> {
    /// Adds what is due at a moment.
    pub fn push(&mut self, due: Timestamp, item: T) {
        let key = Reverse((due, self.next));
        self.next += 1;
        self.heap.push(Entry { key, item });
    }

    /// When the next thing is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.heap.peek().map(|entry| entry.key.0.0)
    }

    /// Takes the next thing, if it is due by now.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<T> {
        let due = self.next_due()?;
        (due <= now)
            .then(|| self.heap.pop())?
            .map(|entry| entry.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_out_when_they_are_due_and_in_order() {
        let mut schedule = Schedule::default();
        for (due, item) in [(5, 'b'), (3, 'a'), (5, 'c'), (9, 'd')] {
            schedule.push(Timestamp(due), item);
        }
        assert_eq!(schedule.next_due(), Some(Timestamp(3)));
        let mut taken = String::new();
        while let Some(item) = schedule.pop_due(Timestamp(5)) {
            taken.push(item);
        }
        assert_eq!(
            (taken.as_str(), schedule.next_due()),
            ("abc", Some(Timestamp(9)))
        );
    }
}
