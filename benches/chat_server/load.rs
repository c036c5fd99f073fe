//! A room under load: members of which one talks, or all, and what the others hear.
//!
//! One thread serves all members from one `epoll`, reads large pieces and looks at each line where the
//! length of a message says that it must be, so that most of the processors is the room's.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::servers::{Server, own_processor_time};

/// What is said in a room.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) members: usize,
    /// So many of them talk, and each says as much as the others.
    pub(crate) talkers: usize,
    /// All messages together.
    pub(crate) messages: usize,
    /// So many messages a talker is ahead of its witness, the member after it: some rooms do not give
    /// a talker its own messages.
    pub(crate) ahead: usize,
}

/// What one run came to. A message is delivered when another member gets it with its author, as in a
/// chat it must: a relay that reads several at once and puts an author before the first of them has
/// delivered one.
#[derive(Clone, Copy)]
pub(crate) struct Deliveries {
    pub(crate) made: usize,
    pub(crate) without_author: usize,
    pub(crate) lost: usize,
    pub(crate) took: Duration,
    /// Processor time of the server.
    pub(crate) server: Duration,
    /// Processor time of this program.
    pub(crate) generator: Duration,
}

impl Deliveries {
    pub(crate) fn per_second(&self) -> f64 {
        self.rate(self.made)
    }

    /// The same of all messages that were relayed, with an author or without.
    pub(crate) fn relayed_per_second(&self) -> f64 {
        self.rate(self.made + self.without_author)
    }

    fn rate(&self, count: usize) -> f64 {
        f64::from(u32::try_from(count).unwrap()) / self.took.as_secs_f64()
    }
}

/// Members that hear nothing for this time have heard all that they will.
const SILENCE: Duration = Duration::from_secs(5);

/// So much is read at a time.
const READ_BYTES: usize = 256 * 1024;

/// So many connections are served after each wait.
const EVENTS: usize = 256;

/// What a message begins with. The number of its author follows, and its own.
const MARK: &[u8] = b"msg-";
const AUTHOR_DIGITS: usize = 4;
const NUMBER_DIGITS: usize = 6;
const NUMBER_AT: usize = MARK.len() + AUTHOR_DIGITS + 1;
const PADDING: usize = 52;

/// The whole of it: `msg-0012 000345 xxx…` and the line end.
const MESSAGE_BYTES: usize = MARK.len() + AUTHOR_DIGITS + 1 + NUMBER_DIGITS + 1 + PADDING + 1;

/// Runs `load` in the room of `server`.
pub(crate) fn run(server: &Server, load: Load) -> Deliveries {
    let mut room = Room::enter(server, load);
    let (server_before, own_before) = (server.processor_time(), own_processor_time());
    let begin = Instant::now();
    room.talk();
    let made = room.marked;
    let all = (load.members - 1) * load.messages;
    Deliveries {
        made,
        without_author: room.relayed - made,
        lost: all - room.relayed,
        took: room.last_heard - begin,
        server: server.processor_time().saturating_sub(server_before),
        generator: own_processor_time().saturating_sub(own_before),
    }
}

struct Room {
    load: Load,
    members: Vec<Member>,
    ready: Epoll,
    marked: usize,
    relayed: usize,
    last_heard: Instant,
}

struct Member {
    stream: TcpStream,
    /// The beginning of a line whose end has not come.
    unfinished: Vec<u8>,
    /// The next number that is due of each talker.
    due: Vec<usize>,
    said: usize,
    /// What it says next, but for the number.
    message: Vec<u8>,
}

impl Room {
    fn enter(server: &Server, load: Load) -> Self {
        let ready = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let members = (0..load.members).map(|n| {
            let member = Member::enter(server, n, load.talkers);
            let event = EpollEvent::new(EpollFlags::EPOLLIN, n as u64);
            ready.add(&member.stream, event).unwrap();
            member
        });
        Self {
            members: members.collect(),
            load,
            ready,
            marked: 0,
            relayed: 0,
            last_heard: Instant::now(),
        }
    }

    /// Everything is said and heard, or nothing comes any more.
    fn talk(&mut self) {
        let mut bytes = vec![0; READ_BYTES];
        let mut events = [EpollEvent::empty(); EVENTS];
        let silence = EpollTimeout::try_from(SILENCE).unwrap();
        for talker in 0..self.load.talkers {
            self.say_on(talker);
        }
        while self.relayed < (self.load.members - 1) * self.load.messages {
            let count = self.ready.wait(&mut events, silence).unwrap();
            if count == 0 {
                return;
            }
            for event in &events[..count] {
                self.hear(usize::try_from(event.data()).unwrap(), &mut bytes);
            }
        }
    }

    /// `talker` says what it may.
    fn say_on(&mut self, talker: usize) {
        let witness = (talker + 1) % self.load.members;
        let heard = self.members[witness].due[talker];
        let end = (heard + self.load.ahead).min(self.load.messages / self.load.talkers);
        let member = &mut self.members[talker];
        while member.said < end {
            let mut digits = &mut member.message[NUMBER_AT..NUMBER_AT + NUMBER_DIGITS];
            write!(digits, "{:0NUMBER_DIGITS$}", member.said).unwrap();
            // What a talker is ahead fits into any send buffer.
            assert_eq!(member.stream.write(&member.message).unwrap(), MESSAGE_BYTES);
            member.said += 1;
        }
    }

    /// `listener` reads once.
    fn hear(&mut self, listener: usize, bytes: &mut [u8]) {
        let member = &mut self.members[listener];
        let kept = member.unfinished.len();
        bytes[..kept].copy_from_slice(&member.unfinished);
        let n = member.stream.read(&mut bytes[kept..]).unwrap();
        assert!(n > 0, "the server dropped a member");
        let mut rest = &bytes[..kept + n];
        let before = self.relayed;
        let mut witnessed = false;
        loop {
            let line = rest;
            let length = rest.skip_until(b'\n').unwrap();
            let line = &line[..length];
            if !line.ends_with(b"\n") {
                member.unfinished.clear();
                member.unfinished.extend_from_slice(line);
                break;
            }
            let Some((author, number)) = message(line) else {
                continue;
            };
            let due = &mut member.due[author];
            assert!(number >= *due, "{number} of {author} came late or again");
            *due = number + 1;
            if author != listener {
                self.relayed += 1;
                self.marked += usize::from(line.len() > MESSAGE_BYTES);
                witnessed |= (author + 1) % self.load.members == listener;
            }
        }
        if self.relayed > before {
            self.last_heard = Instant::now();
        }
        if witnessed {
            self.say_on((listener + self.load.members - 1) % self.load.members);
        }
    }
}

impl Member {
    fn enter(server: &Server, n: usize, talkers: usize) -> Self {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_nodelay(true).unwrap();
        // A foreign room announces the newcomer.
        let mut welcome = "<announce> ";
        if server.asks_names {
            stream.write_all(format!("m{n:03}\n").as_bytes()).unwrap();
            welcome = "* you are ";
        }
        let mut heard = String::new();
        let mut bytes = [0; 4096];
        while !heard.contains(welcome) || !heard.ends_with('\n') {
            let n = stream.read(&mut bytes).unwrap();
            assert!(n > 0, "not let in: {heard}");
            heard.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
        }
        stream.set_nonblocking(true).unwrap();
        Self {
            stream,
            unfinished: Vec::new(),
            due: vec![0; talkers],
            said: 0,
            message: format!(
                "msg-{n:0AUTHOR_DIGITS$} {:0NUMBER_DIGITS$} {}\n",
                0,
                "x".repeat(PADDING)
            )
            .into_bytes(),
        }
    }
}

/// Author and number of a message, which is what a line ends with; whatever is before it is its mark.
fn message(line: &[u8]) -> Option<(usize, usize)> {
    let message = line.get(line.len().checked_sub(MESSAGE_BYTES)?..)?;
    let (author, rest) = message.strip_prefix(MARK)?.split_at(AUTHOR_DIGITS);
    Some((number(author)?, number(&rest[1..=NUMBER_DIGITS])?))
}

fn number(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then_some(number * 10 + usize::from(digit))
    })
}
