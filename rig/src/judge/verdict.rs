//! From a plan's checks to a judgement.

use crate::plan::{CheckKind, Plan};

use super::types::{CheckReport, Evidence, Judgement, Verdict};
use super::{complete, connections, links, programs, sockets, states};

/// Judges every check of `plan` by `evidence`.
#[must_use]
pub fn judge(plan: &Plan, evidence: &Evidence) -> Judgement {
    let mut checks = Vec::with_capacity(plan.checks.len());
    let mut annotations = Vec::new();
    for check in &plan.checks {
        let finding = match &check.kind {
            CheckKind::Flow(flow) => connections::judge(flow, plan, evidence),
            CheckKind::Exit(exit) => programs::judge_exit(exit, evidence),
            CheckKind::Output(output) => programs::judge_output(output, evidence),
            CheckKind::Loss(loss) => links::judge(loss, evidence),
            CheckKind::Sockets(sockets) => sockets::judge(sockets, plan, evidence),
        };
        annotations.extend(finding.annotations);
        checks.push(CheckReport {
            check: check.text.clone(),
            place: check.place,
            verdict: finding.verdict,
            detail: finding.detail,
            ladder: finding.ladder,
            frames: finding.frames,
        });
    }
    // Two checks may rest on one packet and say the same of it.
    annotations.sort();
    annotations.dedup();
    let worst = checks.iter().map(|check| check.verdict).max();
    let worst = worst.unwrap_or(Verdict::Pass);
    // A cell passes on complete evidence alone, also where no check looks at the wire.
    let taken = complete::taken_doubt(evidence);
    let doubt = taken.clone();
    let doubt = doubt.or_else(|| complete::doubt_of_cell(plan, evidence));
    let doubt = doubt.or_else(|| states::doubt(evidence));
    let verdict = match (taken, &doubt) {
        // What came of it is the machine's doing, good or bad.
        (Some(_), _) => Verdict::Inconclusive,
        (None, Some(_)) => worst.max(Verdict::Inconclusive),
        (None, None) => worst,
    };
    Judgement {
        verdict,
        checks,
        annotations,
        doubt,
    }
}
