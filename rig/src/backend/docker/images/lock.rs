//! One making of an image at a time on this machine: two at once would leave the engine the
//! first one's image without a name.

use std::env;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::BackendError;
use crate::units::ImageName;

/// The longest wait for another process that makes the same image.
const LOCK_TIMEOUT: Duration = Duration::from_mins(20);

/// Time between two looks: a lock of another process has no event.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Holds the making of one image until it is dropped.
#[derive(Debug)]
pub(super) struct MakingLock {
    _file: File,
}

impl MakingLock {
    /// Waits until no other process of this user makes the image.
    pub(super) async fn take(name: &ImageName) -> Result<Self, BackendError> {
        let path = path_of(name);
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
            .open(&path)
            .map_err(|error| failed(error.to_string()))?;
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                Err(error) => return Err(failed(error.to_string())),
            }
        }
    }
}

/// The user's own folder for such files where there is one, else the common one.
fn path_of(name: &ImageName) -> PathBuf {
    let folder = env::var_os("XDG_RUNTIME_DIR").map_or_else(env::temp_dir, PathBuf::from);
    folder.join(format!("rig-image-{}-{name}.lock", nix::unistd::getuid()))
}
