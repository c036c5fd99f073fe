//! The names that a file defines, found before anything else is read, so that a name is known
//! even where its own entry is wrong.

use indexmap::{IndexMap, IndexSet};

use super::tree::{Node, Value};
use super::words::suggestion;

/// The names that a file defines.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) images: IndexSet<String>,
    pub(super) implementations: IndexSet<String>,
    pub(super) networks: IndexSet<String>,
    pub(super) hosts: IndexSet<String>,
    pub(super) links: IndexSet<String>,
    pub(super) nodes: IndexSet<String>,
    pub(super) marks: IndexSet<String>,
    pub(super) axes: IndexMap<String, AxisNames>,
    /// Kinds whose section is missing or wrong as a whole, which is told once there.
    unknowable: Vec<Kind>,
}

/// The sections of a file that define names.
const SECTIONS: [(&str, Kind); 5] = [
    ("images", Kind::Image),
    ("implementations", Kind::Implementation),
    ("networks", Kind::Network),
    ("hosts", Kind::Host),
    ("nodes", Kind::Node),
];

/// The names that belong to an axis.
#[derive(Debug, Default)]
pub(super) struct AxisNames {
    pub(super) values: IndexSet<String>,
    /// Settings of any of the values.
    pub(super) settings: IndexSet<String>,
    /// Some value has steps without a name.
    pub(super) has_steps: bool,
    /// Names of the steps of any of the values.
    pub(super) parts: IndexSet<String>,
}

impl Names {
    /// Finds them.
    pub(super) fn collect(root: &Node) -> Self {
        let unknowable = SECTIONS.iter().filter(|(section, _)| {
            let value = root.get(section).map(|node| &node.value);
            !matches!(value, Some(Value::Map(_) | Value::Null))
        });
        let mut unknowable: Vec<Kind> = unknowable.map(|(_, kind)| *kind).collect();
        // Without this section there are no links, which is nothing wrong.
        let links = root.get("links");
        if links.is_some_and(|node| !matches!(node.value, Value::Map(_) | Value::Null)) {
            unknowable.push(Kind::Link);
        }
        let mut names = Self {
            unknowable,
            links: keys(links),
            images: keys(root.get("images")),
            implementations: keys(root.get("implementations")),
            networks: keys(root.get("networks")),
            hosts: keys(root.get("hosts")),
            nodes: keys(root.get("nodes")),
            ..Self::default()
        };
        for (axis, values) in root.get("matrix").map_or(&[][..], Node::entries) {
            let mut found = AxisNames::default();
            for item in values.items() {
                let text = item.scalar().map(|scalar| scalar.text.clone());
                found.values.extend(text);
            }
            for (value, settings) in values.entries() {
                found.values.insert(value.value.clone());
                found.settings.extend(keys(Some(settings)));
                let steps = settings.get("do");
                let parts = steps.map_or(&[][..], Node::entries);
                found.has_steps |= steps.is_some() && parts.is_empty();
                names.find_marks(steps);
                for (part, steps) in parts {
                    found.parts.insert(part.value.clone());
                    names.find_marks(Some(steps));
                }
            }
            found.settings.shift_remove("do");
            names.axes.insert(axis.value.clone(), found);
        }
        names.find_marks(root.get("steps"));
        names
    }

    fn find_marks(&mut self, steps: Option<&Node>) {
        for step in steps.map_or(&[][..], Node::items) {
            let mark = step.get("mark").and_then(Node::scalar);
            self.marks.extend(mark.map(|scalar| scalar.text.clone()));
        }
    }

    /// Whether a name may be one of a kind.
    pub(super) fn may_be(&self, kind: Kind, name: &str) -> bool {
        self.unknowable.contains(&kind)
            || match self.set(kind) {
                Some(set) => set.contains(name),
                None => self.axes.contains_key(name),
            }
    }

    /// The names of a kind.
    pub(super) fn of(&self, kind: Kind) -> Vec<&str> {
        match self.set(kind) {
            Some(set) => set.iter().map(String::as_str).collect(),
            None => self.axes.keys().map(String::as_str).collect(),
        }
    }

    /// The names of a kind other than axes, which have names of their own below them.
    fn set(&self, kind: Kind) -> Option<&IndexSet<String>> {
        match kind {
            Kind::Image => Some(&self.images),
            Kind::Implementation => Some(&self.implementations),
            Kind::Network => Some(&self.networks),
            Kind::Host => Some(&self.hosts),
            Kind::Link => Some(&self.links),
            Kind::Node => Some(&self.nodes),
            Kind::Mark => Some(&self.marks),
            Kind::Axis => None,
        }
    }
}

fn keys(node: Option<&Node>) -> IndexSet<String> {
    match node.map(|node| &node.value) {
        Some(Value::Map(entries)) => entries.iter().map(|(key, _)| key.value.clone()).collect(),
        _ => IndexSet::new(),
    }
}

/// What a name can be the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Implementation,
    Network,
    Host,
    Link,
    Node,
    Mark,
    Axis,
}

impl Kind {
    /// How messages call it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Implementation => "implementation",
            Self::Network => "network",
            Self::Host => "host",
            Self::Link => "link",
            Self::Node => "node",
            Self::Mark => "mark",
            Self::Axis => "axis",
        }
    }
}

/// The most names that are compared with a wrong one.
const MAX_COMPARED: usize = 1000;
/// The most names that a hint lists.
const MAX_LISTED: usize = 12;

/// A hint for a name that is not among the candidates: the one that was probably meant, or all of
/// them where they are few.
pub(crate) fn hint_for(word: &str, plural: &str, candidates: &[&str]) -> Option<String> {
    let compared = candidates.iter().copied().take(MAX_COMPARED);
    if let Some(meant) = suggestion(word, compared) {
        return Some(format!("did you mean `{meant}`?"));
    }
    match candidates.len() {
        0 => Some(format!("there are no {plural}")),
        1..=MAX_LISTED => Some(format!("{plural} are: {}", candidates.join(", "))),
        _ => None,
    }
}
