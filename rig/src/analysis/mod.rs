//! Packets become flows: per-connection events, the fate of the connection and its counters.
//!
//! Names are the field's: `conn_state` and `history` are Zeek's (documentation of `conn.log`),
//! completeness bits are Wireshark's `tcp.completeness`, states are those of RFC 9293. Where the
//! two differ or are vague, docs/analysis.md says what is done here and why.
//!
//! An [`Analyzer`] takes packets one by one and keeps some 350 bytes a flow; events, and the steps of
//! one flow, are kept when they are asked for. With [`Timeouts`] flows end before the capture does.

mod flow;

mod capture;

mod passed_over;

mod analyzer;

mod conversation;

mod key;

mod expiry;

mod tcp;

mod udp;

mod side;

mod fast_open;
mod fate;

mod rfc9293;

mod older;

mod mark;

mod trouble;

mod reset;

mod history;

mod multipath;

mod remarks;

mod doubted;

mod words;

mod events;

mod hops;

mod step;

pub use analyzer::{Analyzer, Options};
pub use capture::Feed;
pub use doubted::WrongChecksums;
pub use expiry::{CLOSE_DELAY, Timeouts};
pub use fast_open::{FastOpen, FastOpenAnswer, FastOpenOutcome};
pub use flow::{
    Closer, ConnState, Ended, Endpoint, Event, EventKind, Flow, Opener, Proto, Sender, Side,
    SynOptions, TcpFlags,
};
pub use hops::usual_hop_limit;
pub use mark::{Mark, Marks};
pub use reset::{Confidence, Reset, Unlike};
pub use rfc9293::RfcState;
pub use step::{MAX_COMMENTS_KEPT, MAX_STEPS_KEPT, StateChange, Step, Steps};
pub use trouble::{MAX_GAPS_KEPT, Trouble};

pub use multipath::{
    Connection, DataFin, DataSide, Fallback, Joined, Multipath, MultipathFate, Role, Signals,
};
pub use passed_over::{Kinds, PassedOver};
pub use remarks::{IcmpErrors, Path};

/// The most payload bytes that an event keeps.
pub const MAX_PAYLOAD_KEPT_BYTES: usize = 256;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod endings_tests;

#[cfg(test)]
mod expiry_tests;
