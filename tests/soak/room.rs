//! The members of a room who behave: each says numbers, and hears those of all the others.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::soak::{PATIENCE, Stop, Talk};
use crate::subject::assert_harmless;

/// Connections at a time.
pub(crate) const PLACES: usize = 600;

/// Members who behave.
const MEMBERS: usize = 5;

/// How they are called, a number behind.
const NAME: &str = "good-";

/// Time between two messages of one of them.
const SAY_EVERY: Duration = Duration::from_millis(100);

/// What each says last.
const LAST: &str = "last";

/// Members in the room.
pub(crate) struct Members(Vec<Member>);

struct Member {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

/// Lets all of them in.
pub(crate) async fn join(server: SocketAddr) -> Members {
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        let (read, mut write) = TcpStream::connect(server).await.unwrap().into_split();
        let name = format!("{NAME}{number}\n");
        write.write_all(name.as_bytes()).await.unwrap();
        let mut member = Member {
            read: BufReader::new(read),
            write,
        };
        while !member.line().await.starts_with("* you are ") {}
        members.push(member);
    }
    Members(members)
}

/// Every place is free: as many can come in at once as there are places.
pub(crate) async fn fill(server: SocketAddr) {
    let mut crowd = Vec::new();
    for number in 0..PLACES {
        let mut stream = BufReader::new(TcpStream::connect(server).await.unwrap());
        let mut line = String::new();
        let read = timeout(PATIENCE, stream.read_line(&mut line)).await;
        read.expect("a greeting in time").unwrap();
        assert!(line.starts_with("* welcome"), "place {number}: {line}");
        crowd.push(stream);
    }
}

impl Members {
    /// All of them talk until `stop`, and then until each has heard the last of everybody.
    pub(crate) async fn talk(self, stop: Stop) -> Talk {
        let mut talking = JoinSet::new();
        for Member { read, write } in self.0 {
            let stop = stop.clone();
            talking.spawn(async move {
                let (said, heard) = tokio::join!(say(write, stop), hear(read));
                // The writing half lives until everything was heard.
                let (_write, said) = said;
                Talk {
                    said,
                    heard,
                    again: 0,
                }
            });
        }
        let all = talking.join_all().await;
        let total = all.iter().fold(Talk::default(), |sum, talk| Talk {
            said: sum.said + talk.said,
            heard: sum.heard + talk.heard,
            again: 0,
        });
        assert_eq!(
            total.heard,
            total.said * MEMBERS as u64,
            "a message was lost"
        );
        total
    }
}

impl Member {
    async fn line(&mut self) -> String {
        line(&mut self.read).await
    }
}

async fn say(mut write: OwnedWriteHalf, stop: Stop) -> (OwnedWriteHalf, u64) {
    let mut ticks = interval(SAY_EVERY);
    let mut said = 0;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        write
            .write_all(format!("{said}\n").as_bytes())
            .await
            .unwrap();
        said += 1;
    }
    write
        .write_all(format!("{LAST}\n").as_bytes())
        .await
        .unwrap();
    (write, said)
}

/// Hears numbers in their order, until the last of everybody; tells how many.
async fn hear(mut read: BufReader<OwnedReadHalf>) -> u64 {
    let mut next = [0_u64; MEMBERS];
    let mut ended = 0;
    while ended < MEMBERS {
        let line = line(&mut read).await;
        assert_harmless(&line);
        let Some((author, text)) = line.strip_prefix(NAME).and_then(|l| l.split_once(": ")) else {
            continue;
        };
        if text == LAST {
            ended += 1;
            continue;
        }
        let expected = &mut next[author.parse::<usize>().unwrap()];
        assert_eq!(text.parse(), Ok(*expected), "of {NAME}{author}");
        *expected += 1;
    }
    next.iter().sum()
}

async fn line(read: &mut BufReader<OwnedReadHalf>) -> String {
    let mut line = String::new();
    let n = timeout(PATIENCE, read.read_line(&mut line)).await;
    let n = n.expect("a line in time").expect("a connection");
    assert!(n > 0, "the server dropped a member who behaves");
    line.trim_end().to_owned()
}
