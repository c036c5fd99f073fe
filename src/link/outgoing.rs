//! The sending direction of a connection: lines into bytes, up to one's own FIN.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::limits::ANSWER_BYTES;
use crate::patience::Patience;
use crate::pending::Pending;
use crate::protocol;
use crate::strikes::Strikes;
use crate::telnet::Reply;

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
/// The sending direction of a connection.
#[derive(Debug)]
pub struct Outgoing<W> {
    half: W,
    pending: Pending,
    /// Bytes that the kernel has taken.
    written: u64,
    /// Bytes of answers since nothing was queued.
    answers: usize,
    shut_down: bool,
    strikes: Strikes,
}

impl<W: AsyncWrite + Unpin> Outgoing<W> {
    /// Writes to `half`.
    pub fn new(half: W) -> Self {
        Self {
            half,
            pending: Pending::default(),
            written: 0,
            answers: 0,
            shut_down: false,
            strikes: Strikes::default(),
        }
    }

    /// Queues bytes; they are sent by [`Outgoing::pump`] or [`Outgoing::flush`].
    pub fn push(&mut self, text: &str) {
        self.pending.push(text);
    }

    /// Queues the refusals of a [`Reply`]. They go before what is said next, whether there is room or not: a telnet whose
    /// mark is not answered shows nothing more. One who asks without reading is answered no more in the end.
    pub fn answer(&mut self, refusals: &[u8]) {
        if self.answers + refusals.len() <= ANSWER_BYTES {
            self.answers += refusals.len();
            self.pending.push_bytes(refusals);
        }
    }

    /// Answers telnet's commands, and who asks whether somebody is there with a line: RFC 854 wants to see one.
    pub fn reply(&mut self, reply: &Reply) {
        self.answer(&reply.refusals);
        // One who does not read cannot pile up notices.
        if reply.asked && self.has_room() {
            self.push(&line(protocol::PRESENT));
        }
    }

    /// The stream that is written to.
    pub fn half(&self) -> &W {
        &self.half
    }

    /// Bytes that were queued so far.
    pub fn queued(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// Bytes that the kernel has taken so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Whether FIN was sent.
    pub fn is_shut_down(&self) -> bool {
        self.shut_down
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
            self.write().await?;
        }
        Ok(())
    }

    /// Sends as much of what is queued as the kernel takes at once; something must be queued.
    ///
    /// # Errors
    /// As [`Outgoing::flush`].
    pub async fn write(&mut self) -> io::Result<()> {
        loop {
            let written = match poll_fn(|cx| self.pending.poll_write(cx, &mut self.half)).await {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                other => other,
            };
            match written {
                Ok(bytes) => {
                    self.written += bytes as u64;
                    self.strikes.clear();
                    if self.pending.is_empty() {
                        self.answers = 0;
                    }
                    return Ok(());
                }
                Err(error) => {
                    if self.strikes.count(error) {
                        let last = self.strikes.take_last();
                        return Err(last.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()));
                    }
                }
            }
        }
    }

    /// The same as [`Outgoing::flush`], for as long as `patience` lasts; bytes that go are signs of life.
    async fn flush_within(&mut self, patience: &mut Patience) -> io::Result<()> {
        while !self.pending.is_empty() {
            let late = || io::Error::from(io::ErrorKind::TimedOut);
            patience.wait(self.write()).await.ok_or_else(late)??;
        }
        Ok(())
    }

    /// Sends what is queued and then FIN. Past the end of `patience` the FIN goes out all the same, after
    /// what the kernel has taken.
    pub async fn finish(&mut self, patience: &mut Patience) {
        // A failure means that the peer is gone, and an end of patience that it does not read:
        // either way there is nobody left to tell.
        let _ = self.flush_within(patience).await;
        self.shut_down().await;
    }

    /// Sends FIN after what the kernel has taken.
    pub async fn shut_down(&mut self) {
        self.shut_down = true;
        // A peer that is gone needs none.
        let _ = timeout(FIN_WAIT, self.half.shutdown()).await;
    }

    /// The latest send error, unless sending has worked since.
    pub fn take_error(&mut self) -> Option<io::Error> {
        self.strikes.take_last()
    }

    /// Sends what waits in `lines`, but for the last piece, which is queued: so it leaves together with what
    /// is pushed next.
    ///
    /// # Errors
    /// As [`Outgoing::flush`]; timed out at the end of `patience`.
    pub async fn drain(
        &mut self,
        lines: &mut impl Lines,
        patience: &mut Patience,
    ) -> io::Result<()> {
        while !self.take_from(lines) {
            self.flush_within(patience).await?;
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
    use tokio::io::{AsyncReadExt as _, duplex};
    use tokio::time::Instant;

    use super::*;
    use crate::link::Incoming;
    use crate::link::testing::{FRAMING, MINUTE, failure, scripted};
    use crate::patience::Bounds;

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
            let mut patience = Patience::new(MINUTE);
            outgoing.drain(&mut lines, &mut patience).await.unwrap();
            outgoing.push("goodbye\n");
            outgoing.finish(&mut patience).await;
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
        let silence = Duration::from_millis(500);
        let mut patience = Patience::new(Bounds { silence, ..MINUTE });
        outgoing.finish(&mut patience).await;
        assert!(begin.elapsed() <= Duration::from_millis(600));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_slowly_gets_all_and_one_that_says_something_is_heard_out() {
        const SLOW: Duration = Duration::from_millis(400);
        // The last piece is in the stream while the one before is slept upon.
        let silence = SLOW * 3;
        let bounds = Bounds { silence, ..MINUTE };
        let (near, mut far) = duplex(8);
        let text = "x".repeat(800);
        let (read, write) = tokio::io::split(near);
        let (mut outgoing, mut incoming) = (Outgoing::new(write), Incoming::new(read, FRAMING));
        outgoing.push(&text);
        let peer = tokio::spawn(async move {
            let mut heard = Vec::new();
            let mut bytes = [0; 8];
            while let Ok(n @ 1..) = far.read(&mut bytes).await {
                heard.extend_from_slice(&bytes[..n]);
                tokio::time::sleep(SLOW).await;
            }
            for _ in 0..10 {
                far.write_all(b"more\n").await.unwrap();
                tokio::time::sleep(SLOW).await;
            }
            heard.len()
        });
        outgoing.finish(&mut Patience::new(bounds)).await;
        incoming.discard(&mut Patience::new(bounds)).await;
        assert_eq!(peer.await.unwrap(), text.len());
    }

    #[tokio::test]
    async fn one_who_asks_without_reading_is_answered_a_bounded_number_of_times() {
        let (near, mut far) = duplex(8);
        let mut outgoing = Outgoing::new(near);
        for _ in 0..100 {
            outgoing.answer(&[255; 999]);
        }
        let waiting = outgoing.pending.len();
        assert!(waiting <= ANSWER_BYTES && waiting > ANSWER_BYTES - 999);
        let mut heard = vec![0; waiting];
        let (sent, read) = tokio::join!(outgoing.flush(), far.read_exact(&mut heard));
        sent.unwrap();
        read.unwrap();
        outgoing.answer(b"\xff\xfc\x06");
        assert_eq!(outgoing.pending.len(), 3, "who reads is answered again");
    }
}
