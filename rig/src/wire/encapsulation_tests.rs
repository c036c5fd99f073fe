//! Packets within packets, behind tags and in frames within frames.

use super::tests::{ETHERNET_BYTES, ends, ethernet, frame, hello, ip_packet, outer_ip, outer_udp};
use super::*;

fn gtp(flags: u8, between: &[u8], packet: &[u8]) -> Vec<u8> {
    let len = u16::try_from(between.len() + packet.len()).unwrap();
    let head = [&[flags, 255][..], &len.to_be_bytes(), &[0, 0, 0, 9]].concat();
    [&head, between, packet].concat()
}

/// Every way in which a frame is wrapped, with the name of it.
pub(super) fn wrapped() -> Vec<(&'static str, bool, Vec<u8>)> {
    [usual_tunnels(), ppp_and_mirrored(), later_tunnels(), tags()].concat()
}

fn usual_tunnels() -> Vec<(&'static str, bool, Vec<u8>)> {
    let (v4, v6) = (ip_packet(false), ip_packet(true));
    let inner = frame(false);
    let vxlan = |frame: &[u8]| [&[8, 0, 0, 0, 0, 0, 7, 0][..], frame].concat();
    let gre = |head: &[u8], rest: &[u8]| outer_ip(47, &[head, rest].concat());
    let keyed = [0xb0, 0, 8, 0, 1, 2, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1];
    let ppp = |protocol: [u8; 2], packet: &[u8]| {
        let len = u16::try_from(packet.len() + 2).unwrap().to_be_bytes();
        ethernet(
            0x8864,
            &[&[0x11, 0, 0, 9], &len[..], &protocol, packet].concat(),
        )
    };
    let labels = [0, 0x10, 0, 64, 0, 0x20, 1, 64];
    let geneve = [2, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let origin = [0, 0, 0x5f, 0x5f, 1, 2, 3, 4];
    let authentication = [0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0];
    let two_gtp = gtp(0x34, &[0, 1, 0, 0x85, 1, 0x10, 9, 0x85, 1, 0, 9, 0], &v4);
    vec![
        ("ipip", false, outer_ip(4, &v4)),
        ("6in4", true, outer_ip(41, &v6)),
        ("gre", false, gre(&[0, 0, 8, 0], &v4)),
        ("gre", true, gre(&[0, 0, 0x86, 0xdd], &v6)),
        ("gre", false, gre(&[0, 0, 0x65, 0x58], &inner)),
        ("gre", false, gre(&keyed, &v4)),
        (
            "gre/mpls",
            false,
            gre(&[0, 0, 0x88, 0x47], &[&labels, &v4[..]].concat()),
        ),
        ("vxlan", false, outer_udp(4789, &vxlan(&inner))),
        (
            "vxlan/pppoe",
            false,
            outer_udp(4789, &vxlan(&ppp([0, 0x21], &v4))),
        ),
        (
            "geneve",
            false,
            outer_udp(6081, &[&geneve, &inner[..]].concat()),
        ),
        (
            "geneve",
            true,
            outer_udp(6081, &[&[0, 0, 0x86, 0xdd, 0, 0, 7, 0], &v6[..]].concat()),
        ),
        ("teredo", true, outer_udp(3544, &v6)),
        (
            "teredo",
            true,
            outer_udp(3544, &[&origin, &v6[..]].concat()),
        ),
        (
            "teredo",
            true,
            outer_udp(3544, &[&authentication[..], &origin, &v6].concat()),
        ),
        ("gtpv1", false, outer_udp(2152, &gtp(0x30, &[], &v4))),
        (
            "gtpv1",
            true,
            outer_udp(2152, &gtp(0x32, &[0, 1, 0, 0], &v6)),
        ),
        ("gtpv1", false, outer_udp(2152, &two_gtp)),
        ("pppoe", false, ppp([0, 0x21], &v4)),
        ("pppoe", true, ppp([0, 0x57], &v6)),
        (
            "mpls",
            false,
            ethernet(0x8847, &[&labels, &v4[..]].concat()),
        ),
        (
            "mpls",
            true,
            ethernet(0x8848, &[&labels[4..], &v6].concat()),
        ),
    ]
}

/// A session of `PPPoE` with a protocol field of one byte.
fn short_ppp_session() -> Vec<u8> {
    [&[0x11, 0, 0, 9, 0, 46, 0x21], &ip_packet(false)[..]].concat()
}

fn ppp_and_mirrored() -> Vec<(&'static str, bool, Vec<u8>)> {
    let (v4, v6) = (ip_packet(false), ip_packet(true));
    let inner = frame(false);
    let gre = |head: &[u8], rest: &[u8]| outer_ip(47, &[head, rest].concat());
    vec![
        ("pppoe", false, ethernet(0x8864, &short_ppp_session())),
        (
            "gre",
            false,
            gre(&[0, 0, 0x88, 0x0b, 0xff, 3, 0, 0x21], &v4),
        ),
        ("gre", true, pptp(&[0x57], &v6)),
        ("gre", false, pptp(&[0xff, 3, 0x21], &v4)),
        ("erspan", false, gre(&[0, 0, 0x88, 0xbe], &inner)),
        (
            "erspan",
            false,
            gre(
                &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1],
                &[&[0x10; 8], &inner[..]].concat(),
            ),
        ),
        (
            "erspan",
            false,
            gre(
                &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1],
                &[&erspan_3(0, 0)[..], &inner].concat(),
            ),
        ),
        (
            "erspan",
            false,
            gre(
                &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1],
                &[&erspan_3(0, 1)[..], &[0; 8], &inner].concat(),
            ),
        ),
        (
            "erspan",
            true,
            gre(
                &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1],
                &[&erspan_3(2, 0)[..], &v6].concat(),
            ),
        ),
    ]
}

fn later_tunnels() -> Vec<(&'static str, bool, Vec<u8>)> {
    let (v4, v6) = (ip_packet(false), ip_packet(true));
    let inner = frame(false);
    let gre = |head: &[u8], rest: &[u8]| outer_ip(47, &[head, rest].concat());
    let long_l2tp = {
        let len = u16::try_from(16 + 1 + v6.len()).unwrap().to_be_bytes();
        let head = [&[0x4b, 2], &len[..], &[0, 1, 0, 2, 0, 3, 0, 4, 0, 2, 0, 0]].concat();
        [&head[..], &[0x57], &v6].concat()
    };
    vec![
        (
            "gre",
            false,
            outer_udp(4754, &[&[0, 0, 8, 0], &v4[..]].concat()),
        ),
        (
            "gre/erspan",
            false,
            outer_udp(
                4754,
                &[&[0, 0, 0x65, 0x58][..], &gre(&[0, 0, 0x88, 0xbe], &inner)].concat(),
            ),
        ),
        (
            "vxlan",
            false,
            outer_udp(
                4789,
                &[&[0x88, 0x48, 0, 9, 0, 0, 7, 0][..], &inner].concat(),
            ),
        ),
        (
            "vxlan",
            true,
            outer_udp(4790, &[&[0x0c, 0, 0, 2, 0, 0, 7, 0][..], &v6].concat()),
        ),
        (
            "vxlan",
            false,
            outer_udp(4790, &[&[0x0c, 0, 0, 3, 0, 0, 7, 0][..], &inner].concat()),
        ),
        (
            "l2tp",
            false,
            outer_udp(
                1701,
                &[&[0, 2, 0, 1, 0, 2, 0xff, 3, 0, 0x21][..], &v4].concat(),
            ),
        ),
        ("l2tp", true, outer_udp(1701, &long_l2tp)),
        (
            "pbb",
            false,
            ethernet(0x88e7, &[&[0, 0, 0, 9], &inner[..]].concat()),
        ),
        (
            "fabricpath",
            false,
            ethernet(0x8903, &[&[0x10, 0x20], &inner[..]].concat()),
        ),
    ]
}

fn tags() -> Vec<(&'static str, bool, Vec<u8>)> {
    let (v4, v6) = (ip_packet(false), ip_packet(true));
    let inner = frame(false);
    vec![
        (
            "",
            false,
            ethernet(0x8909, &tagged(&[1, 1, 0, 1, 0, 9, 8, 0], &v4)),
        ),
        (
            "",
            false,
            ethernet(0x8926, &tagged(&[0, 1, 0, 2, 8, 0], &v4)),
        ),
        // A VN-Tag before a VLAN tag, as Cisco's switches write them.
        (
            "",
            true,
            ethernet(
                0x8926,
                &tagged(&[0, 1, 0, 2, 0x81, 0, 0, 5, 0x86, 0xdd], &v6),
            ),
        ),
        (
            "",
            false,
            ethernet(0x893f, &tagged(&[0, 1, 0, 2, 0, 0, 8, 0], &v4)),
        ),
        ("", false, snap(&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &v4)),
        (
            "",
            true,
            snap(&[0xaa, 0xaa, 3, 0, 0, 0xf8, 0x86, 0xdd], &v6),
        ),
        ("", false, snap(&[6, 6, 3], &v4)),
        (
            "pppoe",
            false,
            snap(&[0xaa, 0xaa, 3, 0, 0, 0, 0x88, 0x64], &short_ppp_session()),
        ),
        ("", false, ethernet(0x6558, &inner)),
    ]
}

fn tagged(tag: &[u8], packet: &[u8]) -> Vec<u8> {
    [tag, packet].concat()
}

/// A frame of IEEE 802.3, which has a length where others have an `EtherType`.
fn snap(llc: &[u8], packet: &[u8]) -> Vec<u8> {
    let len = u16::try_from(llc.len() + packet.len()).unwrap();
    ethernet(len, &[llc, packet].concat())
}

/// PPP in GRE of version 1, with a sequence and an acknowledgement number.
fn pptp(protocol: &[u8], packet: &[u8]) -> Vec<u8> {
    let len = u16::try_from(protocol.len() + packet.len()).unwrap();
    let head = [0x30, 0x81, 0x88, 0x0b];
    let numbers = [0, 9, 0, 0, 0, 1, 0, 0, 0, 2];
    outer_ip(
        47,
        &[&head, &len.to_be_bytes()[..], &numbers, protocol, packet].concat(),
    )
}

/// A header of ERSPAN type III, with the kind of frame and whether a part for the platform follows.
fn erspan_3(kind: u8, platform: u8) -> [u8; 12] {
    let mut header = [0; 12];
    header[0] = 0x20;
    header[10] = kind << 2;
    header[11] = platform;
    header
}

#[test]
fn encapsulations_are_unwrapped_and_named() {
    for (name, v6, bytes) in wrapped() {
        let len = u32::try_from(bytes.len()).unwrap();
        let packet = decode(LinkType::Ethernet, &bytes, len).unwrap();
        assert_eq!(packet.tunnels.to_string(), name);
        assert_eq!(packet.endpoints(), Some(ends(v6)), "{name}");
        let tcp = hello(&packet);
        assert_eq!((tcp.payload, tcp.payload_len_bytes), (&b"hello"[..], 5));
        assert_eq!(packet.ip_len_bytes, if v6 { 65 } else { 45 }, "{name}");
        assert_eq!(packet.checksum, Checksum::Credible, "{name}");
    }
}

#[test]
fn what_only_looks_like_an_encapsulation_stays_what_it_is() {
    let v6 = ip_packet(true);
    let short = &v6[..v6.len() - 1];
    let cases = [
        (
            4789,
            [&[9, 0, 0, 0, 0, 0, 7, 0][..], &frame(false)].concat(),
        ),
        (4789, b"\x08\0\0\0\0\0\x07\0too short".to_vec()),
        (
            6081,
            [&[0x40, 0, 8, 0, 0, 0, 7, 0][..], &ip_packet(false)].concat(),
        ),
        (3544, short.to_vec()),
        (2152, gtp(0x30, &[], short)[..30].to_vec()),
        (
            2152,
            gtp(0x34, &[0, 0, 0, 9, 0, 0, 0, 0], &ip_packet(false)),
        ),
        (
            4790,
            [&[8, 0, 0, 0, 0, 0, 7, 0][..], &frame(false)].concat(),
        ),
    ];
    for (port, payload) in cases {
        let bytes = outer_udp(port, &payload);
        let packet = decode(LinkType::Ethernet, &bytes, 0).unwrap();
        assert!(packet.tunnels.is_empty(), "{port} {payload:02x?}");
        let (_, to) = packet.endpoints().unwrap();
        assert_eq!(to.port(), port);
    }
    // PPP in GRE that is longer than its packet, or has flags of no version.
    for head in [
        &[
            0x30, 1, 0x88, 0x0b, 0xff, 0, 0, 9, 0, 0, 0, 1, 0, 0x21, 0x45,
        ][..],
        &[
            0x70, 1, 0x88, 0x0b, 0, 4, 0, 9, 0, 0, 0, 1, 0, 0x21, 0x45, 0,
        ],
        &[
            0x30, 2, 0x88, 0x0b, 0, 4, 0, 9, 0, 0, 0, 1, 0, 0x21, 0x45, 0,
        ],
        // ERSPAN of another version than its type has.
        &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x30, 0, 0, 0, 0, 0, 0, 0],
        &[
            0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ],
    ] {
        let bytes = outer_ip(47, head);
        let packet = decode(LinkType::Ethernet, &bytes, 0).map(|p| p.transport);
        assert!(matches!(packet, Ok(Transport::Other(47))), "{packet:?}");
    }
}

#[test]
fn a_datagram_whose_inside_cannot_be_read_stays_a_datagram() {
    let vxlan = |frame: &[u8]| outer_udp(4789, &[&[8, 0, 0, 0, 0, 0, 7, 0][..], frame].concat());
    let geneve = |number: [u8; 2], rest: &[u8]| {
        let head = [&[0, 0][..], &number, &[0, 0, 7, 0]].concat();
        outer_udp(6081, &[&head, rest].concat())
    };
    let llc = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &ip_packet(false)].concat();
    let llc_len = u16::try_from(llc.len()).unwrap().to_be_bytes();
    let labelled = [&[0, 0x10, 1, 64], &ip_packet(false)[..]].concat();
    let mut deep = ethernet(0x8847, &labelled);
    for _ in 0..MAX_TUNNELS {
        deep = vxlan(&deep);
    }
    for (bytes, port, tunnels) in [
        (outer_udp(4754, &[0; 40]), 4754, 0),
        (outer_udp(4755, &[0; 40]), 4755, 0),
        (geneve([0x12, 0x34], &[7; 28]), 6081, 0),
        (geneve(llc_len, &llc), 6081, 0),
        (vxlan(b"text that is no frame at all"), 4789, 0),
        (vxlan(&ethernet(0x0806, &[0; 28])), 4789, 0),
        (
            vxlan(&ethernet(0x8100, &[0x81, 0, 0, 5].repeat(5))),
            4789,
            0,
        ),
        (deep, 4789, MAX_TUNNELS - 1),
    ] {
        let len = u32::try_from(bytes.len()).unwrap();
        let packet = decode(LinkType::Ethernet, &bytes, len).unwrap();
        assert!(
            matches!(packet.transport, Transport::Udp(_)),
            "{bytes:02x?}"
        );
        assert_eq!(packet.endpoints().unwrap().1.port(), port, "{bytes:02x?}");
        assert_eq!(packet.tunnels.iter().count(), tunnels, "{bytes:02x?}");
    }
}

#[test]
fn what_gre_carries_without_ip_is_no_unread_tunnel() {
    let keep_alive = outer_ip(47, &[0, 0, 0, 0])[ETHERNET_BYTES..].to_vec();
    for packet in [
        // An acknowledgement of PPTP, and its negotiation with and without address and control.
        &[0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 1, 0, 0, 0, 5][..],
        &[
            0x30, 1, 0x88, 0x0b, 0, 4, 0, 9, 0, 0, 0, 1, 0xc0, 0x21, 1, 1,
        ],
        &[
            0x30, 1, 0x88, 0x0b, 0, 4, 0, 9, 0, 0, 0, 1, 0xff, 3, 0x80, 0x21,
        ],
        // A keep-alive and the answer to it, and OSI.
        &[&[0, 0, 8, 0], &keep_alive[..]].concat(),
        &[0, 0, 0, 0],
        &[0, 0, 0, 0xfe, 0x83, 1],
    ] {
        let bytes = outer_ip(47, packet);
        let found = decode(LinkType::Ethernet, &bytes, 0).err();
        assert_eq!(found, Some(Undecoded::NotIp), "{packet:02x?}");
    }
    // Compressed or encrypted PPP may carry IP.
    let secret = [
        0x30, 1, 0x88, 0x0b, 0, 4, 0, 9, 0, 0, 0, 1, 0, 0xfd, 0x90, 0,
    ];
    let bytes = outer_ip(47, &secret);
    let packet = decode(LinkType::Ethernet, &bytes, 0).map(|p| p.transport);
    assert!(matches!(packet, Ok(Transport::Other(47))), "{packet:?}");
}

#[test]
fn cooked_frames_with_ethernet_or_llc_inside_are_read() {
    let inner = frame(false);
    let llc = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &inner[ETHERNET_BYTES..]].concat();
    for (protocol, payload) in [([0x65, 0x58], &inner), ([0, 4], &llc)] {
        let sll = [&[0; 14][..], &protocol, payload].concat();
        let sll2 = [&protocol[..], &[0; 18], payload].concat();
        for (link, bytes) in [(LinkType::LinuxSll, sll), (LinkType::LinuxSll2, sll2)] {
            let len = u32::try_from(bytes.len()).unwrap();
            let packet = decode(link, &bytes, len).unwrap();
            assert_eq!(packet.endpoints(), Some(ends(false)), "{link} {protocol:?}");
            assert_eq!(hello(&packet).payload, b"hello");
        }
    }
}

#[test]
fn what_cannot_be_passed_over_says_why() {
    let v4 = ip_packet(false);
    let vlans = |count: usize| [&[0x81, 0, 0, 5].repeat(count)[2..], &[8, 0], &v4].concat();
    let ppp = |protocol: [u8; 2]| [&[0x11, 0, 0, 9, 0, 4], &protocol[..], &[1, 1]].concat();
    let labels = |rest: &[u8]| [&[0, 0x10, 1, 64], rest].concat();
    let tags = [0x89, 0x26, 0, 1, 0, 2].repeat(20);
    for (ether_type, payload, expected) in [
        (0x8100, vlans(4), None),
        (0x8100, vlans(5), Some(Undecoded::TooDeep)),
        (0x8926, tags[2..].to_vec(), Some(Undecoded::TooDeep)),
        (0x0806, vec![0; 28], Some(Undecoded::NotIp)),
        (0x88e5, vec![0; 28], Some(Undecoded::EtherType(0x88e5))),
        // A spanning tree message, Cisco's discovery, and an unread EtherType within SNAP.
        (38, vec![0x42; 38], Some(Undecoded::NotIp)),
        (
            40,
            [&[0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0][..], &[0; 32]].concat(),
            Some(Undecoded::NotIp),
        ),
        (
            40,
            [&[0xaa, 0xaa, 3, 0, 0, 0, 0x88, 0xe5][..], &[0; 32]].concat(),
            Some(Undecoded::EtherType(0x88e5)),
        ),
        // What sets a link up carries no IP; compressed data might.
        (0x8864, ppp([0xc0, 0x21]), Some(Undecoded::NotIp)),
        (0x8864, ppp([0, 0xfd]), Some(Undecoded::EtherType(0x8864))),
        (0x8847, labels(&[0; 20]), Some(Undecoded::EtherType(0x8847))),
    ] {
        let bytes = ethernet(ether_type, &payload);
        let len = u32::try_from(bytes.len()).unwrap();
        let found = decode(LinkType::Ethernet, &bytes, len).err();
        assert_eq!(found, expected, "{ether_type:#x} {payload:02x?}");
    }
    // Cut off within a header.
    for (name, v6, bytes) in wrapped() {
        let len = u32::try_from(bytes.len()).unwrap();
        for cut in ETHERNET_BYTES..bytes.len() {
            match decode(LinkType::Ethernet, &bytes[..cut], len) {
                Ok(packet) if packet.tunnels.to_string() == name => {
                    let ends = packet.endpoints().is_none_or(|found| found == ends(v6));
                    assert!(ends, "{name} cut to {cut}");
                }
                Ok(_) | Err(Undecoded::Malformed) => {}
                Err(other) => panic!("{name} cut to {cut}: {other}"),
            }
        }
    }
}

#[test]
fn only_so_many_encapsulations_are_unwrapped() {
    let mut packet = ip_packet(false);
    for depth in 1..=MAX_TUNNELS + 1 {
        let bytes = outer_ip(4, &packet);
        packet = bytes[ETHERNET_BYTES..].to_vec();
        let found = decode(LinkType::RawIp, &packet, 0).unwrap();
        assert_eq!(found.tunnels.iter().count(), depth.min(MAX_TUNNELS));
        let deepest = matches!(found.transport, Transport::Other(4));
        assert_eq!(deepest, depth > MAX_TUNNELS);
    }
}
