//! Compressed captures, unpacked while they are read.

use std::fmt;
use std::io::{Error, ErrorKind, Read};

use flate2::bufread::MultiGzDecoder;

use super::frames::Frames;
use super::packed::{Ahead, Packed, Packer, packed, used_bytes};

/// Beyond [`FREE_BYTES`] a file may unpack to this many times its size. Deflate cannot reach more
/// than 1032; zstd could go on for hours.
const MAX_RATIO: u64 = 1100;

/// Unpacked bytes for which no ratio is asked.
const FREE_BYTES: u64 = 64 * 1024 * 1024;

/// Where the bytes of a capture come from.
pub(super) enum Source<R: Read> {
    /// As they are.
    Plain(R),
    /// Out of a compressed file.
    Packed(Unpacker<R>),
}

impl<R: Read> Source<R> {
    /// A source of the unpacked bytes of `begun` and what `rest` gives after it.
    pub(super) fn unpacked(packer: Packer, begun: Vec<u8>, rest: R) -> Self {
        let file = packed(begun, rest);
        let decoder = match packer {
            Packer::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(file))),
            Packer::Lz4 | Packer::Zstd => Decoder::Frames(Box::new(Frames::new(file, packer))),
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

impl<R: Read> fmt::Debug for Source<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Packed(_) => "Packed",
        })
    }
}

/// Reads a compressed file and says where in it an error stands.
pub(super) struct Unpacker<R: Read> {
    decoder: Decoder<R>,
    unpacked_bytes: u64,
}

enum Decoder<R: Read> {
    Gzip(Box<MultiGzDecoder<Packed<R>>>),
    Frames(Box<Frames<R>>),
}

impl<R: Read> Unpacker<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Frames(frames) => frames.read(buffer),
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
        match &self.decoder {
            Decoder::Gzip(_) => Packer::Gzip,
            Decoder::Frames(frames) => frames.packer,
        }
    }

    /// Bytes of the compressed file that have been used.
    fn packed_bytes(&self) -> u64 {
        match &self.decoder {
            Decoder::Gzip(decoder) => used_bytes(decoder.get_ref()),
            Decoder::Frames(frames) => frames.file().map_or(0, Ahead::used_bytes),
        }
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

#[cfg(test)]
mod tests {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

    use super::super::packed::LEGACY_LZ4;
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

    /// A frame of lz4 with checksums, in blocks of 64 KiB.
    fn lz4(bytes: &[u8], mode: BlockMode) -> Vec<u8> {
        let info = FrameInfo::new()
            .block_mode(mode)
            .block_size(BlockSize::Max64KB)
            .block_checksums(true)
            .content_checksum(true);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Bytes that do not compress.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_le_bytes()[3]
        };
        std::iter::repeat_with(&mut next).take(len).collect()
    }

    #[test]
    fn lz4_frames_follow_each_other() {
        let (first, second) = (noise(200_000), vec![7; 300_000]);
        let both = [&first[..], &second].concat();
        let file = [
            lz4(&first, BlockMode::Linked),
            lz4(&second, BlockMode::Independent),
        ]
        .concat();
        assert_eq!(unpack(&file), (both, None));
    }

    #[test]
    fn a_cut_or_damaged_lz4_frame_gives_what_came_before() {
        const BLOCK: usize = 64 * 1024;
        let whole = noise(200_000);
        let file = lz4(&whole, BlockMode::Independent);
        // Within the header, between two blocks, within one, before and within the end mark.
        let block_ends = 7 + 4 + BLOCK + 4;
        for (cut, least) in [
            (5, 0),
            (block_ends, BLOCK),
            (block_ends + 100, BLOCK),
            (file.len() - 8, whole.len()),
            (file.len() - 2, whole.len()),
        ] {
            let (unpacked, error) = unpack(&file[..cut]);
            assert_eq!(unpacked, whole[..least], "cut to {cut}");
            let expected = format!("the lz4 data are cut off after {cut} bytes");
            assert_eq!(error.unwrap(), expected);
        }
        let mut spoiled = file;
        spoiled[block_ends + 100] ^= 1;
        let (unpacked, error) = unpack(&spoiled);
        assert_eq!(unpacked, whole[..BLOCK]);
        assert!(error.unwrap().starts_with("the lz4 data, 131"));
    }

    #[test]
    fn frames_follow_each_other_and_some_are_skipped() {
        let skipped = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let lz4 = |bytes: &[u8]| lz4(bytes, BlockMode::Linked);
        for [first, second] in [
            [zstd_raw(b"hello", 2), zstd_raw(b", world", 100)],
            [lz4(b"hello"), lz4(b", world")],
            [lz4(b"hello"), zstd_raw(b", world", 100)],
        ] {
            for (before, between, zeros) in [
                (&skipped[..], &skipped[..], 0),
                (&[], &skipped, 3),
                (&skipped.repeat(2), &[], 9),
            ] {
                let file = [before, &first, between, &second, &vec![0; zeros]].concat();
                let expected = (b"hello, world".to_vec(), None);
                assert_eq!(unpack(&file), expected, "{file:02x?}");
            }
        }
        // Cut off within what is skipped.
        for cut in 1..skipped.len() {
            let file = [&lz4(b"hello"), &skipped[..cut]].concat();
            let expected = format!("the lz4 data are cut off after {} bytes", file.len());
            assert_eq!(unpack(&file), (b"hello".to_vec(), Some(expected)));
        }
    }

    #[test]
    fn errors_are_told_in_words() {
        let begun = lz4(b"hello", BlockMode::Linked);
        let at = begun.len();
        let after = |rest: &[u8]| [&begun, rest].concat();
        let mut version = begun.clone();
        version[4] ^= 0x80;
        let mut checksum = begun.clone();
        checksum[6] ^= 1;
        for (file, expected) in [
            (
                after(b"text"),
                format!("{at} bytes into them: neither a frame nor the end follows"),
            ),
            (
                after(&[0, 0, 0, 0, 0, 0, 9, 0]),
                format!(
                    "{} bytes into them: neither a frame nor the end follows",
                    at + 4
                ),
            ),
            (
                after(&LEGACY_LZ4),
                format!("{at} bytes into them: a frame of lz4's legacy format is not read"),
            ),
            (
                version,
                "7 bytes into them: the header of a frame is malformed".to_owned(),
            ),
            (
                checksum,
                "7 bytes into them: a checksum is wrong".to_owned(),
            ),
        ] {
            let error = unpack(&file).1.unwrap();
            assert_eq!(error, format!("the lz4 data, {expected}"));
        }
        // A window of 2^31 bytes; a block of the reserved kind.
        for (rest, expected) in [
            (
                &[0, 21 << 3, 0, 0, 0, 0][..],
                "a frame asks for a window of 2147483648 bytes (legal: at most 134217728)",
            ),
            (
                &[0, 0, 0b110, 0, 0, 0],
                "the header of a block is malformed",
            ),
        ] {
            let file = [&[0x28, 0xb5, 0x2f, 0xfd], rest].concat();
            let error = unpack(&file).1.unwrap();
            assert!(error.ends_with(expected), "{error}");
        }
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
