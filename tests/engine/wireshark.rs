//! Wireshark's view of the same connections: where tshark counts otherwise, the difference and its
//! reason stand here and in docs/analysis.md.

use libtest_mimic::Trial;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;

use rig::analysis::{Analyzer, EventKind, Flow, Options, Proto, Side};
use rig::pcapng::{Delivery, Interface, Reader, Record, Section, Writer};
use rig::units::Timestamp;
use rig::wire::LinkType;
use rig::wire::synth::Segment;

use crate::support::scripts::{CASES, START_NS, packets, write};
use crate::tools::{Release, Tools};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial!(async fn tshark_counts_the_same_in_every_conversation),
        trial!(async fn a_newer_tshark_differs_where_it_is_known_to),
        trial!(async fn what_became_of_packets_is_no_news_to_tshark),
    ]
}

/// What both count of a connection, by the names of Wireshark's fields.
const COUNTED: [&str; 9] = [
    "tcp.flags.fin",
    "tcp.flags.reset",
    "tcp.analysis.retransmission",
    "tcp.analysis.fast_retransmission",
    "tcp.analysis.spurious_retransmission",
    "tcp.analysis.out_of_order",
    "tcp.analysis.duplicate_ack",
    "tcp.analysis.zero_window",
    "tcp.analysis.keep_alive",
];

/// Where tshark counts otherwise: case, field, our count and its own. docs/analysis.md says why.
const DIFFERENCES: [&str; 11] = [
    // Of a SYN after its answer Wireshark takes no note, nor of a lone RST.
    "REJ-reset-captured-before-its-syn tcp.completeness 37 36",
    // A SYN-ACK whose SYN with payload comes after it belongs to no stream of that.
    "fast-open-answer-captured-first tcp.stream 1 2",
    // Only payload is spurious to Wireshark, not a SYN-ACK.
    "fast-open-simultaneous tcp.analysis.spurious_retransmission 1 0",
    // A SYN with the number of the one before is of the same stream to Wireshark.
    "port-tried-again tcp.stream 3 1",
    "reset-before-a-syn-of-number-zero tcp.completeness 37 36",
    "reset-before-another-syn tcp.completeness 36 0",
    // What a RST acknowledges counts to Wireshark, so that a repeat under way at its time is spurious.
    "reset-crosses-repeat tcp.analysis.spurious_retransmission 0 1",
    // A forged RST ahead of the stream moves Wireshark's numbers there, and what follows is sent again to it.
    "reset-foreign-ignored tcp.analysis.retransmission 0 2",
    "reset-long-before-its-syn tcp.stream 2 1",
    "simultaneous-open tcp.analysis.spurious_retransmission 1 0",
    // One byte that is sent again before it was acknowledged is a keep-alive to Wireshark.
    "zero-window tcp.analysis.keep_alive 0 1",
];

/// The same of tshark 4.4.
const DIFFERENCES_OF_NEWER: [&str; 13] = [
    // A SYN after a RST begins a stream, also one that is sent again since the RST did not end its attempt.
    "REJ-reset-captured-before-its-syn tcp.stream 1 2",
    "fast-open-answer-captured-first tcp.stream 1 2",
    // A SYN-ACK that repeats a SYN's number is out of order to it, and payload of such a SYN does not count.
    "fast-open-simultaneous tcp.completeness 11 3",
    "fast-open-simultaneous tcp.analysis.spurious_retransmission 1 0",
    "older-challenge-ack tcp.stream 2 3",
    "older-late-reset tcp.stream 2 3",
    "reset-before-a-syn-of-number-zero tcp.stream 1 2",
    "reset-crosses-repeat tcp.analysis.spurious_retransmission 0 1",
    "reset-foreign-ignored tcp.analysis.retransmission 0 2",
    "simultaneous-open tcp.analysis.retransmission 2 0",
    "simultaneous-open tcp.analysis.spurious_retransmission 1 0",
    "simultaneous-open tcp.analysis.out_of_order 0 2",
    "zero-window tcp.analysis.keep_alive 0 1",
];

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    first_frame: u64,
    completeness: u64,
    by_field: BTreeMap<&'static str, u64>,
}

/// The TCP connections of a capture as rig counts them.
pub(crate) fn ours(capture: &[u8]) -> Vec<Counts> {
    tcp_flows(capture).iter().map(counts).collect()
}

fn tcp_flows(capture: &[u8]) -> Vec<Flow> {
    let mut analyzer = Analyzer::new(Options {
        keep_events: true,
        keep_payload: false,
    });
    let mut reader = Reader::new(capture).unwrap();
    analyzer.read(&mut reader);
    let flows = analyzer.into_flows();
    flows.filter(|flow| flow.proto == Proto::Tcp).collect()
}

fn counts(flow: &Flow) -> Counts {
    let events = |kind| {
        let of_kind = flow.events.iter().filter(|event| event.kind == kind);
        of_kind.count() as u64
    };
    let trouble = |of: fn(&rig::analysis::Trouble) -> u32| {
        let side = |side: &Side| side.trouble.as_deref().map_or(0, of);
        u64::from(side(&flow.orig_side) + side(&flow.resp_side))
    };
    let counts = COUNTED.map(|field| {
        let count = match field {
            "tcp.flags.fin" => events(EventKind::Fin),
            "tcp.flags.reset" => events(EventKind::Rst),
            "tcp.analysis.retransmission" => trouble(|t| t.retransmissions),
            "tcp.analysis.fast_retransmission" => trouble(|t| t.fast_retransmissions),
            "tcp.analysis.spurious_retransmission" => trouble(|t| t.spurious_retransmissions),
            "tcp.analysis.out_of_order" => trouble(|t| t.out_of_order),
            "tcp.analysis.duplicate_ack" => trouble(|t| t.duplicate_acks),
            "tcp.analysis.zero_window" => trouble(|t| t.zero_windows),
            "tcp.analysis.keep_alive" => trouble(|t| t.keep_alives),
            other => panic!("{other}"),
        };
        (field, count)
    });
    Counts {
        first_frame: flow.first_frame,
        completeness: flow.completeness.into(),
        by_field: counts.into(),
    }
}

/// The same by tshark.
pub(crate) async fn theirs(capture: &Path, release: Release) -> Vec<Counts> {
    let tools = Tools::on(capture, release).await;
    let mut command = vec!["tshark", "-2", "-r", "CAPTURE", "-Y", "tcp", "-T", "fields"];
    let fields = ["tcp.stream", "frame.number", "tcp.completeness"];
    command.extend(
        fields
            .iter()
            .chain(&COUNTED)
            .flat_map(|field| ["-e", field]),
    );
    read(&tools.run(&command).await)
}

/// Reads tshark's rows, one a segment.
fn read(rows: &str) -> Vec<Counts> {
    let mut streams: Vec<Counts> = Vec::new();
    for row in rows.lines() {
        let words: Vec<_> = row.split('\t').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap_or_else(|_| panic!("{row}"));
        let stream = usize::try_from(number(0)).unwrap();
        if stream == streams.len() {
            streams.push(Counts {
                first_frame: number(1),
                ..Counts::default()
            });
        }
        let known = &mut streams[stream];
        known.completeness = number(2);
        for (field, word) in COUNTED.iter().zip(&words[3..]) {
            // Flags are `0` and `1`, or `False` and `True`; a mark that is not there is empty.
            let is_set = !matches!(*word, "" | "0" | "False");
            *known.by_field.entry(field).or_default() += u64::from(is_set);
        }
    }
    streams
}

/// A case among others in one capture.
struct Case {
    name: String,
    /// Its first frame, and the one after its last.
    frames: Range<u64>,
}

/// Every case in one capture, each between ends of its own.
fn all_in_one() -> (Vec<Case>, Vec<u8>) {
    /// Longer than any case takes.
    const APART_NS: u64 = 3_600_000_000_000;
    let mut files: Vec<_> = std::fs::read_dir(CASES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let (mut cases, mut all) = (Vec::new(), Vec::new());
    let mut next = 1;
    for (number, file) in (0_u8..).zip(&files) {
        let text = std::fs::read_to_string(file).unwrap();
        let script = text.split("== flows").next().unwrap();
        let ends = [1, 2].map(|host| SocketAddr::from(([10, 0, number, host], 40_000)));
        let packets = packets(script, ends, START_NS + u64::from(number) * APART_NS);
        let first = next;
        next += packets.len() as u64;
        cases.push(Case {
            name: file.file_stem().unwrap().display().to_string(),
            frames: first..next,
        });
        all.extend(packets);
    }
    (cases, write(&all))
}

/// The option that says what became of a packet is passed over, and stays where a capture is copied.
async fn what_became_of_packets_is_no_news_to_tshark() {
    let mut writer = Writer::new(Vec::new(), &Section::default()).unwrap();
    let interface = Interface {
        name: "wan".to_owned(),
        description: String::new(),
        link: LinkType::Ethernet,
        snaplen_bytes: 0,
    };
    let id = writer.add_interface(&interface).unwrap();
    let [one, other] = [1, 2].map(|host| SocketAddr::from(([10, 0, 0, host], 40_000)));
    let packet = Segment::new(one, other).bytes();
    for delivery in Delivery::ALL {
        let record = Record {
            delivery: Some(delivery),
            ..Record::new(id, Timestamp(START_NS), &packet)
        };
        writer.write(&record).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("delivery.pcapng");
    std::fs::write(&path, writer.finish().unwrap()).unwrap();
    for release in [Release::Bookworm, Release::Trixie] {
        let tools = Tools::on(&path, release).await;
        let (rows, complaints) = tools.run_heard(&["tshark", "-r", "CAPTURE"]).await;
        assert_eq!(rows.lines().count(), Delivery::ALL.len(), "{rows}");
        let complaint = complaints
            .lines()
            .find(|line| !line.is_empty() && !line.starts_with("Running as user"));
        assert_eq!(complaint, None);
        tools.run(&["editcap", "CAPTURE", "/tmp/copy.pcapng"]).await;
        let found = tools.run(&["grep", "-ao", "rig packet [a-z]*", "/tmp/copy.pcapng"]);
        assert_eq!(found.await.lines().count(), Delivery::ALL.len());
    }
}

async fn tshark_counts_the_same_in_every_conversation() {
    assert_eq!(differences(Release::Bookworm).await, DIFFERENCES);
}

async fn a_newer_tshark_differs_where_it_is_known_to() {
    assert_eq!(differences(Release::Trixie).await, DIFFERENCES_OF_NEWER);
}

/// Where a release of tshark counts otherwise: case, field, our count and its own.
async fn differences(release: Release) -> Vec<String> {
    let (cases, capture) = all_in_one();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("conversations.pcapng");
    std::fs::write(&path, &capture).unwrap();
    let (ours, theirs) = (ours(&capture), theirs(&path, release).await);
    let mut found = Vec::new();
    for Case { name, frames } in &cases {
        let of_case = |all: &[Counts]| -> Vec<Counts> {
            let of_case = all.iter().filter(|one| frames.contains(&one.first_frame));
            of_case.cloned().collect()
        };
        let (ours, theirs) = (of_case(&ours), of_case(&theirs));
        let firsts = |all: &[Counts]| all.iter().map(|one| one.first_frame).collect::<Vec<_>>();
        if firsts(&ours) != firsts(&theirs) {
            let (ours, theirs) = (ours.len(), theirs.len());
            found.push(format!("{name} tcp.stream {ours} {theirs}"));
            continue;
        }
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let (a, b) = (ours.completeness, theirs.completeness);
            if a != b {
                found.push(format!("{name} tcp.completeness {a} {b}"));
            }
            for field in COUNTED {
                let (a, b) = (ours.by_field[field], theirs.by_field[field]);
                if a != b {
                    found.push(format!("{name} {field} {a} {b}"));
                }
            }
        }
    }
    found
}
