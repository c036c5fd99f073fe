//! What the lines of a proposed pattern say beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::walk::{Mark, Slot};
use crate::analysis::{Closer, Event, EventKind, Flow, Sender};
use crate::pattern::{Library, Pattern};
use crate::units::show_duration;

/// The longest payload that a comment or a condition shows, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 64;

/// `3`, or `1 to 5`.
pub(super) fn range(least: usize, most: usize) -> String {
    if least == most {
        least.to_string()
    } else {
        format!("{least} to {most}")
    }
}

/// Lowest and highest.
fn bounds(values: impl Iterator<Item = usize>) -> (usize, usize) {
    values.fold((usize::MAX, 0), |(least, most), value| {
        (least.min(value), most.max(value))
    })
}

/// The lines above the pattern.
pub(super) fn head(flows: &[&Flow], captures: usize) -> Vec<String> {
    let connections = counted(flows.len(), "connection");
    let captures = counted(captures, "capture");
    let mut lines = vec![format!("Learned from {connections} in {captures}.")];
    let fates = flows.iter().map(|flow| flow.conn_state.name().to_owned());
    lines.push(format!("fate: {}", spread(fates)));
    let closers = flows.iter().map(|flow| match flow.closed_by {
        Some(Closer::Neither) | None => "neither side".to_owned(),
        Some(side) => format!("the {side}"),
    });
    lines.push(format!("closed first by: {}", spread(closers)));
    let unread = flows.iter().map(|flow| match flow.reset {
        Some(reset) if reset.unread.is_some() => format!("by the {}", reset.by),
        _ => "no".to_owned(),
    });
    let unread = spread(unread);
    if unread != "no" {
        lines.push(format!("data thrown away unread: {unread}"));
    }
    for (is_probe, told) in [
        (false, "data sent again"),
        (true, "data sent as tail loss probe"),
    ] {
        let counts = flows.iter().map(|flow| {
            let again = |event: &&Event| event.retransmission && event.probe == is_probe;
            let data = |event: &&Event| event.kind == EventKind::Data && again(event);
            flow.events.iter().filter(data).count()
        });
        let (least, most) = bounds(counts);
        if most > 0 {
            lines.push(format!("{told}: {} segments", range(least, most)));
        }
    }
    lines.extend(known_as(flows));
    lines
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// `SF`, or `SF 2 times, RSTO once`.
fn spread(values: impl Iterator<Item = String>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    if counts.len() == 1 {
        return counts.into_keys().collect();
    }
    let parts = counts.into_iter().map(|(value, count)| match count {
        1 => format!("{value} once"),
        _ => format!("{value} {count} times"),
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// The patterns of the library that all of them match.
fn known_as(flows: &[&Flow]) -> Option<String> {
    let forms = Library::builtin()
        .names()
        .flat_map(|name| [name.to_owned(), format!("handshake ... {name}")]);
    let fits = |form: &String| {
        Pattern::parse(form).is_ok_and(|pattern| {
            flows
                .iter()
                .all(|flow| pattern.matches(&flow.events).is_ok())
        })
    };
    let known: Vec<_> = forms.filter(fits).collect();
    (!known.is_empty()).then(|| format!("matches too: {}", known.join(", ")))
}

/// Beside a mark: how long after the event before it came, and how often again.
pub(super) fn of_marks(marks: &[&Mark]) -> Vec<String> {
    let mut parts = Vec::new();
    let kind = marks[0].kind;
    if kind == EventKind::Rst {
        let flags = marks.iter().map(|mark| format!("[{}]", mark.flags));
        parts.push(spread(flags));
    }
    if matches!(kind, EventKind::Fin | EventKind::Rst) {
        let gaps = || marks.iter().map(|mark| mark.gap);
        let least = gaps().min().unwrap_or_default();
        let most = gaps().max().unwrap_or_default();
        parts.push(format!("{} after the event before", between(least, most)));
    }
    let again = marks.iter().filter(|mark| mark.repeats > 0).count();
    let (least, most) = bounds(marks.iter().map(|mark| mark.repeats));
    if again == marks.len() {
        parts.push(format!("sent again: {}", range(least, most)));
    } else if again > 0 {
        parts.push(format!(
            "sent again in {again} of {} connections",
            marks.len()
        ));
    }
    let probed = marks.iter().filter(|mark| mark.probes > 0).count();
    if probed == marks.len() {
        parts.push("sent as tail loss probe too".to_owned());
    } else if probed > 0 {
        parts.push(format!(
            "sent as tail loss probe too in {probed} of {} connections",
            marks.len()
        ));
    }
    parts
}

fn between(least: Duration, most: Duration) -> String {
    let (least, most) = (show_duration(least), show_duration(most));
    if least == most {
        least
    } else {
        format!("{least} to {most}")
    }
}

/// Beside `...`: how much of what came from which side.
pub(super) fn of_slots(slots: &[&Slot<'_>]) -> Vec<String> {
    let mut parts = Vec::new();
    for sender in [Sender::Initiator, Sender::Responder] {
        let of_sender = |slot: &&Slot<'_>| {
            let sent = slot.data.iter().filter(|event| event.sender == sender);
            let sent: Vec<usize> = sent.map(|event| event.len_bytes as usize).collect();
            (sent.len(), sent.iter().sum::<usize>())
        };
        let sums: Vec<_> = slots.iter().map(of_sender).collect();
        let (least, most) = bounds(sums.iter().map(|(count, _)| *count));
        if most > 0 {
            let bytes = bounds(sums.iter().map(|(_, bytes)| *bytes));
            parts.push(format!(
                "{} DATA {} with {} bytes",
                sender.arrow(),
                range(least, most),
                range(bytes.0, bytes.1)
            ));
        }
    }
    parts
}

/// Beside a DATA: its length, and its text where that was always the same.
pub(super) fn of_data(lengths: &[usize], text: Option<&str>) -> String {
    let (least, most) = bounds(lengths.iter().copied());
    let bytes = range(least, most);
    match text {
        Some(text) => format!("{bytes} bytes: \"{text}\""),
        None => format!("{bytes} bytes"),
    }
}
