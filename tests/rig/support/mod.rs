//! What the end-to-end tests share: the built rig, the engine, and other people's tools.

pub(crate) mod engine;
pub(crate) mod running;
pub(crate) mod tools;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// No run of a test may take longer; a whole matrix on a busy machine stays below it.
pub(crate) const RUN_TIMEOUT: Duration = Duration::from_mins(25);

/// The built `rig`.
pub(crate) fn rig() -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_rig"));
    command
        .timeout(RUN_TIMEOUT)
        .env("NO_COLOR", "1")
        .env_remove("RIG_LOG");
    command
}

/// A file of the workspace.
pub(crate) fn workspace_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// `run.json` of a run.
pub(crate) fn run_json(out: &Path) -> Value {
    let path = out.join("run.json");
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

/// Settings for a golden file in `folder`, beside the data files of a test.
pub(crate) fn golden(folder: &str) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

/// What a command did, as its golden file holds it.
pub(crate) fn told(output: &std::process::Output) -> String {
    let code = output.status.code();
    let code = code.map_or_else(
        || output.status.to_string(),
        |code| format!("exit code {code}"),
    );
    let part = |name: &str, bytes: &[u8]| match bytes {
        [] => String::new(),
        bytes => format!("--- {name}\n{}", String::from_utf8_lossy(bytes)),
    };
    format!(
        "{code}\n{}{}",
        part("stdout", &output.stdout),
        part("stderr", &output.stderr)
    )
}

/// The id in the first line that a run tells on stderr.
pub(crate) fn run_id(stderr: &str) -> String {
    let line = stderr.lines().find_map(|line| line.strip_prefix("run "));
    let id = line.and_then(|line| line.split(' ').next());
    id.unwrap_or_else(|| panic!("no run began:\n{stderr}"))
        .to_owned()
}
