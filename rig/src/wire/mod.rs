//! Bytes of a captured packet become small views of its headers. No I/O, and no allocation but for
//! fragments.
//!
//! [`decode`] reads the link layers of [`LinkType`], VLAN and other tags, LLC and SNAP, IPv4 with options, IPv6 with
//! extension headers, TCP with the options of Multipath TCP, UDP and ICMP errors, and unwraps the encapsulations of
//! [`Tunnel`]. Packets
//! that were cut short by the capture are read as far as they go; lengths come from the IP header,
//! not from what was captured. A [`Decoder`] does the same for all packets of a capture and puts
//! fragments together, for which it keeps them. [`synth`] goes the other way and makes packets for
//! tests and for hosts that are only pretended.

mod link;

mod ip;

mod options;

mod packet;

mod mptcp;

mod identity;
mod walk;

mod tunnel;

mod shim;

mod fragments;

mod decoder;

mod checksum;

mod icmp;

mod seq;

pub mod synth;

pub use checksum::{Checksum, Checksums};
pub use decoder::{Captured, Decoder};
pub use icmp::{IcmpError, IcmpKind};
pub use identity::{Compared, Route, Unidentified, digest, hash_identity};
pub use link::{Ethernet, LinkType, arp_operation};
pub use mptcp::{
    Capable, DataNumber, Dss, Join, Key, MPTCP_KIND, Mapping, MptcpOption, ResetReason, Token,
};
pub use options::{Cookie, TcpOptions};
pub use packet::{Packet, Tcp, Transport, Udp, Undecoded, decode};
pub use seq::Seq;
pub use tunnel::{MAX_TUNNELS, Tunnel, Tunnels};

#[cfg(test)]
mod tests;

#[cfg(test)]
mod encapsulation_tests;
