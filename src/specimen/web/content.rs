//! The body of an answer: a text, or a file piece by piece.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead as _, ReadBuf};

/// So much of a file is in memory at a time, for each connection.
const PIECE_BYTES: usize = 64 * 1024;

/// The body of an answer.
#[derive(Debug)]
pub enum Content {
    /// All of it.
    Text(Bytes),
    /// An open file.
    File {
        /// Its begin, until it is sent.
        begin: Bytes,
        /// The file, read from where it stands.
        file: File,
        /// Bytes that are still to be sent.
        left: u64,
    },
}

impl Content {
    /// The first `len` bytes of a file. Its begin is read at once, by a thread that may wait: then it
    /// goes out with the header, in one segment where the file is a small one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of(mut file: std::fs::File, len: u64) -> io::Result<Self> {
        let mut begin = Vec::new();
        let piece = u64::try_from(PIECE_BYTES).map_or(len, |piece| piece.min(len));
        file.by_ref().take(piece).read_to_end(&mut begin)?;
        Ok(Self::File {
            begin: begin.into(),
            file: File::from_std(file),
            left: len,
        })
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Text(text) if text.is_empty() => Poll::Ready(None),
            Self::Text(text) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
            Self::File { left: 0, .. } => Poll::Ready(None),
            Self::File { begin, left, .. } if !begin.is_empty() => {
                *left -= begin.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(begin)))))
            }
            Self::File { file, left, .. } => {
                let piece = usize::try_from(*left)
                    .unwrap_or(PIECE_BYTES)
                    .min(PIECE_BYTES);
                let mut bytes = vec![0; piece];
                let mut buffer = ReadBuf::new(&mut bytes);
                ready!(Pin::new(file).poll_read(context, &mut buffer))?;
                let len = buffer.filled().len();
                if len == 0 {
                    // Its length was promised in the header, so the connection must break.
                    return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                }
                bytes.truncate(len);
                *left -= len as u64;
                Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Text(text) => text.len() as u64,
            Self::File { left, .. } => *left,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http_body_util::BodyExt as _;

    use super::*;

    fn file_of(bytes: &[u8], left: u64) -> Content {
        use std::io::{Seek as _, Write as _};
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        Content::of(file, left).unwrap()
    }

    #[tokio::test]
    async fn the_begin_of_a_file_is_there_at_once() {
        let mut body = file_of(b"ciao", 4);
        let mut context = Context::from_waker(Waker::noop());
        let frame = Pin::new(&mut body).poll_frame(&mut context);
        let Poll::Ready(Some(Ok(frame))) = frame else {
            panic!("{frame:?}");
        };
        assert_eq!(frame.into_data().unwrap(), "ciao");
        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn a_file_comes_whole_and_in_pieces() {
        let bytes = vec![7; PIECE_BYTES * 2 + 5];
        let content = file_of(&bytes, bytes.len() as u64);
        assert_eq!(content.collect().await.unwrap().to_bytes(), bytes);
    }

    #[tokio::test]
    async fn a_file_that_shrinks_is_an_error_and_one_that_grows_is_cut() {
        assert!(file_of(b"short", 10).collect().await.is_err());
        assert_eq!(
            file_of(b"longer", 4).collect().await.unwrap().to_bytes(),
            "long"
        );
    }

    #[tokio::test]
    async fn a_text_comes_whole() {
        let text = Content::Text(Bytes::from_static(b"ciao"));
        assert_eq!(text.collect().await.unwrap().to_bytes(), "ciao");
        assert!(Content::Text(Bytes::new()).is_end_stream());
    }
}
