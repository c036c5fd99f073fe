//! Errors that point into a matrix file, and how they are shown.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceSpan};

use super::source::harmless;
use super::{Place, Source};
use crate::units::printable;

/// The most errors that are told of one file; the rest are counted.
pub const MAX_PROBLEMS_SHOWN: usize = 50;
/// The longest message or hint, in characters.
const MAX_MESSAGE_CHARS: usize = 300;
/// The widest part of a line that is shown, in characters.
const MAX_SHOWN_CHARS: usize = 140;
/// Width of messages on a terminal, in columns.
const GRAPHICAL_WIDTH: usize = 100;

/// One error in a matrix file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong: a lower-case fragment.
    pub message: String,
    /// Where; `None` when the file as a whole is meant.
    pub place: Option<Place>,
    /// What could be done about it.
    pub hint: Option<String>,
    /// Another place that matters, and why.
    pub other: Option<Box<(Place, String)>>,
}

impl Problem {
    /// An error at a place; [`Place::default`] means the file as a whole.
    #[must_use]
    pub fn at(place: Place, message: impl Into<String>) -> Self {
        Self {
            message: shortened(message.into()),
            place: (place.line > 0).then_some(place),
            hint: None,
            other: None,
        }
    }

    /// An error of the file as a whole.
    #[must_use]
    pub fn of_file(message: impl Into<String>) -> Self {
        Self {
            message: shortened(message.into()),
            place: None,
            hint: None,
            other: None,
        }
    }

    /// Adds what could be done about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(shortened(hint.into()));
        self
    }

    /// Adds what could be done about it, if anything is known.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.map(shortened);
        self
    }

    /// Adds another place that matters.
    #[must_use]
    pub fn other(mut self, place: Place, why: impl Into<String>) -> Self {
        self.other = Some(Box::new((place, why.into())));
        self
    }
}

/// Every error found in a matrix file; at least one.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    source: Arc<Source>,
    problems: Vec<Problem>,
}

/// How errors are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// For a terminal: colours, and frames around the lines of the file.
    Graphical,
    /// For everything else: `file:line:column: message`, the line, a caret.
    Plain,
}

impl Diagnostics {
    /// Takes the errors of one file: sorted by their place, each told once.
    #[must_use]
    pub fn new(source: Arc<Source>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place);
        let mut told: Vec<Problem> = Vec::with_capacity(problems.len());
        for problem in problems {
            let same = |p: &&Problem| p.place == problem.place;
            if !told.iter().rev().take_while(same).any(|p| *p == problem) {
                told.push(problem);
            }
        }
        Self {
            source,
            problems: told,
        }
    }

    /// The file.
    #[must_use]
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The errors, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Every error as text with a line end. Nothing in it acts on a terminal but the colours of
    /// [`Style::Graphical`].
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let mut out = String::new();
        for problem in self.problems.iter().take(MAX_PROBLEMS_SHOWN) {
            match style {
                Style::Graphical if self.fits_frame(problem) => {
                    self.render_graphical(problem, &mut out);
                    out.push('\n');
                }
                _ => self.render_plain(problem, &mut out),
            }
        }
        let count = self.problems.len();
        let name = printable(self.source.name());
        // Writing to a string cannot fail.
        let _ = match count {
            1 => writeln!(out, "{name}: 1 error"),
            _ if count > MAX_PROBLEMS_SHOWN => {
                writeln!(
                    out,
                    "{name}: {count} errors, the first {MAX_PROBLEMS_SHOWN} shown"
                )
            }
            _ => writeln!(out, "{name}: {count} errors"),
        };
        out
    }

    /// Whether the problem's lines are short enough to be framed.
    fn fits_frame(&self, problem: &Problem) -> bool {
        let places = problem
            .place
            .iter()
            .chain(problem.other.iter().map(|o| &o.0));
        places
            .flat_map(|place| {
                let line = place.line as usize;
                line.saturating_sub(2)..=line
            })
            .all(|index| self.source.line(index).len() <= 2 * MAX_SHOWN_CHARS)
    }

    fn render_graphical(&self, problem: &Problem, out: &mut String) {
        let framed = Framed {
            problem,
            source: miette::NamedSource::new(
                printable(self.source.name()),
                self.source.shown().to_owned(),
            ),
        };
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode())
            .with_links(false)
            .with_width(GRAPHICAL_WIDTH);
        if handler.render_report(out, &framed).is_err() {
            self.render_plain(problem, out);
        }
    }

    fn render_plain(&self, problem: &Problem, out: &mut String) {
        let name = printable(self.source.name());
        let message = printable(&problem.message);
        // Writing to a string cannot fail, hence the ignored results.
        let _ = match problem.place {
            Some(place) => {
                let _ = writeln!(out, "{name}:{}:{}: {message}", place.line, place.column);
                self.snippet(place, out)
            }
            None => writeln!(out, "{name}: {message}"),
        };
        if let Some((place, why)) = problem.other.as_deref() {
            let (line, column, why) = (place.line, place.column, printable(why));
            let _ = writeln!(out, "      note: {why} at line {line}, column {column}");
        }
        if let Some(hint) = &problem.hint {
            let _ = writeln!(out, "      help: {}", printable(hint));
        }
        out.push('\n');
    }

    /// Writes the line of a place with a caret under it, cut to what fits.
    fn snippet(&self, place: Place, out: &mut String) -> fmt::Result {
        let line = harmless(self.source.line(place.line.saturating_sub(1) as usize));
        let column = place.column.saturating_sub(1) as usize;
        let end = place.offset_bytes + place.len_bytes;
        let marked = self.source.text().get(place.offset_bytes..end);
        let width = marked.map_or(1, |text| text.chars().count());
        let first = column.saturating_sub(MAX_SHOWN_CHARS / 2);
        let first = if line.chars().count() <= MAX_SHOWN_CHARS {
            0
        } else {
            first
        };
        let part = |from: usize, count: usize| line.chars().skip(from).take(count);
        let shown: String = part(first, MAX_SHOWN_CHARS).collect();
        // Tabs stay tabs, so that the caret stands under its character.
        let indent: String = part(first, column - first)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let room = MAX_SHOWN_CHARS.saturating_sub(column - first).max(1);
        let caret = "^".repeat(width.clamp(1, room));
        writeln!(out, "{:>5} | {shown}", place.line)?;
        writeln!(out, "      | {indent}{caret}")
    }
}

impl fmt::Display for Diagnostics {
    /// The first error in a line, and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = printable(self.source.name());
        let Some(first) = self.problems.first() else {
            return write!(f, "{name}: wrong input");
        };
        let message = printable(&first.message);
        match first.place {
            Some(place) => write!(f, "{name}:{}:{}: {message}", place.line, place.column)?,
            None => write!(f, "{name}: {message}")?,
        }
        match self.problems.len() - 1 {
            0 => Ok(()),
            more => write!(f, " (and {more} more)"),
        }
    }
}

impl std::error::Error for Diagnostics {}

impl miette::Diagnostic for Diagnostics {
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(self)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(
            self.problems
                .iter()
                .take(MAX_PROBLEMS_SHOWN)
                .filter_map(|problem| {
                    let message = printable(&problem.message);
                    Some(LabeledSpan::new_with_span(
                        Some(message),
                        span(problem.place?),
                    ))
                }),
        ))
    }
}

impl miette::SourceCode for Diagnostics {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        context_lines_before: usize,
        context_lines_after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'a> + 'a>, miette::MietteError> {
        let (before, after) = (context_lines_before, context_lines_after);
        let contents = self.source.shown().read_span(span, before, after)?;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            printable(self.source.name()),
            contents.data(),
            *contents.span(),
            contents.line(),
            contents.column(),
            contents.line_count(),
        )))
    }
}

/// A problem with the text it points into, made harmless.
#[derive(Debug)]
struct Framed<'a> {
    problem: &'a Problem,
    source: miette::NamedSource<String>,
}

impl fmt::Display for Framed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.problem.message))
    }
}

impl std::error::Error for Framed<'_> {}

impl miette::Diagnostic for Framed<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let hint = self.problem.hint.as_deref()?;
        Some(Box::new(printable(hint)))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.problem.place?;
        let here = LabeledSpan::new_primary_with_span(Some("here".to_owned()), span(place));
        let other = self
            .problem
            .other
            .as_deref()
            .map(|(place, why)| LabeledSpan::new_with_span(Some(printable(why)), span(*place)));
        Some(Box::new(std::iter::once(here).chain(other)))
    }
}

/// Cuts what a long name or text of the file made long.
fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_MESSAGE_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

fn span(place: Place) -> SourceSpan {
    SourceSpan::new(place.offset_bytes.into(), place.len_bytes)
}
