//! The states of RFC 9293 section 3.3.2, as a capture shows them.
//!
//! A capture sees what is sent, not what arrives. So a side's own segments tell its state; of those
//! it receives, an acknowledgement and a RST count as arrived when they are captured, since nothing
//! answers them (unless they are known to be lost), and a SYN-ACK or FIN counts once its receiver acknowledges it, since the one that is
//! lost, or whose receiver is gone, never is. Timers leave no trace: TIME-WAIT stays.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::flow::TcpFlags;
use super::side::SideState;
use super::tcp::Segment;
use crate::reconcile::Fate;
use crate::units::Timestamp;

/// State of one side of a connection, RFC 9293 section 3.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum RfcState {
    /// No connection: reset, refused, or both FINs acknowledged.
    Closed,
    /// A SYN was sent to it, and it has not answered.
    Listen,
    /// Has sent a SYN.
    SynSent,
    /// Has received a SYN, sent one, and waits for its acknowledgement.
    SynReceived,
    /// Data can be sent both ways.
    Established,
    /// Has sent a FIN that is not acknowledged.
    #[serde(rename = "FIN-WAIT-1")]
    FinWait1,
    /// Its FIN is acknowledged, the peer's has not come.
    #[serde(rename = "FIN-WAIT-2")]
    FinWait2,
    /// Has received a FIN and sent none.
    CloseWait,
    /// Both have sent a FIN; its own is not acknowledged.
    Closing,
    /// Has received a FIN and sent one that is not acknowledged.
    LastAck,
    /// Both FINs are acknowledged; it waits for late segments.
    TimeWait,
}

impl RfcState {
    /// Every state.
    const ALL: [Self; 11] = [
        Self::Closed,
        Self::Listen,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
    ];

    /// The name as the RFC writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN-SENT",
            Self::SynReceived => "SYN-RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
        }
    }

    /// The state by its name in a socket table: as the RFC writes it, with `_` for `-`.
    #[must_use]
    pub fn of_kernel(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|state| state.name().replace('-', "_") == name)
    }
}

impl fmt::Display for RfcState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Moves both sides on by a segment that `me` sent at the position `start`, having sent as much as
/// `sent_before`. Its numbers have been taken in already.
#[inline]
pub(super) fn advance(
    me: &mut SideState,
    peer: &mut SideState,
    segment: &Segment<'_>,
    start: i64,
    sent_before: u64,
) {
    let moves = TcpFlags::FIN.0 | TcpFlags::SYN.0 | TcpFlags::RST.0;
    let open = Some(RfcState::Established);
    // Most segments find both sides open and leave them so.
    if segment.flags.0 & moves == 0 && me.rfc == open && peer.rfc == open && !peer.fin_seen {
        return;
    }
    if segment.flags.has(TcpFlags::RST) {
        reset(me, peer, segment, start, sent_before);
    } else if segment.flags.has(TcpFlags::SYN) {
        synchronise(me, peer, segment.flags.has(TcpFlags::ACK));
    } else if segment.flags.has(TcpFlags::ACK) {
        sends(me, peer, segment);
    }
    let arrives = segment.fate != Fate::Lost;
    if arrives && segment.flags.has(TcpFlags::ACK) && !segment.flags.has(TcpFlags::RST) {
        is_acknowledged(peer);
    }
}

fn reset(
    me: &mut SideState,
    peer: &mut SideState,
    segment: &Segment<'_>,
    start: i64,
    sent_before: u64,
) {
    if segment.fate != Fate::Unsent {
        me.rfc = Some(RfcState::Closed);
    }
    let reached = match peer.rfc {
        // Section 3.10.7.2: a listener ignores it.
        Some(RfcState::Listen) => false,
        // Section 3.10.7.3: only one that acknowledges the SYN is believed.
        Some(RfcState::SynSent) => {
            segment.flags.has(TcpFlags::ACK) && segment.tcp.ack.since(peer.isn) > 0
        }
        None => true,
        // Section 3.10.7.4: it must stand where the receiver waits, which is somewhere between
        // what it acknowledged and what was sent to it.
        Some(_) => {
            let last = sent_before.max(me.acked).cast_signed();
            (me.acked.cast_signed()..=last).contains(&start)
        }
    };
    let is_deaf = peer.watch.as_ref().is_some_and(|watch| watch.is_deaf);
    if reached && !is_deaf && segment.fate != Fate::Lost {
        let before = peer.rfc.replace(RfcState::Closed);
        if before != Some(RfcState::Closed) {
            peer.watch().before_reset = before.map(|state| (state, segment.at));
        }
    }
}

/// A side that a RST of its peer has closed goes on: the RST has not reached it, and further ones will not either.
pub(super) fn goes_on(me: &mut SideState) {
    let before = me.watch.as_ref().and_then(|watch| watch.before_reset);
    if let (Some(RfcState::Closed), Some((state, _))) = (me.rfc, before) {
        me.rfc = Some(state);
        me.watch().is_deaf = true;
    }
}

/// The same for a repeat at a moment, unless it may have been under way when the RST was.
pub(super) fn repeats(me: &mut SideState, at: Timestamp) {
    /// No timer of Linux for repeats is shorter.
    const UNDER_WAY: Duration = Duration::from_millis(200);
    let before = me.watch.as_ref().and_then(|watch| watch.before_reset);
    if before.is_some_and(|(_, reset_at)| at.since(reset_at) >= UNDER_WAY) {
        goes_on(me);
    }
}

fn synchronise(me: &mut SideState, peer: &mut SideState, answers: bool) {
    use RfcState::{Closed, Established, Listen, SynReceived, SynSent};
    if answers {
        if matches!(me.rfc, None | Some(Listen | SynSent)) {
            // In a simultaneous open its own SYN may be acknowledged by now.
            let open = me.rfc == Some(SynSent) && me.acked > 0;
            me.rfc = Some(if open { Established } else { SynReceived });
        }
        peer.rfc.get_or_insert(SynSent);
    } else {
        if matches!(me.rfc, None | Some(Listen)) {
            // The RST that refused it may have been captured before it.
            let refused = peer.rfc == Some(Closed);
            me.rfc = Some(if refused { Closed } else { SynSent });
        }
        peer.rfc.get_or_insert(Listen);
    }
}

/// A segment without SYN or RST.
fn sends(me: &mut SideState, peer: &mut SideState, segment: &Segment<'_>) {
    use RfcState::{
        CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynReceived, SynSent,
        TimeWait,
    };
    let fin = segment.flags.has(TcpFlags::FIN);
    let state = match me.rfc {
        None | Some(Listen | SynSent) => Established,
        Some(SynReceived) if fin || segment.tcp.payload_len_bytes > 0 || me.not_accepted() => {
            if let Some(watch) = &mut me.watch {
                watch.not_accepted = false;
            }
            Established
        }
        Some(state) => state,
    };
    // It acknowledges a SYN that was not captured, or that of a connection which is older.
    if matches!(peer.rfc, None | Some(Listen)) {
        peer.rfc = Some(Established);
    }
    let state = match state {
        state if !fin_acknowledged(peer) => state,
        SynReceived | Established => CloseWait,
        FinWait1 => Closing,
        FinWait2 => TimeWait,
        state => state,
    };
    let state = match state {
        Established if fin => FinWait1,
        CloseWait if fin => LastAck,
        state => state,
    };
    me.rfc = Some(state);
}

/// What the acknowledgement of its SYN or FIN does to a side.
fn is_acknowledged(side: &mut SideState) {
    use RfcState::{
        Closed, Closing, Established, FinWait1, FinWait2, LastAck, SynReceived, TimeWait,
    };
    if side.rfc == Some(SynReceived) && side.acked > 0 && !side.not_accepted() {
        side.rfc = Some(Established);
    }
    if !fin_acknowledged(side) {
        return;
    }
    side.rfc = side.rfc.map(|state| match state {
        FinWait1 => FinWait2,
        Closing => TimeWait,
        LastAck => Closed,
        state => state,
    });
}

fn fin_acknowledged(side: &SideState) -> bool {
    side.fin_seen && side.acked >= side.next
}
