//! Sends and receives at once, until one side leaves.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::super::wire::{self, Code, Datagram, MAX_DATAGRAM_BYTES};
use super::args::Args;
use super::join::{self, Joined, join};
use super::texts::Texts;
use super::words::{self, Typed};
use crate::client::input::{self, Terminal};
use crate::client::screen::Screen;
use crate::client::{Exit, Failure, program};
use crate::limits::TURN;
use crate::patience::{Bounds, Patience};
use crate::rate::Pace;
use crate::{protocol, text};

/// A server that leaves so many signs of life unanswered is gone. Not its silence is measured, which
/// a client that was stopped for a while would take for the server's.
const SIGNS_UNANSWERED: u32 = 4;

/// So many commands may wait for their answer; of older ones the user is not told.
const COMMANDS_WAITING: usize = 64;

/// How fast what is typed is sent, in datagrams a second, and how many may go at once: with the signs of life a little
/// less than a server takes that is not told otherwise. It throws away what is more.
const RATE: u32 = 16;
const BURST: u32 = 40;

/// So many times the last datagram is sent.
const GOODBYES: u32 = 3;

/// How long a line may wait for a stdout that is not read.
const SHOW_WAIT: Duration = Duration::from_millis(100);

/// Runs the client and prints the line on stderr that a failure deserves.
pub fn main(args: Args) -> Exit {
    program::run("chat-udp", run(args))
}

async fn run(args: Args) -> Result<(), Failure> {
    let Joined { socket, greeting } = join(&args).await?;
    let failed = |e: io::Error| Failure::of("failed to start", &e);
    let Terminal {
        lines,
        screen,
        mode,
        ..
    } = input::open(protocol::is_quit).map_err(failed)?;
    let now = Instant::now();
    let mut talk = Talk {
        server: socket.peer_addr().map_err(failed)?,
        socket,
        unanswered: 0,
        next_sign: now + args.keep_alive,
        waiting: VecDeque::new(),
        texts: Texts::of(&greeting),
        pace: Pace::new(RATE, BURST),
        type_from: now,
        leaving: None,
        rejoins: 0,
        goodbyes: 0,
        args,
    };
    let mut display = Display {
        screen: &screen,
        lost: 0,
    };
    display.show(greeting).await;
    let ended = talk.run(lines, &mut display).await;
    // Its input is gone with it, so that it does not hold up the last lines.
    screen.finish();
    drop(mode);
    ended
}

/// One visit to a server.
struct Talk {
    args: Args,
    socket: UdpSocket,
    server: SocketAddr,
    /// Signs of life sent since the server's latest datagram.
    unanswered: u32,
    /// When the next sign of life, or the next goodbye, is due.
    next_sign: Instant,
    /// Commands without an answer so far, and until when it may come.
    waiting: VecDeque<(Code, Instant)>,
    texts: Texts,
    pace: Pace,
    /// When the next line is read.
    type_from: Instant,
    /// How long what was said may take to come back; set once the user has left.
    leaving: Option<Patience>,
    /// Requests to join again that had no answer so far.
    rejoins: u32,
    /// Goodbyes sent so far; with the first the user has left.
    goodbyes: u32,
}

/// Whether the talk goes on.
type Step = Result<Option<String>, End>;

/// How a talk ends, with the last line to show.
struct End(Option<String>, Result<(), Failure>);

impl Talk {
    async fn run(
        &mut self,
        mut lines: mpsc::Receiver<String>,
        display: &mut Display<'_>,
    ) -> Result<(), Failure> {
        let mut bytes: wire::Buffer = [0; MAX_DATAGRAM_BYTES + 1];
        let mut turn = 0;
        loop {
            let overdue = self.waiting.front().map(|(_, deadline)| *deadline);
            let (next_sign, type_from) = (self.next_sign, self.type_from);
            // Once nothing is owed the last datagram goes at once.
            let owed = self.leaving.as_ref().filter(|_| self.goodbyes == 0);
            let owed = owed.map(|patience| match self.texts.unheard() {
                0 => next_sign.min(Instant::now()),
                _ => patience.deadline(),
            });
            let typed = async {
                sleep_until(type_from).await;
                lines.recv().await
            };
            let step = tokio::select! {
                biased;
                received = self.socket.recv(&mut bytes), if turn < TURN => {
                    turn += 1;
                    match received {
                        Ok(len) => self.hear(wire::decode(&bytes[..len]).ok()).await,
                        Err(error) => self.gone(&error).map(|()| None),
                    }
                },
                line = typed, if self.leaving.is_none() => self.take(line).await,
                () = sleep_until(owed.unwrap_or(next_sign)), if owed.is_some() => {
                    self.say_goodbye().await.map(|()| None)
                }
                () = sleep_until(next_sign) => self.sign().await.map(|()| None),
                () = sleep_until(overdue.unwrap_or(next_sign)), if overdue.is_some() => {
                    Ok(self.waiting.pop_front().map(|(code, _)| unanswered(code)))
                }
                // Datagrams without a pause do not put off the user and the clock.
                () = yield_now(), if turn >= TURN => {
                    turn = 0;
                    Ok(None)
                }
            };
            match step {
                Ok(Some(text)) => display.show(text).await,
                Ok(None) => {}
                Err(End(last, ended)) => {
                    if let Some(text) = last {
                        display.show(text).await;
                    }
                    return self.with_unheard(ended);
                }
            }
        }
    }

    /// Takes note of a datagram of the server; gives what there is to show.
    async fn hear(&mut self, datagram: Option<Datagram>) -> Step {
        self.unanswered = 0;
        // A datagram that means nothing is nobody's message.
        let Some(Datagram { code, text }) = datagram else {
            return Ok(None);
        };
        match code {
            Code::KeepAlive => Ok(None),
            Code::Goodbye => Err(End(Some(text), self.farewell())),
            Code::WhoAreYou if self.goodbyes > 0 => Err(End(None, Ok(()))),
            Code::WhoAreYou => self.join_again().await,
            Code::Refused => match wire::refused(&text) {
                (Some(Code::Hello), reason) => {
                    Err(End(None, Err(join::refused(self.server, reason))))
                }
                (code, reason) => {
                    if code == Some(Code::Text) {
                        self.heard_back();
                    }
                    self.answered(code);
                    Ok(Some(reason.to_owned()))
                }
            },
            code => {
                self.rejoins = 0;
                self.answered(Some(code));
                if code == Code::Text && self.texts.is_own(&text) {
                    self.heard_back();
                }
                Ok(Some(text))
            }
        }
    }

    fn heard_back(&mut self) {
        self.texts.heard();
        if let Some(patience) = &mut self.leaving {
            patience.restart();
        }
    }

    /// The end of a user who has left is a failure if something that was said has not come back.
    fn with_unheard(&self, ended: Result<(), Failure>) -> Result<(), Failure> {
        let (texts, server) = (self.texts.unheard(), self.server.to_string());
        match ended {
            Ok(()) if texts == 0 => Ok(()),
            Ok(()) => {
                let lost = "they were lost, or only the signs that they have arrived were";
                Err(Failure::unheard(texts, &server, lost))
            }
            Err(failure) => Err(failure.and_unheard(texts)),
        }
    }

    fn answered(&mut self, code: Option<Code>) {
        let waiting = self.waiting.iter().position(|(w, _)| Some(*w) == code);
        if let Some(at) = waiting {
            self.waiting.remove(at);
        }
    }

    /// The server does not know this address any more, or is another one now.
    async fn join_again(&mut self) -> Step {
        self.rejoins += 1;
        if self.rejoins > self.args.tries {
            return Err(self.silent("it does not let the user in again"));
        }
        let name = text::harmless(self.args.name.as_bytes());
        self.send(Code::Hello, &name).await?;
        let told = "* the server has forgotten you: joining again";
        Ok((self.rejoins == 1).then(|| told.to_owned()))
    }

    /// A typed line, or the end of input.
    async fn take(&mut self, line: Option<String>) -> Step {
        match line.as_deref().map_or(Typed::Leave, words::read) {
            Typed::Nothing => Ok(None),
            Typed::Wrong(told) => Ok(Some(told)),
            Typed::Leave => {
                let silence = self.args.answer_wait;
                // Each text that comes back begins it anew, and there are only so many.
                let bounds = Bounds {
                    silence,
                    limit: silence,
                };
                self.leaving = Some(Patience::new(bounds));
                Ok(None)
            }
            Typed::Send(code, text) => {
                let now = Instant::now();
                self.type_from = self.pace.count(now).unwrap_or(now);
                self.send(code, &text).await?;
                if code == Code::Text {
                    self.texts.say();
                }
                if words::command_of(code).is_some() {
                    if self.waiting.len() == COMMANDS_WAITING {
                        self.waiting.pop_front();
                    }
                    let deadline = Instant::now() + self.args.answer_wait;
                    self.waiting.push_back((code, deadline));
                }
                Ok(None)
            }
        }
    }

    /// What is due from time to time: a sign of life, or, once the user has left, a goodbye.
    async fn sign(&mut self) -> Result<(), End> {
        if self.goodbyes > 0 {
            return self.say_goodbye().await;
        }
        if self.unanswered == SIGNS_UNANSWERED {
            return Err(self.silent(&format!("no answer to {SIGNS_UNANSWERED} signs of life")));
        }
        self.unanswered += 1;
        self.next_sign = Instant::now() + self.args.keep_alive;
        self.send(Code::KeepAlive, "").await
    }

    async fn say_goodbye(&mut self) -> Result<(), End> {
        // The user has left, whether or not the server knows.
        if self.goodbyes == GOODBYES {
            return Err(End(None, Ok(())));
        }
        self.goodbyes += 1;
        self.next_sign = Instant::now() + self.args.retry;
        self.send(Code::Goodbye, "").await
    }

    async fn send(&mut self, code: Code, text: &str) -> Result<(), End> {
        let datagram = wire::encode(code, text);
        match self.socket.send(datagram.as_bytes()).await {
            Ok(_) => Ok(()),
            Err(error) => self.gone(&error),
        }
    }

    /// The host of the server says that nobody receives there, or the network fails.
    fn gone(&self, error: &io::Error) -> Result<(), End> {
        if self.goodbyes > 0 {
            return Err(End(None, Ok(())));
        }
        let operation = format!("the server at {} is gone", self.server);
        Err(End(None, Err(Failure::of(&operation, error))))
    }

    fn farewell(&self) -> Result<(), Failure> {
        if self.goodbyes > 0 {
            return Ok(());
        }
        Err(Failure {
            exit: Exit::ServerClosed,
            message: format!("the server at {} ended the chat", self.server),
        })
    }

    fn silent(&self, cause: &str) -> End {
        let failure = Failure {
            exit: Exit::TimedOut,
            message: format!("the server at {} is gone: {cause}", self.server),
        };
        End(None, Err(failure))
    }
}

fn unanswered(code: Code) -> String {
    let command = words::command_of(code).unwrap_or_default();
    format!("* no answer to ${command}: it was lost, or its answer; try again")
}

/// What the user sees. A stdout that is not read costs lines, and not the place in the server's book.
struct Display<'a> {
    screen: &'a Screen,
    /// Lines that were not shown.
    lost: u64,
}

impl Display<'_> {
    async fn show(&mut self, text: String) {
        // Only the first line waits, so that signs of life are not late.
        let patience = if self.lost == 0 {
            SHOW_WAIT
        } else {
            Duration::ZERO
        };
        if self.lost > 0 {
            let told = format!("* {} lines were not shown: stdout was not read", self.lost);
            if self.screen.show(told, patience).await {
                self.lost = 0;
            }
        }
        if !self.screen.show(text, patience).await {
            self.lost += 1;
        }
    }
}
