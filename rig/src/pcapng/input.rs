//! A bounded window over a stream of bytes.

use std::io::{ErrorKind, Read};

use super::packed::Packer;
use super::unpack::Source;

/// Bytes asked of the source at once; small enough to stay in a processor's cache.
const READ_BYTES: usize = 256 * 1024;

/// A stream of which the next bytes can be looked at before they are taken.
#[derive(Debug)]
pub(super) struct Input<R: Read> {
    source: Source<R>,
    buffer: Vec<u8>,
    /// The window: bytes read and not yet taken.
    start: usize,
    end: usize,
    /// Bytes of the stream before the window.
    taken: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source: Source::Plain(source),
            buffer: vec![0; READ_BYTES],
            start: 0,
            end: 0,
            taken: 0,
        }
    }

    /// The stream of what this one unpacks to; nothing may have been taken yet.
    pub(super) fn unpacked(self, packer: Packer) -> Self {
        let begun = self.window().to_vec();
        let source = match self.source {
            Source::Plain(rest) => Source::unpacked(packer, begun, rest),
            // Only one layer is unpacked.
            twice @ Source::Packed(_) => twice,
        };
        Self {
            source,
            start: 0,
            end: 0,
            ..self
        }
    }

    /// Offset in the stream of the first byte of the window.
    pub(super) fn offset(&self) -> u64 {
        self.taken
    }

    /// Bytes read and not yet taken.
    pub(super) fn window(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Makes the window at least `len` bytes long, or as long as the stream allows; says whether
    /// it is. The caller bounds `len`.
    #[inline]
    pub(super) fn fill(&mut self, len: usize) -> std::io::Result<bool> {
        if self.end - self.start >= len {
            return Ok(true);
        }
        self.refill(len)
    }

    #[cold]
    fn refill(&mut self, len: usize) -> std::io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        while self.end < len {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(n) => self.end += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Takes `len` bytes of the window; [`Input::last`] gives them until the next call of `fill`.
    #[inline]
    pub(super) fn take(&mut self, len: usize) {
        self.start += len;
        self.taken += len as u64;
    }

    /// The `len` bytes that were taken last, in one piece.
    #[inline]
    pub(super) fn last(&self, len: usize) -> &[u8] {
        &self.buffer[self.start - len..self.start]
    }

    /// Passes over `len` bytes, in the window or beyond; says whether the stream had them all.
    pub(super) fn skip(&mut self, mut len: u64) -> std::io::Result<bool> {
        while len > 0 {
            if self.window().is_empty() && !self.refill(1)? {
                return Ok(false);
            }
            let now = usize::try_from(len).unwrap_or(usize::MAX);
            let now = now.min(self.window().len());
            self.take(now);
            len -= now as u64;
        }
        Ok(true)
    }
}
