//! Sends and receives at once, until one side leaves.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::args::{Args, Ending, Ui, Visit};
use super::connect::connect;
use super::exit::{Exit, Failure};
use super::full;
use super::input::{self, Terminal};
use super::naming::{Naming, Step};
use super::program;
use super::screen::Screen;
use crate::limits::TURN;
use crate::link::{Event, Framing, Incoming, Outgoing};
use crate::protocol;
use crate::text;

/// The longest line of a server that is shown, in bytes.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// How long the rest of a character cut in two is waited for.
const TAIL_WAIT: Duration = Duration::from_secs(2);

/// How long, the client's own FIN sent, the server's is waited for.
const PEER_FIN_WAIT: Duration = Duration::from_secs(1);

/// Runs the client and prints the line on stderr that a failure deserves.
pub fn main(args: Args) -> Exit {
    program::run("chat-client", run(args))
}

async fn run(Args { visit, ui }: Args) -> Result<(), Failure> {
    let unusable = |e| Failure::of("failed to start", &e);
    if ui == Ui::Full {
        full::check().map_err(unusable)?;
    }
    let stream = connect(&visit.host, visit.port, visit.timeout).await?;
    let opened = match ui {
        Ui::Line => input::open(protocol::is_quit),
        Ui::Full => full::open(&visit.peer()),
    };
    let Terminal {
        lines,
        screen,
        interactive,
        mode,
    } = opened.map_err(unusable)?;
    let front = FrontEnd {
        lines,
        screen,
        interactive,
    };
    let ended = talk(stream, visit, front).await;
    drop(mode);
    ended
}

/// Who sits before a talk: lines that are typed go in, lines that are heard come out.
#[derive(Debug)]
pub struct FrontEnd {
    /// What the user types, a line each; closed when there will be no more.
    pub lines: mpsc::Receiver<String>,
    /// Where received lines are shown.
    pub screen: Screen,
    /// Whether somebody can be asked for another name.
    pub interactive: bool,
}

/// Talks over `stream` until one side leaves, and waits a moment until the last lines are shown.
///
/// # Errors
/// The talk did not end as the user asked.
pub async fn talk(stream: TcpStream, visit: Visit, front: FrontEnd) -> Result<(), Failure> {
    let mut talk = Talk::new(stream, visit, front.interactive, front.lines);
    let ended = talk.run(&front.screen).await;
    // Gone with its connection and input, so that neither holds up the last lines.
    drop(talk);
    front.screen.finish();
    ended
}

/// One talk with a server.
struct Talk {
    visit: Visit,
    peer: String,
    interactive: bool,
    input: mpsc::Receiver<String>,
    incoming: Incoming<OwnedReadHalf>,
    outgoing: Outgoing<OwnedWriteHalf>,
    naming: Naming,
    naming_deadline: Instant,
    /// When the next message may be sent.
    send_from: Instant,
    /// Until when the server may close; set once the user has left.
    leaving: Option<Instant>,
    /// Why the talk failed although the client leaves politely.
    failure: Option<Failure>,
    last_line: String,
}

impl Talk {
    fn new(
        stream: TcpStream,
        visit: Visit,
        interactive: bool,
        input: mpsc::Receiver<String>,
    ) -> Self {
        let peer = visit.peer();
        let (read, write) = stream.into_split();
        let framing = Framing {
            max_bytes: MAX_LINE_BYTES,
            quiet: visit.quiet,
            tail_wait: TAIL_WAIT,
        };
        let now = Instant::now();
        Self {
            naming: Naming::new(visit.name.is_some()),
            naming_deadline: now + visit.name_wait,
            send_from: now,
            leaving: None,
            failure: None,
            last_line: String::new(),
            incoming: Incoming::new(read, framing),
            outgoing: Outgoing::new(write),
            visit,
            peer,
            interactive,
            input,
        }
    }

    async fn run(&mut self, screen: &Screen) -> Result<(), Failure> {
        let mut seen = true;
        let mut turn = 0;
        loop {
            let may_type = self.leaving.is_none()
                && !self.naming.holds()
                && match self.visit.framing {
                    Ending::Line => self.outgoing.has_room(),
                    Ending::Bare => self.outgoing.is_empty(),
                };
            let send_from = self.send_from;
            let unsent = !self.outgoing.is_empty();
            let Self {
                incoming,
                outgoing,
                input,
                ..
            } = self;
            let received = async {
                let permit = if seen { screen.room().await } else { None };
                (incoming.next().await, permit)
            };
            let typed = async {
                sleep_until(send_from).await;
                input.recv().await
            };
            tokio::select! {
                biased;
                (event, permit) = received, if turn < TURN => {
                    turn += 1;
                    let text = match event {
                        Event::Message(text) => text,
                        Event::TooLong => "* a line too long to show was left out".to_owned(),
                        Event::Finished => return self.server_closed(),
                        Event::Failed(error) => return Err(self.broken(&error)),
                    };
                    self.hear(&text);
                    // Without a stdout the talk goes on unseen.
                    seen = permit.map(|permit| permit.send(text)).is_some();
                }
                sent = outgoing.flush(), if unsent => if let Err(error) = sent {
                    return Err(self.broken(&error));
                },
                line = typed, if may_type => self.type_line(line),
                () = sleep_until(self.naming_deadline), if self.naming.holds() => self.naming.give_up(),
                () = sleep_until(self.leaving.unwrap_or(send_from)), if self.leaving.is_some() => {
                    // The server does not know the word, or is silent: the client closes first.
                    let now = Instant::now();
                    self.outgoing.finish(now).await;
                    self.incoming.discard_until(now + PEER_FIN_WAIT).await;
                    return self.failure.take().map_or(Ok(()), Err);
                }
                // A server that talks without a pause does not keep the user from being heard.
                () = yield_now(), if turn >= TURN => turn = 0,
            }
        }
    }

    /// Takes note of a line of the server, and answers its request for a name.
    fn hear(&mut self, line: &str) {
        match self.naming.hear(line) {
            Step::SendName => {
                self.naming_deadline = Instant::now() + self.visit.name_wait;
                // A line end in the name would make it two messages.
                let name = self.visit.name.as_deref().unwrap_or_default();
                let name = text::harmless(name.as_bytes());
                self.send(&name);
            }
            Step::Refused if !self.interactive => {
                let reason = self.last_line.trim_start_matches("* ");
                self.failure = Some(Failure {
                    exit: Exit::NameRefused,
                    message: format!("{} refused the name: {reason}", self.peer),
                });
                self.leave();
            }
            Step::Refused | Step::Nothing => {}
        }
        line.clone_into(&mut self.last_line);
    }

    /// Sends a line of the user, or leaves at the end of input.
    fn type_line(&mut self, line: Option<String>) {
        match line {
            None => self.leave(),
            Some(line) if protocol::is_quit(&line) => self.leave(),
            Some(line) if line.trim().is_empty() => {}
            Some(line) => self.send(&line),
        }
    }

    fn leave(&mut self) {
        self.send(protocol::QUIT);
        self.leaving = Some(Instant::now() + self.visit.leave_wait);
    }

    fn send(&mut self, message: &str) {
        self.outgoing.push(&self.visit.framing.encode(message));
        if self.visit.framing == Ending::Bare {
            self.send_from = Instant::now() + self.visit.pause;
        }
    }

    fn server_closed(&mut self) -> Result<(), Failure> {
        if let Some(error) = self.outgoing.take_error() {
            return Err(self.broken(&error));
        }
        match self.failure.take() {
            Some(failure) => Err(failure),
            None if self.leaving.is_some() => Ok(()),
            None => Err(Failure {
                exit: Exit::ServerClosed,
                message: format!("the server at {} closed the connection", self.peer),
            }),
        }
    }

    fn broken(&mut self, error: &io::Error) -> Failure {
        self.failure
            .take()
            .unwrap_or_else(|| Failure::of(&format!("connection to {} lost", self.peer), error))
    }
}
