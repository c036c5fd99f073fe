//! One item of a pattern: which events it takes.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::analysis::{Event, EventKind, MAX_PAYLOAD_KEPT_BYTES, Sender, TcpFlags};
use crate::units::show_duration;

use super::property::Property;

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
    /// Hop limit of its packet: the time to live of IPv4.
    Ttl(RangeInclusive<u64>),
    /// Maximum segment size option in bytes; an event without the option does not hold.
    Mss(RangeInclusive<u64>),
    /// Payload.
    Bytes(BytesTest, Vec<u8>),
    /// Flags of the segment.
    Flags(FlagsTest, TcpFlags),
    /// Whether it has a property.
    Property(Property, bool),
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

    /// The length of the longest text that it asks payload for, if it does so.
    pub(super) fn longest_bytes(&self) -> Option<usize> {
        self.asked_of_payload()
            .map(|(_, wanted)| wanted.len())
            .max()
    }

    /// How many of the first bytes of a payload it looks at, if it asks for payload.
    pub(super) fn looked_at_bytes(&self) -> Option<usize> {
        let lengths = self.asked_of_payload().map(|(test, wanted)| match test {
            BytesTest::Contains => MAX_PAYLOAD_KEPT_BYTES,
            _ => wanted.len(),
        });
        lengths.max()
    }

    /// The texts that it asks payload for, and how.
    fn asked_of_payload(&self) -> impl Iterator<Item = (&BytesTest, &[u8])> {
        let conditions = self.event_test().map(|test| test.conditions.iter());
        let conditions = conditions.into_iter().flatten();
        conditions.filter_map(|condition| match &condition.subject {
            Subject::Bytes(test, wanted) => Some((test, wanted.as_slice())),
            _ => None,
        })
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
            && fits(event.retransmission && !event.probe, Self::asks_for_repeats)
            && fits(event.probe, Self::asks_for_probes)
            && fits(event.older, Self::asks_for_older)
    }

    /// Whether `retransmission` or `repeat` stands in its conditions.
    pub(super) fn asks_for_repeats(&self) -> bool {
        self.asks_for(Property::Retransmission) || self.asks_for(Property::Repeat)
    }

    /// Whether `probe` or `repeat` stands in its conditions.
    pub(super) fn asks_for_probes(&self) -> bool {
        self.asks_for(Property::Probe) || self.asks_for(Property::Repeat)
    }

    /// Whether `older` stands in its conditions.
    pub(super) fn asks_for_older(&self) -> bool {
        self.asks_for(Property::Older)
    }

    fn asks_for(&self, property: Property) -> bool {
        let asks =
            |c: &Condition| matches!(c.subject, Subject::Property(it, true) if it == property);
        self.conditions.iter().any(asks)
    }
}

impl Condition {
    /// Whether a packet by itself shows if it holds.
    pub(super) fn is_told_by_one_packet(&self) -> bool {
        match self.subject {
            Subject::Gap(_) => false,
            Subject::Property(property, _) => property.is_told_by_one_packet(),
            _ => true,
        }
    }

    pub(super) fn holds(&self, event: &Event, gap: Duration) -> bool {
        match &self.subject {
            Subject::Len(range) => range.contains(&u64::from(event.len_bytes)),
            Subject::Gap(range) => {
                range.contains(&u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX))
            }
            Subject::Win(range) => range.contains(&u64::from(event.win_bytes)),
            Subject::Ttl(range) => range.contains(&u64::from(event.hop_limit)),
            Subject::Mss(range) => event
                .mss_bytes
                .is_some_and(|mss| range.contains(&u64::from(mss))),
            Subject::Bytes(test, wanted) => test.holds(wanted, event),
            Subject::Flags(FlagsTest::Are, flags) => event.flags.0 & NAMED_FLAGS == flags.0,
            Subject::Flags(FlagsTest::Include, flags) => event.flags.has(*flags),
            Subject::Property(property, wanted) => property.is_of(event) == *wanted,
        }
    }

    /// What the event has in place of what the condition asks, for a mismatch's explanation.
    pub(super) fn actual(&self, event: &Event, gap: Duration) -> String {
        match &self.subject {
            Subject::Len(_) => format!("its length is {}", event.len_bytes),
            Subject::Gap(_) => format!("it came {} after the event before", show_duration(gap)),
            Subject::Win(_) => format!("its window is {}", event.win_bytes),
            Subject::Ttl(_) => format!("its ttl is {}", event.hop_limit),
            Subject::Mss(_) => match event.mss_bytes {
                Some(mss) => format!("its mss is {mss}"),
                None => "it has no mss option".to_owned(),
            },
            Subject::Bytes(_, wanted) => {
                let most = shown_bytes(wanted.len());
                format!("its payload is {}", shown_payload(event, most))
            }
            Subject::Flags(..) => format!("its flags are {}", event.flags),
            Subject::Property(property, _) => property.told(event),
        }
    }
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

/// How many bytes of payload are shown beside a text of so many bytes.
pub(super) fn shown_bytes(wanted: usize) -> usize {
    /// At least, and at most.
    const SHOWN_BYTES: RangeInclusive<usize> = 24..=64;
    wanted.clamp(*SHOWN_BYTES.start(), *SHOWN_BYTES.end())
}

/// At most so many first bytes of an event's payload as quoted, escaped text.
pub(super) fn shown_payload(event: &Event, most: usize) -> String {
    let shown = &event.payload[..event.payload.len().min(most)];
    let more = if event.len_bytes as usize > shown.len() {
        "…"
    } else {
        ""
    };
    format!("\"{}\"{more}", shown.escape_ascii())
}
