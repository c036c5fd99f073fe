//! What is remembered of one side of a TCP connection.

use super::fate::EndState;
use super::flow::{Side, SynOptions};
use super::rfc9293::RfcState;
use super::trouble::Watch;
use crate::units::Timestamp;
use crate::wire::Seq;

/// The most holes in a side's sequence numbers that are remembered. Further ones are counted as
/// missed when they appear.
const MAX_HOLES: usize = 32;

/// Beyond this distance the sequence number of a SYN or RST is not believed, nor an
/// acknowledgement number of zero: Zeek's bound.
const MAX_BELIEVED_JUMP: u64 = 1_048_576;

/// One side of a connection. Positions are sequence numbers relative to the initial one, carried
/// on beyond 32 bits; the SYN stands at 0 and the first byte at 1.
#[derive(Debug, Default)]
pub(super) struct SideState {
    pub(super) state: EndState,
    pub(super) previous: EndState,
    /// The initial sequence number; taken from the first segment, or from what the peer
    /// acknowledges, when no SYN was seen.
    pub(super) isn: Seq,
    pub(super) isn_known: bool,
    pub(super) fin_seen: bool,
    pub(super) rfc: Option<RfcState>,
    /// Its last segment was a keep-alive or a probe.
    pub(super) asked: bool,
    /// Letters of `history` that are written once.
    pub(super) letters: u8,
    pub(super) syn: Option<SynOptions>,
    /// Position after the last byte sent.
    pub(super) next: u64,
    /// Highest position that the peer acknowledged.
    pub(super) acked: u64,
    /// What it had acknowledged of the peer's when it last sent new payload or a FIN.
    pub(super) answered: u64,
    /// When it last sent a segment that takes up sequence numbers.
    pub(super) sent_at: Timestamp,
    pub(super) pkts: u64,
    pub(super) ip_bytes: u64,
    /// Positions of the last SYN, FIN and RST.
    pub(super) last_syn: u32,
    pub(super) last_fin: u32,
    pub(super) last_rst: u32,
    /// Window of its last segment, not scaled.
    pub(super) window: u16,
    /// What most connections are without.
    pub(super) watch: Option<Box<Watch>>,
    holes: Option<Box<Holes>>,
}

/// Bytes that were passed over in a side's sequence numbers.
#[derive(Debug, Default)]
struct Holes {
    /// Begin and end of each, in no order.
    ranges: Vec<(u64, u64)>,
    /// Bytes of holes that the peer acknowledged all the same, or that were too many to remember.
    missed: u64,
}

impl SideState {
    pub(super) fn enter(&mut self, state: EndState) {
        if state != self.state {
            self.previous = std::mem::replace(&mut self.state, state);
        }
    }

    /// What is kept to tell its troubles, from now on.
    pub(super) fn watch(&mut self) -> &mut Watch {
        self.watch.get_or_insert_default()
    }

    /// Whether an acknowledgement says what the last one said.
    #[inline]
    pub(super) fn has_acknowledged(&self, ack: Seq) -> bool {
        ack == self.isn + low32(self.acked)
    }

    /// Whether an acknowledgement is for more than was sent.
    #[inline]
    pub(super) fn is_beyond(&self, ack: Seq) -> bool {
        ack.since(self.isn + low32(self.next)) > 0
    }

    /// Begins the numbering with a SYN of this sequence number.
    pub(super) fn begin_with_syn(&mut self, seq: Seq) {
        self.isn = seq;
        self.isn_known = true;
        self.next = 0;
        self.acked = 0;
    }

    /// Begins the numbering as though a SYN had been seen before this sequence number.
    pub(super) fn begin_midstream(&mut self, seq: Seq) {
        self.begin_with_syn(seq.before());
        self.next = 1;
        self.acked = 1;
    }

    /// Position of a sequence number near the present end; negative when it lies before the
    /// initial one.
    #[inline]
    pub(super) fn position(&self, seq: Seq) -> i64 {
        let end = self.isn + low32(self.next);
        self.next.cast_signed() + i64::from(seq.since(end))
    }

    /// Takes in what the peer acknowledges.
    #[inline]
    pub(super) fn acknowledged(&mut self, ack: Seq) {
        let delta = ack.since(self.isn + low32(self.acked));
        let broken = ack == Seq(0) && u64::from(delta.unsigned_abs()) > MAX_BELIEVED_JUMP;
        if let (false, Ok(delta)) = (broken, u64::try_from(delta)) {
            self.acked += delta;
        }
    }

    /// Takes in a segment from `start` to `end`; positions that it leaves out become a hole.
    /// `doubtful` segments (SYN, RST) are not believed when they are far away.
    #[inline]
    pub(super) fn sent(&mut self, start: i64, end: i64, doubtful: bool) {
        let far = (end - self.next.cast_signed()).unsigned_abs() > MAX_BELIEVED_JUMP;
        if self.state == EndState::Reset || (doubtful && far) {
            return;
        }
        let Ok(end) = u64::try_from(end) else {
            return;
        };
        if end <= self.next {
            return;
        }
        let start = u64::try_from(start).unwrap_or_default();
        if start > self.next {
            self.leave_hole(self.next, start);
        }
        self.next = end;
    }

    #[cold]
    fn leave_hole(&mut self, start: u64, end: u64) {
        let holes = self.holes.get_or_insert_default();
        if holes.ranges.len() < MAX_HOLES {
            holes.ranges.push((start, end));
        } else {
            holes.missed += end - start;
        }
    }

    /// Takes bytes from `start` to `end` out of the holes; says whether they were in one, that is,
    /// came late and for the first time.
    pub(super) fn fills_hole(&mut self, start: u64, end: u64) -> bool {
        let Some(holes) = &mut self.holes else {
            return false;
        };
        let mut found = false;
        for (from, to) in std::mem::take(&mut holes.ranges) {
            let (cut_from, cut_to) = (start.max(from), end.min(to));
            if cut_from >= cut_to {
                holes.ranges.push((from, to));
                continue;
            }
            found = true;
            let rest = [(from, cut_from), (cut_to, to)];
            let rest = rest.into_iter().filter(|(from, to)| from < to);
            holes.ranges.extend(rest);
        }
        found
    }

    /// Closes the holes that the peer has acknowledged; says how many there were. What was not
    /// captured by then will not come.
    #[inline]
    pub(super) fn acknowledged_holes(&mut self) -> u32 {
        let acked = self.acked;
        let Some(holes) = &mut self.holes else {
            return 0;
        };
        let before = holes.ranges.len();
        let mut missed = 0;
        holes.ranges.retain(|(from, to)| {
            let open = *to > acked;
            if !open {
                missed += to - from;
            }
            open
        });
        holes.missed += missed;
        u32::try_from(before - holes.ranges.len()).unwrap_or(u32::MAX)
    }

    /// Bytes that the peer acknowledged and that were not captured (`missed_bytes`).
    pub(super) fn missed_bytes(&self) -> u64 {
        let passed_over = self.holes.as_ref().map_or(0, |holes| holes.missed);
        let beyond = self.acked.saturating_sub(self.next);
        // An acknowledgement one beyond the end is that of a FIN which was not captured.
        let beyond = if beyond == 1 && !self.fin_seen {
            0
        } else {
            beyond
        };
        passed_over + beyond
    }

    /// Payload bytes by sequence numbers, without SYN and FIN (`orig_bytes`).
    pub(super) fn bytes(&self, peer: EndState) -> u64 {
        let aborted_attempt = self.previous == EndState::SynSent
            && self.state == EndState::Reset
            && peer == EndState::Inactive;
        if aborted_attempt {
            // The numbers of a half-open connection that was aborted mean nothing.
            return 0;
        }
        let size = self.next.max(self.acked).saturating_sub(1);
        size.saturating_sub(u64::from(self.fin_seen))
    }

    /// Payload bytes that were captured and never acknowledged.
    fn unacked_bytes(&self) -> u64 {
        let end = self.next.saturating_sub(u64::from(self.fin_seen));
        end.saturating_sub(self.acked.max(1))
    }

    /// The counters that a flow shows.
    pub(super) fn counters(&mut self, peer: EndState) -> Side {
        Side {
            pkts: self.pkts,
            ip_bytes: self.ip_bytes,
            bytes: self.bytes(peer),
            missed_bytes: self.missed_bytes(),
            checksum_errors: 0,
            path: None,
            unacked_bytes: self.unacked_bytes(),
            syn: self.syn,
            state: self.rfc,
            trouble: self.watch.take().map(|watch| Box::new(watch.told)),
        }
    }
}

/// The part of a position that a sequence number can hold.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "sequence numbers are positions modulo 2^32"
)]
pub(super) fn low32(position: u64) -> u32 {
    position as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> SideState {
        let mut side = SideState::default();
        side.begin_with_syn(Seq(u32::MAX - 5));
        side.sent(0, 1, true);
        side
    }

    #[test]
    fn positions_go_on_beyond_32_bits() {
        let mut side = begun();
        let mut seq = side.isn + 1;
        // Five strides of 2^30 bytes pass the end of the 32-bit space twice.
        for stride in 1..=5_u32 {
            let start = side.position(seq);
            side.sent(start, start + (1 << 30), false);
            seq = seq + (1 << 30);
            side.acknowledged(seq);
            assert_eq!(side.next, 1 + (u64::from(stride) << 30));
            assert_eq!(side.acked, side.next);
        }
        assert_eq!(side.bytes(EndState::Established), 5 << 30);
        assert_eq!(side.missed_bytes(), 0);
    }

    #[test]
    fn holes_are_filled_or_missed() {
        let mut side = begun();
        side.sent(1, 11, false);
        side.sent(31, 41, false);
        assert!(side.fills_hole(15, 20));
        assert!(!side.fills_hole(15, 20));
        assert!(!side.fills_hole(1, 11));
        side.acknowledged(side.isn + 15);
        assert_eq!(side.acknowledged_holes(), 1);
        assert_eq!(side.missed_bytes(), 4);
        side.acknowledged(side.isn + 41);
        assert_eq!(side.acknowledged_holes(), 1);
        assert_eq!(side.missed_bytes(), 4 + 11);
        side.acknowledged(side.isn + 50);
        assert_eq!(side.missed_bytes(), 4 + 11 + 9);
    }

    #[test]
    fn holes_beyond_the_bound_are_missed_at_once() {
        let mut side = begun();
        for n in 0..100 {
            let start = 10 + n * 20;
            side.sent(start, start + 10, false);
        }
        assert!(side.missed_bytes() >= 10 * (100 - MAX_HOLES as u64));
    }

    #[test]
    fn far_away_resets_are_not_believed() {
        let mut side = begun();
        side.sent(0x7000_0000, 0x7000_0000, true);
        assert_eq!(side.bytes(EndState::Established), 0);
        side.sent(-5, -5, true);
        assert_eq!(side.next, 1);
    }
}
