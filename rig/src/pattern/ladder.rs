//! A flow segment by segment: beside a pattern, or with notes on what is wrong.

use std::fmt::Write as _;

use crate::analysis::{Event, EventKind, Sender, usual_hop_limit};

use super::item::{shown_bytes, shown_payload};
use super::property::Property;

/// Events shown from the beginning of the flow.
const HEAD_ROWS: usize = 6;
/// Events shown before the place where flow and pattern part, or the first one with a note.
const ROWS_BEFORE: usize = 14;
/// Events shown after it.
const ROWS_AFTER: usize = 5;
/// Events shown before and after each further one with a note.
const ROWS_BESIDE: usize = 2;
/// The most events with a note that are shown.
const MAX_NOTED: usize = 8;
/// The columns before the name of an event.
const BEFORE_EVENT: usize = 21;

/// Draws the events, `taken` beside those before `at`, and `expected` beside the one at `at` (the
/// end of the flow when there is none). Payload is shown where texts of at most so many bytes were asked for.
pub(super) fn draw(
    events: &[Event],
    taken: &[Option<String>],
    at: usize,
    expected: &[String],
    longest_asked: Option<usize>,
) -> String {
    let wanted = format!("expected {}", expected.join(" or "));
    let beside = |index: usize| match taken.get(index) {
        Some(item) => (false, item.clone().unwrap_or_default()),
        None if index == at => (true, wanted.clone()),
        None => (false, String::new()),
    };
    let title = "      time   frame  flow                               pattern\n";
    rows(title, events, &[at], longest_asked, beside)
}

/// Draws the events with notes beside some of them; one behind the last stands for the end of the flow. Payload is shown
/// where texts of at most so many bytes were asked for.
#[must_use]
pub fn draw_flow(
    events: &[Event],
    notes: &[(usize, String)],
    longest_asked: Option<usize>,
) -> String {
    let mut at: Vec<usize> = notes.iter().map(|(index, _)| *index).collect();
    at.sort_unstable();
    at.dedup();
    at.truncate(MAX_NOTED);
    let beside = |index: usize| {
        let of_event = notes.iter().filter(|(noted, _)| *noted == index);
        let texts: Vec<_> = of_event.map(|(_, text)| text.as_str()).collect();
        (!texts.is_empty(), texts.join("; "))
    };
    rows(
        "      time   frame  flow\n",
        events,
        &at,
        longest_asked,
        beside,
    )
}

/// Draws rows for the beginning of the flow and around the places `at`, which are in order.
fn rows(
    title: &str,
    events: &[Event],
    at: &[usize],
    longest_asked: Option<usize>,
    beside: impl Fn(usize) -> (bool, String),
) -> String {
    let mut out = String::from(title);
    let hop_limits = [Sender::Initiator, Sender::Responder].map(|side| {
        let of_side = events.iter().filter(|event| event.sender == side);
        usual_hop_limit(of_side.map(|event| event.hop_limit))
    });
    let is_near = |index: usize| {
        at.iter().enumerate().any(|(number, &place)| {
            let (before, after) = match number {
                0 => (ROWS_BEFORE, ROWS_AFTER),
                _ => (ROWS_BESIDE, ROWS_BESIDE),
            };
            (place.saturating_sub(before)..=place + after).contains(&index)
        })
    };
    let mut hidden = 0;
    for (index, event) in events.iter().enumerate() {
        if index >= HEAD_ROWS && !is_near(index) {
            hidden += 1;
            continue;
        }
        write_hidden(&mut out, &mut hidden);
        let (here, note) = beside(index);
        let usual = hop_limits[usize::from(event.sender == Sender::Responder)];
        let ttl = usual.filter(|usual| *usual != event.hop_limit);
        write_row(&mut out, &events[0], event, here, ttl.is_some(), &note);
        if let Some(most) = longest_asked
            && event.kind == EventKind::Data
        {
            let payload = shown_payload(event, shown_bytes(most));
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{:BEFORE_EVENT$}{payload}", "");
        }
    }
    write_hidden(&mut out, &mut hidden);
    let (ends_here, note) = beside(events.len());
    if ends_here {
        let row = format!("x {:16}  {:34} {note}", "", "(the flow ends)");
        out.push_str(&row);
        out.push('\n');
    }
    out
}

fn write_hidden(out: &mut String, hidden: &mut usize) {
    if *hidden > 0 {
        let events = if *hidden == 1 { "event" } else { "events" };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {:16}  ({hidden} {events} not shown)", "");
        *hidden = 0;
    }
}

fn write_row(
    out: &mut String,
    first: &Event,
    event: &Event,
    here: bool,
    shows_ttl: bool,
    beside: &str,
) {
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
    if shows_ttl {
        let _ = write!(notes, " ttl {}", event.hop_limit);
    }
    let row = format!(
        "{mark} {seconds:>10.6} {:>5}  {arrow} {:<8}{len:>6} {notes:<17} {beside}",
        event.frame, event.kind
    );
    out.push_str(row.trim_end());
    out.push('\n');
}
