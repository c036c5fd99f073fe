//! A run with one cell of every verdict, and text that nobody would want on a screen.

use std::path::Path;
use std::time::Duration;

use crate::judge::{CheckReport, Verdict};
use crate::report::MatrixSource;
use crate::run::{CellReport, Event, ImageState, RunReport, StepReport, Trouble};
use crate::spec::Place;
use crate::units::{ImageName, Timestamp};

/// 2026-01-31T09:30:00Z.
const STARTED: Timestamp = Timestamp(1_769_851_800_000_000_000);

/// Clears a terminal, turns text around, and is markup.
pub(super) const HOSTILE: &str =
    "\u{1b}[2J\u{1b}]0;x\u{7}\u{202e}<script>alert('1')</script>\"&\u{9b}31m\u{0}";

/// The matrix that the places of [`run_report`] point into.
pub(super) fn source() -> MatrixSource {
    MatrixSource::new(
        Path::new("matrices/chat.yaml"),
        "version: 1\nname: chat\nchecks:\n  - { flow: alice -> server, fate: SF }\n  - { exit: server, code: 0 }\n",
    )
}

fn place(line: u32, len_bytes: usize) -> Place {
    Place {
        line,
        column: 5,
        offset_bytes: 0,
        len_bytes,
    }
}

fn check(verdict: Verdict, detail: &str) -> CheckReport {
    CheckReport {
        check: "flow alice -> server fate SF".into(),
        place: place(4, 35),
        verdict,
        detail: detail.into(),
        ladder: None,
        frames: vec![],
    }
}

fn cell(cell: &str, verdict: Verdict) -> CellReport {
    CellReport {
        cell: cell.into(),
        verdict,
        expected: None,
        started: STARTED,
        took: Duration::from_millis(1234),
        steps: vec![StepReport {
            step: "start server, alice".into(),
            started: STARTED,
            took: Duration::from_millis(250),
            verdict: Verdict::Pass,
        }],
        checks: vec![],
        trouble: None,
        evidence: Some(cell.into()),
        screens: vec![],
        kept: vec![],
    }
}

fn trouble(message: &str, place: Option<Place>) -> Trouble {
    Trouble {
        message: message.into(),
        hint: Some("see `docker logs`".into()),
        place,
        blame: crate::backend::Blame::Machine,
    }
}

/// One passed, one failed with a ladder, one failed as expected, one inconclusive, two with the same trouble, one skipped.
pub(super) fn run_report() -> RunReport {
    let mut passed = cell("client=terminal,ending=quit", Verdict::Pass);
    passed.checks = vec![check(Verdict::Pass, "")];
    let mut failed = cell("client=netcat,ending=quit", Verdict::Fail);
    failed.checks = vec![
        CheckReport {
            ladder: Some(
                "expected        came\n> SYN           > SYN   1\n< SYN-ACK       < RST   2  <- here"
                    .into(),
            ),
            frames: vec![1, 2],
            ..check(Verdict::Fail, "expected fate SF, came REJ")
        },
        CheckReport {
            check: "exit server code 0".into(),
            place: place(5, 25),
            ..check(Verdict::Pass, "")
        },
    ];
    failed.kept = vec!["rig-a1b2c3-1-hub".into(), "rig-a1b2c3-1-server-1".into()];
    let mut inconclusive = cell("client=socat,ending=quit", Verdict::Inconclusive);
    inconclusive.trouble = Some(trouble(
        "prove the capture of alice@lan complete: the kernel dropped 3 packets",
        None,
    ));
    let mut expected = cell("client=telnet,ending=quit", Verdict::ExpectedFailure);
    expected.expected = Some("telnet ends lines with CR LF".into());
    expected.checks = vec![check(Verdict::Fail, "expected fate SF, came RSTO")];
    expected.screens = vec!["screens/alice-at-the-end.png".into()];
    let unready = |name| CellReport {
        trouble: Some(trouble(
            "start server: no program of it listens on port 15102 after 5.00s",
            Some(place(5, 14)),
        )),
        checks: vec![check(
            Verdict::Skipped,
            "not judged: a step before it failed",
        )],
        evidence: None,
        ..cell(name, Verdict::Error)
    };
    let mut skipped = cell("client=ncat,ending=kill", Verdict::Skipped);
    skipped.evidence = None;
    skipped.took = Duration::ZERO;
    skipped.steps = vec![];
    skipped.trouble = Some(Trouble {
        message: "the run was interrupted before it began".into(),
        hint: None,
        place: None,
        blame: crate::backend::Blame::Machine,
    });
    RunReport {
        run: "a1b2c3".into(),
        matrix: "chat".into(),
        file: "matrices/chat.yaml".into(),
        started: STARTED,
        took: Duration::from_millis(7654),
        cells: vec![
            passed,
            failed,
            expected,
            inconclusive,
            unready("client=terminal,ending=kill"),
            unready("client=netcat,ending=kill"),
            skipped,
        ],
        interrupted: true,
        left_behind: vec!["network rig-a1b2c3-lan: it has active endpoints".into()],
        out: "rig-out".into(),
    }
}

/// A run in which every text that comes from outside is [`HOSTILE`], and one is very long.
pub(super) fn hostile_report() -> RunReport {
    let mut report = run_report();
    report.matrix = HOSTILE.into();
    report.file = HOSTILE.into();
    report.left_behind = vec![HOSTILE.into()];
    for cell in &mut report.cells {
        cell.cell.push_str(HOSTILE);
        cell.kept = vec![HOSTILE.into()];
        cell.screens = vec![HOSTILE.into()];
        cell.expected = cell.expected.as_ref().map(|_| HOSTILE.into());
        if let Some(trouble) = &mut cell.trouble {
            trouble.message = HOSTILE.into();
            trouble.hint = Some(HOSTILE.into());
        }
        for step in &mut cell.steps {
            step.step = HOSTILE.into();
        }
        for check in &mut cell.checks {
            check.check = HOSTILE.into();
            check.detail = HOSTILE.repeat((1 << 20) / HOSTILE.len());
            check.ladder = Some(check.detail.clone());
            check.frames = (1..=100_000).collect();
        }
    }
    report
}

/// The events of a run that ends in `report`.
pub(super) fn events(report: RunReport) -> Vec<Event> {
    let cells: Vec<_> = report.cells.iter().map(|cell| cell.cell.clone()).collect();
    let image = ImageName::new("chat").unwrap();
    let mut events = vec![
        Event::Started {
            run: report.run.clone(),
            matrix: report.matrix.clone(),
            cells,
            jobs: 2,
            out: report.out.clone(),
        },
        Event::Image {
            name: image.clone(),
            state: ImageState::Working("compiling package chat".into()),
        },
        Event::Image {
            name: image,
            state: ImageState::Ready {
                reference: "rig/chat:5f2e".into(),
                took: Duration::from_millis(2100),
            },
        },
    ];
    for cell in &report.cells {
        if cell.verdict == Verdict::Skipped {
            continue;
        }
        events.push(Event::CellStarted {
            cell: cell.cell.clone(),
        });
        for (index, step) in cell.steps.iter().enumerate() {
            events.push(Event::Step {
                cell: cell.cell.clone(),
                index,
                total: 3,
                text: step.step.clone(),
            });
        }
        events.push(Event::CellFinished(Box::new(cell.clone())));
    }
    if report.interrupted {
        events.push(Event::Interrupted);
    }
    events.push(Event::Finished(Box::new(report)));
    events
}
