//! The captures of `captures/`, made here packet by packet: the examples of docs/patterns.md and the
//! tests of `rig check` run on them. `UPDATE_CASES=1` writes them anew.

#![expect(
    clippy::unwrap_used,
    reason = "what cannot be made or read ends the test"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use etherparse::TcpOptionElement;
use rig::pcapng::{Frame, Interface, InterfaceId, Reader, Record, Section, Writer};
use rig::units::Timestamp;
use rig::wire::LinkType;
use rig::wire::synth::Segment;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// A segment: milliseconds since the first, whether the initiator sends it, flags and payload.
type Step = (u64, bool, u8, &'static str);

/// An orderly close, the responder first.
const ORDERLY: &[Step] = &[
    (0, true, SYN, ""),
    (1, false, SYN | ACK, ""),
    (2, true, ACK, ""),
    (5, false, PSH | ACK, "who are you?\n"),
    (6, true, ACK, ""),
    (400, true, PSH | ACK, "quit"),
    (401, false, ACK, ""),
    (402, false, PSH | ACK, "goodbye\n"),
    (403, false, FIN | ACK, ""),
    (404, true, ACK, ""),
    (405, true, FIN | ACK, ""),
    (406, false, ACK, ""),
];
/// Nobody listens.
const REFUSED: &[Step] = &[(0, true, SYN, ""), (1, false, RST | ACK, "")];
/// Nobody answers.
const SILENT: &[Step] = &[
    (0, true, SYN, ""),
    (1010, true, SYN, ""),
    (3030, true, SYN, ""),
];
/// The responder's program ends with data unread.
const RESET: &[Step] = &[
    (0, true, SYN, ""),
    (1, false, SYN | ACK, ""),
    (2, true, ACK, ""),
    (10, true, PSH | ACK, "twelve bytes"),
    (11, false, ACK, ""),
    (900, false, RST | ACK, ""),
];

/// Every capture by its name.
const CAPTURES: [(&str, &[Step]); 4] = [
    ("orderly", ORDERLY),
    ("refused", REFUSED),
    ("silent", SILENT),
    ("reset", RESET),
];

/// Where a capture is.
pub(crate) fn path(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/rig/captures");
    PathBuf::from(folder).join(format!("{name}.pcapng"))
}

#[test]
fn captures_are_as_they_are_made_here() {
    for (name, steps) in CAPTURES {
        let made = capture(steps);
        if std::env::var_os("UPDATE_CASES").is_some() {
            std::fs::write(path(name), &made).unwrap();
        }
        let kept = std::fs::read(path(name)).unwrap();
        assert_eq!(records(&kept), records(&made), "{name}");
    }
}

fn records(file: &[u8]) -> Vec<Record<'static>> {
    let mut reader = Reader::new(file).unwrap();
    let mut records = Vec::new();
    while let Some(Frame { record, .. }) = reader.next_frame() {
        records.push(record.into_owned());
    }
    assert_eq!(reader.stop(), None);
    records
}

/// A conversation between alice (10.0.0.11:40000) and a program on hub (10.0.0.10:15102).
fn capture(steps: &[Step]) -> Vec<u8> {
    let alice: SocketAddr = "10.0.0.11:40000".parse().unwrap();
    let hub: SocketAddr = "10.0.0.10:15102".parse().unwrap();
    let section = Section {
        application: "rig".to_owned(),
        ..Section::default()
    };
    let mut writer = Writer::new(Vec::new(), &section).unwrap();
    let interface = Interface {
        name: "hub@lan".to_owned(),
        description: String::new(),
        link: LinkType::Ethernet,
        snaplen_bytes: 0,
    };
    let interface: InterfaceId = writer.add_interface(&interface).unwrap();
    let names = [(alice, "alice"), (hub, "hub")].map(|(at, name)| (at.ip(), name.to_owned()));
    writer.names(&names).unwrap();
    // Next sequence numbers of both sides, the initiator's first.
    let mut next = [1_000_u32, 5_000];
    for &(at_ms, initiates, flags, payload) in steps {
        let (from, to) = if initiates {
            (alice, hub)
        } else {
            (hub, alice)
        };
        let (own, peer) = if initiates { (0, 1) } else { (1, 0) };
        let options = [TcpOptionElement::MaximumSegmentSize(1460)];
        let segment = Segment {
            // A repeated SYN has the number of the first.
            seq: if flags == SYN { 1_000 } else { next[own] },
            ack: if flags & ACK == 0 { 0 } else { next[peer] },
            flags,
            options: if flags & SYN == 0 { &[] } else { &options },
            payload: payload.as_bytes(),
            ..Segment::new(from, to)
        };
        let length = u32::try_from(payload.len()).unwrap();
        let counted = length + u32::from(flags & (SYN | FIN) != 0);
        next[own] = segment.seq.wrapping_add(counted);
        let since_epoch = Duration::from_secs(1_700_000_000) + Duration::from_millis(at_ms);
        let at = Timestamp(u64::try_from(since_epoch.as_nanos()).unwrap());
        let bytes = segment.bytes();
        let record = Record::new(interface, at, &bytes);
        writer.write(&record).unwrap();
    }
    writer.finish().unwrap()
}
