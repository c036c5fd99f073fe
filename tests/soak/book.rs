//! The users of a chat over datagrams who behave: each says numbers in a room, says one again where
//! it does not come back, and hears those of all the others.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::soak::{PATIENCE, Stop, Talk};
use crate::subject::assert_harmless;

/// Users who behave.
const USERS: usize = 4;

/// How they are called, a number behind.
const NAME: &str = "good-";

/// Time between two messages of one of them: with its signs of life below the rate that a user has.
const SAY_EVERY: Duration = Duration::from_millis(200);

/// How long a user waits for its own message to come back.
const ECHO_WAIT: Duration = Duration::from_millis(500);

/// Time between two tries to get an answer.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// What each says last.
const LAST: &str = "last";

/// Users in the book and in one room.
pub(crate) struct Users(Vec<User>);

struct User {
    socket: UdpSocket,
    number: usize,
    /// The number that is to come next from each.
    next: [u64; USERS],
    /// Who has said the last word.
    ended: [bool; USERS],
}

/// Lets all of them in.
pub(crate) async fn join(server: SocketAddr) -> Users {
    let mut users = Vec::new();
    for number in 0..USERS {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server).await.unwrap();
        ask(&socket, &format!("hi {NAME}{number}"), "hi * you are ").await;
        let room = if number == 0 { "rc good" } else { "rj good" };
        ask(&socket, room, &room[..2]).await;
        users.push(User {
            socket,
            number,
            next: [0; USERS],
            ended: [false; USERS],
        });
    }
    Users(users)
}

/// Nobody is left in the book, whoever vanished without a word too.
pub(crate) async fn is_empty(server: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    ask(&socket, "hi last-one", "hi * you are ").await;
    loop {
        let users = ask(&socket, "ul", "ul ").await;
        if users == "ul * 1 user: last-one" {
            return;
        }
        assert!(Instant::now() < deadline, "still in the book: {users}");
        sleep(ASK_EVERY).await;
    }
}

impl Users {
    /// All of them talk until `stop`, and then until each has heard the last of everybody.
    pub(crate) async fn talk(self, stop: Stop) -> Talk {
        let mut talking = JoinSet::new();
        for user in self.0 {
            talking.spawn(user.talk(stop.clone()));
        }
        let all = talking.join_all().await;
        let total = all.iter().fold(Talk::default(), |sum, talk| Talk {
            said: sum.said + talk.said,
            heard: sum.heard + talk.heard,
            again: sum.again + talk.again,
        });
        assert_eq!(total.heard, total.said * USERS as u64, "a message was lost");
        total
    }
}

impl User {
    async fn talk(mut self, stop: Stop) -> Talk {
        let mut ticks = interval(SAY_EVERY);
        let mut talk = Talk::default();
        while stop
            .run_until_cancelled(self.hear_until(&mut ticks))
            .await
            .is_some()
        {
            let message = talk.said.to_string();
            let number = self.number;
            talk.again += self.say(&message, |user| user.next[number]).await;
            talk.said += 1;
        }
        let number = self.number;
        talk.again += self.say(LAST, |user| u64::from(user.ended[number])).await;
        // The others may not have heard of it yet, or still have something to say.
        while !self.ended.iter().all(|ended| *ended) {
            self.hear(PATIENCE)
                .await
                .then_some(())
                .expect("the last of everybody in time");
        }
        self.socket.send(b"by").await.unwrap();
        talk.heard = self.next.iter().sum();
        talk
    }

    async fn hear_until(&mut self, ticks: &mut tokio::time::Interval) {
        loop {
            tokio::select! {
                _ = ticks.tick() => return,
                _heard = self.hear(PATIENCE) => {}
            }
        }
    }

    /// Says something until it comes back, which moves `mark`; tells how often it said it again.
    async fn say(&mut self, message: &str, mark: impl Fn(&Self) -> u64) -> u64 {
        let before = mark(self);
        let deadline = Instant::now() + PATIENCE;
        for again in 0.. {
            self.socket
                .send(format!("tx {message}").as_bytes())
                .await
                .unwrap();
            let wait = Instant::now() + ECHO_WAIT;
            while mark(self) == before {
                let left = wait.saturating_duration_since(Instant::now());
                if left.is_zero() || !self.hear(left).await {
                    break;
                }
            }
            if mark(self) != before {
                return again;
            }
            assert!(Instant::now() < deadline, "no sign of `{message}`");
        }
        unreachable!("a count without an end")
    }

    /// Takes in one datagram; false when none came in time.
    async fn hear(&mut self, within: Duration) -> bool {
        let mut bytes = [0; 2048];
        let Ok(read) = timeout(within, self.socket.recv(&mut bytes)).await else {
            return false;
        };
        let text = std::str::from_utf8(&bytes[..read.unwrap()]).unwrap();
        assert_harmless(text);
        let said = text.strip_prefix("tx ").and_then(|t| t.strip_prefix(NAME));
        let Some((author, text)) = said.and_then(|said| said.split_once(": ")) else {
            return true;
        };
        let author: usize = author.parse().unwrap();
        if text == LAST {
            self.ended[author] = true;
            return true;
        }
        let number: u64 = text.parse().unwrap();
        // One that was said again is known; one that was left out is lost.
        assert!(number <= self.next[author], "of {NAME}{author}: {number}");
        if number == self.next[author] {
            self.next[author] += 1;
        }
        true
    }
}

/// Asks until an answer that begins so comes.
async fn ask(socket: &UdpSocket, question: &str, answer: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut bytes = [0; 2048];
    loop {
        socket.send(question.as_bytes()).await.unwrap();
        let until = Instant::now() + ASK_EVERY;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(read) = timeout(left, socket.recv(&mut bytes)).await else {
                break;
            };
            let text = String::from_utf8_lossy(&bytes[..read.unwrap()]).into_owned();
            if text.starts_with(answer) {
                return text;
            }
        }
        assert!(Instant::now() < deadline, "no answer to {question}");
    }
}
