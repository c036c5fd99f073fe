//! What a run's report means as a whole.

use crate::judge::Verdict;
use crate::run::RunReport;

/// How a run went, worst first: the command line turns it into the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was ended early by a signal.
    Interrupted,
    /// The machine, the engine or a program did not do its part in some cell, or something could
    /// not be removed from the machine.
    Error,
    /// A check does not hold in some cell.
    Failed,
    /// Some cell stayed inconclusive, and nothing failed.
    Inconclusive,
    /// Every cell that ran passed.
    Passed,
}

/// Sums a run up.
#[must_use]
pub fn outcome(report: &RunReport) -> Outcome {
    let any = |verdict| report.count(verdict) > 0;
    if report.interrupted {
        Outcome::Interrupted
    } else if any(Verdict::Error) || !report.left_behind.is_empty() {
        Outcome::Error
    } else if any(Verdict::Fail) {
        Outcome::Failed
    } else if any(Verdict::Inconclusive) {
        Outcome::Inconclusive
    } else {
        Outcome::Passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn with(verdicts: &[Verdict]) -> RunReport {
        let mut report = sample::run_report();
        report.left_behind.clear();
        report.interrupted = false;
        report.cells.truncate(verdicts.len());
        for (cell, verdict) in report.cells.iter_mut().zip(verdicts) {
            cell.verdict = *verdict;
        }
        assert_eq!(report.cells.len(), verdicts.len());
        report
    }

    #[test]
    fn the_worst_of_the_cells_decides() {
        use Verdict::{Error, Fail, Inconclusive, Pass, Skipped};
        assert_eq!(outcome(&with(&[])), Outcome::Passed);
        assert_eq!(outcome(&with(&[Pass, Skipped])), Outcome::Passed);
        assert_eq!(outcome(&with(&[Inconclusive, Pass])), Outcome::Inconclusive);
        assert_eq!(outcome(&with(&[Inconclusive, Fail])), Outcome::Failed);
        assert_eq!(outcome(&with(&[Fail, Error])), Outcome::Error);
    }

    #[test]
    fn an_interruption_and_what_is_left_behind_count_more_than_a_pass() {
        let mut report = with(&[Verdict::Pass]);
        report.left_behind.push("network rig-1-lan".into());
        assert_eq!(outcome(&report), Outcome::Error);
        report.interrupted = true;
        assert_eq!(outcome(&report), Outcome::Interrupted);
    }
}
