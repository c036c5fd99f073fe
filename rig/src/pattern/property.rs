//! What an event is or is not: the conditions that are a name alone.

use crate::analysis::{Event, Signals};

/// What an event may be, or have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Property {
    /// It is a repeat, and no tail loss probe.
    Retransmission,
    /// It is a repeat, of whatever kind.
    Repeat,
    /// It is a tail loss probe.
    Probe,
    /// It never arrived.
    Lost,
    /// It carries more than one write.
    Coalesced,
    /// It is of an older connection between the same endpoints.
    Older,
    /// It has a Fast Open option.
    FastOpen,
    /// It acknowledges payload of the SYN that it answers.
    AcceptsData,
    /// Another than its alleged sender sent it.
    Foreign,
    /// It has an option of Multipath TCP.
    Mptcp,
    /// `MP_JOIN`.
    Join,
    /// `DATA_FIN`.
    DataFin,
    /// `MP_FASTCLOSE`.
    Fastclose,
    /// Its payload was sent before with other sequence numbers.
    Reinjected,
}

impl Property {
    /// Every one, in the order in which messages list them.
    pub(super) const ALL: [Self; 14] = [
        Self::Retransmission,
        Self::Repeat,
        Self::Probe,
        Self::Lost,
        Self::Coalesced,
        Self::Older,
        Self::FastOpen,
        Self::AcceptsData,
        Self::Foreign,
        Self::Mptcp,
        Self::Join,
        Self::DataFin,
        Self::Fastclose,
        Self::Reinjected,
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|property| property.name() == name)
    }

    /// As patterns write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Retransmission => "retransmission",
            Self::Repeat => "repeat",
            Self::Probe => "probe",
            Self::Lost => "lost",
            Self::Coalesced => "coalesced",
            Self::Older => "older",
            Self::FastOpen => "fast-open",
            Self::AcceptsData => "accepts-data",
            Self::Foreign => "foreign",
            Self::Mptcp => "mptcp",
            Self::Join => "join",
            Self::DataFin => "data-fin",
            Self::Fastclose => "fastclose",
            Self::Reinjected => "reinjected",
        }
    }

    pub(super) fn is_of(self, event: &Event) -> bool {
        match self {
            Self::Retransmission => event.retransmission && !event.probe,
            Self::Repeat => event.retransmission,
            Self::Probe => event.probe,
            Self::Lost => event.lost,
            Self::Coalesced => event.coalesced,
            Self::Older => event.older,
            Self::FastOpen => event.fast_open,
            // More than the SYN.
            Self::AcceptsData => event.ack > 1,
            Self::Foreign => event.foreign,
            Self::Mptcp => event.multipath.has(Signals::ANY),
            Self::Join => event.multipath.has(Signals::JOIN),
            Self::DataFin => event.multipath.has(Signals::DATA_FIN),
            Self::Fastclose => event.multipath.has(Signals::FASTCLOSE),
            Self::Reinjected => event.multipath.has(Signals::REINJECTED),
        }
    }

    /// Those of an event that tell it from others of its kind.
    pub(super) fn shown(event: &Event) -> impl Iterator<Item = Self> {
        // The flags and numbers beside them tell the first, each segment of its connection has the second, and which kind
        // of repeat it is stands for the third.
        let all = Self::ALL.into_iter();
        all.filter(|property| !matches!(property, Self::AcceptsData | Self::Mptcp | Self::Repeat))
            .filter(|property| property.is_of(event))
    }

    /// Whether a packet by itself shows it.
    pub(super) fn is_told_by_one_packet(self) -> bool {
        matches!(
            self,
            Self::FastOpen | Self::Mptcp | Self::Join | Self::DataFin | Self::Fastclose
        )
    }

    /// Whether the event has it, in a sentence for a mismatch's explanation.
    pub(super) fn told(self, event: &Event) -> String {
        let has = self.is_of(event);
        let is = |what: &str| format!("it is {}{what}", if has { "" } else { "not " });
        let no = if has { "" } else { "no " };
        match self {
            Self::Retransmission if event.probe => "it is a tail loss probe".to_owned(),
            Self::Retransmission => is("a retransmission"),
            Self::Repeat => is("a repeat"),
            Self::Probe => is("a tail loss probe"),
            Self::Older => is("of an older connection"),
            Self::Lost | Self::Coalesced | Self::Foreign => is(self.name()),
            Self::FastOpen => {
                let article = if has { "a" } else { "no" };
                format!("it has {article} Fast Open option")
            }
            Self::AcceptsData => format!(
                "it acknowledges {} bytes of payload",
                event.ack.saturating_sub(1)
            ),
            Self::Mptcp | Self::Join | Self::DataFin | Self::Fastclose | Self::Reinjected => {
                format!("it has {no}`{}`", self.name())
            }
        }
    }
}
