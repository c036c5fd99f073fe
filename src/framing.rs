//! Bytes into messages, for clients that end a message with a line end and for clients that send
//! each message as one bare `send()`.
//!
//! A line end (LF or CR LF) ends a message. Bytes without one are a message once the line has been
//! quiet for a while; the clock is not here but in [`crate::link`], which asks [`Decoder::rest`]
//! what there is to wait for and calls [`Decoder::flush`] when the wait is over.

use crate::text;

/// What a peer has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A message, harmless and not empty, without its line end.
    Message(String),
    /// A message over the length limit. It is reported once, as soon as the limit is passed, and
    /// its bytes are thrown away up to its end.
    TooLong,
}

/// What is left when all whole lines have been taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// No bytes: there is nothing to wait for.
    Nothing,
    /// Bytes without a line end: a message once the line is quiet.
    Bare,
    /// Bytes that end inside a UTF-8 sequence: its remainder is on its way.
    Unfinished,
}

/// Splits a stream of bytes into [`Frame`]s. Holds at most the limit and one pushed piece.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Where the first unread message begins in `buffer`.
    start: usize,
    /// `buffer` holds no line end before this place.
    scanned: usize,
    /// An over-long message was reported and its end has not come yet.
    skipping: bool,
    max_bytes: usize,
}

/// A buffer larger than this is given back when it runs empty, in bytes.
const KEPT_CAPACITY: usize = 256;

impl Decoder {
    /// A decoder that refuses messages over `max_bytes`, the line end not counted.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            skipping: false,
            max_bytes,
        }
    }

    /// Takes in what was received. Call [`Decoder::take`] until it returns none before the next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message that is ended by a line end, or the report of one over the limit.
    pub fn take(&mut self) -> Option<Frame> {
        loop {
            let Some(at) = self.buffer[self.scanned..].iter().position(|&b| b == b'\n') else {
                return self.take_from_unended();
            };
            let line = self.start..self.scanned + at;
            self.scanned = line.end + 1;
            self.start = self.scanned;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            let frame = frame(&self.buffer[line], self.max_bytes);
            if frame.is_some() {
                return frame;
            }
        }
    }

    /// What is left when [`Decoder::take`] has returned none.
    pub fn rest(&self) -> Rest {
        let rest = &self.buffer[self.start..];
        if self.skipping {
            Rest::Bare
        } else if rest.is_empty() {
            Rest::Nothing
        } else if text::ends_inside_character(rest) {
            Rest::Unfinished
        } else {
            Rest::Bare
        }
    }

    /// Ends the message that has no line end: the line was quiet, or the peer has closed.
    pub fn flush(&mut self) -> Option<Frame> {
        let skipped = std::mem::take(&mut self.skipping);
        let frame = frame(&self.buffer[self.start..], self.max_bytes);
        self.clear();
        if skipped { None } else { frame }
    }

    /// No line end is left: reports a message that is over the limit already.
    fn take_from_unended(&mut self) -> Option<Frame> {
        self.scanned = self.buffer.len();
        let rest = &self.buffer[self.start..];
        let over = without_cr(rest).len() > self.max_bytes;
        if rest.is_empty() || over || self.skipping {
            self.clear();
        }
        if over && !self.skipping {
            self.skipping = true;
            return Some(Frame::TooLong);
        }
        None
    }

    fn clear(&mut self) {
        self.buffer.clear();
        if self.buffer.capacity() > KEPT_CAPACITY {
            self.buffer = Vec::new();
        }
        self.start = 0;
        self.scanned = 0;
    }
}

/// A line, its LF taken off, as a frame; none when it says nothing.
fn frame(line: &[u8], max_bytes: usize) -> Option<Frame> {
    let line = without_cr(line);
    if line.len() > max_bytes {
        return Some(Frame::TooLong);
    }
    let text = text::harmless(line);
    (!text.trim().is_empty()).then_some(Frame::Message(text))
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Frame {
        Frame::Message(text.to_owned())
    }

    fn all(decoder: &mut Decoder) -> Vec<Frame> {
        std::iter::from_fn(|| decoder.take()).collect()
    }

    /// The frames of `bytes`, pushed in pieces of `size`, with what a final flush yields.
    fn decode(bytes: &[u8], size: usize, max: usize) -> Vec<Frame> {
        let mut decoder = Decoder::new(max);
        let mut frames = Vec::new();
        for piece in bytes.chunks(size) {
            decoder.push(piece);
            frames.extend(all(&mut decoder));
        }
        frames.extend(decoder.flush());
        frames
    }

    #[test]
    fn line_ends_of_both_kinds_end_a_message_however_it_is_cut() {
        for size in 1..=12 {
            let frames = decode("uno\ndué\r\n\n  \r\ntre".as_bytes(), size, 100);
            assert_eq!(
                frames,
                [message("uno"), message("dué"), message("tre")],
                "pieces of {size}"
            );
        }
    }

    #[test]
    fn bytes_without_a_line_end_wait_for_quiet() {
        let mut decoder = Decoder::new(100);
        decoder.push(b"ciao");
        assert_eq!(decoder.take(), None);
        assert_eq!(decoder.rest(), Rest::Bare);
        assert_eq!(decoder.flush(), Some(message("ciao")));
        assert_eq!(decoder.rest(), Rest::Nothing);
        assert_eq!(decoder.flush(), None);
    }

    #[test]
    fn a_character_split_over_segments_survives() {
        let mut decoder = Decoder::new(100);
        decoder.push(b"caf\xc3");
        assert_eq!(decoder.take(), None);
        assert_eq!(decoder.rest(), Rest::Unfinished);
        decoder.push(b"\xa9");
        assert_eq!(decoder.take(), None);
        assert_eq!(decoder.rest(), Rest::Bare);
        assert_eq!(decoder.flush(), Some(message("café")));
    }

    #[test]
    fn a_bare_message_and_its_late_line_end_are_one_message() {
        let mut decoder = Decoder::new(100);
        decoder.push(b"ciao\r");
        assert_eq!(decoder.take(), None);
        assert_eq!(decoder.flush(), Some(message("ciao")));
        decoder.push(b"\n");
        assert_eq!(decoder.take(), None);
        assert_eq!(decoder.rest(), Rest::Nothing);
    }

    #[test]
    fn the_limit_counts_the_message_and_not_its_line_end() {
        for size in 1..=7 {
            assert_eq!(decode(b"12345\r\n", size, 5), [message("12345")]);
            assert_eq!(
                decode(b"123456\nok\n", size, 5),
                [Frame::TooLong, message("ok")]
            );
        }
    }

    #[test]
    fn an_over_long_message_is_reported_once_and_never_kept() {
        let mut decoder = Decoder::new(1000);
        let mut reports = 0;
        for _ in 0..10_000 {
            decoder.push(&[b'x'; 4096]);
            reports += all(&mut decoder).len();
            assert!(decoder.buffer.capacity() <= KEPT_CAPACITY);
        }
        assert_eq!(reports, 1);
        decoder.push(b"tail\nnext\n");
        assert_eq!(all(&mut decoder), [message("next")]);
    }

    #[test]
    fn quiet_ends_an_over_long_message_too() {
        let mut decoder = Decoder::new(4);
        decoder.push(b"12345");
        assert_eq!(all(&mut decoder), [Frame::TooLong]);
        assert_eq!(decoder.rest(), Rest::Bare);
        assert_eq!(decoder.flush(), None);
        decoder.push(b"ok");
        assert_eq!(decoder.take(), None);
        assert_eq!(decoder.flush(), Some(message("ok")));
    }
}
