//! Segments of an older connection between the same endpoints.
//!
//! A port that is used again may meet a peer that remembers: it is in TIME-WAIT, or its old peer has lost its
//! memory (a half-open connection). Such a peer answers the SYN with an ACK of the connection that it knows
//! (RFC 9293 section 3.10.7.4, figure 9), or repeats its SYN-ACK where that connection is not established. That
//! number means nothing to the new connection, whose initiator answers it with a RST of the same number and stays
//! in SYN-SENT (section 3.10.7.3). A RST of the older connection that comes late is dropped: it does not
//! acknowledge the SYN (the same section), or does not stand behind the one that its receiver got.

use super::flow::{Sender, TcpFlags};
use super::rfc9293::RfcState;
use super::side::SideState;
use super::tcp::{Segment, TcpState};
use crate::wire::Seq;

/// The largest window that is usual: so far from the end of what was captured a RST may stand.
const MAX_WINDOW_BYTES: i64 = 1 << 20;

/// The place of a flow in the analyzer's table, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) index: usize,
    pub(super) number: u64,
}

/// What is known of older connections between the endpoints of a flow.
#[derive(Debug, Clone, Default)]
pub(super) struct Older {
    /// Where the one before is, as long as it may be told more.
    pub(super) place: Option<Place>,
    /// The initial sequence numbers of the one before, of this flow's initiator first.
    pub(super) isns: Option<[Seq; 2]>,
    /// What stands behind the last byte that each side sent in it.
    pub(super) ends: Option<[Seq; 2]>,
    /// Who acknowledged what of it last: the RST that answers stands there.
    pub(super) challenge: Option<(Sender, Seq)>,
}

impl Older {
    /// Whether a RST stands where the one before it could go on; not all of that need be in the capture.
    fn ends_by(&self, segment: &Segment<'_>) -> bool {
        self.ends.is_some_and(|[orig, resp]| {
            let end = match segment.sender {
                Sender::Initiator => orig,
                Sender::Responder => resp,
            };
            i64::from(end.since(segment.tcp.seq)).abs() <= MAX_WINDOW_BYTES
        })
    }

    /// Sequence and acknowledgement number of a segment, relative to the initial ones where these are known.
    fn numbers(&self, segment: &Segment<'_>) -> (u32, u32) {
        let mut isns = self.isns.unwrap_or_default();
        if segment.sender == Sender::Responder {
            isns.reverse();
        }
        let ack = if segment.flags.has(TcpFlags::ACK) {
            segment.tcp.ack.relative_to(isns[1])
        } else {
            0
        };
        (segment.tcp.seq.relative_to(isns[0]), ack)
    }
}

/// Whether a segment cannot be one of this connection, whose SYN is not answered yet.
#[expect(clippy::inline_always, reason = "on the way of every segment")]
#[inline(always)]
pub(super) fn is_of_older(flow: &TcpState, segment: &Segment<'_>) -> bool {
    let (me, peer) = (flow.side(segment.sender), flow.side(segment.sender.other()));
    let waits = |side: &SideState| side.rfc == Some(RfcState::SynSent);
    let flags = segment.flags;
    let asks = flags.has(TcpFlags::SYN) && !flags.has(TcpFlags::ACK);
    if asks {
        return false;
    }
    if !(waits(me) || waits(peer)) {
        return flags.has(TcpFlags::RST) && is_late_reset(flow, segment);
    }
    let tells_nothing = waits(peer) && me.syn.is_none() && !acknowledges_syn(peer, segment);
    if !flags.has(TcpFlags::RST) {
        return tells_nothing && flags.has(TcpFlags::ACK);
    }
    let Some(older) = &flow.older else {
        return false;
    };
    let answers = Some((segment.sender.other(), segment.tcp.seq)) == older.challenge;
    let own = (0..=me.next.cast_signed()).contains(&me.position(segment.tcp.seq));
    (tells_nothing && older.ends_by(segment))
        || (waits(me) && !own && (answers || older.ends_by(segment)))
        || is_late_reset(flow, segment)
}

/// Whether a RST stands where the connection before would go on, and nowhere in this one: its receiver drops it
/// (RFC 9293, 3.10.7.4).
#[cold]
fn is_late_reset(flow: &TcpState, segment: &Segment<'_>) -> bool {
    let me = flow.side(segment.sender);
    let Some(older) = flow.older.as_ref().filter(|_| me.isn_known) else {
        return false;
    };
    let fits = me.acked.cast_signed()..=me.next.max(me.acked).cast_signed();
    !fits.contains(&me.position(segment.tcp.seq)) && older.ends_by(segment)
}

/// The same where it is seldom asked, so that the first one stays where it is asked for every segment.
#[cold]
#[inline(never)]
pub(super) fn is_of_older_rarely(flow: &TcpState, segment: &Segment<'_>) -> bool {
    is_of_older(flow, segment)
}

/// Whether a segment acknowledges what its receiver has sent, which is a SYN and maybe data with it.
fn acknowledges_syn(receiver: &SideState, segment: &Segment<'_>) -> bool {
    let position = receiver.position(segment.tcp.ack);
    segment.flags.has(TcpFlags::ACK) && (1..=receiver.next.cast_signed()).contains(&position)
}

/// Takes note of a segment of an older connection; gives its numbers.
pub(super) fn take(older: &mut Older, segment: &Segment<'_>) -> (u32, u32) {
    if !segment.flags.has(TcpFlags::RST) {
        older.challenge = Some((segment.sender, segment.tcp.ack));
    }
    older.numbers(segment)
}
