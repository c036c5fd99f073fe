//! `rig check --expect`: old evidence judged again gives what the run gave, and a file of checks
//! alone works on any capture.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use rig::backend::fake::{FakeBackend, Faults};
use rig::judge::Verdict;
use rig::run::{CellReport, Settings, run};
use rig::units::HostName;
use rig::{matrix, spec};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::captures;

/// Two clients share host `left`, so that only the account of a run tells their connections apart.
const MATRIX: &str = r#"
version: 1
name: again
patterns:
  talk: handshake ... > DATA ...
  leaves(server): talk orderly-close-by(responder)
images: { none: { reference: "none:latest" } }
implementations:
  server:
    image: none
    run: [fake-server, "15102"]
    ready: { listening: 15102 }
  client:
    image: none
    run: [fake-client, "${address.server}", "15102", "${node}"]
    ready: { connected: 15102 }
    say: { stdin: "${text}\n" }
    leave: { stdin: "quit\n" }
networks: { lan: {} }
hosts: { hub: [lan], left: [lan], right: [lan] }
matrix:
  ending:
    leave: { do: [{ leave: alice }, { wait: alice }] }
    kill: { do: [{ kill: alice }] }
    stuck: { do: [{ hear: bob, text: never said, within: 50ms }] }
nodes:
  server: { on: hub, is: server }
  alice: { on: left, is: client }
  bob: { on: left, is: client }
  carol: { on: right, is: client }
steps:
  - start: [server, alice, bob, carol]
  - { say: alice, text: ciao }
  - { hear: bob, text: ciao }
  - mark: talking
  - use: ending
  - settle: 20ms
checks:
  - { flow: alice -> server:15102, count: 1, when: { ending: leave }, pattern: leaves(server), never: RST }
  - { flow: alice -> server, when: { ending: leave }, closed-by: alice }
  - { flow: alice -> server, when: { ending: kill }, fate: [SF, RSTO, S2, S3] }
  - { flow: bob -> server, fate: S1, never: [FIN, "> DATA[retransmission]"] }
  - { flow: carol -> server, nth: 1, never: RST }
  - { flow: carol -> server, never: "< SYN-ACK" }
  - { exit: server, running: true }
  - { heard: bob, text: ciao }
  - { sockets: server, at: talking, has: [{ state: LISTEN, port: 15102 }] }
"#;

/// A matrix that was run on the fake backend.
struct Ran {
    folder: tempfile::TempDir,
    cells: Vec<CellReport>,
}

impl Ran {
    async fn new() -> Self {
        Self::with(Faults::default()).await
    }

    async fn with(faults: Faults) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("again.yaml");
        fs::write(&file, MATRIX).unwrap();
        let spec = spec::load(&file).unwrap();
        let cells = matrix::expand(&spec).unwrap().cells;
        let settings = Settings {
            run: "test".to_owned(),
            file,
            out: folder.path().join("out"),
            jobs: 1,
            keep: false,
        };
        let (events, mut queue) = tokio::sync::mpsc::channel(64);
        let stop = CancellationToken::new();
        let backend = Arc::new(FakeBackend::new(faults));
        let running = run(backend, Arc::new(spec), cells, settings, events, stop);
        let emptied = async { while queue.recv().await.is_some() {} };
        let (report, ()) = tokio::join!(running, emptied);
        Self {
            folder,
            cells: report.cells,
        }
    }

    fn cell(&self, name: &str) -> &CellReport {
        self.cells.iter().find(|cell| cell.cell == name).unwrap()
    }

    fn evidence(&self, cell: &str) -> PathBuf {
        self.folder.path().join("out").join(cell)
    }

    fn check(&self, capture: &Path, arguments: &[&str]) -> Output {
        let file = self.folder.path().join("again.yaml");
        let words = [
            "check",
            capture.to_str().unwrap(),
            "--expect",
            file.to_str().unwrap(),
        ];
        rig(&[&words[..], arguments].concat())
    }
}

fn rig(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rig"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(arguments)
        .output()
        .unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn verdict(line: &Value) -> String {
    line["verdict"].as_str().unwrap().to_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Holds the lines of a check against what the run said of the cell; gives the verdicts on flows.
fn same_as_the_run(lines: &[Value], report: &CellReport) -> Vec<Verdict> {
    let mut judged = Vec::new();
    assert!(lines.len() >= report.checks.len(), "{lines:?}");
    for (line, check) in lines.iter().zip(&report.checks) {
        assert_eq!(line["check"], check.check.as_str());
        if !check.check.starts_with("flow ") {
            assert_eq!(verdict(line), "skipped", "{line}");
            assert!(line["problems"][0].as_str().unwrap().contains("capture"));
            continue;
        }
        assert_eq!(verdict(line), check.verdict.word(), "{line} {check:?}");
        assert_eq!(line["frames"], serde_json::to_value(&check.frames).unwrap());
        let detail = line["problems"][0].as_str().unwrap_or_default();
        assert_eq!(detail, check.detail);
        judged.push(check.verdict);
    }
    judged
}

#[tokio::test]
async fn evidence_judged_again_gives_what_the_run_gave() {
    let ran = Ran::new().await;
    for cell in ["ending=leave", "ending=kill"] {
        let report = ran.cell(cell);
        let output = ran.check(&ran.evidence(cell), &["--json"]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let lines = lines(&output);
        assert_eq!(lines.len(), report.checks.len(), "{cell}");
        let judged = same_as_the_run(&lines, report);
        assert!(judged.contains(&Verdict::Pass) && judged.contains(&Verdict::Fail));
    }
    // A step failed, so nothing was judged then, and nothing is now.
    let output = ran.check(&ran.evidence("ending=stuck"), &["--json"]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(lines(&output).iter().all(|line| verdict(line) == "skipped"));
}

#[tokio::test]
async fn evidence_that_is_not_complete_stays_so() {
    let ran = Ran::with(Faults {
        sentinel_missing: vec![HostName::new("left").unwrap()],
        ..Faults::default()
    })
    .await;
    let output = ran.check(&ran.evidence("ending=kill"), &["--json"]);
    let lines = lines(&output);
    let judged = same_as_the_run(&lines, ran.cell("ending=kill"));
    assert!(judged.contains(&Verdict::Inconclusive), "{judged:?}");
    let doubt = lines.last().unwrap();
    assert_eq!(verdict(doubt), "inconclusive");
    let why = doubt["problems"][0].as_str().unwrap();
    assert!(why.contains("left@lan is not proven complete"), "{why}");
}

#[tokio::test]
async fn a_capture_without_the_account_of_a_run_is_taken_as_it_is() {
    let ran = Ran::new().await;
    let alone = ran.folder.path().join("alone.pcapng");
    fs::copy(ran.evidence("ending=kill").join("wire.pcapng"), &alone).unwrap();
    let output = ran.check(&alone, &["--json"]);
    let verdicts: Vec<_> = lines(&output).iter().map(verdict).collect();
    // Either client of `left` may have opened its connections; carol is alone on her host.
    assert_eq!(
        verdicts,
        [
            "inconclusive",
            "inconclusive",
            "pass",
            "fail",
            "skipped",
            "skipped",
            "skipped"
        ]
    );
    assert_eq!(output.status.code(), Some(1));
    let named = ran.check(&alone, &["--json", "--cell", "ending=kill"]);
    assert_eq!(named.stdout, output.stdout);
}

#[tokio::test]
async fn the_cell_must_be_known() {
    let ran = Ran::new().await;
    let leave = ran.evidence("ending=leave");
    let unnamed = captures::path("orderly");
    for (capture, cell, message) in [
        (
            &leave,
            Some("ending=kill"),
            "is the evidence of cell `ending=leave`",
        ),
        (
            &unnamed,
            None,
            "give `--cell NAME`, one of ending=leave, ending=kill",
        ),
        (
            &unnamed,
            Some("ending=kil"),
            "no cell `ending=kil`: did you mean `ending=kill`?",
        ),
        (
            &unnamed,
            Some("ending=kill"),
            "no address with the name of host `left`; it names alice, hub",
        ),
    ] {
        let arguments: Vec<_> = cell
            .map(|cell| ["--cell", cell])
            .into_iter()
            .flatten()
            .collect();
        let output = ran.check(capture, &arguments);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
    }
    fs::write(leave.join("evidence.json"), "{").unwrap();
    let output = ran.check(&leave, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("evidence.json"),
        "{}",
        stderr(&output)
    );
}

/// Runs a file of checks alone on one of the captures of the examples.
fn plain(capture: &str, checks: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checks.yaml");
    fs::write(&file, checks).unwrap();
    let capture = captures::path(capture);
    let output = rig(&[
        "check",
        capture.to_str().unwrap(),
        "--expect",
        file.to_str().unwrap(),
    ]);
    let hide = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.replace(folder.path().to_str().unwrap(), "DIR")
            .into_bytes()
    };
    Output {
        stderr: hide(&output.stderr),
        ..output
    }
}

fn shown(output: &Output) -> String {
    let code = output.status.code().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    format!("{stdout}{}exit code {code}\n", stderr(output))
}

#[test]
fn checks_alone_work_on_any_capture() {
    let checks = r#"
patterns:
  quits: > DATA[bytes="quit"]
checks:
  - flow: "alice -> :15102"
    count: 1
    fate: [SF, S3]
    closed-by: responder
    pattern: handshake ... quits ... orderly-close-by(responder)
    never: [RST, "- DATA[retransmission]"]
  - { flow: "* -> 15102", never: "< FIN" }
  - { flow: "* -> *", nth: 2 }
"#
    .replace(
        "quits: > DATA[bytes=\"quit\"]",
        "quits: '> DATA[bytes=\"quit\"]'",
    );
    insta::assert_snapshot!("expect-checks", shown(&plain("orderly", &checks)));
}

#[test]
fn the_checks_of_the_document_pass() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/patterns.md");
    let document = fs::read_to_string(path).unwrap();
    let (_, checks) = document.split_once("```yaml\n").unwrap();
    let (checks, _) = checks.split_once("```").unwrap();
    let output = plain("orderly", checks);
    assert!(output.status.success(), "{}", shown(&output));
}

#[test]
fn mistakes_in_checks_are_pointed_at() {
    let checks = r#"
checks:
  - { flow: "* -> 15102", fates: SF }
  - { flow: "* -> 15102", closed-by: alice, pattern: handshakes }
  - { exit: server, code: 0 }
  - { flow: "* -> 15102", never: "> RTS", count: many }
"#;
    insta::assert_snapshot!("expect-mistakes", shown(&plain("orderly", checks)));
    let ends = "checks: [{ flow: \"alicia -> *\" }]\n";
    insta::assert_snapshot!("expect-ends", shown(&plain("orderly", ends)));
    insta::assert_snapshot!("expect-empty", shown(&plain("orderly", "version: 1\n")));
}

#[test]
fn expectations_stand_alone() {
    for option in ["--flow", "--pattern", "--fate", "--count"] {
        let output = rig(&["check", "x", "--expect", "y", option, "1"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("cannot be used with"), "{option}");
    }
}
