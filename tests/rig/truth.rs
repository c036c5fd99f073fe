//! Captures of real kernels, of which the programs' own words are known (docs/analysis.md tells the rules): what
//! `rig flows` says of them, and ladders of the flows that are hard to tell.

use std::path::PathBuf;
use std::process::Command;

use insta::assert_snapshot;

use crate::flows::{flows, shown};

/// Captures and the flows whose ladders are drawn.
const CAPTURES: [(&str, &[u64]); 22] = [
    // The second, fourth and fifth port are used again by a host whose clock is behind, so that the
    // responder, in TIME-WAIT, answers the SYN with the ACK of the old connection.
    ("challenge-ack-then-new-connection", &[8]),
    ("challenge-ack-only", &[2]),
    // The initiator's host was restarted; the responder's program still has the old connection.
    ("half-open-reconnect", &[1, 2]),
    ("late-reset", &[2]),
    // A firewall rule of the responder's host sent the RST; its program goes on.
    ("data-after-own-reset", &[1]),
    ("reset-by-a-firewall", &[]),
    // The program has the connection only with its SYN-ACK's repeat.
    ("defer-accept", &[1]),
    // The kernel counted one tail loss probe and three timeouts; then the program's own timeout ended it.
    ("user-timeout-probe-then-timeouts", &[1]),
    // listen(0) with one connection that nobody accepts.
    ("backlog-zero", &[]),
    // A stopped program is killed with 89,584 bytes unread.
    ("zero-window-then-killed", &[]),
    // A cookie is asked for and given, and the next connection has ten bytes in its SYN.
    ("fast-open", &[2]),
    // A hundred bytes in a SYN without a cookie.
    ("fast-open-not-accepted", &[1]),
    // The initiator's socket was gone (tcp_fin_timeout) when the responder closed.
    ("orphan-timed-out", &[1]),
    // Multipath TCP: the client's program closes after 0.5 s and the server's after 2.5 s, which the FINs do not show.
    ("mptcp-half-close", &[1]),
    // The server's program is killed with data unread.
    ("mptcp-fastclose", &[1]),
    // The server's program sends ten bytes once.
    ("mptcp-reinjected", &[1]),
    // Two networks: both hosts offer a second address, which makes two further subflows, taken at the server's host.
    ("mptcp-join", &[1, 3]),
    // Java's `Socket.close()` with ten bytes unread, which shuts down and closes.
    ("closed-over-unread-data", &[1]),
    // An answer, a shutdown and a close, with 60,000 bytes unread.
    ("answered-over-unread-data", &[]),
    // All was read; a shutdown, and 200 ms later a close with a linger time of zero.
    ("reset-asked-for-after-the-fin", &[1]),
    // A close, and data 300 ms later.
    ("data-after-the-close", &[]),
    // Last words and a close right behind them, to a peer that delays its acknowledgement. The kernel counted a tail
    // loss probe, and no timeout.
    ("last-words", &[1]),
];

/// Captures of both ends of one run.
const BOTH_ENDS: [[&str; 2]; 4] = [
    // The RST after three keep-alives never arrives: its receiver is connected for ever.
    ["keepalive-death.client", "keepalive-death.server"],
    // Eleven SYNs never arrive, at a place that recorded all the time.
    ["blackout.client", "blackout.server"],
    // The same packets behind another link header, one missing.
    ["ol-a-eth", "ol-b-sll2"],
    // Packets longer than usual frames, a tag at the second place, and one missing.
    ["ju-a-other", "ju-b-other-vlan"],
];

fn capture(name: &str) -> PathBuf {
    let file = format!(
        "{}/../tests/rig/truth/{name}.pcap",
        env!("CARGO_MANIFEST_DIR")
    );
    PathBuf::from(file)
}

#[test]
fn what_was_lost_between_both_ends_is_known_whatever_the_link() {
    for [first, second] in BOTH_ENDS {
        let rig = |form: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
            command.args(["flows", form]);
            command.args([capture(first), capture(second)]);
            command.output().unwrap()
        };
        let json = rig("--json");
        let line = String::from_utf8(json.stdout.clone()).unwrap();
        let flow: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
        let fields = [
            "conn_state",
            "closed_by",
            "orig_state",
            "resp_state",
            "orig_lost",
            "resp_lost",
        ];
        let fields = fields.map(|field| format!("{field} {}\n", flow[field]));
        let told = String::from_utf8(json.stderr).unwrap();
        assert_snapshot!(first, format!("{}{told}", fields.concat()));
    }
}

#[test]
fn flows_are_what_kernels_and_programs_say() {
    for (name, ladders) in CAPTURES {
        let capture = capture(name);
        let mut text = shown(&flows(&[], &capture), None);
        for number in ladders {
            text.push_str("\n\n");
            let arguments = ["--ladder", &number.to_string()];
            text.push_str(&shown(&flows(&arguments, &capture), None));
        }
        assert_snapshot!(name, text);
    }
}

#[test]
fn a_capture_that_lost_packets_by_its_own_word_decides_nothing() {
    for (name, lost) in [
        ("f9-packets-drops", 7),
        ("isb-osdrop", 5),
        ("dropcount", 27),
    ] {
        let file = capture(name).with_extension("pcapng");
        let told = format!("the capture lost {lost} packets");
        let output = flows(&[], &file);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(&told), "{name}: {stderr}");
        let mut check = Command::new(env!("CARGO_BIN_EXE_rig"));
        let output = check.arg("check").arg(&file).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(&told), "{name}: {stderr}");
        assert_eq!(output.status.code(), Some(4), "{name}");
    }
}

#[test]
fn merged_interfaces_have_one_snap_length() {
    let folder = tempfile::tempdir().unwrap();
    let merged = folder.path().join("merged.pcapng");
    let mut merge = Command::new(env!("CARGO_BIN_EXE_rig"));
    merge.arg("merge").arg("-o").arg(&merged);
    merge.arg(capture("f1-snap-differs").with_extension("pcapng"));
    merge.arg(capture("backlog-zero"));
    let output = merge.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let file = std::fs::File::open(&merged).unwrap();
    let mut reader = rig::pcapng::Reader::new(file).unwrap();
    while reader.next_frame().is_some() {}
    let lengths: Vec<_> = reader.interfaces().map(|one| one.snaplen_bytes).collect();
    assert!(lengths.len() > 2, "{lengths:?}");
    assert!(
        lengths.iter().all(|length| *length == lengths[0]),
        "{lengths:?}"
    );
}

#[test]
fn a_capture_without_connections_says_what_it_holds_instead() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("arp.pcap");
    // The first two packets of a capture that holds ARP before all else.
    let whole = std::fs::read(capture("blackout.server")).unwrap();
    let (header, packets) = whole.split_at(24);
    let len = u32::from_le_bytes(packets[8..12].try_into().unwrap());
    let one = 16 + usize::try_from(len).unwrap();
    std::fs::write(&file, [header, &packets[..one]].concat()).unwrap();
    let told = |output: std::process::Output| String::from_utf8(output.stderr).unwrap();
    let asked = told(flows(&[], &file));
    assert!(
        asked.contains("packets: 1 ARP request without an answer"),
        "{asked}"
    );
    std::fs::write(&file, header).unwrap();
    let empty = told(flows(&[], &file));
    assert!(empty.contains("packets: none"), "{empty}");
}

#[test]
fn a_pattern_may_begin_with_a_hyphen() {
    let mut check = Command::new(env!("CARGO_BIN_EXE_rig"));
    let check = check.arg("check").arg(capture("reset-by-a-firewall"));
    let output = check.args(["--pattern", "- ANY*"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_tail_loss_probe_is_no_retransmission_unless_asked() {
    let folder = tempfile::tempdir().unwrap();
    let checks = folder.path().join("checks.yaml");
    let check = |name: &str, rule: &str| {
        std::fs::write(
            &checks,
            format!("checks:\n  - flow: \"* -> *\"\n    {rule}\n"),
        )
        .unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_rig"));
        check
            .arg("check")
            .arg(capture(name))
            .arg("--expect")
            .arg(&checks);
        let output = check.output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    for (name, rule, code) in [
        ("last-words", "never: \"- FIN[retransmission]\"", 0),
        ("last-words", "never: \"- FIN[repeat]\"", 1),
        ("last-words", "never: \"- FIN[probe]\"", 1),
        (
            "last-words",
            "pattern: handshake ... orderly-close-by(responder)",
            0,
        ),
        (
            "last-words",
            "pattern: handshake ... < FIN < FIN[probe, gap<100ms] > FIN < ACK",
            0,
        ),
        (
            "last-words",
            "pattern: handshake ... < FIN < FIN[repeat] > FIN < ACK",
            0,
        ),
        (
            "last-words",
            "pattern: handshake ... < FIN < FIN[retransmission] > FIN < ACK",
            1,
        ),
        // A probe after 210 ms, and three timeouts; that the first repeat was a probe is known by the second.
        (
            "user-timeout-probe-then-timeouts",
            "pattern: handshake ... > DATA > DATA[probe] > DATA[retransmission]{3}",
            0,
        ),
        (
            "user-timeout-probe-then-timeouts",
            "pattern: handshake ... > DATA > DATA[retransmission]{3}",
            0,
        ),
        (
            "user-timeout-probe-then-timeouts",
            "pattern: handshake ... > DATA > DATA[repeat]{4}",
            0,
        ),
        (
            "user-timeout-probe-then-timeouts",
            "never: \"- DATA[retransmission]\"",
            1,
        ),
    ] {
        let (came, told) = check(name, rule);
        assert_eq!(came, code, "{rule}: {told}");
    }
}

#[test]
fn whatever_fails_a_ladder_shows_where() {
    let folder = tempfile::tempdir().unwrap();
    let checks = folder.path().join("checks.yaml");
    let rules = [
        "fate: RSTR",
        "closed-by: initiator",
        "never: [\"< FIN\", \"> DATA[bytes=\\\"QUIT\\\\r\\\\n\\\"]\"]",
        "fate: S1, closed-by: initiator, never: \"- FIN[probe]\"",
    ];
    let rules = rules.map(|rule| format!("  - {{ flow: \"* -> *\", {rule} }}\n"));
    let text = format!("checks:\n{}", rules.concat());
    std::fs::write(&checks, text).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_rig"));
    check.arg("check").arg(capture("last-words"));
    let output = check.arg("--expect").arg(&checks).output().unwrap();
    assert_snapshot!("check-ladders", shown(&output, Some(folder.path())));
}
