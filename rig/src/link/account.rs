//! What a link did, packet by packet.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddrV4;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::settings::percent;
use crate::pcapng::Delivery;
use crate::units::{Timestamp, show_duration};

/// The most losses that are kept, and the most other deeds; further ones are counted.
pub const MAX_DEEDS: usize = 10_000;

/// Everything that a link did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LinkAccount {
    /// Packets that were sent on, by the side that they came from.
    pub forwarded: [u64; 2],
    /// Packets that were lost, by the reason.
    pub lost: BTreeMap<String, u64>,
    /// What each rule met, in the order in which they were given.
    pub rules: Vec<RuleAccount>,
    /// What was done to single packets, in order.
    pub deeds: Vec<Deed>,
    /// Deeds that are not kept, after the first [`MAX_DEEDS`] losses or others.
    pub unrecorded: u64,
    /// The losses among them: packets that look as if they had arrived.
    #[serde(default)]
    pub unrecorded_losses: u64,
    /// How many deeds are kept: losses, and others.
    #[serde(skip)]
    pub(super) recorded: [usize; 2],
    /// Packets that the kernel dropped before the link saw them, or did not send.
    pub dropped: u64,
}

/// What a rule met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RuleAccount {
    /// Packets that fit.
    pub matched: u64,
    /// Those of them that were lost.
    pub lost: u64,
}

/// Something that was done to a packet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deed {
    /// When the packet arrived, some microseconds from its time in the link's own capture.
    pub at: Timestamp,
    /// What the packet is known by there, see [`crate::wire::digest`].
    pub digest: u64,
    /// At which side: 0 or 1.
    pub side: u8,
    /// What was done.
    pub what: What,
}

/// A packet that has arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) at: Timestamp,
    pub(super) digest: u64,
    pub(super) side: u8,
}

/// What was done to a packet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It was not sent on.
    Lost(Loss),
    /// It was sent on at another time than the delay alone would have it.
    Delayed {
        /// How long it was at the link.
        by: Duration,
        /// The delay alone.
        instead_of: Duration,
        /// It waited for the rate.
        rate: bool,
        /// It was delayed by jitter, or waits behind one that was.
        jitter: bool,
    },
    /// It overtook those before it.
    Reordered,
    /// It was sent twice.
    Duplicated,
    /// One bit was changed, counted from the first behind the IP header.
    Corrupted {
        /// Which.
        bit: u32,
    },
    /// It was given another address.
    Translated {
        /// The end that was changed, as it was.
        from: SocketAddrV4,
        /// As it is now.
        to: SocketAddrV4,
    },
}

/// Why a packet was lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// The direction is cut.
    Cut,
    /// Its sender and receiver are in different parts of a partition.
    Partition,
    /// A rule.
    Rule {
        /// By its place among the link's rules.
        rule: usize,
        /// Its text.
        text: String,
        /// How many it has lost, this one included.
        nth: u64,
        /// How many it shall lose, where that is bounded.
        of: Option<u64>,
    },
    /// At random: the share of packets that are.
    Random(f64),
    /// Too much is waiting.
    QueueFull,
    /// Its hop limit ran out; its sender is told.
    TimeExceeded,
    /// It is longer than the link carries, this many bytes; its sender is told.
    TooLong(u16),
    /// From outside a masquerade, to no connection that was opened from inside.
    NoMapping,
    /// From inside a masquerade, and every mapping is taken.
    MappingsFull,
    /// A masquerade cannot translate it: neither TCP nor UDP, nor an error about one.
    Untranslatable,
    /// Nobody on the next network has its address.
    NoNeighbour,
    /// It is for a network to which the link knows no way.
    NoRoute,
    /// Its headers contradict themselves.
    Malformed,
}

impl Loss {
    /// The word by which losses are counted.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Partition => "partition",
            Self::Rule { .. } => "rule",
            Self::Random(_) => "random",
            Self::QueueFull => "queue full",
            Self::TimeExceeded => "hop limit",
            Self::TooLong(_) => "longer than the MTU",
            Self::NoMapping => "no mapping",
            Self::MappingsFull => "mappings full",
            Self::Untranslatable => "not translatable",
            Self::NoNeighbour => "no neighbour",
            Self::NoRoute => "no route",
            Self::Malformed => "malformed",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { text, nth, of, .. } => match of {
                Some(of) => write!(f, "rule {text} ({nth} of {of})"),
                None => write!(f, "rule {text} ({nth})"),
            },
            Self::Random(share) => {
                write!(f, "random loss {} %", percent(*share))
            }
            Self::TimeExceeded => f.write_str("its hop limit ran out"),
            Self::TooLong(mtu) => write!(f, "longer than the MTU of {mtu} bytes"),
            Self::NoNeighbour => f.write_str("nobody has its next address"),
            Self::NoRoute => f.write_str("no way to its network"),
            other => f.write_str(other.word()),
        }
    }
}

impl What {
    /// What a capture says of the packet: `lost on link uplink: random loss 1 %`.
    #[must_use]
    pub fn comment(&self, link: &str) -> String {
        match self {
            Self::Lost(loss) => format!("lost on link {link}: {loss}"),
            Self::Delayed {
                by,
                instead_of,
                rate,
                jitter,
            } => {
                let why = match (rate, jitter) {
                    (true, true) => "rate and jitter",
                    (true, false) => "rate",
                    _ => "jitter",
                };
                let (by, instead_of) = (show_duration(*by), show_duration(*instead_of));
                format!("delayed by {by} on link {link}, not {instead_of}: {why}")
            }
            Self::Reordered => format!("overtakes others on link {link}: reorder"),
            Self::Duplicated => format!("sent twice by link {link}: duplicate"),
            Self::Corrupted { bit } => {
                format!("corrupted on link {link}: bit {bit} behind the IP header")
            }
            Self::Translated { from, to } => {
                format!("translated by link {link}: {from} becomes {to}")
            }
        }
    }

    /// What became of the packet, where it never arrives as it was sent.
    #[must_use]
    pub fn delivery(&self) -> Option<Delivery> {
        match self {
            Self::Lost(_) => Some(Delivery::Lost),
            Self::Corrupted { .. } => Some(Delivery::Corrupted),
            _ => None,
        }
    }
}

impl LinkAccount {
    /// Notes a deed.
    pub(super) fn note(&mut self, packet: Arrival, what: What) {
        let Arrival { at, digest, side } = packet;
        if let What::Lost(loss) = &what {
            *self.lost.entry(loss.word().to_owned()).or_default() += 1;
        }
        // Losses have places of their own: the checks go by them.
        let recorded = &mut self.recorded[usize::from(what.delivery().is_none())];
        if *recorded < MAX_DEEDS {
            *recorded += 1;
            self.deeds.push(Deed {
                at,
                digest,
                side,
                what,
            });
        } else {
            self.unrecorded += 1;
            self.unrecorded_losses += u64::from(what.delivery().is_some());
        }
    }
}
