//! A load generator for `chat-server`: memory of idle members, deliveries a second, and the same
//! beside `ncat --chat`, where the machine has it.
//!
//! Starts the real servers over loopback, prints figures, and fails when a goal is missed or a
//! single message of ours is lost. Run it with `cargo bench -p chat`; `docs/performance.md` has results.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod load;
mod servers;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use load::{Deliveries, Load};
use servers::Server;

/// Members that only stay, and the memory that they may cost.
const IDLE_MEMBERS: usize = 10_000;
const IDLE_MEMORY_KIB: u64 = 200_000_000 / 1024;

/// So many of them come at the same time, so that a write tells the others of several: one by one,
/// 50 million writes would be measured. A member's queue in the server holds 1024.
const TOGETHER: usize = 250;

/// So much a member reads at a time.
const READ_BYTES: usize = 4096;

/// Files that the server and this program each have open beside the members' connections.
const OTHER_FILES: u64 = 200;

/// The room of one talker, and the rate to reach in it.
const ONE_TALKER: Load = Load {
    members: 101,
    talkers: 1,
    messages: 20_000,
    ahead: AHEAD,
};
const DELIVERIES_PER_SECOND: f64 = 20_000.0;

/// So many messages one talker is ahead of its first listener. The server's queues hold 1024.
const AHEAD: usize = 64;

/// Members of the comparison, its messages, and how many times the other room's deliveries a second
/// ours must make while everybody talks.
const ROOMS: [usize; 2] = [50, 200];
const ROOM_MESSAGES: usize = 5000;
const TIMES_FASTER: f64 = 10.0;

/// A comparison is made this often, the rooms by turns; the fastest run of each counts.
const RUNS: usize = 3;

/// The idle members must have come and gone within this time.
const PATIENCE: Duration = Duration::from_mins(4);

fn main() {
    let files = chat::start::raise_file_limit().unwrap();
    let needed = IDLE_MEMBERS as u64 + OTHER_FILES;
    assert!(
        files >= needed,
        "the system allows {files} open files (`ulimit -Hn`), {needed} are needed"
    );
    let parts: Vec<_> = std::env::args().skip(1).collect();
    let wanted = |part: &str| {
        let named = |arg: &String| !arg.starts_with('-');
        !parts.iter().any(named) || parts.iter().any(|arg| arg == part)
    };
    if wanted("idle") {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(async { timeout(PATIENCE, idle()).await })
            .expect("idle members in time");
    }
    if wanted("fan-out") {
        fan_out();
    }
    if wanted("everybody") {
        everybody_talks();
    }
    if wanted("one-talker") {
        one_talks();
    }
}

/// A member of the room.
struct Member {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Member {
    async fn join(address: SocketAddr, name: String) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(format!("{name}\n").as_bytes())
            .await
            .unwrap();
        let mut member = Self {
            stream: BufReader::new(stream),
            line: String::new(),
        };
        member.hear(|line| line.starts_with("* you are ")).await;
        member
    }

    /// Reads up to the first line that `wanted` accepts.
    async fn hear(&mut self, wanted: impl Fn(&str) -> bool) {
        while !wanted(self.next().await) {}
    }

    async fn next(&mut self) -> &str {
        self.line.clear();
        let n = self.stream.read_line(&mut self.line).await.unwrap();
        assert!(n > 0, "the server dropped a member");
        self.line.trim_end()
    }

    /// Throws away what comes, up to the end of `last`: parsing millions of notices would measure
    /// this program.
    async fn drain_until(mut self, last: &'static [u8]) -> Self {
        let mut bytes = vec![0; READ_BYTES];
        // What was read last, so far as the last line may have begun in it.
        let mut tail = self.stream.buffer().to_vec();
        while !tail.ends_with(last) {
            let n = self.stream.get_mut().read(&mut bytes).await.unwrap();
            assert!(n > 0, "the server dropped a member");
            tail.extend_from_slice(&bytes[..n]);
            tail.drain(..tail.len().saturating_sub(last.len()));
        }
        self
    }
}

async fn idle() {
    let server = Server::ours(IDLE_MEMBERS + 1);
    let empty = server.memory_kib("VmRSS:");
    let mut members = JoinSet::new();
    for begin in (0..IDLE_MEMBERS - 1).step_by(TOGETHER) {
        let end = (begin + TOGETHER).min(IDLE_MEMBERS - 1);
        let coming = (begin..end).map(|n| Member::join(server.address, format!("m{n}")));
        for member in coming.collect::<JoinSet<_>>().join_all().await {
            // Everybody hears of the last to come, and then nothing more.
            members.spawn(member.drain_until(b"* the-last has joined\n"));
        }
    }
    let last = Member::join(server.address, "the-last".to_owned()).await;
    let members = members.join_all().await;
    let (idle, peak) = (server.memory_kib("VmRSS:"), server.memory_kib("VmHWM:"));
    report(&format!(
        "{IDLE_MEMBERS} idle members: {idle} KiB resident (goal: {IDLE_MEMORY_KIB}), peak {peak} KiB, empty server {empty} KiB"
    ));
    drop((members, last));
    assert!(idle <= IDLE_MEMORY_KIB, "the memory goal is missed");
}

fn fan_out() {
    let run = load::run(&Server::ours(ONE_TALKER.members), ONE_TALKER);
    report(&told("chat-server", ONE_TALKER, &run));
    assert!(is_whole(&run), "a message was lost");
    assert!(
        run.per_second() >= DELIVERIES_PER_SECOND,
        "the rate goal is missed"
    );
}

/// Our room beside that of ncat while all members talk.
fn everybody_talks() {
    let mut missed = Vec::new();
    for members in ROOMS {
        let everybody = Load {
            members,
            talkers: members,
            messages: ROOM_MESSAGES,
            ahead: 1,
        };
        if compare(everybody).is_some_and(|times| times < TIMES_FASTER) {
            missed.push(members);
        }
    }
    assert!(
        missed.is_empty(),
        "the goal of {TIMES_FASTER} times ncat's deliveries is missed with {missed:?} members"
    );
}

/// The same while one member talks.
fn one_talks() {
    for listeners in ROOMS {
        compare(Load {
            members: listeners + 1,
            talkers: 1,
            messages: ROOM_MESSAGES,
            ahead: AHEAD,
        });
    }
}

/// How many times ncat's deliveries a second ours are under `load`, the rooms by turns; none where there is no
/// ncat.
fn compare(load: Load) -> Option<f64> {
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    let mut missing = None;
    for _ in 0..RUNS {
        ours.push(load::run(&Server::ours(load.members), load));
        match Server::ncat() {
            Ok(server) => theirs.push(load::run(&server, load)),
            Err(error) => missing = Some(error),
        }
    }
    let best = fastest(&ours);
    report(&told("chat-server", load, best));
    assert!(ours.iter().all(is_whole), "a message was lost");
    if let Some(error) = missing {
        report(&format!("ncat --chat: not measured: {error}"));
        return None;
    }
    let other = fastest(&theirs);
    report(&told("ncat --chat", load, other));
    let times = best.per_second() / other.per_second();
    let relayed = best.relayed_per_second() / other.relayed_per_second();
    report(&format!(
        "  chat-server beside ncat: {times:.1} times the deliveries, {relayed:.2} times all that is relayed"
    ));
    Some(times)
}

fn is_whole(run: &Deliveries) -> bool {
    run.lost + run.without_author == 0
}

fn fastest(runs: &[Deliveries]) -> &Deliveries {
    runs.iter()
        .max_by(|a, b| a.per_second().total_cmp(&b.per_second()))
        .unwrap()
}

fn told(room: &str, load: Load, run: &Deliveries) -> String {
    let Load {
        members,
        talkers,
        messages,
        ..
    } = load;
    let share = |time: Duration| 100.0 * time.as_secs_f64() / run.took.as_secs_f64();
    format!(
        "{room}, {members} members, {talkers} talk, {messages} messages: {} delivered in {:.1?}, {} without author, {} lost; \
         {:.0} deliveries a second, {:.0} with those without author; processors: server {:.0} %, generator {:.0} %",
        run.made,
        run.took,
        run.without_author,
        run.lost,
        run.per_second(),
        run.relayed_per_second(),
        share(run.server),
        share(run.generator),
    )
}

#[expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]
fn report(line: &str) {
    println!("{line}");
}
