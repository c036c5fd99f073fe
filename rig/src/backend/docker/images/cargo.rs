//! Programs of a Cargo package, compiled for an image.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cargo_metadata::{Message, MetadataCommand};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;
use tokio_util::task::TaskTracker;

use super::elf::is_dynamic;
use super::job::Job;
use super::prepare::{ImageProgress, Listener};
use crate::backend::BackendError;
use crate::spec::{CargoBuild, Linking};
use crate::units::{ImageName, printable};

/// Programs are measured as they would be used.
const DEFAULT_PROFILE: &str = "release";

/// The longest that a compilation may take.
const CARGO_TIMEOUT: Duration = Duration::from_mins(30);

/// How much of the compiler's messages an error shows, in lines from their end.
const ERROR_LINES: usize = 30;

/// How Cargo tells that it waits for another one.
const WAITING: &str = "Blocking waiting for file lock";

/// How much of Cargo's JSON is read, in bytes.
const MAX_MESSAGES_BYTES: u64 = 256 * 1024 * 1024;

/// What makes a program one that loads its libraries, whatever the workspace's settings say: flags from
/// the environment replace those of `.cargo/config.toml`. To add them there is not enough, since of
/// `+crt-static` and `-crt-static` together the first wins.
const DYNAMIC_FLAGS: [&str; 2] = ["-C", "target-feature=-crt-static"];

/// Folder in the workspace's target folder for what is linked dynamically. Both kinds of a program
/// have the same name there, so one build would replace what another is about to read.
const DYNAMIC_FOLDER: &str = "dynamic";

/// How a workspace asks for programs that load no libraries.
const STATIC_HINT: &str = "write `[build]`, `target = \"host-tuple\"`, `[target.'cfg(target_os = \"linux\")']` and \
    `rustflags = [\"-C\", \"target-feature=+crt-static\"]` into .cargo/config.toml, or begin with an image that has a C library";

/// What parts flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: &str = "\u{1f}";

/// Compiles every program of the package and gives their paths.
pub(super) async fn build(
    name: &ImageName,
    request: &CargoBuild,
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
    let mut command = command(request, profile);
    if request.link == Linking::Dynamic {
        let target = target_folder(request.folder.clone())
            .await
            .map_err(&failed)?;
        command
            .arg("--target-dir")
            .arg(target.join(DYNAMIC_FOLDER))
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                dynamic_flags(|name| std::env::var(name).ok()),
            );
    }
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
                // That another cargo was at work is no cause.
                if !line.trim_start().starts_with(WAITING) {
                    log.push(printable(&line));
                }
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
    if request.link == Linking::Dynamic {
        for program in &programs {
            must_be_dynamic(program).map_err(&failed)?;
        }
    }
    Ok(programs)
}

fn command(request: &CargoBuild, profile: &str) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--message-format=json-render-diagnostics",
            "--bins",
        ])
        .args(["--package", &request.package.value, "--profile", profile])
        .current_dir(&request.folder);
    for feature in &request.features {
        command.args(["--features", &feature.value]);
    }
    command
}

/// The target folder of the workspace that a folder is in.
async fn target_folder(folder: PathBuf) -> Result<PathBuf, String> {
    let look = move || {
        let metadata = MetadataCommand::new().current_dir(folder).no_deps().exec();
        metadata.map(|metadata| metadata.target_directory.into_std_path_buf())
    };
    let found = tokio::task::spawn_blocking(look).await;
    let found = found.map_err(|error| error.to_string())?;
    found.map_err(|error| {
        format!(
            "find its target folder: {}",
            printable(error.to_string().trim())
        )
    })
}

/// The compiler's flags of the environment, and those that link dynamically.
fn dynamic_flags(environment: impl Fn(&str) -> Option<String>) -> String {
    let encoded = environment("CARGO_ENCODED_RUSTFLAGS");
    let plain = || {
        let flags = environment("RUSTFLAGS")?;
        let flags: Vec<_> = flags.split_whitespace().collect();
        Some(flags.join(FLAG_SEPARATOR))
    };
    let given = encoded.or_else(plain).filter(|flags| !flags.is_empty());
    let dynamic = DYNAMIC_FLAGS.join(FLAG_SEPARATOR);
    match given {
        Some(given) => [given, dynamic].join(FLAG_SEPARATOR),
        None => dynamic,
    }
}

fn must_be_dynamic(program: &Path) -> Result<(), String> {
    if loads_libraries(program)? {
        return Ok(());
    }
    Err(format!(
        "{} is linked statically all the same: RUSTFLAGS of the environment say +crt-static",
        program.display()
    ))
}

/// Refuses programs that load libraries, for an image that has none: its kernel would say of them that there is
/// no such file.
pub(super) fn must_be_static(
    name: &ImageName,
    request: &CargoBuild,
    programs: &[PathBuf],
) -> Result<(), BackendError> {
    let failed = |why: String| {
        let message = format!("make image `{name}`: {why}");
        BackendError::input(message, request.package.place)
    };
    for program in programs {
        if loads_libraries(program).map_err(failed)? {
            let file = program.file_name().unwrap_or_default().display();
            let why = format!("`{file}` loads libraries, and the image begins FROM scratch");
            return Err(failed(why).with_hint(STATIC_HINT));
        }
    }
    Ok(())
}

fn loads_libraries(program: &Path) -> Result<bool, String> {
    let bytes = std::fs::read(program);
    let bytes = bytes.map_err(|error| format!("read {}: {error}", program.display()))?;
    Ok(is_dynamic(&bytes))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_environment_are_kept() {
        let with = |name: &'static str, value: &'static str| {
            dynamic_flags(move |asked| (asked == name).then(|| value.to_owned()))
        };
        let dynamic = "-C\u{1f}target-feature=-crt-static";
        assert_eq!(with("OTHER", "x"), dynamic);
        assert_eq!(with("RUSTFLAGS", ""), dynamic);
        let both = format!("-g\u{1f}-O\u{1f}{dynamic}");
        assert_eq!(with("RUSTFLAGS", " -g  -O "), both);
        assert_eq!(with("CARGO_ENCODED_RUSTFLAGS", "-g\u{1f}-O"), both);
    }
}
