//! An IPv4 packet as a link sees and changes it.

use std::net::Ipv4Addr;

/// Protocol numbers (IANA).
pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// Shortest header, RFC 791 section 3.1.
const MIN_HEADER_BYTES: usize = 20;

/// Where fields of the header stand.
const TTL_AT: usize = 8;
const CHECKSUM_AT: usize = 10;
const SOURCE_AT: usize = 12;
const DESTINATION_AT: usize = 16;

/// What a link needs to know of a packet's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Length of the whole packet.
    pub(super) len_bytes: usize,
    /// Length of the header itself.
    pub(super) own_bytes: usize,
    pub(super) protocol: u8,
    pub(super) ttl: u8,
    pub(super) dont_fragment: bool,
    /// It is a fragment, and not the first one.
    pub(super) later_fragment: bool,
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
    /// Of TCP and UDP.
    pub(super) ports: Option<(u16, u16)>,
}

impl Header {
    /// Reads the headers of a packet, which may have padding behind it; none where they contradict
    /// themselves.
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        Self::read_beginning(packet).filter(|header| header.len_bytes <= packet.len())
    }

    /// Reads the headers of a packet of which only the beginning may be there, as an ICMP error
    /// quotes it.
    pub(super) fn read_beginning(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<MIN_HEADER_BYTES>()?;
        let own_bytes = usize::from(header[0] & 0x0f) * 4;
        let len_bytes = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let sound = header[0] >> 4 == 4
            && own_bytes >= MIN_HEADER_BYTES
            && own_bytes <= len_bytes
            && own_bytes <= packet.len();
        if !sound {
            return None;
        }
        let fragment = u16::from_be_bytes([header[6], header[7]]);
        let later_fragment = fragment & 0x1fff != 0;
        let protocol = header[9];
        let payload = &packet[own_bytes..len_bytes.min(packet.len())];
        let ports = match (protocol, payload.first_chunk::<4>()) {
            (TCP | UDP, Some(&[a, b, c, d])) if !later_fragment => {
                Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
            }
            _ => None,
        };
        Some(Self {
            len_bytes,
            own_bytes,
            protocol,
            ttl: header[TTL_AT],
            dont_fragment: fragment & 0x4000 != 0,
            later_fragment,
            source: address_at(header, SOURCE_AT),
            destination: address_at(header, DESTINATION_AT),
            ports,
        })
    }
}

fn address_at(header: &[u8; MIN_HEADER_BYTES], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3])
}

/// Which end of a packet is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Destination,
}

/// Takes one off the hop limit (RFC 1812, 5.3.1). The packet's header has been read.
pub(super) fn hop(packet: &mut [u8]) {
    let before = [packet[TTL_AT], packet[TTL_AT + 1]];
    packet[TTL_AT] = packet[TTL_AT].saturating_sub(1);
    let after = [packet[TTL_AT], packet[TTL_AT + 1]];
    amend(packet, CHECKSUM_AT, &before, &after);
}

/// Gives a packet another address and port at one end; `header` is the packet's own. Checksums are
/// amended, not computed anew, so that a wrong one stays wrong.
pub(super) fn rewrite(
    packet: &mut [u8],
    header: &Header,
    end: End,
    address: Ipv4Addr,
    port: Option<u16>,
) {
    let (address_at, port_at) = match end {
        End::Source => (SOURCE_AT, header.own_bytes),
        End::Destination => (DESTINATION_AT, header.own_bytes + 2),
    };
    let mut before = [0; 6];
    let mut after = [0; 6];
    before[..4].copy_from_slice(&packet[address_at..address_at + 4]);
    after[..4].copy_from_slice(&address.octets());
    amend(packet, CHECKSUM_AT, &before[..4], &after[..4]);
    packet[address_at..address_at + 4].copy_from_slice(&after[..4]);
    let Some(port) = port.filter(|_| header.ports.is_some()) else {
        return;
    };
    before[4..].copy_from_slice(&packet[port_at..port_at + 2]);
    after[4..].copy_from_slice(&port.to_be_bytes());
    packet[port_at..port_at + 2].copy_from_slice(&after[4..]);
    let checksum_at = header.own_bytes + if header.protocol == TCP { 16 } else { 6 };
    let has_checksum = packet.len() >= checksum_at + 2
        // A datagram without checksum stays without (RFC 768).
        && !(header.protocol == UDP && packet[checksum_at..checksum_at + 2] == [0, 0]);
    if has_checksum {
        amend(packet, checksum_at, &before, &after);
    }
}

/// Changes one bit behind the IP header; gives which one, counted from the first bit there. The
/// checksums tell of it, as they would of damage on a wire.
pub(super) fn corrupt(packet: &mut [u8], header: &Header, draw: u64) -> Option<u32> {
    let payload = packet.get_mut(header.own_bytes..header.len_bytes)?;
    let bits = payload.len() as u64 * 8;
    let bit = usize::try_from(draw.checked_rem(bits)?).ok()?;
    payload[bit / 8] ^= 0x80 >> (bit % 8);
    u32::try_from(bit).ok()
}

/// Amends the checksum at a place for 16-bit words that change (RFC 1624, equation 3).
fn amend(packet: &mut [u8], checksum_at: usize, before: &[u8], after: &[u8]) {
    let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], pair[1]]));
    let mut sum = 0xffff - word(&packet[checksum_at..checksum_at + 2]);
    for (old, new) in before.chunks_exact(2).zip(after.chunks_exact(2)) {
        sum += 0xffff - word(old) + word(new);
    }
    let checksum = 0xffff - fold(sum);
    packet[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// The Internet checksum of bytes whose own checksum field is zero (RFC 1071).
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2);
    let sum = words.fold(0_u32, |sum, pair| {
        let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
        sum + u32::from(word)
    });
    0xffff - fold(sum)
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::synth::{Segment, udp};
    use crate::wire::{Checksum, LinkType, decode};

    const ETHERNET_BYTES: usize = 14;

    fn credible(frame: &[u8]) -> bool {
        let len = u32::try_from(frame.len()).unwrap();
        decode(LinkType::Ethernet, frame, len).unwrap().checksum == Checksum::Credible
    }

    fn frame(tcp: bool, payload: &[u8]) -> Vec<u8> {
        let (from, to) = (
            "10.0.0.1:4000".parse().unwrap(),
            "10.0.1.1:80".parse().unwrap(),
        );
        if tcp {
            Segment {
                payload,
                flags: 0x18,
                ..Segment::new(from, to)
            }
            .bytes()
        } else {
            udp(from, to, payload)
        }
    }

    proptest! {
        #[test]
        fn checksums_stay_right(
            tcp: bool,
            payload in prop::collection::vec(any::<u8>(), 0..60),
            address: [u8; 4],
            port in 1_u16..,
            source: bool,
        ) {
            let mut frame = frame(tcp, &payload);
            let packet = &mut frame[ETHERNET_BYTES..];
            let header = Header::read(packet).unwrap();
            hop(packet);
            let end = if source { End::Source } else { End::Destination };
            rewrite(packet, &header, end, address.into(), Some(port));
            let changed = Header::read(packet).unwrap();
            prop_assert_eq!(changed.ttl, header.ttl - 1);
            let (at, p) = if source {
                (changed.source, changed.ports.unwrap().0)
            } else {
                (changed.destination, changed.ports.unwrap().1)
            };
            prop_assert_eq!((at, p), (Ipv4Addr::from(address), port));
            prop_assert!(credible(&frame));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(header) = Header::read(&bytes) {
                let mut packet = bytes;
                hop(&mut packet);
                rewrite(&mut packet, &header, End::Source, Ipv4Addr::LOCALHOST, Some(1));
                corrupt(&mut packet, &header, 12_345);
            }
        }
    }

    #[test]
    fn a_corrupt_packet_does_not_pass_for_whole() {
        let mut frame = frame(true, b"hello");
        let header = Header::read(&frame[ETHERNET_BYTES..]).unwrap();
        let bit = corrupt(&mut frame[ETHERNET_BYTES..], &header, 1_000_003).unwrap();
        assert!(bit < 25 * 8);
        assert!(!credible(&frame));
    }
}
