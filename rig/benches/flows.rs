//! How fast `rig flows` is: `cargo bench -p rig --bench flows`.
//!
//! Makes a capture of 200,000 connections of nine packets once, runs the built `rig` on it as a
//! user would, and prints what each run took. Processor time is what counts on a machine that
//! others load too; elapsed time stands beside it. tcpdump, tcptrace and tshark run on the same
//! packets, where the machine has them, and their processor time is shown as a multiple of that of
//! `rig flows --json`. Then the same of two captures of half as many packets each, taken at both ends of a path with
//! delays, losses and a clock that is off. Exits with a failure when a run needs more than its bounds.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rig::pcapng::{Interface, InterfaceId, Reader, Record, Section, Writer};
use rig::units::Timestamp;
use rig::wire::LinkType;
use rig::wire::synth::Segment;

const CONNECTIONS: u32 = 200_000;

/// Connections that go on at the same time.
const CONCURRENT: u32 = 1000;

/// Payload of each of the two segments that carry some.
const PAYLOAD_BYTES: u32 = 57;

/// A run is repeated this often, and the fastest counts; those of the slow tools run once.
const RUNS: usize = 5;

/// How far the second place's clock is ahead.
const AHEAD_NS: u64 = 3_000_000_000;

/// How long packets are under way between the places, and one of how many never arrives.
const DELAYS_NS: Range<u64> = 200_000..2_000_000;
const LOST_OF: u64 = 1000;

/// What a run may take: processor time, in seconds or as a multiple of that of `rig flows --json`, and memory.
#[derive(Clone, Copy)]
struct Bounds {
    time: Time,
    rss_bytes: u64,
}

#[derive(Clone, Copy)]
enum Time {
    Seconds(f64),
    Times(f64),
}

const JSON: Bounds = Bounds {
    time: Time::Seconds(0.6),
    rss_bytes: 150_000_000,
};
const COLUMNS: Bounds = Bounds {
    time: Time::Seconds(1.0),
    rss_bytes: 200_000_000,
};
const TWO_PLACES: Bounds = Bounds {
    time: Time::Times(2.5),
    rss_bytes: 300_000_000,
};

/// What making a capture gives.
type Made<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let capture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("flows-200k.pcapng");
    if let Err(error) = make_if_missing(&capture) {
        say(&format!("make {}: {error}", capture.display()));
        return ExitCode::FAILURE;
    }
    let classic = capture.with_extension("pcap");
    if let Err(error) = make_classic_if_missing(&capture, &classic) {
        say(&format!("make {}: {error}", classic.display()));
        return ExitCode::FAILURE;
    }
    let places =
        ["near", "far"].map(|place| capture.with_file_name(format!("flows-{place}.pcapng")));
    if let Err(error) = make_places_if_missing(&places) {
        say(&format!("make the captures of two places: {error}"));
        return ExitCode::FAILURE;
    }
    let size = std::fs::metadata(&capture).map_or(0, |data| data.len());
    let packets = CONNECTIONS * 9;
    say(&format!(
        "{CONNECTIONS} connections, {packets} packets, {size} bytes"
    ));
    say("command                   elapsed s  user s  system s  peak RSS MB   ratio");
    let mut within = true;
    let mut unit = None;
    for mut run in runs(&capture, &classic, &places) {
        let name = run.name;
        match fastest(&mut run.command, run.times) {
            Ok(cost) => {
                let processor = (cost.user + cost.system).as_secs_f64();
                let unit = *unit.get_or_insert(processor);
                say(&format!(
                    "{name:<24} {:>10.2} {:>7.2} {:>9.2} {:>12.0} {:>7.2}",
                    cost.elapsed.as_secs_f64(),
                    cost.user.as_secs_f64(),
                    cost.system.as_secs_f64(),
                    mega(cost.peak_rss_bytes),
                    processor / unit,
                ));
                within &= run.bounds.is_none_or(|bounds| {
                    let in_time = match bounds.time {
                        Time::Seconds(seconds) => processor <= seconds,
                        Time::Times(times) => processor <= times * unit,
                    };
                    in_time && cost.peak_rss_bytes <= bounds.rss_bytes
                });
            }
            Err(error) if run.bounds.is_some() => {
                say(&format!("{name:<24} failed: {error}"));
                within = false;
            }
            Err(error) => say(&format!("{name:<24} not measured: {error}")),
        }
    }
    if within {
        ExitCode::SUCCESS
    } else {
        say("a run took more than it may");
        ExitCode::FAILURE
    }
}

/// A command to measure.
struct Run {
    name: &'static str,
    command: Command,
    times: usize,
    /// None for the tools of others.
    bounds: Option<Bounds>,
}

/// The commands, `rig flows --json` first: the others are compared with it.
fn runs(capture: &Path, classic: &Path, places: &[PathBuf; 2]) -> Vec<Run> {
    let rig = |name, arguments: &[&str], bounds| Run {
        name,
        command: command(env!("CARGO_BIN_EXE_rig"), arguments, capture),
        times: RUNS,
        bounds,
    };
    let other = |name, mut command: Command, last: &[&str], times| {
        command.args(last);
        Run {
            name,
            command,
            times,
            bounds: None,
        }
    };
    let [near, far] = places;
    let both = |name, arguments: &[&str]| {
        let mut command = command(env!("CARGO_BIN_EXE_rig"), arguments, near);
        command.arg(far);
        Run {
            name,
            command,
            times: RUNS,
            bounds: Some(TWO_PLACES),
        }
    };
    let merged = near.with_file_name("flows-merged.pcapng");
    let merged = merged.to_string_lossy();
    let filter = "tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0";
    let tcpdump = command("tcpdump", &["-w", "/dev/null", "-r"], capture);
    // It reads pcap only.
    let tcptrace = command("tcptrace", &["-n"], classic);
    let tshark = command("tshark", &["-n", "-q", "-z", "conv,tcp", "-r"], capture);
    vec![
        rig("rig flows --json", &["flows", "--json"], Some(JSON)),
        rig("rig flows", &["flows"], Some(COLUMNS)),
        rig(
            "rig flows --tcp-timeout",
            &["flows", "--json", "--tcp-timeout", "5m"],
            None,
        ),
        both("two places --json", &["flows", "--json"]),
        both("two places, merge", &["merge", "-o", &merged]),
        other("tcpdump flags filter", tcpdump, &[filter], RUNS),
        other("tcptrace", tcptrace, &[], 1),
        other("tshark conv,tcp", tshark, &[], 1),
    ]
}

fn say(line: &str) {
    // Nothing is left to do where stdout itself is gone.
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[expect(clippy::cast_precision_loss, reason = "shown without digits")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn command(program: &str, arguments: &[&str], capture: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).arg(capture);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// What a run took.
struct Cost {
    elapsed: Duration,
    user: Duration,
    system: Duration,
    peak_rss_bytes: u64,
}

fn fastest(command: &mut Command, times: usize) -> std::io::Result<Cost> {
    let mut best: Option<Cost> = None;
    for _ in 0..times {
        let cost = run(command)?;
        let better = |best: &Cost| cost.user + cost.system < best.user + best.system;
        if best.as_ref().is_none_or(better) {
            best = Some(cost);
        }
    }
    best.ok_or_else(|| std::io::Error::other("no run"))
}

#[expect(
    unsafe_code,
    reason = "the standard library tells no resource usage of a child"
)]
fn run(command: &mut Command) -> std::io::Result<Cost> {
    let begin = Instant::now();
    let child = command.spawn()?;
    let pid = libc::pid_t::try_from(child.id()).map_err(std::io::Error::other)?;
    let mut status = 0;
    // SAFETY: `rusage` is plain data for which all zeroes is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right types, and the child is ours and is
    // waited for nowhere else.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    if waited != pid {
        return Err(std::io::Error::last_os_error());
    }
    if status != 0 {
        return Err(std::io::Error::other(format!("wait status {status}")));
    }
    Ok(Cost {
        elapsed: begin.elapsed(),
        user: duration(usage.ru_utime),
        system: duration(usage.ru_stime),
        // Linux counts it in KiB.
        peak_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or_default() * 1024,
    })
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let micros = u64::try_from(time.tv_usec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// Writes the capture beside its place and moves it there, so that half a file is never used.
fn make_if_missing(capture: &Path) -> Made<()> {
    if capture.exists() {
        return Ok(());
    }
    let unfinished = capture.with_extension("tmp");
    let (mut writer, interface) = begin(&unfinished)?;
    let mut at = 1_700_000_000_000_000_000;
    for batch in 0..CONNECTIONS / CONCURRENT {
        for step in 0..STEPS.len() {
            for within in 0..CONCURRENT {
                at += 10_000;
                let number = batch * CONCURRENT + within;
                write_segment(&mut writer, interface, Timestamp(at), number, step)?;
            }
        }
    }
    writer.finish()?.flush()?;
    std::fs::rename(unfinished, capture)?;
    Ok(())
}

fn begin(path: &Path) -> Made<(Writer<BufWriter<File>>, InterfaceId)> {
    let file = BufWriter::new(File::create(path)?);
    let mut writer = Writer::new(file, &Section::default())?;
    let interface = writer.add_interface(&Interface {
        name: "bench".to_owned(),
        description: String::new(),
        link: LinkType::Ethernet,
        snaplen_bytes: 0,
    })?;
    Ok((writer, interface))
}

/// Writes what two places see of half of the connections.
fn make_places_if_missing(paths: &[PathBuf; 2]) -> Made<()> {
    if paths.iter().all(|path| path.exists()) {
        return Ok(());
    }
    let mut seen = [Vec::new(), Vec::new()];
    let mut sent = 1_700_000_000_000_000_000;
    let mut chance = SplitMix(7);
    for batch in 0..CONNECTIONS / 2 / CONCURRENT {
        for (step, (forth, ..)) in STEPS.iter().enumerate() {
            for within in 0..CONCURRENT {
                sent += 10_000;
                let delay = DELAYS_NS.start + chance.next() % (DELAYS_NS.end - DELAYS_NS.start);
                let arrives = !chance.next().is_multiple_of(LOST_OF);
                let number = batch * CONCURRENT + within;
                let (near, far) = if *forth { (0, 1) } else { (1, 0) };
                seen[near].push((sent, number, step));
                if arrives {
                    seen[far].push((sent + delay, number, step));
                }
            }
        }
    }
    for ((path, mut seen), ahead) in paths.iter().zip(seen).zip([0, AHEAD_NS]) {
        seen.sort_unstable();
        let unfinished = path.with_extension("tmp");
        let (mut writer, interface) = begin(&unfinished)?;
        for (at, number, step) in seen {
            write_segment(&mut writer, interface, Timestamp(at + ahead), number, step)?;
        }
        writer.finish()?.flush()?;
        std::fs::rename(unfinished, path)?;
    }
    Ok(())
}

/// Numbers that look like chance and are the same each time (Steele, Lea and Flood 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Writes the packets of the capture as pcap.
fn make_classic_if_missing(capture: &Path, classic: &Path) -> Made<()> {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const ETHERNET: u32 = 1;
    if classic.exists() {
        return Ok(());
    }
    let unfinished = classic.with_extension("tmp");
    let mut file = BufWriter::new(File::create(&unfinished)?);
    let version = 2 | 4 << 16;
    for word in [MAGIC, version, 0, 0, 262_144, ETHERNET] {
        file.write_all(&word.to_ne_bytes())?;
    }
    let mut reader = Reader::new(File::open(capture)?)?;
    while let Some(frame) = reader.next_frame() {
        let at_us = frame.record.at.0 / 1000;
        let (seconds, us) = (at_us / 1_000_000, at_us % 1_000_000);
        let len = u32::try_from(frame.record.data.len())?;
        for word in [u32::try_from(seconds)?, u32::try_from(us)?, len, len] {
            file.write_all(&word.to_ne_bytes())?;
        }
        file.write_all(&frame.record.data)?;
    }
    file.flush()?;
    std::fs::rename(unfinished, classic)?;
    Ok(())
}

/// From the initiator, flags, payload, and how far each side has got before: an orderly
/// connection of nine packets.
const STEPS: [(bool, u8, bool, u32, u32); 9] = {
    const L: u32 = PAYLOAD_BYTES;
    [
        (true, 0x02, false, 0, 0),
        (false, 0x12, false, 1, 0),
        (true, 0x10, false, 1, 1),
        (true, 0x18, true, 1, 1),
        (false, 0x18, true, 1 + L, 1),
        (true, 0x10, false, 1 + L, 1 + L),
        (true, 0x11, false, 1 + L, 1 + L),
        (false, 0x11, false, 2 + L, 1 + L),
        (true, 0x10, false, 2 + L, 2 + L),
    ]
};

fn write_segment<W: Write>(
    writer: &mut Writer<W>,
    interface: InterfaceId,
    at: Timestamp,
    number: u32,
    step: usize,
) -> Result<(), rig::pcapng::WriteError> {
    let (forth, flags, with_payload, orig_at, resp_at) = STEPS[step];
    let [_, high, middle, low] = number.to_be_bytes();
    // Every connection has a port of its own, and addresses change every 50,000 ports.
    let port = u16::try_from(10_000 + number % 50_000).unwrap_or_default();
    let host = u8::try_from(number / 50_000 % 250).unwrap_or_default();
    let client = SocketAddr::from(([10, 1, host, 1], port));
    let server = SocketAddr::from(([10, 2, 0, 1 + low % 8], 15_102));
    let isn = u32::from_be_bytes([low, middle, high, 0]);
    let (from, to, seq, ack) = if forth {
        (client, server, isn.wrapping_add(orig_at), resp_at)
    } else {
        (server, client, resp_at, isn.wrapping_add(orig_at))
    };
    let payload = [b'x'; PAYLOAD_BYTES as usize];
    let segment = Segment {
        seq,
        ack,
        flags,
        payload: if with_payload { &payload } else { &[] },
        ..Segment::new(from, to)
    };
    let bytes = segment.bytes();
    writer.write(&Record::new(interface, at, &bytes))
}
