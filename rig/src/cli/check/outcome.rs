//! What comes of the checks, and how it is written.

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;

use serde::Serialize;

use super::super::exit::Exit;
use super::capture::Capture;
use super::ends::Selector;
use super::request::Request;
use crate::analysis::{ConnState, Flow, Proto, Sender};
use crate::judge::{CheckReport, FlowNames, FlowRules, Verdict};
use crate::units::printable;

/// How many connections a line names when none is found.
const MAX_FLOWS_SHOWN: usize = 5;
/// How many frames a line of text names.
const MAX_FRAMES_SHOWN: usize = 12;

/// Everything that was found, in the order of the selectors and of the flows.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    lines: Vec<Line>,
}

/// The result for one connection, or for a selector as a whole.
#[derive(Debug, Serialize)]
struct Line {
    /// The selector as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<String>,
    /// The check of a matrix file.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<String>,
    /// Where it stands in the file of checks, counted from 1.
    #[serde(rename = "line", skip_serializing_if = "Option::is_none")]
    stands_in: Option<u32>,
    verdict: Verdict,
    #[serde(flatten)]
    connection: Option<Connection>,
    /// What does not hold.
    problems: Vec<String>,
    /// The flow with what is wrong; beside the pattern where they part.
    #[serde(skip_serializing_if = "Option::is_none")]
    ladder: Option<String>,
    /// Frames on which the result rests.
    frames: Vec<u64>,
}

/// A connection, under the field names of Zeek's conn.log.
#[derive(Debug, Serialize)]
struct Connection {
    #[serde(rename = "id.orig_h")]
    orig_address: IpAddr,
    #[serde(rename = "id.orig_p")]
    orig_port: u16,
    #[serde(rename = "id.resp_h")]
    resp_address: IpAddr,
    #[serde(rename = "id.resp_p")]
    resp_port: u16,
    proto: Proto,
    conn_state: ConnState,
    history: String,
    /// `frame.number` of its first packet.
    first_frame: u64,
    /// Its ends with their names.
    #[serde(skip)]
    shown: String,
}

/// Holds the flows of a capture against a request.
pub(super) fn check(request: &Request, selectors: &[Selector], capture: &Capture) -> Outcome {
    let mut lines = Vec::new();
    for selector in selectors {
        let flows: Vec<_> = capture
            .flows
            .iter()
            .filter(|flow| selector.means(flow))
            .collect();
        if !request.count.allow(flows.len() as u64) {
            lines.push(wrong_count(request, selector, flows.len(), capture));
        }
        let chosen = match request.nth {
            None => &flows[..],
            Some(nth) => flows.get(nth - 1..nth).unwrap_or_default(),
        };
        let judged = chosen
            .iter()
            .map(|flow| judge(request, selector, flow, capture));
        lines.extend(judged);
    }
    let mut outcome = Outcome { lines };
    outcome.doubt_if_cut(capture);
    outcome
}

fn judge(request: &Request, selector: &Selector, flow: &Flow, capture: &Capture) -> Line {
    let rules = FlowRules {
        fate: &request.fate,
        closed_by: request.closed_by,
        pattern: request.pattern.as_ref(),
        never: &request.never,
    };
    let name = |side| capture.name_of(flow.endpoint(side).ip());
    let names = FlowNames {
        initiator: name(Sender::Initiator).unwrap_or("initiator").to_owned(),
        responder: name(Sender::Responder).unwrap_or("responder").to_owned(),
    };
    let outcome = rules.check(flow, &names);
    let mut frames = outcome.frames;
    frames.sort_unstable();
    frames.dedup();
    Line {
        flow: Some(selector.text.clone()),
        check: None,
        stands_in: request.line,
        verdict: if outcome.problems.is_empty() {
            Verdict::Pass
        } else {
            Verdict::Fail
        },
        connection: Some(Connection {
            orig_address: flow.orig.ip(),
            orig_port: flow.orig.port(),
            resp_address: flow.resp.ip(),
            resp_port: flow.resp.port(),
            proto: flow.proto,
            conn_state: flow.conn_state,
            history: flow.history.clone(),
            first_frame: flow.first_frame,
            shown: shown(flow, capture),
        }),
        problems: outcome.problems,
        ladder: outcome.ladder,
        frames,
    }
}

/// There are too few or too many connections.
fn wrong_count(request: &Request, selector: &Selector, found: usize, capture: &Capture) -> Line {
    let mut problem = format!("connections: expected {}, found {found}", request.count);
    if found == 0 {
        let all = &capture.flows;
        let mut parts: Vec<_> = all
            .iter()
            .take(MAX_FLOWS_SHOWN)
            .map(|flow| shown(flow, capture))
            .collect();
        if all.len() > MAX_FLOWS_SHOWN {
            parts.push(format!("{} more", all.len() - MAX_FLOWS_SHOWN));
        }
        problem.push_str("; the capture has ");
        problem.push_str(&parts.join(", "));
        if all.is_empty() {
            problem.push_str("none at all");
        }
    }
    Line {
        flow: Some(selector.text.clone()),
        check: None,
        stands_in: request.line,
        verdict: Verdict::Fail,
        connection: None,
        problems: vec![problem],
        ladder: None,
        frames: Vec::new(),
    }
}

/// `alice 10.0.0.11:40000 -> 10.0.0.10:15102`.
fn shown(flow: &Flow, capture: &Capture) -> String {
    let end = |side| {
        let endpoint = flow.endpoint(side);
        match capture.name_of(endpoint.ip()) {
            Some(name) => format!("{name} {endpoint}"),
            None => endpoint.to_string(),
        }
    };
    format!("{} -> {}", end(Sender::Initiator), end(Sender::Responder))
}

impl Outcome {
    /// What judging the checks of a matrix gave.
    pub(super) fn of_reports(reports: Vec<CheckReport>, capture: &Capture) -> Self {
        let lines = reports.into_iter().map(|report| Line {
            flow: None,
            check: Some(report.check),
            stands_in: Some(report.place.line),
            verdict: report.verdict,
            connection: None,
            problems: Some(report.detail)
                .filter(|detail| !detail.is_empty())
                .into_iter()
                .collect(),
            ladder: report.ladder,
            frames: report.frames,
        });
        let mut outcome = Self {
            lines: lines.collect(),
        };
        outcome.doubt_if_cut(capture);
        outcome
    }

    /// Both together.
    pub(super) fn extend(&mut self, other: Self) {
        self.lines.extend(other.lines);
    }

    /// What was not read, or counts for nothing, might have changed any result: further packets of a connection,
    /// further connections.
    fn doubt_if_cut(&mut self, capture: &Capture) {
        let judged = |line: &&mut Line| line.verdict != Verdict::Skipped;
        if capture.stop.is_some() || capture.dropped > 0 || capture.doubted {
            for line in self.lines.iter_mut().filter(judged) {
                line.verdict = Verdict::Inconclusive;
            }
        }
    }

    /// Nothing fails, and the evidence as a whole is not complete.
    pub(super) fn doubt(&mut self, why: &str) {
        self.lines.push(Line {
            flow: None,
            check: Some("the captures are complete".to_owned()),
            stands_in: None,
            verdict: Verdict::Inconclusive,
            connection: None,
            problems: vec![why.to_owned()],
            ladder: None,
            frames: Vec::new(),
        });
    }

    /// One JSON object a line.
    pub(super) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        for line in &self.lines {
            serde_json::to_writer(&mut *out, line)?;
            writeln!(out)?;
        }
        Ok(())
    }

    /// A line a result, with what does not hold below it, and a sum at the end.
    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        for line in &self.lines {
            write!(out, "{line}")?;
        }
        let count = |verdict| {
            self.lines
                .iter()
                .filter(|line| line.verdict == verdict)
                .count()
        };
        let words = [
            Verdict::Pass,
            Verdict::Skipped,
            Verdict::Inconclusive,
            Verdict::Fail,
            Verdict::Error,
        ];
        let parts: Vec<_> = words
            .into_iter()
            .map(|verdict| (count(verdict), verdict.word()))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        if parts.is_empty() {
            return writeln!(out, "no connections, as expected");
        }
        writeln!(out, "{}", parts.join(", "))
    }

    pub(super) fn exit(&self) -> Exit {
        match self.lines.iter().map(|line| line.verdict).max() {
            Some(Verdict::Fail | Verdict::Error) => Exit::Failed,
            Some(Verdict::Inconclusive) => Exit::Inconclusive,
            // Nothing was judged, so nothing is known.
            Some(Verdict::Skipped) if self.lines.iter().all(is_skipped) => Exit::Inconclusive,
            _ => Exit::Passed,
        }
    }
}

fn is_skipped(line: &Line) -> bool {
    line.verdict == Verdict::Skipped
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.verdict.word();
        match &self.connection {
            None => {
                let subject = self.check.as_ref().or(self.flow.as_ref());
                let subject = subject.map_or("", String::as_str);
                write!(f, "{word:<13} {}", printable(subject))?;
                if let Some(line) = self.stands_in.filter(|_| self.check.is_some()) {
                    write!(f, "  (line {line})")?;
                }
            }
            Some(connection) => {
                let (shown, fate) = (printable(&connection.shown), connection.conn_state);
                write!(f, "{word:<13} {shown}  {fate}")?;
                let frames = self.frames.iter().take(MAX_FRAMES_SHOWN);
                let frames: Vec<_> = frames.map(u64::to_string).collect();
                let more = if self.frames.len() > MAX_FRAMES_SHOWN {
                    " …"
                } else {
                    ""
                };
                let noun = if frames.len() == 1 { "frame" } else { "frames" };
                write!(f, "  {noun} {}{more}", frames.join(" "))?;
            }
        }
        writeln!(f)?;
        for problem in &self.problems {
            writeln!(f, "    {}", printable(problem))?;
        }
        for row in self.ladder.iter().flat_map(|ladder| ladder.lines()) {
            writeln!(f, "    {row}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Side, Steps};
    use crate::pattern::Pattern;
    use crate::pattern::testing::events;
    use crate::spec::Copies;

    fn capture() -> Capture {
        let flow = |port: u16, first_frame, text: &str, conn_state| {
            let mut events = events(text);
            for event in &mut events {
                event.frame += first_frame - 1;
            }
            Flow {
                proto: Proto::Tcp,
                orig: format!("10.0.0.11:{port}").parse().unwrap(),
                resp: "10.0.0.10:15102".parse().unwrap(),
                first: events[0].at,
                last: events[events.len() - 1].at,
                number: 1,
                first_frame,
                orig_side: Side::default(),
                resp_side: Side::default(),
                conn_state,
                history: "Sh".to_owned(),
                closed_by: None,
                opened_by: None,
                fast_open: None,
                reset: None,
                ended: None,
                completeness: 0,
                tunnels: crate::wire::Tunnels::default(),
                multipath: None,
                icmp_errors: Vec::new(),
                events,
                steps: Steps::default(),
                states: Vec::new(),
            }
        };
        let orderly = "> SYN; < SYN-ACK; > ACK; > DATA 4; < FIN; > FIN";
        Capture {
            flows: vec![
                flow(40000, 1, orderly, ConnState::SF),
                flow(40001, 7, "> SYN; < RST", ConnState::REJ),
            ],
            names: vec![("10.0.0.11".parse().unwrap(), "alice".to_owned())],
            cell: None,
            stop: None,
            dropped: 0,
            doubted: false,
            notes: Vec::new(),
        }
    }

    fn request(pattern: &str, count: Copies) -> Request {
        Request {
            pattern: (!pattern.is_empty()).then(|| Pattern::parse(pattern).unwrap()),
            fate: vec![ConnState::SF],
            count,
            ..Request::any()
        }
    }

    fn written(request: &Request, flow: &str, capture: &Capture) -> (String, String, Exit) {
        let selector = Selector::read(flow, &capture.names).unwrap();
        let outcome = check(request, &[selector], capture);
        let (mut text, mut json) = (Vec::new(), Vec::new());
        outcome.write_text(&mut text).unwrap();
        outcome.write_json(&mut json).unwrap();
        let utf8 = |bytes| String::from_utf8(bytes).unwrap();
        (utf8(text), utf8(json), outcome.exit())
    }

    #[test]
    fn each_connection_is_a_line() {
        let request = request("> SYN < SYN-ACK ... < FIN > FIN", Copies::SOME);
        let (text, json, exit) = written(&request, "alice -> :15102", &capture());
        assert_eq!(exit, Exit::Failed);
        insta::assert_snapshot!(text, @r"
        pass          alice 10.0.0.11:40000 -> 10.0.0.10:15102  SF  frames 1 2 5 6
        fail          alice 10.0.0.11:40001 -> 10.0.0.10:15102  REJ  frame 8
            fate is REJ (history Sh), expected SF
            pattern: expected `< SYN-ACK`, came `< RST` (frame 8): the connection was refused
                  time   frame  flow                               pattern
                0.000000     7  > SYN            [SYN]             > SYN
            x   0.001000     8  < RST            [RST]             expected < SYN-ACK
        1 pass, 1 fail
        ");
        insta::assert_snapshot!(json, @r##"
        {"flow":"alice -> :15102","verdict":"pass","id.orig_h":"10.0.0.11","id.orig_p":40000,"id.resp_h":"10.0.0.10","id.resp_p":15102,"proto":"tcp","conn_state":"SF","history":"Sh","first_frame":1,"problems":[],"frames":[1,2,5,6]}
        {"flow":"alice -> :15102","verdict":"fail","id.orig_h":"10.0.0.11","id.orig_p":40001,"id.resp_h":"10.0.0.10","id.resp_p":15102,"proto":"tcp","conn_state":"REJ","history":"Sh","first_frame":7,"problems":["fate is REJ (history Sh), expected SF","pattern: expected `< SYN-ACK`, came `< RST` (frame 8): the connection was refused"],"ladder":"      time   frame  flow                               pattern\n    0.000000     7  > SYN            [SYN]             > SYN\nx   0.001000     8  < RST            [RST]             expected < SYN-ACK\n","frames":[8]}
        "##);
    }

    #[test]
    fn a_wrong_count_names_the_connections_there_are() {
        let (text, json, exit) = written(&request("", Copies::SOME), "* -> 99", &capture());
        assert_eq!(exit, Exit::Failed);
        insta::assert_snapshot!(text, @r"
        fail          * -> 99
            connections: expected 1 or more, found 0; the capture has alice 10.0.0.11:40000 -> 10.0.0.10:15102, alice 10.0.0.11:40001 -> 10.0.0.10:15102
        1 fail
        ");
        insta::assert_snapshot!(json, @r##"{"flow":"* -> 99","verdict":"fail","problems":["connections: expected 1 or more, found 0; the capture has alice 10.0.0.11:40000 -> 10.0.0.10:15102, alice 10.0.0.11:40001 -> 10.0.0.10:15102"],"frames":[]}"##);
        let none = Copies {
            min: 0,
            max: Some(0),
        };
        let (text, _, exit) = written(&request("", none), "* -> 99", &capture());
        assert_eq!(
            (text.as_str(), exit),
            ("no connections, as expected\n", Exit::Passed)
        );
    }

    #[test]
    fn a_capture_that_stops_early_decides_nothing() {
        let capture = Capture {
            stop: Some("reading stopped".to_owned()),
            ..capture()
        };
        for flow in ["* -> *", "* -> 99"] {
            let (_, _, exit) = written(&request("", Copies::SOME), flow, &capture);
            assert_eq!(exit, Exit::Inconclusive, "{flow}");
        }
    }
}
