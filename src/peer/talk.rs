//! Sends and receives at once, until one side ends it.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use super::args::Args;
use super::keyboard::{Keyboard, is_quit};
use super::meet::{self, Attempt};
use crate::client::screen::Screen;
use crate::client::{Exit, Failure, input, program};
use crate::limits::TURN;
use crate::link::{Event, Framing, Incoming, Outgoing, line};
use crate::protocol;

/// The author of the peer's lines, which so cannot be taken for the program's own.
const PEER: &str = "peer";

/// The longest line of the peer that is shown, in bytes.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// How long the rest of a character cut in two is waited for.
const TAIL_WAIT: Duration = Duration::from_secs(2);

/// How long the last lines may take when the chat ends.
const LAST_LINES_WAIT: Duration = Duration::from_millis(500);

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
        leave_wait: args.leave_wait,
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
    leave_wait: Duration,
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
                    let Some(text) = shown(event).map_err(|e| self.lost(&e))? else {
                        return self.left_by_peer(screen).await;
                    };
                    // Without a stdout the chat goes on unseen.
                    seen = permit.map(|permit| permit.send(text)).is_some();
                }
                sent = outgoing.flush(), if unsent => sent.map_err(|e| self.lost(&e))?,
                typed = keyboard.line(), if may_type => match typed {
                    Some(text) => self.outgoing.push(&line(&text)),
                    None => return self.leave(screen).await,
                },
                // Who talks without a pause does not keep the user from being heard.
                () = yield_now(), if turn >= TURN => turn = 0,
            }
        }
    }

    /// Sends FIN, and shows what the peer still says until its own.
    async fn leave(&mut self, screen: &Screen) -> Result<(), Failure> {
        let now = Instant::now();
        self.outgoing.finish(now + LAST_LINES_WAIT).await;
        let rest = async {
            while let Some(text) = shown(self.incoming.next().await)? {
                show(screen, text).await;
            }
            Ok(())
        };
        match timeout_at(now + self.leave_wait, rest).await {
            Ok(ended) => ended.map_err(|error| self.lost(&error)),
            Err(_elapsed) => Ok(()),
        }
    }

    /// Answers the peer's FIN and says so.
    async fn left_by_peer(&mut self, screen: &Screen) -> Result<(), Failure> {
        let deadline = Instant::now() + LAST_LINES_WAIT;
        self.outgoing.finish(deadline).await;
        if let Some(error) = self.outgoing.take_error() {
            return Err(self.lost(&error));
        }
        show(screen, "* the peer has left".to_owned()).await;
        Err(Failure {
            exit: Exit::ServerClosed,
            message: format!("the peer at {} ended the chat", self.peer),
        })
    }

    fn lost(&self, error: &io::Error) -> Failure {
        Failure::of(&format!("connection to {} lost", self.peer), error)
    }
}

/// What an event puts on the screen; none for the peer's FIN.
fn shown(event: Event) -> io::Result<Option<String>> {
    match event {
        Event::Message(text) => Ok(Some(protocol::said(PEER, &text))),
        Event::TooLong => Ok(Some("* a line too long to show was left out".to_owned())),
        Event::Finished => Ok(None),
        Event::Failed(error) => Err(error),
    }
}

/// Shows a line of the program's own; a stdout that nobody reads must not hold it up.
async fn show(screen: &Screen, text: String) {
    screen.show(text, SHOW_WAIT).await;
}
