//! The tools with which the tree is read: each gives a value, or nothing and notes why.

use std::borrow::Borrow;
use std::path::Path;
use std::time::Duration;

use super::names::{Kind, Names, hint_for};
use super::template::{Piece, pieces};
use super::tree::{Entry, Node, Scalar, Value};
use super::words::{Fault, suggestion};
use super::{
    Field, FromText, Hole, Located, MAX_PROBLEMS_SHOWN, Part, Place, Problem, Source, Template,
};
use crate::pattern::Library;
use crate::units::{self, check_name};

/// Reads a file's tree and collects what is wrong with it.
pub(super) struct Reader<'a> {
    pub(super) source: &'a Source,
    /// Folder that relative paths begin at.
    pub(super) dir: &'a Path,
    pub(super) names: Names,
    /// What the names in patterns stand for.
    pub(super) patterns: Library,
    /// How many values of axes the wildcards were compared with.
    pub(super) compared: usize,
    pub(super) problems: Vec<Problem>,
}

/// The entries of a map whose keys are known.
#[derive(Clone, Copy)]
pub(super) struct Fields<'n> {
    /// How messages call the map: `an image`.
    what: &'static str,
    /// Where it is named.
    pub(super) place: Place,
    entries: &'n [Entry],
    known: &'n [&'n str],
}

impl<'n> Fields<'n> {
    /// The value of a key.
    pub(super) fn get(self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// A key with its value.
    pub(super) fn entry(self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|(k, _)| k.value == key)
    }
}

/// Which holes a text may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those of the cell: axes and their settings.
    Cell,
    /// Also those of a node: its name, and addresses as seen from it.
    Node,
    /// Also what is said.
    Say,
}

impl Reader<'_> {
    /// Notes a problem.
    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// A hint for a name that is not among the candidates, while errors are few enough to be
    /// shown.
    pub(super) fn hint(&self, word: &str, plural: &str, candidates: &[&str]) -> Option<String> {
        let is_shown = self.problems.len() < MAX_PROBLEMS_SHOWN;
        is_shown
            .then(|| hint_for(word, plural, candidates))
            .flatten()
    }

    /// Notes that something else was expected.
    pub(super) fn expected(&mut self, node: &Node, wanted: &str) {
        let message = format!("expected {wanted}, found {}", node.kind());
        self.problem(Problem::at(node.place, message));
    }

    pub(super) fn fault(&mut self, node: &Node, fault: Fault) {
        let place = match (&fault.range, node.scalar()) {
            (Some(range), Some(scalar)) => {
                scalar.place_in(self.source, node.place, range.start, range.len())
            }
            _ => node.place,
        };
        self.problem(Problem::at(place, fault.message).maybe_hint(fault.hint));
    }

    /// The entries of a map, whose keys must be among `known`. `place` is where a missing key is
    /// reported.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        what: &'static str,
        place: Place,
        known: &'n [&'n str],
    ) -> Option<Fields<'n>> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            _ => {
                self.expected(node, &format!("{what}: a map"));
                return None;
            }
        };
        for (key, _) in entries {
            if !known.contains(&key.value.as_str()) {
                let message = format!("unknown key `{}` in {what}", key.value);
                let hint = boolean_for_on(&key.value, known)
                    .or_else(|| self.hint(&key.value, "keys", known));
                self.problem(Problem::at(key.place, message).maybe_hint(hint));
            }
        }
        Some(Fields {
            what,
            place,
            entries,
            known,
        })
    }

    /// The value of a key that must be there.
    pub(super) fn required<'n>(&mut self, fields: Fields<'n>, key: &str) -> Option<&'n Node> {
        let node = fields.get(key);
        // A key that was probably meant to be this one is told as unknown, which is enough.
        let is_misspelt = || {
            let unknown = |k: &str| !fields.known.contains(&k);
            let unknown = fields.entries.iter().filter(|(k, _)| unknown(&k.value));
            let mut unknown = unknown.take(MAX_PROBLEMS_SHOWN);
            unknown.any(|(k, _)| suggestion(&k.value, fields.known.iter().copied()) == Some(key))
        };
        if node.is_none() && !is_misspelt() {
            let message = format!("`{key}` is missing in {}", fields.what);
            self.problem(Problem::at(fields.place, message));
        }
        node
    }

    /// The entries of a map whose keys are the user's names.
    pub(super) fn named<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Entry] {
        match &node.value {
            Value::Map(entries) => {
                for (key, _) in entries {
                    if let Err(error) = check_name(&key.value) {
                        self.problem(Problem::at(key.place, error.to_string()));
                    }
                }
                entries
            }
            Value::Null => &[],
            _ => {
                self.expected(node, &format!("{what}: a map by name"));
                &[]
            }
        }
    }

    /// The items of a list.
    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.value {
            Value::Seq(items) => items,
            Value::Null => &[],
            _ => {
                self.expected(node, &format!("{what}: a list"));
                &[]
            }
        }
    }

    /// A scalar.
    pub(super) fn scalar<'n>(&mut self, node: &'n Node, wanted: &str) -> Option<&'n Scalar> {
        let scalar = node.scalar();
        if scalar.is_none() {
            self.expected(node, wanted);
        }
        scalar
    }

    /// A text without holes.
    pub(super) fn text(&mut self, node: &Node, wanted: &str) -> Option<Located<String>> {
        let scalar = self.scalar(node, wanted)?;
        if scalar.text.is_empty() {
            self.problem(Problem::at(
                node.place,
                format!("expected {wanted}, found an empty text"),
            ));
            return None;
        }
        self.without_holes(node, &scalar.text)?;
        Some(Located::new(scalar.text.clone(), node.place))
    }

    pub(super) fn without_holes(&mut self, node: &Node, text: &str) -> Option<()> {
        if text.contains("${") {
            self.problem(Problem::at(node.place, "`${…}` is not filled in here"));
            return None;
        }
        Some(())
    }

    /// A value that is written as one text without holes.
    pub(super) fn word<T: FromText>(&mut self, node: &Node, wanted: &str) -> Option<Located<T>> {
        let value = self.read_text(node, wanted, |_, text| T::from_text(text))?;
        Some(Located::new(value, node.place))
    }

    /// The same, where it takes more than the text to read the value.
    pub(super) fn read_text<T>(
        &mut self,
        node: &Node,
        wanted: &str,
        read: impl FnOnce(&Self, &str) -> Result<T, Fault>,
    ) -> Option<T> {
        let scalar = self.scalar(node, wanted)?;
        self.without_holes(node, &scalar.text)?;
        match read(self, &scalar.text) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.fault(node, fault);
                None
            }
        }
    }

    /// A value that is written as one text, which may have holes.
    pub(super) fn field<T: FromText>(&mut self, node: &Node, wanted: &str) -> Option<Field<T>> {
        self.field_with(node, wanted, |_, text| T::from_text(text))
    }

    /// The same, where it takes more than the text to read the value.
    pub(super) fn field_with<T>(
        &mut self,
        node: &Node,
        wanted: &str,
        read: impl FnOnce(&Self, &str) -> Result<T, Fault>,
    ) -> Option<Field<T>> {
        self.field_in(Scope::Cell, node, wanted, read)
    }

    /// The same, with the holes of a scope.
    pub(super) fn field_in<T>(
        &mut self,
        scope: Scope,
        node: &Node,
        wanted: &str,
        read: impl FnOnce(&Self, &str) -> Result<T, Fault>,
    ) -> Option<Field<T>> {
        let template = self.template(node, wanted, scope)?;
        let Some(text) = template.literal() else {
            return Some(Field::Template(template));
        };
        match read(self, &text) {
            Ok(value) => Some(Field::Fixed(Located::new(value, node.place))),
            Err(fault) => {
                self.fault(node, fault);
                None
            }
        }
    }

    /// One or more values, each written as one text, which may have holes.
    pub(super) fn fields_list<T: FromText>(&mut self, node: &Node, wanted: &str) -> Vec<Field<T>> {
        let items = node.one_or_more();
        items
            .iter()
            .filter_map(|item| self.field(item, wanted))
            .collect()
    }

    /// A text, which may have holes.
    pub(super) fn template(&mut self, node: &Node, wanted: &str, scope: Scope) -> Option<Template> {
        let scalar = self.scalar(node, wanted)?;
        let pieces = match pieces(&scalar.text) {
            Ok(pieces) => pieces,
            Err(fault) => {
                self.fault(node, fault);
                return None;
            }
        };
        let mut parts = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Literal("") => {}
                Piece::Literal(text) => parts.push(Part::Literal(text.to_owned())),
                Piece::Hole(inside, range) => {
                    let place = scalar.place_in(self.source, node.place, range.start, range.len());
                    let hole = self.hole(inside, place, scope)?;
                    parts.push(Part::Hole(Located::new(hole, place)));
                }
            }
        }
        Some(Template {
            place: node.place,
            parts,
        })
    }

    /// What `${…}` names.
    fn hole(&mut self, inside: &str, place: Place, scope: Scope) -> Option<Hole> {
        let in_node = scope != Scope::Cell;
        if let Some((root, key)) = inside.split_once('.') {
            if root == "address" && in_node {
                return self.address(key, place);
            }
            if let Some(axis) = self.names.axes.get(root) {
                if axis.settings.contains(key) {
                    return Some(Hole::Setting {
                        axis: root.to_owned(),
                        key: key.to_owned(),
                    });
                }
                let settings: Vec<&str> = axis.settings.iter().map(String::as_str).collect();
                let message = format!("no value of axis `{root}` has a setting `{key}`");
                let hint = self.hint(key, "settings", &settings);
                self.problem(Problem::at(place, message).maybe_hint(hint));
                return None;
            }
        } else {
            match inside {
                "node" if in_node => return Some(Hole::Node),
                "text" if scope == Scope::Say => return Some(Hole::Text),
                axis if self.names.axes.contains_key(axis) => {
                    return Some(Hole::Axis(axis.to_owned()));
                }
                _ => {}
            }
        }
        let mut known = self.names.of(Kind::Axis);
        if in_node {
            known.extend(["node", "address.NAME"]);
        }
        if scope == Scope::Say {
            known.push("text");
        }
        let root = inside.split('.').next().unwrap_or(inside);
        let message = format!("`${{{inside}}}` names nothing here");
        let hint = self.hint(root, "names", &known);
        self.problem(Problem::at(place, message).maybe_hint(hint));
        None
    }

    fn address(&mut self, name: &str, place: Place) -> Option<Hole> {
        let mut known = self.names.of(Kind::Node);
        known.extend(self.names.of(Kind::Host));
        let kinds = [Kind::Node, Kind::Host];
        if kinds.iter().any(|&kind| self.names.may_be(kind, name)) {
            return Some(Hole::Address(name.to_owned()));
        }
        let hint = self.hint(name, "nodes and hosts", &known);
        let message = format!("`${{address.{name}}}` names no node or host");
        self.problem(Problem::at(place, message).maybe_hint(hint));
        None
    }

    /// A duration with its unit.
    pub(super) fn duration(&mut self, node: &Node) -> Option<Duration> {
        let scalar = self.scalar(node, "a duration such as 500ms")?;
        if let Ok(duration) = units::parse_duration(&scalar.text) {
            return Some(duration);
        }
        let message = format!("`{}` is not a duration", scalar.text);
        let is_number = scalar.text.parse::<f64>().is_ok();
        let hint = if is_number {
            format!("give it a unit: `{0}ms`, `{0}s` or `{0}m`", scalar.text)
        } else {
            "write a number with its unit, such as 200ms, 2s or 1m".to_owned()
        };
        self.problem(Problem::at(node.place, message).hint(hint));
        None
    }

    /// A whole number within bounds.
    pub(super) fn number(&mut self, node: &Node, what: &str, max: u32) -> Option<u32> {
        let scalar = self.scalar(node, what)?;
        let number = scalar.text.parse().ok().filter(|&number| number <= max);
        if number.is_none() {
            let message = format!("`{}` is not {what}: use 0 to {max}", scalar.text);
            self.problem(Problem::at(node.place, message));
        }
        number
    }

    /// One of several words.
    pub(super) fn choice<'c>(
        &mut self,
        node: &Node,
        what: &str,
        words: &[&'c str],
    ) -> Option<&'c str> {
        let scalar = self.scalar(node, what)?;
        let chosen = words.iter().find(|&&word| word == scalar.text);
        if chosen.is_none() {
            let message = format!("`{}` is not {what}", scalar.text);
            let hint = self.hint(&scalar.text, "choices", words);
            self.problem(Problem::at(node.place, message).maybe_hint(hint));
        }
        chosen.copied()
    }

    /// Whether the file defines this name; notes it if not.
    pub(super) fn defined(&mut self, kind: Kind, name: &str, place: Place) -> bool {
        if self.names.may_be(kind, name) {
            return true;
        }
        let known = self.names.of(kind);
        let word = kind.word();
        let plural = if kind == Kind::Axis {
            "axes".to_owned()
        } else {
            format!("{word}s")
        };
        let hint = self.hint(name, &plural, &known);
        self.problem(Problem::at(place, format!("there is no {word} `{name}`")).maybe_hint(hint));
        false
    }

    /// A field that names something the file defines.
    pub(super) fn reference<T: FromText + Borrow<str>>(
        &mut self,
        node: &Node,
        kind: Kind,
    ) -> Option<Field<T>> {
        let field = self.field::<T>(node, &format!("a name ({})", kind.word()))?;
        match field.fixed() {
            Some(name) if !self.defined(kind, name.value.borrow(), name.place) => None,
            _ => Some(field),
        }
    }
}

/// YAML 1.1, which many programs still write, takes the word `on` for the truth.
fn boolean_for_on(key: &str, known: &[&str]) -> Option<String> {
    let is_true = matches!(key, "true" | "True" | "TRUE");
    (is_true && known.contains(&"on")).then(|| {
        "a program that writes YAML may have turned `on` into this: write `on`, or `\"on\"`"
            .to_owned()
    })
}
