//! Reads what a system is made of: implementations, networks, hosts, nodes.

use indexmap::IndexMap;

use super::containers::CONTAINER_KEYS;
use super::names::Kind;
use super::read::{Fields, Reader, Scope};
use super::tree::{Entry, Node as Tree, Value};
use super::{
    CaptureSpec, Field, Host, Implementation, LeaveSpec, Located, MAX_HOSTS, MAX_NETWORKS,
    MAX_NODES, Node, Place, Problem, ReadySpec, SaySpec, Template, Timeouts, When,
};
use crate::units::{HostName, ImageName, NetworkName, NodeName, TerminalSize};

/// The keys of an implementation, but for those of its container.
const IMPLEMENTATION_KEYS: [&str; 9] = [
    "image", "run", "terminal", "display", "ready", "join", "say", "leave", "env",
];

/// The keys of a host that is more than a list of networks.
const HOST_KEYS: [&str; 4] = ["networks", "sysctl", "stealth", "capture"];

impl Reader<'_> {
    pub(super) fn timeouts(&mut self, node: &Tree) -> Timeouts {
        let mut timeouts = Timeouts::default();
        let Some(fields) = self.fields(node, "`timeouts`", node.place, &["step", "start"]) else {
            return timeouts;
        };
        if let Some(step) = fields.get("step").and_then(|node| self.duration(node)) {
            timeouts.step = step;
        }
        if let Some(start) = fields.get("start").and_then(|node| self.duration(node)) {
            timeouts.start = start;
        }
        timeouts
    }

    /// Reads a key that may be missing; `None` when it is there and wrong.
    #[expect(
        clippy::option_option,
        reason = "missing and wrong are different things here"
    )]
    pub(super) fn optional<T>(
        &mut self,
        fields: Fields<'_>,
        key: &str,
        read: impl FnOnce(&mut Self, &Tree) -> Option<T>,
    ) -> Option<Option<T>> {
        match fields.get(key) {
            Some(node) => read(self, node).map(Some),
            None => Some(None),
        }
    }

    pub(super) fn implementations(&mut self, node: &Tree) -> IndexMap<String, Implementation> {
        let entries = self.named(node, "implementations");
        let read = entries.iter().filter_map(|(key, value)| {
            let implementation = self.implementation(key.place, value)?;
            Some((key.value.clone(), implementation))
        });
        read.collect()
    }

    fn implementation(&mut self, place: Place, node: &Tree) -> Option<Implementation> {
        let known = [&IMPLEMENTATION_KEYS[..], &CONTAINER_KEYS].concat();
        let fields = self.fields(node, "an implementation", place, &known)?;
        let image = self.required(fields, "image");
        let image = image.and_then(|node| self.image_name(node));
        let run = self.required(fields, "run");
        let run_place = run.map_or(place, |node| node.place);
        let run = run.and_then(|node| self.command(node));
        let display = self.optional(fields, "display", Self::display);
        let terminal = self.optional(fields, "terminal", Self::terminal);
        let ready = self.optional(fields, "ready", Self::ready);
        let join = self.optional(fields, "join", Self::join);
        let say = self.optional(fields, "say", Self::say);
        let leave = self.optional(fields, "leave", Self::leave);
        let env = self.env(fields);
        let container = self.container(fields);
        let implementation = Implementation {
            place,
            image: image?,
            run: run?,
            run_place,
            display: display?,
            terminal: terminal?,
            ready: ready?,
            join: join?,
            say: say?,
            leave: leave?,
            env,
            container: container?,
        };
        self.needs_display(&implementation, fields);
        Some(implementation)
    }

    fn image_name(&mut self, node: &Tree) -> Option<Located<ImageName>> {
        let name = self.word::<String>(node, "the name of an image")?;
        if !self.defined(Kind::Image, &name.value, name.place) {
            return None;
        }
        let image = ImageName::new(&name.value).ok()?;
        Some(Located::new(image, name.place))
    }

    /// Program and arguments: a list of texts, at least one.
    fn command(&mut self, node: &Tree) -> Option<Vec<Template>> {
        let Value::Seq(items) = &node.value else {
            let hint = "write `run: [program, argument]`; no shell takes it apart";
            let message = format!(
                "expected a list of program and arguments, found {}",
                node.kind()
            );
            self.problem(Problem::at(node.place, message).hint(hint));
            return None;
        };
        if items.is_empty() {
            self.problem(Problem::at(node.place, "`run` names no program"));
            return None;
        }
        let words: Vec<_> = items
            .iter()
            .map(|item| self.template(item, "an argument", Scope::Node))
            .collect();
        words.into_iter().collect()
    }

    /// `{ size: 80x24 }`, or `{}` for the usual size.
    fn terminal(&mut self, node: &Tree) -> Option<TerminalSize> {
        let fields = self.fields(node, "`terminal`", node.place, &["size"])?;
        match fields.get("size") {
            Some(size) => Some(self.word(size, "columns and rows, such as 80x24")?.value),
            None => Some(TerminalSize::USUAL),
        }
    }

    fn ready(&mut self, node: &Tree) -> Option<ReadySpec> {
        let known = ["listening", "connected", "bound", "output", "window"];
        let fields = self.fields(node, "`ready`", node.place, &known)?;
        match self.exactly_one(fields, "`ready`", &known)? {
            ("listening", port) => Some(ReadySpec::Listening(self.field(port, "a port")?)),
            ("connected", port) => Some(ReadySpec::Connected(self.field(port, "a port")?)),
            ("bound", port) => Some(ReadySpec::Bound(self.field(port, "a port")?)),
            (key, text) => {
                let text = self.template(text, "a text", Scope::Node)?;
                Some(match key {
                    "window" => ReadySpec::Window(text),
                    _ => ReadySpec::Output(text),
                })
            }
        }
    }

    /// The only one of some keys that is there.
    pub(super) fn exactly_one<'n, 'k>(
        &mut self,
        fields: Fields<'n>,
        what: &str,
        keys: &[&'k str],
    ) -> Option<(&'k str, &'n Tree)> {
        let mut present = keys
            .iter()
            .filter_map(|&key| Some((key, fields.entry(key)?)));
        let Some((key, (_, node))) = present.next() else {
            let message = format!("{what} needs one of: {}", keys.join(", "));
            self.problem(Problem::at(fields.place, message));
            return None;
        };
        if let Some((second, (place, _))) = present.next() {
            let message = format!("{what} has either `{key}` or `{second}`");
            self.problem(Problem::at(place.place, message));
            return None;
        }
        Some((key, node))
    }

    fn join(&mut self, node: &Tree) -> Option<SaySpec> {
        self.typed(node, "`join`", Scope::Node)
    }

    fn say(&mut self, node: &Tree) -> Option<SaySpec> {
        self.typed(node, "`say`", Scope::Say)
    }

    /// What a person types: `{ stdin: TEXT }`, or `{ type: TEXT }` at a window.
    fn typed(&mut self, node: &Tree, what: &'static str, scope: Scope) -> Option<SaySpec> {
        let known = ["stdin", "type"];
        let fields = self.fields(node, what, node.place, &known)?;
        let (key, text) = self.exactly_one(fields, what, &known)?;
        let text = self.template(text, "a text", scope)?;
        Some(match key {
            "type" => SaySpec::Type(text),
            _ => SaySpec::Stdin(text),
        })
    }

    fn leave(&mut self, node: &Tree) -> Option<LeaveSpec> {
        let known = ["stdin", "type", "key", "signal"];
        let fields = self.fields(node, "`leave`", node.place, &known)?;
        let (key, value) = self.exactly_one(fields, "`leave`", &known)?;
        match key {
            "signal" => {
                return Some(LeaveSpec::Signal(self.field(value, "a signal")?));
            }
            "key" => return Some(LeaveSpec::Keys(self.chords(value)?)),
            "type" => {
                let text = self.template(value, "a text", Scope::Node)?;
                return Some(LeaveSpec::Type(text));
            }
            _ => {}
        }
        if value.scalar().is_some_and(|s| s.plain && s.text == "eof") {
            return Some(LeaveSpec::Eof);
        }
        let text = self.template(value, "a text, or `eof`", Scope::Node)?;
        Some(LeaveSpec::Stdin(text))
    }

    fn env(&mut self, fields: Fields<'_>) -> IndexMap<String, Template> {
        let Some(node) = fields.get("env") else {
            return IndexMap::new();
        };
        let entries: &[Entry] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            _ => {
                self.expected(node, "environment variables: a map");
                &[]
            }
        };
        let mut env = IndexMap::new();
        for (key, value) in entries {
            if key.value.is_empty() || key.value.contains(['=', '\0']) {
                let message = "a variable's name is not empty and has no `=`";
                self.problem(Problem::at(key.place, message));
            } else if key.value.starts_with("RIG_") {
                let message = "variables that begin with `RIG_` belong to the rig";
                self.problem(Problem::at(key.place, message));
            } else if let Some(text) = self.template(value, "a text", Scope::Node) {
                env.insert(key.value.clone(), text);
            }
        }
        env
    }

    pub(super) fn networks(&mut self, node: &Tree) -> IndexMap<NetworkName, Place> {
        let entries = self.named(node, "networks");
        let entries = self.at_most(MAX_NETWORKS, entries, "networks");
        let read = entries.iter().filter_map(|(key, value)| {
            self.fields(value, "a network", key.place, &[])?;
            Some((NetworkName::new(&key.value).ok()?, key.place))
        });
        read.collect()
    }

    pub(super) fn hosts(&mut self, node: &Tree) -> IndexMap<HostName, Host> {
        let entries = self.named(node, "hosts");
        let entries = self.at_most(MAX_HOSTS, entries, "hosts");
        let read = entries.iter().filter_map(|(key, value)| {
            let host = self.host(key.place, value)?;
            Some((HostName::new(&key.value).ok()?, host))
        });
        read.collect()
    }

    fn host(&mut self, place: Place, node: &Tree) -> Option<Host> {
        let (networks, sysctls, stealth, capture) = if let Value::Map(_) = node.value {
            let fields = self.fields(node, "a host", place, &HOST_KEYS)?;
            let networks = self.required(fields, "networks")?;
            let sysctls = fields.get("sysctl").map(|node| self.sysctls(node));
            let stealth = self.optional(fields, "stealth", |reader, node| {
                reader.choice(node, "`true` or `false`", &["true", "false"])
            });
            let capture = self.optional(fields, "capture", Self::capture);
            let stealth = stealth? == Some("true");
            (networks, sysctls, stealth, capture?.unwrap_or_default())
        } else {
            (node, None, false, CaptureSpec::default())
        };
        let mut found: Vec<Located<NetworkName>> = Vec::new();
        for item in networks.one_or_more() {
            let Some(name) = self.word::<String>(item, "the name of a network") else {
                continue;
            };
            if !self.defined(Kind::Network, &name.value, name.place) {
                continue;
            }
            if let Some(first) = found.iter().find(|n| n.value.as_str() == name.value) {
                let message = format!("the host is on network `{}` twice", name.value);
                self.problem(Problem::at(name.place, message).other(first.place, "given first"));
            } else if let Ok(network) = NetworkName::new(&name.value) {
                found.push(Located::new(network, name.place));
            }
        }
        Some(Host {
            place,
            networks: found,
            sysctls: sysctls.unwrap_or_default(),
            stealth,
            capture,
        })
    }

    /// Kernel settings of a network namespace.
    fn sysctls(&mut self, node: &Tree) -> IndexMap<String, Located<String>> {
        let mut sysctls = IndexMap::new();
        let Value::Map(entries) = &node.value else {
            self.expected(node, "kernel settings: a map");
            return sysctls;
        };
        for (key, value) in entries {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if !key.value.starts_with("net.") || !key.value.chars().all(allowed) {
                let message = format!("`{}` is not a setting of a network namespace", key.value);
                let hint = "they begin with `net.`, such as `net.ipv4.tcp_syn_retries`";
                self.problem(Problem::at(key.place, message).hint(hint));
            } else if let Some(text) = self.text(value, "a value") {
                sysctls.insert(key.value.clone(), text);
            }
        }
        sysctls
    }

    /// The entries, cut to a number that is allowed.
    pub(super) fn at_most<'n>(
        &mut self,
        max: usize,
        entries: &'n [Entry],
        what: &str,
    ) -> &'n [Entry] {
        if let Some((key, _)) = entries.get(max) {
            self.problem(Problem::at(key.place, format!("more than {max} {what}")));
        }
        &entries[..entries.len().min(max)]
    }

    pub(super) fn nodes(&mut self, node: &Tree) -> IndexMap<NodeName, Node> {
        let entries = self.named(node, "nodes");
        let entries = self.at_most(MAX_NODES, entries, "nodes");
        if entries.is_empty() && matches!(node.value, Value::Null | Value::Map(_)) {
            self.problem(Problem::at(node.place, "`nodes` has no node"));
        }
        let read = entries.iter().filter_map(|(key, value)| {
            if matches!(key.value.as_str(), "initiator" | "responder") {
                let message = format!("a node cannot be called `{}`", key.value);
                let hint = "`closed-by` uses that word for a side of a connection";
                self.problem(Problem::at(key.place, message).hint(hint));
            }
            let node = self.node(key.place, value)?;
            Some((NodeName::new(&key.value).ok()?, node))
        });
        read.collect()
    }

    fn node(&mut self, place: Place, node: &Tree) -> Option<Node> {
        let known = ["on", "is", "when", "env"];
        let fields = self.fields(node, "a node", place, &known)?;
        let on = self.required(fields, "on");
        let on = on.and_then(|node| self.reference(node, Kind::Host));
        let is = self.required(fields, "is");
        let is: Option<Field<String>> =
            is.and_then(|node| self.reference(node, Kind::Implementation));
        let when = fields.get("when").and_then(|node| self.when(node));
        let env = self.env(fields);
        Some(Node {
            place,
            on: on?,
            is: is?,
            when: when.unwrap_or_else(When::default),
            env,
        })
    }
}
