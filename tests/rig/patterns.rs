//! Patterns against flows: one file of `patterns/` a case, with a flow, a pattern and what comes of
//! matching them. A new case is a new file.
//!
//! A file has these sections, each begun by a line `== name`:
//!
//! - `flow`: one event a line, `TIME DIRECTION NAME` and what else is known of it: a number is the
//!   length, quoted text the payload (which gives the length), `mss=` and `win=` bytes, `ttl=` the hop
//!   limit (else 64), `flags=` as
//!   `RST+ACK` (else those usual for the name), `ack=` the acknowledgement number, `again` a
//!   retransmission, `probe` a tail loss probe, `lost`, `coalesced`, `fast-open`. With
//!   `&` in place of the time the event is in the same frame as the one before.
//! - `definitions`, where the pattern names some: a pattern file's text.
//! - `pattern`: the pattern.
//! - `result`: `match` and the named events, the mismatch with its ladder, or the error of a pattern
//!   that is refused. `UPDATE_CASES=1` writes what came into the files, to be read in the diff
//!   before it is kept.

#![expect(
    clippy::unwrap_used,
    reason = "a case that cannot be read ends the test"
)]

use std::fmt::Write as _;
use std::path::Path;

use rig::analysis::{Event, EventKind, Sender, Signals, TcpFlags};
use rig::pattern::{Library, Pattern, PatternError, PatternFile};
use rig::units::{Timestamp, parse_duration};

/// Where the cases are.
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/rig/patterns");

#[test]
fn every_case_holds() {
    let mut files: Vec<_> = std::fs::read_dir(CASES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 20, "only {} cases in {CASES}", files.len());
    let wrong: Vec<_> = files.iter().filter_map(|file| judge(file)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a case, if anything.
fn judge(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let flow = section(&text, "flow");
    let expected = section(&text, "result");
    let came = match pattern(&text) {
        Ok(pattern) => result(&pattern, &events(flow)),
        Err(errors) => errors,
    };
    if came.trim() != expected.trim() && std::env::var_os("UPDATE_CASES").is_some() {
        let kept = &text[..text.len() - expected.len()];
        std::fs::write(file, format!("{kept}{}\n", came.trim_end())).unwrap();
        return None;
    }
    (came.trim() != expected.trim()).then(|| {
        format!(
            "{}: expected\n{expected}\ncame\n{came}",
            file.file_name().unwrap().display()
        )
    })
}

/// The pattern of a case, or the errors with which it is refused.
fn pattern(case: &str) -> Result<Pattern, String> {
    let library = match optional_section(case, "definitions") {
        None => Library::builtin().clone(),
        Some(text) => {
            let file = PatternFile::parse(text, Library::builtin());
            file.map_err(|errors| shown_errors(text, &errors))?.library
        }
    };
    let text = section(case, "pattern");
    Pattern::parse_with(text, &library).map_err(|error| shown_errors(text, &[error]))
}

/// What is pointed at, what is wrong with it, and the hint; a line each.
fn shown_errors(text: &str, errors: &[PatternError]) -> String {
    let mut out = String::new();
    for error in errors {
        let end = error.offset_bytes + error.len_bytes;
        let place = &text[error.offset_bytes..end];
        writeln!(out, "refused at `{place}`: {error}").unwrap();
        if let Some(hint) = &error.hint {
            writeln!(out, "hint: {hint}").unwrap();
        }
    }
    out
}

fn section<'a>(text: &'a str, name: &str) -> &'a str {
    optional_section(text, name).unwrap_or_else(|| panic!("no section `{name}`"))
}

fn optional_section<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = format!("== {name}\n");
    let rest = &text[text.find(&head)? + head.len()..];
    Some(&rest[..rest.find("\n== ").map_or(rest.len(), |end| end + 1)])
}

/// Every part of the grammar in docs/patterns.md, as a piece of text that only its use has.
const PARTS: [&str; 42] = [
    "> SYN",
    "< SYN-ACK",
    "> ACK",
    "> DATA",
    "< FIN",
    "< RST",
    "- ANY",
    "- FIN",
    "...",
    "( ",
    " | ",
    "?",
    "*",
    "+",
    "{2}",
    "{2,}",
    "{2,3}",
    "# ",
    "[len=",
    "[len>=",
    "[len<=",
    "[len>",
    "[len<",
    "bytes=",
    "bytes^=",
    "bytes*=",
    "gap>=",
    "gap<=",
    "+-10%",
    "+-100ms",
    "flags=",
    "flags*=",
    "win",
    "mss",
    "retransmission",
    "!retransmission",
    "repeat",
    "probe",
    "ttl",
    "lost",
    "coalesced",
    "handshake",
];

#[test]
fn every_part_of_the_grammar_matches_and_fails_somewhere() {
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(CASES).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let matches = section(&text, "result").starts_with("match");
        cases.push((section(&text, "pattern").to_owned(), matches));
    }
    let missing: Vec<_> = PARTS
        .into_iter()
        .flat_map(|part| [(part, true), (part, false)])
        .filter(|(part, wanted)| {
            let mut using = cases.iter().filter(|(pattern, _)| pattern.contains(part));
            !using.any(|(_, matches)| matches == wanted)
        })
        .collect();
    assert!(missing.is_empty(), "no case (part, matches): {missing:?}");
}

fn result(pattern: &Pattern, events: &[Event]) -> String {
    let mut out = String::new();
    match pattern.matches(events) {
        Ok(matched) => {
            out.push_str("match\n");
            for named in matched.named {
                writeln!(out, "{:>3}  {}", named.frame, named.item).unwrap();
            }
        }
        Err(mismatch) => write!(out, "{mismatch}\n{}", mismatch.ladder).unwrap(),
    }
    out
}

fn events(text: &str) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (when, rest) = line.trim().split_once(' ').unwrap();
        let (at, frame) = match (when, events.last()) {
            ("&", Some(before)) => (before.at, before.frame),
            (when, before) => {
                let at = parse_duration(when).unwrap();
                let frame = before.map_or(1, |event| event.frame + 1);
                (Timestamp(u64::try_from(at.as_nanos()).unwrap()), frame)
            }
        };
        events.push(event(rest.trim(), at, frame));
    }
    events
}

fn event(text: &str, at: Timestamp, frame: u64) -> Event {
    let (text, payload) = match text.split_once('"') {
        Some((before, quoted)) => (before, quoted.trim_end().trim_end_matches('"')),
        None => (text, ""),
    };
    let mut words = text.split_whitespace();
    let sender = match words.next() {
        Some(">") => Sender::Initiator,
        Some("<") => Sender::Responder,
        other => panic!("{other:?} is no direction"),
    };
    let (kind, flags) = match words.next() {
        Some("SYN") => (EventKind::Syn, "SYN"),
        Some("SYN-ACK") => (EventKind::SynAck, "SYN+ACK"),
        Some("ACK") => (EventKind::Ack, "ACK"),
        Some("DATA") => (EventKind::Data, "PSH+ACK"),
        Some("FIN") => (EventKind::Fin, "FIN+ACK"),
        Some("RST") => (EventKind::Rst, "RST"),
        other => panic!("{other:?} is no event"),
    };
    let mut event = Event {
        kind,
        sender,
        frame,
        at,
        flags: self::flags(flags),
        seq: 0,
        ack: 0,
        len_bytes: u32::try_from(payload.len()).unwrap(),
        win_bytes: 64_256,
        hop_limit: 64,
        mss_bytes: None,
        retransmission: false,
        probe: false,
        lost: false,
        coalesced: false,
        older: false,
        fast_open: false,
        foreign: false,
        multipath: Signals::default(),
        payload: payload.as_bytes().to_vec(),
    };
    for word in words {
        match word.split_once('=') {
            Some(("mss", bytes)) => event.mss_bytes = Some(bytes.parse().unwrap()),
            Some(("win", bytes)) => event.win_bytes = bytes.parse().unwrap(),
            Some(("ttl", hops)) => event.hop_limit = hops.parse().unwrap(),
            Some(("ack", number)) => event.ack = number.parse().unwrap(),
            Some(("flags", names)) => event.flags = self::flags(names),
            None if word == "again" => event.retransmission = true,
            None if word == "probe" => (event.retransmission, event.probe) = (true, true),
            None if word == "lost" => event.lost = true,
            None if word == "fast-open" => event.fast_open = true,
            None if word == "coalesced" => event.coalesced = true,
            _ => event.len_bytes = word.parse().unwrap(),
        }
    }
    event
}

fn flags(names: &str) -> TcpFlags {
    let flag = |name| match name {
        "SYN" => TcpFlags::SYN,
        "FIN" => TcpFlags::FIN,
        "RST" => TcpFlags::RST,
        "PSH" => TcpFlags::PSH,
        "ACK" => TcpFlags::ACK,
        other => panic!("{other} is no flag"),
    };
    TcpFlags(names.split('+').map(flag).fold(0, |set, flag| set | flag.0))
}
