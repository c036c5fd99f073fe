//! What stays the same of a packet on its way, to know it again where it was captured twice.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use super::link::{Ethernet, LinkType, Network, network};

/// Bytes behind the IP header that are compared where a capture holds only the beginnings of
/// packets: a TCP header without options.
const COMPARED_BYTES: usize = 20;

const ETHER_TYPE_ARP: u16 = 0x0806;

/// ARP for IPv4 over Ethernet, RFC 826.
const ARP_BYTES: usize = 28;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Sender and receiver of a packet, by its IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
}

/// How much of a packet is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// All that was captured.
    Everything,
    /// Only its headers: some capture cut its packets short.
    Headers,
}

/// Puts into `state` what stays the same of a packet between its sender and its receiver, and gives
/// its route where it is IP, or ARP for IPv4.
///
/// Of an IP packet these are addresses, protocol, lengths, identification and payload. Left out are
/// the hop limit, the traffic class, IP options and checksums, which routers and network cards
/// change. Of ARP it is the message, without what the link layer adds before and behind it, and of another Ethernet
/// frame everything from the source address on.
///
/// # Errors
/// A packet of which too little was captured, or that is neither IP nor Ethernet.
pub fn hash_identity(
    link: LinkType,
    data: &[u8],
    compared: Compared,
    state: &mut impl Hasher,
) -> Result<Option<Route>, Unidentified> {
    let route = match network(link, data).ok_or(Unidentified)? {
        Network::Ip(packet) => match packet.first().map(|first| first >> 4) {
            Some(4) => hash_v4(packet, compared, state),
            Some(6) => hash_v6(packet, compared, state),
            _ => None,
        },
        Network::Other(ETHER_TYPE_ARP, message) => return Ok(hash_arp(message, state)),
        Network::Other(..) if link == LinkType::Ethernet => {
            return hash_frame(data, state).map(|()| None).ok_or(Unidentified);
        }
        Network::Other(..) | Network::Cut => None,
    };
    route.map(Some).ok_or(Unidentified)
}

/// What an IP packet is known by at one host: its headers, among them the checksum over the rest.
/// Two processes of one program find the same.
#[must_use]
pub fn digest(packet: &[u8]) -> u64 {
    /// Headers of IP and TCP without options.
    const BYTES: usize = 40;
    let mut state = DefaultHasher::new();
    state.write(&packet[..packet.len().min(BYTES)]);
    state.finish()
}

/// Too little is there to know a packet again by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unidentified;

/// ARP for IPv4 has a route as well: who asks or answers, and who is meant.
fn hash_arp(message: &[u8], state: &mut impl Hasher) -> Option<Route> {
    /// Ethernet and IPv4, with the lengths of their addresses.
    const OVER_ETHERNET: [u8; 6] = [0, 1, 8, 0, 6, 4];
    let Some(arp) = message.first_chunk::<ARP_BYTES>() else {
        state.write(message);
        return None;
    };
    state.write(arp);
    let address = |at: usize| Some(IpAddr::from(*arp[at..].first_chunk::<4>()?));
    let route = || {
        Some(Route {
            source: address(14)?,
            destination: address(24)?,
        })
    };
    arp.starts_with(&OVER_ETHERNET).then(route).flatten()
}

/// A frame that carries no IP.
fn hash_frame(frame: &[u8], state: &mut impl Hasher) -> Option<()> {
    const SOURCE_AT: usize = 6;
    let header = Ethernet::read(frame)?;
    state.write(&header.ether_type.to_be_bytes());
    state.write(frame.get(SOURCE_AT..)?);
    Some(())
}

/// RFC 791 section 3.1.
fn hash_v4(packet: &[u8], compared: Compared, state: &mut impl Hasher) -> Option<Route> {
    let header = packet.first_chunk::<20>()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    // Zero where the network card shall cut the packet into segments.
    let total_len = match usize::from(u16::from_be_bytes([header[2], header[3]])) {
        0 => packet.len(),
        len => len,
    };
    let protocol = header[9];
    let offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    // Length, identification and fragment; protocol; addresses.
    state.write(&header[2..8]);
    state.write_u8(protocol);
    state.write(&header[12..20]);
    let payload = packet.get(header_len..total_len.min(packet.len()))?;
    let whole = total_len.checked_sub(header_len)?;
    let protocol = (offset == 0).then_some(protocol);
    hash_payload(payload, whole, protocol, compared, state)?;
    Some(Route {
        source: IpAddr::from(*header[12..].first_chunk::<4>()?),
        destination: IpAddr::from(*header[16..].first_chunk::<4>()?),
    })
}

/// RFC 8200 section 3.
fn hash_v6(packet: &[u8], compared: Compared, state: &mut impl Hasher) -> Option<Route> {
    const HEADER_BYTES: usize = 40;
    let header = packet.first_chunk::<HEADER_BYTES>()?;
    let whole = usize::from(u16::from_be_bytes([header[4], header[5]]));
    // Flow label; length and next header; addresses.
    state.write(&[header[1] & 0x0f, header[2], header[3]]);
    state.write(&header[4..7]);
    state.write(&header[8..40]);
    let end = packet.len().min(HEADER_BYTES + whole);
    let payload = packet.get(HEADER_BYTES..end)?;
    hash_payload(payload, whole, Some(header[6]), compared, state)?;
    Some(Route {
        source: IpAddr::from(*header[8..].first_chunk::<16>()?),
        destination: IpAddr::from(*header[24..].first_chunk::<16>()?),
    })
}

/// `whole` is the length of the payload on the wire; `protocol` is known where the payload begins
/// with a transport header.
fn hash_payload(
    payload: &[u8],
    whole: usize,
    protocol: Option<u8>,
    compared: Compared,
    state: &mut impl Hasher,
) -> Option<()> {
    let len = match compared {
        Compared::Everything => payload.len(),
        Compared::Headers => whole.min(COMPARED_BYTES),
    };
    let payload = payload.get(..len)?;
    let checksum_at = match protocol {
        Some(TCP) => 16,
        Some(UDP) => 6,
        _ => len,
    };
    let (before, from_there) = payload.split_at(checksum_at.min(len));
    state.write(before);
    from_there.get(2..).unwrap_or_default().hash(state);
    Some(())
}

#[cfg(test)]
mod tests {
    use std::hash::DefaultHasher;

    use super::*;
    use crate::wire::synth::{Segment, udp};

    fn identity(data: &[u8], compared: Compared) -> Option<u64> {
        let mut state = DefaultHasher::new();
        hash_identity(LinkType::Ethernet, data, compared, &mut state).ok()?;
        Some(state.finish())
    }

    fn segment(seq: u32, payload: &[u8], six: bool) -> Vec<u8> {
        let (a, b) = if six {
            ("[fd00::1]:1000", "[fd00::2]:80")
        } else {
            ("10.0.0.1:1000", "10.0.0.2:80")
        };
        let segment = Segment {
            seq,
            flags: 0x18,
            payload,
            ..Segment::new(a.parse().unwrap(), b.parse().unwrap())
        };
        segment.bytes()
    }

    #[test]
    fn what_routers_and_cards_change_does_not_count() {
        for six in [false, true] {
            let sent = segment(1, b"hello", six);
            let (hops_at, checksum_at) = if six { (21, 70) } else { (22, 50) };
            let mut arrived = sent.clone();
            arrived[hops_at] -= 1;
            arrived[checksum_at] ^= 0xff;
            assert_eq!(
                identity(&sent, Compared::Everything),
                identity(&arrived, Compared::Everything)
            );
            for other in [segment(2, b"hello", six), segment(1, b"hallo", six)] {
                assert_ne!(
                    identity(&sent, Compared::Everything),
                    identity(&other, Compared::Everything)
                );
            }
        }
    }

    #[test]
    fn of_cut_packets_the_headers_are_compared() {
        let sent = segment(1, b"hello", false);
        let headers = identity(&sent, Compared::Headers);
        assert!(headers.is_some());
        assert_eq!(headers, identity(&sent[..54], Compared::Headers));
        assert_eq!(None, identity(&sent[..53], Compared::Headers));
        assert_ne!(
            headers,
            identity(&segment(2, b"hello", false), Compared::Headers)
        );
    }

    #[test]
    fn padding_behind_the_packet_does_not_count() {
        let sent = udp(
            "10.0.0.1:1".parse().unwrap(),
            "10.0.0.2:2".parse().unwrap(),
            b"x",
        );
        let padded = [&sent[..], &[0; 17]].concat();
        assert_eq!(
            identity(&sent, Compared::Everything),
            identity(&padded, Compared::Everything)
        );
        assert_eq!(identity(&sent[..20], Compared::Everything), None);
    }

    #[test]
    fn frames_without_ip_are_known_too() {
        let arp = |from: u8| {
            let mut frame = [&[0xff; 6][..], &[2, 0, 0, 0, 0, from], &[8, 6]].concat();
            frame.extend([from; 28]);
            frame
        };
        let padded = [arp(1), vec![0; 18]].concat();
        assert_eq!(
            identity(&arp(1), Compared::Everything),
            identity(&padded, Compared::Everything)
        );
        assert_ne!(
            identity(&arp(1), Compared::Everything),
            identity(&arp(2), Compared::Everything)
        );
    }
}
