//! How a connection ended: Zeek's endpoint states and what `conn_state` makes of them.

use super::flow::{ConnState, Sender, TcpFlags};
use super::history::History;
use super::side::SideState;
use super::tcp::Segment;

/// What one side of a connection has done, by the words of Zeek's `endpoint` record.
///
/// These are not RFC 9293 states: they sum up what was seen on the wire, and are what `conn_state`
/// is defined by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum EndState {
    /// It has sent nothing that counts.
    #[default]
    Inactive,
    /// It sent a SYN.
    SynSent,
    /// It sent a SYN-ACK, although it is taken for the initiator.
    SynAckSent,
    /// It sent segments, and its SYN was not seen.
    Partial,
    /// Its side of the handshake is done.
    Established,
    /// It sent a FIN.
    Closed,
    /// It sent a RST.
    Reset,
}

impl EndState {
    fn is_inactive(self) -> bool {
        matches!(self, Self::Inactive | Self::Partial)
    }
}

/// What decides the fate of a TCP connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending<'a> {
    pub(super) orig: EndState,
    pub(super) resp: EndState,
    pub(super) orig_bytes: u64,
    pub(super) resp_bytes: u64,
    pub(super) history: &'a History,
}

/// `conn_state` by the rules of Zeek's `base/protocols/conn`.
pub(super) fn tcp(ending: Ending<'_>) -> ConnState {
    use EndState::{Closed, Established, Inactive, Reset, SynAckSent, SynSent};
    let Ending { orig, resp, .. } = ending;
    let without_data = ending.orig_bytes == 0 && ending.resp_bytes == 0;
    match (orig, resp) {
        (SynSent | SynAckSent, Reset) => ConnState::REJ,
        (Reset, Reset) if without_data => ConnState::REJ,
        (orig, Reset) if orig.is_inactive() => ConnState::RSTRH,
        (_, Reset) => ConnState::RSTR,
        (Reset, resp) if resp.is_inactive() => {
            if ending.history.is_syn_then_reset() {
                ConnState::RSTOS0
            } else {
                ConnState::OTH
            }
        }
        (Reset, _) => ConnState::RSTO,
        (Closed, Closed) => ConnState::SF,
        (Closed, resp) if resp.is_inactive() => ConnState::SH,
        (Closed, _) => ConnState::S2,
        (orig, Closed) if orig.is_inactive() => ConnState::SHR,
        (_, Closed) => ConnState::S3,
        (SynSent, Inactive) => ConnState::S0,
        (Established, Established) => ConnState::S1,
        _ => ConnState::OTH,
    }
}

/// `conn_state` of a UDP conversation: who has sent anything.
pub(super) fn udp(orig_pkts: u64, resp_pkts: u64) -> ConnState {
    match (orig_pkts > 0, resp_pkts > 0) {
        (true, true) => ConnState::SF,
        (true, false) => ConnState::S0,
        (false, true) => ConnState::SHR,
        (false, false) => ConnState::OTH,
    }
}

/// Moves a side on by a segment of its own, and its peer where the segment answers it. The rules
/// are those of Zeek's TCP analyser, but for SYN and SYN-ACK captured in the wrong order, which
/// make a handshake here as well.
pub(super) fn advance(
    me: &mut SideState,
    peer: &mut SideState,
    segment: &Segment<'_>,
    data_len: u32,
) {
    let flags = segment.flags;
    let (syn, fin) = (flags.has(TcpFlags::SYN), flags.has(TcpFlags::FIN));
    let rst = flags.has(TcpFlags::RST);
    match me.state {
        EndState::Inactive => {
            if syn {
                greet(me, peer, segment);
            }
            if fin {
                me.enter(EndState::Closed);
            }
            if rst {
                me.enter(EndState::Reset);
            }
            if me.state == EndState::Inactive {
                join_midstream(me, peer, segment, data_len);
            }
        }
        EndState::SynSent | EndState::SynAckSent => {
            if rst {
                me.enter(EndState::Reset);
            } else if fin {
                me.enter(EndState::Closed);
            }
        }
        EndState::Established | EndState::Partial => {
            let plain_syn = syn && !flags.has(TcpFlags::ACK);
            if rst {
                me.enter(EndState::Reset);
            } else if fin {
                me.enter(EndState::Closed);
                // The peer's FIN and RST were a normal end, now that a FIN answers them.
                if peer.state == EndState::Reset && peer.previous == EndState::Closed {
                    peer.enter(EndState::Closed);
                }
            } else if plain_syn && me.state == EndState::Partial && peer.state == EndState::Inactive
            {
                me.enter(EndState::SynSent);
            }
        }
        EndState::Closed => {
            // After both FINs a RST changes nothing.
            if rst && peer.state != EndState::Closed {
                me.enter(EndState::Reset);
            }
        }
        EndState::Reset => {}
    }
}

/// A side's first segment is a SYN or SYN-ACK.
fn greet(me: &mut SideState, peer: &mut SideState, segment: &Segment<'_>) {
    let answers = segment.flags.has(TcpFlags::ACK);
    if segment.sender == Sender::Responder {
        if matches!(peer.state, EndState::SynSent | EndState::SynAckSent) {
            peer.enter(EndState::Established);
        }
        me.enter(EndState::Established);
    } else if answers {
        me.enter(EndState::SynAckSent);
    } else if peer.state == EndState::Established {
        me.enter(EndState::Established);
    } else {
        me.enter(EndState::SynSent);
    }
}

/// A side's first segment has neither SYN, FIN nor RST.
fn join_midstream(me: &mut SideState, peer: &SideState, segment: &Segment<'_>, data_len: u32) {
    let early_ack =
        segment.sender == Sender::Responder && data_len == 0 && peer.state == EndState::SynSent;
    if early_ack {
        // Some acknowledge a SYN before they answer it.
        return;
    }
    if segment.flags.has(TcpFlags::ACK) && peer.state == EndState::Established {
        // The peer's SYN-ACK was seen and this answers it: only the SYN was missed.
        me.enter(EndState::Established);
    } else {
        me.enter(EndState::Partial);
    }
}
