//! Reads patterns, and the names that a file gives some of them.

use super::read::Reader;
use super::tree::{Node, Value};
use super::words::Fault;
use super::{Field, Problem};
use crate::pattern::{DefinitionError, Pattern};

impl Reader<'_> {
    /// Takes in the definitions under `patterns`. What is wrong with one is told there and nowhere
    /// else, so the others are taken in all the same.
    pub(super) fn patterns(&mut self, node: &Node) {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            _ => return self.expected(node, "patterns: a map by name"),
        };
        let mut texts = Vec::new();
        for (key, value) in entries {
            let Some(scalar) = self.scalar(value, "a pattern") else {
                continue;
            };
            if self.without_holes(value, &scalar.text).is_some() {
                texts.push((key, value, scalar.text.as_str()));
            }
        }
        let named: Vec<_> = texts
            .iter()
            .map(|(key, _, text)| (key.value.as_str(), *text))
            .collect();
        let (patterns, errors) = self.patterns.with(&named);
        self.patterns = patterns;
        for (index, error) in errors {
            let (key, value, _) = texts[index];
            match error {
                DefinitionError::Name(error) => {
                    let problem = Problem::at(key.place, error.message);
                    self.problem(problem.maybe_hint(error.hint));
                }
                DefinitionError::Text(error) => self.fault(value, error.into()),
            }
        }
    }

    /// A pattern, in which names may stand.
    pub(super) fn pattern(&mut self, node: &Node) -> Option<Field<Pattern>> {
        self.field_with(node, "a pattern", |reader, text| {
            Pattern::parse_with(text, &reader.patterns).map_err(Fault::from)
        })
    }
}
