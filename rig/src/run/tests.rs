//! Whole runs on the fake backend.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Event, RunReport, Settings, run};
use crate::backend::fake::{FakeBackend, Faults};
use crate::judge::Verdict;
use crate::matrix;
use crate::spec;
use crate::units::HostName;

/// A client and a server; `%STEPS%` and `%CHECKS%` are the test's.
const MATRIX: &str = r#"
version: 1
name: fake
images: { none: { reference: "none:latest" } }
implementations:
  server:
    image: none
    run: [fake-server, "15102"]
    ready: { listening: 15102 }
    say: { stdin: "${text}\n" }
  client:
    image: none
    run: [fake-client, "${address.server}", "15102", "${node}"]
    ready: { connected: 15102 }
    say: { stdin: "${text}\n" }
    leave: { stdin: "quit\n" }
  window:
    image: none
    display: { size: 320x200 }
    run: [fake-client, "${address.server}", "15102", "${node}"]
    ready: { window: "${node}" }
    say: { type: "${text}\n" }
    leave: { type: "quit\n" }
networks: { lan: {} }
hosts: { hub: [lan], left: [lan], right: [lan] }
matrix:
  visit: [first, second, third]
nodes:
  server: { on: hub, is: server }
  alice: { on: left, is: client }
  bob: { on: right, is: client }
  carol: { on: left, is: window }
steps:
%STEPS%
checks:
%CHECKS%
"#;

const TALK: &str = "
  - start: [server, alice, bob]
  - { say: alice, text: ciao }
  - { hear: bob, text: ciao }
  - leave: alice
  - wait: alice
";

const CLOSED_BY_SERVER: &str =
    "  - { flow: alice -> server:15102, count: 1, fate: SF, closed-by: server }";

/// Runs the matrix with these steps and checks.
async fn run_fake(steps: &str, checks: &str, faults: Faults, out: &Path) -> (RunReport, usize) {
    let (report, backend, _) = run_until(
        steps,
        checks,
        faults,
        out,
        CancellationToken::new(),
        |_, _| {},
    )
    .await;
    (report, backend.live_cells())
}

async fn run_until(
    steps: &str,
    checks: &str,
    faults: Faults,
    out: &Path,
    stop: CancellationToken,
    mut watch: impl FnMut(&Event, &CancellationToken),
) -> (RunReport, Arc<FakeBackend>, Vec<String>) {
    let text = MATRIX.replace("%STEPS%", steps).replace("%CHECKS%", checks);
    let spec = spec::parse("fake.yaml", Path::new(""), text).unwrap();
    let cells = matrix::expand(&spec).unwrap().cells;
    let backend = Arc::new(FakeBackend::new(faults));
    let settings = Settings {
        run: "test".to_owned(),
        file: "fake.yaml".into(),
        out: out.to_owned(),
        jobs: 1,
        keep: false,
    };
    let (events, mut queue) = mpsc::channel(1024);
    let running = run(
        Arc::clone(&backend),
        Arc::new(spec),
        cells,
        settings,
        events,
        stop.clone(),
    );
    let mut started = Vec::new();
    let watching = async {
        while let Some(event) = queue.recv().await {
            watch(&event, &stop);
            if let Event::CellStarted { cell } = &event {
                started.push(cell.clone());
            }
        }
    };
    let (report, ()) = tokio::join!(running, watching);
    (report, backend, started)
}

#[tokio::test]
async fn a_run_passes_and_leaves_evidence() {
    let out = tempfile::tempdir().unwrap();
    let (report, live) = run_fake(TALK, CLOSED_BY_SERVER, Faults::default(), out.path()).await;
    assert_eq!(report.count(Verdict::Pass), 3, "{report:#?}");
    assert_eq!(live, 0);
    let folder = out.path().join("visit=first");
    for file in [
        "wire.pcapng",
        "hosts/hub.pcapng",
        "transcript.log",
        "sockets.json",
    ] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    let transcript = std::fs::read_to_string(folder.join("transcript.log")).unwrap();
    assert!(transcript.contains("alice        <- ciao"), "{transcript}");
}

#[tokio::test]
async fn a_check_that_does_not_hold_fails_its_cell() {
    let out = tempfile::tempdir().unwrap();
    let wrong = "  - { flow: alice -> server:15102, closed-by: alice }";
    let (report, _) = run_fake(TALK, wrong, Faults::default(), out.path()).await;
    assert_eq!(report.count(Verdict::Fail), 3, "{report:#?}");
    assert!(
        report.cells[0].checks[0].detail.contains("closed"),
        "{report:#?}"
    );
}

#[tokio::test]
async fn what_is_not_heard_fails_and_nothing_is_judged() {
    let out = tempfile::tempdir().unwrap();
    let steps = "
  - start: [server, alice, bob]
  - { hear: bob, text: never said, within: 50ms }
";
    let (report, _) = run_fake(steps, CLOSED_BY_SERVER, Faults::default(), out.path()).await;
    assert_eq!(report.count(Verdict::Fail), 3, "{report:#?}");
    let cell = &report.cells[0];
    assert_eq!(cell.checks[0].verdict, Verdict::Skipped);
    assert!(
        cell.trouble
            .as_ref()
            .unwrap()
            .message
            .contains("never said"),
        "{cell:#?}"
    );
    assert_eq!(cell.trouble.as_ref().unwrap().place.unwrap().line, 36);
}

#[tokio::test]
async fn a_program_that_ends_before_it_is_ready_is_told_with_its_exit_code() {
    let out = tempfile::tempdir().unwrap();
    let steps = "
  - { start: alice, within: 1s }
";
    let (report, _) = run_fake(steps, CLOSED_BY_SERVER, Faults::default(), out.path()).await;
    assert_eq!(report.count(Verdict::Error), 3, "{report:#?}");
    let why = &report.cells[0].trouble.as_ref().unwrap().message;
    assert!(
        why.contains("it has none; alice exited with code 2"),
        "{why}"
    );
}

#[tokio::test]
async fn a_dropped_packet_makes_a_cell_inconclusive() {
    let out = tempfile::tempdir().unwrap();
    let faults = Faults {
        drops: [(HostName::new("hub").unwrap(), 1)].into(),
        ..Faults::default()
    };
    let (report, _) = run_fake(TALK, CLOSED_BY_SERVER, faults, out.path()).await;
    assert_eq!(report.count(Verdict::Inconclusive), 3, "{report:#?}");
}

#[tokio::test]
async fn a_cell_without_checks_on_the_wire_needs_complete_captures_too() {
    let out = tempfile::tempdir().unwrap();
    let faults = Faults {
        drops: [(HostName::new("right").unwrap(), 1)].into(),
        ..Faults::default()
    };
    let (report, _) = run_fake(TALK, "  - { exit: alice, code: 0 }", faults, out.path()).await;
    assert_eq!(report.count(Verdict::Inconclusive), 3, "{report:#?}");
    let why = &report.cells[0].trouble.as_ref().unwrap().message;
    assert!(why.contains("right@lan"), "{why}");
}

#[tokio::test]
async fn an_engine_that_fails_is_an_error_of_the_cell() {
    let out = tempfile::tempdir().unwrap();
    let faults = Faults {
        open_fails: Some("no room".to_owned()),
        ..Faults::default()
    };
    let (report, live) = run_fake(TALK, CLOSED_BY_SERVER, faults, out.path()).await;
    assert_eq!(report.count(Verdict::Error), 3, "{report:#?}");
    assert!(report.cells[0].trouble.is_some());
    assert_eq!(live, 0);
}

#[tokio::test]
async fn what_stays_on_the_machine_is_told() {
    let out = tempfile::tempdir().unwrap();
    let faults = Faults {
        left_behind: Some("network x".to_owned()),
        ..Faults::default()
    };
    let (report, _) = run_fake(TALK, CLOSED_BY_SERVER, faults, out.path()).await;
    assert_eq!(report.left_behind.len(), 1, "{report:#?}");
}

#[tokio::test]
async fn an_interrupted_run_skips_the_rest_and_leaves_no_cell() {
    let out = tempfile::tempdir().unwrap();
    let steps = format!("{TALK}  - settle: 1h\n");
    let stop = CancellationToken::new();
    let interrupt = |event: &Event, stop: &CancellationToken| {
        if matches!(event, Event::Step { text, .. } if text.contains("settle")) {
            stop.cancel();
        }
    };
    let running = run_until(
        &steps,
        "  []",
        Faults::default(),
        out.path(),
        stop,
        interrupt,
    );
    let (report, backend, started) = tokio::time::timeout(Duration::from_secs(30), running)
        .await
        .unwrap();
    assert!(report.interrupted);
    assert_eq!(report.count(Verdict::Skipped), 3, "{report:#?}");
    assert_eq!(started.len(), 1);
    assert_eq!(backend.live_cells(), 0);
}

const WRONG: &str = "  - { flow: alice -> server:15102, closed-by: alice }";

/// The verdicts of a run in which the first visit is expected to fail.
async fn expected(checks: &str, more: &str, faults: Faults) -> RunReport {
    let out = tempfile::tempdir().unwrap();
    let checks =
        format!("{checks}\nexpected-failures:\n  - {{ visit: first, reason: known defect{more} }}");
    run_fake(TALK, &checks, faults, out.path()).await.0
}

#[tokio::test]
async fn a_cell_that_fails_as_expected_is_no_failure() {
    for more in [
        "",
        ", fails: closed by alice",
        ", fails: [x, alice -> server]",
    ] {
        let report = expected(WRONG, more, Faults::default()).await;
        assert_eq!(report.count(Verdict::ExpectedFailure), 1, "{report:#?}");
        assert_eq!(report.count(Verdict::Fail), 2, "{report:#?}");
        let cell = &report.cells[0];
        assert_eq!(cell.verdict, Verdict::ExpectedFailure);
        assert_eq!(cell.expected.as_deref(), Some("known defect"));
        assert_eq!(cell.checks[0].verdict, Verdict::Fail);
    }
}

#[tokio::test]
async fn a_cell_that_passes_though_it_is_expected_to_fail_fails() {
    let report = expected(CLOSED_BY_SERVER, "", Faults::default()).await;
    assert_eq!(report.count(Verdict::Fail), 1, "{report:#?}");
    assert_eq!(report.count(Verdict::Pass), 2, "{report:#?}");
    let trouble = report.cells[0].trouble.as_ref().unwrap();
    assert_eq!(
        trouble.message,
        "passed though it was expected to fail: known defect"
    );
    assert_eq!(trouble.place.unwrap().line, 44);
}

#[tokio::test]
async fn a_cell_that_fails_otherwise_than_expected_fails() {
    let report = expected(WRONG, ", fails: bob", Faults::default()).await;
    assert_eq!(report.count(Verdict::Fail), 3, "{report:#?}");
    let trouble = report.cells[0].trouble.as_ref().unwrap();
    assert!(
        trouble
            .message
            .starts_with("failed otherwise than expected: flow alice"),
        "{trouble:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_told_is_no_expected_failure() {
    let faults = Faults {
        drops: [(HostName::new("hub").unwrap(), 1)].into(),
        ..Faults::default()
    };
    let report = expected(CLOSED_BY_SERVER, "", faults).await;
    assert_eq!(report.count(Verdict::Inconclusive), 3, "{report:#?}");
}

#[tokio::test]
async fn windows_are_typed_at_and_pictures_kept() {
    let out = tempfile::tempdir().unwrap();
    let steps = "
  - start: [server, bob, carol]
  - { type: carol, text: \"ciao\\n\", window: carol }
  - { hear: bob, text: ciao }
  - { key: carol, press: [ctrl+a, enter] }
  - { click: carol, at: [10, 10] }
  - { until: { window: carol, title: carol } }
  - { screenshot: carol, name: after-ciao }
  - { say: carol, text: perché }
  - { hear: bob, text: perché }
  - leave: carol
  - wait: carol
";
    let checks = "  - { flow: carol -> server:15102, count: 1, closed-by: server }";
    let (report, _) = run_fake(steps, checks, Faults::default(), out.path()).await;
    assert_eq!(report.count(Verdict::Pass), 3, "{report:#?}");
    let screens: Vec<_> = report.cells[0].screens.iter().collect();
    assert_eq!(screens, [Path::new("screens/after-ciao.png")]);
    let folder = out.path().join("visit=first");
    assert!(folder.join("screens/after-ciao.png").is_file());
    let transcript = std::fs::read_to_string(folder.join("transcript.log")).unwrap();
    for told in [
        "<- ciao",
        "<- (ctrl+a enter)",
        "<- (click at 10, 10)",
        "!! screenshot after-ciao",
    ] {
        assert!(transcript.contains(told), "{told}: {transcript}");
    }
}

#[tokio::test]
async fn a_cell_that_fails_has_a_picture_of_its_end() {
    let out = tempfile::tempdir().unwrap();
    let steps = "
  - start: [server, carol]
  - { until: { window: carol, title: Welcome }, within: 400ms }
";
    let (report, _) = run_fake(steps, "  []", Faults::default(), out.path()).await;
    assert_eq!(report.count(Verdict::Fail), 3, "{report:#?}");
    let cell = &report.cells[0];
    let why = &cell.trouble.as_ref().unwrap().message;
    assert!(why.contains("\"Welcome\" in its title"), "{why}");
    assert_eq!(cell.screens, [Path::new("screens/carol-at-the-end.png")]);
}

#[tokio::test]
async fn a_window_that_is_not_there_is_an_error() {
    let out = tempfile::tempdir().unwrap();
    let steps = "
  - start: [server, carol]
  - { kill: carol }
  - { wait: carol }
  - { click: carol, at: [10, 10] }
";
    let (report, _) = run_fake(steps, "  []", Faults::default(), out.path()).await;
    assert_eq!(report.count(Verdict::Error), 3, "{report:#?}");
}

#[tokio::test]
async fn a_program_that_has_printed_whole_lines_gets_no_hint() {
    let out = tempfile::tempdir().unwrap();
    let steps = "
  - start: server
  - { hear: server, text: \"listening on\" }
  - { hear: server, text: never said, within: 50ms }
";
    let (report, _) = run_fake(steps, CLOSED_BY_SERVER, Faults::default(), out.path()).await;
    assert_eq!(report.count(Verdict::Fail), 3, "{report:#?}");
    assert_eq!(report.cells[0].trouble.as_ref().unwrap().hint, None);
}
