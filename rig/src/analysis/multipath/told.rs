//! What is told of Multipath TCP.

use schemars::JsonSchema;
use serde::Serialize;

use crate::analysis::flow::Sender;
use crate::wire::{Key, ResetReason, Token};

/// What a flow says of Multipath TCP. Sides are those of the flow, whichever of them opened the connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Multipath {
    /// How it belongs to its connection; none where its SYN was not seen.
    pub role: Option<Role>,
    /// Version of the protocol, as far as `MP_CAPABLE` was seen.
    pub version: Option<u8>,
    /// The connection's name: the token of the side that did not open it, or the one that the subflow joined by.
    pub token: Option<Token>,
    /// Keys of the initiator and of the responder.
    pub keys: [Option<Key>; 2],
    /// The numbers that both have for their own addresses, where it joined a connection.
    pub address_ids: [Option<u8>; 2],
    /// What became of it where it joined.
    pub joined: Option<Joined>,
    /// Why it is plain TCP after all.
    pub fallback: Option<Fallback>,
    /// Who gave a reason for resetting it, and which (`MP_TCPRST`).
    pub reset_reason: Option<(Sender, ResetReason)>,
    /// Payload of both sides that it carried with data numbers that had been sent before, on this subflow with other
    /// sequence numbers or on another one.
    pub reinjected_bytes: [u64; 2],
    /// The connection, as far as it was captured; none where there was none.
    pub connection: Option<Connection>,
}

/// A connection, all its subflows together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// How many subflows of it were seen; those that were refused are none.
    pub subflows: u32,
    /// How it ended.
    pub fate: MultipathFate,
    /// Who closed it: the sender of the first `DATA_FIN` or `MP_FASTCLOSE`.
    pub closed_by: Option<Sender>,
    /// Who aborted it by `MP_FASTCLOSE`.
    pub fastclosed_by: Option<Sender>,
    /// Data of the initiator and of the responder.
    pub sides: [DataSide; 2],
}

/// Data of one side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DataSide {
    /// Captured bytes, each data number once.
    pub bytes: u64,
    /// Bytes that the peer acknowledged by `DATA_ACK`.
    pub acked_bytes: u64,
    /// Whether it has sent a `DATA_FIN`.
    pub fin: Option<DataFin>,
}

/// What became of a `DATA_FIN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DataFin {
    /// It was sent.
    Sent,
    /// A `DATA_ACK` covers it.
    Acknowledged,
}

/// How a flow belongs to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Its first subflow, opened with `MP_CAPABLE`.
    Initial,
    /// A further one, opened with `MP_JOIN`.
    Join,
}

/// What became of a subflow that joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Joined {
    /// The responder acknowledged the third segment, so that data may be sent.
    Accepted,
    /// It was reset before, or its SYN-ACK had no `MP_JOIN`.
    Refused,
    /// Neither.
    Unfinished,
}

/// Why a connection is plain TCP although its SYN offered more, RFC 8684 section 3.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// The SYN-ACK has no `MP_CAPABLE`.
    NotAnswered,
    /// One side's later segments have no option of Multipath TCP.
    NotConfirmed,
    /// A mapping without end.
    InfiniteMapping,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MultipathFate {
    /// No side has closed it.
    Open,
    /// One side has sent a `DATA_FIN`.
    HalfClosed,
    /// Both have.
    Orderly,
    /// One side has aborted it by `MP_FASTCLOSE`.
    Fastclosed,
    /// All its subflows were reset, without `MP_FASTCLOSE`.
    Reset,
}

macro_rules! named {
    ($type:ident: $($variant:ident $name:literal),*) => {
        impl $type {
            /// The name as JSON has it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

named!(DataFin: Sent "sent", Acknowledged "acknowledged");
named!(Role: Initial "initial", Join "join");
named!(Joined: Accepted "accepted", Refused "refused", Unfinished "unfinished");
named!(Fallback: NotAnswered "not-answered", NotConfirmed "not-confirmed", InfiniteMapping "infinite-mapping");
named!(MultipathFate: Open "open", HalfClosed "half-closed", Orderly "orderly", Fastclosed "fastclosed", Reset "reset");
