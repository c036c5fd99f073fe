//! One connection: messages in, lines out, and an orderly end.
//!
//! [`Incoming`] and [`Outgoing`] are the two directions. Their futures can be dropped at any
//! `await` without losing a byte, so that a session waits for both, and for more, in one `select!`.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::framing::{Decoder, Frame, Rest};
use crate::pending::Pending;
use crate::strikes::Strikes;

/// Makes a line of `text`: its line end is added.
pub fn line(text: &str) -> String {
    format!("{text}\n")
}

/// Where lines for a peer come from.
pub trait Lines {
    /// Moves what waits into `pending`, as far as there is room. Where nothing waits, the task is woken
    /// when something does.
    fn poll_take(&mut self, cx: &mut Context<'_>, pending: &mut Pending) -> Poll<()>;
}

/// Lines, their line ends included. When no sender is left, nothing comes any more.
impl Lines for mpsc::Receiver<String> {
    fn poll_take(&mut self, cx: &mut Context<'_>, pending: &mut Pending) -> Poll<()> {
        match ready!(self.poll_recv(cx)) {
            Some(line) => pending.push(&line),
            None => return Poll::Pending,
        }
        while pending.has_room()
            && let Ok(line) = self.try_recv()
        {
            pending.push(&line);
        }
        Poll::Ready(())
    }
}

/// No lines at all.
impl Lines for () {
    fn poll_take(&mut self, _: &mut Context<'_>, _: &mut Pending) -> Poll<()> {
        Poll::Pending
    }
}

/// What comes in from a peer.
#[derive(Debug)]
pub enum Event {
    /// A message.
    Message(String),
    /// A message over the limit; its text is gone.
    TooLong,
    /// The peer has closed its direction (FIN).
    Finished,
    /// Receiving failed three times in a row, or failed and then ended; the cause.
    Failed(io::Error),
}

/// How bytes become messages.
#[derive(Debug, Clone, Copy)]
pub struct Framing {
    /// The longest message, in bytes.
    pub max_bytes: usize,
    /// Bytes without a line end are a message after this time.
    pub quiet: Duration,
    /// The same when they end inside a UTF-8 sequence.
    pub tail_wait: Duration,
}

/// The receiving direction of a connection.
#[derive(Debug)]
pub struct Incoming<R> {
    half: R,
    decoder: Decoder,
    framing: Framing,
    heard: Instant,
    finished: bool,
    strikes: Strikes,
}

/// So much is read at a time, on the stack: an idle connection holds no buffer.
const READ_BYTES: usize = 4096;

impl<R: AsyncRead + Unpin> Incoming<R> {
    /// Reads messages from `half`.
    pub fn new(half: R, framing: Framing) -> Self {
        Self {
            half,
            decoder: Decoder::new(framing.max_bytes),
            framing,
            heard: Instant::now(),
            finished: false,
            strikes: Strikes::default(),
        }
    }

    /// The next message, or how the direction ended.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(frame) = self.decoder.take() {
                return frame.into();
            }
            if self.finished {
                return self.end();
            }
            let wait = match self.decoder.rest() {
                Rest::Nothing => None,
                Rest::Bare => Some(self.framing.quiet),
                Rest::Unfinished => Some(self.framing.tail_wait),
            };
            let read = match wait.map(|wait| self.heard + wait) {
                None => self.fill().await,
                Some(deadline) => match timeout_at(deadline, self.fill()).await {
                    Ok(read) => read,
                    Err(_quiet) => match self.decoder.flush() {
                        Some(frame) => return frame.into(),
                        None => continue,
                    },
                },
            };
            match read {
                Ok(0) => self.finished = true,
                Ok(_) => {
                    self.heard = Instant::now();
                    self.strikes.clear();
                    if let Some(frame) = self.decoder.take() {
                        return frame.into();
                    }
                    // One who sends what is no message, empty lines without end, leaves the others their turn.
                    tokio::task::yield_now().await;
                }
                Err(error) => self.finished = self.strikes.count(error),
            }
        }
    }

    /// A message that has been read already.
    pub fn take_read(&mut self) -> Option<Event> {
        self.decoder.take().map(Event::from)
    }

    /// Throws away what still comes, until the peer's FIN, an error or `deadline`. Closing a
    /// socket with unread bytes would turn the end into a reset (RFC 9293, 3.6.1; RFC 2525, 2.17).
    pub async fn discard_until(&mut self, deadline: Instant) {
        while !self.finished {
            match timeout_at(deadline, self.fill()).await {
                Ok(Ok(1..)) => {
                    while self.decoder.take().is_some() {}
                    self.decoder.flush();
                }
                Ok(Ok(0) | Err(_)) | Err(_) => return,
            }
        }
    }

    /// What is left at the end of the direction, and then the end itself.
    fn end(&mut self) -> Event {
        if let Some(frame) = self.decoder.flush() {
            return frame.into();
        }
        // After a reset the next read reports a plain end; the error before it is the truth.
        match self.strikes.take_last() {
            Some(error) => Event::Failed(error),
            None => Event::Finished,
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| {
            let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut bytes);
            ready!(Pin::new(&mut self.half).poll_read(cx, &mut buffer))?;
            self.decoder.push(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
        .await
    }
}

impl From<Frame> for Event {
    fn from(frame: Frame) -> Self {
        match frame {
            Frame::Message(text) => Self::Message(text),
            Frame::TooLong => Self::TooLong,
        }
    }
}

/// The sending direction of a connection.
#[derive(Debug)]
pub struct Outgoing<W> {
    half: W,
    pending: Pending,
    strikes: Strikes,
}

impl<W: AsyncWrite + Unpin> Outgoing<W> {
    /// Writes to `half`.
    pub fn new(half: W) -> Self {
        Self {
            half,
            pending: Pending::default(),
            strikes: Strikes::default(),
        }
    }

    /// Queues bytes; they are sent by [`Outgoing::pump`] or [`Outgoing::flush`].
    pub fn push(&mut self, text: &str) {
        self.pending.push(text);
    }

    /// Whether everything queued was handed to the kernel.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether more may be queued without growing beyond one write.
    pub fn has_room(&self) -> bool {
        self.pending.has_room()
    }

    /// Sends what is queued and then every line that comes out of `lines`, for ever.
    /// Returns only when sending has failed three times in a row, with the cause.
    pub async fn pump(&mut self, lines: &mut impl Lines) -> io::Error {
        loop {
            if self.pending.is_empty() {
                poll_fn(|cx| lines.poll_take(cx, &mut self.pending)).await;
            }
            if let Err(error) = self.flush().await {
                return error;
            }
        }
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// The cause, when sending has failed three times in a row.
    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            let written = match poll_fn(|cx| self.pending.poll_write(cx, &mut self.half)).await {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                other => other,
            };
            match written {
                Ok(_) => self.strikes.clear(),
                Err(error) => {
                    if self.strikes.count(error) {
                        let last = self.strikes.take_last();
                        return Err(last.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends what is queued and then FIN. Past `deadline` the FIN goes out all the same, after
    /// what the kernel has taken.
    pub async fn finish(&mut self, deadline: Instant) {
        // A failure means that the peer is gone, and a missed deadline that it does not read:
        // either way there is nobody left to tell.
        let _ = timeout_at(deadline, self.flush()).await;
        let _ = timeout_at(deadline + FIN_WAIT, self.half.shutdown()).await;
    }

    /// The latest send error, unless sending has worked since.
    pub fn take_error(&mut self) -> Option<io::Error> {
        self.strikes.take_last()
    }

    /// Sends what waits in `lines`, but for the last piece, which is queued: so it leaves together with what
    /// is pushed next.
    ///
    /// # Errors
    /// As [`Outgoing::flush`].
    pub async fn drain(&mut self, lines: &mut impl Lines) -> io::Result<()> {
        while !self.take_from(lines) {
            self.flush().await?;
        }
        Ok(())
    }

    /// Queues what waits in `lines`, as far as one write may hold it; whether that was all.
    fn take_from(&mut self, lines: &mut impl Lines) -> bool {
        // Nobody waits for more.
        let mut cx = Context::from_waker(Waker::noop());
        while self.has_room() {
            if lines.poll_take(&mut cx, &mut self.pending).is_pending() {
                return true;
            }
        }
        false
    }
}

/// Shutting a TCP socket's sending side takes no time; another kind of stream gets this long.
const FIN_WAIT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    const FRAMING: Framing = Framing {
        max_bytes: 100,
        quiet: Duration::from_millis(300),
        tail_wait: Duration::from_secs(2),
    };

    /// A stream that answers each read and each write with the next of its results.
    struct Scripted(VecDeque<io::Result<&'static [u8]>>);

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

    fn scripted<const N: usize>(results: [io::Result<&'static [u8]>; N]) -> Scripted {
        Scripted(results.into())
    }

    fn failure() -> io::Result<&'static [u8]> {
        Err(io::ErrorKind::ConnectionReset.into())
    }

    async fn message<R: AsyncRead + Unpin>(incoming: &mut Incoming<R>) -> String {
        match incoming.next().await {
            Event::Message(text) => text,
            other => panic!("expected a message, got {other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bare_bytes_become_a_message_after_the_quiet_time_and_not_before() {
        let (mut near, far) = duplex(1000);
        let mut incoming = Incoming::new(far, FRAMING);
        let begin = Instant::now();
        near.write_all(b"line\nbare").await.unwrap();
        assert_eq!(message(&mut incoming).await, "line");
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert_eq!(message(&mut incoming).await, "bare");
        assert_eq!(begin.elapsed(), FRAMING.quiet);
    }

    #[tokio::test(start_paused = true)]
    async fn every_byte_begins_the_quiet_time_anew() {
        let (mut near, far) = duplex(1000);
        let mut incoming = Incoming::new(far, FRAMING);
        let typist = tokio::spawn(async move {
            for byte in *b"ciao" {
                near.write_all(&[byte]).await.unwrap();
                tokio::time::sleep(FRAMING.quiet * 9 / 10).await;
            }
            near
        });
        assert_eq!(message(&mut incoming).await, "ciao");
        drop(typist);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_a_character_is_waited_for_beyond_the_quiet_time() {
        let (mut near, far) = duplex(1000);
        let mut incoming = Incoming::new(far, FRAMING);
        near.write_all(b"caf\xc3").await.unwrap();
        let late = tokio::spawn(async move {
            tokio::time::sleep(FRAMING.quiet * 4).await;
            near.write_all(b"\xa9").await.unwrap();
            near
        });
        assert_eq!(message(&mut incoming).await, "café");
        let mut near = late.await.unwrap();
        let begin = Instant::now();
        near.write_all(b"caf\xc3").await.unwrap();
        assert_eq!(message(&mut incoming).await, "caf\u{fffd}");
        assert_eq!(begin.elapsed(), FRAMING.tail_wait);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_at_the_fin_is_a_message() {
        let (mut near, far) = duplex(1000);
        let mut incoming = Incoming::new(far, FRAMING);
        near.write_all(b"last words").await.unwrap();
        drop(near);
        assert_eq!(message(&mut incoming).await, "last words");
        assert!(matches!(incoming.next().await, Event::Finished));
    }

    #[tokio::test]
    async fn three_receive_errors_in_a_row_end_it_and_two_do_not() {
        let script = [
            failure(),
            failure(),
            Ok(&b"still here\n"[..]),
            failure(),
            failure(),
            failure(),
        ];
        let mut incoming = Incoming::new(scripted(script), FRAMING);
        assert_eq!(message(&mut incoming).await, "still here");
        assert!(matches!(incoming.next().await, Event::Failed(_)));
        assert!(incoming.half.0.is_empty(), "all three errors were met");
    }

    #[tokio::test]
    async fn an_error_and_then_the_end_is_a_failure_and_no_orderly_end() {
        let mut incoming = Incoming::new(scripted([failure(), Ok(b"")]), FRAMING);
        let Event::Failed(error) = incoming.next().await else {
            panic!("an orderly end")
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn whatever_waits_is_sent_before_the_last_line() {
        let (sender, mut lines) = mpsc::channel(100);
        let said: Vec<String> = (0..100)
            .map(|n| format!("{n}{}\n", "x".repeat(2000)))
            .collect();
        for line in &said {
            sender.try_send(line.clone()).unwrap();
        }
        let (near, mut far) = duplex(1024);
        let mut outgoing = Outgoing::new(near);
        let send = async {
            outgoing.drain(&mut lines).await.unwrap();
            outgoing.push("goodbye\n");
            outgoing
                .finish(Instant::now() + Duration::from_mins(1))
                .await;
        };
        let mut heard = String::new();
        let ((), received) = tokio::join!(send, far.read_to_string(&mut heard));
        received.unwrap();
        assert_eq!(heard, said.concat() + "goodbye\n");
    }

    #[tokio::test]
    async fn three_send_errors_in_a_row_end_it_and_two_do_not() {
        let script = [failure(), failure(), Ok(&b""[..]), failure(), failure()];
        let mut outgoing = Outgoing::new(scripted(script));
        outgoing.push("ciao");
        outgoing.flush().await.unwrap();
        let mut outgoing = Outgoing::new(scripted([failure(), failure(), failure()]));
        outgoing.push("ciao");
        let error = outgoing.flush().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test(start_paused = true)]
    async fn finishing_does_not_wait_for_a_peer_that_does_not_read() {
        let (near, _far) = duplex(8);
        let mut outgoing = Outgoing::new(near);
        outgoing.push("far more than the eight bytes that fit");
        let begin = Instant::now();
        outgoing.finish(begin + Duration::from_millis(500)).await;
        assert!(begin.elapsed() <= Duration::from_millis(600));
    }
}
