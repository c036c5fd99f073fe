//! A connection, taken apart at its SYN, FIN and RST.

use std::time::Duration;

use crate::analysis::{Event, EventKind, Sender, TcpFlags};

/// The most marks of a connection that is learned from: a pattern of more is not readable.
pub(super) const MAX_MARKS: usize = 64;

/// A SYN, SYN-ACK, FIN or RST.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) sender: Sender,
    pub(super) kind: EventKind,
    pub(super) flags: TcpFlags,
    /// Time since the event before it.
    pub(super) gap: Duration,
    /// How often it was sent again, and how often as a tail loss probe, which a pattern need not name.
    pub(super) repeats: usize,
    pub(super) probes: usize,
    /// How many RST stand in a row; 1 for other marks.
    pub(super) times: usize,
}

/// What stands between two marks, before the first or behind the last.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot<'a> {
    /// Data that was sent for the first time.
    pub(super) data: Vec<&'a Event>,
    /// Who sent plain acknowledgements before any data.
    pub(super) acks: Vec<Sender>,
}

/// A connection: `slots` is one longer than `marks`, and begins.
#[derive(Debug, Clone)]
pub(super) struct Walk<'a> {
    pub(super) marks: Vec<Mark>,
    pub(super) slots: Vec<Slot<'a>>,
}

/// What tells ways apart.
pub(super) type Key = Vec<(Sender, EventKind)>;

impl<'a> Walk<'a> {
    /// Takes the events of a connection apart; `None` when there are too many marks.
    pub(super) fn of(events: &'a [Event]) -> Option<Self> {
        let mut walk = Self {
            marks: Vec::new(),
            slots: vec![Slot::default()],
        };
        let mut before = None;
        // What is of an older connection no pattern needs to name.
        for event in events.iter().filter(|event| !event.older) {
            let gap = event.at.since(before.unwrap_or(event.at));
            before = Some(event.at);
            walk.take(event, gap);
            if walk.marks.len() > MAX_MARKS {
                return None;
            }
        }
        Some(walk)
    }

    fn take(&mut self, event: &'a Event, gap: Duration) {
        let Some(slot) = self.slots.last_mut() else {
            return;
        };
        match event.kind {
            EventKind::Ack => {
                if slot.data.is_empty() && !slot.acks.contains(&event.sender) {
                    slot.acks.push(event.sender);
                }
            }
            EventKind::Data if !event.retransmission => slot.data.push(event),
            EventKind::Data => {}
            kind => {
                let same = |mark: &&mut Mark| mark.kind == kind && mark.sender == event.sender;
                if event.retransmission {
                    if let Some(mark) = self.marks.iter_mut().rev().find(same) {
                        mark.repeats += usize::from(!event.probe);
                        mark.probes += usize::from(event.probe);
                    }
                    return;
                }
                if let Some(mark) = self.marks.last_mut().filter(same)
                    && kind == EventKind::Rst
                    && slot.data.is_empty()
                {
                    mark.times += 1;
                    return;
                }
                self.marks.push(Mark {
                    sender: event.sender,
                    kind,
                    flags: event.flags,
                    gap,
                    repeats: 0,
                    probes: 0,
                    times: 1,
                });
                self.slots.push(Slot::default());
            }
        }
    }

    pub(super) fn key(&self) -> Key {
        let marks = self.marks.iter();
        marks.map(|mark| (mark.sender, mark.kind)).collect()
    }
}
