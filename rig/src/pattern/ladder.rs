//! A flow and a pattern side by side.

use std::fmt::Write as _;

use crate::analysis::{Event, EventKind};

use super::property::Property;

/// Events shown from the beginning of the flow.
const HEAD_ROWS: usize = 6;
/// Events shown before the place where flow and pattern part.
const ROWS_BEFORE: usize = 14;
/// Events shown after it.
const ROWS_AFTER: usize = 5;

/// Draws the events, `taken` beside those before `at`, and `expected` beside the one at `at` (the
/// end of the flow when there is none).
pub(super) fn draw(
    events: &[Event],
    taken: &[Option<String>],
    at: usize,
    expected: &[String],
) -> String {
    let mut out = String::from("      time   frame  flow                               pattern\n");
    let near = at.saturating_sub(ROWS_BEFORE);
    let last = events.len().min(at + 1 + ROWS_AFTER);
    let mut hidden = 0;
    for (index, event) in events[..last].iter().enumerate() {
        if index >= HEAD_ROWS && index < near {
            hidden += 1;
            continue;
        }
        write_hidden(&mut out, &mut hidden);
        let beside = match taken.get(index) {
            Some(item) => item.clone().unwrap_or_default(),
            None if index == at => wanted(expected),
            None => String::new(),
        };
        write_row(&mut out, &events[0], event, index == at, &beside);
    }
    hidden = events.len() - last;
    write_hidden(&mut out, &mut hidden);
    if at == events.len() {
        let row = format!("x {:16}  {:34} {}", "", "(the flow ends)", wanted(expected));
        out.push_str(&row);
        out.push('\n');
    }
    out
}

fn wanted(expected: &[String]) -> String {
    format!("expected {}", expected.join(" or "))
}

fn write_hidden(out: &mut String, hidden: &mut usize) {
    if *hidden > 0 {
        let events = if *hidden == 1 { "event" } else { "events" };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {:16}  ({hidden} {events} not shown)", "");
        *hidden = 0;
    }
}

fn write_row(out: &mut String, first: &Event, event: &Event, here: bool, beside: &str) {
    let mark = if here { 'x' } else { ' ' };
    let seconds = event.at.since(first.at).as_secs_f64();
    let arrow = event.sender.arrow();
    let len = match event.kind {
        EventKind::Data => event.len_bytes.to_string(),
        _ => String::new(),
    };
    let mut notes = format!("[{}]", event.flags);
    for property in Property::shown(event) {
        let note = match property {
            // How a program wrote it is nothing of the wire.
            Property::Coalesced => continue,
            Property::Retransmission => "again",
            Property::FastOpen => "fast open",
            _ => property.name(),
        };
        notes.push(' ');
        notes.push_str(note);
    }
    let row = format!(
        "{mark} {seconds:>10.6} {:>5}  {arrow} {:<8}{len:>6} {notes:<17} {beside}",
        event.frame, event.kind
    );
    out.push_str(row.trim_end());
    out.push('\n');
}
