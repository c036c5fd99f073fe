//! One connection of the room, from its greeting to its FIN.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::limits::{FAREWELL, FAREWELL_AT_SHUTDOWN, Limits, PEER_FIN, PEER_FIN_AT_SHUTDOWN, TURN};
use crate::link::{Event, Framing, Incoming, Lines, Outgoing, line};
use crate::names::Name;
use crate::patience::Patience;
use crate::protocol;
use crate::rate::Pace;
use crate::room::{Outbox, Room, Seat};

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The client said `quit`.
    #[error("the client quit")]
    Quit,
    /// The client's FIN came without a word.
    #[error("the client closed")]
    Finished,
    /// The operator ended this connection.
    #[error("the operator ended it")]
    Stopped,
    /// The server shuts down.
    #[error("the server shuts down")]
    Shutdown,
    /// The member did not read.
    #[error("the member fell behind")]
    Behind,
    /// No usable name in time.
    #[error("no name within {0:?}")]
    NoName(Duration),
    /// No usable name in so many tries.
    #[error("no usable name in {0} tries")]
    TooManyTries(u32),
    /// Three consecutive errors, or one that ended the connection.
    #[error("the connection failed: {0}")]
    Failed(io::Error),
}

impl End {
    /// The last line that the client gets; none when there is nobody to get it.
    pub fn farewell(&self) -> Option<String> {
        match self {
            Self::Quit | Self::Finished => Some(protocol::GOODBYE.to_owned()),
            Self::Stopped => Some("* the operator ends this talk: goodbye".to_owned()),
            Self::Shutdown => Some("* the server shuts down: goodbye".to_owned()),
            Self::Behind => Some("* you fell behind and were dropped: goodbye".to_owned()),
            Self::NoName(_) | Self::TooManyTries(_) => Some(format!("* {self}: goodbye")),
            Self::Failed(_) => None,
        }
    }
}

/// Both directions of a connection.
#[derive(Debug)]
pub struct Link<R, W> {
    /// What the client says.
    pub incoming: Incoming<R>,
    /// What the client is told.
    pub outgoing: Outgoing<W>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Link<R, W> {
    /// A link over the two halves of a stream.
    pub fn new(read: R, write: W, limits: &Limits) -> Self {
        let framing = Framing {
            max_bytes: limits.max_message_bytes(),
            quiet: limits.quiet,
            tail_wait: limits.tail_wait,
        };
        Self {
            incoming: Incoming::new(read, framing),
            outgoing: Outgoing::new(write),
        }
    }

    /// Ends the connection: what still waits in `lines`, farewell, FIN, and then a bounded wait for the
    /// client's FIN, so that the server closes first and the end is orderly.
    pub async fn end(mut self, end: &End, mut lines: impl Lines, shutdown: &CancellationToken) {
        let Some(farewell) = end.farewell() else {
            return;
        };
        let mut patience = Patience::new(FAREWELL).hurried_by(shutdown, FAREWELL_AT_SHUTDOWN);
        // A client that does not read in time, or is gone, misses the rest.
        let _ = self.outgoing.drain(&mut lines, &mut patience).await;
        drop(lines);
        self.outgoing.push(&line(&farewell));
        self.outgoing.finish(&mut patience).await;
        let mut patience = Patience::new(PEER_FIN).hurried_by(shutdown, PEER_FIN_AT_SHUTDOWN);
        self.incoming.discard(&mut patience).await;
    }
}

/// Serves one connection of `room` and returns when it has ended on both sides, or when the
/// client has had its time to end it.
pub async fn serve<R, W>(
    mut link: Link<R, W>,
    room: &Arc<Room>,
    limits: &Limits,
    shutdown: &CancellationToken,
) -> End
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    match admit(&mut link, room, limits, shutdown).await {
        Ok((seat, mut outbox)) => {
            let end = talk(&mut link, room, seat, &mut outbox, limits, shutdown).await;
            link.end(&end, outbox, shutdown).await;
            end
        }
        Err(end) => {
            link.end(&end, (), shutdown).await;
            end
        }
    }
}

/// Greets the client and asks for a name until it gives one that is free.
async fn admit<R, W>(
    link: &mut Link<R, W>,
    room: &Arc<Room>,
    limits: &Limits,
    shutdown: &CancellationToken,
) -> Result<(Seat, Outbox), End>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let deadline = Instant::now() + limits.name_wait;
    link.outgoing.push(&line(protocol::ROOM_GREETING));
    for _ in 0..limits.name_tries {
        link.outgoing.push(&line(protocol::NAME_REQUEST));
        let said = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Err(End::Shutdown),
            () = sleep_until(deadline) => return Err(End::NoName(limits.name_wait)),
            said = first_words(link) => said?,
        };
        let answer = match said {
            Some(text) if protocol::is_quit(&text) => return Err(End::Quit),
            Some(text) => {
                room.leave_turns().await;
                choose(&text, room, limits)
            }
            None => Err(protocol::too_long(limits.max_message_bytes())),
        };
        match answer {
            Ok((seat, outbox, welcome)) => {
                link.outgoing.push(&line(&welcome));
                return Ok((seat, outbox));
            }
            Err(refusal) => link.outgoing.push(&line(&refusal)),
        }
    }
    Err(End::TooManyTries(limits.name_tries))
}

/// What a client says that is not in the room yet; none when that is too long. Sends what is queued meanwhile.
async fn first_words<R, W>(
    Link { incoming, outgoing }: &mut Link<R, W>,
) -> Result<Option<String>, End>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    // Nothing comes but what is queued.
    let mut nothing = ();
    loop {
        let event = tokio::select! {
            biased;
            error = outgoing.pump(&mut nothing) => return Err(End::Failed(error)),
            event = incoming.next() => event,
        };
        match event {
            Event::Message(text) => return Ok(Some(text)),
            Event::TooLong => return Ok(None),
            Event::Telnet(reply) => outgoing.reply(&reply),
            Event::Finished => return Err(End::Finished),
            Event::Failed(error) => return Err(End::Failed(error)),
        }
    }
}

/// Lets a client in under the name it gave, or says why not.
fn choose(text: &str, room: &Arc<Room>, limits: &Limits) -> Result<(Seat, Outbox, String), String> {
    let name = Name::parse(text, limits.max_name_bytes())
        .map_err(|error| protocol::name_refused(text, &error))?;
    room.join(&name)
        .map_err(|_taken| protocol::name_taken(&name))
}

/// The member talks and listens. The seat is given up before the farewell, so that the leaver's
/// departure reaches everybody else and the name is free at once.
async fn talk<R, W>(
    link: &mut Link<R, W>,
    room: &Room,
    seat: Seat,
    outbox: &mut Outbox,
    limits: &Limits,
    shutdown: &CancellationToken,
) -> End
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    tracing::info!(name = %seat.name(), "joined");
    let end = converse(link, room, &seat, outbox, limits, shutdown).await;
    tracing::info!(name = %seat.name(), "left: {end}");
    if matches!(end, End::Behind | End::Failed(_)) {
        outbox.give_up();
        room.leave_turns().await;
    } else {
        // A failure shows when the farewell is sent.
        let _ = in_turn(&mut link.outgoing, outbox, room).await;
    }
    drop(seat);
    end
}

async fn converse<R, W>(
    link: &mut Link<R, W>,
    room: &Room,
    seat: &Seat,
    outbox: &mut Outbox,
    limits: &Limits,
    shutdown: &CancellationToken,
) -> End
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let Link { incoming, outgoing } = link;
    let mut pace = Pace::new(limits.rate, limits.burst);
    let mut read_from: Option<Instant> = None;
    let mut dismissed = pin!(seat.dismissed());
    let mut turn = 0;
    loop {
        let next = async {
            if let Some(time) = read_from {
                sleep_until(time).await;
            }
            incoming.next().await
        };
        let mut event = tokio::select! {
            biased;
            () = &mut dismissed => return dismissal(shutdown),
            // What has come is read before anything is sent, so that it goes out with the rest.
            event = next => event,
            error = outgoing.pump(outbox) => return End::Failed(error),
        };
        let mut delivers = false;
        loop {
            match event {
                Event::Message(text) if protocol::is_quit(&text) => return End::Quit,
                Event::Message(text) => {
                    let told = in_turn(outgoing, outbox, room).await;
                    delivers |= seat.say(&text);
                    if let Err(error) = told {
                        return End::Failed(error);
                    }
                }
                // One who does not read cannot pile up notices of his own.
                Event::TooLong if !outgoing.has_room() => {}
                Event::TooLong => {
                    outgoing.push(&line(&protocol::too_long(limits.max_message_bytes())));
                }
                Event::Telnet(reply) => outgoing.reply(&reply),
                Event::Finished => return End::Finished,
                Event::Failed(error) => return End::Failed(error),
            }
            read_from = pace.count(Instant::now());
            turn += 1;
            if turn >= TURN || read_from.is_some() {
                break;
            }
            match incoming.take_read() {
                Some(read) => event = read,
                None => break,
            }
        }
        if delivers {
            seat.deliver().await;
        } else if turn >= TURN {
            // The other members' sessions get to send before the next messages come.
            tokio::task::yield_now().await;
        } else {
            continue;
        }
        turn = 0;
        // One who talks without a pause hears all the same.
        tokio::select! {
            biased;
            () = &mut dismissed => return dismissal(shutdown),
            error = outgoing.pump(outbox) => return End::Failed(error),
            () = std::future::ready(()) => {}
        }
    }
}

/// Lets the others send before a member says something, and goes on sending to it meanwhile.
async fn in_turn<W: AsyncWrite + Unpin>(
    outgoing: &mut Outgoing<W>,
    outbox: &mut Outbox,
    room: &Room,
) -> io::Result<()> {
    if !room.is_crowded() {
        return Ok(());
    }
    tokio::select! {
        biased;
        error = outgoing.pump(outbox) => Err(error),
        () = room.leave_turns() => Ok(()),
    }
}

/// Why a member was dismissed.
fn dismissal(shutdown: &CancellationToken) -> End {
    if shutdown.is_cancelled() {
        End::Shutdown
    } else {
        End::Behind
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split};
    use tokio::sync::mpsc;
    use tokio::time::sleep;

    use super::*;
    use crate::limits::SHUTDOWN_WAIT;

    type Half = Link<ReadHalf<DuplexStream>, WriteHalf<DuplexStream>>;

    /// The two ends of a connection that holds very little.
    fn connection() -> (Half, DuplexStream) {
        let (near, far) = duplex(1000);
        let (read, write) = split(near);
        (Link::new(read, write, &Limits::defaults()), far)
    }

    /// Lines that wait for a member.
    fn waiting(count: usize) -> mpsc::Receiver<String> {
        let (sender, lines) = mpsc::channel(count);
        for _ in 0..count {
            sender.try_send("x".repeat(999) + "\n").unwrap();
        }
        lines
    }

    #[tokio::test(start_paused = true)]
    async fn a_leaver_that_reads_slowly_gets_everything_and_the_farewell() {
        let (link, mut far) = connection();
        let reader = tokio::spawn(async move {
            let (mut heard, mut bytes) = (Vec::new(), [0; 1000]);
            while let Ok(n @ 1..) = far.read(&mut bytes).await {
                heard.extend_from_slice(&bytes[..n]);
                sleep(FAREWELL.silence / 10).await;
            }
            String::from_utf8(heard).unwrap()
        });
        let shutdown = CancellationToken::new();
        let begin = Instant::now();
        link.end(&End::Quit, waiting(50), &shutdown).await;
        assert!(begin.elapsed() > 2 * FAREWELL.silence, "all this time");
        let heard = reader.await.unwrap();
        assert_eq!(heard.lines().count(), 51);
        assert!(heard.ends_with("\n* goodbye\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_keeps_an_end_waiting_for_ever() {
        for shuts_down in [false, true] {
            let (link, mut far) = connection();
            let shutdown = CancellationToken::new();
            // It reads a byte now and then, and says as much, for ever.
            let hostile = tokio::spawn(async move {
                while far.read_u8().await.is_ok() {
                    sleep(Duration::from_millis(300)).await;
                }
                while tokio::io::AsyncWriteExt::write_u8(&mut far, b'x')
                    .await
                    .is_ok()
                {
                    sleep(Duration::from_millis(300)).await;
                }
            });
            let begin = Instant::now();
            if shuts_down {
                shutdown.cancel();
            }
            link.end(&End::Quit, waiting(50), &shutdown).await;
            let longest = if shuts_down {
                FAREWELL_AT_SHUTDOWN.limit + SHUTDOWN_WAIT
            } else {
                FAREWELL.limit + PEER_FIN.limit
            };
            let took = begin.elapsed();
            assert!(took <= longest + Duration::from_secs(1), "{took:?}");
            hostile.abort();
        }
    }
}
