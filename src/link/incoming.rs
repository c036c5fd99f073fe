//! The receiving direction of a connection: bytes into messages, up to the peer's FIN.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, timeout_at};

use crate::framing::{Decoder, Frame, Rest};
use crate::patience::Patience;
use crate::strikes::Strikes;
use crate::telnet::{Reply, Telnet};

/// What comes in from a peer.
#[derive(Debug)]
pub enum Event {
    /// A message.
    Message(String),
    /// A message over the limit; its text is gone.
    TooLong,
    /// Commands of telnet that want an answer: see [`Outgoing::answer`].
    Telnet(Reply),
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
    telnet: Telnet,
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
            telnet: Telnet::default(),
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
            if let Some(reply) = self.telnet.reply() {
                return Event::Telnet(reply);
            }
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
                    if let Some(reply) = self.telnet.reply() {
                        return Event::Telnet(reply);
                    }
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

    /// Throws away what still comes, until the peer's FIN, an error or the end of `patience`. Closing a
    /// socket with unread bytes would turn the end into a reset (RFC 9293, 3.6.1; RFC 2525, 2.17).
    pub async fn discard(&mut self, patience: &mut Patience) {
        while !self.finished {
            match patience.wait(self.fill()).await {
                Some(Ok(1..)) => {
                    while self.decoder.take().is_some() {}
                    self.decoder.flush();
                    self.telnet.reply();
                }
                Some(Ok(0) | Err(_)) | None => return,
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
            let decoder = &mut self.decoder;
            self.telnet.take(buffer.filled(), |text| decoder.push(text));
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;
    use crate::link::testing::{FRAMING, failure, scripted};

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
    async fn commands_of_telnet_are_events_and_no_text() {
        let (mut near, far) = duplex(1000);
        let mut incoming = Incoming::new(far, FRAMING);
        near.write_all(b"\xff\xf4\xff\xfd\x06ciao\r\0bare")
            .await
            .unwrap();
        drop(near);
        let Event::Telnet(reply) = incoming.next().await else {
            panic!("no reply")
        };
        assert_eq!(
            (reply.refusals, reply.asked),
            (b"\xff\xfc\x06".to_vec(), false)
        );
        assert_eq!(message(&mut incoming).await, "ciao");
        assert_eq!(message(&mut incoming).await, "bare");
        assert!(matches!(incoming.next().await, Event::Finished));
    }
}
