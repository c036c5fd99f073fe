//! Exit and output checks: what became of a program and what it printed.

use crate::plan::{ExitCheck, OutputCheck, Stream};
use crate::units::{Signal, printable};

use super::finding::{Finding, bounded, listed};
use super::types::{Evidence, HowEnded, SIGNAL_CODE_BASE};

/// How many of the last lines a detail shows where none fits.
const MAX_LAST_LINES_SHOWN: usize = 3;
/// How many lines a detail shows that fit: enough to find the one that is too many.
const MAX_LINES_SHOWN: usize = 12;
/// The longest line of output a detail shows, in characters.
const MAX_LINE_CHARS: usize = 80;

/// Judges how a node's last visit ended.
pub(super) fn judge_exit(check: &ExitCheck, evidence: &Evidence) -> Finding {
    let node = &check.node;
    let visits = evidence.nodes.get(node).map(|node| node.visits.as_slice());
    let Some(visit) = visits.unwrap_or_default().last() else {
        return Finding::fail(&format!("{node} was never started"));
    };
    let holds = match visit.ended {
        None => check.running,
        Some(end) => allows(check, end.how),
    };
    if let Some(end) = visit.ended
        && let HowEnded::Unseen(code) = end.how
        && holds
        && code > SIGNAL_CODE_BASE
        && !is_any(check)
    {
        return Finding::inconclusive(&format!(
            "{node} {end}, which may be an exit code or a signal"
        ));
    }
    if holds {
        return Finding::pass();
    }
    let came = match visit.ended {
        None => "was still running".to_owned(),
        Some(end) => end.to_string(),
    };
    Finding::fail(&format!("{node} {came}, expected {}", wanted(check)))
}

/// Whether an end is allowed; a check that names none allows any.
fn allows(check: &ExitCheck, how: HowEnded) -> bool {
    let has_code = |code: i64| check.codes.contains(&code);
    let has_signal = |number: i64| {
        let wanted = check.signal.map(Signal::number);
        wanted.is_some_and(|wanted| i64::from(wanted) == number)
    };
    is_any(check)
        || match how {
            HowEnded::Exited(code) => has_code(code.into()),
            HowEnded::Killed(number) => has_signal(number.into()),
            HowEnded::Unseen(code) => has_code(code) || has_signal(code - SIGNAL_CODE_BASE),
        }
}

fn is_any(check: &ExitCheck) -> bool {
    check.codes.is_empty() && check.signal.is_none() && !check.running
}

fn wanted(check: &ExitCheck) -> String {
    let codes = check.codes.iter().map(|code| format!("code {code}"));
    let signal = check
        .signal
        .map(|signal| format!("to be killed by {signal}"));
    let running = check.running.then(|| "to be running".to_owned());
    let all: Vec<_> = codes.chain(signal).chain(running).collect();
    if all.is_empty() {
        "it to end".to_owned()
    } else {
        all.join(" or ")
    }
}

/// Judges what a node printed.
pub(super) fn judge_output(check: &OutputCheck, evidence: &Evidence) -> Finding {
    let node = &check.node;
    let Some(seen) = evidence.nodes.get(node) else {
        return Finding::fail(&format!("{node} was never started"));
    };
    let of_stream = |stream| check.stream.is_none_or(|wanted| wanted == stream);
    let lines: Vec<_> = seen
        .output
        .iter()
        .filter(|line| of_stream(line.stream))
        .collect();
    let fits = |line: &&&super::OutputLine| line.text.contains(&check.text);
    // Lines that were not kept were counted as they came.
    let found = if seen.dropped_bytes > 0 {
        let streams = seen.counts.iter().filter(|(stream, _)| of_stream(**stream));
        streams
            .filter_map(|(_, counts)| counts.get(&check.text))
            .sum()
    } else {
        lines.iter().filter(fits).count() as u64
    };
    if check.count.allow(found) {
        return Finding::pass();
    }
    let place = match check.stream {
        None => "",
        Some(Stream::Stdout) => " on stdout",
        Some(Stream::Stderr) => " on stderr",
    };
    let shown: Vec<_> = match found {
        0 => lines
            .iter()
            .rev()
            .take(MAX_LAST_LINES_SHOWN)
            .rev()
            .collect(),
        _ => lines.iter().filter(fits).collect(),
    };
    let shown = shown
        .into_iter()
        .map(|line| format!("\"{}\"", bounded(&printable(&line.text), MAX_LINE_CHARS)));
    let what = match (lines.len(), found) {
        (0, _) => "it printed nothing".to_owned(),
        (_, 0) => format!(
            "the last it printed is {}",
            listed(shown, MAX_LAST_LINES_SHOWN)
        ),
        _ => listed(shown, MAX_LINES_SHOWN),
    };
    let text = bounded(&printable(&check.text), MAX_LINE_CHARS);
    Finding::fail(&format!(
        "lines of {node} with \"{text}\"{place}: expected {}, found {found}; {what}",
        check.count
    ))
}
