//! Packets become flows: per-connection events, the fate of the connection and its counters.
//!
//! Names are the field's: `conn_state` and `history` are Zeek's (documentation of `conn.log`),
//! completeness bits are Wireshark's `tcp.completeness`, states are those of RFC 9293. Where the
//! two differ or are vague, docs/analysis.md says what is done here and why.
//!
//! An [`Analyzer`] takes packets one by one and keeps some 300 bytes a flow; events are kept when
//! they are asked for.

mod flow;

mod capture;

mod analyzer;

mod key;

mod tcp;

mod side;

mod fate;

mod history;

mod remarks;

mod events;

pub use analyzer::{Analyzer, Options};
pub use capture::{Feed, PassedOver};
pub use flow::{
    Closer, ConnState, Endpoint, Event, EventKind, Flow, Proto, Sender, Side, SynOptions, TcpFlags,
};

pub use remarks::IcmpErrors;

/// The most payload bytes that an event keeps.
pub const MAX_PAYLOAD_KEPT_BYTES: usize = 256;

#[cfg(test)]
mod tests;
