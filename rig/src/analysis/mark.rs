//! What is remarkable about a segment, by the names of Wireshark's `tcp.analysis` flags.

/// One remark about a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A part of it was sent before (`tcp.analysis.retransmission`).
    Retransmission,
    /// A retransmission called for by duplicate acknowledgements (`fast_retransmission`).
    Fast,
    /// A retransmission after a timeout.
    Rto,
    /// A retransmission of what was acknowledged already (`spurious_retransmission`).
    Spurious,
    /// It came after what follows it (`out_of_order`).
    OutOfOrder,
    /// It repeats an acknowledgement and nothing else (`duplicate_ack`).
    DuplicateAck,
    /// Its sender has no room (`zero_window`).
    ZeroWindow,
    /// It fills the receiver's window (`window_full`).
    WindowFull,
    /// It asks a receiver without room (`zero_window_probe`).
    ZeroWindowProbe,
    /// It only makes the peer answer (`keep_alive`).
    KeepAlive,
    /// What stands before it was not captured (`lost_segment`).
    LostSegment,
    /// It acknowledges what was not captured (`ack_lost_segment`).
    AckLostSegment,
}

impl Mark {
    /// Every mark, in the order in which they are shown.
    pub const ALL: [Self; 12] = [
        Self::Retransmission,
        Self::Fast,
        Self::Rto,
        Self::Spurious,
        Self::OutOfOrder,
        Self::DuplicateAck,
        Self::ZeroWindow,
        Self::WindowFull,
        Self::ZeroWindowProbe,
        Self::KeepAlive,
        Self::LostSegment,
        Self::AckLostSegment,
    ];

    /// How a reader is told.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Retransmission => "retransmission",
            Self::Fast => "fast retransmission",
            Self::Rto => "retransmission after a timeout",
            Self::Spurious => "spurious retransmission",
            Self::OutOfOrder => "out of order",
            Self::DuplicateAck => "duplicate ACK",
            Self::ZeroWindow => "zero window",
            Self::WindowFull => "window full",
            Self::ZeroWindowProbe => "zero window probe",
            Self::KeepAlive => "keep-alive",
            Self::LostSegment => "previous segment not captured",
            Self::AckLostSegment => "acknowledges a segment that was not captured",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The remarks about one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks(u16);

impl Marks {
    /// Adds a mark.
    #[inline]
    pub fn add(&mut self, mark: Mark) {
        self.0 |= mark.bit();
    }

    /// Adds a mark where `holds`.
    #[inline]
    pub(super) fn add_if(&mut self, mark: Mark, holds: bool) {
        self.0 |= u16::from(holds) * mark.bit();
    }

    /// Whether the mark is there.
    #[must_use]
    #[inline]
    pub fn has(self, mark: Mark) -> bool {
        self.0 & mark.bit() != 0
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What to tell: the kind of a retransmission stands for the retransmission.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let kinds = Mark::Fast.bit() | Mark::Rto.bit() | Mark::Spurious.bit();
        let told = |mark: &Mark| {
            self.has(*mark) && !(*mark == Mark::Retransmission && self.0 & kinds != 0)
        };
        Mark::ALL.into_iter().filter(told).map(Mark::name).collect()
    }
}
