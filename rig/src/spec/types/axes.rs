//! What differs from cell to cell.

use indexmap::IndexMap;

use super::StepSpec;
use crate::spec::{Located, Place};

/// One dimension of the matrix.
#[derive(Debug, Clone)]
pub struct Axis {
    /// Where its name stands.
    pub place: Place,
    /// Its values by name, at least one.
    pub values: IndexMap<String, AxisValue>,
}

/// A value of an axis.
#[derive(Debug, Clone)]
pub struct AxisValue {
    /// Where its name stands.
    pub place: Place,
    /// What `${AXIS.KEY}` stands for where this value is chosen.
    pub settings: IndexMap<String, Located<String>>,
    /// What `use` does where this value is chosen.
    pub steps: ValueSteps,
}

/// The steps that a value of an axis brings along.
#[derive(Debug, Clone)]
pub enum ValueSteps {
    /// It brings none.
    None,
    /// Those of `use: AXIS`.
    All(Vec<StepSpec>),
    /// Those of `use: AXIS.NAME`, by their name.
    Parts(IndexMap<String, Vec<StepSpec>>),
}

/// An entry of `cells`: every combination of the values that it names. Its cells have no value of the
/// other axes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellsEntry {
    /// The values.
    pub values: When,
    /// Where it stands.
    pub place: Place,
}

/// A set of cells: those whose values are among the named ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellRule {
    /// The values.
    pub when: When,
    /// Why, for lists.
    pub reason: Option<String>,
    /// Where it stands.
    pub place: Place,
}

/// Cells that are expected to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedFailure {
    /// Which cells.
    pub when: When,
    /// Why.
    pub reason: String,
    /// Parts of the lines of the checks and steps that may fail; empty where any may.
    pub fails: Vec<String>,
    /// Where it stands.
    pub place: Place,
}

/// In which cells something holds: in those whose value on each named axis is among the given
/// ones. Without any axis it holds everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct When {
    /// Axis and allowed values.
    pub conditions: IndexMap<String, Vec<Located<String>>>,
}

impl When {
    /// Whether it holds in a cell, whose value on an axis `value_on` tells.
    pub fn holds<'a>(&self, value_on: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.conditions.iter().all(|(axis, allowed)| {
            value_on(axis).is_some_and(|value| allowed.iter().any(|a| a.value == value))
        })
    }

    /// Whether it holds in every cell.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.conditions.is_empty()
    }
}
