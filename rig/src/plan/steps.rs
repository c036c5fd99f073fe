//! Steps of a cell.

use std::collections::HashMap;

use super::cell::{Named, Placement};
use super::faults::{Change, Condition};
use super::{Action, HostFault, Input, LinkPlan, SocketRows, Step, links, losses, uses, windows};
use crate::link::{Settings, Side};
use crate::spec::{
    ActionSpec, Field, Implementation, LeaveSpec, MAX_STEPS, Place, Problem, SettingSpec, StepSpec,
    Template, UseSpec,
};
use crate::units::{HostName, MarkName, NetworkName, NodeName, ScreenName};

/// What a terminal takes for the end of input.
const CTRL_D: u8 = 4;

/// The steps of a cell, in order, `use` replaced by what it stands for.
pub(super) fn steps(
    placement: &Placement<'_>,
    links: &[LinkPlan],
    problems: &mut Vec<Problem>,
) -> Vec<Step> {
    let at_first = |link: &LinkPlan| (link.name.clone(), link.order.settings.clone());
    let mut planner = Planner {
        placement,
        problems,
        steps: Vec::new(),
        started: Vec::new(),
        condition: Condition::default(),
        marks: HashMap::new(),
        screens: HashMap::new(),
        settings: links.iter().map(at_first).collect(),
        using: Vec::new(),
        uses: 0,
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
    /// What earlier steps did to hosts.
    condition: Condition,
    marks: HashMap<MarkName, Place>,
    screens: HashMap<ScreenName, Place>,
    /// What each link does by now.
    settings: HashMap<HostName, [Settings; 2]>,
    /// The uses of axes that the present step is below.
    using: Vec<&'a UseSpec>,
    /// How many uses there were: they count as steps, so that empty ones have an end, too.
    uses: usize,
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
            if self.steps.len() + self.uses >= MAX_STEPS {
                let message = format!("more than {MAX_STEPS} steps in a cell");
                self.problems.push(Problem::at(step.place, message));
                self.is_full = true;
                return;
            }
            if let ActionSpec::Use(all) = &step.action {
                for used in all {
                    self.add_used(used);
                }
                continue;
            }
            match self.action(step) {
                Ok(Some(action)) => self.add(step, action),
                Ok(None) => {}
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    /// Adds the steps that a cell's value on an axis brings along.
    fn add_used(&mut self, used: &'a UseSpec) {
        self.uses += 1;
        let steps = uses::may_nest(&self.using, used);
        match steps.and_then(|()| uses::steps(self.placement, used)) {
            Ok(steps) => {
                self.using.push(used);
                self.add_all(steps);
                self.using.pop();
            }
            Err(problem) => self.problems.push(problem),
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
            ActionSpec::Say { node, text } => match self.reachable(node)? {
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
            ActionSpec::Leave(node) => match self.reachable(node)? {
                Some(node) => Some(self.leave(step, node)?),
                None => None,
            },
            ActionSpec::Kill { node, signal } => match self.reachable(node)? {
                Some(node) => Some(Action::Kill {
                    signal: self.placement.resolve(signal, Some(node))?,
                    node: node.clone(),
                }),
                None => None,
            },
            ActionSpec::KillUnread(node) => self.reachable(node)?.cloned().map(Action::KillUnread),
            ActionSpec::Host {
                fault,
                host,
                network,
            } => Some(self.host(*fault, host, network.as_ref(), step.place)?),
            ActionSpec::Pause(node) => self.pause(node, step.place)?,
            ActionSpec::Resume(node) => self.resume(node)?,
            ActionSpec::Stop { node, grace } => {
                let node = self.reachable(node)?.cloned();
                let grace = *grace;
                node.map(|node| Action::Stop { node, grace })
            }
            ActionSpec::Wait(node) => self.started(node)?.cloned().map(Action::Wait),
            ActionSpec::Until { node, has, lacks } => self.reachable(node)?.map(|node| {
                Action::Until(SocketRows {
                    node: node.clone(),
                    has: has.clone(),
                    lacks: lacks.clone(),
                })
            }),
            ActionSpec::Window { node, step: at } => match self.reachable(node)? {
                Some(node) => {
                    let act = windows::act(self.placement, step.place, node, at)?;
                    windows::note_screen(&mut self.screens, step.place, &act)?;
                    Some(Action::Window {
                        node: node.clone(),
                        act,
                    })
                }
                None => None,
            },
            ActionSpec::Mark(mark) => Some(self.mark(step, mark)?),
            ActionSpec::Settle(time) => Some(Action::Settle(*time)),
            ActionSpec::Link { link, from, set } => self.change(step, link, from.as_ref(), set)?,
            ActionSpec::Lose { link, rule } => match links::link_named(self.placement, link)? {
                Some(index) => {
                    let rule = losses::rule(self.placement, index, rule)?;
                    rule.map(|rule| Action::Lose {
                        link: self.placement.topology.links[index].name.clone(),
                        rule: Box::new(rule),
                    })
                }
                None => None,
            },
            ActionSpec::Partition(groups) => self.partition(groups)?,
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
            self.check_power(node, field.place())?;
            let again = self.started.contains(&node);
            if again && windows::display(self.placement, node)?.is_some() {
                self.check_display(node, field.place())?;
            }
            self.condition.resumed(node);
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

    /// A node that is started, on a host that is there.
    fn reachable(&self, field: &Field<NodeName>) -> Result<Option<&'a NodeName>, Problem> {
        let node = self.started(field)?;
        if let Some(node) = node {
            self.check_power(node, field.place())?;
        }
        Ok(node)
    }

    fn check_power(&self, node: &NodeName, place: Place) -> Result<(), Problem> {
        let placed = self.placement.nodes.get(node);
        placed.map_or(Ok(()), |placed| {
            self.condition.powered(placed.host, node, place)
        })
    }

    /// A display ends with its host, and comes but once in a cell.
    fn check_display(&self, node: &NodeName, place: Place) -> Result<(), Problem> {
        let placed = self.placement.nodes.get(node);
        placed.map_or(Ok(()), |placed| {
            self.condition.never_died(placed.host, node, place)
        })
    }

    fn pause(&mut self, field: &Field<NodeName>, place: Place) -> Result<Option<Action>, Problem> {
        let Some(node) = self.reachable(field)? else {
            return Ok(None);
        };
        self.condition.pause(node, place)?;
        Ok(Some(Action::Pause(node.clone())))
    }

    fn resume(&mut self, field: &Field<NodeName>) -> Result<Option<Action>, Problem> {
        let Some(node) = self.reachable(field)? else {
            return Ok(None);
        };
        if !self.condition.resumed(node) {
            let message = format!("node `{node}` is not paused before this step");
            return Err(Problem::at(field.place(), message));
        }
        Ok(Some(Action::Resume(node.clone())))
    }

    /// Something done to a whole host.
    fn host(
        &mut self,
        fault: HostFault,
        host: &Field<HostName>,
        network: Option<&Field<NetworkName>>,
        step: Place,
    ) -> Result<Action, Problem> {
        let place = host.place();
        let name: HostName = self.placement.resolve(host, None)?;
        let Some(addresses) = self.placement.hosts.get(&name) else {
            let message = if self.placement.spec.hosts.contains_key(&name) {
                format!("no node is on host `{name}` in this cell, so it is not there")
            } else {
                format!("there is no host `{name}`")
            };
            return Err(Problem::at(place, message));
        };
        let on: Vec<&NetworkName> = addresses.iter().map(|(network, _)| *network).collect();
        let networks = match network {
            None => None,
            Some(field) => {
                let network: NetworkName = self.placement.resolve(field, None)?;
                if !on.contains(&&network) {
                    let message = format!("host `{name}` is not on network `{network}`");
                    return Err(Problem::at(field.place(), message));
                }
                Some(network)
            }
        };
        let paused = self.paused_on(&name);
        let networks = self.condition.change(&Change {
            fault,
            host: &name,
            on: &on,
            network: networks.as_ref(),
            paused: paused.as_ref(),
            place,
            step,
        })?;
        Ok(Action::Host {
            fault,
            host: name,
            networks,
        })
    }

    /// A node of a host that is paused.
    fn paused_on(&self, host: &HostName) -> Option<NodeName> {
        let mut nodes = self.placement.nodes.iter();
        nodes
            .find(|(node, placed)| placed.host == host && self.condition.is_paused(node))
            .map(|(node, _)| (*node).clone())
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
        let fill = |say: &Template| self.placement.render_said(say, node, &text);
        let input = windows::typed(say, fill)?;
        Ok(Action::Say {
            node: node.clone(),
            text,
            input,
        })
    }

    fn leave(&self, step: &StepSpec, node: &NodeName) -> Result<Action, Problem> {
        let (name, program) = self.program(node)?;
        let input = match &program.leave {
            Some(LeaveSpec::Stdin(text)) => {
                Input::Stdin(self.placement.render(text, node)?.into_bytes())
            }
            Some(LeaveSpec::Type(text)) => {
                windows::type_text(text, |text| self.placement.render(text, node))?
            }
            Some(LeaveSpec::Keys(keys)) => {
                Input::Window(windows::press(self.placement, node, keys)?)
            }
            // A terminal's line does not end: a person types ctrl-D.
            Some(LeaveSpec::Eof) if program.terminal.is_some() => Input::Stdin(vec![CTRL_D]),
            Some(LeaveSpec::Eof) => Input::Eof,
            Some(LeaveSpec::Signal(signal)) => {
                Input::Signal(self.placement.resolve(signal, Some(node))?)
            }
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

    /// A change of a link; nothing where the link is absent.
    fn change(
        &mut self,
        step: &StepSpec,
        link: &Field<HostName>,
        from: Option<&Field<NetworkName>>,
        set: &[SettingSpec],
    ) -> Result<Option<Action>, Problem> {
        let Some(index) = links::link_named(self.placement, link)? else {
            return Ok(None);
        };
        let link = &self.placement.topology.links[index];
        let named = match from {
            Some(field) => {
                let network = self.placement.resolve(field, None)?;
                let side = links::side_named(link, &network, field.place())?;
                Some((network, side))
            }
            None => None,
        };
        let sides = match &named {
            Some((_, side)) => std::slice::from_ref(side),
            None => &Side::BOTH,
        };
        let changes = self.placement.resolve_settings(set)?;
        // A link that is wrong from the beginning is told of there.
        let Some(settings) = self.settings.get_mut(link.name) else {
            return Ok(None);
        };
        for side in sides {
            for change in &changes {
                settings[side.index()].apply(*change);
            }
        }
        links::refuse_clash(link, settings, set, step.place)?;
        let network = named.as_ref().map(|(network, _)| network);
        Ok(Some(Action::Link {
            link: link.name.clone(),
            settings: Box::new(settings.clone()),
            what: links::describe_change(link.name, network, &changes),
        }))
    }

    /// A partition; nothing where no link is there that could make it.
    fn partition(&self, groups: &[Vec<Field<String>>]) -> Result<Option<Action>, Problem> {
        if self.placement.topology.links.is_empty() {
            return Ok(None);
        }
        let mut what = Vec::new();
        for group in groups {
            let names = group.iter().map(|name| self.placement.resolve(name, None));
            let names: Result<Vec<String>, Problem> = names.collect();
            what.push(names?.join(", "));
        }
        Ok(Some(Action::Partition {
            groups: losses::groups(self.placement, groups)?,
            what: what.join(" | "),
        }))
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
        Action::KillUnread(node) => format!("kill {node} with unread data"),
        Action::Host {
            fault,
            host,
            networks,
        } => {
            let names: Vec<&str> = networks.iter().map(NetworkName::as_str).collect();
            if names.is_empty() {
                format!("{} {host}", fault.name())
            } else {
                format!("{} {host} ({})", fault.name(), names.join(", "))
            }
        }
        Action::Pause(node) => format!("pause {node}"),
        Action::Resume(node) => format!("resume {node}"),
        Action::Stop { node, .. } => format!("stop {node}"),
        Action::Wait(node) => format!("wait {node}"),
        Action::Until(rows) => format!("until the sockets of {}", rows.node),
        Action::Window { node, act } => act.describe(node),
        Action::Mark(mark) => format!("mark {mark}"),
        Action::Link { what, .. } => what.clone(),
        Action::Lose { link, rule } => format!("lose {} on {link}", rule.text),
        Action::Partition { groups, .. } if groups.is_empty() => "heal the partition".to_owned(),
        Action::Partition { what, .. } => format!("partition {what}"),
        Action::Settle(time) => format!("settle {}", crate::units::written_duration(*time)),
    }
}
