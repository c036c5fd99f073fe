//! `rig flows` on captures that are compressed, wrapped, in pieces and spoiled.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use insta::assert_snapshot;
use rig::pcapng::{Direction, Interface, Record, Section, Writer};
use rig::units::Timestamp;
use rig::wire::LinkType;
use rig::wire::synth::{self, Segment};

use super::flows::{gzip, loopback, shown};

fn flows(arguments: &[&str], capture: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
    command.arg("flows").args(arguments).arg("-");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(capture).unwrap();
    child.wait_with_output().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn capture(frames: &[(Option<Direction>, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &Section::default()).unwrap();
    let interface = Interface {
        name: "wan".to_owned(),
        description: String::new(),
        link: LinkType::Ethernet,
        snaplen_bytes: 0,
    };
    let id = writer.add_interface(&interface).unwrap();
    for (at_s, (direction, bytes)) in (1_700_000_000..).zip(frames) {
        let record = Record {
            direction: *direction,
            ..Record::new(id, Timestamp(at_s * 1_000_000_000), bytes)
        };
        writer.write(&record).unwrap();
    }
    writer.finish().unwrap()
}

fn client() -> SocketAddr {
    "192.0.2.1:40000".parse().unwrap()
}

fn server() -> SocketAddr {
    "192.0.2.2:15102".parse().unwrap()
}

/// A segment from the client, or back.
fn segment(forth: bool, flags: u8, [seq, ack]: [u32; 2], payload: &[u8]) -> Vec<u8> {
    let (from, to) = if forth {
        (client(), server())
    } else {
        (server(), client())
    };
    Segment {
        seq,
        ack,
        flags,
        payload,
        ..Segment::new(from, to)
    }
    .bytes()
}

/// A connection that is refused.
fn refused() -> [Vec<u8>; 2] {
    [
        segment(true, 0x02, [7, 0], b""),
        segment(false, 0x14, [0, 8], b""),
    ]
}

fn vxlan(frame: &[u8]) -> Vec<u8> {
    let payload = [&[8, 0, 0, 0, 0, 0, 7, 0][..], frame].concat();
    let (from, to) = ("198.51.100.1:50000", "198.51.100.2:4789");
    synth::udp(from.parse().unwrap(), to.parse().unwrap(), &payload)
}

/// An ICMP message of a router about a frame.
fn icmp(icmp_type: u8, code: u8, about: &[u8]) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]);
    let builder = builder.ipv4([203, 0, 113, 9], [192, 0, 2, 1], 64);
    let quoted = &about[14..about.len().min(14 + 28)];
    let message = [&[icmp_type, code, 0, 0, 0, 0, 0, 0][..], quoted].concat();
    let mut bytes = Vec::new();
    let protocol = etherparse::ip_number::ICMP;
    builder.write(&mut bytes, protocol, &message).unwrap();
    bytes
}

/// An IPv4 packet in two fragments.
fn fragments(frame: &[u8]) -> [Vec<u8>; 2] {
    const FIRST_BYTES: usize = 64;
    let (header, payload) = frame.split_at(34);
    let piece = |offset: usize, more: u8, payload: &[u8]| {
        let mut bytes = [header, payload].concat();
        let len = u16::try_from(20 + payload.len()).unwrap();
        bytes[16..18].copy_from_slice(&len.to_be_bytes());
        bytes[20] = more;
        bytes[21] = u8::try_from(offset / 8).unwrap();
        bytes[24..26].fill(0);
        bytes
    };
    let (first, second) = payload.split_at(FIRST_BYTES);
    [piece(0, 0x20, first), piece(FIRST_BYTES, 0, second)]
}

#[test]
fn compressed_captures_are_read_from_files_and_pipes() {
    let whole = std::fs::read(loopback()).unwrap();
    let plain = flows(&["--json"], &whole);
    assert!(!plain.stdout.is_empty());
    for packed in [gzip(&whole), lz4(&whole), zstd(&whole)] {
        assert_eq!(flows(&["--json"], &packed), plain);
        let folder = tempfile::tempdir().unwrap();
        // The name does not matter, the first bytes do.
        let path = folder.path().join("capture");
        std::fs::write(&path, &packed).unwrap();
        let output = super::flows::flows(&["--json"], &path);
        assert_eq!(output.stdout, plain.stdout);
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn a_damaged_compressed_capture_is_read_as_far_as_it_goes() {
    let mut frames: Vec<_> = refused().map(|frame| (None, frame)).to_vec();
    // What does not compress takes room.
    let noise: Vec<u8> = (0..60_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2])
        .collect();
    frames.push((None, segment(true, 0x18, [8, 1], &noise)));
    let packed = gzip(&capture(&frames));
    let half = packed.len() / 2;
    let shown = shown(&flows(&[], &packed[..half]), None);
    assert_snapshot!(shown.replace(&format!("{half} bytes"), "[half] bytes"));
}

#[test]
fn what_is_said_of_flows_beside_their_fate() {
    let [syn, rst] = refused();
    let mut spoiled = syn.clone();
    spoiled[50] ^= 1;
    let (from, to) = (
        "192.0.2.1:5000".parse().unwrap(),
        "192.0.2.2:53".parse().unwrap(),
    );
    let datagram = synth::udp(from, to, &[7; 100]);
    let mut header = datagram.clone();
    header[22] ^= 1;
    let [first, second] = fragments(&datagram);
    let frames = [
        (None, vxlan(&syn)),
        (Some(Direction::Outbound), spoiled.clone()),
        (None, vxlan(&rst)),
        (None, spoiled),
        (None, datagram.clone()),
        (None, icmp(3, 3, &datagram)),
        (None, icmp(3, 3, &datagram)),
        (None, icmp(11, 0, &syn)),
        (None, second),
        (None, first.clone()),
        (None, header),
        (None, first),
    ];
    let capture = capture(&frames);
    assert_snapshot!("remarks_as_columns", shown(&flows(&[], &capture), None));
    assert_snapshot!(
        "remarks_as_json",
        shown(&flows(&["--json"], &capture), None)
    );
}

/// A frame of an `EtherType`.
fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12], &ether_type.to_be_bytes()[..], payload].concat()
}

#[test]
fn tags_and_shims_do_not_hide_a_connection() {
    let frames = refused();
    let ip = |frame: &[u8]| frame[14..].to_vec();
    // One direction carries a tag, the other not.
    let tagged = [&[0, 1, 0, 2, 8, 0][..], &ip(&frames[0])].concat();
    let capture = capture(&[(None, ethernet(0x8926, &tagged)), (None, frames[1].clone())]);
    let shown = shown(&flows(&["--json"], &capture), None);
    assert!(shown.contains("\"conn_state\":\"REJ\""), "{shown}");
    assert!(shown.ends_with("--- stderr\n--- exit code 0"), "{shown}");
}

#[test]
fn what_is_not_read_is_told() {
    let [syn, rst] = refused();
    let encrypted = ethernet(0x88e5, &[0; 60]);
    let five_tags = ethernet(
        0x8100,
        &[&[0, 5, 0x81, 0].repeat(4)[..], &[0, 5, 8, 0], &syn[14..]].concat(),
    );
    let mut esp = Vec::new();
    etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .write(
            &mut esp,
            etherparse::ip_number::ENCAPSULATING_SECURITY_PAYLOAD,
            &[0; 40],
        )
        .unwrap();
    let unread = [encrypted.clone(), encrypted, five_tags, esp].map(|frame| (None, frame));
    let alone = shown(&flows(&[], &capture(&unread)), None);
    let with_a_flow = [&unread[..], &[(None, syn), (None, rst)]].concat();
    let with_a_flow = shown(&flows(&["--json"], &capture(&with_a_flow)), None);
    let told = "2 of EtherTypes that are not read (0x88e5), 1 of tunnels that are not read (ESP), 1 with more tags \
                or encapsulations than are read";
    for (output, begin) in [
        (alone, "no connection is in this capture; its packets"),
        (with_a_flow, "packets that are in no flow"),
    ] {
        let expected = format!("rig flows: stdin: {begin}: {told}\n--- exit code 0");
        assert!(output.ends_with(&expected), "{output}");
    }
}

#[test]
fn packets_cut_before_their_ports_are_told() {
    let [syn, rst] = refused();
    let mut writer = Writer::new(Vec::new(), &Section::default()).unwrap();
    let interface = Interface {
        name: String::new(),
        description: String::new(),
        link: LinkType::Ethernet,
        snaplen_bytes: 30,
    };
    let id = writer.add_interface(&interface).unwrap();
    for (len, frame) in [(30, &syn), (36, &rst), (10, &rst)] {
        let record = Record {
            orig_len_bytes: u32::try_from(frame.len()).unwrap(),
            ..Record::new(id, Timestamp(0), &frame[..len])
        };
        writer.write(&record).unwrap();
    }
    let output = flows(&["--json"], &writer.finish().unwrap());
    let told = shown(&output, None);
    let expected = "its packets: 3 cut off by the capture before their ports\n--- exit code 0";
    assert!(told.ends_with(expected), "{told}");
}

#[test]
fn blocks_of_an_odd_length_are_told_and_read() {
    let frames = refused().map(|frame| (None, frame));
    let mut file = capture(&frames);
    let [_, (_, rst)] = &frames;
    // Another RST, of 54 bytes, in a block without padding.
    let len = u32::try_from(rst.len()).unwrap();
    let total = 32 + len;
    let head = [6, total, 0, 0, 0, len, len].map(u32::to_le_bytes).concat();
    file.extend([&head[..], rst, &total.to_le_bytes()].concat());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.pcapng");
    std::fs::write(&path, &file).unwrap();
    let path = path.to_str().unwrap();
    let out = folder.path().join("out.pcapng");
    for arguments in [
        &["flows", path][..],
        &["check", path],
        &["learn", path],
        &["merge", path, "-o", out.to_str().unwrap()],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
        let output = command.args(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let told = "1 block has a length that is no multiple of four";
        assert!(stderr.contains(told), "{arguments:?}: {stderr}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
    }
}
