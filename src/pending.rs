//! Bytes that wait to be written to one connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

use crate::limits::WRITE_BYTES;

/// Bytes of this connection alone and pieces shared with others, in the order in which they go out.
/// It holds no memory while it is empty.
#[derive(Debug, Default)]
pub struct Pending {
    parts: VecDeque<Bytes>,
    /// Own bytes behind the parts.
    own: Vec<u8>,
    len_bytes: usize,
}

/// So many parts are written in one call at most.
const PARTS_WRITTEN: usize = 64;

impl Pending {
    /// Adds bytes of this connection alone.
    pub fn push(&mut self, text: &str) {
        self.push_bytes(text.as_bytes());
    }

    /// The same for bytes that are no text.
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        self.own.extend_from_slice(bytes);
        self.len_bytes += bytes.len();
    }

    /// Adds a piece that others send too.
    pub fn share(&mut self, piece: Bytes) {
        self.end_own();
        self.len_bytes += piece.len();
        self.parts.push_back(piece);
    }

    /// How much waits, in bytes.
    pub fn len(&self) -> usize {
        self.len_bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    /// Whether more may be added without growing beyond one write.
    pub fn has_room(&self) -> bool {
        self.len_bytes < WRITE_BYTES
    }

    /// Writes once, as much as `half` takes of what waits, and returns how much that was.
    pub fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        half: &mut W,
    ) -> Poll<io::Result<usize>> {
        self.end_own();
        let half = Pin::new(half);
        let written = if let (Some(part), 1) = (self.parts.front(), self.parts.len()) {
            ready!(half.poll_write(cx, part))?
        } else {
            let mut slices = [IoSlice::new(&[]); PARTS_WRITTEN];
            let count = self.parts.len().min(PARTS_WRITTEN);
            for (slice, part) in slices.iter_mut().zip(&self.parts) {
                *slice = IoSlice::new(part);
            }
            ready!(half.poll_write_vectored(cx, &slices[..count]))?
        };
        self.advance(written);
        Poll::Ready(Ok(written))
    }

    fn advance(&mut self, mut written: usize) {
        self.len_bytes -= written;
        while let Some(part) = self.parts.front_mut() {
            if part.len() > written {
                part.advance(written);
                return;
            }
            written -= part.len();
            self.parts.pop_front();
        }
        self.parts = VecDeque::new();
    }

    fn end_own(&mut self) {
        if !self.own.is_empty() {
            self.parts.push_back(std::mem::take(&mut self.own).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes so many bytes a write.
    struct Narrow(usize, Vec<u8>);

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let n = bytes.len().min(self.0);
            self.1.extend_from_slice(&bytes[..n]);
            Poll::Ready(Ok(n))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let bytes: Vec<u8> = slices
                .iter()
                .flat_map(|slice| slice.iter().copied())
                .collect();
            let n = bytes.len().min(self.0);
            self.1.extend_from_slice(&bytes[..n]);
            Poll::Ready(Ok(n))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn own_and_shared_bytes_go_out_in_order_however_little_is_taken() {
        for size in 1..20 {
            let mut pending = Pending::default();
            pending.push("one ");
            pending.push("two ");
            pending.share(Bytes::from_static(b"three "));
            pending.share(Bytes::from_static(b"four "));
            pending.push("five");
            let mut half = Narrow(size, Vec::new());
            let mut cx = Context::from_waker(Waker::noop());
            while !pending.is_empty() {
                assert!(pending.poll_write(&mut cx, &mut half).is_ready());
            }
            assert_eq!(half.1, b"one two three four five", "{size} at a time");
            assert_eq!((pending.parts.capacity(), pending.own.capacity()), (0, 0));
        }
    }

    #[test]
    fn more_parts_than_one_call_takes_go_out_too() {
        let mut pending = Pending::default();
        for _ in 0..3 * PARTS_WRITTEN {
            pending.share(Bytes::from_static(b"x"));
        }
        let mut half = Narrow(WRITE_BYTES, Vec::new());
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(pending.poll_write(&mut cx, &mut half).is_ready());
        }
        assert!(pending.is_empty());
        assert_eq!(half.1.len(), 3 * PARTS_WRITTEN);
    }
}
