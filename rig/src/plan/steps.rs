//! Steps of a cell.

use std::collections::HashMap;

use super::cell::{Named, Placement};
use super::{Action, Input, SocketRows, Step};
use crate::spec::{
    ActionSpec, Field, Implementation, LeaveSpec, MAX_STEPS, Place, Problem, StepSpec, Template,
};
use crate::units::{MarkName, NodeName};

/// The steps of a cell, in order, `use` replaced by what it stands for.
pub(super) fn steps(placement: &Placement<'_>, problems: &mut Vec<Problem>) -> Vec<Step> {
    let mut planner = Planner {
        placement,
        problems,
        steps: Vec::new(),
        started: Vec::new(),
        marks: HashMap::new(),
        is_full: false,
    };
    planner.add_all(&placement.spec.steps);
    planner.steps
}

struct Planner<'a, 'p> {
    placement: &'a Placement<'a>,
    problems: &'p mut Vec<Problem>,
    steps: Vec<Step>,
    /// Nodes that an earlier step started.
    started: Vec<&'a NodeName>,
    marks: HashMap<MarkName, Place>,
    /// There are too many steps, which is told once.
    is_full: bool,
}

impl<'a> Planner<'a, '_> {
    fn add_all(&mut self, steps: &'a [StepSpec]) {
        for step in steps {
            if self.is_full {
                return;
            }
            if !self.placement.holds(&step.when) {
                continue;
            }
            if let ActionSpec::Use(axis) = &step.action {
                let value = self.placement.cell.value(&axis.value);
                let axis = self.placement.spec.axes.get(&axis.value);
                let chosen = value.and_then(|value| axis?.values.get(value));
                // A value without `do` does nothing here; one without any is refused earlier.
                self.add_all(chosen.and_then(|c| c.steps.as_deref()).unwrap_or_default());
                continue;
            }
            if self.steps.len() >= MAX_STEPS {
                let message = format!("more than {MAX_STEPS} steps in a cell");
                self.problems.push(Problem::at(step.place, message));
                self.is_full = true;
                return;
            }
            match self.action(step) {
                Ok(Some(action)) => self.add(step, action),
                Ok(None) => {}
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    fn add(&mut self, step: &StepSpec, action: Action) {
        let timeouts = self.placement.spec.timeouts;
        let within = step.within.unwrap_or(match &action {
            Action::Start(_) => timeouts.start,
            Action::Stop { grace, .. } => timeouts.step.saturating_add(*grace),
            Action::Settle(time) => timeouts.step.saturating_add(*time),
            _ => timeouts.step,
        });
        self.steps.push(Step {
            text: describe(&action),
            action,
            within,
            place: step.place,
        });
    }

    /// What a step does in this cell; nothing if its node is absent.
    fn action(&mut self, step: &'a StepSpec) -> Result<Option<Action>, Problem> {
        Ok(match &step.action {
            ActionSpec::Start(nodes) => self.start(nodes)?,
            ActionSpec::Say { node, text } => match self.started(node)? {
                Some(node) => Some(self.say(step, node, text)?),
                None => None,
            },
            ActionSpec::Hear { node, text } => match self.started(node)? {
                Some(node) => Some(Action::Hear {
                    node: node.clone(),
                    text: self.placement.render(text, node)?,
                }),
                None => None,
            },
            ActionSpec::Leave(node) => match self.started(node)? {
                Some(node) => Some(self.leave(step, node)?),
                None => None,
            },
            ActionSpec::Kill { node, signal } => match self.started(node)? {
                Some(node) => Some(Action::Kill {
                    signal: self.placement.resolve(signal, Some(node))?,
                    node: node.clone(),
                }),
                None => None,
            },
            ActionSpec::Pause(node) => self.started(node)?.cloned().map(Action::Pause),
            ActionSpec::Resume(node) => self.started(node)?.cloned().map(Action::Resume),
            ActionSpec::Stop { node, grace } => {
                let node = self.started(node)?.cloned();
                let grace = *grace;
                node.map(|node| Action::Stop { node, grace })
            }
            ActionSpec::Wait(node) => self.started(node)?.cloned().map(Action::Wait),
            ActionSpec::Until { node, has, lacks } => self.started(node)?.map(|node| {
                Action::Until(SocketRows {
                    node: node.clone(),
                    has: has.clone(),
                    lacks: lacks.clone(),
                })
            }),
            ActionSpec::Mark(mark) => Some(self.mark(step, mark)?),
            ActionSpec::Settle(time) => Some(Action::Settle(*time)),
            ActionSpec::Use(_) => None,
        })
    }

    fn start(&mut self, nodes: &'a [Field<NodeName>]) -> Result<Option<Action>, Problem> {
        let mut names: Vec<NodeName> = Vec::new();
        for field in nodes {
            let Named::Present(node) = self.placement.node_named(field)? else {
                continue;
            };
            if names.contains(node) {
                let message = format!("node `{node}` is started twice in one step");
                return Err(Problem::at(field.place(), message));
            }
            self.started.push(node);
            names.push(node.clone());
        }
        Ok((!names.is_empty()).then_some(Action::Start(names)))
    }

    /// A node that something is done to: it is started by then, or absent from the cell.
    fn started(&self, field: &Field<NodeName>) -> Result<Option<&'a NodeName>, Problem> {
        match self.placement.node_named(field)? {
            Named::Present(node) if self.started.contains(&node) => Ok(Some(node)),
            Named::Present(node) => {
                let message = format!("node `{node}` is not started before this step");
                Err(Problem::at(field.place(), message))
            }
            Named::Absent => Ok(None),
        }
    }

    /// The program of a node, with its name.
    fn program(&self, node: &NodeName) -> Result<(&'a str, &'a Implementation), Problem> {
        let placed = self.placement.nodes.get(node);
        let name = placed.map(|placed| placed.implementation);
        name.and_then(|name| Some((name, self.placement.spec.implementations.get(name)?)))
            .ok_or_else(|| Problem::of_file(format!("node `{node}` has no program")))
    }

    fn say(&self, step: &StepSpec, node: &NodeName, text: &Template) -> Result<Action, Problem> {
        let text = self.placement.render(text, node)?;
        let (name, program) = self.program(node)?;
        let Some(say) = &program.say else {
            let message = format!("implementation `{name}` has no `say`, and `{node}` is one");
            return Err(Problem::at(step.place, message)
                .other(program.place, "the implementation")
                .hint("add `say: { stdin: \"${text}\\n\" }` to it"));
        };
        let input = self.placement.render_said(say, node, &text)?;
        Ok(Action::Say {
            node: node.clone(),
            text,
            input: Input::Stdin(input.into_bytes()),
        })
    }

    fn leave(&self, step: &StepSpec, node: &NodeName) -> Result<Action, Problem> {
        let (name, program) = self.program(node)?;
        let input = match &program.leave {
            Some(LeaveSpec::Stdin(text)) => {
                Input::Stdin(self.placement.render(text, node)?.into_bytes())
            }
            Some(LeaveSpec::Eof) => Input::Eof,
            Some(LeaveSpec::Signal(signal)) => Input::Signal(*signal),
            None => {
                let message =
                    format!("implementation `{name}` has no `leave`, and `{node}` is one");
                return Err(Problem::at(step.place, message)
                    .other(program.place, "the implementation")
                    .hint("add `leave: { stdin: eof }` to it"));
            }
        };
        Ok(Action::Leave {
            node: node.clone(),
            input,
        })
    }

    fn mark(&mut self, step: &StepSpec, mark: &MarkName) -> Result<Action, Problem> {
        if let Some(first) = self.marks.insert(mark.clone(), step.place) {
            let message = format!("mark `{mark}` is set twice in a cell");
            return Err(Problem::at(step.place, message).other(first, "set first"));
        }
        Ok(Action::Mark(mark.clone()))
    }
}

/// How reports name a step.
fn describe(action: &Action) -> String {
    match action {
        Action::Start(nodes) => {
            let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
            format!("start {}", names.join(", "))
        }
        Action::Say { node, text, .. } => format!("say {node} {text:?}"),
        Action::Hear { node, text } => format!("hear {node} {text:?}"),
        Action::Leave { node, .. } => format!("leave {node}"),
        Action::Kill { node, signal } => format!("kill {node} {signal}"),
        Action::Pause(node) => format!("pause {node}"),
        Action::Resume(node) => format!("resume {node}"),
        Action::Stop { node, .. } => format!("stop {node}"),
        Action::Wait(node) => format!("wait {node}"),
        Action::Until(rows) => format!("until the sockets of {}", rows.node),
        Action::Mark(mark) => format!("mark {mark}"),
        Action::Settle(time) => format!("settle {}", crate::units::written_duration(*time)),
    }
}
