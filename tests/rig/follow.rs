//! `rig flows --follow` on a file that grows.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Four flows; the first ten frames are an orderly connection.
const CAPTURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/rig/data/loopback.pcap"
);

/// Where the eleventh packet begins.
const ELEVENTH: usize = 871;

/// A child that does not outlive its test.
struct Follower(Child);

impl Drop for Follower {
    fn drop(&mut self) {
        // It has ended by itself where the test went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn follow(path: &Path, arguments: &[&str]) -> (Follower, BufReader<ChildStdout>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
    command
        .args(["flows", "--follow"])
        .args(arguments)
        .arg(path);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (Follower(child), out)
}

fn append(file: &mut File, bytes: &[u8]) {
    file.write_all(bytes).unwrap();
    file.flush().unwrap();
}

#[test]
fn flows_are_printed_as_they_end_and_the_rest_on_ctrl_c() {
    let whole = std::fs::read(CAPTURE).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("growing.pcap");
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .unwrap();
    // Begins with nothing, then half a header, then half a packet.
    let (mut child, mut out) = follow(&path, &["--json", "--tcp-timeout", "300ms"]);
    append(&mut file, &whole[..10]);
    append(&mut file, &whole[10..ELEVENTH + 30]);
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.contains("\"id.orig_p\":40001"), "{line}");
    assert!(line.contains("\"ended\":\"timeout\""), "{line}");
    append(&mut file, &whole[ELEVENTH + 30..whole.len() - 5]);
    // Both may be found to be over at the same look.
    let mut ports: Vec<u64> = Vec::new();
    for _ in 0..2 {
        line.clear();
        out.read_line(&mut line).unwrap();
        let flow: serde_json::Value = serde_json::from_str(&line).unwrap();
        ports.push(flow["id.orig_p"].as_u64().unwrap());
    }
    ports.sort_unstable();
    assert_eq!(ports, [40002, 40003]);
    let pid = Pid::from_raw(i32::try_from(child.0.id()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest.lines().count(), 1, "{rest}");
    assert!(rest.contains("\"id.orig_p\":40004"), "{rest}");
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_file_that_becomes_shorter_ends_it() {
    let whole = std::fs::read(CAPTURE).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pcap");
    std::fs::write(&path, &whole).unwrap();
    let (mut child, mut out) = follow(&path, &["--tcp-timeout", "100ms", "--udp-timeout", "100ms"]);
    let mut headings = String::new();
    out.read_line(&mut headings).unwrap();
    assert!(headings.starts_with("#  "), "{headings}");
    std::fs::write(&path, &whole[..100]).unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest.lines().count(), 4, "{rest}");
    assert_eq!(child.0.wait().unwrap().code(), Some(2));
}

#[test]
fn what_came_on_stdin_is_listed_on_ctrl_c() {
    let whole = std::fs::read(CAPTURE).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
    command.args(["flows", "--json", "-"]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Follower(child.spawn().unwrap());
    let mut input = child.0.stdin.take().unwrap();
    // As with `tcpdump -U`: it goes on, and ctrl-c comes in the midst of a packet.
    input.write_all(&whole[..whole.len() - 7]).unwrap();
    input.flush().unwrap();
    wait_until_caught(child.0.id(), Signal::SIGINT);
    kill(Pid::from_raw(child.0.id().cast_signed()), Signal::SIGINT).unwrap();
    let mut listed = String::new();
    let mut out = child.0.stdout.take().unwrap();
    out.read_to_string(&mut listed).unwrap();
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert!(child.0.wait().unwrap().success());
    drop(input);
}

/// Waits until a process has a handler for a signal, as the kernel tells (proc(5), `SigCgt`).
fn wait_until_caught(pid: u32, signal: Signal) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
        if caught & 1 << (signal as u64 - 1) != 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{status}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
