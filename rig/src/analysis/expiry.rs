//! Flows that end by the clock of the capture.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::units::Timestamp;

/// A connection that both sides have closed, or that was reset, ends after this time without a
/// packet, where TCP connections have a timeout: what comes late still belongs to it. Zeek's
/// `tcp_close_delay`.
pub const CLOSE_DELAY: Duration = Duration::from_secs(5);

/// After how long without a packet a flow is over, so that the next packet begins a new one. None
/// means never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// For TCP connections.
    pub tcp: Option<Duration>,
    /// For UDP conversations.
    pub udp: Option<Duration>,
}

impl Timeouts {
    /// Whether any flow can be over before the capture is.
    pub(super) fn is_on(self) -> bool {
        self.tcp.is_some() || self.udp.is_some()
    }

    pub(super) fn of(self, class: Class) -> Option<Duration> {
        match class {
            Class::Tcp => self.tcp,
            Class::Udp => self.udp,
            Class::Closed => self.tcp.map(|tcp| tcp.min(CLOSE_DELAY)),
        }
    }
}

/// Which timeout a flow is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Tcp,
    Udp,
    Closed,
}

impl Class {
    pub(super) const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Closed];
}

/// When to look at a flow again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at: Timestamp,
    /// Its number, by which it is known when its place in the table was given on.
    pub(super) number: u64,
    pub(super) index: usize,
}

/// Flows in the order in which to look at them, a queue for each class.
///
/// Sorted by time, since a clock may have been set back, or a packet come from the future. Each look
/// ends a flow or is paid for by a packet that came since the last look, so the work grows with the
/// packets.
#[derive(Debug, Default)]
pub(super) struct Expiry([BinaryHeap<Reverse<Due>>; 3]);

impl Expiry {
    pub(super) fn watch(&mut self, class: Class, due: Due) {
        self.0[class as usize].push(Reverse(due));
    }

    /// The next flow of a class to look at by now.
    pub(super) fn next(&mut self, class: Class, now: Timestamp) -> Option<Due> {
        let queue = &mut self.0[class as usize];
        let is_due = queue.peek().is_some_and(|Reverse(due)| due.at < now);
        if !is_due {
            return None;
        }
        queue.pop().map(|Reverse(due)| due)
    }
}

/// The moment after which a flow is over that had its last packet then.
pub(super) fn deadline(last: Timestamp, timeout: Duration) -> Timestamp {
    let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    Timestamp(last.0.saturating_add(timeout))
}
