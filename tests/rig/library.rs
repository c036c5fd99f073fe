//! The library of named patterns against small captures: one file of `library/` a case. A new case is
//! a new file.
//!
//! A file has two sections, each begun by a line `== name`:
//!
//! - `segments`: one segment a line, `TIME DIRECTION FLAGS` and quoted payload where it has some.
//!   `again` repeats the sender's latest segment with these flags; `crossing` is sent before the peer's
//!   latest segment arrives, and so does not acknowledge it; `refusing` acknowledges the peer's SYN and none of its
//!   payload. Sequence numbers follow from that. `option=` gives the bytes of an option in hexadecimal digits.
//! - `result`: how the connection ended, and each pattern that it matches: the name alone, a handshake
//!   before anything, and every other name after `handshake ...`. `UPDATE_CASES=1` writes what came.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use rig::analysis::{Analyzer, Flow, Options};
use rig::pattern::{Library, Pattern};
use rig::units::{Timestamp, parse_duration};
use rig::wire::synth::Segment;
use rig::wire::{self, LinkType};

/// Where the cases are.
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/rig/library");

const SYN: u8 = 0x02;
const FIN: u8 = 0x01;
const ACK: u8 = 0x10;

#[test]
fn every_capture_matches_what_it_should() {
    let mut files: Vec<_> = std::fs::read_dir(CASES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut matched = BTreeSet::new();
    let mut wrong = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let (segments, expected) = text.split_once("\n== result\n").unwrap();
        let segments = segments.strip_prefix("== segments\n").unwrap();
        let came = result(&flow(segments), &mut matched);
        if came == expected {
            continue;
        }
        if std::env::var_os("UPDATE_CASES").is_some() {
            let kept = &text[..text.len() - expected.len()];
            std::fs::write(file, format!("{kept}{came}")).unwrap();
        } else {
            let name = Path::new(file).file_name().unwrap().display();
            wrong.push(format!("{name}: expected\n{expected}\ncame\n{came}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all: BTreeSet<_> = Library::builtin().names().map(str::to_owned).collect();
    let never: Vec<_> = all.difference(&matched).collect();
    assert!(never.is_empty(), "no capture matches {never:?}");
}

/// The fate of a flow and the patterns that it matches, whose names go to `matched`.
fn result(flow: &Flow, matched: &mut BTreeSet<String>) -> String {
    let mut out = format!("{} {}\n", flow.conn_state, flow.history);
    for name in Library::builtin().names() {
        let forms = match name {
            "handshake" | "mptcp-handshake" => vec![format!("{name} - ANY*")],
            name => vec![name.to_owned(), format!("handshake ... {name}")],
        };
        for form in forms {
            if Pattern::parse(&form).unwrap().matches(&flow.events).is_ok() {
                matched.insert(name.to_owned());
                writeln!(out, "{form}").unwrap();
            }
        }
    }
    out
}

/// What one side has sent.
#[derive(Default)]
struct Sent {
    /// Its next sequence number, and the one before its latest segment.
    next: u32,
    before: u32,
    /// Flags, sequence and acknowledgement number and payload of each segment.
    segments: Vec<(u8, u32, u32, String)>,
}

/// The one connection of the segments, through their bytes.
fn flow(text: &str) -> Flow {
    let ends: [SocketAddr; 2] =
        ["10.0.0.11:40000", "10.0.0.10:15102"].map(|end| end.parse().unwrap());
    let mut sides = [1_000, 5_000].map(|next| Sent {
        next,
        before: next,
        segments: Vec::new(),
    });
    let mut analyzer = Analyzer::new(Options {
        keep_events: true,
        keep_payload: true,
    });
    for (line, frame) in text.lines().filter(|line| !line.trim().is_empty()).zip(1..) {
        let mut words = line.split_whitespace();
        let at = parse_duration(words.next().unwrap()).unwrap();
        let own = usize::from(words.next().unwrap() == "<");
        let flags = flags(words.next().unwrap());
        let payload = line.split('"').nth(1).unwrap_or_default();
        let (seq, ack, payload) = if line.ends_with(" again") {
            let mut earlier = sides[own].segments.iter().rev();
            let found = earlier.find(|sent| sent.0 == flags).unwrap();
            (found.1, found.2, found.3.clone())
        } else {
            if line.ends_with(" refusing") {
                let peer = &mut sides[1 - own];
                peer.next = peer.segments[0].1 + 1;
            }
            let peer = &sides[1 - own];
            let seen = if line.ends_with(" crossing") {
                peer.before
            } else {
                peer.next
            };
            let ack = if flags & ACK == 0 { 0 } else { seen };
            let counted = u32::from(flags & (SYN | FIN) != 0);
            let length = u32::try_from(payload.len()).unwrap();
            let side = &mut sides[own];
            let seq = side.next;
            side.before = seq;
            side.next = seq + length + counted;
            side.segments.push((flags, seq, ack, payload.to_owned()));
            (seq, ack, payload.to_owned())
        };
        let option = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("option="));
        let option = option.map_or_else(Vec::new, crate::support::scripts::bytes);
        let bytes = Segment {
            seq,
            ack,
            flags,
            payload: payload.as_bytes(),
            other_options: &option,
            ..Segment::new(ends[own], ends[1 - own])
        }
        .bytes();
        let length = u32::try_from(bytes.len()).unwrap();
        let packet = wire::decode(LinkType::Ethernet, &bytes, length).unwrap();
        let at = Timestamp(u64::try_from(at.as_nanos()).unwrap());
        analyzer.push(frame, at, &packet);
    }
    let mut flows = analyzer.finish();
    assert_eq!(flows.len(), 1, "{text}");
    flows.remove(0)
}

fn flags(names: &str) -> u8 {
    let flag = |name| match name {
        "FIN" => FIN,
        "SYN" => SYN,
        "RST" => 0x04,
        "PSH" => 0x08,
        "ACK" => ACK,
        other => panic!("{other} is no flag"),
    };
    names.split('+').map(flag).fold(0, |set, flag| set | flag)
}
