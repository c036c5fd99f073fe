//! The folder of a run's evidence.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file that only a folder of evidence has: what has it may be replaced by the next run.
const MARKER: &str = ".rig-evidence";

/// Why a folder cannot take the evidence of a run.
#[derive(Debug, thiserror::Error)]
pub enum OutError {
    /// It holds something that no run of rig put there.
    #[error("use {} for the evidence: it is not empty and no earlier run made it", .0.display())]
    Foreign(PathBuf),
    /// The file system said no.
    #[error("{operation} {}: {cause}", .path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// What came of it.
        cause: io::Error,
    },
}

/// Makes an empty folder for the evidence, replacing that of an earlier run.
///
/// # Errors
/// A folder with anything else in it is left alone.
pub fn prepare_out(out: &Path) -> Result<(), OutError> {
    match fs::read_dir(out) {
        Ok(mut entries) => {
            let empty = entries.next().is_none();
            if !empty && !out.join(MARKER).is_file() {
                return Err(OutError::Foreign(out.to_owned()));
            }
            if !empty {
                fs::remove_dir_all(out).map_err(|cause| failed("clear", out, cause))?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(failed("read", out, cause)),
    }
    fs::create_dir_all(out).map_err(|cause| failed("make", out, cause))?;
    let marker = out.join(MARKER);
    fs::write(
        &marker,
        "evidence of a run of rig; the next run replaces this folder\n",
    )
    .map_err(|cause| failed("write", &marker, cause))
}

fn failed(operation: &'static str, path: &Path, cause: io::Error) -> OutError {
    OutError::Io {
        operation,
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_evidence_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a/b");
        prepare_out(&out).unwrap();
        fs::write(out.join("run.json"), "{}").unwrap();
        prepare_out(&out).unwrap();
        assert!(!out.join("run.json").exists());
        let precious = folder.path().join("home");
        fs::create_dir(&precious).unwrap();
        prepare_out(&precious).unwrap();
        fs::remove_file(precious.join(MARKER)).unwrap();
        fs::write(precious.join("thesis.txt"), "x").unwrap();
        assert!(matches!(prepare_out(&precious), Err(OutError::Foreign(_))));
        assert!(precious.join("thesis.txt").exists());
    }
}
