//! A TCP connection, segment by segment.

use super::events::{self, Keep};
use super::fate::{self, EndState, Ending};
use super::flow::{Closer, ConnState, Event, Opener, Sender, Side, SynOptions, TcpFlags};
use super::history::History;
use super::mark::{Mark, Marks};
use super::multipath::{Signal, Signals};
use super::older::{self, Older};
use super::reset::FirstReset;
use super::rfc9293::{self, RfcState};
use super::side::{SideState, low32};
use super::step::{self, StateChange, Steps};
use super::trouble;
use crate::reconcile::Fate;
use crate::units::Timestamp;
use crate::wire::Tcp;

/// The largest shift that window scaling may use, RFC 7323 section 2.3.
pub(super) const MAX_WINDOW_SHIFT: u8 = 14;

/// Wireshark's `tcp.completeness` bits.
mod completeness {
    pub(super) const SYN: u8 = 1;
    pub(super) const SYN_ACK: u8 = 2;
    pub(super) const ACK: u8 = 4;
    pub(super) const DATA: u8 = 8;
    pub(super) const FIN: u8 = 16;
    pub(super) const RST: u8 = 32;
}

/// Letters that a side writes once, or whose repetition depends on the sequence number.
mod letter {
    pub(super) const SYN: u8 = 1;
    pub(super) const FIN: u8 = 2;
    pub(super) const RST: u8 = 4;
    pub(super) const ACK: u8 = 8;
    pub(super) const DATA: u8 = 16;
    pub(super) const INCONSISTENT: u8 = 32;
    pub(super) const MULTI_FLAG: u8 = 64;
}

/// The state of one connection.
#[derive(Debug, Default)]
pub(super) struct TcpState {
    pub(super) orig: SideState,
    pub(super) resp: SideState,
    pub(super) history: History,
    pub(super) closed_by: Option<Closer>,
    pub(super) opened_by: Option<Opener>,
    pub(super) completeness: u8,
    pub(super) reset: Option<Box<FirstReset>>,
    pub(super) older: Option<Box<Older>>,
    pub(super) steps: Option<Box<Steps>>,
    // One pointer where no events are kept, which is the rule in large captures.
    #[expect(clippy::box_collection, reason = "a third of the room in every flow")]
    pub(super) events: Option<Box<Vec<Event>>>,
    /// At most a dozen in a connection's life, as its sides go through their states.
    #[expect(clippy::box_collection, reason = "a third of the room in every flow")]
    pub(super) states: Option<Box<Vec<StateChange>>>,
}

/// A captured segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    pub(super) frame: u64,
    pub(super) at: Timestamp,
    pub(super) sender: Sender,
    pub(super) ip_len_bytes: u32,
    /// What became of it, where that is known.
    pub(super) fate: Fate,
    pub(super) hop_limit: u8,
    pub(super) ip_id: Option<u16>,
    pub(super) flags: TcpFlags,
    pub(super) tcp: &'a Tcp<'a>,
    /// What it says of Multipath TCP, if anything.
    pub(super) signal: Option<&'a Signal>,
}

/// What a segment is, seen beside its sender's earlier ones.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent observations")]
pub(super) struct Judgement {
    /// Position of the segment.
    pub(super) start: i64,
    /// Position after its last byte, SYN and FIN included.
    pub(super) end: i64,
    /// Position of its first payload byte.
    pub(super) data_start: i64,
    /// Payload that belongs to the stream; that of a RST does not.
    pub(super) data_len: u32,
    /// It repeats the last byte sent, or none, only to make the peer answer.
    pub(super) keep_alive: bool,
    /// It carries payload that stands before what was sent, for the first time.
    pub(super) late: bool,
    /// Its SYN was sent before.
    pub(super) syn_again: bool,
    /// Payload of it was sent before.
    pub(super) data_again: bool,
    /// It carries payload sent before and new one.
    pub(super) data_joined: bool,
    /// Its FIN was sent before.
    pub(super) fin_again: bool,
}

impl Segment<'_> {
    /// Whether it was sent to say something of Multipath TCP.
    #[inline]
    pub(super) fn is_news(&self) -> bool {
        self.signal.is_some_and(|signal| signal.is_news)
    }

    /// What it says of Multipath TCP.
    pub(super) fn signals(&self) -> Signals {
        self.signal
            .map_or_else(Signals::default, |signal| signal.signals)
    }
}

impl Judgement {
    /// Of a segment that belongs to another connection, at a position there.
    fn apart(position: u32, segment: &Segment<'_>) -> Self {
        let start = i64::from(position);
        let rst = segment.flags.has(TcpFlags::RST);
        Self {
            start,
            end: start,
            data_start: start,
            data_len: if rst {
                0
            } else {
                segment.tcp.payload_len_bytes
            },
            keep_alive: false,
            late: false,
            syn_again: false,
            data_again: false,
            data_joined: false,
            fin_again: false,
        }
    }

    /// Whether it takes up sequence numbers.
    #[inline]
    pub(super) fn takes_numbers(&self) -> bool {
        self.end > self.start && !self.keep_alive
    }
}

impl TcpState {
    pub(super) fn side(&self, sender: Sender) -> &SideState {
        match sender {
            Sender::Initiator => &self.orig,
            Sender::Responder => &self.resp,
        }
    }

    /// The side that sent a segment, and its peer.
    pub(super) fn sides(&mut self, sender: Sender) -> (&mut SideState, &mut SideState) {
        match sender {
            Sender::Initiator => (&mut self.orig, &mut self.resp),
            Sender::Responder => (&mut self.resp, &mut self.orig),
        }
    }

    /// Takes in a segment; tells whether it is of this connection, and not of an older one.
    pub(super) fn take(&mut self, segment: &Segment<'_>, keep: Keep) -> bool {
        if older::is_of_older(self, segment) {
            self.take_older(segment, keep);
            return false;
        }
        let Segment { flags, tcp, .. } = *segment;
        let (rst, fin) = (flags.has(TcpFlags::RST), flags.has(TcpFlags::FIN));
        let syn = flags.has(TcpFlags::SYN);
        let rare = rst || syn || self.reset.is_some();
        if syn {
            self.answers_after_all(segment);
        }
        let goes_on = rare && self.belies_reset(segment);
        let (me, peer) = self.sides(segment.sender);
        if !rst {
            me.sent_packet(segment);
        }
        begin_numbering(me, segment);
        let judgement = judge(me, segment);
        let mut marks = trouble::note(me, peer, segment, &judgement);
        let acks = flags.has(TcpFlags::ACK) && !rst;
        // The numbers in a RST need not be those of the connection.
        if acks && peer.isn_known {
            peer.acknowledged(tcp.ack);
        } else if acks {
            peer.begin_midstream(tcp.ack);
        }
        if rare {
            marks.add_if(Mark::GoesOn, goes_on);
            self.note_resets(segment, judgement.start);
            self.keep_since_reset(segment, &judgement);
        }
        let (me, peer) = self.sides(segment.sender);
        let sent_before = me.next;
        let doubtful = syn || rst;
        // One that was not its own says nothing of where it stands.
        if marks.has(Mark::ZeroWindowProbe) && judgement.end > sent_before.cast_signed() {
            me.probes();
        } else if !(rst && me.goes_on) {
            me.sent(judgement.start, judgement.end, doubtful);
        }
        if fin && !me.fin_seen {
            let at = u64::try_from(judgement.end).unwrap_or_default();
            me.fills_hole(at.saturating_sub(1), at);
        }
        let new_data = judgement.data_len > 0 && !judgement.data_again;
        if new_data || (fin && !me.fin_seen) {
            me.answered = low32(peer.acked);
        }
        if new_data {
            me.answered_by_data = low32(peer.acked);
        }
        self.note_flags(segment, &judgement);
        self.write_history(segment, &judgement);
        let (me, peer) = self.sides(segment.sender);
        fate::advance(me, peer, segment, judgement.data_len);
        me.fin_seen |= fin;
        me.greeted |= syn && flags.has(TcpFlags::ACK);
        if judgement.data_again || judgement.fin_again {
            rfc9293::repeats(me, segment.at);
        }
        rfc9293::advance(me, peer, segment, judgement.start, sent_before);
        if syn && marks.has(Mark::NotAccepted) {
            self.note_not_accepted(segment.sender);
        }
        if acks {
            self.note_gaps(segment);
        }
        if keep.events || keep.steps {
            self.note_decided(segment.sender);
        }
        if keep.events {
            self.with_events(|events, flow| {
                events::append(events, flow, segment, &judgement, marks, keep);
            });
        }
        if keep.states {
            self.note_states(segment.at);
        }
        if keep.steps {
            let step = step::of_segment(self, segment, &judgement, marks);
            self.steps.get_or_insert_default().push(step);
        }
        true
    }

    /// Takes note of a segment that its receiver throws away, to be shown.
    #[cold]
    pub(super) fn show_unreadable(&mut self, segment: &Segment<'_>) {
        let me = self.side(segment.sender);
        let seq = if me.isn_known {
            segment.tcp.seq.relative_to(me.isn)
        } else {
            0
        };
        let judgement = Judgement::apart(seq, segment);
        let mut marks = Marks::default();
        marks.add(Mark::WrongChecksum);
        let step = step::of_segment(self, segment, &judgement, marks);
        self.steps.get_or_insert_default().push(step);
    }

    /// Takes note of a segment of an older connection: it counts as a packet, and changes nothing here.
    #[cold]
    fn take_older(&mut self, segment: &Segment<'_>, keep: Keep) {
        let (me, _) = self.sides(segment.sender);
        me.sent_packet(segment);
        let older = self.older.get_or_insert_default();
        let (seq, ack) = older::take(older, segment);
        let judgement = Judgement::apart(seq, segment);
        let len_bytes = segment.tcp.payload_len_bytes;
        self.completeness |= completeness_bits(segment.flags, len_bytes);
        let (me, _) = self.sides(segment.sender);
        if let Some(capital) = flag_letter(me, segment, &judgement) {
            self.history.add(segment.sender, capital);
        }
        if keep.events {
            self.with_events(|events, flow| {
                events::append_older(events, flow, segment, &judgement, ack, keep);
            });
        }
        if keep.steps {
            let mut marks = Marks::default();
            marks.add(Mark::Older);
            let mut step = step::of_segment(self, segment, &judgement, marks);
            step.ack = ack;
            self.steps.get_or_insert_default().push(step);
        }
    }

    /// A side sends its SYN-ACK again although that was acknowledged, and has sent nothing else: the handshake's end
    /// has not reached it, or its program has not accepted the connection. It was in SYN-RECEIVED all the time.
    #[cold]
    fn note_not_accepted(&mut self, sender: Sender) {
        let (me, _) = self.sides(sender);
        let spoke = me.letters & (letter::ACK | letter::DATA | letter::FIN) != 0;
        if spoke || me.rfc != Some(RfcState::Established) {
            return;
        }
        me.rfc = Some(RfcState::SynReceived);
        me.watch().not_accepted = true;
        let place = sender.place();
        let changes = self.states.as_deref_mut().into_iter().flatten();
        let steps = step::kept(&mut self.steps).iter_mut();
        let states = changes.map(|change| &mut change.states);
        for states in states.chain(steps.map(|step| &mut step.states)) {
            if states[place] == Some(RfcState::Established) {
                states[place] = Some(RfcState::SynReceived);
            }
        }
    }

    /// Its events so far, where they are kept.
    pub(super) fn kept_events(&mut self) -> &mut [Event] {
        let events = self.events.as_deref_mut();
        events.map_or(&mut [], Vec::as_mut_slice)
    }

    /// Adds to the events by what is known of the connection.
    fn with_events(&mut self, add: impl FnOnce(&mut Vec<Event>, &Self)) {
        let mut events = self.events.take().unwrap_or_default();
        add(&mut events, self);
        self.events = Some(events);
    }

    /// Says at an earlier retransmission what it was, where that is known now.
    fn note_decided(&mut self, sender: Sender) {
        let (me, _) = self.sides(sender);
        let Some(decided) = me.watch.as_mut().and_then(|watch| watch.decided.take()) else {
            return;
        };
        if decided == Mark::Probe {
            events::was_probe(self.kept_events(), sender);
        }
        let mut steps = step::kept(&mut self.steps).iter_mut().rev();
        let undecided =
            |step: &&mut step::Step| step.sender == sender && step.marks.has(Mark::ProbeOrRto);
        if let Some(step) = steps.find(undecided) {
            step.marks.replace(Mark::ProbeOrRto, decided);
        }
    }

    /// Notes the states of both sides where one of them has changed.
    fn note_states(&mut self, at: Timestamp) {
        let states = [self.orig.rfc, self.resp.rfc];
        let changes = self.states.get_or_insert_default();
        if changes.last().is_none_or(|last| last.states != states) {
            changes.push(StateChange { at, states });
        }
    }

    /// The acknowledgement number relative to the peer's initial one; 0 without ACK.
    pub(super) fn relative_ack(&self, segment: &Segment<'_>) -> u32 {
        let peer = self.side(segment.sender.other());
        if segment.flags.has(TcpFlags::ACK) && peer.isn_known {
            segment.tcp.ack.relative_to(peer.isn)
        } else {
            0
        }
    }

    /// The receive window in bytes. Scaling holds when both SYNs offered it, and never for the
    /// SYNs themselves, RFC 7323 section 2.2.
    pub(super) fn window_bytes(&self, segment: &Segment<'_>) -> u32 {
        let window = u32::from(segment.tcp.window);
        let shift = |sender| self.side(sender).syn.and_then(|syn| syn.window_scale);
        match (shift(segment.sender), shift(segment.sender.other())) {
            (Some(shift), Some(_)) if !segment.flags.has(TcpFlags::SYN) => {
                window << shift.min(MAX_WINDOW_SHIFT)
            }
            _ => window,
        }
    }

    /// The counters that the flow shows of a side, at its end.
    pub(super) fn counters(&mut self, sender: Sender, last: Timestamp) -> Side {
        let (me, peer) = self.sides(sender);
        let side = me.counters(peer.state, last);
        Side {
            unacked_bytes: self.unacked_before_reset(sender, &side),
            ..side
        }
    }

    /// How the connection ended, as far as it was captured.
    pub(super) fn conn_state(&self) -> ConnState {
        fate::tcp(Ending {
            orig: self.orig.state,
            resp: self.resp.state,
            orig_bytes: self.orig.bytes(self.resp.state),
            resp_bytes: self.resp.bytes(self.orig.state),
            history: &self.history,
        })
    }

    /// Whether a segment cannot belong to this connection and begins a new one between the same
    /// endpoints: a SYN or SYN-ACK with another initial sequence number.
    pub(super) fn is_reuse(&self, sender: Sender, tcp: &Tcp<'_>) -> bool {
        let flags = TcpFlags(tcp.flags);
        let me = self.side(sender);
        let numbered = me.syn.is_some() || (me.isn_known && me.state != EndState::Inactive);
        if !flags.has(TcpFlags::SYN) {
            return false;
        }
        let answers = flags.has(TcpFlags::ACK);
        if me.isn_known && tcp.seq == me.isn {
            // A port that is tried again may begin with the same number; Zeek compares them only while the
            // connection is not over.
            return !answers && me.syn.is_some() && self.is_over();
        }
        if answers {
            // Without its SYN the new connection shows itself by its SYN-ACK only, and only where
            // the old one cannot go on.
            return me.syn.is_some() && self.is_over();
        }
        // The responder's first SYN is a simultaneous open, unless the connection was over.
        numbered || self.is_over()
    }

    /// Whether no more is to come but repeats.
    pub(super) fn is_over(&self) -> bool {
        let (orig, resp) = (self.orig.state, self.resp.state);
        let reset = orig == EndState::Reset || resp == EndState::Reset;
        // A RST that does not acknowledge a SYN does not end the attempt.
        let awaits = |side: &SideState| side.syn.is_some() && side.rfc == Some(RfcState::SynSent);
        let tried = awaits(&self.orig) || awaits(&self.resp);
        (reset && !tried) || (orig == EndState::Closed && resp == EndState::Closed)
    }

    /// Whether a RST ended it.
    pub(super) fn was_reset(&self) -> bool {
        [self.orig.state, self.resp.state].contains(&EndState::Reset)
    }

    /// Whether one side has sent a SYN that the other has not answered.
    pub(super) fn awaits_answer(&self) -> bool {
        let sides = [self.orig.rfc, self.resp.rfc];
        sides.contains(&Some(RfcState::SynSent)) && sides.contains(&Some(RfcState::Listen))
    }

    /// Whether both sides are done by the states of RFC 9293.
    pub(super) fn is_settled(&self) -> bool {
        let done = |side: &SideState| {
            let state = side.rfc;
            matches!(state, Some(RfcState::Closed | RfcState::TimeWait))
        };
        done(&self.orig) && done(&self.resp)
    }

    fn note_flags(&mut self, segment: &Segment<'_>, judgement: &Judgement) {
        let flags = segment.flags;
        self.completeness |= completeness_bits(flags, segment.tcp.payload_len_bytes);
        if flags.has(TcpFlags::FIN) || flags.has(TcpFlags::RST) {
            let unsent = segment.fate == Fate::Unsent && flags.has(TcpFlags::RST);
            let closer = if unsent {
                Closer::Neither
            } else {
                segment.sender.into()
            };
            if self.closed_by.is_none() {
                self.closed_by = Some(closer);
            } else if let Some(reset) = &mut self.reset
                && reset.frame != segment.frame
            {
                reset.other_closer.get_or_insert(segment.sender);
            }
        }
        if !flags.has(TcpFlags::SYN) {
            return;
        }
        let options = segment.tcp.options();
        self.note_fast_open(segment, options.fast_open);
        if !judgement.syn_again {
            let (me, _) = self.sides(segment.sender);
            me.syn = Some(SynOptions::of(&options));
            if !flags.has(TcpFlags::ACK) {
                self.opened_by = match (segment.sender, self.opened_by) {
                    (Sender::Initiator, None) => Some(Opener::Initiator),
                    (Sender::Responder, Some(Opener::Initiator)) => Some(Opener::Both),
                    (_, opened_by) => opened_by,
                };
            }
        }
    }

    /// Writes the letters of a segment, in Zeek's order: flags or payload, zero window,
    /// retransmission.
    fn write_history(&mut self, segment: &Segment<'_>, judgement: &Judgement) {
        let Segment { flags, sender, .. } = *segment;
        let rst = flags.has(TcpFlags::RST);
        let peer_state = self.side(sender.other()).state;
        let history = &mut self.history;
        let me = match sender {
            Sender::Initiator => &mut self.orig,
            Sender::Responder => &mut self.resp,
        };
        if let Some(capital) = flag_letter(me, segment, judgement) {
            history.add(sender, capital);
        }
        // Nobody minds a zero window at the end of a connection.
        let window_matters = peer_state != EndState::Closed && me.state != EndState::Reset;
        if segment.tcp.window == 0 && !rst && window_matters {
            let times = count(&mut me.watch().letters_w);
            history.add_scaled(sender, b'W', times);
        }
        if judgement.data_again && !judgement.data_joined {
            let times = count(&mut me.watch().letters_t);
            history.add_scaled(sender, b'T', times);
        }
    }

    /// Counts the peer's holes that a segment acknowledges.
    fn note_gaps(&mut self, segment: &Segment<'_>) {
        let (_, peer) = self.sides(segment.sender);
        let closed = peer.acknowledged_holes();
        // Holes that show only at the end are not reliable, so Zeek writes no letter for them.
        if closed == 0 || segment.flags.has(TcpFlags::FIN) {
            return;
        }
        for _ in 0..closed {
            let (_, peer) = self.sides(segment.sender);
            let times = count(&mut peer.watch().letters_g);
            self.history.add_scaled(segment.sender.other(), b'G', times);
        }
    }
}

/// Counts once more.
fn count(counter: &mut u32) -> u32 {
    *counter = counter.saturating_add(1);
    *counter
}

/// What a segment adds to `tcp.completeness`, as Wireshark counts: payload stands before a bare
/// acknowledgement, and without the ACK flag only SYN and RST count.
fn completeness_bits(flags: TcpFlags, payload_len_bytes: u32) -> u8 {
    let (syn, ack) = (flags.has(TcpFlags::SYN), flags.has(TcpFlags::ACK));
    let mut bits = match (syn, ack) {
        (true, false) => completeness::SYN,
        (true, true) => completeness::SYN_ACK,
        (false, true) if payload_len_bytes == 0 => completeness::ACK,
        _ => 0,
    };
    if payload_len_bytes > 0 && (syn || ack) {
        bits |= completeness::DATA;
    }
    if ack && flags.has(TcpFlags::FIN) {
        bits |= completeness::FIN;
    }
    if flags.has(TcpFlags::RST) {
        bits |= completeness::RST;
    }
    bits
}

/// Sets a side's initial sequence number by its first segment, or anew by another SYN.
#[inline]
fn begin_numbering(me: &mut SideState, segment: &Segment<'_>) {
    let seq = segment.tcp.seq;
    if segment.flags.has(TcpFlags::SYN) {
        let open = !matches!(me.state, EndState::Closed | EndState::Reset);
        let first = me.state == EndState::Reset && me.previous == EndState::Inactive;
        if (open || first) && !(me.isn_known && me.isn == seq) {
            let acked = (me.isn_known && me.pkts <= 1).then(|| me.isn + low32(me.acked));
            me.begin_with_syn(seq);
            // A SYN-ACK that was captured before it may have taken its payload.
            let taken = acked.and_then(|ack| u32::try_from(ack.since(seq)).ok());
            if let Some(taken) = taken.filter(|taken| *taken <= segment.tcp.payload_len_bytes + 1) {
                me.acked = taken.into();
            }
        }
    } else if me.state == EndState::Inactive {
        // What the peer acknowledged tells the numbers too, unless they do not fit together.
        let fits = me.isn_known && me.position(seq) >= 1;
        if !fits {
            me.begin_midstream(seq);
        }
    }
}

/// Sees a segment beside what its sender sent before.
#[inline]
fn judge(me: &mut SideState, segment: &Segment<'_>) -> Judgement {
    let Segment { flags, tcp, .. } = *segment;
    let (syn, fin) = (flags.has(TcpFlags::SYN), flags.has(TcpFlags::FIN));
    let rst = flags.has(TcpFlags::RST);
    let data_len = if rst { 0 } else { tcp.payload_len_bytes };
    let start = me.position(tcp.seq);
    if start == me.next.cast_signed() + 1 {
        // What stands behind the byte of a probe was sent after it.
        me.counts_probe();
    }
    let data_start = start + i64::from(syn);
    let data_end = data_start + i64::from(data_len);
    let end = data_end + i64::from(fin);
    let next = me.next.cast_signed();
    let bare = data_len <= 1 && !syn && !fin && !rst;
    // One byte that the peer has not acknowledged is sent again; one that it has only knocks.
    let asks = bare && start == next - 1 && me.next > 1 && me.acked >= me.next;
    let keep_alive = asks && !segment.is_news();
    let sent_before = data_len > 0 && data_start < next;
    let late = sent_before && {
        let range = [data_start, data_end].map(|at| u64::try_from(at).unwrap_or_default());
        me.fills_hole(range[0], range[1])
    };
    let data_again = sent_before && !keep_alive && !late;
    Judgement {
        start,
        end,
        data_start,
        data_len,
        keep_alive,
        late,
        syn_again: syn && me.syn.is_some() && start == 0 && next > 0,
        data_again,
        data_joined: data_again && data_end > next,
        fin_again: fin && me.fin_seen && end <= next,
    }
}

/// The letter for a segment's flags or payload, unless its side has written it before.
#[inline]
fn flag_letter(me: &mut SideState, segment: &Segment<'_>, judgement: &Judgement) -> Option<u8> {
    let flags = segment.flags;
    let (syn, fin) = (flags.has(TcpFlags::SYN), flags.has(TcpFlags::FIN));
    let rst = flags.has(TcpFlags::RST);
    let start = low32(judgement.start.cast_unsigned());
    let (bit, capital, new) = match (syn, fin, rst) {
        (_, true, true) => (letter::INCONSISTENT, b'I', false),
        (true, true, _) | (true, _, true) => (letter::MULTI_FLAG, b'Q', false),
        (true, ..) => {
            let capital = if flags.has(TcpFlags::ACK) { b'H' } else { b'S' };
            let new = std::mem::replace(&mut me.last_syn, start) != start;
            (letter::SYN, capital, new)
        }
        (_, true, _) => {
            // A FIN stands at the end of its segment's payload.
            let at = start.wrapping_add(judgement.data_len);
            let new = std::mem::replace(&mut me.last_fin, at) != at;
            (letter::FIN, b'F', new)
        }
        (.., true) => {
            let new = std::mem::replace(&mut me.last_rst, start) != start;
            (letter::RST, b'R', new)
        }
        _ if judgement.data_len > 0 => (letter::DATA, b'D', false),
        _ if flags.has(TcpFlags::ACK) => (letter::ACK, b'A', false),
        _ => return None,
    };
    let first = me.letters & bit == 0;
    me.letters |= bit;
    (first || new).then_some(capital)
}
