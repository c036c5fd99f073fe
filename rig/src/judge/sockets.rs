//! Socket checks: the table of a node's host at a marked moment.

use std::fmt::Write as _;

use crate::agent::protocol::SocketRow;
use crate::plan::{Copies, Plan, SocketCheck, SocketPattern, SocketRows};

use super::finding::{Finding, listed};
use super::types::{Evidence, Verdict};

/// How many rows a detail shows.
const MAX_ROWS_SHOWN: usize = 6;

/// How many rows a pattern without `count` is about.
const AT_LEAST_ONE: Copies = Copies { min: 1, max: None };

/// Judges a socket check.
pub(super) fn judge(check: &SocketCheck, plan: &Plan, evidence: &Evidence) -> Finding {
    let node = &check.rows.node;
    let Some(host) = plan.node(node).map(|node| &node.host) else {
        return Finding::new(Verdict::Error, &format!("{node} is not part of the cell"));
    };
    let mark = &check.mark;
    let Some(table) = evidence.marks.get(mark).and_then(|hosts| hosts.get(host)) else {
        let detail = format!("the socket table of host {host} was not read at mark {mark}");
        return Finding::inconclusive(&detail);
    };
    match unfit(&check.rows, &table.sockets) {
        None => Finding::pass(),
        Some(why) => Finding::fail(&format!("sockets of {node} at {mark}: {why}")),
    }
}

/// How the socket table of a node's host differs from what it must show, if it does.
pub(crate) fn unfit(wanted: &SocketRows, table: &[SocketRow]) -> Option<String> {
    let of_node = |row: &&SocketRow| row.node.as_ref().is_none_or(|owner| *owner == wanted.node);
    let rows: Vec<_> = table.iter().filter(of_node).collect();
    let mut problems = Vec::new();
    let count = |pattern| rows.iter().filter(|row| fits(pattern, row)).count() as u64;
    for pattern in &wanted.has {
        let expected = pattern.count.unwrap_or(AT_LEAST_ONE);
        let found = count(pattern);
        if !expected.allow(found) {
            let shown = shown_pattern(pattern);
            problems.push(format!("rows {shown}: expected {expected}, found {found}"));
        }
    }
    for pattern in &wanted.lacks {
        let found = count(pattern);
        if pattern.count.unwrap_or(AT_LEAST_ONE).allow(found) {
            let not = pattern
                .count
                .map_or("none".to_owned(), |count| format!("not {count}"));
            let shown = shown_pattern(pattern);
            problems.push(format!("rows {shown}: expected {not}, found {found}"));
        }
    }
    if problems.is_empty() {
        return None;
    }
    let table = match rows.len() {
        0 => "the table is empty".to_owned(),
        _ => format!(
            "there are {}",
            listed(rows.iter().map(|row| shown_row(row)), MAX_ROWS_SHOWN)
        ),
    };
    Some(format!("{}; {table}", problems.join("; ")))
}

fn fits(pattern: &SocketPattern, row: &SocketRow) -> bool {
    pattern
        .proto
        .as_ref()
        .is_none_or(|proto| *proto == row.proto)
        && pattern
            .state
            .as_ref()
            .is_none_or(|state| *state == row.state)
        && pattern.port.is_none_or(|port| port == row.local.port())
        && pattern
            .remote_port
            .is_none_or(|port| port == row.remote.port())
        && pattern.recv_q.is_none_or(|bytes| bytes == row.recv_q)
        && pattern.send_q.is_none_or(|bytes| bytes == row.send_q)
        && pattern.timer.as_ref().is_none_or(|kind| {
            let timer = row.timer.as_ref();
            timer.is_some_and(|timer| timer.kind.name() == kind)
        })
        && pattern
            .retransmits
            .is_none_or(|count| count.allow(row.retransmits.into()))
        && pattern
            .owned
            .is_none_or(|owned| owned == row.node.is_some())
}

fn shown_pattern(pattern: &SocketPattern) -> String {
    let number = |name: &str, value: Option<u32>| value.map(|value| format!("{name} {value}"));
    let parts: Vec<_> = [
        pattern.proto.clone(),
        pattern.state.clone(),
        number("port", pattern.port.map(u32::from)),
        number("remote port", pattern.remote_port.map(u32::from)),
        number("recv-q", pattern.recv_q),
        number("send-q", pattern.send_q),
        pattern.timer.as_ref().map(|kind| format!("timer {kind}")),
        pattern
            .retransmits
            .map(|count| format!("retransmits {count}")),
        pattern
            .owned
            .map(|owned| if owned { "of a program" } else { "of nobody" }.to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        "of any kind".to_owned()
    } else {
        format!("`{}`", parts.join(" "))
    }
}

fn shown_row(row: &SocketRow) -> String {
    let mut shown = format!(
        "{} {} {} - {} recv-q {} send-q {}",
        row.proto, row.state, row.local, row.remote, row.recv_q, row.send_q
    );
    // Writing to a text does not fail.
    if let Some(timer) = &row.timer {
        let (kind, left) = (timer.kind.name(), timer.expires_ms);
        write!(shown, " timer {kind} {left}ms").ok();
    }
    if row.retransmits > 0 {
        write!(shown, " retransmits {}", row.retransmits).ok();
    }
    shown
}
