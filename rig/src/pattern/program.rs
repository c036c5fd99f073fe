//! From a tree to a program: an NFA whose states are instructions.

use std::ops::Range;

use crate::analysis::{Event, EventKind, Sender};

use super::error::PatternError;
use super::item::{EventTest, Item, Test};
use super::parse::Tree;

/// The most instructions a pattern may compile to: each may cost a few steps for each event.
pub(super) const MAX_INSTRUCTIONS: usize = 2048;

/// One instruction; its index is a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instruction {
    /// Takes an event that this item takes, and goes on with the next instruction.
    Take(usize),
    /// Goes on at both, the first is preferred.
    Split(usize, usize),
    /// Goes on there.
    Jump(usize),
    /// The pattern's end.
    Accept,
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) instructions: Vec<Instruction>,
    /// Repeats that the pattern asks about, so that they are not folded.
    asked: Vec<(Sender, EventKind)>,
    /// The same of tail loss probes.
    asked_probes: Vec<(Sender, EventKind)>,
    /// The same of events of an older connection.
    asked_older: Vec<(Sender, EventKind)>,
}

impl Program {
    /// Compiles a tree; `text` is the range of its text, for the error.
    pub(super) fn compile(
        tree: &Tree,
        items: &[Item],
        text: Range<usize>,
    ) -> Result<Self, PatternError> {
        // Counted before anything is laid out: `((…{1000}){1000}){1000}` must cost nothing.
        let size = size(tree, items).saturating_add(1);
        if size > MAX_INSTRUCTIONS as u64 {
            return Err(PatternError::new(
                format!("the pattern is too large: {size} steps when its repetitions are written out, at most {MAX_INSTRUCTIONS} are allowed"),
                text.start,
                text.len(),
            )
            .hint("use `*`, `+` or `{n,}` in place of large numbers"));
        }
        let mut instructions = Vec::new();
        emit(tree, items, &mut instructions);
        instructions.push(Instruction::Accept);
        Ok(Self {
            instructions,
            asked: asked(items, EventTest::asks_for_repeats),
            asked_probes: asked(items, EventTest::asks_for_probes),
            asked_older: asked(items, EventTest::asks_for_older),
        })
    }

    /// Whether the flow may have `event` without the pattern naming it: plain acknowledgements
    /// are the kernel's business, a repeat is folded into what it repeats, and what is of an older connection
    /// is none of this one, unless the pattern asks about such events of that kind from that side.
    pub(super) fn may_skip(&self, event: &Event) -> bool {
        let what = (event.sender, event.kind);
        let asked = if event.probe {
            &self.asked_probes
        } else {
            &self.asked
        };
        event.kind == EventKind::Ack
            || (event.retransmission && !asked.contains(&what))
            || (event.older && !self.asked_older.contains(&what))
    }
}

/// How many instructions a tree becomes.
fn size(tree: &Tree, items: &[Item]) -> u64 {
    match tree {
        Tree::Item(item) => match items[*item].test {
            Test::Filler => 3,
            Test::Event(_) => 1,
        },
        Tree::Sequence(parts) => parts
            .iter()
            .fold(0, |sum, part| sum.saturating_add(size(part, items))),
        Tree::Choice(parts) => parts.iter().fold(0, |sum, part| {
            sum.saturating_add(size(part, items)).saturating_add(2)
        }),
        Tree::Repeat { body, min, max } => {
            let body = size(body, items);
            let least = body.saturating_mul(u64::from(*min));
            least.saturating_add(match max {
                None => body.saturating_add(2),
                Some(max) => body.saturating_add(1).saturating_mul(u64::from(max - min)),
            })
        }
    }
}

fn emit(tree: &Tree, items: &[Item], out: &mut Vec<Instruction>) {
    match tree {
        Tree::Item(item) => match items[*item].test {
            Test::Filler => emit_loop(out, |out| out.push(Instruction::Take(*item))),
            Test::Event(_) => out.push(Instruction::Take(*item)),
        },
        Tree::Sequence(parts) => parts.iter().for_each(|part| emit(part, items, out)),
        Tree::Choice(parts) => emit_choice(parts, items, out),
        Tree::Repeat { body, min, max } => {
            for _ in 0..*min {
                emit(body, items, out);
            }
            match max {
                None => emit_loop(out, |out| emit(body, items, out)),
                Some(max) => {
                    let splits: Vec<_> = (*min..*max)
                        .map(|_| {
                            let split = hold_place(out);
                            emit(body, items, out);
                            split
                        })
                        .collect();
                    for split in splits {
                        out[split] = Instruction::Split(split + 1, out.len());
                    }
                }
            }
        }
    }
}

/// `body` any number of times.
fn emit_loop(out: &mut Vec<Instruction>, body: impl FnOnce(&mut Vec<Instruction>)) {
    let split = hold_place(out);
    body(out);
    out.push(Instruction::Jump(split));
    out[split] = Instruction::Split(split + 1, out.len());
}

/// One of `parts`, the earlier ones preferred.
fn emit_choice(parts: &[Tree], items: &[Item], out: &mut Vec<Instruction>) {
    let mut jumps = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        let split = hold_place(out);
        emit(part, items, out);
        jumps.push(hold_place(out));
        let next = if last { split + 1 } else { out.len() };
        out[split] = Instruction::Split(split + 1, next);
    }
    for jump in jumps {
        out[jump] = Instruction::Jump(out.len());
    }
}

/// An instruction that is filled in when its target is known.
fn hold_place(out: &mut Vec<Instruction>) -> usize {
    out.push(Instruction::Accept);
    out.len() - 1
}

/// The kinds and sides about which some item asks so.
fn asked(items: &[Item], asks: fn(&EventTest) -> bool) -> Vec<(Sender, EventKind)> {
    const KINDS: [EventKind; 6] = [
        EventKind::Syn,
        EventKind::SynAck,
        EventKind::Data,
        EventKind::Fin,
        EventKind::Rst,
        EventKind::Ack,
    ];
    let mut asked = Vec::new();
    for test in items.iter().filter_map(Item::event_test) {
        if !asks(test) {
            continue;
        }
        for sender in [Sender::Initiator, Sender::Responder] {
            for kind in KINDS {
                if test.sender.is_none_or(|s| s == sender)
                    && test.kind.is_none_or(|k| k == kind)
                    && !asked.contains(&(sender, kind))
                {
                    asked.push((sender, kind));
                }
            }
        }
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::super::Pattern;
    use super::*;

    #[test]
    fn the_size_is_foretold_exactly() {
        for text in [
            "> SYN",
            "...",
            "( > SYN | < FIN > FIN | ... )*",
            "( > DATA{2,5} < DATA? ){3} ...",
            "( ( > SYN? )* | - ANY+ ){0,7}",
        ] {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!(
                size(&pattern.tree, &pattern.items) + 1,
                pattern.program.instructions.len() as u64,
                "{text}"
            );
        }
    }

    #[test]
    fn size_is_bounded() {
        assert!(Pattern::parse("> DATA{1000}").is_ok());
        for text in [
            "(> DATA{1000}){3}",
            "((((((((> DATA{1000}){1000}){1000}){1000}){1000}){1000}){1000}){1000}){1000}",
        ] {
            let error = Pattern::parse(text).unwrap_err();
            assert!(error.message.contains("too large"), "{error}");
            assert_eq!((error.offset_bytes, error.len_bytes), (0, text.len()));
        }
    }
}
