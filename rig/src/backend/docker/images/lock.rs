//! One making of an image at a time on this machine: two at once would leave the engine the
//! first one's image without a name. So it is with what several images are made of: a base, the programs of a
//! target folder.

use std::env;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::prepare::{ImageProgress, Listener};
use crate::backend::BackendError;
use crate::units::ImageName;

/// The longest wait for another that makes the same: longer than a compilation may take.
const LOCK_TIMEOUT: Duration = Duration::from_mins(40);

/// So much of a part's name is in that of its file, in characters.
const MAX_PART_CHARS: usize = 100;

/// Time between two looks: a lock of another process has no event.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Holds the making of one image until it is dropped.
#[derive(Debug)]
pub(super) struct MakingLock {
    _file: File,
}

impl MakingLock {
    /// Waits until nobody else of this user makes the image.
    pub(super) async fn take(
        name: &ImageName,
        listener: Listener<'_>,
    ) -> Result<Self, BackendError> {
        Self::at(name, "it", &path_of(name.as_str()), listener).await
    }

    /// Waits until nobody else of this user makes `part`, of which image `name` is made.
    pub(super) async fn of_part(
        name: &ImageName,
        part: &str,
        listener: Listener<'_>,
    ) -> Result<Self, BackendError> {
        // Parts whose names differ in nothing but marks wait for each other; that does no harm.
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let file: String = part.chars().map(plain).take(MAX_PART_CHARS).collect();
        Self::at(name, part, &path_of(&format!("part-{file}")), listener).await
    }

    async fn at(
        name: &ImageName,
        what: &str,
        path: &Path,
        listener: Listener<'_>,
    ) -> Result<Self, BackendError> {
        let failed = |cause: String| {
            BackendError::machine(format!(
                "make image `{name}`: lock {}: {cause}",
                path.display()
            ))
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(|error| failed(error.to_string()))?;
        let deadline = Instant::now() + LOCK_TIMEOUT;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    if !std::mem::replace(&mut told, true) {
                        listener(ImageProgress::Working {
                            name: name.clone(),
                            what: format!("waiting for another that makes {what}"),
                        });
                    }
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                Err(TryLockError::WouldBlock) => {
                    let minutes = LOCK_TIMEOUT.as_secs() / 60;
                    return Err(failed(format!(
                        "another that makes {what} has held it for {minutes} min"
                    )));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error.to_string())),
            }
        }
    }
}

/// The user's own folder for such files where there is one, else the common one.
fn path_of(name: &str) -> PathBuf {
    let folder = env::var_os("XDG_RUNTIME_DIR").map_or_else(env::temp_dir, PathBuf::from);
    folder.join(format!("rig-image-{}-{name}.lock", nix::unistd::getuid()))
}
