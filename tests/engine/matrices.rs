//! The bundled matrices: every cell is as its file expects.
//!
//! What a run printed is the report of a failure, and its evidence stays in the target folder until the matrix
//! passes.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::say;
use crate::support::{with_environment, workspace_file};

/// It has tests of its own, which look at its evidence.
const LOOKED_AT_ELSEWHERE: &str = "smoke";

/// How often a long run tells how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(20);

/// No run may take longer; on a busy machine the largest stays far below it.
const RUN_SECONDS: &str = "1500";

/// What begins the line that tells of a finished cell.
const VERDICTS: [&str; 6] = ["pass", "fail", "error", "inconclusive", "skipped", "xfail"];

/// A test for each matrix, the longest first: those that come last then fill what is left of the machine.
pub(crate) fn trials() -> Vec<Trial> {
    let folder = workspace_file("rig/matrices");
    let files = fs::read_dir(&folder).unwrap();
    let mut matrices: Vec<_> = files
        .map(|file| file.unwrap().path())
        .filter(|file| {
            file.file_stem()
                .is_some_and(|name| name != LOOKED_AT_ELSEWHERE)
        })
        .map(|file| (cells(&file), file))
        .collect();
    assert!(matrices.len() >= 10, "{matrices:?}");
    matrices.sort();
    let trials = matrices.into_iter().rev();
    trials
        .map(|(cells, file)| {
            let name = file.file_stem().unwrap().display().to_string();
            Trial::test(format!("matrices::{name}"), move || {
                passes(&name, &file, cells)
            })
        })
        .collect()
}

/// How many cells a matrix has.
fn cells(file: &Path) -> usize {
    let text = fs::read_to_string(file).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let spec = rig::spec::parse(name, file.parent().unwrap(), text).unwrap();
    rig::matrix::expand(&spec).unwrap().cells.len()
}

fn passes(name: &str, file: &Path, cells: usize) -> Result<(), Failed> {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("matrices")
        .join(name);
    fs::create_dir_all(out.parent().unwrap())?;
    let mut command = Command::new("timeout");
    command
        // In the foreground: who interrupts the tests interrupts it, too.
        .args([
            "--foreground",
            "--signal=INT",
            "--kill-after=60",
            RUN_SECONDS,
        ])
        .arg(env!("CARGO_BIN_EXE_rig"))
        .arg("run")
        .arg(file)
        .arg("--out")
        .arg(&out);
    let mut running = with_environment(&mut command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdout = running.stdout.take().unwrap();
    let stderr = running.stderr.take().unwrap();
    let (told, log) = thread::scope(|scope| {
        let told = scope.spawn(|| text(stdout));
        let log = follow(name, cells, stderr);
        (told.join().unwrap(), log)
    });
    let status = running.wait()?;
    if status.success() {
        fs::remove_dir_all(&out)?;
        return Ok(());
    }
    let log = match status.code() {
        // The report says it all.
        Some(1 | 4) => String::new(),
        _ => log,
    };
    Err(Failed::from(format!(
        "rig run {}: {status}\n{told}{log}evidence: {}",
        file.display(),
        out.display()
    )))
}

/// Reads what a run says while it goes on, and tells now and then how far it is.
fn follow(name: &str, cells: usize, stderr: impl Read) -> String {
    let mut log = String::new();
    let (mut done, mut passed) = (0, 0);
    let mut told = Instant::now();
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let verdict = line.split_whitespace().next().unwrap_or_default();
        if VERDICTS.contains(&verdict) {
            done += 1;
            passed += usize::from(matches!(verdict, "pass" | "xfail"));
        }
        log.push_str(&line);
        log.push('\n');
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            say(&format!(
                "matrices::{name}: {done} of {cells} cells, {} not as expected",
                done - passed
            ));
        }
    }
    log
}

fn text(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).ok();
    String::from_utf8_lossy(&bytes).into_owned()
}
