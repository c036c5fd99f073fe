//! Wireshark's view of the same connections: where tshark counts otherwise, the difference and its
//! reason stand here and in docs/analysis.md.

use std::collections::BTreeMap;
use std::path::Path;

use rig::analysis::{Analyzer, EventKind, Flow, Options, Proto, Side};
use rig::pcapng::Reader;

use crate::conversations;
use crate::support::tools::Tools;

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
const DIFFERENCES: [&str; 3] = [
    // Only payload is spurious to Wireshark, not a SYN-ACK.
    "simultaneous-open tcp.analysis.spurious_retransmission 1 0",
    // One byte that is sent again before it was acknowledged is a keep-alive to Wireshark.
    "zero-window tcp.analysis.retransmission 1 0",
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
pub(crate) async fn theirs(capture: &Path) -> Vec<Counts> {
    let tools = Tools::on(capture).await;
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

#[tokio::test]
async fn tshark_counts_the_same_in_every_conversation() {
    let (names, capture) = conversations::all_in_one();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("conversations.pcapng");
    std::fs::write(&path, &capture).unwrap();
    let (flows, ours, theirs) = (tcp_flows(&capture), ours(&capture), theirs(&path).await);
    let first_frames = |all: &[Counts]| all.iter().map(|one| one.first_frame).collect::<Vec<_>>();
    assert_eq!(first_frames(&ours), first_frames(&theirs));
    let mut found = Vec::new();
    for (flow, (ours, theirs)) in flows.iter().zip(ours.iter().zip(&theirs)) {
        // Each case has a network of its own.
        let address = flow.orig.ip().to_string();
        let number: usize = address.split('.').nth(2).unwrap().parse().unwrap();
        let name = &names[number];
        if ours.completeness != theirs.completeness {
            found.push(format!(
                "{name} tcp.completeness {} {}",
                ours.completeness, theirs.completeness
            ));
        }
        for field in COUNTED {
            let (a, b) = (ours.by_field[field], theirs.by_field[field]);
            if a != b {
                found.push(format!("{name} {field} {a} {b}"));
            }
        }
    }
    assert_eq!(found, DIFFERENCES);
}
