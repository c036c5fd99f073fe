//! The first RST of a connection: what it left unread, and who sent it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::fate::{self, EndState};
use super::flow::{Closer, EventKind, Sender, Side, TcpFlags};
use super::history::History;
use super::mark::Mark;
use super::rfc9293::{self, RfcState};
use super::side::{HopLimit, IpIds, SideState, low32};
use super::step;
use super::tcp::{Judgement, Segment, TcpState};
use crate::reconcile::Fate;
use crate::units::Timestamp;
use crate::wire::{Seq, Tcp};

/// What was sent before a RST may be captured after it, where a host has several processors or the network
/// several ways; but hardly so much later.
const REORDERED_WITHIN: Duration = Duration::from_millis(10);

/// A RST that follows on a FIN this soon is of the same close, also where the FIN is acknowledged meanwhile.
const AT_ONCE: Duration = Duration::from_millis(10);

/// What a side sends after a RST under its name is kept in so many pieces, until it shows whether that was its own.
const MAX_PIECES: usize = 64;

/// So far from a side's other segments, in bytes, one is of another connection whose SYN is not in the capture.
const MAX_DISTANCE: u64 = 1 << 20;

/// The first RST of a connection, and what its sender had not dealt with.
///
/// A capture does not show what a program reads. It shows what its host never acknowledged, which
/// the program cannot have read; and what it acknowledged and the program never answered, which it
/// may not have read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reset {
    /// Under whose name it came.
    pub by: Sender,
    /// Its flags. A socket that is closed sends RST with ACK, and so does a host that has none for a SYN; one
    /// that has none for a segment with an ACK sends RST alone (RFC 9293 section 3.10.7.1).
    pub flags: TcpFlags,
    /// Whether another sent it than the side under whose name it came.
    pub foreign: Option<Confidence>,
    /// In what it is not like the other segments of that side.
    pub unlike: Unlike,
    /// Where that side stood.
    pub state: Option<RfcState>,
    /// That side had announced a window of zero: what it had acknowledged is not read.
    pub zero_window: bool,
    /// Payload of the peer, captured before the RST, that neither the RST nor a segment before it
    /// acknowledges.
    pub unacked_bytes: u64,
    /// Payload of the peer that was acknowledged after the RST's sender had last sent payload or a
    /// FIN, or with the RST. Where RST with ACK follows on its FIN, that was no answer.
    pub unanswered_bytes: u64,
    /// Whether it tells that data was thrown away which its sender's host had taken and its program had not read
    /// (RFC 9293 section 3.6.1, RFC 2525 section 2.17).
    pub unread: Option<Confidence>,
}

/// How sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// It came another way: its hop limit differs from that of all other segments of its side. Or its side sent
    /// something later, which may have been sent before.
    Likely,
    /// Its side goes on as if nothing had been, or its host never sent it.
    Certain,
}

impl Confidence {
    /// The name as JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

/// In what a RST differs from the other segments of its side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Unlike {
    /// Its hop limit, and that of all others.
    pub hop_limit: Option<(u8, u8)>,
    /// It has no timestamps, which both sides agreed on. RFC 7323 section 3.2 lets a RST be without.
    pub no_timestamps: bool,
    /// The identification of IPv4 is zero, that of others is not.
    pub ip_id_zero: bool,
    /// Its sequence number is none that the receiver waits for.
    pub out_of_window: bool,
}

impl Unlike {
    /// In words, one for each difference.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let hops = self
            .hop_limit
            .map(|(is, others)| format!("hop limit {is} instead of {others}"));
        let flags = [
            (self.no_timestamps, "no timestamps"),
            (self.ip_id_zero, "IP id 0"),
            (self.out_of_window, "sequence number out of window"),
        ];
        let flags = flags.into_iter().filter(|(set, _)| *set);
        hops.into_iter()
            .chain(flags.map(|(_, words)| words.to_owned()))
            .collect()
    }
}

/// The first RST, with what is needed to find out about it later.
#[derive(Debug)]
pub(super) struct FirstReset {
    pub(super) told: Reset,
    pub(super) frame: u64,
    /// What it acknowledges, if anything.
    ack: Option<Seq>,
    /// Neither side had closed the connection before.
    closes: bool,
    /// It has ended nothing, and is as if it had not been.
    undone: bool,
    /// Who else closed the connection since.
    pub(super) other_closer: Option<Sender>,
    at: Timestamp,
    start: i64,
    /// Position after the last byte that its side had sent before.
    next: u64,
    /// Position after the last byte that the peer had sent.
    peer_next: u64,
    /// It stands where no segment of its side can, be they captured in another order.
    misplaced: bool,
    /// Where the segments of its side stand that came since.
    since: Vec<(i64, i64)>,
}

/// What a later segment of its side tells of a RST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    /// It may be another's.
    Doubt,
    /// It is another's.
    Belied,
}

impl FirstReset {
    /// What a later segment of its side, `me`, tells of it; the segment is not taken in yet.
    fn told_by(&self, segment: &Segment<'_>, me: &SideState, peer: &SideState) -> Told {
        let Segment {
            flags, sender, tcp, ..
        } = *segment;
        let own = flags.has(TcpFlags::RST) || flags.has(TcpFlags::SYN);
        if sender != self.told.by || own || self.told.foreign == Some(Confidence::Certain) {
            return Told::Nothing;
        }
        let start = me.position(tcp.seq);
        let peer_next = self.peer_next.cast_signed();
        let acknowledged = if flags.has(TcpFlags::ACK) {
            peer.position(tcp.ack)
        } else {
            peer_next
        };
        let near = start.abs_diff(me.next.cast_signed()) <= MAX_DISTANCE
            && acknowledged.abs_diff(peer_next) <= MAX_DISTANCE;
        let late = segment.at.since(self.at) > REORDERED_WITHIN;
        let takes_numbers = tcp.payload_len_bytes > 0 || flags.has(TcpFlags::FIN);
        let sure = late || self.misplaced;
        let new = takes_numbers && start >= self.next.cast_signed() && sure;
        let answers = acknowledged > peer_next;
        match (near, new || answers, late) {
            (true, true, _) => Told::Belied,
            (true, false, true) => Told::Doubt,
            _ => Told::Nothing,
        }
    }

    /// Takes note that its side may not have sent it.
    fn doubt(&mut self) {
        self.told.foreign.get_or_insert(Confidence::Likely);
        self.told.unread = None;
    }

    /// Takes note that its side did not send it; gives where that side stood.
    fn belie(&mut self) -> Option<RfcState> {
        self.told.foreign = Some(Confidence::Certain);
        self.told.unread = None;
        self.told.state
    }
}

impl TcpState {
    /// Takes note of a RST, and of what comes after the first one.
    #[cold]
    pub(super) fn note_resets(&mut self, segment: &Segment<'_>, start: i64) {
        let rst = segment.flags.has(TcpFlags::RST);
        if self.reset.is_some() {
            if self.ignores_reset(segment) {
                self.go_on_without_reset();
            }
        } else if rst {
            self.note_reset(segment, start);
        }
        if rst {
            let (me, peer) = self.sides(segment.sender);
            me.sent_packet(segment);
            me.goes_on |= segment.fate == Fate::Unsent;
            let acked = u64::try_from(peer.position(segment.tcp.ack)).unwrap_or_default();
            let takes = segment.flags.has(TcpFlags::ACK) && !peer.awaits_fin(acked);
            if peer.fin_seen && takes {
                peer.watch().fin_taken = true;
            }
        }
    }

    /// A side that has sent a RST answers a SYN after all. The RST did not acknowledge the SYN, which ignored it: it
    /// was none of this connection.
    #[cold]
    pub(super) fn answers_after_all(&mut self, segment: &Segment<'_>) {
        let told_flags = self
            .reset
            .as_ref()
            .map_or(TcpFlags::RST, |reset| reset.told.flags);
        let (me, peer) = self.sides(segment.sender);
        let ignored = me.state == EndState::Reset
            && !told_flags.has(TcpFlags::ACK)
            && me.previous == EndState::Inactive
            && peer.rfc == Some(RfcState::SynSent);
        if !ignored || !segment.flags.has(TcpFlags::ACK) {
            return;
        }
        me.state = EndState::Inactive;
        me.rfc = Some(RfcState::Listen);
        self.reset = None;
        self.closed_by = None;
        let sender = segment.sender;
        let events = self.kept_events().iter_mut();
        for event in events.filter(|event| event.kind == EventKind::Rst && event.sender == sender) {
            event.older = true;
        }
        let steps = step::kept(&mut self.steps).iter_mut();
        for step in steps.filter(|step| step.flags.has(TcpFlags::RST) && step.sender == sender) {
            step.marks.add(Mark::Older);
        }
    }

    /// Whether a SYN is one that a RST refused which was captured right before it, and is all that was captured.
    pub(super) fn was_refused_before(&self, sender: Sender, at: Timestamp, tcp: &Tcp<'_>) -> bool {
        let (me, peer) = (self.side(sender), self.side(sender.other()));
        let alone = me.pkts == 0 && peer.pkts == 1;
        let end = tcp.seq + 1 + tcp.payload_len_bytes;
        let refuses = |reset: &FirstReset| {
            let acks = reset.ack == Some(tcp.seq + 1) || reset.ack == Some(end);
            acks && at.since(reset.at) <= REORDERED_WITHIN
        };
        alone && self.reset.as_deref().is_some_and(refuses)
    }

    /// Takes the sender of the first segment, a RST, for the responder.
    #[cold]
    pub(super) fn turn(&mut self) {
        std::mem::swap(&mut self.orig, &mut self.resp);
        self.history = History::default();
        self.history.add(Sender::Initiator, b'^');
        self.history.add(Sender::Responder, b'R');
        self.closed_by = Some(Closer::Responder);
        if let Some(reset) = &mut self.reset {
            reset.told.by = Sender::Responder;
        }
        for event in self.kept_events() {
            event.sender = Sender::Responder;
        }
        for step in step::kept(&mut self.steps) {
            step.sender = Sender::Responder;
            step.states.reverse();
        }
        for change in self.states.as_deref_mut().into_iter().flatten() {
            change.states.reverse();
        }
    }

    /// Takes in a RST that came after another connection had begun between the same endpoints. It ends this one
    /// where its receiver still waits for its number.
    pub(super) fn take_late_reset(&mut self, segment: &Segment<'_>) {
        let over = self.is_over();
        let me = self.side(segment.sender);
        let start = me.position(segment.tcp.seq);
        let end = me.next.max(me.acked).cast_signed();
        if !(me.acked.cast_signed()..=end).contains(&start) {
            return;
        }
        let sent_before = me.next;
        if !over {
            if self.reset.is_none() {
                self.note_reset(segment, start);
            }
            self.closed_by.get_or_insert(segment.sender.into());
        }
        let (me, peer) = self.sides(segment.sender);
        if !over {
            fate::advance(me, peer, segment, 0);
        }
        rfc9293::advance(me, peer, segment, start, sent_before);
    }

    /// Takes note of the first RST.
    fn note_reset(&mut self, segment: &Segment<'_>, start: i64) {
        let (me, peer) = (self.side(segment.sender), self.side(segment.sender.other()));
        let closes = self.closed_by.is_none();
        let first = first(me, peer, segment, start, closes);
        self.reset = Some(Box::new(first));
    }

    /// Whether a segment shows that the first RST was not of the side under whose name it came. That side stands
    /// where it stood, then.
    pub(super) fn belies_reset(&mut self, segment: &Segment<'_>) -> bool {
        let (me, peer) = match segment.sender {
            Sender::Initiator => (&self.orig, &self.resp),
            Sender::Responder => (&self.resp, &self.orig),
        };
        let Some(reset) = &mut self.reset else {
            return false;
        };
        match reset.told_by(segment, me, peer) {
            Told::Nothing => return false,
            Told::Doubt => {
                reset.doubt();
                return false;
            }
            Told::Belied => {}
        }
        let state = reset.belie();
        let (frame, closes, start, next) = (reset.frame, reset.closes, reset.start, reset.next);
        let since = std::mem::take(&mut reset.since);
        self.note_foreign(frame);
        let (me, peer) = self.sides(segment.sender);
        me.goes_on = true;
        me.rfc = state;
        me.take_back(next, start);
        for (start, end) in since {
            me.sent(start, end, false);
        }
        // Where its receiver did not take it either, nothing has ended.
        let ended = peer.rfc == Some(RfcState::Closed);
        if ended && closes {
            self.closed_by = Some(Closer::Neither);
        } else if !ended {
            self.go_on_without_reset();
        }
        true
    }

    /// Remembers where a segment stands that came after a RST under its sender's name, which may turn out to be
    /// another's.
    #[cold]
    pub(super) fn keep_since_reset(&mut self, segment: &Segment<'_>, judgement: &Judgement) {
        let me = self.side(segment.sender);
        let counts = me.is_over() && judgement.takes_numbers() && !segment.flags.has(TcpFlags::RST);
        if let Some(reset) = &mut self.reset
            && counts
            && reset.told.by == segment.sender
            && reset.since.len() < MAX_PIECES
        {
            reset.since.push((judgement.start, judgement.end));
        }
    }

    /// Whether the receiver of a RST that was not its peer's goes on, as it does where it acknowledges what that
    /// sent later.
    fn ignores_reset(&self, segment: &Segment<'_>) -> bool {
        let Some(reset) = &self.reset else {
            return false;
        };
        let foreign = reset.told.foreign == Some(Confidence::Certain) && !reset.undone;
        let acks = segment.flags.has(TcpFlags::ACK) && !segment.flags.has(TcpFlags::RST);
        let peer = self.side(segment.sender.other());
        foreign && acks && segment.sender != reset.told.by && peer.acked > reset.next
    }

    /// The RST has ended nothing: everything is as if it had not been.
    fn go_on_without_reset(&mut self) {
        let Some(reset) = &mut self.reset else {
            return;
        };
        reset.undone = true;
        let (by, closes, other_closer) = (reset.told.by, reset.closes, reset.other_closer);
        let (me, peer) = self.sides(by);
        if me.state == EndState::Reset {
            let answered = me.previous == EndState::SynSent && peer.state == EndState::Established;
            me.state = if answered {
                EndState::Established
            } else {
                me.previous
            };
        }
        rfc9293::goes_on(peer);
        if closes {
            self.closed_by = other_closer.map(Into::into);
        }
    }

    /// Payload of a side that was captured and never acknowledged. Its RST need not stand at the end of that.
    pub(super) fn unacked_before_reset(&self, sender: Sender, side: &Side) -> u64 {
        let me = self.side(sender);
        let reset = self.reset.as_deref();
        let reset = reset.filter(|reset| reset.told.by == sender && !me.goes_on);
        reset.map_or(side.unacked_bytes, |reset| {
            let end = reset.next.saturating_sub(u64::from(me.fin_seen));
            side.unacked_bytes.min(end.saturating_sub(me.acked.max(1)))
        })
    }

    /// Marks the RST of a frame as one that neither side sent.
    fn note_foreign(&mut self, frame: u64) {
        let events = self.kept_events().iter_mut();
        for event in events.filter(|event| event.frame == frame && event.kind == EventKind::Rst) {
            event.foreign = true;
        }
    }
}

/// Sees a RST of `me` beside what both had sent by then.
fn first(
    me: &SideState,
    peer: &SideState,
    segment: &Segment<'_>,
    start: i64,
    closes: bool,
) -> FirstReset {
    let unlike = unlike(me, peer, segment, start);
    let (unacked_bytes, unanswered_bytes) = left(me, peer, segment);
    // The window of the RST itself says nothing.
    let zero_window = me.window == 0 && me.pkts > 0;
    let foreign = if segment.fate == Fate::Unsent {
        Some(Confidence::Certain)
    } else {
        unlike.hop_limit.map(|_| Confidence::Likely)
    };
    let with_ack = segment.flags.has(TcpFlags::ACK) && foreign.is_none();
    let unread = if zero_window && unanswered_bytes > 0 && with_ack {
        Some(Confidence::Certain)
    } else {
        let at_once = me.acked < me.next || segment.at.since(me.sent_at) <= AT_ONCE;
        let likely = unanswered_bytes > 0 || at_once;
        (likely && with_ack && follows_on_fin(me, peer, start)).then_some(Confidence::Likely)
    };
    FirstReset {
        told: Reset {
            by: segment.sender,
            flags: segment.flags,
            foreign,
            unlike,
            state: me.rfc,
            zero_window,
            unacked_bytes,
            unanswered_bytes,
            unread,
        },
        frame: segment.frame,
        ack: segment.flags.has(TcpFlags::ACK).then_some(segment.tcp.ack),
        closes,
        at: segment.at,
        start,
        undone: false,
        other_closer: None,
        next: me.next,
        peer_next: peer.next.max(peer.acked),
        misplaced: me.syn.is_some() && {
            let last = me.next.max(me.acked) + MAX_DISTANCE;
            !(me.acked.cast_signed()..=last.cast_signed()).contains(&start)
        },
        since: Vec::new(),
    }
}

fn unlike(me: &SideState, peer: &SideState, segment: &Segment<'_>, start: i64) -> Unlike {
    let timestamps = |side: &SideState| side.syn.is_some_and(|syn| syn.timestamps);
    // What it sent before the RST; a capture may begin later.
    let waited_for = me.acked.cast_signed()..=me.next.max(me.acked).cast_signed();
    Unlike {
        hop_limit: match me.hop_limit {
            HopLimit::Same(hops) if hops != segment.hop_limit => Some((segment.hop_limit, hops)),
            _ => None,
        },
        no_timestamps: timestamps(me)
            && timestamps(peer)
            && segment.tcp.options().timestamps.is_none(),
        ip_id_zero: me.ip_ids.tell(IpIds::USED) && segment.ip_id == Some(0),
        out_of_window: me.syn.is_some() && !waited_for.contains(&start),
    }
}

/// Whether a RST with ACK of `me` comes from the socket that has sent its FIN, and whose peer has sent payload and is there. A
/// close over unread data is such a one where the program has closed its direction before, as the runtime of Java does
/// in each close. Keep-alives or a FIN that nobody answers end in such a one as well.
fn follows_on_fin(me: &SideState, peer: &SideState, start: i64) -> bool {
    use RfcState::{Closing, FinWait1, FinWait2, LastAck};
    let is_next = start == me.next.cast_signed();
    let closed = matches!(me.rfc, Some(FinWait1 | FinWait2 | Closing | LastAck));
    let has_payload = peer.next.max(peer.acked) > 1 + u64::from(peer.fin_seen);
    let gives_up = me
        .watch
        .as_ref()
        .is_some_and(|watch| watch.gives_up(me.acked));
    is_next && me.fin_seen && closed && has_payload && !gives_up
}

/// What a RST of `me` leaves unread, and what unanswered.
fn left(me: &SideState, peer: &SideState, segment: &Segment<'_>) -> (u64, u64) {
    // Positions begin with the SYN, so the first byte of payload stands at 1.
    let first = 1;
    let end = peer
        .next
        .saturating_sub(u64::from(peer.fin_seen))
        .max(first);
    let told = if segment.flags.has(TcpFlags::ACK) && peer.isn_known {
        let position = u64::try_from(peer.position(segment.tcp.ack)).unwrap_or_default();
        // A number beyond what was sent is none of this connection.
        if position <= peer.next { position } else { 0 }
    } else {
        0
    };
    let acknowledged = peer.acked.max(told).clamp(first, end);
    // A FIN is an answer unless RST with ACK shows that the program has read no further.
    let with_ack = segment.flags.has(TcpFlags::ACK);
    let answered = if me.fin_seen && with_ack {
        me.answered_by_data
    } else {
        me.answered
    };
    let since = low32(peer.acked).wrapping_sub(answered);
    let answered = peer.acked.saturating_sub(since.into());
    let unanswered = acknowledged.saturating_sub(answered.max(first));
    (end - acknowledged, unanswered)
}
