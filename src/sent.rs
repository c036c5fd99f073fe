//! What was queued for a peer, and how much of it the peer's host has acknowledged.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use nix::errno::Errno;
use nix::libc;
use tokio::net::tcp::OwnedWriteHalf;

use crate::link::Outgoing;

/// The lines of a connection that its peer's host may not have.
#[derive(Debug, Default)]
pub struct Sent {
    /// Where each of them ends, in bytes since the connection began.
    ends: VecDeque<u64>,
    acknowledged: u64,
}

/// Between so many lines the kernel is asked which of them can be forgotten.
const LOOK_AFTER: usize = 1024;

impl Sent {
    /// Takes note of a line that was queued just now.
    pub fn line(&mut self, outgoing: &Outgoing<OwnedWriteHalf>) {
        self.ends.push_back(outgoing.queued());
        if self.ends.len().is_multiple_of(LOOK_AFTER) {
            self.look(outgoing);
        }
    }

    /// Asks the kernel how much is acknowledged; whether it is more than before.
    pub fn look(&mut self, outgoing: &Outgoing<OwnedWriteHalf>) -> bool {
        // Where that cannot be told, it is what it was.
        let Ok(held) = unacknowledged(outgoing.half().as_ref()) else {
            return false;
        };
        // The FIN counts as a byte.
        let held = held.saturating_sub(u64::from(outgoing.is_shut_down()));
        let before = self.acknowledged;
        self.acknowledged = before.max(outgoing.written().saturating_sub(held));
        while self
            .ends
            .front()
            .is_some_and(|end| *end <= self.acknowledged)
        {
            self.ends.pop_front();
        }
        self.acknowledged > before
    }

    /// Lines that are not acknowledged, as far as was seen at the last look.
    pub fn unacknowledged(&self) -> usize {
        self.ends.len()
    }
}

/// Bytes that the kernel holds for a connection until its peer acknowledges them (SIOCOUTQ, tcp(7)).
#[expect(unsafe_code, reason = "no safe function asks for it")]
fn unacknowledged(socket: &impl AsFd) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as it is borrowed, and the request writes one int.
    let asked = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    Errno::result(asked)?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;

    /// Far more than a kernel holds for a peer that does not read.
    const LINES: usize = 2000;

    #[tokio::test]
    async fn lines_are_acknowledged_as_they_are_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        let (_read, write) = near.unwrap().into_split();
        let (mut far, _) = far.unwrap();
        let (mut outgoing, mut sent) = (Outgoing::new(write), Sent::default());
        let line = "x".repeat(16 * 1024 - 1) + "\n";
        for _ in 0..LINES {
            outgoing.push(&line);
            sent.line(&outgoing);
        }
        let stuck = timeout(Duration::from_millis(50), outgoing.flush()).await;
        assert!(stuck.is_err(), "the kernel holds all of it");
        sent.look(&outgoing);
        let lines = sent.unacknowledged();
        assert!((1..=LINES).contains(&lines), "{lines}");
        let mut bytes = vec![0; LINES * line.len()];
        let (flushed, read) = tokio::join!(outgoing.flush(), far.read_exact(&mut bytes));
        flushed.unwrap();
        read.unwrap();
        outgoing.shut_down().await;
        assert_eq!(far.read(&mut bytes).await.unwrap(), 0);
        // What was read is acknowledged, if not at once.
        while sent.unacknowledged() > 0 {
            sent.look(&outgoing);
            tokio::task::yield_now().await;
        }
        assert!(!sent.look(&outgoing), "there is no more of it");
    }
}
