//! Runs on a real engine, from the matrix file to the judged capture.

use libtest_mimic::Trial;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::engine::{engine, left_by};
use crate::evidence::{Folder, run_json};
use crate::support::{rig, workspace_file};
use crate::tools::{Release, Tools};
use crate::wireshark;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial!(async fn the_smoke_matrix_passes_and_leaves_its_evidence),
        trial!(fn programs_on_terminals_are_driven_and_heard),
        trial!(fn programs_have_what_the_file_gives_them_beside_their_images),
        trial!(fn a_connection_from_the_port_of_one_that_is_half_open_is_judged_by_itself),
        trial!(fn programs_that_send_datagrams_are_told_apart),
        trial!(fn names_that_are_not_there_are_answered_at_once),
        trial!(fn programs_that_start_others_are_followed_and_not_taken_for_these),
        trial!(fn repeats_are_counted_as_their_senders_kernel_counts_them),
        trial!(fn a_mark_holds_sixty_thousand_sockets),
        trial!(async fn packets_that_are_cut_as_asked_are_complete_and_say_so),
        trial!(async fn wireshark_reads_the_wire_as_it_was),
        trial!(async fn tshark_counts_the_same_connections),
        trial!(async fn what_a_fault_loses_is_marked_and_nothing_of_it_is_left),
        trial!(fn what_a_link_lost_is_marked_and_its_copies_are_not_repeated),
    ]
}

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

async fn the_smoke_matrix_passes_and_leaves_its_evidence() {
    let client = engine().await;
    let temp = Folder::new();
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

fn programs_on_terminals_are_driven_and_heard() {
    let temp = Folder::new();
    let out = temp.path().join("out");
    let report = passes("tests/engine/terminals.yaml", &out, &["--jobs", "2"]);
    assert_eq!(report["counts"]["pass"], 4, "{report}");
    let folder = cell_folder(&out, "client=full-screen,ending=leave");
    let transcript = std::fs::read_to_string(folder.join("transcript.log")).unwrap();
    // Nothing of what turns to the alternate screen and back is taken for text.
    assert!(!transcript.contains("[?1049"), "{transcript}");
}

fn programs_have_what_the_file_gives_them_beside_their_images() {
    let temp = Folder::new();
    let out = temp.path().join("out");
    let report = passes("tests/engine/containers.yaml", &out, &["--jobs", "2"]);
    assert_eq!(report["counts"]["pass"], 2, "{report}");
}

fn a_connection_from_the_port_of_one_that_is_half_open_is_judged_by_itself() {
    let temp = Folder::new();
    let out = temp.path().join("out");
    let report = passes("tests/engine/half-open.yaml", &out, &[]);
    assert_eq!(report["counts"]["pass"], 1, "{report}");
}

fn names_that_are_not_there_are_answered_at_once() {
    let temp = Folder::new();
    let out = temp.path().join("out");
    let report = passes("tests/engine/names.yaml", &out, &[]);
    assert_eq!(report["counts"]["pass"], 1, "{report}");
}

fn programs_that_send_datagrams_are_told_apart() {
    let temp = Folder::new();
    let out = temp.path().join("out");
    let report = passes("tests/engine/datagrams.yaml", &out, &[]);
    assert_eq!(report["counts"]["pass"], 1, "{report}");
}

fn programs_that_start_others_are_followed_and_not_taken_for_these() {
    let temp = Folder::new();
    let out = temp.path().join("out");
    let report = passes("tests/engine/programs.yaml", &out, &[]);
    assert_eq!(report["counts"]["pass"], 5, "{report}");
    let folder = |server: &str| cell_folder(&out, &format!("server={server}"));
    let retired = std::fs::read_to_string(folder("retires").join("transcript.log")).unwrap();
    let background = "exited with code 0; processes that it has left in the background go on";
    assert!(retired.contains(background), "{retired}");
    assert!(retired.contains("== was killed by SIGKILL"), "{retired}");
    // What the process sends that has the connection is not the doing of the kill.
    let wire = std::fs::read(folder("forks").join("wire.pcapng")).unwrap();
    let mut reader = rig::pcapng::Reader::new(&wire[..]).unwrap();
    let mut comments = Vec::new();
    while let Some(frame) = reader.next_frame() {
        comments.extend(frame.record.comments.iter().cloned());
    }
    let of_kill: Vec<_> = comments
        .iter()
        .filter(|text| text.contains("SIGKILL"))
        .collect();
    assert_eq!(
        of_kill,
        ["before this packet: SIGKILL server"],
        "{comments:?}"
    );
}

fn a_mark_holds_sixty_thousand_sockets() {
    let temp = Folder::new();
    let out = temp.path().join("out");
    let report = passes("tests/engine/many-sockets.yaml", &out, &[]);
    assert_eq!(report["counts"]["pass"], 1, "{report}");
    let file = cell_folder(&out, "many-sockets").join("sockets.json");
    let tables: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let table = &tables["full"]["hub"];
    assert!(table["sockets"].as_array().unwrap().len() >= 60_000);
    assert!(table["from"].as_u64() < table["until"].as_u64());
}

async fn packets_that_are_cut_as_asked_are_complete_and_say_so() {
    let temp = Folder::new();
    let out = temp.path().join("out");
    let report = passes("tests/engine/capture-settings.yaml", &out, &[]);
    assert_eq!(report["counts"]["pass"], 3, "{report}");
    let folder = cell_folder(&out, "ring=4MiB,server=on-the-lan");
    // The longest of a captured packet, the longest of a packet, and the snap length that the file tells.
    let lengths = |file: &str| {
        let capture = std::fs::read(folder.join(file)).unwrap();
        let mut reader = rig::pcapng::Reader::new(&capture[..]).unwrap();
        let mut longest = [0, 0];
        while let Some(frame) = reader.next_frame() {
            let kept = u32::try_from(frame.record.data.len()).unwrap();
            longest[0] = longest[0].max(kept);
            longest[1] = longest[1].max(frame.record.orig_len_bytes);
        }
        let told: Vec<u32> = reader.interfaces().map(|i| i.snaplen_bytes).collect();
        assert!(told.iter().all(|length| *length == told[0]), "{told:?}");
        (longest, told[0])
    };
    assert_eq!(lengths("hosts/left.pcapng"), ([128, 1514], 128));
    assert_eq!(lengths("hosts/near.pcapng"), ([256, 1514], 256));
    assert_eq!(lengths("wire.pcapng").1, 256);
    let flow = flow_of(&folder.join("wire.pcapng"));
    assert_eq!(flow["orig_bytes"], 4_000_000, "{flow}");

    let tools = Tools::on(&folder.join("wire.pcapng"), Release::Bookworm).await;
    let fields = ["-T", "fields", "-e", "frame.len", "-e", "frame.cap_len"];
    let arguments = [&["tshark", "-r", "CAPTURE"][..], &fields].concat();
    let told = tools.run(&arguments).await;
    assert!(told.lines().any(|line| line == "1514\t128"), "{told}");
}

fn repeats_are_counted_as_their_senders_kernel_counts_them() {
    let temp = Folder::new();
    let out = temp.path().join("out");
    let report = passes("tests/engine/counters.yaml", &out, &[]);
    assert_eq!(report["counts"]["pass"], 4, "{report}");
    // What the wire tells by itself; one repeat alone may be a probe or after a timeout.
    let of_the_wire = ["tail_loss_probes", "rto", "probe_or_rto", "fast"];
    for (cell, expected) in [
        ("nothing", [0, 0, 0, 0]),
        ("the-last", [0, 0, 1, 0]),
        ("probe-and-timeouts", [1, 3, 0, 0]),
        ("the-first", [0, 0, 0, 1]),
    ] {
        let folder = cell_folder(&out, &format!("loses={cell}"));
        let flow = flow_of(&folder.join("wire.pcapng"));
        let count = |name: &str| {
            let field = flow.get(format!("orig_{name}"));
            field.map_or(0, |count| count.as_u64().unwrap())
        };
        let told = of_the_wire.map(|kind| match kind {
            "tail_loss_probes" => count(kind),
            _ => count(&format!("{kind}_retransmissions")),
        });
        assert_eq!(told, expected, "{cell}: {flow}");
        let transcript = std::fs::read_to_string(folder.join("transcript.log")).unwrap();
        let kernel = |name: &str| -> u64 {
            let line = transcript.split(&format!("{name} ")).nth(1).unwrap();
            let digits: String = line.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().unwrap()
        };
        let [probes, timeouts, either, fast] = told;
        let (by_probe, by_timeout) = (kernel("TCPLossProbes"), kernel("TCPTimeouts"));
        assert_eq!(probes + timeouts + either, by_probe + by_timeout, "{cell}");
        assert!(probes <= by_probe && timeouts <= by_timeout, "{cell}");
        assert_eq!(fast, kernel("TCPFastRetrans"), "{cell}");
        assert_eq!(count("retransmissions"), kernel("RetransSegs"), "{cell}");
    }
}

/// What `rig flows` says of the only TCP connection of a capture.
fn flow_of(capture: &Path) -> Value {
    let mut command = rig();
    let output = command.args(["flows", "--json"]).arg(capture).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let flows: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(flows.len(), 1, "{lines}");
    flows.into_iter().next().unwrap()
}

async fn wireshark_reads_the_wire_as_it_was() {
    let temp = Folder::new();
    let out = temp.path().join("out");
    passes(
        "rig/matrices/smoke.yaml",
        &out,
        &["--filter", "ending=kill-client"],
    );
    let wire = cell_folder(&out, "ending=kill-client").join("wire.pcapng");
    let tools = Tools::on(&wire, Release::Bookworm).await;

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
    // again on a busy machine has an identification of its own (`ip.id`), or a timestamp if it is a SYN-ACK.
    let mut identity = vec!["tshark", "-r", "CAPTURE", "-Y", "tcp", "-T", "fields"];
    for field in [
        "ip.src",
        "ip.dst",
        "ip.id",
        "tcp.srcport",
        "tcp.seq_raw",
        "tcp.ack_raw",
        "tcp.flags",
        "tcp.options.timestamp.tsval",
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

async fn tshark_counts_the_same_connections() {
    let temp = Folder::new();
    let out = temp.path().join("out");
    passes("rig/matrices/smoke.yaml", &out, &[]);
    for cell in ["ending=quit", "ending=kill-client", "ending=kill-server"] {
        let wire = cell_folder(&out, cell).join("wire.pcapng");
        let ours = wireshark::ours(&std::fs::read(&wire).unwrap());
        assert_eq!(
            ours,
            wireshark::theirs(&wire, Release::Bookworm).await,
            "{cell}"
        );
        let merged = out.join(cell).join("merged.pcapng");
        merge(&out.join(cell).join("hosts"), &merged);
        assert_eq!(
            ours,
            wireshark::theirs(&merged, Release::Bookworm).await,
            "{cell}, merged"
        );
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

async fn what_a_fault_loses_is_marked_and_nothing_of_it_is_left() {
    let client = engine().await;
    let temp = Folder::new();
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

fn what_a_link_lost_is_marked_and_its_copies_are_not_repeated() {
    let temp = Folder::new();
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
