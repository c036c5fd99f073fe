//! `junit.xml`: one suite for the matrix, one test case for each cell.

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::explain::{bad_checks, failed_lines, not_judged};
use super::reporter::ReportError;
use super::text::{self, MAX_FILE_BYTES, line, rfc3339};
use super::{MatrixSource, Screen, explain_check, explain_trouble};
use crate::judge::Verdict;
use crate::run::{CellReport, RunReport};

/// The document.
pub(super) fn junit(report: &RunReport, source: &MatrixSource) -> Result<Vec<u8>, ReportError> {
    let mut suite = TestSuite::new(line(&report.matrix));
    suite
        .set_time(report.took)
        .add_property(Property::new("run", line(&report.run)))
        .add_property(Property::new("file", line(&report.file.to_string_lossy())))
        .add_test_cases(report.cells.iter().map(|cell| case(cell, report, source)));
    suite.timestamp = rfc3339(report.started).parse().ok();
    let mut document = Report::new("rig");
    document.set_time(report.took).add_test_suite(suite);
    document.timestamp = rfc3339(report.started).parse().ok();
    let mut out = Vec::new();
    document
        .serialize(&mut out)
        .map_err(|error| ReportError::Format {
            what: "junit.xml",
            cause: error.to_string(),
        })?;
    Ok(out)
}

fn case(cell: &CellReport, report: &RunReport, source: &MatrixSource) -> TestCase {
    let mut case = TestCase::new(line(&cell.cell), status(cell, source));
    case.set_classname(line(&report.matrix)).set_time(cell.took);
    if cell.verdict != Verdict::Skipped {
        case.timestamp = rfc3339(cell.started).parse().ok();
    }
    if let Some(evidence) = &cell.evidence {
        case.add_property(Property::new("evidence", line(&evidence.to_string_lossy())));
    }
    case
}

/// `inconclusive` is an error of a type of its own: the format has no word for it, and a failure
/// would claim that a check does not hold.
fn status(cell: &CellReport, source: &MatrixSource) -> TestCaseStatus {
    let mut status = match cell.verdict {
        Verdict::Pass => return TestCaseStatus::success(),
        Verdict::Skipped => TestCaseStatus::skipped(),
        Verdict::ExpectedFailure => return expected_failure(cell),
        Verdict::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Verdict::Error | Verdict::Inconclusive => {
            TestCaseStatus::non_success(NonSuccessKind::Error)
        }
    };
    let (message, description) = reasons(cell, source);
    status.set_message(message);
    if cell.verdict != Verdict::Skipped {
        status.set_type(cell.verdict.word());
        status.set_description(description);
    }
    status
}

/// As other runners tell it: the format has no word for a failure that is known.
fn expected_failure(cell: &CellReport) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    let reason = line(cell.expected.as_deref().unwrap_or_default());
    let failed: Vec<_> = failed_lines(cell).map(line).collect();
    status
        .set_message(format!("expected failure: {reason}"))
        .set_type(cell.verdict.word())
        .set_description(text::bounded(&failed.join("\n"), MAX_FILE_BYTES).into_owned());
    status
}

/// The first reason in a line, and all of them.
fn reasons(cell: &CellReport, source: &MatrixSource) -> (String, String) {
    let trouble = cell.trouble.iter();
    let bad = || bad_checks(cell);
    let first = trouble
        .clone()
        .map(|trouble| line(&trouble.message))
        .chain(bad().map(|check| line(&format!("{}: {}", check.check, check.detail))))
        .next()
        .unwrap_or_default();
    let all: Vec<_> = trouble
        .map(|trouble| explain_trouble(trouble, source, Screen::FILE))
        .chain(bad().map(|check| explain_check(check, source, Screen::FILE, MAX_FILE_BYTES)))
        .chain(not_judged([cell]))
        .collect();
    (
        first,
        text::bounded(&all.join("\n"), 4 * MAX_FILE_BYTES).into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn written(report: &RunReport) -> String {
        String::from_utf8(junit(report, &sample::source()).unwrap()).unwrap()
    }

    #[test]
    fn one_case_a_cell() {
        insta::assert_snapshot!(written(&sample::run_report()));
    }

    #[test]
    fn hostile_text_is_no_markup() {
        let text = written(&sample::hostile_report());
        assert!(!text.contains("<script>") && text.contains("&lt;script&gt;"));
        assert!(
            !text
                .chars()
                .any(|c| c != '\n' && crate::units::acts_on_terminal(c))
        );
        assert!(text.len() < 2_000_000, "{}", text.len());
    }
}
