//! Packets made from nothing: for tests, and for hosts that are only pretended.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader, TcpOptionElement};

/// The most payload that one packet is given, in bytes; what is more is cut off.
pub const MAX_PAYLOAD_BYTES: usize = 65_000;

/// Hop limit of the packets, as Linux sends them.
const HOP_LIMIT: u8 = 64;

/// A TCP segment to be made.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// Who sends it.
    pub from: SocketAddr,
    /// Who shall have it.
    pub to: SocketAddr,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; written only when the ACK flag is set.
    pub ack: u32,
    /// CWR, ECE, URG, ACK, PSH, RST, SYN and FIN, from the highest bit to the lowest.
    pub flags: u8,
    /// Window field.
    pub window: u16,
    /// Options, at most 40 bytes of them; more are left out altogether.
    pub options: &'a [TcpOptionElement],
    /// Options of other kinds, as bytes, which go before those.
    pub other_options: &'a [u8],
    /// Payload, at most [`MAX_PAYLOAD_BYTES`].
    pub payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// A segment without flags, options and payload, with a window of 64,240 bytes.
    #[must_use]
    pub fn new(from: SocketAddr, to: SocketAddr) -> Segment<'a> {
        Self {
            from,
            to,
            seq: 0,
            ack: 0,
            flags: 0,
            window: 64_240,
            options: &[],
            other_options: &[],
            payload: &[],
        }
    }

    /// The segment in an Ethernet frame, all lengths and checksums right. Link-layer addresses are
    /// those of [`mac_of`].
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let (from, to) = (self.from.port(), self.to.port());
        let has = |bit: u8| self.flags & bit != 0;
        let mut header = TcpHeader::new(from, to, self.seq, self.window);
        header.fin = has(0x01);
        header.syn = has(0x02);
        header.rst = has(0x04);
        header.psh = has(0x08);
        header.ack = has(0x10);
        header.urg = has(0x20);
        header.ece = has(0x40);
        header.cwr = has(0x80);
        if header.ack {
            header.acknowledgment_number = self.ack;
        }
        // Options that do not fit leave the header without any, as documented.
        let _ = header.set_options(self.options);
        if !self.other_options.is_empty() {
            let both = [self.other_options, header.options.as_slice()].concat();
            let _ = header.set_options_raw(&both);
        }
        let step = ip(self.from.ip(), self.to.ip()).tcp_header(header);
        let payload = cut(self.payload);
        let mut bytes = Vec::with_capacity(step.size(payload.len()));
        // Writing fails only for payload beyond what an IP length can say, and that is cut.
        let _ = step.write_to_vec(&mut bytes, payload);
        bytes
    }
}

/// A UDP datagram in an Ethernet frame, all lengths and checksums right.
#[must_use]
pub fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let step = ip(from.ip(), to.ip()).udp(from.port(), to.port());
    let payload = cut(payload);
    let mut bytes = Vec::with_capacity(step.size(payload.len()));
    // As above: only an over-long payload could fail.
    let _ = step.write_to_vec(&mut bytes, payload);
    bytes
}

/// The link-layer address that a pretended host with this address has: locally administered, with
/// the last four bytes of the address.
#[must_use]
pub fn mac_of(address: IpAddr) -> [u8; 6] {
    let [a, b, c, d] = match address {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            [a, b, c, d]
        }
    };
    [0x02, 0, a, b, c, d]
}

fn ip(from: IpAddr, to: IpAddr) -> PacketBuilderStep<etherparse::IpHeaders> {
    let link = PacketBuilder::ethernet2(mac_of(from), mac_of(to));
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from.octets(), to.octets(), HOP_LIMIT),
        // A packet has one family: an IPv4 address beside an IPv6 one is written mapped.
        (from, to) => link.ipv6(v6(from).octets(), v6(to).octets(), HOP_LIMIT),
    }
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn cut(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(MAX_PAYLOAD_BYTES)]
}
