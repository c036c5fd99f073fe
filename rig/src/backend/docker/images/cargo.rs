//! Programs of a Cargo package, compiled for an image.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cargo_metadata::Message;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;
use tokio_util::task::TaskTracker;

use super::job::Job;
use super::prepare::{ImageProgress, Listener};
use crate::backend::BackendError;
use crate::spec::CargoBuild;
use crate::units::{ImageName, printable};

/// Programs are measured as they would be used.
const DEFAULT_PROFILE: &str = "release";

/// The longest that a compilation may take.
const CARGO_TIMEOUT: Duration = Duration::from_mins(30);

/// How much of the compiler's messages an error shows, in lines from their end.
const ERROR_LINES: usize = 30;

/// How much of Cargo's JSON is read, in bytes.
const MAX_MESSAGES_BYTES: u64 = 256 * 1024 * 1024;

/// Compiles every program of the package and gives their paths.
pub(super) async fn build(
    name: &ImageName,
    request: &CargoBuild,
    folder: &Path,
    listener: Listener<'_>,
    undoing: &TaskTracker,
) -> Result<Vec<PathBuf>, BackendError> {
    let operation = format!(
        "make image `{name}`: cargo build of package `{}`",
        request.package.value
    );
    let place = request.package.place;
    let failed = |why: String| BackendError::input(format!("{operation}: {why}"), place);
    let profile = request
        .profile
        .as_ref()
        .map_or(DEFAULT_PROFILE, |profile| &profile.value);
    listener(ImageProgress::Working {
        name: name.clone(),
        what: format!("compiling package {}", request.package.value),
    });
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--message-format=json-render-diagnostics",
            "--bins",
        ])
        .args(["--package", &request.package.value, "--profile", profile])
        .current_dir(folder);
    let mut job = Job::start(&mut command, undoing)
        .map_err(|error| BackendError::machine(format!("{operation}: start cargo: {error}")))?;
    let Some((stdout, stderr)) = job.outputs() else {
        return Err(BackendError::machine(format!(
            "{operation}: its output is not to be had"
        )));
    };
    let run = async {
        let mut messages = Vec::new();
        let mut limited = stdout.take(MAX_MESSAGES_BYTES);
        let (read, log) = tokio::join!(limited.read_to_end(&mut messages), async {
            let mut log = Vec::new();
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                listener(ImageProgress::Output {
                    name: name.clone(),
                    line: printable(line.trim()),
                });
                log.push(printable(&line));
            }
            log
        });
        (read.map(|_| messages), log, job.ended().await)
    };
    let (messages, log, status) = tokio::time::timeout(CARGO_TIMEOUT, run)
        .await
        .map_err(|_| failed(format!("not done within {} s", CARGO_TIMEOUT.as_secs())))?;
    let messages = messages.map_err(|error| failed(error.to_string()))?;
    let status = status.map_err(|error| failed(error.to_string()))?;
    if !status.success() {
        let tail = log.len().saturating_sub(ERROR_LINES);
        return Err(failed(format!("{status}\n{}", log[tail..].join("\n"))));
    }
    let programs = executables(&messages);
    if programs.is_empty() {
        return Err(failed("it has no program".to_owned()));
    }
    Ok(programs)
}

/// Paths of the programs that Cargo reports.
fn executables(messages: &[u8]) -> Vec<PathBuf> {
    Message::parse_stream(messages)
        .filter_map(|message| match message {
            Ok(Message::CompilerArtifact(artifact)) if artifact.target.is_bin() => {
                artifact.executable.map(PathBuf::from)
            }
            _ => None,
        })
        .collect()
}
