//! A load generator for `chat-server`: memory of idle members, and deliveries a second.
//!
//! Starts the real server over loopback, prints figures, and fails when a goal is missed or a
//! single message is lost. Run it with `cargo bench -p chat`; `docs/performance.md` has results.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Members that only stay, and the memory that they may cost.
const IDLE_MEMBERS: usize = 2000;
const IDLE_MEMORY_KIB: u64 = 64 * 1024;

/// Members that listen to one talker, what it says, and the rate to reach.
const LISTENERS: usize = 100;
const MESSAGES: usize = 20_000;
const MESSAGE_BYTES: usize = 64;
const DELIVERIES_PER_SECOND: f64 = 20_000.0;

/// So many messages the talker is ahead of its own echo. The server's queues hold 1024.
const WINDOW: usize = 64;

/// The whole of each part must be over within this time.
const PATIENCE: Duration = Duration::from_mins(2);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        timeout(PATIENCE, idle())
            .await
            .expect("idle members in time");
        timeout(PATIENCE, fan_out())
            .await
            .expect("deliveries in time");
    });
}

/// A running server; killed at the end.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_chat-server"))
            .args([
                "--listen",
                "127.0.0.1",
                "--port",
                "0",
                "--rate",
                "0",
                "--backlog",
                "4096",
            ])
            .env("CHAT_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
        // The operator's screen is read on, as a terminal would.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        Self { child, address }
    }

    /// A figure of `/proc/PID/status`, in KiB.
    fn memory_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A member of the room.
struct Member {
    read: tokio::io::BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    line: String,
}

impl Member {
    async fn join(address: SocketAddr, name: &str) -> Self {
        let (read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
        write
            .write_all(format!("{name}\n").as_bytes())
            .await
            .unwrap();
        let read = tokio::io::BufReader::new(read);
        let mut member = Self {
            read,
            write,
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
        let n = self.read.read_line(&mut self.line).await.unwrap();
        assert!(n > 0, "the server dropped a member");
        self.line.trim_end()
    }

    /// Reads the talker's messages and checks that none is missing or out of order.
    async fn expect_all(mut self) {
        for n in 0..MESSAGES {
            self.hear(|line| line.starts_with("talker: ")).await;
            let number = self.line["talker: ".len()..].split(' ').next().unwrap();
            assert_eq!(number.parse(), Ok(n), "a message was lost");
        }
    }
}

async fn idle() {
    let server = Server::start();
    let empty = server.memory_kib("VmRSS:");
    let mut members = JoinSet::new();
    let last = format!("m{}", IDLE_MEMBERS - 1);
    for n in 0..IDLE_MEMBERS {
        let mut member = Member::join(server.address, &format!("m{n}")).await;
        let (is_last, last) = (n + 1 == IDLE_MEMBERS, format!("* {last} has joined"));
        members.spawn(async move {
            // Everybody hears of the last to come, and then nothing more.
            if !is_last {
                member.hear(|line| line == last).await;
            }
            member
        });
    }
    let members = members.join_all().await;
    let (idle, peak) = (server.memory_kib("VmRSS:"), server.memory_kib("VmHWM:"));
    report(&format!(
        "{} idle members: {idle} KiB resident (goal: {IDLE_MEMORY_KIB}), peak {peak} KiB, empty server {empty} KiB",
        members.len(),
    ));
    assert!(idle <= IDLE_MEMORY_KIB, "the memory goal is missed");
}

async fn fan_out() {
    let server = Server::start();
    let mut talker = Member::join(server.address, "talker").await;
    let mut listeners = JoinSet::new();
    for n in 0..LISTENERS {
        let listener = Member::join(server.address, &format!("m{n}")).await;
        listeners.spawn(listener.expect_all());
    }
    let padding = "x".repeat(MESSAGE_BYTES);
    let begin = Instant::now();
    for n in 0..MESSAGES {
        if n >= WINDOW {
            talker.hear(|line| line.starts_with("talker: ")).await;
        }
        talker
            .write
            .write_all(format!("{n} {padding}\n").as_bytes())
            .await
            .unwrap();
    }
    while let Some(listener) = listeners.join_next().await {
        listener.unwrap();
    }
    let took = begin.elapsed();
    let deliveries = u32::try_from(LISTENERS * MESSAGES).unwrap();
    let per_second = f64::from(deliveries) / took.as_secs_f64();
    report(&format!(
        "1 talker, {LISTENERS} listeners: {deliveries} deliveries in {took:.2?}, none lost: {per_second:.0} a second (goal: {DELIVERIES_PER_SECOND:.0})"
    ));
    assert!(
        per_second >= DELIVERIES_PER_SECOND,
        "the rate goal is missed"
    );
}

#[expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]
fn report(line: &str) {
    println!("{line}");
}
