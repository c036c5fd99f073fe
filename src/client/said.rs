//! What the user has said, and how much of it was heard.
//!
//! A room of ours repeats every line to its author, and answers one that is too long: these are counted. A
//! one-to-one server of ours says nothing of single lines, but answers `quit` when it has taken all before. Of
//! any other server nothing is known but what its host acknowledges.

use std::time::Duration;

use tokio::net::tcp::OwnedWriteHalf;

use super::args::Ending;
use crate::limits::RATE;
use crate::link::Outgoing;
use crate::patience::Bounds;
use crate::protocol::{self, Presence};
use crate::sent::Sent;

/// A client that leaves waits at most so many times as long as it waits for a silent server.
pub const LEAVE_WAITS: u32 = 20;

/// So many lines may be on their way to a room before the next one is said: a member who says more than it hears falls
/// behind. It is a part of what a room lets wait for a member unless told otherwise.
const AHEAD: usize = 256;

/// How long a one-to-one server of ours may take for one line: it reads no faster, and is silent meanwhile.
const LINE_TIME: Duration = Duration::from_millis(1000 / RATE as u64);

/// The lines that were said to a server.
#[derive(Debug)]
pub(super) struct Said {
    server: Server,
    sent: Sent,
    lines: usize,
    /// Lines that the server has answered, or repeated.
    heard: usize,
    /// Lines that went, or will go, as names: so often the server has asked the user.
    names: usize,
    /// Whether one line sent is one line for the server.
    counts: bool,
}

/// What is known of the server.
#[derive(Debug, PartialEq, Eq)]
enum Server {
    /// Nothing.
    Foreign,
    /// It greets as a room of ours that has not let the user in.
    Door,
    /// The user is in a room of ours, which repeats what is said behind these words.
    Room(String),
    /// It is a one-to-one server of ours; whether it has said goodbye.
    OneToOne(bool),
}

impl Said {
    /// Nothing was said so far. Bare messages may reach the server as one, and cannot be counted.
    pub(super) fn new(framing: Ending) -> Self {
        Self {
            server: Server::Foreign,
            sent: Sent::default(),
            lines: 0,
            heard: 0,
            names: 0,
            counts: framing == Ending::Line,
        }
    }

    /// Takes note of a line of the user that was queued just now.
    pub(super) fn say(&mut self, outgoing: &Outgoing<OwnedWriteHalf>) {
        self.lines += 1;
        self.sent.line(outgoing);
    }

    /// Takes note of a request for a name that the user has to answer.
    pub(super) fn asked(&mut self) {
        self.names += 1;
    }

    /// Takes note of a line of the server; whether it is about a line of the user's.
    pub(super) fn hear(&mut self, line: &str) -> bool {
        match &mut self.server {
            Server::Room(echo) => {
                let about = line.starts_with(echo.as_str()) || protocol::is_too_long(line);
                self.heard += usize::from(about);
                return about;
            }
            Server::Foreign | Server::Door => {
                if let Some(Presence::Admitted { name, .. }) = protocol::presence(line) {
                    self.server = Server::Room(protocol::said(name, ""));
                } else if line == protocol::ROOM_GREETING {
                    self.server = Server::Door;
                } else if line == protocol::ONE_TO_ONE_GREETING {
                    self.server = Server::OneToOne(false);
                }
            }
            Server::OneToOne(goodbye) => *goodbye = line == protocol::GOODBYE,
        }
        false
    }

    /// Asks the kernel how much is acknowledged; whether it is more than before.
    pub(super) fn look(&mut self, outgoing: &Outgoing<OwnedWriteHalf>) -> bool {
        self.sent.look(outgoing)
    }

    /// Whether the server answers `quit`, and closes first.
    pub(super) fn answers_quit(&self) -> bool {
        self.server != Server::Foreign
    }

    /// How long the server may take to close, if it is silent for `leave_wait` when it has nothing to do.
    pub(super) fn leaving(&self, leave_wait: Duration) -> Bounds {
        let lines = u32::try_from(self.lines).unwrap_or(u32::MAX);
        let silence = match self.server {
            Server::OneToOne(_) => leave_wait.saturating_add(LINE_TIME.saturating_mul(lines)),
            _ => leave_wait,
        };
        let limit = leave_wait.saturating_mul(LEAVE_WAITS).max(silence);
        Bounds { silence, limit }
    }

    /// Whether the room should be heard before more is said to it.
    pub(super) fn is_ahead(&self) -> bool {
        matches!(self.server, Server::Room(_)) && self.counts && self.not_repeated() >= AHEAD
    }

    fn not_repeated(&self) -> usize {
        self.lines.saturating_sub(self.heard + self.names)
    }

    /// Lines that nobody may have heard.
    pub(super) fn unheard(&self) -> usize {
        match self.server {
            Server::Room(_) | Server::Door if self.counts => self.not_repeated(),
            Server::OneToOne(false) if self.counts => self.lines,
            Server::OneToOne(true) => 0,
            _ => self.sent.unacknowledged(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A connection on which lines can be said; nothing is sent on it.
    async fn connection() -> Outgoing<OwnedWriteHalf> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
        Outgoing::new(stream.unwrap().into_split().1)
    }

    async fn said(lines: usize, heard: &[&str]) -> Said {
        let mut outgoing = connection().await;
        let mut said = Said::new(Ending::Line);
        for _ in 0..lines {
            outgoing.push("ciao\n");
            said.say(&outgoing);
        }
        for line in heard {
            if *line == protocol::NAME_REQUEST {
                said.asked();
            }
            said.hear(line);
        }
        said
    }

    #[tokio::test]
    async fn a_room_tells_what_it_has_heard() {
        let mut room = vec![
            protocol::ROOM_GREETING,
            "* you are alice; here: al, bob",
            "alice: one",
            "bob: two",
            "al: alice: three",
            "alice: * message too long",
            "* message too long: at most 4096 bytes; it was not sent",
        ];
        assert_eq!(said(5, &room).await.unheard(), 2);
        room.extend(["alice: four", "alice: five", "* goodbye"]);
        assert_eq!(said(5, &room).await.unheard(), 0);
    }

    #[tokio::test]
    async fn who_says_more_than_it_hears_is_ahead() {
        let mut room = vec!["* you are alice; here: bob"];
        assert!(!said(AHEAD - 1, &room).await.is_ahead());
        assert!(said(AHEAD, &room).await.is_ahead());
        room.push("alice: one");
        assert!(!said(AHEAD, &room).await.is_ahead());
        assert!(!said(AHEAD, &[]).await.is_ahead(), "nobody else repeats");
    }

    #[tokio::test]
    async fn lines_that_went_as_names_are_not_said_to_the_room() {
        let mut door = vec![protocol::ROOM_GREETING, protocol::NAME_REQUEST];
        assert_eq!(said(1, &door).await.unheard(), 0);
        assert_eq!(said(0, &door).await.unheard(), 0);
        assert_eq!(said(3, &door).await.unheard(), 2);
        door.extend([
            "* message too long: at most 4096 bytes; it was not sent",
            protocol::NAME_REQUEST,
            "* you are bob; nobody else is here",
            "bob: three",
        ]);
        assert_eq!(said(3, &door).await.unheard(), 0);
        assert!(said(0, &door).await.answers_quit());
    }

    #[tokio::test]
    async fn a_one_to_one_server_has_heard_all_when_it_says_goodbye() {
        let greeting = protocol::ONE_TO_ONE_GREETING;
        assert_eq!(said(3, &[greeting, "operator: ciao"]).await.unheard(), 3);
        assert_eq!(said(3, &[greeting, "* goodbye"]).await.unheard(), 0);
        let ended = "* the operator ends this talk: goodbye";
        assert_eq!(said(3, &[greeting, ended]).await.unheard(), 3);
        let wait = Duration::from_secs(3);
        let bounds = said(1000, &[greeting]).await.leaving(wait);
        assert_eq!(bounds.silence, wait + Duration::from_secs(20));
        assert!(bounds.limit >= bounds.silence);
    }

    #[tokio::test]
    async fn of_another_server_is_known_what_its_host_has() {
        let mut talk = said(2, &["<announce> you are alice; nobody else is here"]).await;
        assert!(!talk.answers_quit());
        assert_eq!(talk.unheard(), 2);
        let mut outgoing = connection().await;
        outgoing.push("ciao\n");
        talk = Said::new(Ending::Bare);
        talk.say(&outgoing);
        talk.hear("* you are alice; nobody else is here");
        assert_eq!(
            talk.unheard(),
            1,
            "bare messages are not counted by what comes back"
        );
        assert_eq!(
            talk.leaving(Duration::from_secs(3)).silence,
            Duration::from_secs(3)
        );
    }
}
