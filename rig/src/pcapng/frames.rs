//! Compressed captures that are made of frames: lz4 and zstd.

use std::io::{Error, ErrorKind, Read};

use lz4_flex::frame::{Error as Lz4Error, FrameDecoder as Lz4Decoder};
use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::packed::{Ahead, Packed, Packer, malformed};

/// The most memory that a zstd file may ask for, in bytes: what `zstd -d` grants it too.
const MAX_WINDOW_BYTES: u64 = 128 * 1024 * 1024;

/// The frames of an lz4 or zstd file, one after the other. The decoders know single frames.
pub(super) struct Frames<R: Read> {
    pub(super) packer: Packer,
    /// Never none between two calls.
    at: Option<At<R>>,
}

/// Where in a file of frames the reading is.
enum At<R: Read> {
    Between(Ahead<R>),
    Lz4(Lz4Decoder<Ahead<R>>),
    Zstd(Box<Zstd<R>>),
}

impl<R: Read> Frames<R> {
    pub(super) fn new(file: Packed<R>, packer: Packer) -> Self {
        Self {
            packer,
            at: Some(At::Between(Ahead::new(file))),
        }
    }

    pub(super) fn file(&self) -> Option<&Ahead<R>> {
        Some(match self.at.as_ref()? {
            At::Between(file) => file,
            At::Lz4(frame) => frame.get_ref(),
            At::Zstd(frame) => &frame.file,
        })
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // Each turn begins a frame or ends one, both of which takes bytes of the file.
        while let Some(at) = &mut self.at {
            let begun = match at {
                At::Between(file) => {
                    let Some(packer) = file.next_frame()? else {
                        return Ok(0);
                    };
                    self.packer = packer;
                    Some(packer)
                }
                At::Lz4(frame) => {
                    let len = frame.read(buffer).map_err(lz4_error)?;
                    if len > 0 {
                        return Ok(len);
                    }
                    // The decoder takes the end of its source between two blocks for that of the frame.
                    if frame.get_ref().has_ended {
                        return Err(Error::from(ErrorKind::UnexpectedEof));
                    }
                    None
                }
                At::Zstd(frame) => {
                    let len = frame.read(buffer)?;
                    if len > 0 {
                        return Ok(len);
                    }
                    None
                }
            };
            self.at = self.at.take().map(|at| at.then(begun));
        }
        Ok(0)
    }
}

impl<R: Read> At<R> {
    /// Behind what was read, or at the beginning of a frame of this packer. One decoder a frame: used ones
    /// assert that their buffers fit the frame before, or reserve a window at once.
    fn then(self, begun: Option<Packer>) -> Self {
        let file = match self {
            Self::Between(file) => file,
            Self::Lz4(frame) => frame.into_inner(),
            Self::Zstd(frame) => frame.file,
        };
        match begun {
            None => Self::Between(file),
            Some(Packer::Lz4) => Self::Lz4(Lz4Decoder::new(file)),
            Some(_) => Self::Zstd(Box::new(Zstd::new(file))),
        }
    }
}

/// A frame of zstd.
struct Zstd<R: Read> {
    file: Ahead<R>,
    /// None before its header and behind its end.
    frame: Option<FrameDecoder>,
    has_begun: bool,
    /// What ended the frame early, told after the bytes that came before it.
    failed: Option<Error>,
}

impl<R: Read> Zstd<R> {
    fn new(file: Ahead<R>) -> Self {
        Self {
            file,
            frame: None,
            has_begun: false,
            failed: None,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if !self.has_begun {
            self.has_begun = true;
            self.begin()?;
        }
        // Each turn takes a block of the file, or ends.
        while let Some(frame) = &mut self.frame {
            let len = frame.read(buffer)?;
            if len > 0 {
                return Ok(len);
            }
            if frame.is_finished() {
                if self.failed.is_none() {
                    self.failed = wrong_checksum(frame);
                }
                self.frame = None;
            } else {
                self.next_block();
            }
        }
        self.failed.take().map_or(Ok(0), Err)
    }

    fn begin(&mut self) -> std::io::Result<()> {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(MAX_WINDOW_BYTES);
        match frame.init(&mut self.file) {
            Ok(()) => self.frame = Some(frame),
            Err(error) => return Err(self.io_error(&error)),
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
        if let Err(error) = frame.decode_blocks(&mut self.file, one) {
            // The decoder holds bytes back for as long as further blocks may refer to them.
            let one = BlockDecodingStrategy::UptoBlocks(1);
            if frame.decode_blocks(LAST_BLOCK, one).is_err() {
                self.frame = None;
            }
            self.failed = Some(self.io_error(&error));
        }
    }

    /// An error of the decoder; that of its source where this has ended.
    fn io_error(&mut self, error: &FrameDecoderError) -> Error {
        if self.file.is_at_end() {
            return Error::from(ErrorKind::UnexpectedEof);
        }
        malformed(match error {
            FrameDecoderError::WindowSizeTooBig { requested, max } => {
                return malformed(&format!(
                    "a frame asks for a window of {requested} bytes (legal: at most {max})"
                ));
            }
            FrameDecoderError::DictNotProvided { .. } => NEEDS_DICTIONARY,
            FrameDecoderError::ReadFrameHeaderError(_) | FrameDecoderError::FrameHeaderError(_) => {
                MALFORMED_HEADER
            }
            FrameDecoderError::FailedToReadBlockHeader(_) => "the header of a block is malformed",
            FrameDecoderError::FailedToReadBlockBody(_) => "a block is malformed",
            _ => "a frame is malformed",
        })
    }
}

const MALFORMED_HEADER: &str = "the header of a frame is malformed";
const NEEDS_DICTIONARY: &str = "a frame needs a dictionary";
const WRONG_CHECKSUM: &str = "a checksum is wrong";

/// An error of the decoder of lz4 in words; that of its source as it is.
fn lz4_error(error: Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let Some(inner) = inner else {
        return error;
    };
    malformed(match inner {
        Lz4Error::HeaderChecksumError
        | Lz4Error::BlockChecksumError
        | Lz4Error::ContentChecksumError => WRONG_CHECKSUM,
        Lz4Error::UnsupportedBlocksize(_)
        | Lz4Error::UnsupportedVersion(_)
        | Lz4Error::ReservedBitsSet => MALFORMED_HEADER,
        Lz4Error::DictionaryNotSupported => NEEDS_DICTIONARY,
        Lz4Error::InvalidBlockInfo | Lz4Error::BlockTooBig => {
            "a block is longer than its frame allows"
        }
        Lz4Error::ContentLengthError { .. } => "a frame is not as long as its header says",
        Lz4Error::DecompressionError(_) => "a block is malformed",
        _ => "a frame is malformed",
    })
}

fn wrong_checksum(frame: &FrameDecoder) -> Option<Error> {
    let told = frame.get_checksum_from_data()?;
    let found = frame.get_calculated_checksum()?;
    (told != found).then(|| malformed(WRONG_CHECKSUM))
}
