//! From connections taken apart to the text of a pattern.

use std::fmt::Write as _;
use std::ops::Range;

use indexmap::IndexMap;

use super::comments::{self, MAX_TEXT_BYTES};
use super::walk::{Key, MAX_MARKS, Mark, Slot, Walk};
use crate::analysis::{Event, EventKind, Flow, Sender, TcpFlags};
use crate::pattern::Pattern;

/// The most ways that a proposed pattern has: more are no longer one kind of connection.
const MAX_WAYS: usize = 12;
/// The most data events that are named one by one between two marks.
const MAX_DATA_NAMED: usize = 8;
/// Where comments stand in a line, in characters, unless the pattern reaches further.
const COMMENT_COLUMN: usize = 36;

/// How a pattern is to be proposed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Learner {
    /// Ask for lengths and bytes of data, flags of resets and numbers of repeats, where they were
    /// always the same.
    pub exact: bool,
}

/// Why no pattern is proposed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LearnError {
    /// There is no connection to learn from.
    #[error("there is no connection to learn from")]
    Nothing,
    /// A connection opens or closes too often.
    #[error(
        "the connection that begins in frame {0} has more than {MAX_MARKS} SYN, FIN and RST, too many for a readable pattern"
    )]
    TooLong(u64),
    /// They have too little in common.
    #[error(
        "the connections go {0} ways, more than {MAX_WAYS}: choose those of one kind with `--flow`"
    )]
    TooManyWays(usize),
    /// What was found does not describe all of them.
    #[error("no pattern was found that describes the connection that begins in frame {0}")]
    NotFound(u64),
}

/// Proposes a pattern that describes `flows`, which come from so many captures. It matches each of
/// them.
///
/// # Errors
/// There is nothing to learn from, or too little in common.
pub fn propose(flows: &[&Flow], captures: usize, learner: Learner) -> Result<String, LearnError> {
    let mut walks = Vec::with_capacity(flows.len());
    for flow in flows {
        let walk = Walk::of(&flow.events).ok_or(LearnError::TooLong(flow.first_frame))?;
        walks.push(walk);
    }
    let mut ways: IndexMap<Key, Vec<&Walk<'_>>> = IndexMap::new();
    for walk in &walks {
        ways.entry(walk.key()).or_default().push(walk);
    }
    match ways.len() {
        0 => return Err(LearnError::Nothing),
        1..=MAX_WAYS => {}
        count => return Err(LearnError::TooManyWays(count)),
    }
    let head = comments::head(flows, captures).join("\n# ");
    let mut failed = 0;
    // Where repeats do not come in the order in which a pattern would have them, they are folded.
    for with_repeats in [true, false] {
        let writer = Writer {
            learner,
            with_repeats,
        };
        let text = format!("# {head}\n{}", writer.pattern(&ways));
        match unmatched(&text, flows) {
            None => return Ok(text),
            Some(frame) => failed = frame,
        }
    }
    Err(LearnError::NotFound(failed))
}

/// First frame of a connection that the pattern does not describe.
fn unmatched(text: &str, flows: &[&Flow]) -> Option<u64> {
    let Ok(pattern) = Pattern::parse(text) else {
        return flows.first().map(|flow| flow.first_frame);
    };
    let mut flows = flows.iter();
    let failed = flows.find(|flow| pattern.matches(&flow.events).is_err())?;
    Some(failed.first_frame)
}

/// A line: what stands in the pattern, and what is said beside it.
struct Line {
    item: String,
    comments: Vec<String>,
}

/// Writes ways as a pattern.
struct Writer {
    learner: Learner,
    with_repeats: bool,
}

impl Writer {
    fn pattern(&self, ways: &IndexMap<Key, Vec<&Walk<'_>>>) -> String {
        let common = common_marks(ways.keys());
        let all: Vec<&Walk<'_>> = ways.values().flatten().copied().collect();
        let head = self.slot_lines(&all, 0);
        let lines = self.lines(&all, 0..common, ways.len() == 1);
        let mut out = written(&head, 0) + &written(&lines, 0);
        let rests: Vec<_> = ways.iter().filter(|(key, _)| key.len() > common).collect();
        if rests.is_empty() {
            return out;
        }
        // Connections that end with what is common to all make the rest optional.
        let optional = rests.len() < ways.len();
        for (index, (key, walks)) in rests.iter().enumerate() {
            let (open, count) = (if index == 0 { '(' } else { '|' }, walks.len());
            let _ = writeln!(out, "{open}   # {count} of {}", all.len());
            out.push_str(&written(&self.lines(walks, common..key.len(), true), 4));
        }
        out.push_str(if optional { ")?\n" } else { ")\n" });
        out
    }

    /// The marks of this range, each with the slot behind it; `ends` where the way ends with them.
    fn lines(&self, walks: &[&Walk<'_>], marks: Range<usize>, ends: bool) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut at = marks.start;
        if at == 0 && marks.end >= 2 && opens(walks) {
            lines.push(Line {
                item: "handshake".to_owned(),
                comments: Vec::new(),
            });
            lines.extend(self.slot_lines(walks, 2));
            at = 2;
        }
        for index in at..marks.end {
            let found: Vec<&Mark> = walks.iter().map(|walk| &walk.marks[index]).collect();
            self.mark(&found, &mut lines);
            // Acknowledgements were noted where they came before any data.
            let is_last = ends && index + 1 == marks.end;
            let names_ack = match found[0].kind {
                EventKind::SynAck => true,
                EventKind::Fin => is_last,
                _ => false,
            };
            if names_ack {
                lines.extend(ack_of(found[0].sender, &slots(walks, index + 1)));
            }
            lines.extend(self.slot_lines(walks, index + 1));
        }
        lines
    }

    fn mark(&self, marks: &[&Mark], lines: &mut Vec<Line>) {
        let (arrow, kind) = (marks[0].sender.arrow(), marks[0].kind);
        let exact = self.learner.exact;
        let mut item = format!("{arrow} {kind}");
        let same_flags = marks.iter().all(|mark| mark.flags == marks[0].flags);
        if exact && kind == EventKind::Rst && same_flags {
            let _ = write!(item, "[flags={}]", flags(marks[0].flags));
        }
        let times = quantifier(marks.iter().map(|mark| mark.times), exact);
        item.push_str(&times);
        lines.push(Line {
            item,
            comments: comments::of_marks(marks),
        });
        if self.with_repeats && marks.iter().all(|mark| mark.repeats > 0) {
            let repeats = marks.iter().map(|mark| mark.repeats);
            let times = if exact {
                quantifier(repeats, true)
            } else {
                "+".to_owned()
            };
            lines.push(Line {
                item: format!("{arrow} {kind}[retransmission]{times}"),
                comments: Vec::new(),
            });
        }
    }

    /// What stands in the slots with this index.
    fn slot_lines(&self, walks: &[&Walk<'_>], index: usize) -> Vec<Line> {
        let slots = slots(walks, index);
        let sides = |slot: &Slot<'_>| -> Vec<Sender> {
            slot.data.iter().map(|event| event.sender).collect()
        };
        let first = sides(slots[0]);
        let same = slots.iter().all(|slot| sides(slot) == first);
        if same && first.is_empty() {
            return Vec::new();
        }
        // One connection alone does not tell what would vary.
        let telling = walks.len() > 1 || self.learner.exact;
        if !same || !telling || first.len() > MAX_DATA_NAMED {
            return vec![Line {
                item: "...".to_owned(),
                comments: comments::of_slots(&slots),
            }];
        }
        let at =
            |index: usize| -> Vec<&Event> { slots.iter().map(|slot| slot.data[index]).collect() };
        (0..first.len())
            .map(|index| self.data(&at(index)))
            .collect()
    }

    fn data(&self, found: &[&Event]) -> Line {
        let first = found[0];
        let arrow = first.sender.arrow();
        let lengths: Vec<usize> = found.iter().map(|event| event.len_bytes as usize).collect();
        let text = text_of(found);
        let same_length = lengths.iter().all(|length| *length == lengths[0]);
        let conditions = match &text {
            Some(text) if self.learner.exact => format!("[bytes=\"{text}\"]"),
            None if self.learner.exact && same_length => format!("[len={}]", lengths[0]),
            _ => String::new(),
        };
        let shown = text.as_deref().filter(|_| conditions.is_empty());
        Line {
            comments: vec![comments::of_data(&lengths, shown)],
            item: format!("{arrow} DATA{conditions}"),
        }
    }
}

fn slots<'w, 'a>(walks: &[&'w Walk<'a>], index: usize) -> Vec<&'w Slot<'a>> {
    walks.iter().map(|walk| &walk.slots[index]).collect()
}

/// How many marks all ways begin with.
fn common_marks<'k>(keys: impl Iterator<Item = &'k Key>) -> usize {
    let keys: Vec<_> = keys.collect();
    let shortest = keys.iter().map(|key| key.len()).min().unwrap_or_default();
    (0..shortest)
        .find(|&index| keys.iter().any(|key| key[index] != keys[0][index]))
        .unwrap_or(shortest)
}

/// Whether all begin with the three segments of the library's `handshake`, none of them repeated.
fn opens(walks: &[&Walk<'_>]) -> bool {
    walks.iter().all(|walk| {
        let [syn, syn_ack, ..] = &walk.marks[..] else {
            return false;
        };
        syn.kind == EventKind::Syn
            && syn_ack.kind == EventKind::SynAck
            && (syn.sender, syn_ack.sender) == (Sender::Initiator, Sender::Responder)
            && syn.repeats + syn_ack.repeats == 0
            && walk.slots[0].data.is_empty()
            && walk.slots[1].data.is_empty()
            && walk.slots[2].acks.contains(&Sender::Initiator)
    })
}

/// The acknowledgement of what `sender` sent before these slots, where it always came.
fn ack_of(sender: Sender, slots: &[&Slot<'_>]) -> Option<Line> {
    let acked = |slot: &&Slot<'_>| slot.acks.contains(&sender.other());
    slots.iter().all(acked).then(|| Line {
        item: format!("{} ACK", sender.other().arrow()),
        comments: Vec::new(),
    })
}

/// How often: nothing for once, `{n}` where the exact number is asked for, `+`.
fn quantifier(times: impl Iterator<Item = usize>, exact: bool) -> String {
    let times: Vec<_> = times.collect();
    let same = times.iter().all(|count| *count == times[0]);
    match times[0] {
        1 if same => String::new(),
        count if same && exact => format!("{{{count}}}"),
        _ => "+".to_owned(),
    }
}

/// `RST+ACK`, without the flags that conditions do not compare.
fn flags(flags: TcpFlags) -> String {
    flags.to_string().replace(", ", "+")
}

/// The payload as a pattern writes it, where it was kept in full and always the same.
fn text_of(found: &[&Event]) -> Option<String> {
    let first = found[0];
    let whole = |event: &&&Event| {
        event.payload.len() == event.len_bytes as usize && event.payload == first.payload
    };
    let all = found.iter().filter(whole).count() == found.len();
    let short = all && !first.payload.is_empty() && first.payload.len() <= MAX_TEXT_BYTES;
    // A single quote needs no escape in a pattern, and has none.
    short.then(|| first.payload.escape_ascii().to_string().replace("\\'", "'"))
}

/// Lines as text, their comments below each other.
fn written(lines: &[Line], indent: usize) -> String {
    let mut out = String::new();
    for line in lines {
        let item = format!("{}{}", " ".repeat(indent), line.item);
        let text = match line.comments.join("; ") {
            comment if comment.is_empty() => item,
            comment => format!("{item:<COMMENT_COLUMN$} # {comment}"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{text}");
    }
    out
}
