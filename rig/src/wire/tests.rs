//! Packets in pieces, spoiled packets and packets about packets.

use std::net::SocketAddr;

use etherparse::{IpNumber, PacketBuilder};
use proptest::prelude::*;

use super::encapsulation_tests::wrapped;
use super::synth::{self, Segment};
use super::*;
use crate::units::Timestamp;

pub(super) const ETHERNET_BYTES: usize = 14;
const SECOND_NS: u64 = 1_000_000_000;

pub(super) fn ends(v6: bool) -> (SocketAddr, SocketAddr) {
    if v6 {
        let ends = ("[fd00::1]:5000", "[fd00::2]:53");
        (ends.0.parse().unwrap(), ends.1.parse().unwrap())
    } else {
        let ends = ("10.0.0.1:1000", "10.0.0.2:80");
        (ends.0.parse().unwrap(), ends.1.parse().unwrap())
    }
}

/// An Ethernet frame with a segment that carries `hello`.
pub(super) fn frame(v6: bool) -> Vec<u8> {
    let (from, to) = ends(v6);
    Segment {
        flags: 0x18,
        payload: b"hello",
        ..Segment::new(from, to)
    }
    .bytes()
}

/// The same without its Ethernet header.
pub(super) fn ip_packet(v6: bool) -> Vec<u8> {
    frame(v6)[ETHERNET_BYTES..].to_vec()
}

/// An IPv4 packet between two routers, in an Ethernet frame.
pub(super) fn outer_ip(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
    let mut bytes = Vec::new();
    builder
        .write(&mut bytes, IpNumber(protocol), payload)
        .unwrap();
    bytes
}

pub(super) fn outer_udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let from = "192.0.2.1:40000".parse().unwrap();
    synth::udp(from, SocketAddr::from(([192, 0, 2, 2], port)), payload)
}

/// A frame of another `EtherType`.
pub(super) fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &ether_type.to_be_bytes(), payload].concat()
}

pub(super) fn hello<'a>(packet: &Packet<'a>) -> Tcp<'a> {
    match packet.transport {
        Transport::Tcp(tcp) => tcp,
        other => panic!("{other:?}"),
    }
}

/// A segment through a source route, with or without its last address used.
fn routed(kind: u8, pointer: u8) -> Vec<u8> {
    let (_, to) = ends(false);
    let bytes = frame(false);
    let (header, payload) = bytes[ETHERNET_BYTES..].split_at(20);
    let SocketAddr::V4(to) = to else {
        unreachable!()
    };
    let hops = [[192, 0, 2, 7], to.ip().octets()].concat();
    let options = [&[1, kind, 11, pointer], &hops[..]].concat();
    let mut header = [header, &options].concat();
    header[0] = 0x48;
    let len = u16::try_from(header.len() + payload.len()).unwrap();
    header[2..4].copy_from_slice(&len.to_be_bytes());
    // The header's checksum is left to the network card.
    header[10..12].fill(0);
    header[16..20].copy_from_slice(&[192, 0, 2, 1]);
    [&header, payload].concat()
}

#[test]
fn a_source_route_leads_to_its_last_address() {
    for (kind, pointer, is_open) in [
        (131, 4, true),
        (137, 4, true),
        (131, 8, true),
        (131, 12, false),
        // A timestamp, a pointer before the option, one within an address at the end.
        (68, 4, false),
        (131, 0, false),
        (131, 9, false),
    ] {
        let bytes = routed(kind, pointer);
        let packet = decode(LinkType::RawIp, &bytes, 0).unwrap();
        let (_, to) = packet.endpoints().unwrap();
        assert_eq!(to == ends(false).1, is_open, "{kind} {pointer}");
        // The checksum was made for the last address.
        let checksum = if is_open {
            Checksum::Credible
        } else {
            Checksum::WrongTransport
        };
        assert_eq!(packet.checksum, checksum, "{kind} {pointer}");
    }
}

#[test]
fn a_length_beyond_the_wire_is_not_believed() {
    for v6 in [false, true] {
        let mut bytes = frame(v6);
        let len = u32::try_from(bytes.len()).unwrap();
        let at = ETHERNET_BYTES + if v6 { 4 } else { 2 };
        bytes[at] = 0x40;
        // The header's checksum is left to the network card.
        if !v6 {
            bytes[24..26].fill(0);
        }
        let packet = decode(LinkType::Ethernet, &bytes, len).unwrap();
        assert_eq!(packet.ip_len_bytes, len - 14);
        assert_eq!(hello(&packet).payload_len_bytes, 5);
        assert_eq!(packet.checksum, Checksum::Credible);
        // Of a packet that was cut short, the length may be what it claims.
        let packet = decode(LinkType::Ethernet, &bytes, 0x5000).unwrap();
        assert!(packet.ip_len_bytes > 0x4000);
    }
}

#[test]
fn wrong_checksums_are_noticed_unless_something_excuses_them() {
    for v6 in [false, true] {
        let right = frame(v6);
        let transport_at = ETHERNET_BYTES + if v6 { 40 } else { 20 };
        let checksum_at = transport_at + 16;
        let found = |bytes: &[u8]| decode(LinkType::Ethernet, bytes, 0).unwrap().checksum;
        assert_eq!(found(&right), Checksum::Credible);
        let mut spoiled = right.clone();
        *spoiled.last_mut().unwrap() ^= 1;
        assert_eq!(found(&spoiled), Checksum::WrongTransport);
        // Cut off by the capture: nobody knows.
        assert_eq!(found(&spoiled[..spoiled.len() - 1]), Checksum::Credible);
        // Padding is no part of the packet.
        let padded = [&spoiled[..], &[0; 6]].concat();
        assert_eq!(found(&padded), Checksum::WrongTransport);
        spoiled[checksum_at..checksum_at + 2].fill(0);
        assert_eq!(found(&spoiled), Checksum::Credible);
        // Of the pseudo-header alone, as Linux leaves it to the network card.
        let addresses = &right[transport_at - if v6 { 32 } else { 8 }..transport_at];
        let len = u16::try_from(right.len() - transport_at).unwrap();
        for len in [len, 0] {
            let words = addresses
                .chunks(2)
                .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
            let mut sum = words.sum::<u32>() + 6 + u32::from(len);
            while sum > 0xffff {
                sum = (sum >> 16) + (sum & 0xffff);
            }
            let partial = u16::try_from(sum).unwrap().to_be_bytes();
            spoiled[checksum_at..checksum_at + 2].copy_from_slice(&partial);
            assert_eq!(found(&spoiled), Checksum::Credible, "v6 {v6}, length {len}");
        }
    }
    let mut spoiled = frame(false);
    spoiled[ETHERNET_BYTES + 8] ^= 1; // time to live
    let found = |bytes: &[u8]| decode(LinkType::Ethernet, bytes, 0).unwrap().checksum;
    assert_eq!(found(&spoiled), Checksum::WrongIp);
    spoiled[ETHERNET_BYTES + 10..ETHERNET_BYTES + 12].fill(0);
    assert_eq!(found(&spoiled), Checksum::Credible);
    let (from, to) = ends(false);
    let mut datagram = synth::udp(from, to, b"abc");
    assert_eq!(found(&datagram), Checksum::Credible);
    *datagram.last_mut().unwrap() ^= 1;
    assert_eq!(found(&datagram), Checksum::WrongTransport);
}

#[test]
fn ignored_checksums_hide_nothing() {
    let spoil_ip = |bytes: &mut [u8]| bytes[ETHERNET_BYTES + 10] ^= 1;
    let mut tunneled = outer_ip(4, &ip_packet(false));
    spoil_ip(&mut tunneled);
    let mut segment = frame(false);
    spoil_ip(&mut segment);
    *segment.last_mut().unwrap() ^= 1;
    for (bytes, tunnel) in [(tunneled, "ipip"), (segment, "")] {
        let mut judging = Decoder::default();
        let captured = captured(1, 0, LinkType::Ethernet, &bytes);
        let judged = judging.decode(&captured).unwrap();
        assert_eq!(judged.checksum, Checksum::WrongIp);
        let mut ignoring = Decoder::default().with_checksums(Checksums::Ignored);
        let ignored = ignoring.decode(&captured).unwrap();
        assert_eq!(ignored.checksum, Checksum::Credible);
        assert_eq!(ignored.tunnels.to_string(), tunnel);
        assert_eq!(ignored.endpoints(), Some(ends(false)));
    }
    // Fragments are put together too.
    let mut pieces = fragments(&datagram(false), 1, &[48]);
    for piece in &mut pieces {
        piece[10] = 1;
    }
    let mut ignoring = Decoder::default().with_checksums(Checksums::Ignored);
    let first = captured(1, 0, LinkType::RawIp, &pieces[0]);
    let first = ignoring.decode(&first).unwrap();
    assert!(matches!(first.transport, Transport::Fragment));
    let second = captured(2, 0, LinkType::RawIp, &pieces[1]);
    let whole = ignoring.decode(&second).unwrap();
    assert!(matches!(whole.transport, Transport::Udp(udp) if udp.payload.len() == 100));
}

#[test]
fn packets_that_the_capturing_host_sent_may_lack_checksums() {
    let mut spoiled = frame(false);
    *spoiled.last_mut().unwrap() ^= 1;
    let cooked = |kind: u8| {
        [
            &[0, kind][..],
            &[0; 12],
            &[8, 0],
            &spoiled[ETHERNET_BYTES..],
        ]
        .concat()
    };
    let cases = [
        (
            LinkType::Ethernet,
            spoiled.clone(),
            false,
            Checksum::WrongTransport,
        ),
        (
            LinkType::Ethernet,
            spoiled.clone(),
            true,
            Checksum::Credible,
        ),
        (
            LinkType::LinuxSll,
            cooked(0),
            false,
            Checksum::WrongTransport,
        ),
        (LinkType::LinuxSll, cooked(4), false, Checksum::Credible),
    ];
    for (link, data, outgoing, expected) in cases {
        let mut decoder = Decoder::default();
        let captured = Captured {
            outgoing,
            ..captured(1, 0, link, &data)
        };
        assert_eq!(decoder.decode(&captured).unwrap().checksum, expected);
    }
}

#[test]
fn icmp_errors_name_the_packet_that_they_are_about() {
    let (v4, v6) = (ip_packet(false), ip_packet(true));
    let head = |icmp_type, code| [icmp_type, code, 0, 0, 0, 0, 0, 0];
    let port = [&head(3, 3)[..], &v4[..28]].concat();
    let big = [&head(2, 0)[..], &v6].concat();
    let icmp_v6 = PacketBuilder::ipv6([1; 16], [2; 16], 64);
    let mut bytes_v6 = Vec::new();
    icmp_v6.write(&mut bytes_v6, IpNumber(58), &big).unwrap();
    for (bytes, link, name, v6) in [
        (
            outer_ip(1, &port),
            LinkType::Ethernet,
            "port unreachable",
            false,
        ),
        (bytes_v6, LinkType::RawIp, "packet too big", true),
    ] {
        let packet = decode(link, &bytes, 0).unwrap();
        let Transport::IcmpError(error) = packet.transport else {
            panic!("{packet:?}");
        };
        assert_eq!(error.kind.name(), name);
        assert_eq!((error.sender, error.receiver), ends(v6));
        assert!(error.about_tcp);
    }
    for other in [
        [&head(8, 0)[..], &v4].concat(),
        [&head(3, 3)[..], &v4[..22]].concat(),
        head(3, 3).to_vec(),
    ] {
        let bytes = outer_ip(1, &other);
        let packet = decode(LinkType::Ethernet, &bytes, 0).unwrap();
        assert!(matches!(packet.transport, Transport::Other(1)));
    }
}

fn captured(frame: u64, seconds: u64, link: LinkType, data: &[u8]) -> Captured<'_> {
    Captured {
        frame,
        at: Timestamp(seconds * SECOND_NS),
        link,
        data,
        orig_len_bytes: u32::try_from(data.len()).unwrap(),
        outgoing: false,
    }
}

/// An IP packet of an Ethernet frame in fragments, the cuts in bytes of its payload.
fn fragments(frame: &[u8], id: u8, cuts: &[usize]) -> Vec<Vec<u8>> {
    let v6 = frame[12..ETHERNET_BYTES] == [0x86, 0xdd];
    let header_len = if v6 { 40 } else { 20 };
    let (header, payload) = frame[ETHERNET_BYTES..].split_at(header_len);
    let bounds = [&[0][..], cuts, &[payload.len()]].concat();
    let pieces = bounds
        .windows(2)
        .map(|pair| (pair[0], &payload[pair[0]..pair[1]]));
    let pieces = pieces.map(|(offset, piece)| {
        let more = offset + piece.len() < payload.len();
        let offset = u16::try_from(offset).unwrap();
        let mut header = header.to_vec();
        if v6 {
            let len = u16::try_from(piece.len() + 8).unwrap();
            header[4..6].copy_from_slice(&len.to_be_bytes());
            let next = std::mem::replace(&mut header[6], 44);
            let place = (offset | u16::from(more)).to_be_bytes();
            header.extend([next, 0, place[0], place[1], 0, 0, 0, id]);
        } else {
            let len = u16::try_from(20 + piece.len()).unwrap();
            header[2..4].copy_from_slice(&len.to_be_bytes());
            header[4..6].copy_from_slice(&[0, id]);
            let place = (offset / 8) | if more { 0x2000 } else { 0 };
            header[6..8].copy_from_slice(&place.to_be_bytes());
            header[10..12].fill(0);
        }
        [&header[..], piece].concat()
    });
    pieces.collect()
}

/// Lengths of the payload that the packets of a row give, `None` for a fragment that completes
/// nothing; and how many fragments were lost.
fn play(packets: &[(u64, Vec<u8>)]) -> (Vec<Option<usize>>, Vec<u64>, u64) {
    let mut decoder = Decoder::default();
    let mut given_up = Vec::new();
    let mut seen = Vec::new();
    for (frame, (seconds, data)) in (1..).zip(packets) {
        let captured = captured(frame, *seconds, LinkType::RawIp, data);
        let packet = decoder.decode(&captured).unwrap();
        seen.push(match &packet.transport {
            Transport::Fragment => None,
            Transport::Udp(udp) => {
                assert_eq!(packet.checksum, Checksum::Credible);
                Some(udp.payload.len())
            }
            other => panic!("{other:?}"),
        });
        while let Some((frame, ..)) = decoder.given_up() {
            given_up.push(frame);
        }
    }
    decoder.finish();
    while let Some((frame, _, packet)) = decoder.given_up() {
        assert!(packet.first_fragment);
        given_up.push(frame);
    }
    (seen, given_up, decoder.lost_fragments())
}

fn datagram(v6: bool) -> Vec<u8> {
    let (from, to) = ends(v6);
    let payload: Vec<u8> = (0..100).collect();
    synth::udp(from, to, &payload)
}

#[test]
fn fragments_in_any_order_make_the_packet() {
    for v6 in [false, true] {
        let pieces = fragments(&datagram(v6), 1, &[16, 64]);
        let orders = [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ];
        for order in orders {
            let packets = order.map(|n| (0, pieces[n].clone()));
            let expected = (vec![None, None, Some(100)], vec![], 0);
            assert_eq!(play(&packets), expected, "{order:?}");
        }
        // A repeated fragment changes nothing.
        let twice = [0, 0, 1, 1, 2].map(|n| (0, pieces[n].clone()));
        assert_eq!(play(&twice).0.last(), Some(&Some(100)));
    }
}

#[test]
fn fragments_of_several_packets_are_told_apart() {
    let first = fragments(&datagram(false), 1, &[16]);
    let second = fragments(&datagram(false), 2, &[48]);
    let packets = [&first[0], &second[1], &first[1], &second[0]].map(|p| (0, p.clone()));
    assert_eq!(
        play(&packets),
        (vec![None, None, Some(100), Some(100)], vec![], 0)
    );
}

#[test]
fn overlapping_fragments_are_refused() {
    let plain = fragments(&datagram(false), 1, &[16, 64]);
    let other = fragments(&datagram(false), 1, &[8, 24]);
    let packets = [&plain[0], &other[1], &plain[1], &plain[2]].map(|p| (0, p.clone()));
    let (seen, given_up, lost) = play(&packets);
    assert_eq!((seen, given_up), (vec![None; 4], vec![]));
    assert_eq!(lost, 4);
}

#[test]
fn fragments_wait_thirty_seconds() {
    let pieces = fragments(&datagram(false), 1, &[16]);
    let in_time = [(0, pieces[0].clone()), (30, pieces[1].clone())];
    assert_eq!(play(&in_time), (vec![None, Some(100)], vec![], 0));
    let too_late = [(0, pieces[0].clone()), (31, pieces[1].clone())];
    // The first one stands for the packet, whose ports it names.
    assert_eq!(play(&too_late), (vec![None, None], vec![1], 1));
}

#[test]
fn a_flood_of_fragments_is_bounded() {
    let (from, to) = ends(false);
    let large = synth::udp(from, to, &[0; 2000]);
    let mut decoder = Decoder::default();
    for n in 0..20_000_u16 {
        let mut piece = fragments(&large, 0, &[1992])[0].clone();
        piece[4..6].copy_from_slice(&n.to_be_bytes());
        let captured = captured(u64::from(n), 0, LinkType::RawIp, &piece);
        decoder.decode(&captured).unwrap();
        assert!(decoder.kept_bytes() <= 4 * 1024 * 1024 + 4096);
        while decoder.given_up().is_some() {}
    }
}

#[test]
fn fragments_that_the_capture_cut_off_count_in_full() {
    let pieces = fragments(&datagram(false), 1, &[64]);
    let mut decoder = Decoder::default();
    let cut = &pieces[0][..20 + 30];
    let first = Captured {
        orig_len_bytes: u32::try_from(pieces[0].len()).unwrap(),
        ..captured(1, 0, LinkType::RawIp, cut)
    };
    decoder.decode(&first).unwrap();
    let last = captured(2, 0, LinkType::RawIp, &pieces[1]);
    let packet = decoder.decode(&last).unwrap();
    let Transport::Udp(udp) = packet.transport else {
        panic!("{packet:?}");
    };
    assert_eq!((udp.payload.len(), udp.payload_len_bytes), (22, 100));
    assert_eq!(packet.ip_len_bytes, 20 + 108);
    assert_eq!(packet.checksum, Checksum::Credible);
}

#[test]
fn encapsulations_and_fragments_go_into_each_other() {
    let inner = fragments(&datagram(false), 1, &[48]);
    let mut packets = Vec::new();
    for (id, piece) in (7..).zip(&inner) {
        packets.extend(fragments(&outer_ip(4, piece), id, &[24]));
    }
    let packets: Vec<_> = packets.into_iter().map(|packet| (0, packet)).collect();
    assert_eq!(
        play(&packets),
        (vec![None, None, None, Some(100)], vec![], 0)
    );
}

fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let mut all: Vec<_> = wrapped().into_iter().map(|(.., bytes)| bytes).collect();
    all.push(frame(true));
    for v6 in [false, true] {
        let ether_type = if v6 { 0x86dd } else { 0x0800 };
        let pieces = fragments(&datagram(v6), 1, &[16, 64]);
        all.extend(pieces.iter().map(|piece| ethernet(ether_type, piece)));
    }
    prop::sample::select(all)
}

proptest! {
    #[test]
    fn spoiled_packets_never_panic(
        packets in prop::collection::vec((any_packet(), any::<(u16, u8, u16)>(), 0..20_u64), 1..12),
    ) {
        let mut decoder = Decoder::default();
        let (mut seconds, mut count) = (0, 0);
        for (mut bytes, (at, value, cut), later) in packets {
            let at = usize::from(at) % bytes.len();
            bytes[at] = value;
            let len = bytes.len() - usize::from(cut) % 4 * usize::from(cut) % bytes.len();
            bytes.truncate(len);
            (seconds, count) = (seconds + later, count + 1);
            let captured = captured(count, seconds, LinkType::Ethernet, &bytes);
            if let Ok(packet) = decoder.decode(&captured) {
                prop_assert!(packet.tunnels.iter().count() <= MAX_TUNNELS);
            }
            while decoder.given_up().is_some() {}
        }
        decoder.finish();
        prop_assert!(decoder.lost_fragments() <= count);
        prop_assert_eq!(decoder.kept_bytes(), 0);
    }

    #[test]
    fn a_packet_cut_anywhere_tells_nothing_else(bytes in any_packet(), cut in 0..200_usize) {
        let whole = decode(LinkType::Ethernet, &bytes, 0);
        let cut = bytes.len().saturating_sub(cut);
        if let (Ok(whole), Ok(part)) = (whole, decode(LinkType::Ethernet, &bytes[..cut], 0))
            && whole.tunnels == part.tunnels
            && let Some(ends) = part.endpoints()
        {
            prop_assert_eq!(Some(ends), whole.endpoints());
            prop_assert_eq!(part.ip_len_bytes, whole.ip_len_bytes);
            prop_assert_ne!(part.checksum, Checksum::WrongTransport);
        }
    }
}
