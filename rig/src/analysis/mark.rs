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
    /// A SYN-ACK again after its acknowledgement: that was lost, or nobody has accepted the connection yet.
    NotAccepted,
    /// It is of an older connection between the same endpoints.
    Older,
    /// Its side sent a RST before, as it seems, and goes on.
    GoesOn,
    /// A retransmission to learn what is lost, before a timer of retransmission ends (tail loss probe, RFC 8985).
    Probe,
    /// Either of these.
    ProbeOrRto,
    /// It was captured or delivered twice rather than sent again: its packet has the identification of the one before.
    Copy,
    /// Its checksum is wrong, so that its receiver throws it away and it counts for nothing here.
    WrongChecksum,
}

impl Mark {
    /// Every mark, in the order in which they are shown.
    pub const ALL: [Self; 19] = [
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
        Self::NotAccepted,
        Self::Older,
        Self::GoesOn,
        Self::Probe,
        Self::ProbeOrRto,
        Self::Copy,
        Self::WrongChecksum,
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
            Self::NotAccepted => "not accepted yet, or the ACK was lost",
            Self::Older => "of an older connection",
            Self::GoesOn => "goes on: the RST before was not its own",
            Self::Probe => "tail loss probe",
            Self::Copy => "the same packet again",
            Self::WrongChecksum => "wrong checksum: its receiver throws it away",
            Self::ProbeOrRto => "tail loss probe, or retransmission after a timeout",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u16
    }
}

/// The remarks about one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks(u32);

impl Marks {
    /// Adds a mark.
    #[inline]
    pub fn add(&mut self, mark: Mark) {
        self.0 |= mark.bit();
    }

    /// Adds a mark where `holds`.
    #[inline]
    pub(super) fn add_if(&mut self, mark: Mark, holds: bool) {
        self.0 |= u32::from(holds) * mark.bit();
    }

    /// Puts one mark in the place of another.
    pub(super) fn replace(&mut self, mark: Mark, by: Mark) {
        self.0 = self.0 & !mark.bit() | by.bit();
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
        let kinds = [
            Mark::Fast,
            Mark::Rto,
            Mark::Spurious,
            Mark::Probe,
            Mark::ProbeOrRto,
            Mark::Copy,
        ];
        let kinds = kinds.iter().fold(0, |bits, kind| bits | kind.bit());
        let told = |mark: &Mark| {
            self.has(*mark) && !(*mark == Mark::Retransmission && self.0 & kinds != 0)
        };
        Mark::ALL.into_iter().filter(told).map(Mark::name).collect()
    }
}
