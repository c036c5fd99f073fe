//! The last word on a run: what did not pass and why, then the counts.

use std::fmt::Write as _;
use std::io::Write;

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use super::explain::{bad_checks, failed_lines, not_judged};
use super::reporter::{ReportError, Reporter};
use super::text::{MAX_TERMINAL_BYTES, counted, indent, line, verdict_word};
use super::{MatrixSource, Screen, explain_check, explain_trouble};
use crate::judge::Verdict;
use crate::run::{CellReport, Event, RunReport, Trouble};
use crate::units::show_duration;

/// The most cells whose reasons are told; index.html tells all.
const MAX_CELLS_TOLD: usize = 50;

/// The most cells named that share one trouble.
const MAX_CELLS_NAMED: usize = 10;

/// Columns by which reasons stand in.
const INDENT: usize = 2;

/// Verdicts in the order of the table.
const ORDER: [Verdict; 6] = [
    Verdict::Pass,
    Verdict::ExpectedFailure,
    Verdict::Fail,
    Verdict::Error,
    Verdict::Inconclusive,
    Verdict::Skipped,
];

/// Sums a run up when it is over.
pub struct Summary<W> {
    out: W,
    source: MatrixSource,
    screen: Screen,
}

impl<W: Write + Send> Summary<W> {
    /// Writes to `out`, which is standard output.
    pub fn new(out: W, source: MatrixSource, screen: Screen) -> Self {
        Self {
            out,
            source,
            screen,
        }
    }
}

impl<W: Write + Send> Reporter for Summary<W> {
    fn on(&mut self, event: &Event) -> Result<(), ReportError> {
        let Event::Finished(report) = event else {
            return Ok(());
        };
        let text = summarise(report, &self.source, self.screen);
        self.out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
            .map_err(|cause| ReportError::Stream {
                name: "standard output",
                cause,
            })
    }
}

/// Cells that share a trouble, told together.
struct Group<'a> {
    trouble: &'a Trouble,
    verdict: Verdict,
    cells: Vec<&'a CellReport>,
}

fn summarise(report: &RunReport, source: &MatrixSource, screen: Screen) -> String {
    let mut out = String::new();
    // What kept cells from their verdicts comes first: it may be the cause of the rest.
    for group in groups(report).iter().take(MAX_CELLS_TOLD) {
        out.push_str(&tell_group(group, report, source, screen));
    }
    let unexpected = |cell: &&CellReport| cell.verdict != Verdict::ExpectedFailure;
    let told = report.cells.iter().filter(unexpected);
    let judged: Vec<_> = told.filter(|c| has_bad_check(c)).collect();
    for cell in judged.iter().take(MAX_CELLS_TOLD) {
        out.push_str(&tell_cell(cell, report, source, screen));
    }
    if judged.len() > MAX_CELLS_TOLD {
        let rest = counted(judged.len() - MAX_CELLS_TOLD, "cell");
        let _infallible = writeln!(out, "and {rest} more, see index.html\n");
    }
    out.push_str(&expected(report, screen));
    let _infallible = writeln!(out, "{}", counts(report, screen));
    let dir = line(&report.out.to_string_lossy());
    let _infallible = writeln!(out, "evidence: {dir}/index.html, run.json, junit.xml");
    if report.interrupted {
        out.push_str("the run was interrupted\n");
    }
    out.push_str(&kept(report));
    for what in &report.left_behind {
        let _infallible = writeln!(out, "left behind: {}", line(what));
    }
    out
}

fn has_bad_check(cell: &CellReport) -> bool {
    bad_checks(cell).next().is_some()
}

fn tell_cell(
    cell: &CellReport,
    report: &RunReport,
    source: &MatrixSource,
    screen: Screen,
) -> String {
    let mut out = format!(
        "{} {}\n",
        verdict_word(cell.verdict, 0, screen),
        line(&cell.cell)
    );
    for check in bad_checks(cell) {
        let why = explain_check(check, source, screen, MAX_TERMINAL_BYTES);
        out.push_str(&indent(&why, INDENT));
    }
    out.push_str(&evidence(cell, report));
    out.push('\n');
    out
}

/// Where the evidence of a cell is, in a line; empty where it has none.
fn evidence(cell: &CellReport, report: &RunReport) -> String {
    let Some(evidence) = &cell.evidence else {
        return String::new();
    };
    let dir = line(&report.out.join(evidence).to_string_lossy());
    format!("{:INDENT$}evidence: {dir}\n", "")
}

/// The cells that failed as expected, each with what failed in it.
fn expected(report: &RunReport, screen: Screen) -> String {
    let mut out = String::new();
    let expected = |cell: &&CellReport| cell.verdict == Verdict::ExpectedFailure;
    let cells: Vec<_> = report.cells.iter().filter(expected).collect();
    for cell in cells.iter().take(MAX_CELLS_TOLD) {
        let word = verdict_word(cell.verdict, 0, screen);
        let reason = line(cell.expected.as_deref().unwrap_or_default());
        let _infallible = writeln!(out, "{word} {}: {reason}", line(&cell.cell));
        for failed in failed_lines(cell).take(MAX_CELLS_NAMED) {
            let _infallible = writeln!(out, "{:INDENT$}{}", "", line(failed));
        }
    }
    if cells.len() > MAX_CELLS_TOLD {
        let rest = counted(cells.len() - MAX_CELLS_TOLD, "cell");
        let _infallible = writeln!(out, "and {rest} more, see index.html");
    }
    if !cells.is_empty() {
        out.push('\n');
    }
    out
}

/// What `--keep` left on the engine, and what can be done with it; empty where it left nothing.
fn kept(report: &RunReport) -> String {
    let cells: Vec<_> = report.cells.iter().filter(|c| !c.kept.is_empty()).collect();
    let Some(example) = cells.first().and_then(|cell| cell.kept.first()) else {
        return String::new();
    };
    let mut out = "kept on the engine, hosts first:\n".to_owned();
    for cell in cells.iter().take(MAX_CELLS_TOLD) {
        let names: Vec<_> = cell.kept.iter().map(|name| line(name)).collect();
        let (cell, names) = (line(&cell.cell), names.join(" "));
        let _infallible = writeln!(out, "{:INDENT$}{cell}: {names}", "");
    }
    if cells.len() > MAX_CELLS_TOLD {
        let rest = counted(cells.len() - MAX_CELLS_TOLD, "cell");
        let _infallible = writeln!(out, "{:INDENT$}and {rest} more, see run.json", "");
    }
    let example = line(example);
    let _infallible = write!(
        out,
        "look at one on the engine's machine: \
         nsenter -t $(docker inspect -f {{{{.State.Pid}}}} {example}) -n ss -tan\n\
         a program whose image has a shell: docker exec -it NAME sh\n\
         `rig gc` removes all of it\n"
    );
    out
}

/// The troubles of a run, those of the same words and place as one, in order of the first cell.
fn groups(report: &RunReport) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for cell in &report.cells {
        let Some(trouble) = &cell.trouble else {
            continue;
        };
        if cell.verdict == Verdict::ExpectedFailure {
            continue;
        }
        let same = groups
            .iter_mut()
            .find(|group| group.verdict == cell.verdict && group.trouble == trouble);
        match same {
            Some(group) => group.cells.push(cell),
            None => groups.push(Group {
                trouble,
                verdict: cell.verdict,
                cells: vec![cell],
            }),
        }
    }
    groups
}

fn tell_group(
    group: &Group<'_>,
    report: &RunReport,
    source: &MatrixSource,
    screen: Screen,
) -> String {
    let mut out = verdict_word(group.verdict, 0, screen);
    if let [cell] = group.cells[..] {
        let _infallible = writeln!(out, " {}", line(&cell.cell));
    } else {
        let _infallible = writeln!(out, " {}:", counted(group.cells.len(), "cell"));
        for cell in group.cells.iter().take(MAX_CELLS_NAMED) {
            let _infallible = writeln!(out, "{:INDENT$}{}", "", line(&cell.cell));
        }
        if group.cells.len() > MAX_CELLS_NAMED {
            let rest = group.cells.len() - MAX_CELLS_NAMED;
            let _infallible = writeln!(out, "{:INDENT$}and {rest} more", "");
        }
    }
    let why = explain_trouble(group.trouble, source, screen);
    out.push_str(&indent(&why, INDENT));
    if let Some(told) = not_judged(group.cells.iter().copied()) {
        let _infallible = writeln!(out, "{:INDENT$}{told}", "");
    }
    match group.cells[..] {
        // Where checks are told as well, it stands there.
        [cell] if !has_bad_check(cell) => out.push_str(&evidence(cell, report)),
        _ => {}
    }
    out.push('\n');
    out
}

fn counts(report: &RunReport, screen: Screen) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(screen.columns);
    if screen.colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let mut header = vec![Cell::new("matrix")];
    let mut row = vec![Cell::new(line(&report.matrix))];
    for verdict in ORDER {
        let count = report.count(verdict);
        // Few matrices have any, and a terminal is narrow.
        if verdict == Verdict::ExpectedFailure && count == 0 {
            continue;
        }
        let cell = right(count.to_string());
        header.push(right(verdict.word().to_owned()));
        row.push(if count > 0 {
            cell.fg(colour(verdict))
        } else {
            cell
        });
    }
    header.extend([right("cells".into()), right("time".into())]);
    row.push(right(report.cells.len().to_string()));
    row.push(right(show_duration(report.took)));
    table.set_header(header).add_row(row);
    table
}

fn colour(verdict: Verdict) -> Color {
    match verdict {
        Verdict::Pass => Color::Green,
        Verdict::Skipped => Color::Grey,
        Verdict::ExpectedFailure | Verdict::Inconclusive => Color::Yellow,
        Verdict::Fail | Verdict::Error => Color::Red,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn what_did_not_pass_and_the_counts() {
        let text = summarise(&sample::run_report(), &sample::source(), Screen::FILE);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_run_that_passed_is_told_in_a_few_lines() {
        let mut report = sample::run_report();
        report.cells.truncate(1);
        report.interrupted = false;
        report.left_behind.clear();
        insta::assert_snapshot!(summarise(&report, &sample::source(), Screen::FILE));
    }

    #[test]
    fn a_thousand_cells_do_not_drown_the_reader() {
        let mut report = sample::run_report();
        let failed = report.cells[1].clone();
        let error = report.cells[4].clone();
        for _ in 0..1000 {
            report.cells.push(failed.clone());
            report.cells.push(error.clone());
        }
        let text = summarise(&report, &sample::source(), Screen::FILE);
        assert!(
            text.contains("and 951 cells more, see index.html"),
            "{text}"
        );
        assert!(text.contains("error 1002 cells:") && text.contains("and 992 more"));
        assert!(text.lines().count() < 1000);
    }

    #[test]
    fn hostile_text_is_shown_and_not_acted_upon() {
        let text = summarise(&sample::hostile_report(), &sample::source(), Screen::FILE);
        assert!(
            !text
                .chars()
                .any(|c| c != '\n' && crate::units::acts_on_terminal(c))
        );
        assert!(text.len() < 400_000, "{}", text.len());
    }

    #[test]
    fn colour_is_in_the_words_and_the_counts() {
        let colour = Screen {
            colour: true,
            ..Screen::FILE
        };
        let text = summarise(&sample::run_report(), &sample::source(), colour);
        assert!(text.contains("\u{1b}[31mfail\u{1b}[0m client=netcat"));
    }
}
