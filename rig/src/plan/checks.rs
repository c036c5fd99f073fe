//! Checks of a cell.

use super::captures;
use super::cell::{Named, Placement};
use super::{
    Action, Check, CheckKind, ExitCheck, FlowCheck, FlowSelector, LinkPlan, LossCheck, OutputCheck,
    SocketCheck, SocketRows, Step, Stream,
};
use crate::analysis::Sender;
use crate::spec::{
    CheckSpec, CheckSpecKind, ClosedBy, ExitSpec, Field, FlowCheckSpec, FlowEnds, FromText,
    Problem, closing_side,
};

/// The checks that apply in a cell: their `when` holds and their nodes are there.
pub(super) fn checks(
    placement: &Placement<'_>,
    steps: &[Step],
    problems: &mut Vec<Problem>,
) -> Vec<Check> {
    let mut checks = Vec::new();
    for check in &placement.spec.checks {
        if !placement.holds(&check.when) {
            continue;
        }
        match kind(placement, steps, check) {
            Ok(Some(kind)) => checks.push(Check {
                text: describe(&kind),
                kind,
                place: check.place,
            }),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    checks
}

/// A check for each rule of each link that it has lost a packet: those that the links have at
/// first, and those that steps add.
pub(super) fn losses(steps: &[Step], links: &[LinkPlan]) -> Vec<Check> {
    let mut checks = Vec::new();
    for link in links {
        let places = link.rule_places.iter().copied();
        let first = link.order.rules.iter().zip(places);
        let added = steps.iter().filter_map(|step| match &step.action {
            Action::Lose { link: on, rule } if *on == link.name => Some((&**rule, step.place)),
            _ => None,
        });
        for (rule, (text, place)) in first.chain(added).enumerate() {
            checks.push(Check {
                text: format!("lost on {}: {}", link.name, text.text),
                kind: CheckKind::Loss(LossCheck {
                    link: link.name.clone(),
                    rule,
                }),
                place,
            });
        }
    }
    checks
}

/// What a check is about in this cell; nothing if a node of it is absent.
fn kind(
    placement: &Placement<'_>,
    steps: &[Step],
    check: &CheckSpec,
) -> Result<Option<CheckKind>, Problem> {
    let node = match &check.kind {
        CheckSpecKind::Flow(flow) => return flow_check(placement, flow),
        CheckSpecKind::Exit { node, .. }
        | CheckSpecKind::Output { node, .. }
        | CheckSpecKind::Sockets { node, .. } => node,
    };
    let Named::Present(node) = placement.node_named(node)? else {
        return Ok(None);
    };
    Ok(Some(match &check.kind {
        CheckSpecKind::Flow(_) => return Ok(None),
        CheckSpecKind::Exit { end, .. } => {
            let mut exit = ExitCheck {
                node: node.clone(),
                codes: Vec::new(),
                signal: None,
                running: false,
            };
            match end {
                ExitSpec::Codes(codes) => exit.codes = all(placement, codes)?,
                ExitSpec::Signal(signal) => exit.signal = Some(placement.resolve(signal, None)?),
                ExitSpec::Running => exit.running = true,
            }
            CheckKind::Exit(exit)
        }
        CheckSpecKind::Output {
            stream,
            text,
            count,
            ..
        } => CheckKind::Output(OutputCheck {
            node: node.clone(),
            stream: *stream,
            text: placement.render(text, node)?,
            count: placement.resolve(count, None)?,
        }),
        CheckSpecKind::Sockets {
            mark, has, lacks, ..
        } => {
            let is_set = |step: &Step| matches!(&step.action, Action::Mark(m) if *m == mark.value);
            if !steps.iter().any(is_set) {
                let message = format!("no step sets mark `{}`", mark.value);
                return Err(Problem::at(mark.place, message)
                    .hint("give the check the `when` of the step that sets it"));
            }
            CheckKind::Sockets(SocketCheck {
                mark: mark.value.clone(),
                rows: SocketRows {
                    node: node.clone(),
                    has: has.clone(),
                    lacks: lacks.clone(),
                },
            })
        }
    }))
}

fn all<T: FromText + Clone>(
    placement: &Placement<'_>,
    fields: &[Field<T>],
) -> Result<Vec<T>, Problem> {
    let values = fields.iter().map(|field| placement.resolve(field, None));
    values.collect()
}

fn one<T: FromText + Clone>(
    placement: &Placement<'_>,
    field: Option<&Field<T>>,
) -> Result<Option<T>, Problem> {
    field
        .map(|field| placement.resolve(field, None))
        .transpose()
}

fn flow_check(
    placement: &Placement<'_>,
    check: &FlowCheckSpec,
) -> Result<Option<CheckKind>, Problem> {
    let ends: FlowEnds = placement.resolve(&check.ends, None)?;
    let place = check.ends.place();
    for end in [&ends.initiator, &ends.responder] {
        if let Named::Absent = placement.find(&end.node, place)? {
            return Ok(None);
        }
    }
    let closed_by = match &check.closed_by {
        None => None,
        Some(field) => Some(match placement.resolve(field, None)? {
            ClosedBy::Side(side) => side,
            ClosedBy::Node(node) => closing_side(&node, &ends, field.place())?,
        }),
    };
    let pattern = check.pattern.as_ref();
    let pattern = pattern.map(|field| placement.resolve_pattern(field));
    let pattern = pattern.transpose()?;
    if let (Some(pattern), Some(field)) = (&pattern, &check.pattern) {
        captures::refuse_unseen(placement, pattern.looked_at_bytes(), field.place())?;
    }
    for field in &check.never {
        let event = placement.resolve(field, None)?;
        captures::refuse_unseen(placement, event.looked_at_bytes(), field.place())?;
    }
    Ok(Some(CheckKind::Flow(Box::new(FlowCheck {
        count: one(placement, check.count.as_ref())?,
        fate: all(placement, &check.fate)?,
        closed_by,
        pattern,
        never: all(placement, &check.never)?,
        flows: FlowSelector {
            nth: one(placement, check.nth.as_ref())?,
            initiator: ends.initiator,
            responder: ends.responder,
        },
    }))))
}

/// How reports name a check.
fn describe(kind: &CheckKind) -> String {
    match kind {
        CheckKind::Flow(flow) => describe_flow(flow),
        CheckKind::Exit(exit) => {
            let node = &exit.node;
            match exit.signal {
                _ if exit.running => format!("exit {node} still running"),
                Some(signal) => format!("exit {node} by {signal}"),
                None => format!("exit {node} code {}", list(&exit.codes, " or ")),
            }
        }
        CheckKind::Output(output) => {
            let stream = match output.stream {
                Some(Stream::Stdout) => "stdout",
                Some(Stream::Stderr) => "stderr",
                None => "output",
            };
            let (node, text, count) = (&output.node, &output.text, output.count);
            let noun = if count.to_string() == "1" {
                "line"
            } else {
                "lines"
            };
            format!("{stream} {node} {text:?} in {count} {noun}")
        }
        CheckKind::Loss(loss) => format!("lost on {}", loss.link),
        CheckKind::Sockets(sockets) => format!("sockets {} at {}", sockets.rows.node, sockets.mark),
    }
}

fn describe_flow(check: &FlowCheck) -> String {
    let flows = &check.flows;
    let mut words = vec![format!("flow {} -> {}", flows.initiator, flows.responder)];
    words.extend(flows.nth.map(|nth| format!("nth {nth}")));
    words.extend(check.count.map(|count| format!("count {count}")));
    if !check.fate.is_empty() {
        words.push(format!("fate {}", list(&check.fate, " or ")));
    }
    words.extend(check.closed_by.map(|side| {
        let end = match side {
            Sender::Initiator => &flows.initiator,
            Sender::Responder => &flows.responder,
        };
        format!("closed by {}", end.node)
    }));
    words.extend(check.pattern.as_ref().map(|_| "pattern".to_owned()));
    if !check.never.is_empty() {
        words.push(format!("never {}", list(&check.never, ", ")));
    }
    words.join(" ")
}

fn list<T: ToString>(values: &[T], between: &str) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    texts.join(between)
}
