//! Cells that the matrix file expects to fail.

use super::event::{CellReport, Trouble};
use crate::backend::Blame;
use crate::judge::Verdict;
use crate::spec::ExpectedFailure;

/// What a cell comes to, seen with what the file expects of it: to fail as expected is no failure,
/// and to pass is one. What could not be run, or not be told, stays so.
pub(super) fn weigh(mut report: CellReport, expected: Option<&ExpectedFailure>) -> CellReport {
    let Some(expected) = expected else {
        return report;
    };
    report.expected = Some(expected.reason.clone());
    match report.verdict {
        Verdict::Fail => match others(&report, &expected.fails) {
            None => report.verdict = Verdict::ExpectedFailure,
            Some(other) => {
                let message = format!("failed otherwise than expected: {other}");
                report.trouble.get_or_insert_with(|| Trouble {
                    message,
                    hint: Some(
                        "`fails` tells what is expected to fail, in the words of such a line"
                            .to_owned(),
                    ),
                    place: Some(expected.place),
                    blame: Blame::Nobody,
                });
            }
        },
        Verdict::Pass => {
            report.verdict = Verdict::Fail;
            report.trouble = Some(Trouble {
                message: format!("passed though it was expected to fail: {}", expected.reason),
                hint: Some("take it out of `expected-failures`".to_owned()),
                place: Some(expected.place),
                blame: Blame::Nobody,
            });
        }
        _ => {}
    }
    report
}

/// A check or step that failed and is not among those that are expected to.
fn others<'r>(report: &'r CellReport, expected: &[String]) -> Option<&'r str> {
    if expected.is_empty() {
        return None;
    }
    let steps = report.steps.iter().map(|s| (s.verdict, s.step.as_str()));
    let checks = report.checks.iter().map(|c| (c.verdict, c.check.as_str()));
    let failed = steps.chain(checks).filter(|(v, _)| *v == Verdict::Fail);
    let mut lines = failed.map(|(_, line)| line);
    lines.find(|line| !expected.iter().any(|part| line.contains(part)))
}
