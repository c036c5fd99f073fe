//! Sends and receives at once, until one side leaves.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::args::{Args, Ending, Ui, Visit};
use super::connect::connect;
use super::exit::{Exit, Failure};
use super::full;
use super::input::{self, Terminal};
use super::naming::{Naming, Step};
use super::program;
use super::said::{LEAVE_WAITS, Said};
use super::screen::Screen;
use crate::limits::TURN;
use crate::link::{Event, Framing, Incoming, Outgoing};
use crate::patience::{Bounds, Patience};
use crate::protocol;
use crate::text;

/// The longest line of a server that is shown, in bytes.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// How long the rest of a character cut in two is waited for.
const TAIL_WAIT: Duration = Duration::from_secs(2);

/// How long, the client's own FIN sent, a silent server's is waited for.
const PEER_FIN_WAIT: Duration = Duration::from_secs(1);

/// How often a client that leaves asks the kernel how much the server's host has acknowledged.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);

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
        at_once,
        mode,
    } = opened.map_err(unusable)?;
    let front = FrontEnd {
        lines,
        screen,
        interactive,
        at_once,
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
    /// Cancelled when the user, having left, waits no longer.
    pub at_once: CancellationToken,
}

/// Talks over `stream` until one side leaves, and waits a moment until the last lines are shown.
///
/// # Errors
/// The talk did not end as the user asked.
pub async fn talk(stream: TcpStream, visit: Visit, front: FrontEnd) -> Result<(), Failure> {
    let FrontEnd {
        lines,
        screen,
        interactive,
        at_once,
    } = front;
    let mut talk = Talk::new(stream, visit, interactive, lines);
    let ended = tokio::select! {
        biased;
        ended = talk.run(&screen) => ended,
        () = at_once.cancelled() => talk.break_off().await,
    };
    // Gone with its connection and input, so that neither holds up the last lines.
    drop(talk);
    screen.finish();
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
    said: Said,
    /// When the latest line of the server came.
    heard_at: Instant,
    /// How long the server may take to close; set once the user has left.
    leaving: Option<Patience>,
    /// When the kernel is asked next how much is acknowledged.
    look_at: Instant,
    /// Whether the lines that come can be seen.
    seen: bool,
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
            said: Said::new(visit.framing),
            heard_at: now,
            leaving: None,
            look_at: now,
            seen: true,
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
        let mut turn = 0;
        loop {
            let is_ahead = self.is_ahead();
            let may_type = !is_ahead && self.may_type();
            let unsent = !self.outgoing.is_empty() && !self.outgoing.is_shut_down();
            let leaving = self.leaving.as_ref().map(Patience::deadline);
            let (send_from, hears_first, look_at) =
                (self.send_from, self.hears_first(), self.look_at);
            let Self {
                incoming,
                outgoing,
                input,
                seen,
                ..
            } = self;
            let received = async {
                let permit = if *seen { screen.room().await } else { None };
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
                    if let Event::Finished = event {
                        return self.server_closed();
                    }
                    if let Some(text) = self.receive(event)? {
                        // Without a stdout the talk goes on unseen.
                        self.seen = permit.map(|permit| permit.send(text)).is_some();
                    }
                }
                sent = outgoing.write(), if unsent => self.note_sent(sent)?,
                line = typed, if may_type => self.type_line(line),
                () = sleep_until(self.naming_deadline), if self.naming.holds() => self.naming.give_up(),
                () = sleep_until(hears_first), if is_ahead => {}
                () = sleep_until(look_at), if leaving.is_some() => self.look(),
                () = sleep_until(leaving.unwrap_or(look_at)), if leaving.is_some() => {
                    if let Some(ended) = self.late(screen).await {
                        return ended;
                    }
                }
                // A server that talks without a pause does not keep the user from being heard.
                () = yield_now(), if turn >= TURN => turn = 0,
            }
        }
    }

    /// Whether a line of the user can be sent.
    fn may_type(&self) -> bool {
        self.leaving.is_none()
            && !self.naming.holds()
            && match self.visit.framing {
                Ending::Line => self.outgoing.has_room(),
                Ending::Bare => self.outgoing.is_empty(),
            }
    }

    /// Whether the room has to be heard before more is said to it; one that is silent is not waited for.
    fn is_ahead(&self) -> bool {
        self.said.is_ahead() && Instant::now() < self.hears_first()
    }

    fn hears_first(&self) -> Instant {
        self.heard_at + self.visit.leave_wait
    }

    /// Takes note of what came, but for the end; gives what there is to show.
    fn receive(&mut self, event: Event) -> Result<Option<String>, Failure> {
        let text = match event {
            Event::Message(text) => text,
            Event::TooLong => "* a line too long to show was left out".to_owned(),
            Event::Telnet(reply) => {
                self.outgoing.answer(&reply.refusals);
                return Ok(None);
            }
            Event::Finished => return Ok(None),
            Event::Failed(error) => return Err(self.broken(&error)),
        };
        self.hear(&text);
        Ok(Some(text))
    }

    fn note_sent(&mut self, sent: io::Result<()>) -> Result<(), Failure> {
        sent.map_err(|error| self.broken(&error))?;
        self.progress();
        Ok(())
    }

    /// Takes note of a line of the server, and answers its request for a name.
    fn hear(&mut self, line: &str) {
        self.heard_at = Instant::now();
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
            Step::Refused | Step::Nothing if line == protocol::NAME_REQUEST => self.said.asked(),
            Step::Refused | Step::Nothing => {}
        }
        if self.said.hear(line) {
            self.progress();
        } else if let Some(patience) = &mut self.leaving
            && (self.said.answers_quit() || self.outgoing.is_shut_down())
        {
            // What others say in a room that does not know the word is no sign that it will close.
            patience.renew();
        }
        line.clone_into(&mut self.last_line);
    }

    /// Sends a line of the user, or leaves at the end of input.
    fn type_line(&mut self, line: Option<String>) {
        match line {
            None => self.leave(),
            Some(line) if protocol::is_quit(&line) => self.leave(),
            Some(line) if line.trim().is_empty() => {}
            Some(line) => {
                self.send(&line);
                self.said.say(&self.outgoing);
            }
        }
    }

    fn leave(&mut self) {
        self.send(protocol::QUIT);
        let bounds = self.said.leaving(self.visit.leave_wait);
        self.leaving = Some(Patience::new(bounds));
        self.look_at = Instant::now() + LOOK_EVERY;
    }

    /// A part of what was said has gone, has arrived or was heard: there is only so much of it.
    fn progress(&mut self) {
        if let Some(patience) = &mut self.leaving {
            patience.restart();
        }
    }

    fn look(&mut self) {
        self.look_at = Instant::now() + LOOK_EVERY;
        if self.said.look(&self.outgoing) {
            self.progress();
        }
    }

    /// The server was silent for too long: the client closes first, or ends.
    async fn late(&mut self, screen: &Screen) -> Option<Result<(), Failure>> {
        if self.outgoing.is_shut_down() {
            return Some(self.left("it does not close"));
        }
        if self.seen && screen.is_full() {
            // Not the server keeps the user waiting, but who reads stdout.
            self.seen = false;
            self.progress();
            return None;
        }
        // The server does not know the word, or is silent.
        self.outgoing.shut_down().await;
        self.leaving = Some(Patience::new(Bounds {
            silence: PEER_FIN_WAIT,
            limit: PEER_FIN_WAIT * LEAVE_WAITS,
        }));
        None
    }

    /// The user does not wait any longer.
    async fn break_off(&mut self) -> Result<(), Failure> {
        self.outgoing.shut_down().await;
        self.left("it was not waited for")
    }

    /// How the talk has ended that the user has left: well, if everything was heard.
    fn left(&mut self, why: &str) -> Result<(), Failure> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        match self.unheard() {
            0 => Ok(()),
            lines => Err(Failure::unheard(lines, &self.peer, why)),
        }
    }

    fn unheard(&mut self) -> usize {
        self.said.look(&self.outgoing);
        self.said.unheard()
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
        if self.leaving.is_some() {
            return self.left("it closed the connection");
        }
        let failure = Failure {
            exit: Exit::ServerClosed,
            message: format!("the server at {} closed the connection", self.peer),
        };
        Err(failure.and_unheard(self.unheard()))
    }

    fn broken(&mut self, error: &io::Error) -> Failure {
        if let Some(failure) = self.failure.take() {
            return failure;
        }
        let lost = Failure::of(&format!("connection to {} lost", self.peer), error);
        lost.and_unheard(self.unheard())
    }
}
