//! One line for each thing that happened, for logs and pipes.

use std::fmt::Write as _;
use std::io::Write;
use std::time::{Duration, Instant};

use super::explain::bad_checks;
use super::reporter::{ReportError, Reporter};
use super::text::{self, counted, line, verdict_word};
use super::{MatrixSource, Screen};
use crate::judge::Verdict;
use crate::run::{CellReport, Event, ImageState, RunReport, Trouble};
use crate::units::show_duration;

/// Width of the longest verdict, in columns.
const VERDICT_COLUMNS: usize = "inconclusive".len();

/// The most checks of a cell that are told at once; the summary tells all.
const MAX_CHECKS_TOLD: usize = 5;

/// The most troubles that are remembered.
const MAX_KNOWN: usize = 100;

/// Least time between two lines about the making of images.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Columns by which the reason stands in.
const INDENT: usize = 4;

/// Tells what happens in plain lines.
pub struct Plain<W> {
    out: W,
    source: MatrixSource,
    screen: Screen,
    known: KnownTroubles,
    /// When the making of an image was last told of.
    told_of_image: Option<Instant>,
}

/// Troubles that were told, each with the first cell that had it: a trouble that all cells share
/// is told once.
#[derive(Default)]
pub(super) struct KnownTroubles(Vec<(Trouble, String)>);

impl KnownTroubles {
    /// The first cell that had this trouble, if it is not `cell`.
    fn first(&mut self, trouble: &Trouble, cell: &str) -> Option<&str> {
        match self.0.iter().position(|(known, _)| known == trouble) {
            Some(index) => self.0.get(index).map(|(_, first)| first.as_str()),
            None if self.0.len() < MAX_KNOWN => {
                self.0.push((trouble.clone(), cell.to_owned()));
                None
            }
            None => None,
        }
    }
}

impl<W: Write + Send> Plain<W> {
    /// Writes to `out`, which is standard error.
    pub fn new(out: W, source: MatrixSource, screen: Screen) -> Self {
        Self {
            out,
            source,
            screen,
            known: KnownTroubles::default(),
            told_of_image: None,
        }
    }

    /// What the making of an image prints, now and then: a compiler may be busy for minutes.
    fn progress(&mut self, event: &Event) -> Option<String> {
        let Event::Image { name, state } = event else {
            return None;
        };
        let recent = |at: Instant| at.elapsed() < PROGRESS_EVERY;
        let told = match state {
            ImageState::Output(_) if self.told_of_image.is_some_and(recent) => return None,
            ImageState::Output(text) => Some(format!("image {name}: {}\n", line(text))),
            ImageState::Working(_) | ImageState::Ready { .. } => None,
        };
        self.told_of_image = Some(Instant::now());
        told
    }
}

impl<W: Write + Send> Reporter for Plain<W> {
    fn on(&mut self, event: &Event) -> Result<(), ReportError> {
        let progress = self.progress(event);
        let told = told(event, &self.source, self.screen, &mut self.known);
        let Some(lines) = told.or(progress) else {
            return Ok(());
        };
        self.out
            .write_all(lines.as_bytes())
            .and_then(|()| self.out.flush())
            .map_err(|cause| ReportError::Stream {
                name: "standard error",
                cause,
            })
    }
}

/// The lines that tell of `event`, if it is worth one.
pub(super) fn told(
    event: &Event,
    source: &MatrixSource,
    screen: Screen,
    known: &mut KnownTroubles,
) -> Option<String> {
    Some(match event {
        Event::Started {
            run,
            matrix,
            cells,
            jobs,
            out,
        } => format!(
            "run {} of {}: {}, {jobs} at a time, evidence in {}\n",
            line(run),
            line(matrix),
            counted(cells.len(), "cell"),
            line(&out.to_string_lossy()),
        ),
        Event::Image { name, state } => match state {
            ImageState::Working(what) => format!("image {name}: {}\n", line(what)),
            // Shown by whoever has room for it.
            ImageState::Output(_) => return None,
            ImageState::Ready { reference, took } => format!(
                "image {name}: ready after {} ({})\n",
                show_duration(*took),
                line(reference)
            ),
        },
        Event::CellStarted { .. } | Event::Step { .. } => return None,
        Event::CellFinished(cell) => format!(
            "{} {}{}\n{}",
            verdict_word(cell.verdict, VERDICT_COLUMNS, screen),
            line(&cell.cell),
            match cell.verdict {
                Verdict::Skipped => String::new(),
                _ => format!(" ({})", show_duration(cell.took)),
            },
            text::indent(&why(cell, source, known), INDENT)
        ),
        Event::Interrupted => "interrupted: no further cell starts\n".to_owned(),
        Event::Finished(report) => left_behind(report),
    })
}

/// Why a cell did not pass, in a line for each reason; empty for one that did. The summary has the
/// details.
fn why(cell: &CellReport, source: &MatrixSource, known: &mut KnownTroubles) -> String {
    let mut out = String::new();
    if cell.verdict == Verdict::ExpectedFailure {
        let reason = line(cell.expected.as_deref().unwrap_or_default());
        let _infallible = writeln!(out, "expected: {reason}");
        return out;
    }
    let first = |trouble| known.first(trouble, &cell.cell).map(str::to_owned);
    if let Some(first) = cell.trouble.as_ref().and_then(first) {
        let _infallible = writeln!(out, "as {}", line(&first));
    } else if let Some(trouble) = &cell.trouble {
        let place = trouble
            .place
            .map_or_else(String::new, |place| format!(" ({})", source.at(place)));
        let message = trouble.message.trim_end();
        let (first, more) = match message.split_once('\n') {
            Some((first, _)) => (first, " …"),
            None => (message, ""),
        };
        let _infallible = writeln!(out, "{}{more}{place}", line(first));
    }
    for check in bad_checks(cell).take(MAX_CHECKS_TOLD) {
        let (word, text) = (check.verdict.word(), line(&check.check));
        let _infallible = writeln!(out, "{word}: {text} ({})", source.at(check.place));
    }
    let rest = bad_checks(cell).skip(MAX_CHECKS_TOLD).count();
    if rest > 0 {
        let _infallible = writeln!(out, "and {} more", counted(rest, "check"));
    }
    out
}

/// What a run could not remove, a line each.
fn left_behind(report: &RunReport) -> String {
    let told = report.left_behind.iter();
    let lines: Vec<_> = told
        .map(|what| format!("left behind: {}\n", line(what)))
        .collect();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn told_of(report: RunReport) -> String {
        let mut out = Vec::new();
        let mut plain = Plain::new(&mut out, sample::source(), Screen::FILE);
        for event in sample::events(report) {
            plain.on(&event).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_for_each_cell_and_the_reason_below() {
        insta::assert_snapshot!(told_of(sample::run_report()));
    }

    #[test]
    fn what_a_compiler_prints_is_told_now_and_then() {
        let mut out = Vec::new();
        let mut plain = Plain::new(&mut out, sample::source(), Screen::FILE);
        let line = |text: &str| Event::Image {
            name: crate::units::ImageName::new("chat").unwrap(),
            state: ImageState::Output(text.to_owned()),
        };
        plain.on(&line("Compiling tokio v1")).unwrap();
        plain.on(&line("Compiling chat v1")).unwrap();
        let long_ago = Instant::now().checked_sub(2 * PROGRESS_EVERY);
        plain.told_of_image = long_ago;
        plain.on(&line("Compiling \u{1b}[2J")).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "image chat: Compiling tokio v1\nimage chat: Compiling \\u{1b}[2J\n"
        );
    }

    #[test]
    fn hostile_text_is_shown_and_not_acted_upon() {
        let told = told_of(sample::hostile_report());
        assert!(
            !told
                .chars()
                .any(|c| c != '\n' && crate::units::acts_on_terminal(c))
        );
        assert!(told.contains("\\u{1b}[2J") && told.contains("\\u{202e}"));
        assert!(told.len() < 100_000, "{}", told.len());
    }

    #[test]
    fn colour_adds_renditions_and_nothing_else() {
        let colour = Screen {
            colour: true,
            ..Screen::FILE
        };
        let event = Event::CellFinished(Box::new(sample::run_report().cells[0].clone()));
        assert_eq!(
            told(
                &event,
                &sample::source(),
                colour,
                &mut KnownTroubles::default()
            )
            .unwrap(),
            "\u{1b}[32mpass        \u{1b}[0m client=terminal,ending=quit (1.23s)\n"
        );
    }
}
