//! Flows that end by the clock of the capture.

use std::collections::VecDeque;
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
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) at: Timestamp,
    /// Its place in the table, and its number, by which it is known when the place was given on.
    pub(super) index: usize,
    pub(super) number: u64,
}

/// Flows in the order in which to look at them, a queue for each class.
///
/// Within a class all wait equally long, so a queue is all but sorted: whoever stands in it is
/// looked at no later than one more timeout after it is due. Each look ends a flow or is paid for
/// by a packet that came since the last look, so the work grows with the packets.
#[derive(Debug, Default)]
pub(super) struct Expiry([VecDeque<Due>; 3]);

impl Expiry {
    pub(super) fn watch(&mut self, class: Class, due: Due) {
        self.0[class as usize].push_back(due);
    }

    /// The next flow of a class to look at by now.
    pub(super) fn next(&mut self, class: Class, now: Timestamp) -> Option<Due> {
        self.0[class as usize].pop_front_if(|due| due.at < now)
    }
}

/// The moment after which a flow is over that had its last packet then.
pub(super) fn deadline(last: Timestamp, timeout: Duration) -> Timestamp {
    let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    Timestamp(last.0.saturating_add(timeout))
}
