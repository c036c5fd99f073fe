//! Bytes of a captured packet become small views of its headers. No I/O, no allocation.
//!
//! [`decode`] reads the link layers of [`LinkType`], VLAN tags, IPv4 with options, IPv6 with
//! extension headers, TCP and UDP. Packets that were cut short by the capture are read as far as
//! they go; lengths come from the IP header, not from what was captured. [`synth`] goes the other
//! way and makes packets for tests and for hosts that are only pretended.

mod link;

mod packet;

mod identity;

mod seq;

pub mod synth;

pub use identity::{Compared, Route, Unidentified, hash_identity};
pub use link::{Ethernet, LinkType};
pub use packet::{Packet, Tcp, TcpOptions, Transport, Udp, Undecoded, decode};
pub use seq::Seq;
