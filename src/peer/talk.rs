//! Sends and receives at once, until one side ends it.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::args::Args;
use super::keyboard::{Keyboard, is_quit};
use super::meet::{self, Attempt};
use crate::client::screen::Screen;
use crate::client::{Exit, Failure, LEAVE_WAITS, LOOK_EVERY, input, program};
use crate::limits::TURN;
use crate::link::{Event, Framing, Incoming, Outgoing, line};
use crate::patience::{Bounds, Patience};
use crate::protocol;
use crate::sent::Sent;

/// The author of the peer's lines, which so cannot be taken for the program's own.
const PEER: &str = "peer";

/// The longest line of the peer that is shown, in bytes.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// How long the rest of a character cut in two is waited for.
const TAIL_WAIT: Duration = Duration::from_secs(2);

/// How long a line may wait for a stdout that is not read.
const SHOW_WAIT: Duration = Duration::from_millis(100);

/// Runs the peer and prints the line on stderr that a failure deserves.
pub fn main(args: Args) -> Exit {
    program::run("chat-peer", run(args))
}

async fn run(args: Args) -> Result<(), Failure> {
    let terminal = input::open(is_quit).map_err(|e| Failure::of("failed to start", &e))?;
    let screen = terminal.screen;
    let mut keyboard = Keyboard::new(terminal.lines);
    let ended = chat(&args, &mut keyboard, &screen).await;
    drop(keyboard);
    screen.finish();
    drop(terminal.mode);
    ended
}

async fn chat(args: &Args, keyboard: &mut Keyboard, screen: &Screen) -> Result<(), Failure> {
    let Some((stream, peer)) = find(args, keyboard, screen).await? else {
        return Ok(());
    };
    show(screen, format!("* {peer} is connected")).await;
    let (read, write) = stream.into_split();
    let framing = Framing {
        max_bytes: MAX_LINE_BYTES,
        quiet: args.quiet,
        tail_wait: TAIL_WAIT,
    };
    let mut talk = Talk {
        incoming: Incoming::new(read, framing),
        outgoing: Outgoing::new(write),
        sent: Sent::default(),
        leaving: Bounds {
            silence: args.leave_wait,
            limit: args.leave_wait.saturating_mul(LEAVE_WAITS),
        },
        peer,
    };
    talk.run(keyboard, screen).await
}

/// A peer, by connecting or by listening; none when the user leaves before one is there.
async fn find(
    args: &Args,
    keyboard: &mut Keyboard,
    screen: &Screen,
) -> Result<Option<(TcpStream, String)>, Failure> {
    if let Some(host) = &args.host {
        let Some(attempt) = keyboard.unless_quit(meet::call(host, args)).await else {
            return Ok(None);
        };
        match attempt? {
            Attempt::Connected(stream) => {
                let peer = stream.peer_addr();
                let peer = peer.map_err(|e| Failure::of("failed to connect", &e))?;
                return Ok(Some((stream, peer.to_string())));
            }
            Attempt::Alone(failure) => show(screen, format!("* {failure}: listening")).await,
        }
    }
    let failed = |e: io::Error| Failure {
        exit: Exit::Failed,
        message: e.to_string(),
    };
    let listener = meet::open(args).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    show(screen, format!("* listening on {address}")).await;
    match keyboard.until(meet::accept(listener)).await {
        None => Ok(None),
        Some(accepted) => {
            let (stream, peer) =
                accepted.map_err(|e| Failure::of(&format!("failed to accept on {address}"), &e))?;
            Ok(Some((stream, peer.to_string())))
        }
    }
}

/// One chat with a peer.
struct Talk {
    incoming: Incoming<OwnedReadHalf>,
    outgoing: Outgoing<OwnedWriteHalf>,
    sent: Sent,
    /// How long the peer may take to close.
    leaving: Bounds,
    peer: String,
}

impl Talk {
    async fn run(&mut self, keyboard: &mut Keyboard, screen: &Screen) -> Result<(), Failure> {
        let mut seen = true;
        let mut turn = 0;
        loop {
            let may_type = self.outgoing.has_room();
            let unsent = !self.outgoing.is_empty();
            let Self {
                incoming, outgoing, ..
            } = self;
            let received = async {
                let permit = if seen { screen.room().await } else { None };
                (incoming.next().await, permit)
            };
            tokio::select! {
                biased;
                (event, permit) = received, if turn < TURN => {
                    turn += 1;
                    match self.heard(event)? {
                        // Without a stdout the chat goes on unseen.
                        Heard::Line(text) => seen = permit.map(|permit| permit.send(text)).is_some(),
                        Heard::Nothing => {}
                        Heard::End => return self.left_by_peer(screen).await,
                    }
                }
                sent = outgoing.write(), if unsent => sent.map_err(|e| self.lost(&e))?,
                typed = keyboard.line(), if may_type => match typed {
                    Some(text) => self.say(&text),
                    None => return self.leave(screen).await,
                },
                // Who talks without a pause does not keep the user from being heard.
                () = yield_now(), if turn >= TURN => turn = 0,
            }
        }
    }

    fn say(&mut self, text: &str) {
        self.outgoing.push(&line(text));
        self.sent.line(&self.outgoing);
    }

    /// Sends what is left and FIN, and shows what the peer still says until its own. The peer has time for as long as it
    /// says something, or its host takes something.
    async fn leave(&mut self, screen: &Screen) -> Result<(), Failure> {
        let mut patience = Patience::new(self.leaving);
        let mut look_at = Instant::now() + LOOK_EVERY;
        while Instant::now() < patience.deadline() {
            let unsent = !self.outgoing.is_empty();
            if !unsent && !self.outgoing.is_shut_down() {
                self.outgoing.shut_down().await;
            }
            let Self {
                incoming, outgoing, ..
            } = self;
            tokio::select! {
                event = incoming.next() => match self.heard(event)? {
                    Heard::Line(text) => {
                        patience.renew();
                        show(screen, text).await;
                    }
                    Heard::Nothing => {}
                    Heard::End => return self.left("it has left too"),
                },
                sent = outgoing.write(), if unsent => {
                    sent.map_err(|e| self.lost(&e))?;
                    patience.restart();
                }
                () = sleep_until(look_at) => {
                    look_at = Instant::now() + LOOK_EVERY;
                    if self.sent.look(&self.outgoing) {
                        patience.restart();
                    }
                }
                () = sleep_until(patience.deadline()) => {}
            }
        }
        self.outgoing.shut_down().await;
        self.left("it does not take them")
    }

    /// How a chat has ended that the user has left.
    fn left(&mut self, why: &str) -> Result<(), Failure> {
        match self.unheard() {
            0 => Ok(()),
            lines => Err(Failure::unheard(lines, &self.peer, why)),
        }
    }

    /// Answers the peer's FIN and says so.
    async fn left_by_peer(&mut self, screen: &Screen) -> Result<(), Failure> {
        self.outgoing.finish(&mut Patience::new(self.leaving)).await;
        if let Some(error) = self.outgoing.take_error() {
            return Err(self.lost(&error));
        }
        show(screen, "* the peer has left".to_owned()).await;
        let failure = Failure {
            exit: Exit::ServerClosed,
            message: format!("the peer at {} ended the chat", self.peer),
        };
        Err(failure.and_unheard(self.unheard()))
    }

    fn heard(&mut self, event: Event) -> Result<Heard, Failure> {
        match event {
            Event::Message(text) => Ok(Heard::Line(protocol::said(PEER, &text))),
            Event::TooLong => {
                let told = "* a line too long to show was left out";
                Ok(Heard::Line(told.to_owned()))
            }
            Event::Telnet(reply) => {
                self.outgoing.answer(&reply.refusals);
                Ok(Heard::Nothing)
            }
            Event::Finished => Ok(Heard::End),
            Event::Failed(error) => Err(self.lost(&error)),
        }
    }

    fn lost(&mut self, error: &io::Error) -> Failure {
        let lost = Failure::of(&format!("connection to {} lost", self.peer), error);
        lost.and_unheard(self.unheard())
    }

    fn unheard(&mut self) -> usize {
        self.sent.look(&self.outgoing);
        self.sent.unacknowledged()
    }
}

/// What an event means for the user.
enum Heard {
    /// A line to show.
    Line(String),
    Nothing,
    /// The peer's FIN.
    End,
}

/// Shows a line of the program's own; a stdout that nobody reads must not hold it up.
async fn show(screen: &Screen, text: String) {
    screen.show(text, SHOW_WAIT).await;
}
