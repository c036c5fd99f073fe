//! Why a flow does not fit a pattern, in words.

use crate::analysis::{Event, EventKind, Sender};

use super::item::{EventTest, Item, Test};
use super::ladder;
use super::matcher::gap;
use super::nearest::nearest;
use super::outcome::Mismatch;
use super::program::{Instruction, Program};
use super::property::Property;
use super::trace::trace;

/// How many of the items that could have come are named.
const MAX_EXPECTED: usize = 6;
/// The longest item that is shown, in characters.
pub(super) const MAX_ITEM_CHARS: usize = 60;

/// Explains why event `at` was not taken by the states `waiting`.
pub(super) fn mismatch(
    program: &Program,
    items: &[Item],
    events: &[Event],
    at: usize,
    waiting: &[usize],
) -> Mismatch {
    let place = Place::new(program, items, events, at, waiting);
    let expected = place.expected();
    let way = trace(program, items, &events[..at], waiting);
    let hints = [place.hint(), nearest(&place, items, &way)];
    let hints: Vec<_> = hints.into_iter().flatten().collect();
    let longest = items.iter().filter_map(Item::longest_bytes).max();
    let taken: Vec<_> = way
        .iter()
        .map(|item| item.map(|item| shortened(&items[item].text)))
        .collect();
    let event = events.get(at);
    Mismatch {
        event: event.map(|_| at),
        frame: event.map(|event| event.frame),
        came: event.map_or_else(|| Mismatch::END_OF_FLOW.to_owned(), described),
        hint: (!hints.is_empty()).then(|| hints.join("; ")),
        ladder: ladder::draw(events, &taken, at, &expected, longest),
        expected,
    }
}

/// Where a flow and a pattern part.
pub(super) struct Place<'a> {
    pub(super) events: &'a [Event],
    pub(super) at: usize,
    /// Items that could have taken the event, each once, `...` last.
    pub(super) items: Vec<&'a Item>,
    /// The FINs and RSTs that could come first from here on.
    endings: Vec<&'a EventTest>,
    /// The flow could have ended here.
    may_end: bool,
}

impl<'a> Place<'a> {
    fn new(
        program: &Program,
        items: &'a [Item],
        events: &'a [Event],
        at: usize,
        waiting: &[usize],
    ) -> Self {
        let mut indices = Vec::new();
        let mut seen = vec![false; items.len()];
        for &state in waiting {
            if let Instruction::Take(item) = program.instructions[state]
                && !std::mem::replace(&mut seen[item], true)
            {
                indices.push(item);
            }
        }
        let mut waited: Vec<_> = indices.into_iter().map(|item| &items[item]).collect();
        waited.sort_by_key(|item| matches!(item.test, Test::Filler));
        Self {
            events,
            at,
            items: waited,
            endings: endings(program, items, waiting),
            may_end: waiting
                .iter()
                .any(|&state| program.instructions[state] == Instruction::Accept),
        }
    }

    fn expected(&self) -> Vec<String> {
        let mut expected: Vec<String> = Vec::new();
        let texts = self.items.iter().map(|item| shortened(&item.text));
        let end = self.may_end.then(|| Mismatch::END_OF_FLOW.to_owned());
        for text in texts.chain(end) {
            if !expected.contains(&text) {
                expected.push(text);
            }
        }
        if expected.len() > MAX_EXPECTED {
            expected.truncate(MAX_EXPECTED);
            expected.push("…".to_owned());
        }
        expected
    }

    fn hint(&self) -> Option<String> {
        let Some(event) = self.events.get(self.at) else {
            return self.hint_on_probe().or_else(|| self.hint_at_end());
        };
        self.hint_on_condition(event)
            .or_else(|| hint_on_repeat(event))
            .or_else(|| self.hint_on_probe())
            .or_else(|| self.hint_on_ending(event))
            .or_else(|| self.hint_on_order(event))
    }

    fn hint_at_end(&self) -> Option<String> {
        if self.waits_for(EventKind::SynAck, None)
            && self.events.iter().all(|event| event.kind == EventKind::Syn)
        {
            return Some("no answer came to the SYN".to_owned());
        }
        let item = self.items.first()?;
        Some(format!("the flow ended before `{}`", shortened(&item.text)))
    }

    /// Direction and name fit, a condition does not.
    fn hint_on_condition(&self, event: &Event) -> Option<String> {
        let gap = gap(self.events, self.at);
        self.items.iter().find_map(|item| {
            let test = item.event_test().filter(|test| test.names(event))?;
            let failed = test.conditions.iter().find(|c| !c.holds(event, gap))?;
            Some(format!(
                "`{}` is asked, {}",
                shortened(&failed.text),
                failed.actual(event, gap)
            ))
        })
    }

    /// A retransmission is asked for, and the repeat that came is a tail loss probe.
    fn hint_on_probe(&self) -> Option<String> {
        let asks = |test: &&EventTest| test.asks_for_repeats() && !test.asks_for_probes();
        let asking = self.items.iter().filter_map(|item| item.event_test());
        asking.filter(asks).find_map(|test| {
            let fits = |event: &&Event| {
                let kind = test.kind.is_none_or(|kind| kind == event.kind);
                event.probe && kind && test.sender.is_none_or(|sender| sender == event.sender)
            };
            let probe = self.events[..self.at].iter().rev().find(fits)?;
            let (arrow, kind, frame) = (probe.sender.arrow(), probe.kind, probe.frame);
            Some(format!(
                "the `{arrow} {kind}` of frame {frame} is a tail loss probe, which `probe` and `repeat` ask for"
            ))
        })
    }

    /// The connection ends in another way or from another side than the pattern expects.
    fn hint_on_ending(&self, event: &Event) -> Option<String> {
        let sender = event.sender;
        let other = sender.other();
        let before = &self.events[..self.at];
        let first_fin = before.iter().all(|event| event.kind != EventKind::Fin);
        let unanswered = before.iter().all(|event| event.kind == EventKind::Syn);
        match event.kind {
            EventKind::Fin if first_fin && self.waits_for(EventKind::Fin, Some(other)) => {
                Some(format!(
                    "the FIN came from the {sender}; the pattern expects the {other} to close first"
                ))
            }
            EventKind::Rst if unanswered && self.waits_for(EventKind::SynAck, None) => {
                Some("the connection was refused".to_owned())
            }
            EventKind::Fin | EventKind::Rst if self.may_end_by(event.kind, sender) => {
                self.hint_on_data_before(event.kind)
            }
            EventKind::Fin if self.expected_reset().is_some() => {
                let reset = self.expected_reset()?;
                Some(format!(
                    "the {sender} closed in order; the pattern expects {reset}"
                ))
            }
            EventKind::Rst => {
                let reset = self.expected_reset();
                let close = || (!self.endings.is_empty()).then(|| "an orderly close".to_owned());
                let expected = reset.or_else(close)?;
                Some(format!(
                    "the connection was reset by the {sender}; the pattern expects {expected}"
                ))
            }
            _ => None,
        }
    }

    /// Whether the connection may end so from here on.
    fn may_end_by(&self, kind: EventKind, sender: Sender) -> bool {
        let fits = |test: &&EventTest| {
            test.kind == Some(kind) && test.sender.is_none_or(|other| other == sender)
        };
        self.endings.iter().any(fits)
    }

    /// The reset that may come from here on: whose, where only one side's may.
    fn expected_reset(&self) -> Option<String> {
        let is_reset = |test: &&&EventTest| test.kind == Some(EventKind::Rst);
        let mut sides = self.endings.iter().filter(is_reset).map(|test| test.sender);
        let first = sides.next()?;
        Some(match first.filter(|_| sides.all(|side| side == first)) {
            Some(side) => format!("a reset by the {side}"),
            None => "a reset".to_owned(),
        })
    }

    /// The right ending came, and data was asked for before it of which there is none.
    fn hint_on_data_before(&self, kind: EventKind) -> Option<String> {
        let tests = self.items.iter().filter_map(|item| item.event_test());
        let mut data = tests.filter(|test| test.kind == Some(EventKind::Data));
        let none_came = |test: &EventTest| {
            let before = &self.events[..self.at];
            !before.iter().any(|event| test.names(event))
        };
        let side = data.find(|test| none_came(test))?.sender;
        let whose = side.map_or_else(String::new, |side| format!(" of the {side}"));
        Some(format!("no data{whose} came before the {kind}"))
    }

    fn hint_on_order(&self, event: &Event) -> Option<String> {
        if self.at == 0 && event.kind != EventKind::Syn && self.waits_for(EventKind::Syn, None) {
            return Some("the capture begins in the middle of the connection".to_owned());
        }
        if self.items.is_empty() {
            return Some("the pattern ends here, the flow goes on".to_owned());
        }
        let filler = |item: &&Item| matches!(item.test, Test::Filler);
        if self.items.iter().all(filler) {
            return Some("`...` stands for DATA and ACK, no other".to_owned());
        }
        (event.kind == EventKind::Data)
            .then(|| "`...` in the pattern would stand for any data".to_owned())
    }

    /// Whether an item here asks for `kind`, from exactly this side or from any.
    fn waits_for(&self, kind: EventKind, sender: Option<Sender>) -> bool {
        self.items
            .iter()
            .filter_map(|item| item.event_test())
            .any(|test| test.kind == Some(kind) && (sender.is_none() || test.sender == sender))
    }
}

/// The FINs and RSTs that some way through the pattern comes to first from these states.
fn endings<'a>(program: &Program, items: &'a [Item], waiting: &[usize]) -> Vec<&'a EventTest> {
    let mut seen = vec![false; program.instructions.len()];
    let mut endings = Vec::new();
    let mut states = waiting.to_vec();
    while let Some(state) = states.pop() {
        if std::mem::replace(&mut seen[state], true) {
            continue;
        }
        match program.instructions[state] {
            Instruction::Take(item) => match items[item].event_test() {
                Some(test) if matches!(test.kind, Some(EventKind::Fin | EventKind::Rst)) => {
                    endings.push(test);
                }
                _ => states.push(state + 1),
            },
            Instruction::Split(first, second) => states.extend([first, second]),
            Instruction::Jump(target) => states.push(target),
            Instruction::Accept => {}
        }
    }
    endings
}

/// A repeat that was not folded: the pattern asks about such repeats, and has no more of them.
fn hint_on_repeat(event: &Event) -> Option<String> {
    let (arrow, kind) = (event.sender.arrow(), event.kind);
    let repeats = if event.probe {
        "tail loss probes"
    } else {
        "retransmissions"
    };
    event
        .retransmission
        .then(|| format!("the pattern asks about {repeats} of `{arrow} {kind}`, and has none here"))
}

/// An event in the pattern's own words: `> DATA len=13`.
fn described(event: &Event) -> String {
    let (arrow, kind) = (event.sender.arrow(), event.kind);
    let mut text = match kind {
        EventKind::Data => format!("{arrow} {kind} len={}", event.len_bytes),
        _ => format!("{arrow} {kind}"),
    };
    for property in Property::shown(event) {
        text.push(' ');
        text.push_str(property.name());
    }
    text
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_ITEM_CHARS) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}
