//! What a segment says of Multipath TCP.

use std::fmt::Write as _;

use serde::Serialize;

use crate::wire::{Dss, MptcpOption, Tcp};

/// What a segment says of Multipath TCP, as patterns ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Signals(u8);

impl Signals {
    /// Anything: it has an option of Multipath TCP.
    pub const ANY: Self = Self(1);
    /// `MP_JOIN`.
    pub const JOIN: Self = Self(2);
    /// `DATA_FIN`.
    pub const DATA_FIN: Self = Self(4);
    /// `MP_FASTCLOSE`.
    pub const FASTCLOSE: Self = Self(8);
    /// Its payload has data numbers that were sent before with other sequence numbers.
    pub const REINJECTED: Self = Self(16);

    /// What a segment says by itself.
    #[must_use]
    pub fn of(tcp: &Tcp<'_>) -> Self {
        tcp.mptcp().fold(Self::default(), Self::with_option)
    }

    /// Whether it says so.
    #[must_use]
    pub fn has(self, signal: Self) -> bool {
        self.0 & signal.0 == signal.0
    }

    /// The same with another.
    #[must_use]
    pub fn with(self, signal: Self) -> Self {
        Self(self.0 | signal.0)
    }

    pub(super) fn with_option(self, option: MptcpOption) -> Self {
        let signal = match option {
            MptcpOption::Join(_) => Self::JOIN,
            MptcpOption::Dss(Dss { fin: true, .. }) => Self::DATA_FIN,
            MptcpOption::FastClose => Self::FASTCLOSE,
            _ => Self::ANY,
        };
        self.with(Self::ANY).with(signal)
    }
}

/// What a segment says, seen beside what its connection had sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::analysis) struct Signal {
    pub(in crate::analysis) signals: Signals,
    /// It is sent to say something of Multipath TCP, so that it repeats no acknowledgement and keeps nothing alive.
    pub(in crate::analysis) is_news: bool,
    /// Data numbers of its payload, relative to the initial one: the first, and the one after the last.
    pub(in crate::analysis) data: Option<(u64, u64)>,
    /// The number of its `DATA_ACK`, relative to the initial one.
    pub(in crate::analysis) ack: Option<u64>,
}

impl Signal {
    /// In words, option by option.
    pub(in crate::analysis) fn words(&self, tcp: &Tcp<'_>) -> Vec<String> {
        let words = tcp.mptcp().map(|option| {
            let mut text = option.to_string();
            if let MptcpOption::Dss(dss) = option {
                if let Some((start, end)) = self.data {
                    // Writing into a text cannot fail.
                    let _ = write!(text, " data {start}..{end}");
                }
                if let (Some(ack), Some(_)) = (self.ack, dss.ack) {
                    let _ = write!(text, " ack {ack}");
                }
            }
            text
        });
        let mut words: Vec<_> = words.collect();
        if self.signals.has(Signals::REINJECTED) {
            words.push("sent again with the same data numbers".to_owned());
        }
        words
    }
}
