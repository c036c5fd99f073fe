//! Conversations and what `rig flows` says of them: one file of `conversations/` a case. A new case
//! is a new file.
//!
//! A file has three sections, each begun by a line `== name`:
//!
//! - `script`: one packet a line, `TIME DIRECTION FLAGS` and what else is to be said of it. The flags
//!   are first letters, `S F R P A`, or `udp`. A number is the payload length; `@-5` moves the sequence
//!   number from where it would be, `ack-5` the acknowledgement number; `win=`, `mss=`, `ws=` give
//!   window and options, `sack` and `ts` are options; `isn=` begins the numbers anew; `uncaptured`
//!   packets are sent and not in the capture.
//! - `flows`: the JSON of each flow, a field a line, without what is the same in all cases.
//! - `ladder`: what `--ladder 1` draws.
//!
//! `UPDATE_CASES=1` writes what came into the files, to be read in the diff before it is kept.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use etherparse::TcpOptionElement;
use rig::pcapng::{Interface, Record, Section, Writer};
use rig::units::{Timestamp, parse_duration};
use rig::wire::LinkType;
use rig::wire::synth::{self, Segment};

/// Where the cases are.
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/rig/conversations");

/// What says nothing about a case.
const LEFT_OUT: [&str; 10] = [
    "ts",
    "uid",
    "id.orig_h",
    "id.orig_p",
    "id.resp_h",
    "id.resp_p",
    "orig_ip_bytes",
    "resp_ip_bytes",
    "first_frame",
    "number",
];

#[test]
fn every_case_holds() {
    let mut files: Vec<_> = std::fs::read_dir(CASES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 30, "only {} cases in {CASES}", files.len());
    let wrong: Vec<_> = files.iter().filter_map(|file| judge(file)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_fate_has_a_case() {
    let cases: String = std::fs::read_dir(CASES)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    for state in rig::analysis::ConnState::ALL {
        assert!(
            cases.contains(&format!("conn_state \"{state}\"\n")),
            "{state}"
        );
    }
}

/// What is wrong with a case, if anything.
fn judge(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let script_end = text.find("== flows").unwrap_or(text.len());
    let (script, expected) = text.split_at(script_end);
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("case.pcapng");
    std::fs::write(&capture, self::capture(script)).unwrap();
    let mut came = String::from("== flows\n");
    for line in flows(&capture, &["--json"]).lines() {
        let flow: serde_json::Value = serde_json::from_str(line).unwrap();
        for (name, value) in flow.as_object().unwrap() {
            if !LEFT_OUT.contains(&name.as_str()) {
                writeln!(came, "{name} {value}").unwrap();
            }
        }
        came.push('\n');
    }
    write!(came, "== ladder\n{}", flows(&capture, &["--ladder", "1"])).unwrap();
    if came != expected && std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(file, format!("{}\n\n{came}", script.trim_end())).unwrap();
        return None;
    }
    let name = file.file_name().unwrap().display();
    (came != expected).then(|| format!("{name}: expected\n{expected}\ncame\n{came}"))
}

fn flows(capture: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
    let output = command.arg("flows").arg(capture).args(arguments).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A conversation between 10.0.0.1:40000 and 10.0.0.2:15102, whose numbers wrap around soon.
struct Talk {
    ends: [SocketAddr; 2],
    next: [u32; 2],
}

fn capture(script: &str) -> Vec<u8> {
    let ends = ["10.0.0.1:40000", "10.0.0.2:15102"].map(|end| end.parse().unwrap());
    write(&packets(script, ends, START_NS))
}

/// When the first packet of a case was captured.
const START_NS: u64 = 1_700_000_000_000_000_000;

fn write(packets: &[(Timestamp, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &Section::default()).unwrap();
    let interface = Interface {
        name: "lan".to_owned(),
        description: String::new(),
        link: LinkType::Ethernet,
        snaplen_bytes: 0,
    };
    let interface = writer.add_interface(&interface).unwrap();
    for (at, bytes) in packets {
        writer.write(&Record::new(interface, *at, bytes)).unwrap();
    }
    writer.finish().unwrap()
}

/// The packets of a case between two ends.
fn packets(script: &str, ends: [SocketAddr; 2], start_ns: u64) -> Vec<(Timestamp, Vec<u8>)> {
    let mut talk = Talk {
        ends,
        next: [u32::MAX - 3, u32::MAX - 5],
    };
    let mut packets = Vec::new();
    let lines = script.lines().skip(1).map(str::trim);
    for line in lines.filter(|line| !line.is_empty()) {
        let (time, packet) = line.split_once(char::is_whitespace).unwrap();
        let at = parse_duration(time).unwrap().as_nanos();
        let at = Timestamp(start_ns + u64::try_from(at).unwrap());
        let bytes = talk.packet(packet);
        if !packet.contains("uncaptured") {
            packets.push((at, bytes));
        }
    }
    packets
}

/// Every case in one capture, each between ends of its own: names and packets in order of time.
pub(crate) fn all_in_one() -> (Vec<String>, Vec<u8>) {
    /// Longer than any case takes.
    const APART_NS: u64 = 3_600_000_000_000;
    let mut files: Vec<_> = std::fs::read_dir(CASES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let (mut names, mut all) = (Vec::new(), Vec::new());
    for (number, file) in (0_u8..).zip(&files) {
        let text = std::fs::read_to_string(file).unwrap();
        let script = text.split("== flows").next().unwrap();
        let ends = [1, 2].map(|host| SocketAddr::from(([10, 0, number, host], 40_000)));
        all.extend(packets(
            script,
            ends,
            START_NS + u64::from(number) * APART_NS,
        ));
        names.push(file.file_stem().unwrap().display().to_string());
    }
    (names, write(&all))
}

impl Talk {
    fn packet(&mut self, text: &str) -> Vec<u8> {
        let mut words = text.split_whitespace();
        let (me, peer) = match words.next() {
            Some(">") => (0, 1),
            Some("<") => (1, 0),
            other => panic!("{other:?} is no direction"),
        };
        let letters = words.next().unwrap();
        let (mut len, mut shift, mut ack_shift, mut window) = (0_u32, 0_i32, 0_i32, 64_240);
        let mut options = Vec::new();
        for word in words {
            match word.split_once('=') {
                Some(("win", n)) => window = n.parse().unwrap(),
                Some(("mss", n)) => {
                    options.push(TcpOptionElement::MaximumSegmentSize(n.parse().unwrap()));
                }
                Some(("ws", n)) => options.push(TcpOptionElement::WindowScale(n.parse().unwrap())),
                Some(("isn", n)) => self.next[me] = n.parse().unwrap(),
                None if word == "sack" => {
                    options.push(TcpOptionElement::SelectiveAcknowledgementPermitted);
                }
                None if word == "ts" => options.push(TcpOptionElement::Timestamp(1, 2)),
                None if word == "uncaptured" => {}
                None if word.starts_with('@') => shift = word[1..].parse().unwrap(),
                None if word.starts_with("ack") => ack_shift = word[3..].parse().unwrap(),
                None => len = word.parse().unwrap(),
                other => panic!("{other:?} says nothing"),
            }
        }
        let payload = vec![b'x'; len as usize];
        if letters == "udp" {
            return synth::udp(self.ends[me], self.ends[peer], &payload);
        }
        let bit = |letter, bit| if letters.contains(letter) { bit } else { 0 };
        let flags = bit('F', 1) | bit('S', 2) | bit('R', 4) | bit('P', 8) | bit('A', 16);
        let seq = self.next[me].wrapping_add_signed(shift);
        let end = seq.wrapping_add(len + u32::from((flags & 1) + (flags >> 1 & 1)));
        // A RST may stand anywhere, and nothing follows on it.
        if end != seq && end.wrapping_sub(self.next[me]).cast_signed() > 0 {
            self.next[me] = end;
        }
        let segment = Segment {
            seq,
            ack: self.next[peer].wrapping_add_signed(ack_shift),
            flags,
            window,
            options: &options,
            payload: &payload,
            ..Segment::new(self.ends[me], self.ends[peer])
        };
        segment.bytes()
    }
}
