//! Reads the axes of the matrix, and the rules that name cells by their values.

use indexmap::IndexMap;

use super::names::Kind;
use super::read::Reader;
use super::tree::{Entry, Node as Tree, Value};
use super::words::Wildcard;
use super::{
    Axis, AxisValue, CellRule, CellsEntry, ExpectedFailure, Located, Place, Problem, ValueSteps,
    When,
};

/// Words that cannot name an axis, because `${…}` or a rule uses them otherwise.
const RESERVED: [&str; 5] = ["node", "text", "address", "reason", "fails"];

/// The most values that the wildcards of a file may be compared with, all together.
const MAX_COMPARED_VALUES: usize = 250_000;

impl Reader<'_> {
    pub(super) fn axes(&mut self, node: &Tree) -> IndexMap<String, Axis> {
        let mut axes = IndexMap::new();
        for (key, value) in self.named(node, "the matrix") {
            if RESERVED.contains(&key.value.as_str()) {
                let message = format!("an axis cannot be called `{}`", key.value);
                let hint = format!("these words are taken: {}", RESERVED.join(", "));
                self.problem(Problem::at(key.place, message).hint(hint));
            }
            let values = self.axis_values(key, value);
            axes.insert(
                key.value.clone(),
                Axis {
                    place: key.place,
                    values,
                },
            );
        }
        axes
    }

    fn axis_values(&mut self, axis: &Located<String>, node: &Tree) -> IndexMap<String, AxisValue> {
        let mut values = IndexMap::new();
        match &node.value {
            Value::Seq(items) => {
                for item in items {
                    self.plain_value(item, &mut values);
                }
            }
            Value::Map(entries) => {
                for (key, settings) in self.named(node, "values of an axis") {
                    let value = self.axis_value(key.place, settings);
                    values.insert(key.value.clone(), value);
                }
                debug_assert!(values.len() == entries.len() || !self.problems.is_empty());
            }
            Value::Null => {}
            Value::Scalar(_) => {
                self.expected(node, "a list of values, or a map of values with settings");
                return values;
            }
        }
        if node.items().is_empty() && node.entries().is_empty() {
            let message = format!("axis `{}` has no values", axis.value);
            let hint = format!("write `{}: [one, other]`", axis.value);
            self.problem(Problem::at(axis.place, message).hint(hint));
        }
        values
    }

    /// A value without settings, an item of a list.
    fn plain_value(&mut self, item: &Tree, values: &mut IndexMap<String, AxisValue>) {
        let Some(name) = self.word::<String>(item, "the name of a value") else {
            return;
        };
        if let Some(first) = values.get(&name.value) {
            let problem = Problem::at(name.place, format!("`{}` is given twice", name.value));
            let problem = problem.other(first.place, "given first");
            self.problem(problem);
            return;
        }
        let value = AxisValue {
            place: name.place,
            settings: IndexMap::new(),
            steps: ValueSteps::None,
        };
        values.insert(name.value, value);
    }

    /// A value with settings and perhaps steps.
    fn axis_value(&mut self, place: Place, node: &Tree) -> AxisValue {
        let mut settings = IndexMap::new();
        let mut steps = ValueSteps::None;
        for (key, value) in self.named(node, "settings of a value") {
            if key.value == "do" {
                steps = self.value_steps(value);
            } else if let Some(text) = self.text(value, "a text, the setting's value") {
                settings.insert(key.value.clone(), text);
            }
        }
        AxisValue {
            place,
            settings,
            steps,
        }
    }

    /// A list of steps, or several by name.
    fn value_steps(&mut self, node: &Tree) -> ValueSteps {
        let Value::Map(_) = node.value else {
            return ValueSteps::All(self.steps(node));
        };
        let parts = self.named(node, "steps by name").iter();
        let parts = parts.map(|(key, steps)| (key.value.clone(), self.steps(steps)));
        ValueSteps::Parts(parts.collect())
    }

    /// Which cells are meant: `{ axis: value, other: [one, two] }`.
    pub(super) fn when(&mut self, node: &Tree) -> Option<When> {
        let Value::Map(entries) = &node.value else {
            self.expected(node, "`when`: a map of axes and values");
            return None;
        };
        self.conditions(entries.iter())
    }

    fn conditions<'n>(&mut self, entries: impl Iterator<Item = &'n Entry>) -> Option<When> {
        let mut when = When::default();
        let mut sound = true;
        for (key, value) in entries {
            if !self.defined(Kind::Axis, &key.value, key.place) {
                sound = false;
                continue;
            }
            let mut allowed = Vec::new();
            for item in value.one_or_more() {
                match self.axis_values_named(&key.value, item) {
                    Some(values) => allowed.extend(values),
                    None => sound = false,
                }
            }
            if allowed.is_empty() && sound {
                let message = format!("no value of axis `{}` is named", key.value);
                self.problem(Problem::at(value.place, message));
            }
            when.conditions.insert(key.value.clone(), allowed);
        }
        sound.then_some(when)
    }

    /// The value of an axis that is named, or those that a wildcard fits, in the order of the axis.
    fn axis_values_named(&mut self, axis: &str, node: &Tree) -> Option<Vec<Located<String>>> {
        let Located { value: name, place } = self.word::<Wildcard>(node, "the name of a value")?;
        let values = &self.names.axes.get(axis)?.values;
        if values.contains(name.text()) {
            return Some(vec![Located::new(name.text().to_owned(), place)]);
        }
        let mut problem = format!("axis `{axis}` has no value `{}`", name.text());
        if name.is_wild() {
            self.compared = self.compared.saturating_add(values.len());
            if self.compared > MAX_COMPARED_VALUES {
                let message = "the wildcards of the file stand for too much";
                let hint = format!("all of them may be compared with {MAX_COMPARED_VALUES} values");
                self.problem(Problem::at(place, message).hint(hint));
                return None;
            }
            let fitting = values.iter().filter(|value| name.fits(value)).cloned();
            let fitting: Vec<_> = fitting.map(|value| Located::new(value, place)).collect();
            if !fitting.is_empty() {
                return Some(fitting);
            }
            problem = format!("no value of axis `{axis}` is like `{}`", name.text());
        }
        let known: Vec<&str> = values.iter().map(String::as_str).collect();
        let hint = self.hint(name.text(), "values", &known);
        self.problem(Problem::at(place, problem).maybe_hint(hint));
        None
    }

    /// The entries of `cells`.
    pub(super) fn listed_cells(&mut self, node: &Tree) -> Vec<CellsEntry> {
        let items = self.list(node, "`cells`");
        if items.is_empty() && matches!(node.value, Value::Null | Value::Seq(_)) {
            let hint = "without `cells` every combination of the axes is a cell";
            self.problem(Problem::at(node.place, "`cells` lists no cell").hint(hint));
        }
        items
            .iter()
            .filter_map(|item| self.cells_entry(item))
            .collect()
    }

    fn cells_entry(&mut self, node: &Tree) -> Option<CellsEntry> {
        Some(CellsEntry {
            values: self.some_cells(node, None, "the entry")?,
            place: node.place,
        })
    }

    /// The axes and values of a map, of which there must be one. Beside them it may have one other key.
    fn some_cells(&mut self, node: &Tree, beside: Option<&str>, what: &str) -> Option<When> {
        let Value::Map(entries) = &node.value else {
            self.expected(node, "cells: a map of axes and values");
            return None;
        };
        let is_axis = |key: &str| beside.is_none_or(|beside| key != beside);
        let axes = entries.iter().filter(|(key, _)| is_axis(&key.value));
        let when = self.conditions(axes)?;
        if when.is_always() {
            let message = format!("{what} names no axis");
            self.problem(Problem::at(node.place, message));
            return None;
        }
        Some(when)
    }

    /// The rules of `exclude` or `include`.
    pub(super) fn cell_rules(&mut self, node: &Tree, what: &str) -> Vec<CellRule> {
        let items = self.list(node, what);
        items
            .iter()
            .filter_map(|item| self.cell_rule(item))
            .collect()
    }

    fn cell_rule(&mut self, node: &Tree) -> Option<CellRule> {
        let reason = match node.get("reason") {
            Some(reason) => Some(self.text(reason, "a reason")?.value),
            None => None,
        };
        Some(CellRule {
            when: self.some_cells(node, Some("reason"), "the rule")?,
            reason,
            place: node.place,
        })
    }

    /// The entries of `expected-failures`.
    pub(super) fn expected_failures(&mut self, node: &Tree) -> Vec<ExpectedFailure> {
        let items = self.list(node, "`expected-failures`");
        let read = items.iter().filter_map(|item| self.expected_failure(item));
        read.collect()
    }

    fn expected_failure(&mut self, node: &Tree) -> Option<ExpectedFailure> {
        let Value::Map(entries) = &node.value else {
            self.expected(node, "cells: a map of axes and values, and a `reason`");
            return None;
        };
        let reason = node.get("reason");
        if reason.is_none() {
            let message = "`reason` is missing in an expected failure";
            self.problem(Problem::at(node.place, message));
        }
        let reason = reason.and_then(|reason| self.text(reason, "a reason"));
        let parts = node.get("fails").map_or(&[][..], Tree::one_or_more);
        let parts = parts.iter();
        let fails: Vec<_> = parts
            .map(|part| self.text(part, "a part of a check's or a step's line"))
            .collect();
        let known = |key: &str| matches!(key, "reason" | "fails");
        let when = self.conditions(entries.iter().filter(|(key, _)| !known(&key.value)))?;
        let fails: Option<Vec<_>> = fails.into_iter().collect();
        Some(ExpectedFailure {
            when,
            reason: reason?.value,
            fails: fails?.into_iter().map(|part| part.value).collect(),
            place: node.place,
        })
    }
}
