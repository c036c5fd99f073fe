//! Reads links between networks, and the steps that change them.

use indexmap::IndexMap;

use super::names::Kind;
use super::read::{Fields, Reader};
use super::tree::{Node as Tree, Value};
use super::words::Fault;
use super::{
    ActionSpec, Field, LinkSpec, Located, LoseSpec, MAX_LINKS, Place, Problem, SettingSpec,
};
use crate::link::{Key, MAX_RULES, Setting};
use crate::units::{HostName, NetworkName};

/// The keys of a link: its settings, and what is said of it as a whole.
const LINK_KEYS: [&str; 18] = [
    "joins",
    "delay",
    "jitter",
    "distribution",
    "loss",
    "burst",
    "duplicate",
    "reorder",
    "corrupt",
    "rate",
    "queue",
    "mtu",
    "cut",
    "from",
    "lose",
    "nat",
    "seed",
    "when",
];

/// The keys of a rule, and of a step that adds one.
const RULE_KEYS: [&str; 8] = [
    "from", "to", "match", "protocol", "port", "nth", "count", "every",
];
const LOSE_KEYS: [&str; 9] = [
    "on", "from", "to", "match", "protocol", "port", "nth", "count", "every",
];

/// What a rule or a group can name.
const PLACES: [Kind; 3] = [Kind::Node, Kind::Host, Kind::Network];

impl Reader<'_> {
    pub(super) fn links(&mut self, node: &Tree) -> IndexMap<HostName, LinkSpec> {
        let entries = self.named(node, "links");
        if let Some((key, _)) = entries.get(MAX_LINKS) {
            let message = format!("more than {MAX_LINKS} links");
            self.problem(Problem::at(key.place, message));
        }
        let read = entries.iter().take(MAX_LINKS).filter_map(|(key, value)| {
            if self.names.hosts.contains(&key.value) {
                let message = format!("a host is called `{}`, too", key.value);
                let hint = "a link has a capture of its own: give it another name";
                self.problem(Problem::at(key.place, message).hint(hint));
            }
            let link = self.link(key.place, value)?;
            Some((HostName::new(&key.value).ok()?, link))
        });
        read.collect()
    }

    fn link(&mut self, place: Place, node: &Tree) -> Option<LinkSpec> {
        let fields = self.fields(node, "a link", place, &LINK_KEYS)?;
        let joins = self.required(fields, "joins");
        let joins = joins.and_then(|node| self.joins(node));
        let when = self.optional(fields, "when", Self::when);
        let settings = self.settings_among(fields);
        let from = fields
            .get("from")
            .map(|node| self.one_way(node, joins.as_ref()));
        let seed = self.optional(fields, "seed", |r, node| r.field(node, "a seed"));
        let nat = self.optional(fields, "nat", |r, node| r.field(node, "masquerade or none"));
        let lose = fields.get("lose").map(|node| self.rules(node));
        Some(LinkSpec {
            place,
            joins: joins?,
            when: when?.unwrap_or_default(),
            settings,
            from: from.unwrap_or_default(),
            seed: seed?,
            nat: nat?,
            lose: lose.unwrap_or_default(),
        })
    }

    /// The two networks of a link.
    fn joins(&mut self, node: &Tree) -> Option<[Located<NetworkName>; 2]> {
        let items = node.one_or_more();
        let [first, second] = items else {
            let message = match items.len() {
                0 => "the link joins nothing".to_owned(),
                1 => "the link joins one network to nothing".to_owned(),
                count => format!("a link joins two networks, and these are {count}"),
            };
            let problem = Problem::at(node.place, message);
            self.problem(problem.hint("write `joins: [lan, wan]`"));
            return None;
        };
        let names = [first, second].map(|item| {
            let name = self.word::<NetworkName>(item, "the name of a network")?;
            let known = self.defined(Kind::Network, name.value.as_str(), name.place);
            known.then_some(name)
        });
        let [Some(first), Some(second)] = names else {
            return None;
        };
        if first.value == second.value {
            let message = format!("the link joins network `{}` to itself", first.value);
            self.problem(Problem::at(second.place, message).other(first.place, "given first"));
            return None;
        }
        Some([first, second])
    }

    /// Settings for packets that come from one network: `{ lan: { delay: 10ms } }`.
    fn one_way(
        &mut self,
        node: &Tree,
        joins: Option<&[Located<NetworkName>; 2]>,
    ) -> Vec<(Located<NetworkName>, Vec<SettingSpec>)> {
        let Value::Map(entries) = &node.value else {
            self.expected(node, "`from`: a map of the link's networks");
            return Vec::new();
        };
        let mut found = Vec::new();
        for (key, value) in entries {
            let Some(joins) = joins else {
                continue;
            };
            let network = joins.iter().find(|n| n.value.as_str() == key.value);
            let Some(network) = network else {
                let known = joins.each_ref().map(|n| n.value.as_str());
                let message = format!("the link does not join network `{}`", key.value);
                let hint = self.hint(&key.value, "its networks", &known);
                self.problem(Problem::at(key.place, message).maybe_hint(hint));
                continue;
            };
            let network = Located::new(network.value.clone(), key.place);
            found.push((network, self.settings(value, key.place)));
        }
        found
    }

    /// A map of settings and nothing else.
    fn settings(&mut self, node: &Tree, place: Place) -> Vec<SettingSpec> {
        let known = Key::ALL.map(Key::name);
        match self.fields(node, "the settings of a link", place, &known) {
            Some(fields) => self.settings_among(fields),
            None => Vec::new(),
        }
    }

    fn settings_among(&mut self, fields: Fields<'_>) -> Vec<SettingSpec> {
        let read = Key::ALL.into_iter().filter_map(|key| {
            let node = fields.get(key.name())?;
            let value = self.field_with(node, "a setting: one text", |_, text| {
                Setting::read(key, text).map_err(Fault::from)
            });
            Some(SettingSpec { key, value: value? })
        });
        read.collect()
    }

    fn rules(&mut self, node: &Tree) -> Vec<LoseSpec> {
        let items = self.list(node, "`lose`");
        if let Some(item) = items.get(MAX_RULES) {
            let message = format!("more than {MAX_RULES} rules");
            self.problem(Problem::at(item.place, message));
        }
        let rules = items.iter().take(MAX_RULES);
        rules
            .filter_map(|item| {
                let fields = self.fields(item, "a rule", item.place, &RULE_KEYS)?;
                self.rule(fields)
            })
            .collect()
    }

    fn rule(&mut self, fields: Fields<'_>) -> Option<LoseSpec> {
        let from = self.optional(fields, "from", Self::place_name);
        let to = self.optional(fields, "to", Self::place_name);
        let event = self.optional(fields, "match", |r, node| r.field(node, "an event"));
        let protocol = self.optional(fields, "protocol", |r, node| r.field(node, "a protocol"));
        let port = self.optional(fields, "port", |r, node| r.field(node, "a port"));
        let number = "a number of packets";
        let nth = self.optional(fields, "nth", |r, node| r.field(node, number));
        let count = self.optional(fields, "count", |r, node| r.field(node, number));
        let every = self.optional(fields, "every", |r, node| r.field(node, number));
        Some(LoseSpec {
            place: fields.place,
            from: from?,
            to: to?,
            event: event?,
            protocol: protocol?,
            port: port?,
            nth: nth?,
            count: count?,
            every: every?,
        })
    }

    /// The name of a node, a host or a network.
    fn place_name(&mut self, node: &Tree) -> Option<Field<String>> {
        let field: Field<String> = self.field(node, "a name (node, host or network)")?;
        let Some(name) = field.fixed() else {
            return Some(field);
        };
        if PLACES
            .iter()
            .any(|kind| self.names.may_be(*kind, &name.value))
        {
            return Some(field);
        }
        let known: Vec<&str> = PLACES
            .iter()
            .flat_map(|kind| self.names.of(*kind))
            .collect();
        let hint = self.hint(&name.value, "nodes, hosts and networks", &known);
        let message = format!("there is no node, host or network `{}`", name.value);
        let problem = Problem::at(name.place, message).maybe_hint(hint);
        self.problem(problem);
        None
    }

    /// `link: uplink` with `set`, `cut: uplink` or `mend: uplink`.
    pub(super) fn link_change(
        &mut self,
        action: &str,
        node: &Tree,
        fields: Fields<'_>,
    ) -> Option<ActionSpec> {
        let link = self.reference(node, Kind::Link);
        let from = self.optional(fields, "from", |r, node| r.reference(node, Kind::Network));
        let set = if action == "link" {
            let set = self.required(fields, "set")?;
            let settings = self.settings(set, set.place);
            if matches!(&set.value, Value::Map(entries) if entries.is_empty()) {
                self.problem(Problem::at(set.place, "`set` changes nothing"));
            }
            settings
        } else {
            let cut = Located::new(Setting::Cut(action == "cut"), node.place);
            vec![SettingSpec {
                key: Key::Cut,
                value: Field::Fixed(cut),
            }]
        };
        Some(ActionSpec::Link {
            link: link?,
            from: from?,
            set,
        })
    }

    pub(super) fn lose_step(&mut self, node: &Tree) -> Option<ActionSpec> {
        let fields = self.fields(node, "this `lose`", node.place, &LOSE_KEYS)?;
        let link = self.required(fields, "on");
        let link = link.and_then(|node| self.reference(node, Kind::Link));
        let rule = self.rule(fields);
        Some(ActionSpec::Lose {
            link: link?,
            rule: Box::new(rule?),
        })
    }

    /// Groups of nodes, hosts or networks.
    pub(super) fn partition(&mut self, node: &Tree) -> Option<ActionSpec> {
        let items = self.list(node, "`partition`");
        if items.len() < 2 {
            let problem = Problem::at(node.place, "a partition has two groups or more");
            self.problem(problem.hint("write `partition: [[alice, bob], [server]]`"));
            return None;
        }
        let groups = items.iter().map(|group| {
            let names = group.one_or_more().iter();
            let names: Vec<_> = names.map(|name| self.place_name(name)).collect();
            if names.is_empty() {
                self.problem(Problem::at(group.place, "the group is empty"));
                return None;
            }
            names.into_iter().collect()
        });
        let groups: Vec<Option<Vec<Field<String>>>> = groups.collect();
        let groups: Option<Vec<Vec<Field<String>>>> = groups.into_iter().collect();
        Some(ActionSpec::Partition(groups?))
    }
}
