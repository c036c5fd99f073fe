//! What a cell costs, alone and four at a time: `cargo bench -p rig --bench cells`.
//!
//! Runs `rig/benches/cells.yaml` with the real rig on a real engine and prints the figures that
//! docs/performance.md keeps. The images are built by a first run that is not counted.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Runs of a single cell.
const ALONE: usize = 5;

/// Goal for a single cell beyond its settle times, in seconds, on a quiet machine with 2 cores.
const GOAL_ALONE_S: f64 = 1.2;

/// Goal for the cells a second.
const GOAL_CELLS: f64 = 1.0;

/// What the matrix settles for.
const SETTLE: Duration = Duration::from_millis(100);

fn main() {
    let matrix = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/cells.yaml");
    let out = tempfile::tempdir().expect("a folder for the evidence");
    run(&matrix, out.path(), &["--filter", "copy=c01"]);

    let mut alone = Vec::new();
    for _ in 0..ALONE {
        let (report, _) = run(
            &matrix,
            out.path(),
            &["--filter", "copy=c01", "--jobs", "1"],
        );
        let took = report["cells"][0]["duration_s"]
            .as_f64()
            .expect("a cell's time");
        alone.push(Duration::from_secs_f64(took).saturating_sub(SETTLE));
    }
    alone.sort();
    print(
        "one cell alone, beyond its settle times, median",
        alone[ALONE / 2].as_secs_f64(),
        "s",
        &format!("at most {GOAL_ALONE_S}"),
    );

    let (report, wall) = run(&matrix, out.path(), &["--jobs", "4"]);
    let cells = report["cells"].as_array().expect("cells").len();
    let count = f64::from(u32::try_from(cells).expect("a small number"));
    print(
        "cells a second with --jobs 4",
        count / wall.as_secs_f64(),
        "",
        &format!("at least {GOAL_CELLS}"),
    );
}

/// Runs the matrix and gives its report and its time from start to end, clean-up included.
fn run(matrix: &Path, out: &Path, arguments: &[&str]) -> (Value, Duration) {
    let folder = out.join("evidence");
    let began = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_rig"))
        .arg("run")
        .arg(matrix)
        .arg("--out")
        .arg(&folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .expect("rig starts");
    let wall = began.elapsed();
    assert!(status.success(), "every cell passes");
    let report = std::fs::read(folder.join("run.json")).expect("a report");
    (serde_json::from_slice(&report).expect("JSON"), wall)
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn print(what: &str, figure: f64, unit: &str, goal: &str) {
    println!("{what}: {figure:.2} {unit} (goal: {goal})");
}
