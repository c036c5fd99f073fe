//! What a run of the built `rig` left and said.

use std::path::Path;
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::say;
use crate::trial::current;

/// A folder for what runs leave; it stays where its test fails, and its place is told.
pub(crate) struct Folder(Option<TempDir>);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(Some(
            tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
        ))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.as_ref().unwrap().path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let folder = self.0.take().filter(|_| thread::panicking());
        if let Some(folder) = folder {
            let folder = folder.keep();
            say(&format!("{}: evidence: {}", current(), folder.display()));
        }
    }
}

/// `run.json` of a run.
pub(crate) fn run_json(out: &Path) -> Value {
    let path = out.join("run.json");
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

/// The id in the first line that a run tells on stderr.
pub(crate) fn run_id(stderr: &str) -> String {
    let line = stderr.lines().find_map(|line| line.strip_prefix("run "));
    let id = line.and_then(|line| line.split(' ').next());
    id.unwrap_or_else(|| panic!("no run began:\n{stderr}"))
        .to_owned()
}
