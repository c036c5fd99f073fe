//! What one flow must be.

use crate::analysis::{Closer, ConnState, Event, EventKind, Flow, Sender};
use crate::pattern::{EventPattern, NamedEvent, Pattern, draw_flow};
use crate::units::printable;

use super::types::Annotation;

/// What a flow must be; a field that asks for nothing allows anything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlowRules<'a> {
    /// Allowed fates.
    pub(crate) fate: &'a [ConnState],
    /// Who closes first.
    pub(crate) closed_by: Option<Sender>,
    /// What the whole flow is.
    pub(crate) pattern: Option<&'a Pattern>,
    /// Events that do not occur.
    pub(crate) never: &'a [EventPattern],
}

/// How the two ends of a flow are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlowNames {
    pub(crate) initiator: String,
    pub(crate) responder: String,
}

impl FlowNames {
    pub(crate) fn of(&self, side: Sender) -> &str {
        match side {
            Sender::Initiator => &self.initiator,
            Sender::Responder => &self.responder,
        }
    }
}

/// How a flow stands to the rules.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What does not hold, each a fragment; empty when everything holds.
    pub(crate) problems: Vec<String>,
    /// The flow where something does not hold: beside the pattern where they part, else with notes on what is wrong.
    pub(crate) ladder: Option<String>,
    /// What is wrong at which event; one behind the last stands for the end of the flow.
    notes: Vec<(usize, String)>,
    /// What the result rests on.
    pub(crate) frames: Vec<u64>,
    pub(crate) annotations: Vec<Annotation>,
}

/// The most packets of a flow that are commented.
const MAX_ANNOTATIONS: usize = 64;
/// The most events of a kind that must not occur which are pointed out.
const MAX_OFFENDERS: usize = 4;

impl FlowRules<'_> {
    /// Holds `flow` against the rules.
    pub(crate) fn check(&self, flow: &Flow, names: &FlowNames) -> Outcome {
        let mut outcome = Outcome::default();
        self.check_never(flow, &mut outcome);
        self.check_closer(flow, names, &mut outcome);
        self.check_fate(flow, &mut outcome);
        self.check_pattern(flow, names, &mut outcome);
        if outcome.frames.is_empty() {
            outcome.frames.push(flow.first_frame);
        }
        outcome.annotations.truncate(MAX_ANNOTATIONS);
        if outcome.ladder.is_none() && !outcome.problems.is_empty() {
            let asked = self.never.iter().filter_map(EventPattern::longest_bytes);
            outcome.ladder = Some(draw_flow(&flow.events, &outcome.notes, asked.max()));
        }
        outcome
    }

    fn check_never(&self, flow: &Flow, outcome: &mut Outcome) {
        for event in self.never {
            let offends = |index: &usize| event.takes(&flow.events, *index);
            let offenders: Vec<_> = (0..flow.events.len()).filter(offends).collect();
            let Some(first) = offenders.first().map(|&index| flow.events[index].frame) else {
                continue;
            };
            let shown = match offenders.len() {
                1 => format!("`{event}` came in frame {first}"),
                count => format!("`{event}` came {count} times, first in frame {first}"),
            };
            outcome.problems.push(format!("{shown}, expected never"));
            for index in offenders.into_iter().take(MAX_OFFENDERS) {
                let offender = &flow.events[index];
                let (arrow, kind) = (offender.sender.arrow(), offender.kind);
                outcome.note(offender.frame, format!("not expected: {arrow} {kind}"));
                outcome.notes.push((index, "expected never".to_owned()));
            }
        }
    }

    fn check_closer(&self, flow: &Flow, names: &FlowNames, outcome: &mut Outcome) {
        let Some(wanted) = self.closed_by else {
            return;
        };
        let wanted_name = names.of(wanted);
        let place = closing_event(flow).map_or(flow.events.len(), |(index, _)| index);
        let note = format!("expected {} to close first", printable(wanted_name));
        let Some(closer) = flow.closed_by else {
            outcome.notes.push((place, note));
            outcome.problems.push(format!(
                "closed by neither side, expected {wanted_name} to close first"
            ));
            return;
        };
        let closing = closing_event(flow).map(|(_, event)| event);
        let by = closer.side();
        if by == Some(wanted) {
            if let Some(event) = closing {
                outcome.note(event.frame, format!("expected: {wanted_name} closes first"));
            }
            return;
        }
        outcome.notes.push((place, note));
        let name = by.map_or("neither side", |side| names.of(side));
        let place = closing.map_or(String::new(), |event| {
            format!(" ({} in frame {})", event.kind, event.frame)
        });
        outcome.problems.push(format!(
            "closed first by {name}{place}, expected {wanted_name}"
        ));
        if let Some(event) = closing {
            let comment = format!("not expected: {name} closes first (expected: {wanted_name})");
            outcome.note(event.frame, comment);
        }
    }

    fn check_fate(&self, flow: &Flow, outcome: &mut Outcome) {
        if self.fate.is_empty() {
            return;
        }
        let last_frame = flow.events.last().map_or(flow.first_frame, |e| e.frame);
        let fate = flow.conn_state;
        if self.fate.contains(&fate) {
            outcome.note(last_frame, format!("expected: fate {fate}"));
            return;
        }
        let wanted: Vec<_> = self.fate.iter().map(|fate| fate.name()).collect();
        let wanted = wanted.join(" or ");
        let history = &flow.history;
        outcome.problems.push(format!(
            "fate is {fate} (history {history}), expected {wanted}"
        ));
        let told = format!("fate is {fate}, expected {wanted}");
        let ends = |event: &Event| matches!(event.kind, EventKind::Fin | EventKind::Rst);
        let last = flow.events.iter().rposition(ends);
        outcome
            .notes
            .push((last.unwrap_or(flow.events.len()), told.clone()));
        outcome.note(last_frame, told);
    }

    fn check_pattern(&self, flow: &Flow, names: &FlowNames, outcome: &mut Outcome) {
        let Some(pattern) = self.pattern else {
            return;
        };
        match pattern.matches(&flow.events) {
            Ok(matched) => {
                let closing = closing_event(flow).map(|(index, _)| index);
                for named in matched.named.iter().filter(|named| !named.any) {
                    outcome.note(named.frame, expected_comment(named, closing, flow, names));
                }
            }
            Err(mismatch) => {
                outcome.problems.push(format!("pattern: {mismatch}"));
                let frame = mismatch.frame.or(flow.events.last().map(|e| e.frame));
                outcome.note(
                    frame.unwrap_or(flow.first_frame),
                    format!("not as the pattern: {mismatch}"),
                );
                outcome.ladder = Some(mismatch.ladder);
            }
        }
    }
}

impl Outcome {
    fn note(&mut self, frame: u64, comment: String) {
        self.frames.push(frame);
        self.annotations.push(Annotation { frame, comment });
    }
}

/// The event by which the flow began to end, with its index: its first FIN or RST.
fn closing_event(flow: &Flow) -> Option<(usize, &Event)> {
    let nobody = flow.closed_by == Some(Closer::Neither);
    let closes = |event: &Event| {
        let ends = matches!(event.kind, EventKind::Fin | EventKind::Rst);
        ends && !event.older && (nobody || !event.foreign)
    };
    let mut events = flow.events.iter().enumerate();
    events.find(|(_, event)| closes(event))
}

/// `expected: < FIN (server closes first)`.
fn expected_comment(
    matched: &NamedEvent,
    closing: Option<usize>,
    flow: &Flow,
    names: &FlowNames,
) -> String {
    let item = &matched.item;
    if closing != Some(matched.event) {
        return format!("expected: {item}");
    }
    let event = &flow.events[matched.event];
    let name = names.of(event.sender);
    let answered = flow
        .events
        .iter()
        .any(|event| event.kind == EventKind::SynAck);
    match event.kind {
        EventKind::Rst if !answered => format!("expected: {item} ({name} refuses)"),
        EventKind::Rst => format!("expected: {item} ({name} resets)"),
        _ => format!("expected: {item} ({name} closes first)"),
    }
}
