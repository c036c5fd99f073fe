//! What a RST left unread.

use schemars::JsonSchema;
use serde::Serialize;

use super::flow::{Sender, TcpFlags};
use super::side::SideState;
use super::tcp::Segment;

/// The first RST of a connection, and what its sender had not dealt with.
///
/// A capture does not show what a program reads. It shows what its host never acknowledged, which
/// the program cannot have read; and what it acknowledged and the program never answered, which it
/// may not have read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reset {
    /// Who sent it.
    pub by: Sender,
    /// Payload of the peer, captured before the RST, that neither the RST nor a segment before it
    /// acknowledges.
    pub unread_bytes: u64,
    /// Payload of the peer that was acknowledged after the RST's sender had last sent payload or a
    /// FIN, or with the RST.
    pub unanswered_bytes: u64,
}

/// Sees a RST of `me` beside what its peer had sent by then.
pub(super) fn of(me: &SideState, peer: &SideState, segment: &Segment<'_>) -> Reset {
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
    Reset {
        by: segment.sender,
        unread_bytes: end - acknowledged,
        unanswered_bytes: acknowledged.saturating_sub(me.answered.max(first)),
    }
}
