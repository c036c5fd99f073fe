//! Views of IP packets, TCP segments and UDP datagrams.

use std::net::{IpAddr, SocketAddr};

use etherparse::{TcpSlice, UdpSlice, ip_number};

use super::checksum::{self, Checksum, Checksums};
use super::icmp::{self, IcmpError};
use super::ip::{Ip, len_u32};
use super::link::LinkType;
use super::mptcp::{self, MptcpOption};
use super::options::{self, TcpOptions};
use super::seq::Seq;
use super::tunnel::Tunnels;
use super::walk::{usual, walk};

/// Why a packet gives nothing to analyse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Undecoded {
    /// It is of another protocol than IP, such as ARP.
    #[error("not IP")]
    NotIp,
    /// It has an `EtherType` that is not read and may carry IP.
    #[error("EtherType {0:#06x} is not read")]
    EtherType(u16),
    /// It has more VLAN tags, other tags or encapsulations than are passed over.
    #[error("more tags or encapsulations than are read")]
    TooDeep,
    /// Its link type is not read.
    #[error("{0} is not read")]
    LinkType(LinkType),
    /// It is cut off, or a header contradicts itself, before the addresses are known.
    #[error("cut off or malformed")]
    Malformed,
}

/// An IP packet.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Length in bytes by the IP header (`ip.len`, or 40 plus `ipv6.plen`).
    pub ip_len_bytes: u32,
    /// How many more hosts may forward it (`ip.ttl`, `ipv6.hlim`).
    pub hop_limit: u8,
    /// Identification of IPv4 (`ip.id`).
    pub ip_id: Option<u16>,
    /// It is the first fragment of a larger packet and stands for it.
    pub first_fragment: bool,
    /// What it came in.
    pub tunnels: Tunnels,
    /// What its checksums say.
    pub checksum: Checksum,
    /// What it carries.
    pub transport: Transport<'a>,
}

/// What an IP packet carries.
#[derive(Debug, Clone, Copy)]
pub enum Transport<'a> {
    /// A TCP segment.
    Tcp(Tcp<'a>),
    /// A UDP datagram.
    Udp(Udp<'a>),
    /// An ICMP error about a segment or datagram.
    IcmpError(IcmpError),
    /// A fragment after the first one.
    Fragment,
    /// Another protocol, by its IP protocol number.
    Other(u8),
    /// TCP or UDP, cut off or malformed before the fields that matter.
    Malformed,
}

/// A TCP segment, RFC 9293 section 3.1.
#[derive(Debug, Clone, Copy)]
pub struct Tcp<'a> {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number.
    pub seq: Seq,
    /// Acknowledgement number; without meaning unless the ACK flag is set.
    pub ack: Seq,
    /// CWR, ECE, URG, ACK, PSH, RST, SYN and FIN, from the highest bit to the lowest.
    pub flags: u8,
    /// Window field, not scaled.
    pub window: u16,
    /// Options as captured.
    pub options: &'a [u8],
    /// Payload as captured; shorter than `payload_len_bytes` in a packet that was cut.
    pub payload: &'a [u8],
    /// Length of the payload on the wire in bytes, by the IP header.
    pub payload_len_bytes: u32,
}

impl Tcp<'_> {
    /// Reads the options, up to the first one that does not fit; unknown ones are passed over.
    #[must_use]
    pub fn options(&self) -> TcpOptions {
        TcpOptions::read(self.options)
    }

    /// Whether there may be options of Multipath TCP: a byte among the options is their kind.
    #[must_use]
    #[inline]
    pub fn may_have_mptcp(&self) -> bool {
        mptcp::may_be_in(self.options)
    }

    /// The options of Multipath TCP, up to the first option that does not fit.
    pub fn mptcp(&self) -> impl Iterator<Item = MptcpOption> {
        mptcp::options(self.options)
    }

    /// Whether it acknowledges more than what its acknowledgement number says (SACK, RFC 2018 section 3).
    #[must_use]
    pub fn has_sack_blocks(&self) -> bool {
        const SACK: u8 = 5;
        options::each(self.options).any(|(kind, _)| kind == SACK)
    }
}

/// A UDP datagram, RFC 768.
#[derive(Debug, Clone, Copy)]
pub struct Udp<'a> {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Payload as captured; shorter than `payload_len_bytes` in a packet that was cut.
    pub payload: &'a [u8],
    /// Length of the payload on the wire in bytes, by the UDP header.
    pub payload_len_bytes: u32,
}

impl Packet<'_> {
    /// Source and destination with their ports, for TCP and UDP.
    #[must_use]
    pub fn endpoints(&self) -> Option<(SocketAddr, SocketAddr)> {
        let (source, destination) = match &self.transport {
            Transport::Tcp(tcp) => (tcp.source_port, tcp.destination_port),
            Transport::Udp(udp) => (udp.source_port, udp.destination_port),
            _ => return None,
        };
        Some((
            SocketAddr::new(self.source, source),
            SocketAddr::new(self.destination, destination),
        ))
    }
}

/// Reads a captured packet by itself; [`Decoder`](super::Decoder) puts fragments together too.
/// `orig_len_bytes` is its length on the wire, which stands in for an IP length of zero, as
/// segmentation offload leaves it, and for one beyond it; zero where it is not known.
#[inline]
pub fn decode(link: LinkType, data: &[u8], orig_len_bytes: u32) -> Result<Packet<'_>, Undecoded> {
    if let Some(ip) = usual(link, data, orig_len_bytes) {
        return Ok(packet(&ip, Tunnels::default()));
    }
    let found = walk(link, data, orig_len_bytes, Checksums::Judged)?;
    Ok(packet(&found.ip, found.tunnels))
}

/// The packet that an IP header and its payload make.
#[expect(clippy::inline_always, reason = "on the way of every packet")]
#[inline(always)]
pub(super) fn packet<'a>(ip: &Ip<'a>, tunnels: Tunnels) -> Packet<'a> {
    let (transport, told) = if ip.is_later_piece() {
        (Transport::Fragment, None)
    } else if ip.cut {
        (Transport::Malformed, None)
    } else {
        transport(ip)
    };
    let checksum = match told {
        _ if ip.damaged => Checksum::WrongIp,
        Some((told, bytes)) if ip.checkable && ip.piece.is_none() && ip.is_whole() => {
            if checksum::is_credible(ip, bytes, told) {
                Checksum::Credible
            } else {
                Checksum::WrongTransport
            }
        }
        _ => Checksum::Credible,
    };
    Packet {
        source: ip.source,
        destination: ip.destination,
        ip_len_bytes: ip.len,
        hop_limit: ip.hop_limit,
        ip_id: ip.id,
        first_fragment: ip.piece.is_some_and(|piece| piece.offset == 0),
        tunnels,
        checksum,
        transport,
    }
}

/// What a packet carries; with it the checksum of a segment or datagram, and the bytes that it
/// covers.
#[expect(clippy::inline_always, reason = "on the way of every packet")]
#[inline(always)]
fn transport<'a>(ip: &Ip<'a>) -> (Transport<'a>, Option<(u16, &'a [u8])>) {
    let (bytes, len_bytes) = (ip.payload, ip.payload_len);
    if ip.protocol == ip_number::TCP.0 {
        let whole = TcpSlice::from_slice(bytes).ok();
        let Some(tcp) = whole else {
            let tcp = tcp_without_options(bytes, len_bytes);
            return (tcp.map_or(Transport::Malformed, Transport::Tcp), None);
        };
        let segment = Tcp {
            source_port: tcp.source_port(),
            destination_port: tcp.destination_port(),
            seq: Seq(tcp.sequence_number()),
            ack: Seq(tcp.acknowledgment_number()),
            flags: tcp.header_slice()[FLAGS_AT],
            window: tcp.window_size(),
            options: &tcp.header_slice()[TCP_FIXED_BYTES..],
            payload: tcp.payload(),
            payload_len_bytes: len_bytes.saturating_sub(len_u32(tcp.header_len())),
        };
        return (Transport::Tcp(segment), Some((tcp.checksum(), bytes)));
    }
    if ip.protocol == ip_number::UDP.0 {
        let Some((datagram, told, covered)) = udp(bytes, len_bytes) else {
            return (Transport::Malformed, None);
        };
        return (Transport::Udp(datagram), Some((told, covered)));
    }
    let error = icmp::error(ip.protocol, bytes);
    let other = || Transport::Other(ip.protocol);
    (error.map_or_else(other, Transport::IcmpError), None)
}

/// Length of a TCP header without options.
const TCP_FIXED_BYTES: usize = 20;

/// Where the flags stand in a TCP header.
const FLAGS_AT: usize = 13;

/// A segment whose capture ends within its options, which `etherparse` refuses.
#[cold]
fn tcp_without_options(bytes: &[u8], len_bytes: u32) -> Option<Tcp<'_>> {
    let fixed: &[u8; TCP_FIXED_BYTES] = bytes.first_chunk()?;
    let header_len = u32::from(fixed[12] >> 4) * 4;
    // A header shorter than its fixed part is no header; one longer than the packet neither.
    if header_len < len_u32(TCP_FIXED_BYTES) || header_len > len_bytes {
        return None;
    }
    let u16_at = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let u32_at = |at: usize| u32::from(u16_at(at)) << 16 | u32::from(u16_at(at + 2));
    Some(Tcp {
        source_port: u16_at(0),
        destination_port: u16_at(2),
        seq: Seq(u32_at(4)),
        ack: Seq(u32_at(8)),
        flags: fixed[FLAGS_AT],
        window: u16_at(14),
        options: &bytes[TCP_FIXED_BYTES..],
        payload: &[],
        payload_len_bytes: len_bytes - header_len,
    })
}

/// A datagram, its checksum and the bytes that it covers.
fn udp(bytes: &[u8], len_bytes: u32) -> Option<(Udp<'_>, u16, &[u8])> {
    const HEADER_BYTES: u32 = 8;
    let udp = UdpSlice::from_slice_lax(bytes).ok()?;
    // A length of zero stands in jumbograms, RFC 2675 section 4; a too small one is an error.
    let claimed = match udp.length() {
        0 => len_bytes,
        length => u32::from(length),
    };
    let datagram = Udp {
        source_port: udp.source_port(),
        destination_port: udp.destination_port(),
        payload: udp.payload(),
        payload_len_bytes: claimed.checked_sub(HEADER_BYTES)?,
    };
    // One that claims more than its packet holds cannot be judged; no checksum is told by a zero.
    let told = if claimed > len_bytes {
        0
    } else {
        udp.checksum()
    };
    Some((datagram, told, udp.slice()))
}

#[cfg(test)]
mod tests {
    use etherparse::TcpOptionElement;
    use proptest::prelude::*;

    use super::super::synth::{self, Segment};
    use super::*;

    fn segment() -> Vec<u8> {
        Segment {
            seq: 0xffff_fff0,
            ack: 7,
            flags: 0x18,
            payload: b"hello",
            options: &[
                TcpOptionElement::MaximumSegmentSize(1460),
                TcpOptionElement::WindowScale(7),
                TcpOptionElement::SelectiveAcknowledgementPermitted,
                TcpOptionElement::Timestamp(11, 22),
            ],
            ..Segment::new(
                "10.0.0.1:1000".parse().unwrap(),
                "10.0.0.2:80".parse().unwrap(),
            )
        }
        .bytes()
    }

    fn tcp_of<'a>(packet: &Packet<'a>) -> Tcp<'a> {
        match packet.transport {
            Transport::Tcp(tcp) => tcp,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_segment_is_read_back() {
        let bytes = segment();
        let packet = decode(LinkType::Ethernet, &bytes, 0).unwrap();
        let tcp = tcp_of(&packet);
        assert_eq!(packet.ip_len_bytes, len_u32(bytes.len()) - 14);
        assert_eq!(tcp.seq, Seq(0xffff_fff0));
        assert_eq!(
            (tcp.flags, tcp.payload, tcp.payload_len_bytes),
            (0x18, &b"hello"[..], 5)
        );
        let options = TcpOptions {
            mss_bytes: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some((11, 22)),
            fast_open: None,
        };
        assert_eq!(tcp.options(), options);
        let (from, to) = packet.endpoints().unwrap();
        assert_eq!(from.to_string(), "10.0.0.1:1000");
        assert_eq!(to.to_string(), "10.0.0.2:80");
    }

    #[test]
    fn every_link_type_leads_to_the_same_segment() {
        let ethernet = segment();
        let ip = &ethernet[14..];
        let with = |head: &[u8]| [head, ip].concat();
        let sll = [&[0; 14][..], &[8, 0]].concat();
        let sll2 = [&[8, 0][..], &[0; 18]].concat();
        let vlan = [&ethernet[..12], &[0x81, 0, 0, 5, 8, 0]].concat();
        let qinq = [&ethernet[..12], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0]].concat();
        let cases = [
            (LinkType::Ethernet, with(&vlan)),
            (LinkType::Ethernet, with(&qinq)),
            (LinkType::LinuxSll, with(&sll)),
            (LinkType::LinuxSll2, with(&sll2)),
            (LinkType::Null, with(&[2, 0, 0, 0])),
            (LinkType::Loop, with(&[0, 0, 0, 2])),
            (LinkType::RawIp, ip.to_vec()),
        ];
        for (link, bytes) in cases {
            let packet = decode(link, &bytes, 0).unwrap();
            assert_eq!(tcp_of(&packet).payload, b"hello", "{link}");
            assert_eq!(LinkType::from_number(link.number()), link);
        }
    }

    #[test]
    fn padding_and_snapping_do_not_change_lengths() {
        let whole = segment();
        let padded = [&whole[..], &[0; 9]].concat();
        assert_eq!(
            tcp_of(&decode(LinkType::Ethernet, &padded, 0).unwrap()).payload,
            b"hello"
        );
        // Ethernet, IP and the fixed part of the TCP header must be there, the rest need not be.
        for len in 14 + 20 + 20..whole.len() {
            let packet = decode(LinkType::Ethernet, &whole[..len], 0).unwrap();
            let tcp = tcp_of(&packet);
            assert_eq!(tcp.payload_len_bytes, 5, "cut after {len}");
            assert_eq!(packet.ip_len_bytes, len_u32(whole.len()) - 14);
        }
        for len in 14 + 20..14 + 20 + 20 {
            let packet = decode(LinkType::Ethernet, &whole[..len], 0).unwrap();
            assert!(matches!(packet.transport, Transport::Malformed));
        }
    }

    #[test]
    fn an_ip_length_of_zero_is_taken_from_the_wire() {
        let mut bytes = segment();
        bytes[16..18].fill(0);
        let orig = len_u32(bytes.len());
        let packet = decode(LinkType::Ethernet, &bytes, orig).unwrap();
        assert_eq!(tcp_of(&packet).payload_len_bytes, 5);
    }

    #[test]
    fn fragments_are_told_apart() {
        let mut bytes = segment();
        bytes[20] = 0x20; // more fragments follow
        let first = decode(LinkType::Ethernet, &bytes, 0).unwrap();
        assert!(first.first_fragment);
        assert_eq!(tcp_of(&first).payload_len_bytes, 5);
        bytes[21] = 1; // begins eight bytes into the packet
        let later = decode(LinkType::Ethernet, &bytes, 0).unwrap();
        assert!(matches!(later.transport, Transport::Fragment));
    }

    #[test]
    fn ipv6_and_udp_are_read() {
        let from = "[fd00::1]:5000".parse().unwrap();
        let to = "[fd00::2]:53".parse().unwrap();
        let bytes = synth::udp(from, to, b"query");
        let packet = decode(LinkType::Ethernet, &bytes, 0).unwrap();
        assert_eq!(packet.endpoints(), Some((from, to)));
        assert_eq!(packet.ip_len_bytes, 40 + 8 + 5);
        match packet.transport {
            Transport::Udp(udp) => {
                assert_eq!((udp.payload, udp.payload_len_bytes), (&b"query"[..], 5));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_ip_says_so() {
        let arp = [&[0xff; 12][..], &[8, 6], &[0; 28]].concat();
        let cases = [
            (LinkType::Ethernet, &arp[..], Undecoded::NotIp),
            (LinkType::Ethernet, &arp[..13], Undecoded::Malformed),
            (LinkType::RawIp, &[], Undecoded::Malformed),
            (
                LinkType::Other(105),
                &arp,
                Undecoded::LinkType(LinkType::Other(105)),
            ),
        ];
        for (link, bytes, expected) in cases {
            assert_eq!(decode(link, bytes, 0).err(), Some(expected));
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), number: u16, orig: u32) {
            for link in [LinkType::from_number(number), LinkType::RawIp, LinkType::Ethernet] {
                if let Ok(packet) = decode(link, &bytes, orig) {
                    let _ = packet.endpoints();
                    let _ = packet.tunnels.to_string();
                }
            }
        }

        #[test]
        fn a_spoiled_segment_never_panics(at in 0..74_usize, value: u8, cut in 0..80_usize) {
            let mut bytes = segment();
            let at = at % bytes.len();
            bytes[at] = value;
            bytes.truncate(bytes.len().saturating_sub(cut));
            if let Ok(Packet { transport: Transport::Tcp(tcp), .. }) = decode(LinkType::Ethernet, &bytes, 90) {
                let _ = tcp.options();
                prop_assert!(tcp.payload.len() <= bytes.len());
            }
        }
    }
}
