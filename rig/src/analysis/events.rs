//! The events of a connection, as patterns match them.

use super::MAX_PAYLOAD_KEPT_BYTES;
use super::flow::{Event, EventKind, Sender, TcpFlags};
use super::mark::{Mark, Marks};
use super::multipath::Signals;
use super::side::low32;
use super::tcp::{Judgement, Segment, TcpState};
use super::udp::Datagram;
use crate::reconcile::Fate;

/// How far back a retransmission is compared with what was sent before, in events. A sender that
/// joins segments does so with its latest ones.
const MAX_EVENTS_COMPARED: usize = 256;

/// What is kept of each flow beside its counters.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent wishes")]
pub(super) struct Keep {
    pub(super) events: bool,
    pub(super) payload: bool,
    pub(super) steps: bool,
    pub(super) states: bool,
}

/// Adds the events of a segment: SYN or SYN-ACK, DATA, FIN, RST, in this order, or ACK when it has
/// none of them. `flow` has taken the segment in already.
pub(super) fn append(
    events: &mut Vec<Event>,
    flow: &TcpState,
    segment: &Segment<'_>,
    judgement: &Judgement,
    marks: Marks,
    keep: Keep,
) {
    let flags = segment.flags;
    let plain = plain(flow, segment, judgement);
    let probe = marks.has(Mark::Probe);
    let before = events.len();
    if flags.has(TcpFlags::SYN) {
        let options = segment.tcp.options();
        events.push(Event {
            kind: if flags.has(TcpFlags::ACK) {
                EventKind::SynAck
            } else {
                EventKind::Syn
            },
            mss_bytes: options.mss_bytes,
            fast_open: options.fast_open.is_some(),
            retransmission: judgement.syn_again,
            ..plain.clone()
        });
    }
    if ends_fast_open(flow, events, segment) {
        events.push(plain.clone());
    }
    if judgement.data_len > 0 && !judgement.keep_alive {
        events.push(Event {
            kind: EventKind::Data,
            len_bytes: judgement.data_len,
            retransmission: judgement.data_again,
            probe: probe && judgement.data_again,
            coalesced: judgement.data_again
                && (judgement.data_joined || joins_earlier(events, segment, judgement)),
            payload: kept(segment.tcp.payload, keep),
            ..plain.clone()
        });
    }
    if flags.has(TcpFlags::FIN) {
        events.push(Event {
            kind: EventKind::Fin,
            retransmission: judgement.fin_again,
            probe: probe && judgement.fin_again,
            ..plain.clone()
        });
    }
    if flags.has(TcpFlags::RST) {
        events.push(Event {
            kind: EventKind::Rst,
            foreign: segment.fate == Fate::Unsent,
            ..plain.clone()
        });
    }
    if events.len() == before {
        events.push(plain);
    }
}

/// Whether a segment is the third one of a handshake with Fast Open. It often carries data, and is the ACK all the same
/// by which the handshake is known to be over.
fn ends_fast_open(flow: &TcpState, events: &[Event], segment: &Segment<'_>) -> bool {
    let others = TcpFlags(TcpFlags::SYN.0 | TcpFlags::RST.0);
    let acknowledges = segment.flags.has(TcpFlags::ACK) && segment.flags.0 & others.0 == 0;
    let told = flow.orig.watch.as_ref().and_then(|watch| watch.fast_open);
    if segment.sender != Sender::Initiator || !acknowledges || told.is_none() {
        return false;
    }
    let decides =
        |event: &&Event| event.sender == Sender::Initiator || event.kind == EventKind::SynAck;
    let last = events.iter().rev().find(decides);
    last.is_some_and(|event| event.kind == EventKind::SynAck)
}

/// Adds the event of a segment of an older connection, with the numbers that it has there.
pub(super) fn append_older(
    events: &mut Vec<Event>,
    flow: &TcpState,
    segment: &Segment<'_>,
    judgement: &Judgement,
    ack: u32,
    keep: Keep,
) {
    let before = events.len();
    append(events, flow, segment, judgement, Marks::default(), keep);
    for event in &mut events[before..] {
        event.older = true;
        event.ack = ack;
    }
}

/// Says at the last repeat of a sender that it was a tail loss probe, which is known now.
#[cold]
pub(super) fn was_probe(events: &mut [Event], sender: Sender) {
    let repeat = |event: &&Event| event.sender == sender && event.retransmission;
    let Some(frame) = events.iter().rev().find(repeat).map(|event| event.frame) else {
        return;
    };
    let of_it = events
        .iter_mut()
        .rev()
        .skip_while(|event| event.frame != frame);
    for event in of_it.take_while(|event| event.frame == frame) {
        event.probe = event.retransmission;
    }
}

/// The event of a UDP datagram.
pub(super) fn datagram(datagram: &Datagram<'_>, keep: Keep) -> Event {
    let &Datagram {
        frame,
        at,
        sender,
        hop_limit,
        udp,
        ..
    } = datagram;
    Event {
        kind: EventKind::Data,
        sender,
        frame,
        at,
        flags: TcpFlags::default(),
        seq: 0,
        ack: 0,
        len_bytes: udp.payload_len_bytes,
        win_bytes: 0,
        hop_limit,
        mss_bytes: None,
        retransmission: false,
        probe: false,
        lost: false,
        coalesced: false,
        older: false,
        fast_open: false,
        foreign: false,
        multipath: Signals::default(),
        payload: kept(udp.payload, keep),
    }
}

/// What the events of one segment share, as an ACK.
fn plain(flow: &TcpState, segment: &Segment<'_>, judgement: &Judgement) -> Event {
    Event {
        kind: EventKind::Ack,
        sender: segment.sender,
        frame: segment.frame,
        at: segment.at,
        flags: segment.flags,
        seq: low32(judgement.start.cast_unsigned()),
        ack: flow.relative_ack(segment),
        len_bytes: 0,
        win_bytes: flow.window_bytes(segment),
        hop_limit: segment.hop_limit,
        mss_bytes: None,
        retransmission: false,
        probe: false,
        lost: false,
        coalesced: false,
        older: false,
        fast_open: false,
        foreign: false,
        multipath: segment.signals(),
        payload: Vec::new(),
    }
}

/// Whether payload sent again spans a border between two earlier segments.
fn joins_earlier(events: &[Event], segment: &Segment<'_>, judgement: &Judgement) -> bool {
    let start = low32(judgement.data_start.cast_unsigned());
    let compared = events.iter().rev().take(MAX_EVENTS_COMPARED);
    let earlier = compared.filter(|e| e.sender == segment.sender && e.kind == EventKind::Data);
    earlier
        .map(|e| e.seq.wrapping_sub(start))
        .any(|offset| offset > 0 && offset < judgement.data_len)
}

fn kept(payload: &[u8], keep: Keep) -> Vec<u8> {
    if keep.payload {
        payload[..payload.len().min(MAX_PAYLOAD_KEPT_BYTES)].to_vec()
    } else {
        Vec::new()
    }
}
