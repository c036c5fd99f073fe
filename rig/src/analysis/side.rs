//! What is remembered of one side of a TCP connection.

use super::fate::EndState;
use super::flow::{Side, SynOptions};
use super::rfc9293::RfcState;
use super::tcp::Segment;
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
#[expect(clippy::struct_excessive_bools, reason = "independent observations")]
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
    /// The hop limit of its segments.
    pub(super) hop_limit: HopLimit,
    /// What the identifications of IPv4 in its packets tell.
    pub(super) ip_ids: IpIds,
    /// It has sent a SYN-ACK.
    pub(super) greeted: bool,
    /// The RST under its name was not its own.
    pub(super) goes_on: bool,
    /// What it had acknowledged of the peer's when it last sent new payload, and when it last sent new payload or a FIN:
    /// the part of the position that a sequence number can hold.
    pub(super) answered_by_data: u32,
    pub(super) answered: u32,
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
    /// The identification of IPv4 of its last packet.
    ip_id: u16,
    /// What most connections are without.
    pub(super) watch: Option<Box<Watch>>,
    holes: Option<Box<Holes>>,
}

/// The hop limit of a side's segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum HopLimit {
    /// It has sent none.
    #[default]
    Unknown,
    /// All have this one.
    Same(u8),
    /// They do not have the same.
    Varies,
}

/// What is known of the identifications of IPv4 in a side's packets: a bit each, since every flow has two of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct IpIds(u8);

impl IpIds {
    /// Some are not zero.
    pub(super) const USED: Self = Self(1);
    /// Not all are the same.
    pub(super) const VARY: Self = Self(2);
    /// The last one is that of the packet before it, and not zero.
    pub(super) const AGAIN: Self = Self(4);

    #[inline]
    pub(super) fn tell(self, what: Self) -> bool {
        self.0 & what.0 != 0
    }

    /// With that of the next packet, `id`, which came after `last`.
    #[inline]
    fn with(self, id: u16, last: u16, is_first: bool) -> Self {
        let (used, same) = (id != 0, id == last);
        let bit = |what: Self, holds: bool| what.0 * u8::from(holds);
        let kept = self.0 & !Self::AGAIN.0;
        Self(
            kept | bit(Self::USED, used)
                | bit(Self::VARY, !same && !is_first)
                | bit(Self::AGAIN, same && used && !is_first),
        )
    }
}

/// Bytes that were passed over in a side's sequence numbers.
#[derive(Debug, Default)]
struct Holes {
    /// Begin and end of each, in no order.
    ranges: Vec<(u64, u64)>,
    /// Bytes of holes that the peer acknowledged all the same, or that were too many to remember.
    missed: u64,
    /// End of an acknowledged hole of one number after which nothing with numbers had come.
    last: Option<u64>,
}

impl SideState {
    /// Takes in what the IP header of a segment tells; only the first has none before it to differ from.
    #[inline]
    pub(super) fn sent_packet(&mut self, segment: &Segment<'_>) {
        let hops = HopLimit::Same(segment.hop_limit);
        if self.hop_limit != hops {
            self.hop_limit = match self.hop_limit {
                HopLimit::Unknown => hops,
                _ => HopLimit::Varies,
            };
        }
        let id = segment.ip_id.unwrap_or_default();
        self.ip_ids = self.ip_ids.with(id, self.ip_id, self.pkts == 0);
        self.ip_id = id;
        self.pkts += 1;
        self.ip_bytes += u64::from(segment.ip_len_bytes);
    }

    pub(super) fn enter(&mut self, state: EndState) {
        if state != self.state {
            self.previous = std::mem::replace(&mut self.state, state);
        }
    }

    /// Whether it has sent its SYN-ACK again after the acknowledgement of that, and nothing else.
    pub(super) fn not_accepted(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.not_accepted)
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

    /// The sequence number after the last byte sent.
    #[inline]
    pub(super) fn end(&self) -> Seq {
        self.isn + low32(self.next)
    }

    /// Whether an acknowledgement is for more than was sent.
    #[inline]
    pub(super) fn is_beyond(&self, ack: Seq) -> bool {
        ack.since(self.end()) > 0
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
        self.next.cast_signed() + i64::from(seq.since(self.end()))
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

    /// Whether it has sent a RST, as it seems, so that what it sends later counts for nothing.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.state == EndState::Reset && !self.goes_on
    }

    /// Takes in a segment from `start` to `end`; positions that it leaves out become a hole.
    /// `doubtful` segments (SYN, RST) are not believed when they are far away.
    #[inline]
    pub(super) fn sent(&mut self, start: i64, end: i64, doubtful: bool) {
        let far = (end - self.next.cast_signed()).unsigned_abs() > MAX_BELIEVED_JUMP;
        if self.is_over() || (doubtful && far) {
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

    /// Takes back that the side had come from `next` to `end` without sending anything: a RST that was not its own
    /// stood there.
    pub(super) fn take_back(&mut self, next: u64, end: i64) {
        if self.next.cast_signed() == end && next < self.next {
            self.next = next;
            if let Some(holes) = &mut self.holes {
                holes.ranges.retain(|(_, to)| *to <= next);
            }
        }
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
        let next = self.next;
        let mut last = None;
        holes.ranges.retain(|(from, to)| {
            let open = *to > acked;
            if !open && *to == next && to - from == 1 {
                last = Some(next);
            } else if !open {
                missed += to - from;
            }
            open
        });
        if last.is_some() {
            // The one before had something behind it, then.
            missed += u64::from(holes.last.is_some());
            holes.last = last;
        }
        holes.missed += missed;
        u32::try_from(before - holes.ranges.len()).unwrap_or(u32::MAX)
    }

    /// Bytes that the peer acknowledged and that were not captured (`missed_bytes`).
    pub(super) fn missed_bytes(&self) -> u64 {
        let beyond = self.beyond();
        let open = self.open_acknowledged();
        let passed_over = self.holes.as_ref().map_or(0, |holes| {
            let went_on = |last| last != self.next || beyond > 0;
            holes.missed + u64::from(holes.last.is_some_and(went_on))
        });
        let fin = beyond + open > 0 && self.has_unseen_fin();
        passed_over + open + beyond - u64::from(fin)
    }

    /// Numbers in holes that the peer had acknowledged before these showed, and has sent nothing since.
    fn open_acknowledged(&self) -> u64 {
        let acknowledged = |(from, to): &(u64, u64)| (*to).min(self.acked).saturating_sub(*from);
        let holes = self.holes.as_ref();
        holes.map_or(0, |holes| holes.ranges.iter().map(acknowledged).sum())
    }

    /// Numbers beyond the last byte captured that the peer has acknowledged.
    fn beyond(&self) -> u64 {
        self.acked
            .saturating_sub(self.next + u64::from(self.probed()))
    }

    /// Whether one new byte has asked the peer for room, which need not have had any for it.
    fn probed(&self) -> bool {
        let probed = self.watch.as_ref().and_then(|watch| watch.probed);
        probed == Some(self.next)
    }

    /// Whether its FIN was acknowledged and is not in the capture: one number beyond all that came, be it that
    /// nothing followed or segments without payload.
    fn has_unseen_fin(&self) -> bool {
        let is_last = |holes: &Holes| {
            let next = self.next;
            let open = holes
                .ranges
                .iter()
                .any(|(from, to)| *to == next && to - from == 1 && *to <= self.acked);
            open || holes.last == Some(next)
        };
        let found = match self.beyond() {
            0 => self.holes.as_deref().is_some_and(is_last),
            beyond => beyond == 1,
        };
        found && !self.fin_seen
    }

    /// One new byte asked a peer without room. It counts once that acknowledges it, since it is sent again otherwise.
    pub(super) fn probes(&mut self) {
        self.watch().probed = Some(self.next);
    }

    /// Counts the byte of a probe as sent, if there was one; says so.
    pub(super) fn counts_probe(&mut self) -> bool {
        let probed = self.probed();
        self.next += u64::from(probed);
        probed
    }

    /// Takes in the byte of a probe where an acknowledgement is for more than was sent; says whether that is all.
    #[cold]
    pub(super) fn takes_probe(&mut self, ack: Seq) -> bool {
        self.counts_probe() && ack == self.end()
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
        let fin = self.fin_seen || self.has_unseen_fin();
        size.saturating_sub(u64::from(fin))
    }

    /// Whether an acknowledgement up to a position leaves out its last FIN.
    pub(super) fn awaits_fin(&self, acked: u64) -> bool {
        low32(acked).wrapping_sub(self.last_fin).cast_signed() <= 0
    }

    /// Payload bytes that were captured and never acknowledged.
    fn unacked_bytes(&self) -> u64 {
        let end = self.next.saturating_sub(u64::from(self.fin_seen));
        end.saturating_sub(self.acked.max(1))
    }

    /// The counters that a flow shows.
    pub(super) fn counters(&mut self, peer: EndState, last: Timestamp) -> Side {
        let mut fin_taken = false;
        if let Some(watch) = &mut self.watch {
            watch.finish(self.acked, last);
            if !self.ip_ids.tell(IpIds::VARY) {
                watch.told.copies = 0;
            }
            fin_taken = watch.fin_taken;
        }
        Side {
            pkts: self.pkts,
            ip_bytes: self.ip_bytes,
            bytes: self.bytes(peer),
            missed_bytes: self.missed_bytes(),
            checksum_errors: 0,
            path: None,
            unacked_bytes: self.unacked_bytes(),
            fin_unacknowledged: self.fin_seen && !fin_taken && self.awaits_fin(self.acked),
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
