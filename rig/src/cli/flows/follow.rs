//! Reading a file that grows.

use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long to wait before the file is looked at again.
const POLL: Duration = Duration::from_millis(100);

/// A file whose end is only where it ends for now: reading waits there for more, until it is
/// interrupted.
pub(super) struct Growing<F> {
    file: File,
    interrupted: Arc<AtomicBool>,
    /// Called while there is nothing to read.
    idle: F,
}

impl<F: FnMut() -> io::Result<()>> Growing<F> {
    pub(super) fn new(file: File, interrupted: Arc<AtomicBool>, idle: F) -> Self {
        Self {
            file,
            interrupted,
            idle,
        }
    }
}

impl<F: FnMut() -> io::Result<()>> Read for Growing<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Bounded by the interruption, which is what ends following.
        while !self.interrupted.load(Ordering::Relaxed) {
            let read = self.file.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            if self.file.metadata()?.len() < self.file.stream_position()? {
                return Err(io::Error::other("the file became shorter"));
            }
            (self.idle)()?;
            std::thread::sleep(POLL);
        }
        Ok(0)
    }
}

/// A flag that SIGINT and SIGTERM set.
pub(super) fn interruption() -> io::Result<Arc<AtomicBool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    // The thread ends with the process.
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        set.store(true, Ordering::Relaxed);
    });
    Ok(flag)
}
