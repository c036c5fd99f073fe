//! One item of a pattern: which events it takes.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::analysis::{Event, EventKind, Sender, Signals, TcpFlags};
use crate::units::show_duration;

/// An event or `...`, as the pattern's text has it.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) test: Test,
    /// As written, white space squeezed and made printable.
    pub(super) text: String,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// Which events an item takes.
#[derive(Debug, Clone)]
pub(super) enum Test {
    /// `...`: one DATA or ACK of either side (the program repeats it).
    Filler,
    /// An event with direction, name and conditions.
    Event(EventTest),
}

/// Direction, name and conditions of an event.
#[derive(Debug, Clone)]
pub(super) struct EventTest {
    /// `None` for either side.
    pub(super) sender: Option<Sender>,
    /// `None` for ANY.
    pub(super) kind: Option<EventKind>,
    pub(super) conditions: Vec<Condition>,
}

/// A condition in brackets. Ranges include both ends.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) subject: Subject,
    /// As written.
    pub(super) text: String,
}

/// What a condition is about.
#[derive(Debug, Clone)]
pub(super) enum Subject {
    /// Payload bytes of the segment.
    Len(RangeInclusive<u64>),
    /// Nanoseconds since the event before.
    Gap(RangeInclusive<u64>),
    /// Announced receive window in bytes.
    Win(RangeInclusive<u64>),
    /// Maximum segment size option in bytes; an event without the option does not hold.
    Mss(RangeInclusive<u64>),
    /// Payload.
    Bytes(BytesTest, Vec<u8>),
    /// Flags of the segment.
    Flags(FlagsTest, TcpFlags),
    /// Whether it is a repeat.
    Retransmission(bool),
    /// Whether it never arrived.
    Lost(bool),
    /// Whether it carries more than one write.
    Coalesced(bool),
    /// Whether it is of an older connection between the same endpoints.
    Older(bool),
    /// Whether it has a Fast Open option.
    FastOpen(bool),
    /// Whether it acknowledges payload of the SYN that it answers.
    AcceptsData(bool),
    /// Whether another than its alleged sender sent it.
    Foreign(bool),
    /// Whether it says this of Multipath TCP.
    Multipath(Signals, bool),
}

/// How payload is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BytesTest {
    /// `=`: the whole payload.
    Is,
    /// `^=`: its beginning.
    Begins,
    /// `*=`: anywhere in the bytes that were kept.
    Contains,
}

/// How flags are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlagsTest {
    /// `=`: these and no others.
    Are,
    /// `*=`: these, others may be set too.
    Include,
}

/// What an event may say of Multipath TCP, by the names of the conditions that ask for it.
pub(super) const MULTIPATH: [(&str, Signals); 5] = [
    ("mptcp", Signals::ANY),
    ("join", Signals::JOIN),
    ("data-fin", Signals::DATA_FIN),
    ("fastclose", Signals::FASTCLOSE),
    ("reinjected", Signals::REINJECTED),
];

fn multipath_name(signal: Signals) -> &'static str {
    let found = MULTIPATH.iter().find(|(_, known)| *known == signal);
    found.map_or("mptcp", |(name, _)| *name)
}

/// The flags that conditions compare; ECE and CWR (RFC 3168) are the kernel's business.
const NAMED_FLAGS: u8 = 0x3f;

impl Item {
    /// Whether the item takes `event`, which came `gap` after the event before it.
    pub(super) fn takes(&self, event: &Event, gap: Duration) -> bool {
        match &self.test {
            Test::Filler => matches!(event.kind, EventKind::Data | EventKind::Ack),
            Test::Event(test) => {
                test.names(event) && test.conditions.iter().all(|c| c.holds(event, gap))
            }
        }
    }

    /// Whether it names ANY.
    pub(super) fn takes_any(&self) -> bool {
        self.event_test().is_some_and(|test| test.kind.is_none())
    }

    /// Whether it takes every event, of one side or of both.
    pub(super) fn takes_all(&self) -> bool {
        self.event_test()
            .is_some_and(|test| test.kind.is_none() && test.conditions.is_empty())
    }

    pub(super) fn event_test(&self) -> Option<&EventTest> {
        match &self.test {
            Test::Filler => None,
            Test::Event(test) => Some(test),
        }
    }
}

impl EventTest {
    /// Whether direction and name fit. A repeat is no new SYN, DATA or FIN, and what is of an older connection
    /// is none of this one: each fits only where the item asks about it, or names ANY.
    pub(super) fn names(&self, event: &Event) -> bool {
        let fits =
            |is_such: bool, asks: fn(&Self) -> bool| !is_such || self.kind.is_none() || asks(self);
        self.sender.is_none_or(|sender| sender == event.sender)
            && self.kind.is_none_or(|kind| kind == event.kind)
            && fits(event.retransmission, Self::asks_for_repeats)
            && fits(event.older, Self::asks_for_older)
    }

    /// Whether `retransmission` stands in its conditions.
    pub(super) fn asks_for_repeats(&self) -> bool {
        self.conditions
            .iter()
            .any(|c| matches!(c.subject, Subject::Retransmission(true)))
    }

    /// Whether `older` stands in its conditions.
    pub(super) fn asks_for_older(&self) -> bool {
        self.conditions
            .iter()
            .any(|c| matches!(c.subject, Subject::Older(true)))
    }
}

impl Condition {
    /// Whether a packet by itself shows if it holds.
    pub(super) fn is_told_by_one_packet(&self) -> bool {
        !matches!(
            self.subject,
            Subject::Gap(_)
                | Subject::Retransmission(_)
                | Subject::Lost(_)
                | Subject::Coalesced(_)
                | Subject::Older(_)
                | Subject::AcceptsData(_)
                | Subject::Foreign(_)
                | Subject::Multipath(Signals::REINJECTED, _)
        )
    }

    pub(super) fn holds(&self, event: &Event, gap: Duration) -> bool {
        match &self.subject {
            Subject::Len(range) => range.contains(&u64::from(event.len_bytes)),
            Subject::Gap(range) => {
                range.contains(&u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX))
            }
            Subject::Win(range) => range.contains(&u64::from(event.win_bytes)),
            Subject::Mss(range) => event
                .mss_bytes
                .is_some_and(|mss| range.contains(&u64::from(mss))),
            Subject::Bytes(test, wanted) => test.holds(wanted, event),
            Subject::Flags(FlagsTest::Are, flags) => event.flags.0 & NAMED_FLAGS == flags.0,
            Subject::Flags(FlagsTest::Include, flags) => event.flags.has(*flags),
            Subject::Retransmission(wanted) => event.retransmission == *wanted,
            Subject::Lost(wanted) => event.lost == *wanted,
            Subject::Coalesced(wanted) => event.coalesced == *wanted,
            Subject::Older(wanted) => event.older == *wanted,
            Subject::FastOpen(wanted) => event.fast_open == *wanted,
            Subject::AcceptsData(wanted) => accepts_data(event) == *wanted,
            Subject::Foreign(wanted) => event.foreign == *wanted,
            Subject::Multipath(signal, wanted) => event.multipath.has(*signal) == *wanted,
        }
    }

    /// What the event has in place of what the condition asks, for a mismatch's explanation.
    pub(super) fn actual(&self, event: &Event, gap: Duration) -> String {
        let not = |set: bool, what: &str| format!("it is {}{what}", if set { "" } else { "not " });
        match &self.subject {
            Subject::Len(_) => format!("its length is {}", event.len_bytes),
            Subject::Gap(_) => format!("it came {} after the event before", show_duration(gap)),
            Subject::Win(_) => format!("its window is {}", event.win_bytes),
            Subject::Mss(_) => match event.mss_bytes {
                Some(mss) => format!("its mss is {mss}"),
                None => "it has no mss option".to_owned(),
            },
            Subject::Bytes(..) => format!("its payload is {}", shown_payload(event)),
            Subject::Flags(..) => format!("its flags are {}", event.flags),
            Subject::Retransmission(_) => not(event.retransmission, "a retransmission"),
            Subject::Lost(_) => not(event.lost, "lost"),
            Subject::Coalesced(_) => not(event.coalesced, "coalesced"),
            Subject::Older(_) => not(event.older, "of an older connection"),
            Subject::FastOpen(_) if event.fast_open => "it has a Fast Open option".to_owned(),
            Subject::FastOpen(_) => "it has no Fast Open option".to_owned(),
            Subject::AcceptsData(_) => format!(
                "it acknowledges {} bytes of payload",
                event.ack.saturating_sub(1)
            ),
            Subject::Foreign(_) => not(event.foreign, "foreign"),
            Subject::Multipath(signal, _) => {
                let has = if event.multipath.has(*signal) {
                    "has"
                } else {
                    "has no"
                };
                format!("it {has} `{}`", multipath_name(*signal))
            }
        }
    }
}

/// Whether a SYN-ACK acknowledges more than the SYN.
fn accepts_data(event: &Event) -> bool {
    event.ack > 1
}

impl BytesTest {
    fn holds(self, wanted: &[u8], event: &Event) -> bool {
        let kept = event.payload.as_slice();
        match self {
            Self::Is => kept == wanted && event.len_bytes as usize == wanted.len(),
            Self::Begins => kept.starts_with(wanted),
            Self::Contains => kept.windows(wanted.len()).any(|window| window == wanted),
        }
    }
}

/// The beginning of an event's payload as quoted, escaped text.
fn shown_payload(event: &Event) -> String {
    /// Bytes that are shown.
    const MAX_SHOWN_BYTES: usize = 24;
    let shown = &event.payload[..event.payload.len().min(MAX_SHOWN_BYTES)];
    let more = if event.len_bytes as usize > shown.len() {
        "…"
    } else {
        ""
    };
    format!("\"{}\"{more}", shown.escape_ascii())
}
