//! What the tests of `rig` with and without an engine share.

pub(crate) mod examples;
pub(crate) mod scripts;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// No run of a test may take longer; a whole matrix on a busy machine stays below it.
const RUN_TIMEOUT: Duration = Duration::from_mins(25);

/// Profile of Cargo for the programs in the images of tests: much of it is compiled for the tests anyway.
pub(crate) const IMAGE_PROFILE: &str = "dev";

/// Gives a command that runs `rig` the environment of tests.
pub(crate) fn with_environment(command: &mut Command) -> &mut Command {
    command
        .env("NO_COLOR", "1")
        .env("RIG_CARGO_PROFILE", IMAGE_PROFILE)
        .env_remove("RIG_LOG")
}

/// The built `rig`.
pub(crate) fn rig() -> assert_cmd::Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
    with_environment(&mut command);
    let mut command = assert_cmd::Command::from_std(command);
    command.timeout(RUN_TIMEOUT);
    command
}

/// A file of the workspace.
pub(crate) fn workspace_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
