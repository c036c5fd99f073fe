//! What the tests of both directions use.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Framing;
use crate::patience::Bounds;

pub(super) const MINUTE: Bounds = Bounds {
    silence: Duration::from_mins(1),
    limit: Duration::from_mins(1),
};

pub(super) const FRAMING: Framing = Framing {
    max_bytes: 100,
    quiet: Duration::from_millis(300),
    tail_wait: Duration::from_secs(2),
};

/// A stream that answers each read and each write with the next of its results.
pub(super) struct Scripted(pub(super) VecDeque<io::Result<&'static [u8]>>);

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0.pop_front() {
            Some(Ok(bytes)) => buffer.put_slice(bytes),
            Some(Err(error)) => return Poll::Ready(Err(error)),
            None => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.0.pop_front() {
            Some(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(bytes.len().min(2))),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

pub(super) fn scripted<const N: usize>(results: [io::Result<&'static [u8]>; N]) -> Scripted {
    Scripted(results.into())
}

pub(super) fn failure() -> io::Result<&'static [u8]> {
    Err(io::ErrorKind::ConnectionReset.into())
}
