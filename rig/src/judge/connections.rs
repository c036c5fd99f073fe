//! Flow checks: the connections between two nodes.

use crate::analysis::Flow;
use crate::plan::{Copies, FlowCheck, NodePlan, Plan};
use crate::units::HostName;

use super::complete;
use super::finding::{Finding, listed};
use super::rules::{FlowNames, FlowRules};
use super::select::{Selection, goes_to_name_server, select};
use super::types::{Evidence, Verdict};

/// How many flows a detail names.
const MAX_FLOWS_NAMED: usize = 4;
/// How many a check without `count` asks for.
const AT_LEAST_ONE: Copies = Copies { min: 1, max: None };

/// Judges a flow check.
pub(super) fn judge(check: &FlowCheck, plan: &Plan, evidence: &Evidence) -> Finding {
    let ends = [&check.flows.initiator, &check.flows.responder];
    let [Some(initiator), Some(responder)] = ends.map(|end| plan.node(&end.node)) else {
        let detail = format!(
            "{} or {} is not part of the cell",
            ends[0].node, ends[1].node
        );
        return Finding::new(Verdict::Error, &detail);
    };
    let hosts: Vec<&HostName> = if initiator.host == responder.host {
        vec![&initiator.host]
    } else {
        vec![&initiator.host, &responder.host]
    };
    if let Some(doubt) = complete::doubt(evidence, &hosts) {
        return Finding::inconclusive(&doubt);
    }
    let selection = select(&check.flows, initiator, responder, plan, evidence);
    if !selection.doubtful.is_empty() {
        return doubtful(&selection, initiator);
    }
    let names = FlowNames {
        initiator: initiator.name.to_string(),
        responder: responder.name.to_string(),
    };
    let flows = match counted(check, &selection, &names, evidence) {
        Ok(flows) => flows,
        Err(finding) => return finding,
    };
    judge_each(check, &flows, &names)
}

/// The connections whose opener is not known, and why that matters.
fn doubtful(selection: &Selection<'_>, initiator: &NodePlan) -> Finding {
    let flows = selection.doubtful.iter();
    let shown = listed(
        flows.map(|flow| {
            format!(
                "{} -> {} (frame {})",
                flow.orig, flow.resp, flow.first_frame
            )
        }),
        MAX_FLOWS_NAMED,
    );
    let frames = selection.doubtful.iter().map(|flow| flow.first_frame);
    Finding::inconclusive(&format!(
        "no owner is known of {shown}: {} may have opened it, or another program of its host",
        initiator.name
    ))
    .resting_on(frames.collect())
}

/// The flows to look at, when there are as many as there must be.
fn counted<'a>(
    check: &FlowCheck,
    selection: &Selection<'a>,
    names: &FlowNames,
    evidence: &Evidence,
) -> Result<Vec<&'a Flow>, Finding> {
    let flows = &selection.flows;
    let found = flows.len() as u64;
    let wanted = match (check.count, check.flows.nth) {
        (Some(count), _) => count,
        (None, Some(nth)) => Copies {
            min: nth as u64,
            max: None,
        },
        (None, None) => AT_LEAST_ONE,
    };
    let all = || flows.iter().map(|flow| flow.first_frame).collect();
    if !wanted.allow(found) {
        let seen = if flows.is_empty() {
            let others: Vec<_> = evidence
                .flows
                .iter()
                .filter(|flow| !goes_to_name_server(flow))
                .map(|flow| format!("{} -> {}", flow.orig, flow.resp))
                .collect();
            match others.len() {
                0 => "the capture has no connection at all".to_owned(),
                _ => format!(
                    "the capture has {}",
                    listed(others.into_iter(), MAX_FLOWS_NAMED)
                ),
            }
        } else {
            listed(flows.iter().map(|flow| named(flow, names)), MAX_FLOWS_NAMED)
        };
        let detail = format!("connections: expected {wanted}, found {found}; {seen}");
        return Err(Finding::fail(&detail).resting_on(all()));
    }
    match check.flows.nth {
        None => Ok(flows.clone()),
        Some(nth) => match nth.checked_sub(1).and_then(|index| flows.get(index)) {
            Some(flow) => Ok(vec![flow]),
            None => Err(Finding::fail(&format!(
                "connection number {nth} is meant, there are {found}"
            ))
            .resting_on(all())),
        },
    }
}

/// Holds each flow against the check's rules.
fn judge_each(check: &FlowCheck, flows: &[&Flow], names: &FlowNames) -> Finding {
    let rules = FlowRules {
        fate: &check.fate,
        closed_by: check.closed_by,
        pattern: check.pattern.as_ref(),
        never: &check.never,
    };
    let mut passed = Vec::new();
    let mut failed = Vec::new();
    let mut problems = Vec::new();
    let mut annotations = Vec::new();
    let mut ladder = None;
    for flow in flows {
        let outcome = rules.check(flow, names);
        annotations.extend(outcome.annotations);
        if outcome.problems.is_empty() {
            passed.extend(outcome.frames);
            continue;
        }
        failed.extend(outcome.frames);
        ladder = ladder.or(outcome.ladder);
        problems.push(format!(
            "{}: {}",
            named(flow, names),
            outcome.problems.join("; ")
        ));
    }
    let mut finding = if problems.is_empty() {
        Finding::pass().resting_on(passed)
    } else {
        let shown = listed(problems.into_iter(), MAX_FLOWS_NAMED);
        Finding::fail(&shown).resting_on(failed)
    };
    finding.ladder = ladder;
    finding.annotations = annotations;
    finding
}

/// A flow with the names of its ends.
fn named(flow: &Flow, names: &FlowNames) -> String {
    format!(
        "{} {} -> {} {} (frame {})",
        names.initiator, flow.orig, names.responder, flow.resp, flow.first_frame
    )
}
