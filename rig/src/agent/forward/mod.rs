//! The host of a link: packets are forwarded here, in user space, as [`crate::link`] decides.
//!
//! The kernel of the host has no address on the link's interfaces and forwards nothing, so it
//! neither answers nor resets what passes; what it would do for a router is done here: answering
//! and asking for addresses (ARP), and ICMP errors.

mod batch;
mod forwarder;
mod neighbours;

pub(super) use forwarder::Forwarder;
