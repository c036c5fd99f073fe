//! One connection of the room, from its greeting to its FIN.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::limits::{FAREWELL_WAIT, Limits, PEER_FIN_WAIT, PEER_FIN_WAIT_AT_SHUTDOWN, TURN};
use crate::link::{Event, Framing, Incoming, Lines, Outgoing, line};
use crate::names::Name;
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
            Self::Quit | Self::Finished => Some("* goodbye".to_owned()),
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
        let deadline = Instant::now() + FAREWELL_WAIT;
        // A client that does not read in time, or is gone, misses the rest.
        let _ = timeout_at(deadline, self.outgoing.drain(&mut lines)).await;
        drop(lines);
        self.outgoing.push(&line(&farewell));
        self.outgoing.finish(deadline).await;
        let fin_sent = Instant::now();
        tokio::select! {
            () = self.incoming.discard_until(fin_sent + PEER_FIN_WAIT) => return,
            () = shutdown.cancelled() => {}
        }
        self.incoming
            .discard_until(Instant::now() + PEER_FIN_WAIT_AT_SHUTDOWN)
            .await;
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
    let Link { incoming, outgoing } = link;
    let deadline = Instant::now() + limits.name_wait;
    // Nothing comes but what is pushed here.
    let mut nothing = ();
    outgoing.push(&line(protocol::ROOM_GREETING));
    for _ in 0..limits.name_tries {
        outgoing.push(&line(protocol::NAME_REQUEST));
        let event = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Err(End::Shutdown),
            () = sleep_until(deadline) => return Err(End::NoName(limits.name_wait)),
            error = outgoing.pump(&mut nothing) => return Err(End::Failed(error)),
            event = incoming.next() => event,
        };
        let answer = match event {
            Event::Message(text) if protocol::is_quit(&text) => return Err(End::Quit),
            Event::Message(text) => {
                room.leave_turns().await;
                choose(&text, room, limits)
            }
            Event::TooLong => Err(protocol::too_long(limits.max_message_bytes())),
            Event::Finished => return Err(End::Finished),
            Event::Failed(error) => return Err(End::Failed(error)),
        };
        match answer {
            Ok((seat, outbox, welcome)) => {
                outgoing.push(&line(&welcome));
                return Ok((seat, outbox));
            }
            Err(refusal) => outgoing.push(&line(&refusal)),
        }
    }
    Err(End::TooManyTries(limits.name_tries))
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
