//! `rig flows` as a user runs it.

#![expect(
    clippy::unwrap_used,
    reason = "what cannot be made or read ends the test"
)]

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use insta::assert_snapshot;
use rig::pcapng::{HostCapture, Interface, MergeNotes, Merged, Record, Section, Writer};
use rig::units::Timestamp;
use rig::wire::LinkType;
use rig::wire::synth::Segment;

/// Recorded by tcpdump on a loopback interface: a connection closed by the server, one that it
/// aborted with unread data, one refused, and a UDP exchange.
pub(crate) fn loopback() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/rig/data/loopback.pcap")
}

pub(crate) fn flows(arguments: &[&str], capture: &std::path::Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
    command.arg("flows").args(arguments).arg(capture);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// stdout, stderr and exit code in one text. Paths to temporary folders are left out.
pub(crate) fn shown(output: &Output, folder: Option<&std::path::Path>) -> String {
    let mut shown = format!(
        "{}--- stderr\n{}--- exit code {}",
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap()
    );
    if let Some(folder) = folder {
        shown = shown.replace(&format!("{}/", folder.display()), "");
    }
    shown
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A merged capture with names, one of which would steer a terminal.
fn named() -> Vec<u8> {
    let client: SocketAddr = "192.0.2.1:40000".parse().unwrap();
    let server: SocketAddr = "192.0.2.2:15102".parse().unwrap();
    let interface = Interface {
        name: "alice@lan".to_owned(),
        description: String::new(),
        link: LinkType::Ethernet,
        snaplen_bytes: 0,
    };
    let mut writer = Writer::new(Vec::new(), &Section::default()).unwrap();
    let id = writer.add_interface(&interface).unwrap();
    let segment = |flags, seq| Segment {
        flags,
        seq,
        ..Segment::new(client, server)
    };
    for (n, segment) in [segment(2, 7), segment(2, 7), segment(4, 8)]
        .iter()
        .enumerate()
    {
        let at = Timestamp(1_700_000_000_000_000_000 + n as u64 * 1_000_000_000);
        writer
            .write(&Record::new(id, at, &segment.bytes()))
            .unwrap();
    }
    let capture = HostCapture {
        host: "alice".to_owned(),
        bytes: writer.finish().unwrap(),
    };
    let notes = MergeNotes {
        names: vec![
            (IpAddr::from([192, 0, 2, 1]), "alice".to_owned()),
            (IpAddr::from([192, 0, 2, 2]), "hub\u{1b}[2J".to_owned()),
        ],
        comments: vec![(2, "sent again".to_owned())],
        ..MergeNotes::default()
    };
    let merged = Merged::from_hosts(vec![capture]).unwrap();
    merged.write(Vec::new(), &notes).unwrap()
}

#[test]
fn a_capture_of_tcpdump_as_columns() {
    assert_snapshot!(shown(&flows(&[], &loopback()), None));
}

#[test]
fn a_capture_of_tcpdump_as_json() {
    assert_snapshot!(shown(&flows(&["--json"], &loopback()), None));
}

#[test]
fn names_are_shown_and_made_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("named.pcapng");
    std::fs::write(&path, named()).unwrap();
    assert_snapshot!("names_as_columns", shown(&flows(&[], &path), None));
    assert_snapshot!("names_as_json", shown(&flows(&["--json"], &path), None));
}

#[test]
fn the_folder_of_a_cell_means_its_wire() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wire.pcapng"), named()).unwrap();
    std::fs::write(folder.path().join("another.pcapng"), named()).unwrap();
    let file = flows(&["--json"], &folder.path().join("wire.pcapng"));
    assert_eq!(flows(&["--json"], folder.path()).stdout, file.stdout);
}

#[test]
fn stdin_is_read_too() {
    let capture = std::fs::File::open(loopback()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
    let output = command
        .args(["flows", "-"])
        .stdin(capture)
        .output()
        .unwrap();
    assert_eq!(output.stdout, flows(&[], &loopback()).stdout);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_cut_capture_is_read_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pcap");
    let whole = std::fs::read(loopback()).unwrap();
    std::fs::write(&path, &whole[..900]).unwrap();
    assert_snapshot!(shown(&flows(&[], &path), Some(folder.path())));
}

#[test]
fn what_is_no_capture_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = String::new();
    let cases: [(&str, Option<&[u8]>); 7] = [
        ("missing", None),
        ("empty", Some(b"")),
        ("text", Some(b"this is a text, not a capture")),
        ("gzip", Some(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0])),
        ("bzip2", Some(b"BZh91AY&SY")),
        ("snoop", Some(b"snoop\0\0\0\0\0\0\x02")),
        ("head", Some(&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0])),
    ];
    for (name, content) in cases {
        let path = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let output = flows(&[], &path);
        assert_eq!(text(&output.stderr).lines().count(), 1);
        all.push_str(&shown(&output, Some(folder.path())));
        all.push('\n');
    }
    assert_snapshot!(all);
}

#[test]
fn a_link_type_that_is_not_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("radio.pcap");
    let mut capture = std::fs::read(loopback()).unwrap();
    capture[20] = 105;
    std::fs::write(&path, capture).unwrap();
    assert_snapshot!(shown(&flows(&[], &path), Some(folder.path())));
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
    command.arg("flows").arg(loopback());
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn();
    let output = child.unwrap().wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_fields_as_comma_separated_values() {
    assert_snapshot!(shown(&flows(&["--csv"], &loopback()), None));
}

#[test]
fn the_schema_of_the_objects() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
    let output = command.args(["flows", "--schema"]).output().unwrap();
    assert_snapshot!(shown(&output, None));
}

#[test]
fn every_object_has_what_the_schema_says() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
    let schema = command.args(["flows", "--schema"]).output().unwrap().stdout;
    let schema: serde_json::Value = serde_json::from_slice(&schema).unwrap();
    let json = flows(&["--json"], &loopback()).stdout;
    for line in text(&json).lines() {
        let flow: serde_json::Value = serde_json::from_str(line).unwrap();
        let flow = flow.as_object().unwrap();
        for name in schema["required"].as_array().unwrap() {
            assert!(flow.contains_key(name.as_str().unwrap()), "{name} {line}");
        }
        for name in flow.keys() {
            assert!(schema["properties"].get(name).is_some(), "{name}");
        }
    }
}

#[test]
fn a_ladder_shows_the_comments_of_the_capture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("named.pcapng");
    std::fs::write(&path, named()).unwrap();
    let ladder = flows(&["--ladder", "1"], &path);
    assert!(
        text(&ladder.stdout)
            .lines()
            .all(|line| line.chars().count() <= 100)
    );
    assert_snapshot!(shown(&ladder, None));
    let none = flows(&["--ladder", "2"], &path);
    assert_snapshot!("no_such_ladder", shown(&none, Some(folder.path())));
}

#[test]
fn flows_are_chosen_by_their_ends_and_fields() {
    let ports = |arguments: &[&str]| -> Vec<u64> {
        let output = flows(&[arguments, &["--json"]].concat(), &loopback());
        assert!(output.status.success(), "{output:?}");
        let flow = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let port = |line| flow(line)["id.orig_p"].as_u64().unwrap();
        text(&output.stdout).lines().map(port).collect()
    };
    for (arguments, expected) in [
        (&["--flow", "127.0.0.1:40002"][..], &[40002][..]),
        (&["--flow", ":5353"], &[40004]),
        (&["--flow", "15102 -> *"], &[]),
        (&["--flow", "* -> 15102", "--where", "resp_bytes"], &[40001]),
        (&["--flow", "40001", "--flow", "40003"], &[40001, 40003]),
        (&["--where", "reset_unanswered_bytes == 6"], &[40002]),
        (
            &["--where", "duration > 40ms or proto == udp"],
            &[40002, 40004],
        ),
        (&["--where", "not id.orig_h in 127.0.0.0/8"], &[40004]),
    ] {
        assert_eq!(ports(arguments), expected, "{arguments:?}");
    }
}

#[test]
fn mistakes_are_shown_with_their_place() {
    let mut all = String::new();
    for arguments in [
        ["--where", "orig_byts > 5"],
        ["--where", "conn_state == SF and (duration > 5)"],
        ["--flow", "127.0.0.1 -> nobody"],
        ["--flow", "nobody"],
        ["--tcp-timeout", "5"],
        ["--udp-timeout", "0s"],
    ] {
        let output = flows(&arguments, &loopback());
        all.push_str(&shown(&output, None));
        all.push('\n');
    }
    assert_snapshot!(all);
}

#[test]
fn with_timeouts_flows_come_as_they_end() {
    let timeouts = ["--tcp-timeout", "20ms", "--udp-timeout", "1s"];
    assert_snapshot!(shown(&flows(&timeouts, &loopback()), None));
}

#[test]
fn what_was_acknowledged_before_it_showed_as_missing_counts_for_both_sides() {
    // Taken with a filter for SYN, FIN and RST.
    let capture = loopback().with_file_name("syn-fin-only.pcap");
    let output = flows(&["--json"], &capture);
    let flow: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(flow["missed_bytes"], 18 + 2944, "{flow}");
    assert_eq!(
        (&flow["orig_bytes"], &flow["resp_bytes"]),
        (&18.into(), &2944.into())
    );
}

#[test]
fn a_late_reset_of_the_connection_before_is_none_of_the_next_one() {
    let output = flows(&["--json"], &loopback().with_file_name("late-reset.pcap"));
    let second = text(&output.stdout).lines().nth(1).unwrap();
    let flow: serde_json::Value = serde_json::from_str(second).unwrap();
    assert_eq!(
        (&flow["conn_state"], &flow["missed_bytes"]),
        (&"SF".into(), &0.into())
    );
    assert_eq!(flow["remarks"], serde_json::Value::Null, "{flow}");
}
