//! Reading what goes on until it is interrupted: a file that grows, and standard input.

use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

/// How long to wait before the file is looked at again.
const POLL: Duration = Duration::from_millis(100);

/// How long standard input is waited for before the interruption is looked at again, in
/// milliseconds.
const POLL_MS: u16 = 100;

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

/// What a pipe holds, pipe(7).
const PIPE_BYTES: usize = 64 * 1024;

/// Standard input, which ends when it is interrupted: ctrl-c ends whoever writes to it as well, and
/// what came until then is to be shown.
pub(super) struct Piped {
    input: File,
    /// Bytes that were read since it was interrupted.
    since: usize,
    interrupted: Arc<AtomicBool>,
}

impl Piped {
    pub(super) fn new(interrupted: Arc<AtomicBool>) -> io::Result<Self> {
        // Without the buffer of `io::stdin`, in which bytes would be that nothing can wait for.
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self {
            input: input.into(),
            since: 0,
            interrupted,
        })
    }
}

impl Read for Piped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Bounded by the end of the input or by the interruption, after which what a pipe holds is
        // still read.
        while self.since < PIPE_BYTES {
            let mut ready = [PollFd::new(self.input.as_fd(), PollFlags::POLLIN)];
            let count = match poll(&mut ready, POLL_MS) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            let interrupted = self.interrupted.load(Ordering::Relaxed);
            if count > 0 {
                let read = self.input.read(buffer)?;
                self.since += if interrupted { read } else { 0 };
                return Ok(read);
            }
            if interrupted {
                break;
            }
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
