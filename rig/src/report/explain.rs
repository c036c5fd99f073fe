//! Why a cell did not pass, pointing into the matrix file: one renderer for the terminal, `JUnit`
//! and HTML.

use std::fmt::{self, Write as _};
use std::path::Path;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};

use super::Screen;
use super::text::{self, MAX_LINE_BYTES, block, counted, indent};
use crate::judge::{CheckReport, Verdict};
use crate::run::{CellReport, Trouble};
use crate::spec::Place;
use crate::units::printable;

/// How many lines of the matrix file stand before and after the one that is pointed at.
const CONTEXT_LINES: usize = 1;

/// The most frames that are named; the rest are counted.
const MAX_FRAMES_NAMED: usize = 20;

/// Columns by which what belongs to a check stands in.
const INDENT: usize = 2;

/// The text of a matrix file, for errors that point into it.
#[derive(Debug, Clone)]
pub struct MatrixSource {
    name: String,
    text: String,
}

impl MatrixSource {
    /// The file as it was named, and its text.
    #[must_use]
    pub fn new(path: &Path, text: impl Into<String>) -> Self {
        Self {
            name: text::line(&path.to_string_lossy()),
            text: text.into(),
        }
    }

    /// `matrix.yaml:12`, or the file alone for a place that is not known.
    #[must_use]
    pub fn at(&self, place: Place) -> String {
        if place.line == 0 {
            self.name.clone()
        } else {
            format!("{}:{}", self.name, place.line)
        }
    }

    /// The line at `place` with those around it, harmless and bounded; `None` when the file has no
    /// such line.
    fn excerpt(&self, place: Place) -> Option<Excerpt> {
        let target = usize::try_from(place.line).ok()?.checked_sub(1)?;
        let first = target.saturating_sub(CONTEXT_LINES);
        let count = target + CONTEXT_LINES + 1 - first;
        let mut text = String::new();
        let mut span = None;
        for (index, line) in self.text.lines().enumerate().skip(first).take(count) {
            let start = text.len();
            text.push_str(&text::line(line));
            if index == target {
                span = Some(pointed_at(line, place, start, text.len()));
            }
            text.push('\n');
        }
        Some(Excerpt {
            name: self.name.clone(),
            text,
            first,
            span: span?,
        })
    }
}

/// Where the part of `line` that `place` means stands once the line was made harmless and put at
/// `start..end` of an excerpt. A place that goes on over several lines is cut at the first.
fn pointed_at(line: &str, place: Place, start: usize, end: usize) -> SourceSpan {
    let column = usize::try_from(place.column).map_or(0, |column| column.saturating_sub(1));
    let from = line
        .char_indices()
        .nth(column)
        .map_or(line.len(), |(offset, _)| offset);
    let to = line.floor_char_boundary(from.saturating_add(place.len_bytes).min(line.len()));
    let safe_from = (start + printable(&line[..from]).len()).min(end);
    let safe_to = (safe_from + printable(&line[from..to]).len()).min(end);
    (safe_from, (safe_to - safe_from).max(1)).into()
}

/// Some lines of a matrix file.
#[derive(Debug)]
struct Excerpt {
    name: String,
    text: String,
    /// Number of the first line, counted from 0.
    first: usize,
    span: SourceSpan,
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let inner = self.text.read_span(span, before, after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            inner.data(),
            *inner.span(),
            inner.line() + self.first,
            inner.column(),
            inner.line_count(),
        )))
    }
}

/// A message with the lines of the matrix file that it is about.
#[derive(Debug)]
struct Pointed {
    message: String,
    hint: Option<String>,
    excerpt: Option<Excerpt>,
}

impl fmt::Display for Pointed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Pointed {}

impl Diagnostic for Pointed {
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        Some(Box::new(self.hint.as_ref()?))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.excerpt.as_ref()?)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.excerpt.as_ref()?.span;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(
            None, span,
        ))))
    }
}

/// A check and why it has its verdict: the place in the file, what was expected and what came, the
/// ladder, the frames. At most `max_bytes` of detail and of ladder.
#[must_use]
pub fn explain_check(
    report: &CheckReport,
    source: &MatrixSource,
    screen: Screen,
    max_bytes: usize,
) -> String {
    let mut out = pointed(
        &format!("{}: {}", report.verdict.word(), text::line(&report.check)),
        None,
        Some(report.place),
        source,
        screen,
    );
    if !report.detail.is_empty() {
        out.push_str(&indent(&block(&report.detail, max_bytes), INDENT));
    }
    if let Some(ladder) = &report.ladder {
        out.push('\n');
        out.push_str(&indent(&block(ladder, max_bytes), INDENT));
    }
    if !report.frames.is_empty() {
        let _infallible = writeln!(out, "{:INDENT$}{}", "", frames(&report.frames));
    }
    out
}

/// What kept a cell from a plain verdict, and what may mend it.
#[must_use]
pub fn explain_trouble(trouble: &Trouble, source: &MatrixSource, screen: Screen) -> String {
    pointed(
        &trouble.message,
        trouble.hint.as_deref(),
        trouble.place,
        source,
        screen,
    )
}

/// The checks whose reasons are worth telling: those that do not hold or could not be told. One
/// that was not judged has its reason in the trouble of the cell.
pub(super) fn bad_checks(cell: &CellReport) -> impl Iterator<Item = &CheckReport> {
    let checks = cell.checks.iter();
    checks.filter(|check| !matches!(check.verdict, Verdict::Pass | Verdict::Skipped))
}

/// The checks and steps of a cell that failed, in a line each.
pub(super) fn failed_lines(cell: &CellReport) -> impl Iterator<Item = &str> {
    let steps = cell.steps.iter().filter(|s| s.verdict == Verdict::Fail);
    let checks = cell.checks.iter().filter(|c| c.verdict == Verdict::Fail);
    let steps = steps.map(|step| step.step.as_str());
    steps.chain(checks.map(|check| check.check.as_str()))
}

/// `8 checks not judged`; `None` where all were.
pub(super) fn not_judged<'a>(cells: impl IntoIterator<Item = &'a CellReport>) -> Option<String> {
    let checks = cells.into_iter().flat_map(|cell| &cell.checks);
    let count = checks
        .filter(|check| check.verdict == Verdict::Skipped)
        .count();
    (count > 0).then(|| format!("{} not judged", counted(count, "check")))
}

/// `kept: rig-1-0-hub, rig-1-0-server-1`; `None` where nothing was.
pub(super) fn kept_told(cell: &CellReport) -> Option<String> {
    let names: Vec<_> = cell.kept.iter().map(|name| text::line(name)).collect();
    (!names.is_empty()).then(|| format!("kept: {}", names.join(", ")))
}

/// `frames 4, 9 of wire.pcapng`.
pub(super) fn frames(frames: &[u64]) -> String {
    let named: Vec<_> = frames
        .iter()
        .take(MAX_FRAMES_NAMED)
        .map(ToString::to_string)
        .collect();
    let noun = if frames.len() == 1 { "frame" } else { "frames" };
    let more = match frames.len().saturating_sub(MAX_FRAMES_NAMED) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    format!("{noun} {}{more} of wire.pcapng", named.join(", "))
}

fn pointed(
    message: &str,
    hint: Option<&str>,
    place: Option<Place>,
    source: &MatrixSource,
    screen: Screen,
) -> String {
    let diagnostic = Pointed {
        message: block(message, 10 * MAX_LINE_BYTES),
        hint: hint.map(|hint| block(hint, 10 * MAX_LINE_BYTES)),
        excerpt: place.and_then(|place| source.excerpt(place)),
    };
    let theme = if screen.colour {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let mut out = String::new();
    let rendered = GraphicalReportHandler::new_themed(theme)
        .with_width(usize::from(screen.columns))
        .with_links(false)
        .with_wrap_lines(false)
        .with_context_lines(CONTEXT_LINES)
        .render_report(&mut out, &diagnostic);
    // A place that miette cannot show must not hide the message.
    if rendered.is_err() {
        out = format!("{}\n", diagnostic.message);
    }
    out.trim_start_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::text::MAX_TERMINAL_BYTES;

    fn place(line: u32, column: u32, len_bytes: usize) -> Place {
        Place {
            line,
            column,
            offset_bytes: 0,
            len_bytes,
        }
    }

    fn report(place: Place) -> CheckReport {
        CheckReport {
            check: "flow alice -> server fate SF".into(),
            place,
            verdict: Verdict::Fail,
            detail: "expected fate SF, came RSTO".into(),
            ladder: None,
            frames: vec![4, 9],
        }
    }

    fn explain(text: &str, place: Place) -> String {
        let source = MatrixSource::new(Path::new("m.yaml"), text);
        explain_check(&report(place), &source, Screen::FILE, MAX_TERMINAL_BYTES)
    }

    #[test]
    fn points_at_the_check_in_the_file() {
        let text = "version: 1\nchecks:\n  - { flow: alice -> server, fate: SF }\nnodes: {}\n";
        insta::assert_snapshot!(explain(text, place(3, 5, 35)), @"
          × fail: flow alice -> server fate SF
           ╭─[m.yaml:3:5]
         2 │ checks:
         3 │   - { flow: alice -> server, fate: SF }
           ·     ───────────────────────────────────
         4 │ nodes: {}
           ╰────
          expected fate SF, came RSTO
          frames 4, 9 of wire.pcapng
        ");
    }

    #[test]
    fn escapes_before_and_in_the_place_do_not_move_the_marker() {
        let text = "a: \u{1b}[2J\u{202e} { flow: x }\n";
        insta::assert_snapshot!(explain(text, place(1, 10, 11)), @r"
          × fail: flow alice -> server fate SF
           ╭─[m.yaml:1:22]
         1 │ a: \u{1b}[2J\u{202e} { flow: x }
           ·                      ───────────
           ╰────
          expected fate SF, came RSTO
          frames 4, 9 of wire.pcapng
        ");
    }

    #[test]
    fn a_place_beyond_the_file_or_over_many_lines_or_in_a_huge_line_is_no_trouble() {
        for place in [
            Place::default(),
            place(1, 1, usize::MAX),
            place(1, u32::MAX, 1),
            place(u32::MAX, 1, 1),
            place(2, 1, 0),
        ] {
            let long = format!("{}\n{}\n", "è".repeat(1 << 20), "\u{1b}".repeat(1 << 20));
            for text in ["", "a", long.as_str()] {
                let shown = explain(text, place);
                assert!(shown.contains("expected fate SF, came RSTO"), "{place:?}");
                assert!(
                    shown.len() < 20_000 && !shown.contains('\u{1b}'),
                    "{place:?}"
                );
            }
        }
    }
}
