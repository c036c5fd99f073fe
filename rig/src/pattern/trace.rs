//! Which item of a pattern took which event.

use crate::analysis::Event;

use super::item::{Item, Test};
use super::matcher::gap;
use super::program::{Instruction, Program};

/// The most bits kept to find the way through a program (one for each event and instruction,
/// 128 MiB in all); a longer flow is matched all the same, its events stay unnamed.
const MAX_TRACE_BITS: usize = 1 << 30;

/// For each of `events` the item that took it, where one did, on a way from the program's start
/// to one of the states `goal`.
///
/// Where several ways lead there, an event goes to the first item that can take it, rather than
/// to a `...` or to none.
pub(super) fn trace(
    program: &Program,
    items: &[Item],
    events: &[Event],
    goal: &[usize],
) -> Vec<Option<usize>> {
    let size = program.instructions.len();
    if size.saturating_mul(events.len() + 1) > MAX_TRACE_BITS {
        return vec![None; events.len()];
    }
    let reaches = Reach::backwards(program, items, events, goal);
    let mut way = Vec::with_capacity(events.len());
    let mut state = 0;
    let mut seen = vec![usize::MAX; size];
    for (index, event) in events.iter().enumerate() {
        let takers = waiting_from(program, state, index, &mut seen)
            .into_iter()
            .filter_map(|state| match program.instructions[state] {
                Instruction::Take(item) => Some((state, item)),
                _ => None,
            })
            .filter(|&(state, item)| {
                reaches.holds(index + 1, state + 1) && items[item].takes(event, gap(events, index))
            });
        // `min_by_key` keeps the first of equals: the preferred one.
        let taker = takers.min_by_key(|&(_, item)| matches!(items[item].test, Test::Filler));
        if let Some((taken_at, _)) = taker {
            state = taken_at + 1;
        }
        way.push(taker.map(|(_, item)| item));
    }
    way
}

/// The waiting states that follow `start` without an event, the preferred first. `seen` marks
/// with `round` what was visited.
fn waiting_from(program: &Program, start: usize, round: usize, seen: &mut [usize]) -> Vec<usize> {
    let mut waiting = Vec::new();
    let mut stack = vec![start];
    while let Some(state) = stack.pop() {
        if std::mem::replace(&mut seen[state], round) == round {
            continue;
        }
        match program.instructions[state] {
            Instruction::Take(_) | Instruction::Accept => waiting.push(state),
            Instruction::Jump(target) => stack.push(target),
            Instruction::Split(first, second) => stack.extend([second, first]),
        }
    }
    waiting
}

/// From which states, before which event, the goal can be reached.
struct Reach {
    size: usize,
    bits: Vec<u64>,
}

impl Reach {
    fn backwards(program: &Program, items: &[Item], events: &[Event], goal: &[usize]) -> Self {
        let size = program.instructions.len();
        let cells = size * (events.len() + 1);
        let mut reach = Self {
            size,
            bits: vec![0; cells.div_ceil(64)],
        };
        let before = predecessors(program);
        reach.spread(events.len(), goal.to_vec(), &before);
        for (index, event) in events.iter().enumerate().rev() {
            let gap = gap(events, index);
            let may_skip = program.may_skip(event);
            let from = (0..size)
                .filter(|&state| {
                    let skips = may_skip && reach.holds(index + 1, state);
                    skips
                        || matches!(program.instructions[state], Instruction::Take(item)
                            if reach.holds(index + 1, state + 1) && items[item].takes(event, gap))
                })
                .collect();
            reach.spread(index, from, &before);
        }
        reach
    }

    /// Marks `states`, and those that lead to them without an event, before event `index`.
    fn spread(&mut self, index: usize, mut states: Vec<usize>, before: &[Vec<usize>]) {
        while let Some(state) = states.pop() {
            let cell = index * self.size + state;
            let bit = 1 << (cell % 64);
            if self.bits[cell / 64] & bit == 0 {
                self.bits[cell / 64] |= bit;
                states.extend(&before[state]);
            }
        }
    }

    fn holds(&self, index: usize, state: usize) -> bool {
        let cell = index * self.size + state;
        self.bits[cell / 64] & (1 << (cell % 64)) != 0
    }
}

/// For each state those that lead to it without an event.
fn predecessors(program: &Program) -> Vec<Vec<usize>> {
    let mut before = vec![Vec::new(); program.instructions.len()];
    for (state, instruction) in program.instructions.iter().enumerate() {
        match *instruction {
            Instruction::Jump(target) => before[target].push(state),
            Instruction::Split(first, second) => {
                before[first].push(state);
                before[second].push(state);
            }
            Instruction::Take(_) | Instruction::Accept => {}
        }
    }
    before
}
