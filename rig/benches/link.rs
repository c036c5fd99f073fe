//! What a link host forwards, and what it adds: `cargo bench -p rig --bench link`.
//!
//! Runs the real rig on a real engine: two hosts on networks of their own, a link between them, and
//! datagrams through it, from either side. What was sent, lost and delayed is read from the
//! captures of both hosts. The programs of the nodes are this one, in an image of its own.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rig::reconcile::{Fate, Passage, Reconciliation, Source};

/// Datagrams of the fast cells, and how many a second are sent.
const FAST: u32 = 500_000;
const FAST_A_SECOND: u32 = 115_000;

/// The same of the cells in which the delay is measured.
const CALM: u32 = 10_000;
const CALM_A_SECOND: u32 = 2_000;

/// The delay of the link, in milliseconds.
const DELAY_MS: u64 = 5;

/// Goals: packets a second each way, and what the link adds to its delay, in milliseconds.
const GOAL_A_SECOND: f64 = 100_000.0;
const GOAL_ADDED_MS: f64 = 0.2;

/// Bytes of a datagram, and how many are sent before the clock is looked at.
const PAYLOAD: [u8; 22] = [0; 22];
const BURST: u32 = 16;

const PORT: u16 = 9999;

/// Time between the first datagram, for which the way is found, and the others.
const FIRST_ALONE: Duration = Duration::from_millis(100);

const MATRIX: &str = r#"
version: 1
name: bench-link
images:
  traffic: { dockerfile: Dockerfile, context: . }
implementations:
  receiver: { image: traffic, run: [/traffic, --receive], ready: { output: ready } }
  sender:
    image: traffic
    run: [/traffic, --send, "${address.receiver}", "${load.count}", "${load.rate}"]
networks: { lan: {}, wan: {} }
hosts: { left: [lan], right: [wan] }
links: { uplink: { joins: [lan, wan], delay: "${load.delay}" } }
matrix:
  load:
    fast: { count: FAST_COUNT, rate: FAST_RATE, delay: 0ms }
    calm: { count: CALM_COUNT, rate: CALM_RATE, delay: DELAY }
  way:
    there: { from: left, to: right }
    back: { from: right, to: left }
nodes:
  receiver: { on: "${way.to}", is: receiver }
  sender: { on: "${way.from}", is: sender }
steps:
  - start: receiver
  - start: sender
  - { wait: sender, within: 2m }
  - settle: 1s
"#;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--receive"] => receive(),
        ["--send", address, count, rate] => send(address, number(count), number(rate)),
        _ => measure(),
    }
}

fn number(text: &str) -> u32 {
    text.parse().expect("a number")
}

/// Takes datagrams until it is killed.
fn receive() {
    let socket = UdpSocket::bind(("0.0.0.0", PORT)).expect("a socket");
    writeln!(std::io::stdout(), "ready").expect("stdout");
    let mut buffer = [0; 2048];
    loop {
        socket.recv(&mut buffer).expect("a datagram");
    }
}

/// Sends datagrams at a rate.
fn send(address: &str, count: u32, rate: u32) {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).expect("a socket");
    socket.connect((address, PORT)).expect("an address");
    // The first one finds the way; the rest shall not wait for it.
    let send_number = |number: u32| {
        let mut payload = PAYLOAD;
        payload[..4].copy_from_slice(&number.to_be_bytes());
        socket.send(&payload).expect("sent");
    };
    send_number(0);
    std::thread::sleep(FIRST_ALONE);
    let began = Instant::now();
    let mut sent = 1;
    while sent < count {
        let due = began + Duration::from_secs(1) / rate * sent;
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        for _ in 0..BURST.min(count - sent) {
            send_number(sent);
            sent += 1;
        }
    }
}

/// What was seen of one cell.
struct Seen {
    a_second: f64,
    lost: usize,
    median_ms: f64,
}

fn measure() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::copy("/proc/self/exe", at("traffic")).expect("this program");
    fs::write(at("Dockerfile"), "FROM scratch\nCOPY traffic /traffic\n").expect("a file");
    let matrix = MATRIX
        .replace("FAST_COUNT", &FAST.to_string())
        .replace("FAST_RATE", &FAST_A_SECOND.to_string())
        .replace("CALM_COUNT", &CALM.to_string())
        .replace("CALM_RATE", &CALM_A_SECOND.to_string())
        .replace("DELAY", &format!("{DELAY_MS}ms"));
    fs::write(at("matrix.yaml"), matrix).expect("a file");
    let status = Command::new(env!("CARGO_BIN_EXE_rig"))
        .args(["run", "--jobs", "1"])
        .arg(at("matrix.yaml"))
        .arg("--out")
        .arg(at("out"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .expect("rig starts");
    assert!(status.success(), "every capture is complete");
    let mut failed = false;
    for way in ["there", "back"] {
        let fast = seen(&at(&format!("out/load=fast,way={way}")));
        let calm = seen(&at(&format!("out/load=calm,way={way}")));
        let delay_ms = Duration::from_millis(DELAY_MS).as_secs_f64() * 1e3;
        let added = calm.median_ms - delay_ms;
        print(&format!(
            "{way}: {:.0} packets a second, {} lost (goal: at least {GOAL_A_SECOND}, none lost); \
             {:.3} ms on the way; {added:.3} ms more than the delay of {DELAY_MS} ms, median \
             (goal: at most {GOAL_ADDED_MS})",
            fast.a_second, fast.lost, fast.median_ms
        ));
        let lost = fast.lost + calm.lost;
        failed |= fast.a_second < GOAL_A_SECOND || lost > 0 || added > GOAL_ADDED_MS;
    }
    assert!(!failed, "a goal is missed");
}

/// Compares what both hosts captured.
fn seen(folder: &Path) -> Seen {
    let sources = ["left", "right"].map(|host| {
        let path = folder.join(format!("hosts/{host}.pcapng"));
        Source::new(host, File::open(path).expect("a capture"))
    });
    let mut joining = Reconciliation::of(sources.into()).expect("captures of one path");
    let (mut delays, mut lost) = (Vec::new(), 0);
    let (mut began, mut ended) = (u64::MAX, 0);
    while let Some(Passage { fate, record, .. }) = joining.next_packet() {
        if record.data.len() != 42 + PAYLOAD.len() {
            continue;
        }
        match fate {
            Fate::Arrived(delay) => {
                delays.push(delay);
                began = began.min(record.at.0);
                let after = u64::try_from(delay.as_nanos()).expect("a delay");
                ended = ended.max(record.at.0 + after);
            }
            _ => lost += 1,
        }
    }
    assert!(!delays.is_empty(), "something arrives");
    delays.sort();
    let took = Duration::from_nanos(ended - began).saturating_sub(FIRST_ALONE);
    let count = f64::from(u32::try_from(delays.len()).expect("a small number"));
    Seen {
        a_second: count / took.as_secs_f64(),
        lost,
        median_ms: delays[delays.len() / 2].as_secs_f64() * 1e3,
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn print(what: &str) {
    println!("{what}");
}
