//! Many hosts behind one address: what a household's router does (RFC 3022, traditional NAT).
//!
//! Hosts of the inside open connections to the outside, which sees them come from the link. A
//! mapping belongs to one connection; what comes from outside and belongs to none is lost, without
//! an answer.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::account::Loss;
use super::icmp;
use super::packet::{End, Header, ICMP, rewrite};

/// The most connections that a link translates; none is ever forgotten.
pub const MAX_MAPPINGS: usize = 16_384;

/// The first port that is given where the connection's own is taken (RFC 6056, 3.2).
const FIRST_PORT: u16 = 1024;

/// A connection as one side sees it: protocol, the end that is translated, the other end.
type Conversation = (u8, SocketAddrV4, SocketAddrV4);

/// The mappings of a link.
#[derive(Debug)]
pub(super) struct Masquerade {
    /// The link's address outside.
    address: Ipv4Addr,
    /// From the inside's view to the port that is used outside.
    outward: HashMap<Conversation, u16>,
    /// From the outside's view to who is meant inside.
    inward: HashMap<Conversation, SocketAddrV4>,
}

/// The end of a packet that was changed, as it was and as it is.
pub(super) type Change = (SocketAddrV4, SocketAddrV4);

impl Masquerade {
    pub(super) fn new(address: Ipv4Addr) -> Self {
        Self {
            address,
            outward: HashMap::new(),
            inward: HashMap::new(),
        }
    }

    /// Translates a packet that goes out.
    pub(super) fn out(&mut self, packet: &mut [u8], header: &Header) -> Result<Change, Loss> {
        if header.protocol == ICMP {
            return self.error(packet, header, End::Source);
        }
        let (source_port, destination_port) = header.ports.ok_or(Loss::Untranslatable)?;
        let inside = SocketAddrV4::new(header.source, source_port);
        let remote = SocketAddrV4::new(header.destination, destination_port);
        let port = self.port_for(header.protocol, inside, remote)?;
        rewrite(packet, header, End::Source, self.address, Some(port));
        Ok((inside, SocketAddrV4::new(self.address, port)))
    }

    /// Translates a packet that comes in.
    pub(super) fn back(&mut self, packet: &mut [u8], header: &Header) -> Result<Change, Loss> {
        if header.destination != self.address {
            return Err(Loss::NoMapping);
        }
        if header.protocol == ICMP {
            return self.error(packet, header, End::Destination);
        }
        let (source_port, destination_port) = header.ports.ok_or(Loss::Untranslatable)?;
        let remote = SocketAddrV4::new(header.source, source_port);
        let outside = SocketAddrV4::new(self.address, destination_port);
        let inside = self.inside_of(header.protocol, outside, remote)?;
        let end = End::Destination;
        rewrite(packet, header, end, *inside.ip(), Some(inside.port()));
        Ok((outside, inside))
    }

    fn inside_of(
        &self,
        protocol: u8,
        outside: SocketAddrV4,
        remote: SocketAddrV4,
    ) -> Result<SocketAddrV4, Loss> {
        let found = self.inward.get(&(protocol, outside, remote));
        found.copied().ok_or(Loss::NoMapping)
    }

    /// The port of a connection outside: its own, unless another connection to the same remote end
    /// has it.
    fn port_for(
        &mut self,
        protocol: u8,
        inside: SocketAddrV4,
        remote: SocketAddrV4,
    ) -> Result<u16, Loss> {
        let conversation = (protocol, inside, remote);
        if let Some(port) = self.outward.get(&conversation) {
            return Ok(*port);
        }
        if self.outward.len() >= MAX_MAPPINGS {
            return Err(Loss::MappingsFull);
        }
        let seen_as = |port| (protocol, SocketAddrV4::new(self.address, port), remote);
        let port = std::iter::once(inside.port())
            .chain(FIRST_PORT..=u16::MAX)
            .find(|port| !self.inward.contains_key(&seen_as(*port)));
        let port = port.ok_or(Loss::MappingsFull)?;
        self.inward.insert(seen_as(port), inside);
        self.outward.insert(conversation, port);
        Ok(port)
    }

    /// Translates an ICMP error, and the packet that it quotes (RFC 5508, 4). `end` is the end of
    /// the error that changes; of the quoted packet, which went the other way, it is the other one.
    fn error(&self, packet: &mut [u8], header: &Header, end: End) -> Result<Change, Loss> {
        let quoted_at = icmp::quoted_at(packet, header).ok_or(Loss::Untranslatable)?;
        let quoted = &packet[quoted_at..header.len_bytes];
        let about = Header::read_beginning(quoted).ok_or(Loss::Untranslatable)?;
        let (source_port, destination_port) = about.ports.ok_or(Loss::Untranslatable)?;
        let source = SocketAddrV4::new(about.source, source_port);
        let destination = SocketAddrV4::new(about.destination, destination_port);
        let (was, is, quoted_end) = if end == End::Source {
            let conversation = (about.protocol, destination, source);
            let port = self.outward.get(&conversation).ok_or(Loss::NoMapping)?;
            let outside = SocketAddrV4::new(self.address, *port);
            (destination, outside, End::Destination)
        } else {
            let inside = self.inside_of(about.protocol, source, destination)?;
            (source, inside, End::Source)
        };
        let quoted = &mut packet[quoted_at..header.len_bytes];
        rewrite(quoted, &about, quoted_end, *is.ip(), Some(is.port()));
        rewrite(packet, header, end, *is.ip(), None);
        icmp::fill_checksum(&mut packet[header.own_bytes..header.len_bytes]);
        Ok((was, is))
    }
}
