//! Capture files: reading pcap and pcapng, writing pcapng, merging the captures of several hosts
//! into one and annotating it.
//!
//! The formats are those of `draft-ietf-opsawg-pcap` and `draft-ietf-opsawg-pcapng`. A [`Writer`]
//! takes [`Record`]s; a [`Reader`] gives them, with the frame numbers that Wireshark shows.

mod delivery;
mod input;
mod pcap;
mod reader;
mod record;
mod writer;

mod blocks;

mod frames;
mod packed;
mod unpack;

mod forwarded;
mod merge;
mod spool;
mod unreached;

pub use delivery::Delivery;
pub use merge::{HostCapture, MergeError, MergeNotes, Merged};
pub use reader::{OpenError, Reader, Stop, StopReason};
pub use record::{Direction, Frame, Interface, InterfaceId, Record, Section, Statistics};
pub use spool::{Closed, Spool};
pub use writer::{WriteError, Writer};

/// `EtherType` of the datagrams by which an agent proves that its capture is complete: the first of
/// the two that IEEE 802 sets aside for local experiments (IEEE Std 802, clause 9.2.4).
pub const SENTINEL_ETHERTYPE: u16 = 0x88b5;

/// The largest block or packet that is read. Wireshark's own bound is the same (`MAX_BLOCK_SIZE`).
pub const MAX_BLOCK_BYTES: usize = 16 * 1024 * 1024;

/// The most interfaces that a file may describe, all its sections together.
pub const MAX_INTERFACES: usize = 65_536;

/// The most name resolution records that are kept of a file; further ones are passed over.
pub const MAX_NAMES: usize = 1_048_576;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
