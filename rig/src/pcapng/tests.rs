//! Reader and writer together: what is written comes back, and nothing that is read panics.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapTsResolution, PcapWriter};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, Endianness};
use proptest::prelude::*;

use super::*;
use crate::units::Timestamp;
use crate::wire::LinkType;

fn interface(name: &str) -> Interface {
    Interface {
        name: name.to_owned(),
        description: String::new(),
        link: LinkType::Ethernet,
        snaplen_bytes: 0,
    }
}

fn sample_records() -> Vec<Record<'static>> {
    let comments = vec!["first".to_owned(), "zweiter \u{1f642}".to_owned()];
    vec![
        Record {
            direction: Some(Direction::Outbound),
            ..Record::new(
                InterfaceId(0),
                Timestamp(1_700_000_000_123_456_789),
                b"abcde",
            )
        },
        Record {
            comments: Cow::Owned(comments),
            orig_len_bytes: 1500,
            ..Record::new(
                InterfaceId(1),
                Timestamp(1_700_000_000_123_456_790),
                b"cut off",
            )
        },
        Record {
            direction: Some(Direction::Inbound),
            ..Record::new(InterfaceId(0), Timestamp(1_700_000_001_000_000_000), b"")
        },
    ]
}

#[test]
fn what_became_of_packets_is_data_and_comments_are_not() {
    let mut writer = Writer::new(Vec::new(), &sample_section()).unwrap();
    let id = writer.add_interface(&interface("a")).unwrap();
    let comments = [
        "lost on link a: loss",
        "never arrives: b",
        "rig packet lost",
    ];
    let comments = comments.map(str::to_owned);
    let deliveries = || Delivery::ALL.into_iter().map(Some).chain([None]);
    for delivery in deliveries() {
        let record = Record {
            comments: Cow::Borrowed(&comments),
            delivery,
            ..Record::new(id, Timestamp(1), b"abcde")
        };
        writer.write(&record).unwrap();
    }
    let file = writer.finish().unwrap();
    let mut reader = Reader::new(&file[..]).unwrap();
    for delivery in deliveries() {
        let record = reader.next_frame().unwrap().record;
        assert_eq!(record.delivery, delivery);
        assert_eq!(*record.comments, comments);
    }
    assert_eq!(reader.next_frame(), None);
}

fn sample_names() -> Vec<(IpAddr, String)> {
    vec![
        (IpAddr::from([10, 0, 0, 1]), "alice".to_owned()),
        (
            IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 2]),
            "bob".to_owned(),
        ),
    ]
}

fn sample_section() -> Section {
    Section {
        hardware: String::new(),
        os: "Linux".to_owned(),
        application: "rig".to_owned(),
        comment: "cell a=b".to_owned(),
    }
}

fn sample_file() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &sample_section()).unwrap();
    writer.add_interface(&interface("alice@lan")).unwrap();
    writer.add_interface(&interface("bob@lan")).unwrap();
    writer.names(&sample_names()).unwrap();
    for record in sample_records() {
        writer.write(&record).unwrap();
    }
    let statistics = Statistics {
        received: 7,
        dropped: 2,
    };
    writer
        .statistics(InterfaceId(1), Timestamp(5), &statistics)
        .unwrap();
    writer.finish().unwrap()
}

fn read_all(bytes: &[u8]) -> (Vec<(u64, Record<'static>)>, Option<Stop>) {
    let mut reader = Reader::new(bytes).unwrap();
    let mut records = Vec::new();
    while let Some(frame) = reader.next_frame() {
        records.push((frame.number, frame.record.into_owned()));
    }
    (records, reader.stop().cloned())
}

#[test]
fn what_is_written_is_read() {
    let file = sample_file();
    let mut reader = Reader::new(&file[..]).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame() {
        frames.push((frame.number, frame.record.into_owned()));
    }
    let expected: Vec<_> = (1..).zip(sample_records()).collect();
    assert_eq!(frames, expected);
    assert_eq!(reader.stop(), None);
    assert_eq!(reader.sections(), [sample_section()]);
    assert_eq!(reader.names(), sample_names());
    let labels: Vec<_> = reader.interfaces().map(|i| i.name.as_str()).collect();
    assert_eq!(labels, ["alice@lan", "bob@lan"]);
    let statistics = Statistics {
        received: 7,
        dropped: 2,
    };
    assert_eq!(
        reader.statistics(),
        [(InterfaceId(1), Timestamp(5), statistics)]
    );
}

#[test]
fn the_library_reads_the_same_packets() {
    let file = sample_file();
    let mut theirs = PcapNgReader::new(&file[..]).unwrap();
    let mut packets = Vec::new();
    while let Some(block) = theirs.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap().0 {
            let at = u64::try_from(packet.timestamp.as_nanos()).unwrap();
            packets.push((Timestamp(at), packet.data.into_owned()));
        }
    }
    let (ours, _) = read_all(&file);
    let ours: Vec<_> = ours
        .into_iter()
        .map(|(_, r)| (r.at, r.data.into_owned()))
        .collect();
    assert_eq!(ours, packets);
}

#[test]
fn names_and_texts_that_the_format_cannot_hold_are_cut() {
    let long = "\u{e9}".repeat(40_000);
    let section = Section {
        comment: long.clone(),
        ..Section::default()
    };
    let mut writer = Writer::new(Vec::new(), &section).unwrap();
    writer.add_interface(&interface(&long)).unwrap();
    let names = [
        (IpAddr::from([1, 2, 3, 4]), "a\0b".to_owned()),
        (IpAddr::from([1, 2, 3, 5]), "\0".to_owned()),
        (IpAddr::from([1, 2, 3, 6]), long),
    ];
    writer.names(&names).unwrap();
    let file = writer.finish().unwrap();
    let mut reader = Reader::new(&file[..]).unwrap();
    assert!(reader.next_frame().is_none());
    assert_eq!(reader.stop(), None);
    assert_eq!(reader.sections()[0].comment.len(), 65_534);
    let lengths: Vec<_> = reader.names().iter().map(|(_, n)| n.len()).collect();
    assert_eq!(lengths, [1, 65_518]);
}

#[test]
fn a_file_cut_anywhere_gives_what_came_before() {
    let file = sample_file();
    let whole = read_all(&file).0;
    let mut stops = 0;
    for len in 12..file.len() {
        let (records, stop) = read_all(&file[..len]);
        assert_eq!(records[..], whole[..records.len()], "cut after {len}");
        if let Some(stop) = stop {
            assert_eq!(stop.frames, records.len() as u64);
            assert!(stop.offset <= len as u64);
            assert!(
                matches!(stop.reason, StopReason::Truncated { .. }),
                "{stop}"
            );
            stops += 1;
        }
    }
    // Only a cut between two blocks cannot be noticed, and there are eight blocks.
    assert_eq!(stops, file.len() - 12 - 7);
}

#[test]
fn what_is_no_capture_is_said_so() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "empty"),
        (b"ab", "2 bytes"),
        (b"hello, world of bytes and more", "neither pcap nor pcapng"),
        (
            &[0x1f, 0x8b, 8, 0, 0, 0],
            "the gzip data are cut off after 6 bytes",
        ),
        (&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0], "8 bytes"),
        (&[0x0a, 0x0d, 0x0d, 0x0a, 28, 0], "6 bytes"),
    ];
    for (bytes, part) in cases {
        let error = Reader::new(bytes).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// A block in big-endian byte order.
fn big_endian_block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
    let len = u32::try_from(body.len() + padding.len() + 12)
        .unwrap()
        .to_be_bytes();
    [&kind.to_be_bytes()[..], &len, body, &padding, &len].concat()
}

/// Fields of four bytes, big-endian.
fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

#[test]
fn sections_of_either_byte_order_follow_each_other() {
    let section = words(&[0x1a2b_3c4d, 0x0001_0000, u32::MAX, u32::MAX]);
    // Microseconds by default; then milliseconds of an interface with a name and a reserved bit.
    let plain = words(&[0x0071_0000, 0]);
    let odd = [
        &words(&[0x0001_0001, 3])[..],
        &[0, 2, 0, 3, b'w', b'a', b'n', 0, 0, 9, 0, 1, 3, 0, 0, 0],
    ]
    .concat();
    let packet = |interface: u32, captured: u32, data: &[u8]| {
        [&words(&[interface, 0, 1_500, captured, 60])[..], data].concat()
    };
    let mut file = sample_file();
    for (kind, body) in [
        (0x0a0d_0d0a, section),
        (1, plain),
        (1, odd),
        (6, packet(0, 3, b"abc")),
        (0x0bad, words(&[32_473])),
        (0x1234, b"unknown".to_vec()),
        (2, packet(1 << 16, 2, b"de")),
        (3, [&words(&[4])[..], b"fghi"].concat()),
    ] {
        file.extend(big_endian_block(kind, &body));
    }
    let mut reader = Reader::new(&file[..]).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame() {
        let record = frame.record;
        let data = String::from_utf8(record.data.into_owned()).unwrap();
        frames.push((
            frame.number,
            frame.link,
            record.interface.0,
            record.at.0,
            data,
        ));
    }
    assert_eq!(reader.stop(), None);
    // Three frames of the first section, then a packet, a custom block that counts as a frame, an
    // obsolete packet block and a simple one, which has no time.
    let expected = [
        (4, LinkType::LinuxSll, 2, 1_500_000, "abc"),
        (6, LinkType::Ethernet, 3, 1_500_000_000, "de"),
        (7, LinkType::LinuxSll, 2, 0, "fghi"),
    ];
    assert_eq!(
        frames[3..],
        expected.map(|(n, l, i, t, d)| (n, l, i, t, d.to_owned()))
    );
    assert_eq!(reader.interface(InterfaceId(3)).unwrap().name, "wan");
    assert_eq!(reader.sections().len(), 2);
}

#[test]
fn pcap_is_read_in_either_byte_order_and_resolution() {
    for endianness in [Endianness::Big, Endianness::Little] {
        for (ts_resolution, ns) in [
            (PcapTsResolution::MicroSecond, 1_000_002_000),
            (PcapTsResolution::NanoSecond, 1_000_002_345),
        ] {
            let header = PcapHeader {
                endianness,
                ts_resolution,
                datalink: DataLink::RAW,
                ..PcapHeader::default()
            };
            let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
            let at = Duration::from_nanos(1_000_002_345);
            writer
                .write_packet(&PcapPacket::new(at, 9, b"packet").unwrap())
                .unwrap();
            let file = writer.into_inner();
            let (records, stop) = read_all(&file);
            assert_eq!(stop, None);
            assert_eq!(records.len(), 1);
            let (number, record) = &records[0];
            assert_eq!(
                (*number, record.at, record.orig_len_bytes),
                (1, Timestamp(ns), 9)
            );
            assert_eq!(record.data, &b"packet"[..]);
            let mut reader = Reader::new(&file[..]).unwrap();
            assert_eq!(reader.next_frame().unwrap().link, LinkType::RawIp);
            let cut = read_all(&file[..file.len() - 1]).1.unwrap();
            let reason = StopReason::Truncated { need: 22, have: 21 };
            assert_eq!((cut.offset, cut.frames, cut.reason), (24, 0, reason));
        }
    }
}

#[test]
fn modified_pcap_files_have_longer_packet_headers() {
    for big in [false, true] {
        let bytes = |value: u32| {
            if big {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            }
        };
        let header = [0xa1b2_cd34, 0, 0, 0, 65_535, 1].map(bytes).concat();
        let packet = |kind: u8, data: &[u8]| {
            let len = u32::try_from(data.len()).unwrap();
            let usual = [5, 7, len, 1500].map(bytes).concat();
            // Index of the interface, protocol, kind of packet, padding.
            [&usual[..], &[0, 0, 0, 2, 8, 0, kind, 0], data].concat()
        };
        let file = [header, packet(0, b"come"), packet(4, b"gone")].concat();
        let (records, stop) = read_all(&file);
        assert_eq!(stop, None);
        let seen: Vec<_> = records
            .iter()
            .map(|(number, r)| (*number, r.at.0, r.direction, r.orig_len_bytes, &r.data[..]))
            .collect();
        let at = 5_000_007_000;
        assert_eq!(
            seen,
            [
                (1, at, Some(Direction::Inbound), 1500, &b"come"[..]),
                (2, at, Some(Direction::Outbound), 1500, &b"gone"[..]),
            ]
        );
    }
}

/// A pcap file of a version: `head` has seconds, their parts and two lengths, and `more` is what stands
/// between that and the packet.
fn pcap(
    magic: u32,
    [major, minor]: [u16; 2],
    link: u32,
    packets: &[([u32; 4], &[u8], &[u8])],
) -> Vec<u8> {
    let version = u32::from(minor) << 16 | u32::from(major);
    let mut file: Vec<u8> = [magic, version, 0, 0, 65_535, link]
        .map(u32::to_le_bytes)
        .concat();
    for (head, more, data) in packets {
        file.extend(head.map(u32::to_le_bytes).concat());
        file.extend_from_slice(more);
        file.extend_from_slice(data);
    }
    file
}

#[test]
fn kinds_of_pcap_files_are_told_apart_by_their_packets() {
    const NOW: u32 = 1_700_000_000;
    const USUAL: u32 = 0xa1b2_c3d4;
    const PATCHED: u32 = 0xa1b2_cd34;
    let nokia = [0x9f, 0xbf, 0xb6, 0x01];
    let april = [0, 0, 0, 2, 8, 0, 4, 0];
    let september = [0, 0, 0, 2, 8, 0, 4, 0, 0, 0, 0, 0];
    for (magic, more, direction) in [
        (USUAL, &[][..], None),
        (USUAL, &nokia, None),
        (USUAL, &april, Some(Direction::Outbound)),
        (PATCHED, &april, Some(Direction::Outbound)),
        (PATCHED, &september, Some(Direction::Outbound)),
    ] {
        let packet = |data: &'static [u8]| {
            let len = u32::try_from(data.len()).unwrap();
            ([NOW, 5, len, 1500], more, data)
        };
        let packets = [
            packet(b"a first packet"),
            packet(b"the second"),
            packet(b""),
        ];
        let file = pcap(magic, [2, 4], 1, &packets);
        let (records, stop) = read_all(&file);
        assert_eq!(stop, None, "{magic:x} {more:?}");
        let seen = records.iter().map(|(_, record)| &record.data[..]);
        let expected = packets.iter().map(|(.., data)| *data);
        assert!(seen.eq(expected), "{magic:x} {more:?}");
        assert!(
            records
                .iter()
                .all(|(_, record)| record.direction == direction)
        );
        // Cut off behind the second packet.
        let begun = file.len() - more.len() - 16;
        assert_eq!(read_all(&file[..begun]).0.len(), 2);
    }
}

#[test]
fn a_usual_pcap_file_is_not_taken_for_a_rarer_kind() {
    const USUAL: u32 = 0xa1b2_c3d4;
    // A destination address that is a possible length for a header four bytes longer.
    const FRAME: &[u8] = b"\x00\x11\x22\x33\x44\x02 and the rest of a frame";
    let len = u32::try_from(FRAME.len()).unwrap();
    for (seconds, microseconds) in [
        // A device that learnt the time between two packets, and one with too many microseconds.
        ([31, 1_700_000_000], 9),
        ([31, 32], 1_000_009),
    ] {
        let [first, second] = seconds;
        let packets = [
            ([first, 9, len, len], &[][..], FRAME),
            ([second, microseconds, len, len], &[], FRAME),
        ];
        let (records, stop) = read_all(&pcap(USUAL, [2, 4], 1, &packets));
        assert_eq!(stop, None, "{seconds:?}");
        assert!(records.iter().all(|(_, record)| record.data == FRAME));
        assert_eq!(records.len(), 2, "{seconds:?}");
    }
}

#[test]
fn lengths_are_read_in_the_order_of_the_version() {
    const USUAL: u32 = 0xa1b2_c3d4;
    for (version, lengths) in [
        ([2, 4], [4, 1500]),
        ([2, 3], [4, 1500]),
        ([2, 3], [1500, 4]),
        ([2, 2], [1500, 4]),
        ([543, 0], [1500, 4]),
    ] {
        let packet = ([5, 7, lengths[0], lengths[1]], &[][..], &b"data"[..]);
        let file = pcap(USUAL, version, 1, &[packet, packet]);
        let (records, stop) = read_all(&file);
        assert_eq!((records.len(), stop), (2, None), "{version:?} {lengths:?}");
        for (_, record) in records {
            assert_eq!(record.orig_len_bytes, 1500);
            assert_eq!(record.data[..], *b"data");
            assert_eq!(record.at, Timestamp(5_000_007_000));
        }
    }
    // AIX has numbers of its own for link types, and nanoseconds.
    for (number, link) in [(6, LinkType::Ethernet), (24, LinkType::Null)] {
        let file = pcap(USUAL, [2, 2], number, &[([5, 7, 1500, 4], &[], b"data")]);
        let mut reader = Reader::new(&file[..]).unwrap();
        let frame = reader.next_frame().unwrap();
        assert_eq!(
            (frame.link, frame.record.at),
            (link, Timestamp(5_000_000_007))
        );
    }
}

#[test]
fn files_that_wireshark_reads_are_called_by_their_name() {
    for (first, name) in [
        (&b"snoop\0\0\0\0\0\0\x02"[..], "snoop"),
        (b"GMBU\0\0", "Microsoft Network Monitor 2"),
        (b"\xac\x01\x00\x1c\x02\x00", "Ixia"),
    ] {
        let error = Reader::new(first).unwrap_err();
        assert!(matches!(error, OpenError::OfAnotherKind(kind) if kind == name));
        assert!(error.to_string().contains("editcap -F pcapng"));
    }
}

#[test]
fn blocks_of_an_odd_length_are_read_on() {
    const DATA: &[u8] = b"five!";
    let records = [Record::new(InterfaceId(0), Timestamp(7), DATA)];
    let mut writer = Writer::new(Vec::new(), &Section::default()).unwrap();
    writer.add_interface(&interface("eth0")).unwrap();
    let begun = writer.finish().unwrap();
    let block = |claimed: u32, padding: usize, told: u32| {
        let head = [6, claimed, 0, 0, 0, 5, 5].map(u32::to_le_bytes).concat();
        [&head[..], DATA, &vec![0; padding], &told.to_le_bytes()].concat()
    };
    let aligned = block(40, 3, 40);
    // Without padding, and with padding that is not counted.
    for odd in [block(37, 0, 37), block(37, 3, 37)] {
        let file = [&begun[..], &odd, &aligned, &odd].concat();
        let mut reader = Reader::new(&file[..]).unwrap();
        for number in 1..=3 {
            let frame = reader.next_frame().unwrap();
            assert_eq!(frame.number, number);
            assert_eq!(frame.record.data, records[0].data);
        }
        assert!(reader.next_frame().is_none());
        assert_eq!((reader.stop(), reader.unaligned_blocks()), (None, 2));
        // Cut off within the last block.
        let (records, stop) = read_all(&file[..file.len() - 2]);
        assert_eq!(records.len(), 2);
        let (need, have) = (odd.len() as u64, odd.len() as u64 - 2);
        let reason = StopReason::Truncated { need, have };
        assert_eq!(stop.unwrap().reason, reason);
    }
    // A length that contradicts itself, or holds less than the packet claims, is no block.
    for (spoiled, differs) in [
        (block(37, 0, 36), true),
        (block(40, 3, 37), true),
        (block(36, 0, 36), true),
        (block(33, 0, 33), true),
        (block(11, 0, 11), false),
    ] {
        let file = [&begun[..], &aligned, &spoiled, &aligned].concat();
        let (records, stop) = read_all(&file);
        let stop = stop.unwrap();
        assert_eq!((records.len(), stop.frames), (1, 1));
        assert_eq!(stop.offset, (begun.len() + aligned.len()) as u64);
        assert_eq!(
            matches!(stop.reason, StopReason::LengthsDiffer(..)),
            differs,
            "{stop}"
        );
    }
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

#[test]
fn compressed_files_are_read_as_though_they_were_not() {
    let file = sample_file();
    let whole = read_all(&file);
    assert_eq!(read_all(&gzip(&file)), whole);
    assert_eq!(read_all(&zstd(&file)), whole);
    assert_eq!(read_all(&lz4(&file)), whole);
    // Compressed files may be joined as plain ones may.
    let joined = [gzip(&file), gzip(&file)].concat();
    assert_eq!(read_all(&joined).0.len(), 2 * whole.0.len());
    let joined = [lz4(&file), lz4(&file)].concat();
    assert_eq!(read_all(&joined).0.len(), 2 * whole.0.len());
    let joined = [zstd(&file), zstd(&file)].concat();
    assert_eq!(read_all(&joined).0.len(), 2 * whole.0.len());
    let twice = Reader::new(&gzip(&gzip(&file))[..]).unwrap_err();
    assert_eq!(
        twice.to_string(),
        "it is compressed with gzip: unpack it first"
    );
    let legacy = Reader::new(&[0x02, 0x21, 0x4c, 0x18, 0, 0][..]).unwrap_err();
    assert_eq!(
        legacy.to_string(),
        "it is compressed with lz4 in its legacy format: unpack it first"
    );
}

#[test]
fn a_compressed_file_cut_anywhere_gives_what_came_before() {
    let file = sample_file();
    let whole = read_all(&file).0;
    for packed in [gzip(&file), lz4(&file), zstd(&file)] {
        let mut most = 0;
        for len in 4..packed.len() {
            let Ok(mut reader) = Reader::new(&packed[..len]) else {
                continue;
            };
            let mut records = Vec::new();
            while let Some(frame) = reader.next_frame() {
                records.push((frame.number, frame.record.into_owned()));
            }
            assert_eq!(records[..], whole[..records.len()], "cut after {len}");
            let stop = reader.stop().unwrap().to_string();
            let cut_off = format!("data are cut off after {len} bytes");
            assert!(stop.ends_with(&cut_off), "{stop}");
            assert!(stop.contains("of the unpacked file: "), "{stop}");
            most = most.max(records.len());
        }
        // Without the checksum at the end, all packets are there.
        assert_eq!(most, whole.len());
    }
}

#[test]
fn large_blocks_without_packets_are_passed_over() {
    let mut file = sample_file();
    let before = read_all(&file).0.len();
    let large = vec![0; MAX_BLOCK_BYTES + 4];
    let mut reader_file = file.clone();
    let (unknown, packet) = (0x1234_u32, 6_u32);
    let block = |kind: u32| {
        let len = u32::try_from(large.len() + 12).unwrap().to_ne_bytes();
        [&kind.to_ne_bytes()[..], &len, &large, &len].concat()
    };
    file.extend(block(unknown));
    file.extend(sample_file());
    let (records, stop) = read_all(&file);
    assert_eq!((records.len(), stop), (2 * before, None));
    reader_file.extend(block(packet));
    let (records, stop) = read_all(&reader_file);
    assert_eq!(records.len(), before);
    assert!(matches!(stop.unwrap().reason, StopReason::BlockLength(_)));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(mut reader) = Reader::new(&bytes[..]) {
            while reader.next_frame().is_some() {}
        }
    }

    #[test]
    fn a_spoiled_compressed_file_never_panics(at in 0..1000_usize, value: u8, packer in 0..3) {
        let file = sample_file();
        let mut packed = match packer {
            0 => gzip(&file),
            1 => lz4(&file),
            _ => zstd(&file),
        };
        let at = at % packed.len();
        packed[at] = value;
        if let Ok(mut reader) = Reader::new(&packed[..]) {
            while reader.next_frame().is_some() {}
        }
    }

    #[test]
    fn a_spoiled_file_never_panics(at in 0..1000_usize, value: u8) {
        let mut file = sample_file();
        let at = at % file.len();
        file[at] = value;
        if let Ok(mut reader) = Reader::new(&file[..]) {
            let mut records = 0_u64;
            while reader.next_frame().is_some() {
                records += 1;
            }
            // No byte of the file can make more packets of it than there are blocks.
            prop_assert!(records <= 8);
        }
    }
}
