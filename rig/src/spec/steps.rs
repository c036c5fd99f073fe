//! Reads steps.

use super::names::Kind;
use super::read::{Fields, Reader, Scope};
use super::tree::{Node as Tree, Value};
use super::{
    ActionSpec, DEFAULT_STOP_GRACE, Field, HostFault, Located, Problem, StepSpec, UseSpec,
};
use crate::units::{MarkName, NodeName, Signal};

/// What a step can do, with the keys that go with each; `within` and `when` go with all.
const ACTIONS: [(&str, &[&str]); 28] = [
    ("start", &["start", "within", "when"]),
    ("say", &["say", "text", "within", "when"]),
    ("hear", &["hear", "text", "within", "when"]),
    ("leave", &["leave", "within", "when"]),
    ("kill", &["kill", "signal", "unread", "within", "when"]),
    ("pause", &["pause", "within", "when"]),
    ("resume", &["resume", "within", "when"]),
    ("stop", &["stop", "grace", "within", "when"]),
    ("wait", &["wait", "within", "when"]),
    ("crash", &["crash", "within", "when"]),
    ("boot", &["boot", "within", "when"]),
    ("reboot", &["reboot", "within", "when"]),
    ("unplug", &["unplug", "network", "within", "when"]),
    ("plug", &["plug", "network", "within", "when"]),
    ("until", &["until", "within", "when"]),
    ("type", &["type", "text", "window", "within", "when"]),
    ("key", &["key", "press", "window", "within", "when"]),
    ("click", &["click", "at", "button", "within", "when"]),
    ("screenshot", &["screenshot", "name", "within", "when"]),
    ("mark", &["mark", "within", "when"]),
    ("settle", &["settle", "within", "when"]),
    ("link", &["link", "set", "from", "within", "when"]),
    ("cut", &["cut", "from", "within", "when"]),
    ("mend", &["mend", "from", "within", "when"]),
    ("lose", &["lose", "within", "when"]),
    ("partition", &["partition", "within", "when"]),
    ("heal", &["heal", "within", "when"]),
    ("use", &["use", "within", "when"]),
];

/// Keys of steps that are not actions.
const DETAILS: [&str; 14] = [
    "text", "signal", "unread", "network", "grace", "press", "window", "at", "button", "name",
    "set", "from", "within", "when",
];

impl Reader<'_> {
    /// A list of steps.
    pub(super) fn steps(&mut self, node: &Tree) -> Vec<StepSpec> {
        let items = self.list(node, "steps");
        items.iter().filter_map(|item| self.step(item)).collect()
    }

    fn step(&mut self, node: &Tree) -> Option<StepSpec> {
        let actions = ACTIONS.map(|(action, _)| action);
        let action = self.kind_of(node, "a step", &actions, &DETAILS)?;
        let (_, keys) = ACTIONS.into_iter().find(|(name, _)| *name == action)?;
        let what = "this step";
        let fields = self.fields(node, what, node.place, keys)?;
        let when = self.optional(fields, "when", Self::when);
        let within = self.optional(fields, "within", Self::duration);
        let action = self.action(action, fields);
        Some(StepSpec {
            place: node.place,
            when: when?.unwrap_or_default(),
            within: within?,
            action: action?,
        })
    }

    /// Which kind of step or check a map is: the one of `kinds` that is among its keys.
    pub(super) fn kind_of<'k>(
        &mut self,
        node: &Tree,
        what: &str,
        kinds: &[&'k str],
        details: &[&str],
    ) -> Option<&'k str> {
        let Value::Map(entries) = &node.value else {
            self.expected(node, &format!("{what}: a map such as `{}: …`", kinds[0]));
            return None;
        };
        let mut present = entries.iter().filter_map(|(key, _)| {
            let kind = kinds.iter().find(|kind| **kind == key.value)?;
            Some((*kind, key.place))
        });
        if let Some((kind, _)) = present.next() {
            if let Some((second, place)) = present.next() {
                let message = format!("{what} is one thing, and this has `{kind}` and `{second}`");
                self.problem(Problem::at(place, message).hint("write two list items"));
                return None;
            }
            return Some(kind);
        }
        let unknown = entries
            .iter()
            .find(|(key, _)| !details.contains(&key.value.as_str()));
        let problem = match unknown {
            Some((key, _)) => {
                let message = format!("unknown key `{}` in {what}", key.value);
                let hint = self.hint(&key.value, "keys", kinds);
                Problem::at(key.place, message).maybe_hint(hint)
            }
            None => Problem::at(
                node.place,
                format!("{what} needs one of: {}", kinds.join(", ")),
            ),
        };
        self.problem(problem);
        None
    }

    fn action(&mut self, action: &str, fields: Fields<'_>) -> Option<ActionSpec> {
        let node = fields.get(action)?;
        Some(match action {
            "start" => ActionSpec::Start(self.node_list(node)?),
            "say" => {
                let (node, text) = self.node_and_text(node, fields);
                let (node, text) = (node?, text?);
                ActionSpec::Say { node, text }
            }
            "hear" => {
                let (node, text) = self.node_and_text(node, fields);
                let (node, text) = (node?, text?);
                if text.literal().is_some_and(|text| text.is_empty()) {
                    self.problem(Problem::at(
                        text.place,
                        "`text` is empty: anything would do",
                    ));
                    return None;
                }
                ActionSpec::Hear { node, text }
            }
            "leave" => ActionSpec::Leave(self.node_name(node)?),
            "kill" => self.kill(node, fields)?,
            "pause" => ActionSpec::Pause(self.node_name(node)?),
            "resume" => ActionSpec::Resume(self.node_name(node)?),
            "stop" => {
                let grace = self.optional(fields, "grace", Self::duration);
                let node = self.node_name(node);
                ActionSpec::Stop {
                    node: node?,
                    grace: grace?.unwrap_or(DEFAULT_STOP_GRACE),
                }
            }
            "wait" => ActionSpec::Wait(self.node_name(node)?),
            "until" => self.until(node)?,
            "type" | "key" | "click" | "screenshot" => self.window_step(action, node, fields)?,
            "mark" => ActionSpec::Mark(self.word::<MarkName>(node, "a name")?.value),
            "settle" => ActionSpec::Settle(self.duration(node)?),
            "link" | "cut" | "mend" => self.link_change(action, node, fields)?,
            "lose" => self.lose_step(node)?,
            "partition" => self.partition(node)?,
            "heal" => {
                self.choice(node, "what can be healed", &["partition"])?;
                ActionSpec::Partition(Vec::new())
            }
            "use" => ActionSpec::Use(self.axes_to_use(node)?),
            _ => {
                let network = self.optional(fields, "network", |reader, node| {
                    reader.reference(node, Kind::Network)
                });
                let host = self.reference(node, Kind::Host);
                ActionSpec::Host {
                    fault: HostFault::ALL.into_iter().find(|f| f.name() == action)?,
                    host: host?,
                    network: network?,
                }
            }
        })
    }

    /// A signal, or SIGKILL with unread data.
    fn kill(&mut self, node: &Tree, fields: Fields<'_>) -> Option<ActionSpec> {
        let signal = self.optional(fields, "signal", |reader, node| {
            reader.field(node, "a signal")
        });
        let node = self.node_name(node);
        let Some((unread, value)) = fields.entry("unread") else {
            let default = Field::Fixed(Located::new(Signal::KILL, fields.place));
            return Some(ActionSpec::Kill {
                node: node?,
                signal: signal?.unwrap_or(default),
            });
        };
        self.choice(
            value,
            "`true`, the only thing to say of `unread`",
            &["true"],
        )?;
        if fields.get("signal").is_some() {
            let message = "a program that is killed with unread data is killed by SIGKILL";
            self.problem(Problem::at(unread.place, message).hint("leave `signal` out"));
            return None;
        }
        Some(ActionSpec::KillUnread(node?))
    }

    /// What is waited for, in a socket table or on a display.
    fn until(&mut self, node: &Tree) -> Option<ActionSpec> {
        if node.get("window").is_some() {
            return self.until_window(node);
        }
        let known = ["sockets", "has", "lacks"];
        let fields = self.fields(node, "this `until`", node.place, &known)?;
        let name = self.required(fields, "sockets");
        let name = name.and_then(|node| self.node_name(node));
        let (has, lacks) = self.rows_asked(fields, "an `until`")?;
        Some(ActionSpec::Until {
            node: name?,
            has,
            lacks,
        })
    }

    /// The name of a node.
    pub(super) fn node_name(&mut self, node: &Tree) -> Option<Field<NodeName>> {
        self.reference(node, Kind::Node)
    }

    fn node_list(&mut self, node: &Tree) -> Option<Vec<Field<NodeName>>> {
        let items = node.one_or_more();
        if items.is_empty() {
            self.problem(Problem::at(node.place, "`start` names no node"));
            return None;
        }
        let names: Vec<_> = items.iter().map(|item| self.node_name(item)).collect();
        names.into_iter().collect()
    }

    /// The node of a step, and its `text`.
    fn node_and_text(
        &mut self,
        node: &Tree,
        fields: Fields<'_>,
    ) -> (Option<Field<NodeName>>, Option<super::Template>) {
        let name = self.node_name(node);
        let text = self.required(fields, "text");
        let text = text.and_then(|node| self.template(node, "a text", Scope::Node));
        (name, text)
    }

    fn axes_to_use(&mut self, node: &Tree) -> Option<Vec<UseSpec>> {
        let items = node.one_or_more();
        if items.is_empty() {
            self.problem(Problem::at(node.place, "`use` names no axis"));
            return None;
        }
        let used: Vec<_> = items.iter().map(|item| self.axis_to_use(item)).collect();
        used.into_iter().collect()
    }

    /// `AXIS`, or `AXIS.NAME` where the steps of its values have names.
    fn axis_to_use(&mut self, node: &Tree) -> Option<UseSpec> {
        let Located { value, place } = self.word::<String>(node, "the name of an axis")?;
        let (axis, part) = self.axis_and_part(&value);
        if !self.defined(Kind::Axis, axis, place) {
            return None;
        }
        let names = self.names.axes.get(axis)?;
        let parts: Vec<&str> = names.parts.iter().map(String::as_str).collect();
        let (message, hint) = match part {
            Some(part) if !parts.contains(&part) => (
                format!("no value of axis `{axis}` has steps `{part}`"),
                match parts.as_slice() {
                    [] if names.has_steps => {
                        Some(format!("its steps have no names: write `use: {axis}`"))
                    }
                    _ => self.hint(part, "steps", &parts),
                },
            ),
            None if !names.has_steps => (
                format!("no value of axis `{axis}` says what to `do`"),
                Some(match parts.first() {
                    Some(part) => format!("its steps have names: write `use: {axis}.{part}`"),
                    None => {
                        "write the axis as a map: `quit: { do: [{ leave: alice }] }`".to_owned()
                    }
                }),
            ),
            part => {
                return Some(UseSpec {
                    place,
                    axis: axis.to_owned(),
                    part: part.map(str::to_owned),
                });
            }
        };
        self.problem(Problem::at(place, message).maybe_hint(hint));
        None
    }

    /// Divides at a dot behind an axis: names may have dots themselves.
    fn axis_and_part<'t>(&self, text: &'t str) -> (&'t str, Option<&'t str>) {
        if self.names.axes.contains_key(text) {
            return (text, None);
        }
        let divided = text.match_indices('.');
        let mut divided = divided.map(|(at, _)| (&text[..at], Some(&text[at + 1..])));
        let first = divided.clone().next();
        divided
            .find(|(axis, _)| self.names.axes.contains_key(*axis))
            .or(first)
            .unwrap_or((text, None))
    }
}
