//! `rig flows`: the connections of a capture.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufWriter, ErrorKind, IsTerminal as _, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::args::FlowsArgs;
use super::exit::Exit;
use crate::analysis::{Analyzer, ConnState, Flow, IcmpErrors, Options, Proto, Sender};
use crate::pcapng::Reader;
use crate::units::{Timestamp, printable, show_duration};
use crate::wire::Tunnels;

/// Beyond this many flows a terminal gets plain columns too: nobody reads a drawn table of that
/// length, and laying it out takes long.
const MAX_ROWS_DRAWN: usize = 1000;

const HEADINGS: [&str; 11] = [
    "start",
    "proto",
    "initiator",
    "responder",
    "state",
    "history",
    "bytes > <",
    "packets > <",
    "duration",
    "closed by",
    "remarks",
];

pub(super) fn main(args: &FlowsArgs) -> Exit {
    let shown = match args.capture.to_string_lossy() {
        name if name == STDIN => "stdin".to_owned(),
        name => printable(&name),
    };
    let complain = |what: &str| {
        // Nothing is left to do where stderr itself is gone.
        let _ = writeln!(std::io::stderr(), "rig flows: {shown}: {what}");
    };
    let mut reader = match open(&args.capture).map(Reader::new) {
        Ok(Ok(reader)) => reader,
        Ok(Err(error)) => {
            complain(&error.to_string());
            return Exit::Input;
        }
        Err(error) => {
            complain(&format!("open the capture: {error}"));
            return Exit::Input;
        }
    };
    let mut analyzer = Analyzer::new(Options::default());
    let passed_over = analyzer.read(&mut reader);
    let names = Names::of(&reader);
    let stdout = std::io::stdout();
    let terminal = stdout.is_terminal();
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, stdout.lock());
    let written = if args.json {
        write_json(&mut out, analyzer, &names)
    } else {
        write_table(&mut out, analyzer, &names, terminal)
    };
    match written.and_then(|()| out.flush()) {
        Ok(()) => {}
        // Whoever reads it has seen enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Exit::Passed,
        Err(error) => {
            complain(&format!("write the flows: {error}"));
            return Exit::Machine;
        }
    }
    if passed_over.is_worth_telling() {
        complain(&format!("packets that are in no flow: {passed_over}"));
    }
    match reader.stop() {
        Some(stop) => {
            complain(&stop.to_string());
            Exit::Input
        }
        None => Exit::Passed,
    }
}

/// The name that stands for standard input.
const STDIN: &str = "-";

/// Bytes handed to stdout at once.
const OUTPUT_BYTES: usize = 64 * 1024;

fn open(path: &Path) -> std::io::Result<Box<dyn Read>> {
    if path.as_os_str() == STDIN {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    Ok(Box::new(std::fs::File::open(path)?))
}

/// Names of addresses as the capture gives them, safe to print.
struct Names(HashMap<IpAddr, String>);

impl Names {
    fn of<R: Read>(reader: &Reader<R>) -> Self {
        let mut names = HashMap::new();
        for (address, name) in reader.names() {
            // The first name counts, as in Wireshark.
            names.entry(*address).or_insert_with(|| printable(name));
        }
        Self(names)
    }

    fn name(&self, address: IpAddr) -> Option<&str> {
        self.0.get(&address).map(String::as_str)
    }

    fn endpoint(&self, endpoint: SocketAddr) -> String {
        match self.name(endpoint.ip()) {
            Some(name) => format!("{name}:{}", endpoint.port()),
            None => endpoint.to_string(),
        }
    }
}

/// A flow by `conn.log`'s field names; those below `resp_ip_bytes` are not Zeek's.
#[derive(Serialize)]
struct ConnLog<'a> {
    ts: f64,
    uid: String,
    #[serde(rename = "id.orig_h")]
    orig_h: IpAddr,
    #[serde(rename = "id.orig_p")]
    orig_p: u16,
    #[serde(rename = "id.resp_h")]
    resp_h: IpAddr,
    #[serde(rename = "id.resp_p")]
    resp_p: u16,
    proto: Proto,
    duration: f64,
    orig_bytes: u64,
    resp_bytes: u64,
    conn_state: ConnState,
    missed_bytes: u64,
    history: &'a str,
    orig_pkts: u64,
    orig_ip_bytes: u64,
    resp_pkts: u64,
    resp_ip_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    orig_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resp_name: Option<&'a str>,
    closed_by: Option<Sender>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completeness: Option<u8>,
    orig_retransmissions: u64,
    resp_retransmissions: u64,
    #[serde(skip_serializing_if = "is_zero")]
    checksum_errors: u64,
    #[serde(skip_serializing_if = "Tunnels::is_empty")]
    tunnel: Tunnels,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    icmp_errors: &'a [IcmpErrors],
    first_frame: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape that serde asks for"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn write_json(out: &mut impl Write, analyzer: Analyzer, names: &Names) -> std::io::Result<()> {
    for flow in analyzer.into_flows() {
        let (orig, resp) = (&flow.orig_side, &flow.resp_side);
        let line = ConnLog {
            ts: flow.first.as_secs_f64(),
            uid: uid(&flow),
            orig_h: flow.orig.ip(),
            orig_p: flow.orig.port(),
            resp_h: flow.resp.ip(),
            resp_p: flow.resp.port(),
            proto: flow.proto,
            duration: flow.duration().as_secs_f64(),
            orig_bytes: orig.bytes,
            resp_bytes: resp.bytes,
            conn_state: flow.conn_state,
            missed_bytes: orig.missed_bytes + resp.missed_bytes,
            history: &flow.history,
            orig_pkts: orig.pkts,
            orig_ip_bytes: orig.ip_bytes,
            resp_pkts: resp.pkts,
            resp_ip_bytes: resp.ip_bytes,
            orig_name: names.name(flow.orig.ip()),
            resp_name: names.name(flow.resp.ip()),
            closed_by: flow.closed_by,
            completeness: (flow.proto == Proto::Tcp).then_some(flow.completeness),
            orig_retransmissions: orig.retransmissions,
            resp_retransmissions: resp.retransmissions,
            checksum_errors: orig.checksum_errors + resp.checksum_errors,
            tunnel: flow.tunnels,
            icmp_errors: &flow.icmp_errors,
            first_frame: flow.first_frame,
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// An identifier in the form of Zeek's, derived from the flow, so that the same capture gives the
/// same ones each time.
fn uid(flow: &Flow) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const LETTERS: usize = 17;
    // FNV-1a of 128 bits: identifiers need not resist anybody, only differ.
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash = OFFSET;
    let mut eat = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    };
    eat(&[flow.proto as u8]);
    for endpoint in [flow.orig, flow.resp] {
        match endpoint.ip() {
            IpAddr::V4(v4) => eat(&v4.octets()),
            IpAddr::V6(v6) => eat(&v6.octets()),
        }
        eat(&endpoint.port().to_be_bytes());
    }
    eat(&flow.first.0.to_be_bytes());
    eat(&flow.first_frame.to_be_bytes());
    let mut uid = String::with_capacity(1 + LETTERS);
    uid.push('C');
    for _ in 0..LETTERS {
        let digit = usize::try_from(hash % 62).unwrap_or_default();
        uid.push(char::from(ALPHABET[digit]));
        hash /= 62;
    }
    uid
}

fn write_table(
    out: &mut impl Write,
    analyzer: Analyzer,
    names: &Names,
    terminal: bool,
) -> std::io::Result<()> {
    let mut columns = Columns::new();
    let mut rows = 0;
    for flow in analyzer.into_flows() {
        columns.push(&row(&flow, names));
        rows += 1;
    }
    if terminal && rows <= MAX_ROWS_DRAWN {
        columns.draw(out)
    } else {
        columns.write(out)
    }
}

fn row(flow: &Flow, names: &Names) -> [String; HEADINGS.len()] {
    let (orig, resp) = (&flow.orig_side, &flow.resp_side);
    let proto = match flow.proto {
        Proto::Tcp => "tcp",
        Proto::Udp => "udp",
    };
    let closer = flow.closed_by.map(|side| side.to_string());
    [
        utc(flow.first),
        proto.to_owned(),
        names.endpoint(flow.orig),
        names.endpoint(flow.resp),
        flow.conn_state.to_string(),
        flow.history.clone(),
        format!("{} {}", orig.bytes, resp.bytes),
        format!("{} {}", orig.pkts, resp.pkts),
        show_duration(flow.duration()),
        closer.unwrap_or_else(|| "-".to_owned()),
        remarks(flow),
    ]
}

/// What is rarely to be said of a flow; empty for most.
fn remarks(flow: &Flow) -> String {
    let mut remarks = Vec::new();
    if !flow.tunnels.is_empty() {
        remarks.push(format!("in {}", flow.tunnels));
    }
    for error in &flow.icmp_errors {
        remarks.push(format!("{} x{}", error.name, error.count));
    }
    let wrong = flow.orig_side.checksum_errors + flow.resp_side.checksum_errors;
    if wrong > 0 {
        remarks.push(format!("wrong checksum x{wrong}"));
    }
    remarks.join(", ")
}

/// Rows of text with the room that each column needs. All cells stand in one text, since captures
/// may hold hundreds of thousands of flows.
struct Columns {
    text: String,
    ends: Vec<usize>,
    widths: [usize; HEADINGS.len()],
}

impl Columns {
    fn new() -> Self {
        let mut columns = Self {
            text: String::new(),
            ends: Vec::new(),
            widths: [0; HEADINGS.len()],
        };
        columns.push(&HEADINGS.map(str::to_owned));
        columns
    }

    fn push(&mut self, row: &[String; HEADINGS.len()]) {
        for (cell, width) in row.iter().zip(&mut self.widths) {
            self.text.push_str(cell);
            self.ends.push(self.text.len());
            *width = (*width).max(cell.chars().count());
        }
    }

    /// The rows, headings first.
    fn rows(&self) -> impl Iterator<Item = [&str; HEADINGS.len()]> {
        let mut start = 0;
        self.ends.chunks_exact(HEADINGS.len()).map(move |ends| {
            std::array::from_fn(|column| {
                let cell = &self.text[start..ends[column]];
                start = ends[column];
                cell
            })
        })
    }

    /// Aligned by spaces, for pipes and files.
    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        let mut line = String::new();
        for row in self.rows() {
            line.clear();
            for (cell, width) in row.iter().zip(self.widths) {
                // Writing into a text cannot fail.
                let _ = write!(line, "{cell:width$}  ");
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// As a table that fits the terminal.
    fn draw(&self, out: &mut impl Write) -> std::io::Result<()> {
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_HORIZONTAL_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic);
        let mut rows = self.rows();
        if let Some(headings) = rows.next() {
            table.set_header(headings);
        }
        table.add_rows(rows);
        writeln!(out, "{table}")
    }
}

/// A moment in UTC with microseconds, by the calendar of ISO 8601.
fn utc(at: Timestamp) -> String {
    const DAY_S: u64 = 86_400;
    let (seconds, ns) = (at.0 / 1_000_000_000, at.0 % 1_000_000_000);
    let (year, month, day) = date(seconds / DAY_S);
    let (hour, minute, second) = (seconds % DAY_S / 3600, seconds % 3600 / 60, seconds % 60);
    let us = ns / 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z")
}

/// Year, month and day of a day counted from 1 January 1970.
fn date(mut day: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    // A timestamp ends in the year 2554, which bounds the loop.
    loop {
        let days = if leap(year) { 366 } else { 365 };
        if day < days {
            break;
        }
        day -= days;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for days in months {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    (year, month, day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_by_the_calendar() {
        for (ns, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_001_000, "2000-02-29T00:00:00.000001Z"),
            (1_735_689_599_999_999_999, "2024-12-31T23:59:59.999999Z"),
            (1_735_689_600_000_000_000, "2025-01-01T00:00:00.000000Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551Z"),
        ] {
            assert_eq!(utc(Timestamp(ns)), expected);
        }
    }
}
