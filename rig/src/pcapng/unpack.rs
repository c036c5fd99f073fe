//! Compressed captures, unpacked while they are read.

use std::fmt;
use std::io::{BufReader, Chain, Cursor, Error, ErrorKind, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The most memory that a zstd file may ask for, in bytes: what `zstd -d` grants it too.
const MAX_WINDOW_BYTES: u64 = 128 * 1024 * 1024;

/// Beyond [`FREE_BYTES`] a file may unpack to this many times its size. Deflate cannot reach more
/// than 1032; zstd could go on for hours.
const MAX_RATIO: u64 = 1100;

/// Unpacked bytes for which no ratio is asked.
const FREE_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of a compressed file that are read at once.
const PACKED_BYTES: usize = 64 * 1024;

/// How a capture is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packer {
    Gzip,
    Zstd,
}

impl Packer {
    /// The packer whose files begin with these bytes.
    pub(super) fn of(magic: [u8; 4]) -> Option<Self> {
        match magic {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // A zstd file may begin with a frame that is to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl fmt::Display for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Where the bytes of a capture come from.
pub(super) enum Source<R> {
    /// As they are.
    Plain(R),
    /// Out of a compressed file.
    Packed(Unpacker<R>),
}

impl<R: Read> Source<R> {
    /// A source of the unpacked bytes of `begun` and what `rest` gives after it.
    pub(super) fn unpacked(packer: Packer, begun: Vec<u8>, rest: R) -> Self {
        let counted = Counted {
            source: Cursor::new(begun).chain(rest),
            bytes: 0,
        };
        let file = BufReader::with_capacity(PACKED_BYTES, counted);
        let decoder = match packer {
            Packer::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(file))),
            Packer::Zstd => Decoder::Zstd(Box::new(Zstd::new(file))),
        };
        Self::Packed(Unpacker {
            decoder,
            unpacked_bytes: 0,
        })
    }
}

impl<R: Read> Read for Source<R> {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(source) => source.read(buffer),
            Self::Packed(unpacker) => unpacker.read(buffer),
        }
    }
}

impl<R> fmt::Debug for Source<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Packed(_) => "Packed",
        })
    }
}

/// Reads a compressed file and says where in it an error stands.
pub(super) struct Unpacker<R> {
    decoder: Decoder<R>,
    unpacked_bytes: u64,
}

enum Decoder<R> {
    Gzip(Box<MultiGzDecoder<Packed<R>>>),
    Zstd(Box<Zstd<R>>),
}

type Packed<R> = BufReader<Counted<Chain<Cursor<Vec<u8>>, R>>>;

impl<R: Read> Unpacker<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
        };
        let packed_bytes = self.packed_bytes();
        let len = read.map_err(|error| self.told(&error))?;
        self.unpacked_bytes += len as u64;
        let bound = FREE_BYTES.max(packed_bytes.saturating_mul(MAX_RATIO));
        if self.unpacked_bytes > bound {
            let told = format!(
                "{packed_bytes} bytes of {} data unpack to more than {MAX_RATIO} times as many",
                self.packer()
            );
            return Err(Error::other(told));
        }
        Ok(len)
    }

    fn packer(&self) -> Packer {
        match self.decoder {
            Decoder::Gzip(_) => Packer::Gzip,
            Decoder::Zstd(_) => Packer::Zstd,
        }
    }

    /// Bytes of the compressed file that have been used.
    fn packed_bytes(&self) -> u64 {
        let packed = match &self.decoder {
            Decoder::Gzip(decoder) => decoder.get_ref(),
            Decoder::Zstd(decoder) => &decoder.packed,
        };
        packed.get_ref().bytes - packed.buffer().len() as u64
    }

    fn told(&self, error: &Error) -> Error {
        let (packer, at) = (self.packer(), self.packed_bytes());
        match error.kind() {
            ErrorKind::Interrupted => Error::from(ErrorKind::Interrupted),
            ErrorKind::UnexpectedEof => {
                Error::other(format!("the {packer} data are cut off after {at} bytes"))
            }
            _ => Error::other(format!("the {packer} data, {at} bytes into them: {error}")),
        }
    }
}

/// Counts the bytes that are read.
struct Counted<R> {
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

/// The frames of a zstd file, one after the other. The decoder of `ruzstd` knows single frames.
struct Zstd<R> {
    packed: Packed<R>,
    /// The frame that is being read.
    frame: Option<FrameDecoder>,
    /// What ended a frame early, told after the bytes that came before it.
    failed: Option<Error>,
}

impl<R: Read> Zstd<R> {
    fn new(packed: Packed<R>) -> Self {
        Self {
            packed,
            frame: None,
            failed: None,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        // Each turn takes bytes of the file, or ends.
        loop {
            if let Some(frame) = &mut self.frame {
                let len = frame.read(buffer)?;
                if len > 0 || buffer.is_empty() {
                    return Ok(len);
                }
                if !frame.is_finished() {
                    self.next_block();
                    continue;
                }
                if self.failed.is_none() {
                    self.failed = wrong_checksum(frame);
                }
                self.frame = None;
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if std::io::BufRead::fill_buf(&mut self.packed)?.is_empty() {
                return Ok(0);
            }
            self.next_frame()?;
        }
    }

    /// Begins the next frame, or passes over one that is to be skipped.
    fn next_frame(&mut self) -> std::io::Result<()> {
        // One decoder a frame: a used one would reserve a window at once, however short the frame.
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(MAX_WINDOW_BYTES);
        match frame.init(&mut self.packed) {
            Ok(()) => self.frame = Some(frame),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let len = u64::from(length);
                let skipped =
                    std::io::copy(&mut (&mut self.packed).take(len), &mut std::io::sink())?;
                if skipped < len {
                    return Err(Error::from(ErrorKind::UnexpectedEof));
                }
            }
            Err(error) => return Err(self.io_error(error)),
        }
        Ok(())
    }

    fn next_block(&mut self) {
        /// The header of a last block without bytes, and room for a checksum.
        const LAST_BLOCK: &[u8] = &[1, 0, 0, 0, 0, 0, 0];
        let Some(frame) = &mut self.frame else {
            return;
        };
        let one = BlockDecodingStrategy::UptoBlocks(1);
        if let Err(error) = frame.decode_blocks(&mut self.packed, one) {
            // The decoder holds bytes back for as long as further blocks may refer to them.
            let one = BlockDecodingStrategy::UptoBlocks(1);
            if frame.decode_blocks(LAST_BLOCK, one).is_err() {
                self.frame = None;
            }
            self.failed = Some(self.io_error(error));
        }
    }

    /// An error of the decoder; that of its source where this has ended.
    fn io_error(&mut self, error: FrameDecoderError) -> Error {
        let ended = std::io::BufRead::fill_buf(&mut self.packed).is_ok_and(<[u8]>::is_empty);
        if ended {
            Error::from(ErrorKind::UnexpectedEof)
        } else {
            Error::new(ErrorKind::InvalidData, error)
        }
    }
}

fn wrong_checksum(frame: &FrameDecoder) -> Option<Error> {
    let told = frame.get_checksum_from_data()?;
    let found = frame.get_calculated_checksum()?;
    (told != found).then(|| Error::new(ErrorKind::InvalidData, "a checksum is wrong"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(bytes: &[u8]) -> (Vec<u8>, Option<String>) {
        let magic = *bytes.first_chunk().unwrap();
        let packer = Packer::of(magic).unwrap();
        let (begun, rest) = bytes.split_at(bytes.len() / 2);
        let mut source = Source::unpacked(packer, begun.to_vec(), rest);
        let mut unpacked = Vec::new();
        let mut buffer = [0; 1000];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return (unpacked, None),
                Ok(len) => unpacked.extend_from_slice(&buffer[..len]),
                Err(error) => return (unpacked, Some(error.to_string())),
            }
        }
    }

    /// A frame of zstd that holds `bytes` as they are, in blocks of `block` bytes.
    fn zstd_raw(bytes: &[u8], block: usize) -> Vec<u8> {
        // No flags, a window of 1 KiB times 2^17.
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3];
        let blocks = bytes.chunks(block);
        let last = blocks.len() - 1;
        for (at, block) in blocks.enumerate() {
            let head = (block.len() << 3) | usize::from(at == last);
            frame.extend_from_slice(&head.to_le_bytes()[..3]);
            frame.extend_from_slice(block);
        }
        frame
    }

    #[test]
    fn frames_follow_each_other_and_some_are_skipped() {
        let skipped = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let file = [
            skipped.clone(),
            zstd_raw(b"hello", 2),
            skipped,
            zstd_raw(b", world", 100),
        ]
        .concat();
        assert_eq!(unpack(&file), (b"hello, world".to_vec(), None));
    }

    #[test]
    fn a_cut_frame_gives_what_came_before() {
        let file = zstd_raw(b"hello, world", 5);
        let (unpacked, error) = unpack(&file[..file.len() - 3]);
        assert_eq!(unpacked, b"hello, wor");
        assert_eq!(
            error.unwrap(),
            format!("the zstd data are cut off after {} bytes", file.len() - 3)
        );
    }

    #[test]
    fn a_damaged_frame_gives_what_came_before() {
        let mut file = zstd_raw(b"hello, world", 5);
        file[6 + 3 + 5] |= 0b110; // a block of the reserved kind
        let (unpacked, error) = unpack(&file);
        assert_eq!(unpacked, b"hello");
        assert!(
            error.unwrap().starts_with("the zstd data, 17 bytes"),
            "{unpacked:?}"
        );
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused() {
        // A frame whose blocks each repeat one byte 128 KiB times.
        let mut file = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 7 << 3];
        for _ in 0..1000 {
            let head = (128_usize * 1024) << 3 | 0b010;
            file.extend_from_slice(&head.to_le_bytes()[..3]);
            file.push(0);
        }
        let (unpacked, error) = unpack(&file);
        let error = error.unwrap();
        assert!(error.ends_with("more than 1100 times as many"), "{error}");
        assert!(unpacked.len() as u64 <= FREE_BYTES);
    }
}
