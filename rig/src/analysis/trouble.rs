//! What went less than smoothly, told segment by segment.
//!
//! Names and rules are those of Wireshark's TCP analysis; docs/analysis.md lists where they are
//! not.

use std::time::Duration;

use serde::Serialize;

use super::fast_open::FastOpen;
use super::flow::TcpFlags;
use super::mark::{Mark, Marks};
use super::multipath::Signals;
use super::rfc9293::RfcState;
use super::side::{IpIds, SideState};
use super::tcp::{Judgement, MAX_WINDOW_SHIFT, Segment};
use crate::units::Timestamp;

/// The most gaps before retransmissions that are remembered of a side.
pub const MAX_GAPS_KEPT: usize = 16;

/// So many duplicate acknowledgements call for a fast retransmission. RFC 5681 asks for three, of
/// which a capture may miss one; Wireshark asks for two.
const FAST_AFTER_DUPLICATES: u32 = 2;

/// A fast retransmission follows the last duplicate acknowledgement within this time: Wireshark's
/// bound.
const FAST_WITHIN: Duration = Duration::from_millis(20);

/// No timer for retransmission ends sooner on Linux (`TCP_RTO_MIN`); RFC 6298 says one second.
const LEAST_RTO: Duration = Duration::from_millis(200);

/// A packet that was captured twice comes again within this time.
const COPIED_WITHIN: Duration = Duration::from_millis(10);

/// Counters of one side, most of them zero in most connections.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Trouble {
    /// Segments of which a part was sent before.
    pub retransmissions: u32,
    /// Of these, called for by duplicate acknowledgements.
    pub fast_retransmissions: u32,
    /// Of these, sent after a timeout.
    pub rto_retransmissions: u32,
    /// Of these, tail loss probes (RFC 8985).
    pub tail_loss_probes: u32,
    /// Of these, one or the other: what follows would tell, and nothing does.
    pub probe_or_rto_retransmissions: u32,
    /// Of these, repeats of what was acknowledged already.
    pub spurious_retransmissions: u32,
    /// Time from the segment before, of those that take up sequence numbers, to each
    /// retransmission; the first [`MAX_GAPS_KEPT`].
    pub retransmission_gaps: Vec<Duration>,
    /// Segments that came after what follows them.
    pub out_of_order: u32,
    /// Repeated acknowledgements.
    pub duplicate_acks: u32,
    /// Segments that announce a window of zero.
    pub zero_windows: u32,
    /// Segments that fill the peer's window.
    pub window_fulls: u32,
    /// Segments that ask a peer without room.
    pub zero_window_probes: u32,
    /// Segments that only make the peer answer.
    pub keep_alives: u32,
    /// Of these, the last ones, after which the peer sent nothing more.
    pub unanswered_keep_alives: u32,
    /// SYNs and SYN-ACKs that were sent again.
    pub syn_repeats: u32,
    /// How long it announced a window of zero.
    pub zero_window_time: Duration,
    /// How often it has sent again what its peer waits for, since that last acknowledged anything new.
    pub last_repeats: u32,
    /// Tail loss probes with its FIN.
    pub fin_probes: u32,
    /// Segments that were captured or delivered twice rather than sent again: their packets have the identification of
    /// the one before.
    pub copies: u32,
}

/// What is kept of a side to tell its troubles.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent observations")]
pub(super) struct Watch {
    pub(super) told: Trouble,
    /// Duplicate acknowledgements in a row, of which position, and when the last of them came.
    duplicates: u32,
    duplicate_position: u64,
    duplicate_at: Timestamp,
    /// What had been acknowledged when the latest retransmissions began.
    repeats_at: u64,
    /// How many there were since.
    repeats: u32,
    /// Time before the first of them, as long as it is not known what it was.
    undecided: Option<Duration>,
    /// What it turned out to be.
    pub(super) decided: Option<Mark>,
    /// Since when it has announced a window of zero.
    zero_since: Option<Timestamp>,
    /// What the letters `t`, `w` and `g` of `history` count.
    pub(super) letters_t: u32,
    pub(super) letters_w: u32,
    pub(super) letters_g: u32,
    /// Position of the byte that asked a peer without room.
    pub(super) probed: Option<u64>,
    /// A RST of the peer acknowledges its FIN.
    pub(super) fin_taken: bool,
    /// Its SYN-ACK gives a cookie, and the SYN is not captured yet.
    pub(super) gives_cookie: bool,
    /// What its SYN had of Fast Open.
    pub(super) fast_open: Option<FastOpen>,
    /// It has sent its SYN-ACK again after the acknowledgement of that, and nothing else.
    pub(super) not_accepted: bool,
    /// It goes on after a RST of its peer, which does not reach it.
    pub(super) is_deaf: bool,
    /// Where it stood when a RST of its peer closed it.
    pub(super) before_reset: Option<(RfcState, Timestamp)>,
}

/// Tells what is remarkable about a segment and counts it. The segment has been judged, and its
/// numbers are not yet taken in.
#[inline]
pub(super) fn note(
    me: &mut SideState,
    peer: &mut SideState,
    segment: &Segment<'_>,
    judgement: &Judgement,
) -> Marks {
    let Segment { flags, tcp, .. } = *segment;
    let plain = flags.0 & (TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0) == 0;
    let rst = flags.has(TcpFlags::RST);
    let mut marks = Marks::default();
    let again = judgement.syn_again || judgement.data_again || judgement.fin_again;
    marks.add_if(Mark::Retransmission, again);
    marks.add_if(Mark::OutOfOrder, judgement.late);
    let ahead = judgement.start > me.next.cast_signed();
    marks.add_if(
        Mark::LostSegment,
        ahead && me.pkts > 1 && !flags.has(TcpFlags::RST) && !me.is_over(),
    );
    if plain {
        note_window(me, peer, segment, judgement, &mut marks);
    }
    if flags.has(TcpFlags::ACK) && !flags.has(TcpFlags::RST) && peer.isn_known {
        note_acknowledgement(me, peer, segment, judgement, plain, &mut marks);
    }
    if let Some(watch) = &mut peer.watch {
        watch.told.unanswered_keep_alives = 0;
    }
    if !marks.is_empty() {
        count(me, peer, segment, judgement, &mut marks);
    }
    if let Some(watch) = &mut me.watch
        && (tcp.window > 0 || rst)
    {
        watch.end_zero_window(segment.at);
    }
    if !rst {
        me.window = tcp.window;
    }
    me.asked = marks.has(Mark::KeepAlive)
        || marks.has(Mark::ZeroWindowProbe)
        || segment.signals().has(Signals::DATA_FIN);
    if judgement.takes_numbers() {
        me.sent_at = segment.at;
    }
    marks
}

#[inline]
fn note_window(
    me: &SideState,
    peer: &SideState,
    segment: &Segment<'_>,
    judgement: &Judgement,
    marks: &mut Marks,
) {
    let tcp = segment.tcp;
    marks.add_if(Mark::ZeroWindow, tcp.window == 0);
    let next = me.next.cast_signed();
    let full_peer = peer.window == 0 && peer.pkts > 0 && !segment.is_news();
    if full_peer && judgement.data_len <= 1 && me.next > 1 {
        let one_new = judgement.data_len == 1 && judgement.start == next;
        let asks = one_new || judgement.start == next - 1;
        marks.add_if(Mark::ZeroWindowProbe, asks);
    }
    if judgement.keep_alive && !marks.has(Mark::ZeroWindowProbe) {
        marks.add(Mark::KeepAlive);
    }
    if judgement.data_len > 0
        && peer.window > 0
        && let (Some(mine), Some(syn)) = (me.syn, peer.syn)
    {
        let shift = match (mine.window_scale, syn.window_scale) {
            (Some(_), Some(shift)) => shift.min(MAX_WINDOW_SHIFT),
            _ => 0,
        };
        let edge = me.acked + (u64::from(peer.window) << shift);
        marks.add_if(Mark::WindowFull, judgement.end == edge.cast_signed());
    }
}

#[inline]
fn note_acknowledgement(
    me: &SideState,
    peer: &mut SideState,
    segment: &Segment<'_>,
    judgement: &Judgement,
    plain: bool,
    marks: &mut Marks,
) {
    let tcp = segment.tcp;
    if !peer.has_acknowledged(tcp.ack) {
        // What was told once is not told again.
        let beyond = peer.is_beyond(tcp.ack)
            && peer.pkts > 0
            && !peer.is_over()
            && !peer.takes_probe(tcp.ack);
        marks.add_if(Mark::AckLostSegment, beyond);
        return;
    }
    let same = plain
        && tcp.payload_len_bytes == 0
        && tcp.window == me.window
        && tcp.window != 0
        && me.pkts > 1
        && judgement.start == me.next.cast_signed();
    // The answer to a keep-alive, a probe or a DATA_FIN repeats an acknowledgement by intent, and so does what is
    // sent for an option of Multipath TCP.
    let intended = peer.asked || segment.is_news();
    marks.add_if(Mark::DuplicateAck, same && !intended);
}

/// Counts what is remarkable, and tells the kind of a retransmission.
#[cold]
fn count(
    me: &mut SideState,
    peer: &mut SideState,
    segment: &Segment<'_>,
    judgement: &Judgement,
    marks: &mut Marks,
) {
    let is_copy = me.ip_ids.tell(IpIds::AGAIN) && is_copy(me, segment, *marks);
    if is_copy {
        marks.add(Mark::Copy);
        bump(&mut me.watch().told.copies);
    }
    if marks.has(Mark::Retransmission) && is_copy {
        bump(&mut me.watch().told.retransmissions);
    } else if marks.has(Mark::Retransmission) {
        let kind = kind(me, peer, segment, judgement);
        let gap = segment.at.since(me.sent_at);
        // In a simultaneous open the SYN-ACK is the second SYN, and no repeat.
        let (greets, greeted) = (segment.flags.has(TcpFlags::ACK), me.greeted);
        let kind = me.repeated(peer, kind, gap, judgement.start <= me.acked.cast_signed());
        if let Some(kind) = kind {
            marks.add(kind);
        }
        let trouble = &mut me.watch().told;
        bump(&mut trouble.retransmissions);
        match kind {
            Some(Mark::Fast) => bump(&mut trouble.fast_retransmissions),
            Some(Mark::Rto) => bump(&mut trouble.rto_retransmissions),
            Some(Mark::Spurious) => bump(&mut trouble.spurious_retransmissions),
            Some(Mark::Probe) => {
                bump(&mut trouble.tail_loss_probes);
                trouble.fin_probes += u32::from(judgement.fin_again);
            }
            Some(Mark::ProbeOrRto) => bump(&mut trouble.probe_or_rto_retransmissions),
            _ => {}
        }
        if judgement.syn_again && (!greets || greeted) {
            bump(&mut trouble.syn_repeats);
        }
        if trouble.retransmission_gaps.len() < MAX_GAPS_KEPT {
            trouble.retransmission_gaps.push(gap);
        }
    }
    for mark in Mark::ALL {
        if !marks.has(mark) {
            continue;
        }
        let counter: fn(&mut Trouble) -> &mut u32 = match mark {
            Mark::OutOfOrder => |t| &mut t.out_of_order,
            Mark::DuplicateAck => |t| &mut t.duplicate_acks,
            Mark::ZeroWindow => |t| &mut t.zero_windows,
            Mark::WindowFull => |t| &mut t.window_fulls,
            Mark::ZeroWindowProbe => |t| &mut t.zero_window_probes,
            Mark::KeepAlive => |t| &mut t.keep_alives,
            _ => continue,
        };
        bump(counter(&mut me.watch().told));
    }
    if marks.has(Mark::KeepAlive) {
        bump(&mut me.watch().told.unanswered_keep_alives);
    }
    if marks.has(Mark::ZeroWindow) {
        me.watch().zero_since.get_or_insert(segment.at);
    }
    if marks.has(Mark::DuplicateAck) {
        let position = peer.acked;
        let watch = me.watch();
        if watch.duplicate_position != position {
            watch.duplicate_position = position;
            watch.duplicates = 0;
        }
        bump(&mut watch.duplicates);
        watch.duplicate_at = segment.at;
    }
}

/// Whether a segment whose packet has the identification of the one before repeats that one. Who sends something again
/// makes another packet of it, on Linux and Windows with another identification.
fn is_copy(me: &SideState, segment: &Segment<'_>, marks: Marks) -> bool {
    let soon = segment.at.since(me.sent_at) <= COPIED_WITHIN;
    marks.has(Mark::DuplicateAck) || (marks.has(Mark::Retransmission) && soon)
}

/// Why a segment was sent again, as far as that can be told.
fn kind(
    me: &SideState,
    peer: &SideState,
    segment: &Segment<'_>,
    judgement: &Judgement,
) -> Option<Mark> {
    let acked = me.acked.cast_signed();
    if judgement.end <= acked {
        let greets = segment.flags.has(TcpFlags::SYN) && segment.flags.has(TcpFlags::ACK);
        return Some(if greets && me.greeted {
            Mark::NotAccepted
        } else {
            Mark::Spurious
        });
    }
    let asked_for = peer.watch.as_ref().is_some_and(|watch| {
        watch.duplicates >= FAST_AFTER_DUPLICATES
            && watch.duplicate_position == me.acked
            && segment.at.since(watch.duplicate_at) <= FAST_WITHIN
    });
    if judgement.start == acked && asked_for {
        return Some(Mark::Fast);
    }
    let waited = segment.at.since(me.sent_at) >= LEAST_RTO;
    if judgement.start <= acked {
        return waited.then_some(Mark::Rto);
    }
    // A timeout repeats what was not acknowledged first; a probe repeats what was sent last.
    let repeats_ack = peer
        .watch
        .as_ref()
        .is_some_and(|watch| watch.duplicates > 0 && watch.duplicate_position == me.acked);
    let is_tail = judgement.end == me.next.cast_signed() && !repeats_ack;
    (is_tail && may_probe(me, peer)).then_some(Mark::Probe)
}

/// Whether tail loss probes can be: they take selective acknowledgements.
fn may_probe(me: &SideState, peer: &SideState) -> bool {
    let sack = |side: &SideState| side.syn.is_none_or(|syn| syn.sack_permitted);
    sack(me) && sack(peer) && me.acked > 0
}

impl SideState {
    /// Takes note of a retransmission, of a kind as far as it tells itself; gives the kind by those around it.
    ///
    /// A timer of retransmission begins anew after a probe, with the time that it had; after a timeout it waits twice as
    /// long. So the second of two repeats tells what the first one was.
    fn repeated(
        &mut self,
        peer: &SideState,
        kind: Option<Mark>,
        gap: Duration,
        is_head: bool,
    ) -> Option<Mark> {
        if matches!(kind, Some(Mark::Spurious | Mark::NotAccepted)) {
            return kind;
        }
        let may_probe = may_probe(self, peer);
        let acked = self.acked;
        let watch = self.watch();
        if watch.repeats_at != acked || watch.repeats == 0 {
            watch.repeats_at = acked;
            watch.repeats = 0;
            watch.told.last_repeats = 0;
            watch.undecided = None;
        }
        bump(&mut watch.repeats);
        if is_head {
            bump(&mut watch.told.last_repeats);
        }
        let first = watch.repeats == 1;
        if kind == Some(Mark::Rto)
            && let Some(before) = watch.undecided.take()
        {
            // Twice as long, but for the granularity of timers.
            let was = if gap * 2 < before * 3 {
                Mark::Probe
            } else {
                Mark::Rto
            };
            let told = &mut watch.told;
            told.probe_or_rto_retransmissions = told.probe_or_rto_retransmissions.saturating_sub(1);
            bump(match was {
                Mark::Probe => &mut told.tail_loss_probes,
                _ => &mut told.rto_retransmissions,
            });
            watch.decided = Some(was);
        }
        if kind == Some(Mark::Rto) && first && may_probe {
            watch.undecided = Some(gap);
            return Some(Mark::ProbeOrRto);
        }
        kind
    }
}

impl Watch {
    /// Nothing more comes: `acked` is what the peer had acknowledged, `last` the time of the flow's last packet.
    pub(super) fn finish(&mut self, acked: u64, last: Timestamp) {
        self.end_zero_window(last);
        if self.repeats_at != acked {
            self.told.last_repeats = 0;
        }
    }

    /// Whether nobody answers its keep-alives, or its repeats of what stands at `acked`.
    pub(super) fn gives_up(&self, acked: u64) -> bool {
        let repeats = self.repeats > 0 && self.repeats_at == acked;
        repeats || self.told.unanswered_keep_alives > 0
    }

    /// A window of zero ends, if it was one.
    pub(super) fn end_zero_window(&mut self, at: Timestamp) {
        if let Some(since) = self.zero_since.take() {
            self.told.zero_window_time += at.since(since);
        }
    }
}

fn bump(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}
