//! Runs a program over the events of a flow.
//!
//! All states that the events so far allow are kept at once, so no event is looked at twice and a
//! match costs at most [`STEPS_PER_INSTRUCTION`] steps for each event and instruction, whatever
//! the pattern (Thompson's construction). Which item took which event is found afterwards
//! ([`super::trace`]).

use std::time::Duration;

use crate::analysis::Event;

use super::item::Item;
use super::program::{Instruction, Program};

/// How often an instruction is touched for one event: tried once, entered once.
#[cfg(test)]
pub(super) const STEPS_PER_INSTRUCTION: u64 = 2;

/// How a run over the events ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The whole flow fits.
    Matched,
    /// Event `at` was not taken, or the flow ended there (`at` is then the number of events).
    Stuck {
        at: usize,
        /// The states in which the program waited: `Take` and `Accept`, the preferred first.
        waiting: Vec<usize>,
    },
}

/// Time between an event and the one before it; zero for the first.
pub(super) fn gap(events: &[Event], index: usize) -> Duration {
    match index.checked_sub(1) {
        Some(before) => events[index].at.since(events[before].at),
        None => Duration::ZERO,
    }
}

/// Runs the program; also gives the number of steps it took.
pub(super) fn run(program: &Program, items: &[Item], events: &[Event]) -> (Outcome, u64) {
    let mut present = States::new(program.instructions.len());
    let mut next = States::new(program.instructions.len());
    let mut steps = present.enter(program, 0);
    for (index, event) in events.iter().enumerate() {
        let gap = gap(events, index);
        let may_skip = program.may_skip(event);
        next.clear();
        for &state in &present.waiting {
            steps += 1;
            let taker = match program.instructions[state] {
                Instruction::Take(item) => Some(&items[item]).filter(|i| i.takes(event, gap)),
                _ => None,
            };
            if taker.is_some() {
                steps += next.enter(program, state + 1);
            }
            // An item that asked for this very event need not wait for a later one: whatever it
            // would skip until then can be skipped after it too. ANY might rather want the next.
            if may_skip && taker.is_none_or(Item::takes_any) {
                next.insert(state);
            }
        }
        if next.waiting.is_empty() {
            let waiting = present.waiting;
            return (Outcome::Stuck { at: index, waiting }, steps);
        }
        std::mem::swap(&mut present, &mut next);
    }
    let accepts = |&state: &usize| program.instructions[state] == Instruction::Accept;
    if present.waiting.iter().any(accepts) {
        return (Outcome::Matched, steps);
    }
    let at = events.len();
    let waiting = present.waiting;
    (Outcome::Stuck { at, waiting }, steps)
}

/// A set of states, in order of preference.
#[derive(Debug)]
struct States {
    /// Those that wait for an event or accept.
    waiting: Vec<usize>,
    /// Every state that was entered, so that none is entered twice and a loop that takes nothing
    /// ends.
    entered: Vec<bool>,
    /// What is set in `entered`, to clear it without walking all of it.
    touched: Vec<usize>,
    /// States to enter, kept to spare allocations.
    stack: Vec<usize>,
}

impl States {
    fn new(size: usize) -> Self {
        Self {
            waiting: Vec::new(),
            entered: vec![false; size],
            touched: Vec::new(),
            stack: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.waiting.clear();
        for state in self.touched.drain(..) {
            self.entered[state] = false;
        }
    }

    /// Adds `state` unless it is there already.
    fn insert(&mut self, state: usize) -> bool {
        let new = !std::mem::replace(&mut self.entered[state], true);
        if new {
            self.touched.push(state);
            self.waiting.push(state);
        }
        new
    }

    /// Adds `state` and all that follow it without an event; gives the number of states touched.
    fn enter(&mut self, program: &Program, state: usize) -> u64 {
        let mut steps = 0;
        self.stack.push(state);
        while let Some(state) = self.stack.pop() {
            if self.entered[state] {
                continue;
            }
            steps += 1;
            match program.instructions[state] {
                Instruction::Take(_) | Instruction::Accept => {
                    self.insert(state);
                    continue;
                }
                Instruction::Jump(target) => self.stack.push(target),
                Instruction::Split(first, second) => self.stack.extend([second, first]),
            }
            self.entered[state] = true;
            self.touched.push(state);
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::Pattern;
    use super::super::item::Test;
    use super::super::parse::Tree;
    use super::super::testing::events;
    use super::*;
    use crate::analysis::EventKind;

    /// Patterns on which a backtracking matcher would take exponential time.
    #[test]
    fn steps_are_linear_in_the_events() {
        let many = "> DATA\n".repeat(100_000);
        let flow = events(&format!("{many}< RST\n"));
        for text in [
            "( > DATA | > DATA )*",
            "( > DATA* )* > FIN",
            "( ( > DATA? )* )*",
            "( > DATA+ )+ ( > DATA+ )+ ( > DATA+ )+ < RST",
            "( ... )* ... ( ... ... )+ > FIN",
            "( > DATA? ){300} > DATA{300}",
        ] {
            let pattern = Pattern::parse(text).unwrap();
            let size = pattern.program.instructions.len() as u64;
            let (_, steps) = run(&pattern.program, &pattern.items, &flow);
            let bound = (flow.len() as u64 + 1) * size * STEPS_PER_INSTRUCTION;
            assert!(steps <= bound, "{text}: {steps} steps, bound {bound}");
        }
    }

    /// Where a tree may end that begins before event `start`: the pattern's meaning written down
    /// without a program, to compare with. Slow, and right by looking at it.
    fn ends(pattern: &Pattern, tree: &Tree, events: &[Event], start: usize) -> BTreeSet<usize> {
        let star = |body: &Tree, from: BTreeSet<usize>| {
            let mut all = from.clone();
            let mut new = from;
            while !new.is_empty() {
                let next = new.iter().flat_map(|&at| ends(pattern, body, events, at));
                new = next.filter(|at| !all.contains(at)).collect();
                all.extend(&new);
            }
            all
        };
        let each = |tree: &Tree, from: &BTreeSet<usize>| {
            let ends = from.iter().flat_map(|&at| ends(pattern, tree, events, at));
            ends.collect::<BTreeSet<_>>()
        };
        match tree {
            Tree::Item(item) if matches!(pattern.items[*item].test, Test::Filler) => {
                let one = |at: usize| {
                    pattern.program.may_skip(&events[at])
                        || pattern.items[*item].takes(&events[at], Duration::ZERO)
                };
                (start..=events.len())
                    .take_while(|&end| end == start || one(end - 1))
                    .collect()
            }
            Tree::Item(item) => (start..events.len())
                .take_while(|&at| at == start || pattern.program.may_skip(&events[at - 1]))
                .filter(|&at| pattern.items[*item].takes(&events[at], gap(events, at)))
                .map(|at| at + 1)
                .collect(),
            Tree::Sequence(parts) => parts
                .iter()
                .fold(BTreeSet::from([start]), |from, part| each(part, &from)),
            Tree::Choice(parts) => parts
                .iter()
                .flat_map(|part| ends(pattern, part, events, start))
                .collect(),
            Tree::Repeat { body, min, max } => {
                let mut from = BTreeSet::from([start]);
                for _ in 0..*min {
                    from = each(body, &from);
                }
                let Some(max) = max else {
                    return star(body, from);
                };
                let mut all = from.clone();
                for _ in *min..*max {
                    from = each(body, &from);
                    all.extend(&from);
                }
                all
            }
        }
    }

    fn fits(pattern: &Pattern, events: &[Event]) -> bool {
        ends(pattern, &pattern.tree, events, 0)
            .into_iter()
            .any(|end| {
                events[end..]
                    .iter()
                    .all(|event| pattern.program.may_skip(event))
            })
    }

    proptest! {
        #[test]
        fn the_program_means_what_the_pattern_says(text in pattern_text(), flow in flow_text()) {
            let pattern = Pattern::parse(&text).unwrap();
            let flow = events(&flow);
            let matched = pattern.matches(&flow);
            prop_assert_eq!(matched.is_ok(), fits(&pattern, &flow), "{}", text);
            if let Ok(matched) = matched {
                // The way through the pattern leaves out only what may be left out.
                let named: Vec<_> = matched.named.iter().map(|named| named.event).collect();
                let free = |event: &Event| event.kind == EventKind::Data || pattern.program.may_skip(event);
                for (index, event) in flow.iter().enumerate() {
                    prop_assert!(named.contains(&index) || free(event), "{} {}", text, index);
                }
            }
        }
    }

    fn pattern_text() -> impl Strategy<Value = String> {
        let item = "[<>-] ?(SYN|ACK|DATA|FIN|ANY|FIN\\[retransmission\\])|\\.\\.\\.";
        item.prop_recursive(4, 16, 3, |inner| {
            let parts = proptest::collection::vec(inner, 1..4);
            (parts, "[ |]", "(\\?|\\*|\\+|\\{2\\}|\\{1,\\}|\\{0,2\\})?")
                .prop_map(|(parts, between, count)| format!("({}){count}", parts.join(&between)))
        })
    }

    fn flow_text() -> impl Strategy<Value = String> {
        proptest::collection::vec("[<>] (SYN|ACK|DATA|FIN|FIN again|DATA again)", 0..8)
            .prop_map(|lines| lines.join("\n"))
    }

    #[test]
    fn loops_that_take_nothing_end() {
        for text in [
            "( > SYN? )* > RST",
            "( ( ... )* )+ > RST",
            "( ... | > SYN? ){3,} > RST",
        ] {
            let pattern = Pattern::parse(text).unwrap();
            assert!(pattern.matches(&events("> RST")).is_ok(), "{text}");
            assert!(pattern.matches(&events("< RST")).is_err(), "{text}");
        }
    }
}
