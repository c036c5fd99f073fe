//! The folder of a run's evidence.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A file that only a folder of evidence has: what has it may be replaced by the next run. A run
/// holds a lock on it.
const MARKER: &str = ".rig-evidence";

/// What the marker says to people.
const MARKER_TEXT: &[u8] = b"evidence of a run of rig; the next run replaces this folder\n";

/// The folder that takes the evidence of one run, and of no other until this is dropped.
#[derive(Debug)]
pub struct OutFolder {
    /// Open as long as the folder is in use.
    _lock: File,
}

/// Why a folder cannot take the evidence of a run.
#[derive(Debug, thiserror::Error)]
pub enum OutError {
    /// It holds something that no run of rig put there.
    #[error("use {} for the evidence: it is not empty and no earlier run made it", .0.display())]
    Foreign(PathBuf),
    /// Another run writes its evidence there.
    #[error("use {} for the evidence: another run is writing there; name another folder with --out", .0.display())]
    InUse(PathBuf),
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

impl OutFolder {
    /// Takes a folder for the evidence, empty, replacing that of an earlier run.
    ///
    /// # Errors
    /// A folder with anything else in it, or one that another run writes to, is left alone.
    pub fn take(out: &Path) -> Result<Self, OutError> {
        fs::create_dir_all(out).map_err(|cause| failed("make", out, cause))?;
        let marker = out.join(MARKER);
        let others = others_in(out)?;
        if !others.is_empty() && !marker.is_file() {
            return Err(OutError::Foreign(out.to_owned()));
        }
        let mut lock = File::options()
            .create(true)
            .append(true)
            .open(&marker)
            .map_err(|cause| failed("write", &marker, cause))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OutError::InUse(out.to_owned())),
            Err(TryLockError::Error(cause)) => return Err(failed("lock", &marker, cause)),
        }
        for path in others_in(out)? {
            let removed = if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(|cause| failed("clear", &path, cause))?;
        }
        lock.set_len(0)
            .and_then(|()| lock.write_all(MARKER_TEXT))
            .map_err(|cause| failed("write", &marker, cause))?;
        Ok(Self { _lock: lock })
    }
}

/// What is in a folder beside the marker.
fn others_in(out: &Path) -> Result<Vec<PathBuf>, OutError> {
    let read = |cause| failed("read", out, cause);
    let mut others = Vec::new();
    for entry in fs::read_dir(out).map_err(read)? {
        let entry = entry.map_err(read)?;
        if entry.file_name() != MARKER {
            others.push(entry.path());
        }
    }
    Ok(others)
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
        drop(OutFolder::take(&out).unwrap());
        fs::write(out.join("run.json"), "{}").unwrap();
        fs::create_dir_all(out.join("cell/hosts")).unwrap();
        drop(OutFolder::take(&out).unwrap());
        assert_eq!(others_in(&out).unwrap(), Vec::<PathBuf>::new());
        let precious = folder.path().join("home");
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("thesis.txt"), "x").unwrap();
        let taken = OutFolder::take(&precious);
        assert!(matches!(taken, Err(OutError::Foreign(_))), "{taken:?}");
        assert!(precious.join("thesis.txt").exists());
    }

    #[test]
    fn two_runs_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = OutFolder::take(folder.path()).unwrap();
        fs::write(folder.path().join("run.json"), "{}").unwrap();
        let second = OutFolder::take(folder.path());
        assert!(matches!(second, Err(OutError::InUse(_))), "{second:?}");
        assert!(folder.path().join("run.json").exists());
        drop(first);
        OutFolder::take(folder.path()).unwrap();
    }
}
