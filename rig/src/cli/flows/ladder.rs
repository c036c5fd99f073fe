//! One flow, segment by segment, between its two ends.

use std::fmt::Write as _;
use std::io::Write;

use super::names::Names;
use crate::analysis::{
    Connection, Flow, Proto, RfcState, Sender, Step, SynOptions, TcpFlags, usual_hop_limit,
};
use crate::units::printable;
use crate::wire::Cookie;

/// Room of a side's column: the longest state is SYN-RECEIVED.
const SIDE: usize = 12;
/// Room between the sides, so that a row has less than 100 columns.
const MIDDLE: usize = 50;
/// Room before the sides: time, frame.
const BEFORE: usize = 19;
/// The longest remark that is shown, in characters.
const MAX_REMARK_CHARS: usize = 500;

/// Draws the flow: time, frame, state of the initiator, segment, state of the responder; options of
/// Multipath TCP, remarks and the capture's comments below each.
pub(super) fn draw(out: &mut impl Write, flow: &Flow, names: &Names) -> std::io::Result<()> {
    let (orig, resp) = (names.endpoint(flow.orig), names.endpoint(flow.resp));
    let (fate, history) = (flow.conn_state, &flow.history);
    let (number, proto) = (flow.number, flow.proto.name());
    writeln!(
        out,
        "{number}  {proto}  {orig} -> {resp}  {fate}  {history}"
    )?;
    writeln!(
        out,
        "      time  frame  {orig:<width$}{resp}",
        width = SIDE + MIDDLE
    )?;
    if let Some(connection) = flow.multipath.as_ref().and_then(|one| one.connection) {
        writeln!(out, "{}", of_connection(&connection))?;
    }
    let usual = [Sender::Initiator, Sender::Responder].map(|side| {
        let of_side = flow.steps.kept.iter().filter(|step| step.sender == side);
        usual_hop_limit(of_side.map(|step| step.hop_limit))
    });
    for step in &flow.steps.kept {
        let usual = usual[usize::from(step.sender == Sender::Responder)];
        let is_usual = usual == Some(step.hop_limit);
        draw_step(out, flow, step, is_usual)?;
    }
    match flow.steps.left_out {
        0 => Ok(()),
        1 => writeln!(out, "(1 more is not shown)"),
        more => writeln!(out, "({more} more are not shown)"),
    }
}

/// What became of the connection of Multipath TCP that the flow is a subflow of.
fn of_connection(connection: &Connection) -> String {
    let [orig, resp] = connection.sides.map(|side| side.bytes);
    let closer = connection
        .closed_by
        .map_or_else(String::new, |side| format!(", closed by the {side}"));
    let (fate, subflows) = (connection.fate.name(), connection.subflows);
    let indent = BEFORE;
    let of = if subflows == 1 { "subflow" } else { "subflows" };
    format!(
        "{:indent$}MPTCP connection of {subflows} {of}: {fate}{closer}, {orig} and {resp} bytes",
        ""
    )
}

fn draw_step(
    out: &mut impl Write,
    flow: &Flow,
    step: &Step,
    is_usual: bool,
) -> std::io::Result<()> {
    let seconds = step.at.since(flow.first).as_secs_f64();
    let [orig, resp] = step.states.map(|state| state.map_or("", RfcState::name));
    let mut said = said(flow, step);
    if !is_usual {
        let _ = write!(said, " ttl {}", step.hop_limit);
    }
    let arrow = arrow(step.sender, &said);
    let row = format!(
        "{seconds:>10.6} {:>6}  {orig:<SIDE$}{arrow}{resp}",
        step.frame
    );
    writeln!(out, "{}", row.trim_end())?;
    let marks = step.marks.names();
    let marks = (!marks.is_empty()).then(|| marks.join(", "));
    let multipath = (!step.multipath.is_empty()).then(|| step.multipath.join(", "));
    let comments = step.comments.iter().map(|comment| safe(comment));
    for remark in multipath.into_iter().chain(marks).chain(comments) {
        writeln!(out, "{:BEFORE$}{:SIDE$} {remark}", "", "")?;
    }
    Ok(())
}

/// What a segment says, as Wireshark's info column does.
fn said(flow: &Flow, step: &Step) -> String {
    if flow.proto == Proto::Udp {
        return format!("len {}", step.len_bytes);
    }
    let mut said = format!("[{}] {}", step.flags, step.seq);
    // Writing into a text cannot fail.
    if step.flags.has(TcpFlags::ACK) {
        let _ = write!(said, " ack {}", step.ack);
    }
    if step.len_bytes > 0 {
        let _ = write!(said, " len {}", step.len_bytes);
    }
    if let Some(syn) = step.syn {
        said.push_str(&options(syn));
    }
    match step.fast_open {
        Some(Cookie::Request) => said.push_str(" cookie?"),
        Some(Cookie::Given) => said.push_str(" cookie"),
        None => {}
    }
    said
}

fn options(syn: SynOptions) -> String {
    let mut said = String::new();
    if let Some(mss) = syn.mss_bytes {
        let _ = write!(said, " mss {mss}");
    }
    if let Some(shift) = syn.window_scale {
        let _ = write!(said, " ws {shift}");
    }
    if syn.sack_permitted {
        said.push_str(" sack");
    }
    if syn.timestamps {
        said.push_str(" ts");
    }
    said
}

/// The text on an arrow that fills the middle.
fn arrow(sender: Sender, said: &str) -> String {
    const LEAST_SHAFT: usize = 4;
    // Two spaces on each side of the arrow, its head, and one space on each side of the text.
    let shaft = MIDDLE
        .saturating_sub(said.chars().count() + 7)
        .max(LEAST_SHAFT);
    let tail = "-".repeat(2);
    let rest = "-".repeat(shaft - 2);
    match sender {
        Sender::Initiator => format!("  {tail} {said} {rest}>  "),
        Sender::Responder => format!("  <{rest} {said} {tail}  "),
    }
}

/// A comment in one line that no terminal acts upon.
fn safe(comment: &str) -> String {
    let line: String = comment.chars().take(MAX_REMARK_CHARS).collect();
    let line: Vec<_> = line.split_whitespace().collect();
    format!("# {}", printable(&line.join(" ")))
}
