//! Runs on a real engine, from the matrix file to the judged capture.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::engine::{engine, left_by};
use crate::support::tools::Tools;
use crate::support::{rig, run_json, workspace_file};
use crate::wireshark;

/// Runs a matrix of the workspace that must pass, and gives its report.
fn passes(matrix: &str, out: &Path, arguments: &[&str]) -> Value {
    let mut command = rig();
    command
        .arg("run")
        .arg(workspace_file(matrix))
        .arg("--out")
        .arg(out)
        .args(arguments);
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    run_json(out)
}

fn cell_folder(out: &Path, name: &str) -> PathBuf {
    let folder = out.join(name);
    assert!(folder.is_dir(), "{}", folder.display());
    folder
}

#[tokio::test]
async fn the_smoke_matrix_passes_and_leaves_its_evidence() {
    let client = engine().await;
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("out");
    let report = passes("rig/matrices/smoke.yaml", &out, &[]);
    assert_eq!(report["counts"]["pass"], 3, "{report}");

    let folder = cell_folder(&out, "ending=kill-client");
    for file in [
        "wire.pcapng",
        "hosts/hub.pcapng",
        "hosts/left.pcapng",
        "verdict.json",
        "transcript.log",
        "sockets.json",
    ] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    for file in ["run.json", "junit.xml", "index.html"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let transcript = std::fs::read_to_string(folder.join("transcript.log")).unwrap();
    assert!(transcript.contains("SIGKILL"), "{transcript}");

    assert_eq!(
        left_by(&client, report["run"].as_str().unwrap()).await,
        Vec::<String>::new()
    );
}

#[test]
fn programs_on_terminals_are_driven_and_heard() {
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("out");
    let report = passes("tests/rig/terminals.yaml", &out, &["--jobs", "2"]);
    assert_eq!(report["counts"]["pass"], 4, "{report}");
    let folder = cell_folder(&out, "client=full-screen,ending=leave");
    let transcript = std::fs::read_to_string(folder.join("transcript.log")).unwrap();
    assert!(!transcript.contains("1049"), "{transcript}");
}

#[tokio::test]
async fn wireshark_reads_the_wire_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("out");
    passes(
        "rig/matrices/smoke.yaml",
        &out,
        &["--filter", "ending=kill-client"],
    );
    let wire = cell_folder(&out, "ending=kill-client").join("wire.pcapng");
    let tools = Tools::on(&wire).await;

    let fields = [
        "-T",
        "fields",
        "-e",
        "frame.interface_name",
        "-e",
        "frame.comment",
    ];
    let rows = tools
        .run(&[&["tshark", "-r", "CAPTURE"], &fields[..]].concat())
        .await;
    for name in ["hub@lan", "left@lan", "right@lan"] {
        assert!(
            rows.lines().any(|row| row.starts_with(name)),
            "{name}:\n{rows}"
        );
    }
    assert!(rows.contains("SIGKILL alice"), "{rows}");
    assert!(rows.contains("expected: "), "{rows}");

    // Each packet once: a copy would be a retransmission to Wireshark. One that the kernel sends
    // again on a busy machine has an identification of its own (`ip.id`).
    let mut identity = vec!["tshark", "-r", "CAPTURE", "-Y", "tcp", "-T", "fields"];
    for field in [
        "ip.src",
        "ip.dst",
        "ip.id",
        "tcp.srcport",
        "tcp.seq_raw",
        "tcp.ack_raw",
        "tcp.flags",
    ] {
        identity.extend(["-e", field]);
    }
    let packets = tools.run(&identity).await;
    let mut seen = std::collections::HashSet::new();
    let copies: Vec<_> = packets
        .lines()
        .filter(|packet| !seen.insert(*packet))
        .collect();
    assert!(copies.is_empty() && seen.len() > 10, "{copies:#?}");
    // Checksums are whole, since offloads are off.
    let wrong = tools
        .run(&[
            "tshark",
            "-r",
            "CAPTURE",
            "-o",
            "tcp.check_checksum:TRUE",
            "-Y",
            "tcp.checksum.status == 0",
        ])
        .await;
    assert_eq!(wrong, "");
    let names = tools
        .run(&["tshark", "-r", "CAPTURE", "-N", "n", "-q", "-z", "hosts"])
        .await;
    for name in ["hub", "left", "right"] {
        assert!(
            names.lines().any(|line| line.ends_with(name)),
            "{name}:\n{names}"
        );
    }
}

#[tokio::test]
async fn tshark_counts_the_same_connections() {
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("out");
    passes("rig/matrices/smoke.yaml", &out, &[]);
    for cell in ["ending=quit", "ending=kill-client", "ending=kill-server"] {
        let wire = cell_folder(&out, cell).join("wire.pcapng");
        let ours = wireshark::ours(&std::fs::read(&wire).unwrap());
        assert_eq!(ours, wireshark::theirs(&wire).await, "{cell}");
        let merged = out.join(cell).join("merged.pcapng");
        merge(&out.join(cell).join("hosts"), &merged);
        assert_eq!(ours, wireshark::theirs(&merged).await, "{cell}, merged");
    }
}

/// Merges what the hosts saw. Their clocks are one clock, and nothing is lost between them.
fn merge(hosts: &Path, out: &Path) {
    let mut command = rig();
    let output = command.arg("merge").arg(hosts).arg("--out").arg(out);
    let output = output.output().unwrap();
    let account = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{account}");
    let clocks = account.matches("its clock may be that of").count();
    assert_eq!(clocks, 2, "three hosts: {account}");
    assert!(account.contains(" 0 lost"), "{account}");
}

fn every_cell_passes(matrix: &str) {
    let temp = tempfile::tempdir().unwrap();
    let report = passes(matrix, &temp.path().join("out"), &[]);
    let cells = report["cells"].as_array().unwrap();
    let counted = |verdict: &str| report["counts"][verdict].as_u64().unwrap();
    assert_eq!(
        counted("pass") + counted("xfail"),
        cells.len() as u64,
        "{}",
        report["counts"]
    );
}

#[test]
fn every_cell_of_the_chat_matrix_passes() {
    every_cell_passes("rig/matrices/chat.yaml");
}

#[test]
fn every_cell_of_the_interop_matrix_passes() {
    every_cell_passes("rig/matrices/interop.yaml");
}

#[test]
fn every_cell_of_the_faults_matrix_passes() {
    every_cell_passes("rig/matrices/faults.yaml");
}

#[tokio::test]
async fn what_a_fault_loses_is_marked_and_nothing_of_it_is_left() {
    let client = engine().await;
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("out");
    let matrix = "rig/matrices/faults.yaml";
    let report = passes(matrix, &out, &["--filter", "fault=crash-and-boot-server"]);
    let folder = cell_folder(&out, "fault=crash-and-boot-server");
    let wire = std::fs::read(folder.join("wire.pcapng")).unwrap();
    let mut reader = rig::pcapng::Reader::new(&wire[..]).unwrap();
    let mut comments = Vec::new();
    while let Some(frame) = reader.next_frame() {
        comments.push(frame.record.comments.join("; "));
    }
    let place = |text: &str| comments.iter().position(|comment| comment.contains(text));
    let crash = place("crash here").unwrap();
    let lost = place("never arrives: here has crashed").unwrap();
    let boot = place("boot here").unwrap();
    let answer = place("expected: < RST").unwrap();
    assert!(
        crash <= lost && lost < boot && boot < answer,
        "{comments:#?}"
    );
    let transcript = std::fs::read_to_string(folder.join("transcript.log")).unwrap();
    for line in ["here         !! crash", "here         !! boot"] {
        assert!(transcript.contains(line), "{transcript}");
    }
    // Who reads the capture later knows it from the comments.
    let mut check = rig();
    let pattern = "handshake ... > DATA[lost] > DATA[retransmission, lost]+ > DATA[retransmission, !lost] < RST";
    check.arg("check").arg(&folder).args(["--pattern", pattern]);
    let checked = check.output().unwrap();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stdout)
    );
    let run = report["run"].as_str().unwrap();
    assert_eq!(left_by(&client, run).await, Vec::<String>::new());
}

#[test]
fn every_cell_of_the_peer_matrix_passes() {
    every_cell_passes("rig/matrices/peer.yaml");
}

#[test]
fn every_cell_of_the_links_matrix_passes() {
    every_cell_passes("rig/matrices/links.yaml");
}

#[test]
fn what_a_link_lost_is_marked_and_its_copies_are_not_repeated() {
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("out");
    let cell = "path=slow,fault=lost-data";
    let report = passes("rig/matrices/links.yaml", &out, &["--filter", cell]);
    let checks = report["cells"][0]["checks"].as_array().unwrap();
    let rule = checks.last().unwrap();
    assert_eq!(rule["check"], "lost on uplink: DATA[len=6] from left");
    assert_eq!(rule["verdict"], "pass");
    let lost = rule["frames"][0].as_u64().unwrap();

    let wire = std::fs::read(cell_folder(&out, cell).join("wire.pcapng")).unwrap();
    let mut reader = rig::pcapng::Reader::new(&wire[..]).unwrap();
    let mut comments = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    while let Some(frame) = reader.next_frame() {
        let (number, record) = (frame.number, frame.record.into_owned());
        if number == lost {
            comments.extend(record.comments.iter().cloned());
        }
        let is_ipv4 = record.data[12..14] == [0x08, 0x00];
        let interface = reader.interface(record.interface).unwrap();
        names.extend(is_ipv4.then(|| interface.name.clone()));
    }
    let told = "lost on link uplink: rule DATA[len=6] from left (1 of 1)";
    assert!(
        comments.iter().any(|comment| comment == told),
        "{comments:?}"
    );
    let names: Vec<_> = names.into_iter().collect();
    assert_eq!(names, ["hub@wan", "left@lan", "right@lan"]);
}

#[test]
fn every_cell_of_the_datagrams_matrix_passes() {
    every_cell_passes("rig/matrices/datagrams.yaml");
}

#[test]
fn every_cell_of_the_staged_matrix_passes() {
    every_cell_passes("rig/matrices/staged.yaml");
}

#[test]
fn every_cell_of_the_chat_faults_matrix_passes() {
    every_cell_passes("rig/matrices/chat-faults.yaml");
}

#[test]
fn every_cell_of_the_upper_matrix_passes() {
    every_cell_passes("rig/matrices/upper.yaml");
}

#[test]
fn every_cell_of_the_web_matrix_passes() {
    every_cell_passes("rig/matrices/web.yaml");
}
