//! Compressed captures as they stand in the file.

use std::fmt;
use std::io::{BufReader, Chain, Cursor, Error, ErrorKind, Read};

/// Bytes of a compressed file that are read at once.
const PACKED_BYTES: usize = 64 * 1024;

/// How a capture is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packer {
    Gzip,
    Lz4,
    Zstd,
}

/// What a file of lz4's first format begins with, which has no checksums and no end.
pub(super) const LEGACY_LZ4: [u8; MAGIC_BYTES] = [0x02, 0x21, 0x4c, 0x18];

/// Length of the magic number of a frame in bytes.
const MAGIC_BYTES: usize = 4;

impl Packer {
    /// The packer whose files begin with these bytes.
    pub(super) fn of(magic: [u8; MAGIC_BYTES]) -> Option<Self> {
        match magic {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x04, 0x22, 0x4d, 0x18] => Some(Self::Lz4),
            [0x28, 0xb5, 0x2f, 0xfd] => Some(Self::Zstd),
            // A file of either format may begin so; the first frame that is not skipped tells which it is.
            magic if is_skipped(magic) => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Whether a frame is one that lz4 and zstd both pass over, RFC 8878 section 3.1.2.
fn is_skipped(magic: [u8; MAGIC_BYTES]) -> bool {
    matches!(magic, [0x50..=0x5f, 0x2a, 0x4d, 0x18])
}

impl fmt::Display for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// A compressed file, read in large pieces.
pub(super) type Packed<R> = BufReader<Counted<Chain<Cursor<Vec<u8>>, R>>>;

/// The file that begins with `begun` and goes on with what `rest` gives.
pub(super) fn packed<R: Read>(begun: Vec<u8>, rest: R) -> Packed<R> {
    let counted = Counted {
        source: Cursor::new(begun).chain(rest),
        bytes: 0,
    };
    BufReader::with_capacity(PACKED_BYTES, counted)
}

/// Bytes of the file that have been used.
pub(super) fn used_bytes<R: Read>(packed: &Packed<R>) -> u64 {
    packed.get_ref().bytes - packed.buffer().len() as u64
}

pub(super) fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

/// Counts the bytes that are read.
pub(super) struct Counted<R> {
    source: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = self.source.read(buffer)?;
        self.bytes += len as u64;
        Ok(len)
    }
}

/// A compressed file of which the next few bytes can be looked at.
pub(super) struct Ahead<R: Read> {
    packed: Packed<R>,
    /// Bytes that were looked at; those from `taken` on are still to be read.
    seen: [u8; MAGIC_BYTES],
    taken: usize,
    /// Somebody asked for bytes and there were no more.
    pub(super) has_ended: bool,
}

impl<R: Read> Ahead<R> {
    pub(super) fn new(packed: Packed<R>) -> Self {
        Self {
            packed,
            seen: [0; MAGIC_BYTES],
            taken: MAGIC_BYTES,
            has_ended: false,
        }
    }

    /// Whether all bytes of the file have been read.
    pub(super) fn is_at_end(&mut self) -> bool {
        std::io::BufRead::fill_buf(&mut self.packed).is_ok_and(<[u8]>::is_empty)
    }

    pub(super) fn used_bytes(&self) -> u64 {
        used_bytes(&self.packed) - (MAGIC_BYTES - self.taken) as u64
    }

    /// The magic number of the next frame, which is still to be read; none at the end of the file, zeros
    /// before it left aside.
    fn magic(&mut self) -> std::io::Result<Option<[u8; MAGIC_BYTES]>> {
        let mut magic = [0; MAGIC_BYTES];
        let mut len = 0;
        while len < MAGIC_BYTES {
            match self.packed.read(&mut magic[len..]) {
                Ok(0) if magic == [0; MAGIC_BYTES] => return Ok(None),
                Ok(0) => return Err(Error::from(ErrorKind::UnexpectedEof)),
                Ok(read) => len += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        (self.seen, self.taken) = (magic, 0);
        Ok(Some(magic))
    }

    /// Passes over frames that are to be skipped and over zeros at the end, up to a frame with content.
    pub(super) fn next_frame(&mut self) -> std::io::Result<Option<Packer>> {
        // Each turn takes four bytes of the file at least, or ends.
        while let Some(magic) = self.magic()? {
            if is_skipped(magic) {
                self.skip_frame()?;
                continue;
            }
            match (Packer::of(magic), magic) {
                (Some(packer @ (Packer::Lz4 | Packer::Zstd)), _) => return Ok(Some(packer)),
                (_, LEGACY_LZ4) => {
                    return Err(malformed("a frame of lz4's legacy format is not read"));
                }
                (_, [0, 0, 0, 0]) => self.taken = MAGIC_BYTES,
                _ => return Err(malformed("neither a frame nor the end follows")),
            }
        }
        Ok(None)
    }

    fn skip_frame(&mut self) -> std::io::Result<()> {
        self.taken = MAGIC_BYTES;
        let mut len = [0; 4];
        self.packed.read_exact(&mut len)?;
        let len = u64::from(u32::from_le_bytes(len));
        let skipped = std::io::copy(&mut (&mut self.packed).take(len), &mut std::io::sink())?;
        if skipped < len {
            return Err(Error::from(ErrorKind::UnexpectedEof));
        }
        Ok(())
    }
}

impl<R: Read> Read for Ahead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut seen = &self.seen[self.taken..];
        if !seen.is_empty() {
            let len = seen.read(buffer)?;
            self.taken += len;
            return Ok(len);
        }
        let len = self.packed.read(buffer)?;
        self.has_ended |= len == 0 && !buffer.is_empty();
        Ok(len)
    }
}
