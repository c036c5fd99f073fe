//! `index.html`: the run on one page, without scripts and without anything from elsewhere.

use std::fmt::Write as _;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use super::explain::kept_told;
use super::reporter::ReportError;
use super::text::{MAX_FILE_BYTES, counted, line, rfc3339};
use super::{MatrixSource, Screen, explain_check, explain_trouble};
use crate::judge::Verdict;
use crate::run::{CellReport, RunReport};
use crate::units::show_duration;

const TEMPLATE: &str = include_str!("index.html.jinja");

/// Verdicts in the order of the page's first line.
const COUNTED: [Verdict; 6] = [
    Verdict::Pass,
    Verdict::ExpectedFailure,
    Verdict::Fail,
    Verdict::Error,
    Verdict::Inconclusive,
    Verdict::Skipped,
];

#[derive(Serialize)]
struct PageView {
    matrix: String,
    run: String,
    file: String,
    started: String,
    took: String,
    interrupted: bool,
    left_behind: Vec<String>,
    counts: Vec<CountView>,
    cells: Vec<CellView>,
}

#[derive(Serialize)]
struct CountView {
    word: &'static str,
    count: usize,
}

#[derive(Serialize)]
struct CellView {
    name: String,
    id: String,
    verdict: &'static str,
    took: String,
    expected: Option<String>,
    reasons: Vec<String>,
    screens: Vec<FileView>,
    checks: Vec<CheckView>,
    step_count: String,
    steps: Vec<StepView>,
    files: Vec<FileView>,
}

#[derive(Serialize)]
struct CheckView {
    text: String,
    verdict: &'static str,
    place: String,
    why: Option<String>,
}

#[derive(Serialize)]
struct StepView {
    text: String,
    verdict: &'static str,
    took: String,
}

#[derive(Serialize)]
struct FileView {
    name: String,
    href: String,
}

/// The page. `files_of` names the files of a cell's evidence, relative to the run's folder.
pub(super) fn page(
    report: &RunReport,
    source: &MatrixSource,
    files_of: &dyn Fn(&CellReport) -> Vec<String>,
) -> Result<Vec<u8>, ReportError> {
    let cells = report.cells.iter().enumerate();
    let counts = COUNTED.map(|verdict| CountView {
        word: verdict.word(),
        count: report.count(verdict),
    });
    let page = PageView {
        matrix: line(&report.matrix),
        run: line(&report.run),
        file: line(&report.file.to_string_lossy()),
        started: rfc3339(report.started),
        took: show_duration(report.took),
        interrupted: report.interrupted,
        left_behind: report.left_behind.iter().map(|what| line(what)).collect(),
        counts: counts.into(),
        cells: cells
            .map(|(index, cell)| view(index, cell, source, files_of))
            .collect(),
    };
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment
        .render_str(TEMPLATE, Serde(page))
        .map(String::into_bytes)
        .map_err(|error| ReportError::Format {
            what: "index.html",
            cause: error.to_string(),
        })
}

fn view(
    index: usize,
    cell: &CellReport,
    source: &MatrixSource,
    files_of: &dyn Fn(&CellReport) -> Vec<String>,
) -> CellView {
    let reason = cell
        .trouble
        .as_ref()
        .map(|trouble| explain_trouble(trouble, source, Screen::FILE));
    let checks = cell.checks.iter().map(|check| CheckView {
        text: line(&check.check),
        verdict: check.verdict.word(),
        place: source.at(check.place),
        why: (!matches!(check.verdict, Verdict::Pass | Verdict::Skipped))
            .then(|| explain_check(check, source, Screen::FILE, MAX_FILE_BYTES)),
    });
    let steps = cell.steps.iter().map(|step| StepView {
        text: line(&step.step),
        verdict: step.verdict.word(),
        took: show_duration(step.took),
    });
    let file = |path: String| FileView {
        href: href(&path),
        name: line(&path),
    };
    let folder = cell.evidence.clone().unwrap_or_default();
    let screens = cell.screens.iter().map(|screen| FileView {
        name: line(&screen.file_stem().unwrap_or_default().to_string_lossy()),
        ..file(folder.join(screen).to_string_lossy().into_owned())
    });
    let files = files_of(cell).into_iter().map(file);
    CellView {
        name: line(&cell.cell),
        id: format!("cell-{}", index + 1),
        verdict: cell.verdict.word(),
        took: match cell.verdict {
            Verdict::Skipped => String::new(),
            _ => show_duration(cell.took),
        },
        expected: cell.expected.as_deref().map(line),
        screens: screens.collect(),
        reasons: reason.into_iter().chain(kept_told(cell)).collect(),
        checks: checks.collect(),
        step_count: counted(cell.steps.len(), "step"),
        steps: steps.collect(),
        files: files.collect(),
    }
}

/// A relative reference to `path`: RFC 3986 section 4.2. The leading `./` keeps a first part with
/// a colon from being read as a scheme.
fn href(path: &str) -> String {
    let mut out = String::from("./");
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            _ => {
                let _infallible = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn rendered(report: &RunReport) -> String {
        let files = |cell: &CellReport| match &cell.evidence {
            Some(dir) => vec![format!("{}/wire.pcapng", dir.display())],
            None => vec![],
        };
        String::from_utf8(page(report, &sample::source(), &files).unwrap()).unwrap()
    }

    #[test]
    fn a_page_for_the_run() {
        insta::assert_snapshot!(rendered(&sample::run_report()));
    }

    #[test]
    fn nothing_from_outside_is_markup_and_no_script_may_run() {
        let mut report = sample::hostile_report();
        report.cells[0].evidence = Some("javascript:alert(1)//\"><b>".into());
        let page = rendered(&report);
        assert!(!page.contains("<script") && !page.contains("<b>"));
        assert!(page.contains("&lt;script&gt;"));
        assert!(page.contains(
            "href=\".&#x2f;javascript%3Aalert%281%29&#x2f;&#x2f;%22%3E%3Cb%3E&#x2f;wire.pcapng\""
        ));
        assert!(page.contains("default-src 'none'; style-src 'unsafe-inline'"));
        assert!(
            !page
                .chars()
                .any(|c| c != '\n' && crate::units::acts_on_terminal(c))
        );
        assert!(page.len() < 4_000_000, "{}", page.len());
    }
}
