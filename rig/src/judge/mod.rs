//! Checks and evidence become verdicts. Pure: no clock, no I/O.
//!
//! [`judge`] asks every check of a plan about the evidence of its cell. A flow check rests on the
//! captures: where one of them is not proven complete, or where it cannot be told which program
//! opened a connection, the check is inconclusive whatever the packets seem to say.

mod account;
mod types;
mod verdict;

mod complete;
mod connections;
mod select;

mod links;
mod programs;
mod sockets;
mod states;

mod finding;
mod rules;

pub use account::Account;
pub use complete::taken_doubt;
pub(crate) use rules::{FlowNames, FlowRules};
pub use select::node_of;
pub(crate) use sockets::unfit;
pub use types::{
    Annotation, CheckReport, Evidence, HostEvidence, HostOutage, HowEnded, Judgement, LinkDeed,
    Marks, NodeEvidence, OutputLine, SocketTable, TakenFrame, Verdict, Visit, VisitEnd,
};
pub use verdict::judge;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
