//! What the window costs: time until it is up, memory, and frames while 10,000 messages go by.
//!
//! Builds `chat-gui` as users do, opens it under Xvfb, prints figures, and fails when a goal is missed. Run
//! it with `cargo bench -p chat --bench window`; `docs/performance.md` has results.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Windows that are opened one after the other, and how long the median may take to be up.
const WINDOWS: usize = 5;
const UP: Duration = Duration::from_secs(1);

/// Messages that go by, the memory that the window may have then, and the longest time between two
/// frames.
const MESSAGES: usize = 10_000;
const MEMORY_KIB: u64 = 60 * 1024;
const STALL: Duration = Duration::from_millis(100);

/// So many pages are turned back, and so long apart.
const PAGES: usize = 300;
const PAGE_DELAY_MS: &str = "10";

/// Nothing that is waited for takes longer.
const PATIENCE: Duration = Duration::from_mins(1);

fn main() {
    let program = build();
    let display = Display::start();
    opens(&program, &display);
    scrolls(&program, &display);
}

/// Builds the program. This benchmark's own build is static, and a program that opens windows cannot be.
fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The folder that rig uses for the same build.
    let target = root.join("target/dynamic");
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--package",
            "chat",
            "--features",
            "gui",
        ])
        .args(["--bin", "chat-gui", "--target-dir"])
        .arg(&target)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            "-C\u{1f}target-feature=-crt-static",
        )
        .current_dir(root)
        .status()
        .unwrap();
    assert!(status.success(), "chat-gui does not build");
    let host = Command::new("rustc").arg("--print=host-tuple").output();
    let host = String::from_utf8(host.unwrap().stdout).unwrap();
    target.join(host.trim()).join("release/chat-gui")
}

/// A program that is killed at the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An X server without a screen.
struct Display {
    name: String,
    _server: Running,
}

impl Display {
    fn start() -> Self {
        let started = Command::new("Xvfb")
            .args([
                "-displayfd",
                "1",
                "-screen",
                "0",
                "1280x1024x24",
                "-noreset",
                "-nolisten",
                "tcp",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut server = started.expect("start Xvfb: install xvfb and xdotool");
        let mut number = String::new();
        let mut out = BufReader::new(server.stdout.take().unwrap());
        out.read_line(&mut number).unwrap();
        let server = Running(server);
        let number = number.trim();
        assert!(!number.is_empty(), "Xvfb did not start");
        Self {
            name: format!(":{number}"),
            _server: server,
        }
    }

    /// Presses a key again and again, in the only window that there is.
    fn press(&self, key: &str, times: usize) {
        let status = Command::new("xdotool")
            .args([
                "search",
                "--onlyvisible",
                "--name",
                "chat",
                "windowfocus",
                "--sync",
            ])
            .args([
                "key",
                "--delay",
                PAGE_DELAY_MS,
                "--repeat",
                &times.to_string(),
            ])
            .args(["--repeat-delay", PAGE_DELAY_MS, key])
            .env("DISPLAY", &self.name)
            .stdout(Stdio::null())
            .status();
        let status = status.expect("start xdotool: install xvfb and xdotool");
        assert!(status.success(), "xdotool found no window");
    }
}

/// An open window, and the server that it talks to.
struct Window {
    program: Running,
    shown: mpsc::Receiver<(Instant, String)>,
    log: mpsc::Receiver<(Instant, String)>,
    server: TcpStream,
}

impl Window {
    fn open(program: &Path, display: &Display) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let mut child = Command::new(program)
            .args(["127.0.0.1", "--port", &port])
            .env("DISPLAY", &display.name)
            .env("CHAT_LOG", "off,chat::window=trace")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let shown = lines(child.stdout.take().unwrap());
        let log = lines(child.stderr.take().unwrap());
        let program = Running(child);
        let (connected, accepted) = mpsc::channel();
        thread::spawn(move || connected.send(listener.accept().unwrap().0));
        let server = accepted.recv_timeout(PATIENCE);
        let server = server.expect("the window connects: is there what chat-gui needs?");
        server.set_nodelay(true).unwrap();
        Self {
            program,
            shown,
            log,
            server,
        }
    }

    /// Waits for a line on stdout and says when it came.
    fn see(&self, text: &str) -> Instant {
        loop {
            let (at, line) = self.shown.recv_timeout(PATIENCE).expect("a line in time");
            if line == text {
                return at;
            }
        }
    }

    /// When each frame was drawn, as far as it was since the last time that this was asked.
    fn frames(&self) -> Vec<Instant> {
        let frames = self.log.try_iter();
        let frames = frames.filter(|(_, line)| line.contains("a frame is on the screen"));
        frames.map(|(at, _)| at).collect()
    }

    /// A figure of `/proc/PID/status`, in KiB.
    fn memory_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.program.0.id()));
        let status = status.unwrap();
        let line = status.lines().find(|l| l.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

fn lines(from: impl Read + Send + 'static) -> mpsc::Receiver<(Instant, String)> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send((Instant::now(), line)).is_err() {
                return;
            }
        }
    });
    receiver
}

fn opens(program: &Path, display: &Display) {
    let mut took: Vec<Duration> = (0..WINDOWS)
        .map(|_| {
            let begin = Instant::now();
            let window = Window::open(program, display);
            window.see("* window is up") - begin
        })
        .collect();
    took.sort();
    let median = took[took.len() / 2];
    report(&format!(
        "window up, median of {WINDOWS}: {median:.2?} (goal: {UP:.0?}), from {:.2?} to {:.2?}",
        took[0],
        took[took.len() - 1],
    ));
    assert!(median <= UP, "the time goal is missed");
}

fn scrolls(program: &Path, display: &Display) {
    let mut window = Window::open(program, display);
    window.see("* window is up");
    let empty = window.memory_kib("VmRSS:");
    let message = |n| format!("talker: message {n}, which is about as long as one is");
    let all: Vec<String> = (0..MESSAGES).map(message).collect();
    window.frames();
    let begin = Instant::now();
    window
        .server
        .write_all((all.join("\n") + "\n").as_bytes())
        .unwrap();
    // Each of them is told once it was drawn: none is passed over.
    for message in &all {
        window.see(message);
    }
    let took = begin.elapsed();
    let down = window.frames();
    display.press("Prior", PAGES);
    let up = window.frames();
    let (full, peak) = (window.memory_kib("VmRSS:"), window.memory_kib("VmHWM:"));
    let by = format!("{MESSAGES} messages, each of them drawn, in {took:.2?}");
    let down = told(&by, &down);
    let up = told(&format!("{PAGES} pages back"), &up);
    report(&format!(
        "resident memory: {full} KiB (goal: {MEMORY_KIB}), peak {peak} KiB, without messages {empty} KiB"
    ));
    assert!(down <= STALL && up <= STALL, "the window stalled");
    assert!(peak <= MEMORY_KIB, "the memory goal is missed");
}

/// Reports how evenly frames came, and gives the longest time between two.
fn told(what: &str, frames: &[Instant]) -> Duration {
    let longest = longest(frames);
    let count = frames.len();
    report(&format!(
        "{what}: {count} frames, at most {longest:.1?} between two (goal: {STALL:.0?})"
    ));
    longest
}

/// The longest time between two frames.
fn longest(frames: &[Instant]) -> Duration {
    assert!(frames.len() > 1, "nothing was drawn");
    let gaps = frames.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap_or_default()
}

#[expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]
fn report(line: &str) {
    println!("{line}");
}
