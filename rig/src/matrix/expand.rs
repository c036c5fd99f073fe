//! From axes to cells.

use indexmap::IndexMap;
use serde::Serialize;

use crate::spec::{CellRule, Diagnostics, ExpectedFailure, Problem, Spec};

/// The most cells that a matrix may have, excluded ones included.
pub const MAX_CELLS: usize = 10_000;
/// The longest name of a cell, in bytes: it names a folder.
pub const MAX_CELL_NAME_BYTES: usize = 200;

/// One combination of values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Stable name: `server=ours,client=netcat`, or the name of a matrix without axes.
    pub name: String,
    /// Value on each axis, in the order of the file.
    pub values: IndexMap<String, String>,
}

impl Cell {
    /// The value on an axis.
    #[must_use]
    pub fn value(&self, axis: &str) -> Option<&str> {
        self.values.get(axis).map(String::as_str)
    }

    fn fits(&self, rule: &CellRule) -> bool {
        rule.when.holds(|axis| self.value(axis))
    }
}

/// A combination that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excluded {
    /// The combination.
    pub cell: Cell,
    /// Why, if the file says so.
    pub reason: Option<String>,
}

/// The cells of a matrix file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matrix {
    /// Those that run, in the order of the file: the last axis varies fastest.
    pub cells: Vec<Cell>,
    /// Those that are left out.
    pub excluded: Vec<Excluded>,
}

/// Forms the product of the axes, takes out what `exclude` names and puts back what `include`
/// names.
///
/// # Errors
/// Too many cells, names that are too long, an `include` of cells that are there already, or
/// nothing left.
pub fn expand(spec: &Spec) -> Result<Matrix, Diagnostics> {
    let wrong = |problems| Diagnostics::new(spec.source.clone(), problems);
    let product = product(spec).map_err(|problem| wrong(vec![problem]))?;
    let mut matrix = Matrix::default();
    let mut problems = Vec::new();
    let mut doubled: Vec<Option<String>> = vec![None; spec.include.len()];
    for cell in product {
        let exclude = spec.exclude.iter().find(|rule| cell.fits(rule));
        let mut includes = (0..).zip(&spec.include).filter(|(_, rule)| cell.fits(rule));
        let include: Option<(usize, _)> = includes.next();
        for (index, _) in includes {
            doubled[index].get_or_insert_with(|| cell.name.clone());
        }
        match (exclude, include) {
            (None, Some((index, _))) => {
                doubled[index].get_or_insert_with(|| cell.name.clone());
                matrix.cells.push(cell);
            }
            (None, None) | (Some(_), Some(_)) => matrix.cells.push(cell),
            (Some(rule), None) => matrix.excluded.push(Excluded {
                cell,
                reason: rule.reason.clone(),
            }),
        }
    }
    for (rule, cell) in spec.include.iter().zip(doubled) {
        if let Some(cell) = cell {
            let message = format!("cell {cell} is there already");
            let hint = "`include` brings back cells that `exclude` took out, each once";
            problems.push(Problem::at(rule.place, message).hint(hint));
        }
    }
    problems.extend(idle(spec, &matrix.cells));
    if matrix.cells.is_empty() {
        let place = spec.exclude.first().map(|rule| rule.place);
        let mut problem = Problem::of_file("no cell is left: `exclude` takes out all of them");
        problem.place = place;
        problems.push(problem);
    }
    if problems.is_empty() {
        Ok(matrix)
    } else {
        Err(wrong(problems))
    }
}

/// Why a cell is expected to fail, if it is: the first entry that names it tells.
#[must_use]
pub fn expected_failure<'s>(spec: &'s Spec, cell: &Cell) -> Option<&'s ExpectedFailure> {
    let mut expected = spec.expected_failures.iter();
    expected.find(|expected| expected.when.holds(|axis| cell.value(axis)))
}

/// Expected failures of no cell: nobody would learn that they are out of date.
fn idle<'s>(spec: &'s Spec, cells: &'s [Cell]) -> impl Iterator<Item = Problem> + 's {
    let names = |expected: &ExpectedFailure, cell: &Cell| {
        expected_failure(spec, cell).is_some_and(|first| first.place == expected.place)
    };
    let idle = spec.expected_failures.iter();
    idle.filter(move |expected| !cells.iter().any(|cell| names(expected, cell)))
        .map(|expected| {
            let message = "no cell is expected to fail by this entry";
            Problem::at(expected.place, message)
                .hint("the cells are excluded, or an entry before it names them")
        })
}

/// Every combination of values, the last axis varying fastest.
fn product(spec: &Spec) -> Result<Vec<Cell>, Problem> {
    let count = spec
        .axes
        .values()
        .try_fold(1_usize, |count, axis| count.checked_mul(axis.values.len()))
        .filter(|&count| count <= MAX_CELLS);
    if count.is_none() {
        let place = spec.axes.values().next().map(|axis| axis.place);
        let mut problem = Problem::of_file(format!("the matrix has more than {MAX_CELLS} cells"));
        problem.place = place;
        return Err(problem.hint("split the file, or take values away"));
    }
    let mut rows: Vec<IndexMap<String, String>> = vec![IndexMap::new()];
    for (name, axis) in &spec.axes {
        rows = rows
            .iter()
            .flat_map(|row| {
                axis.values.keys().map(move |value| {
                    let mut row = row.clone();
                    row.insert(name.clone(), value.clone());
                    row
                })
            })
            .collect();
    }
    rows.into_iter().map(|values| cell(spec, values)).collect()
}

fn cell(spec: &Spec, values: IndexMap<String, String>) -> Result<Cell, Problem> {
    let name = if values.is_empty() {
        spec.name.clone()
    } else {
        let pairs: Vec<String> = values.iter().map(|(a, v)| format!("{a}={v}")).collect();
        pairs.join(",")
    };
    if name.len() > MAX_CELL_NAME_BYTES {
        let mut problem = Problem::of_file(format!(
            "the cell's name {name} is longer than {MAX_CELL_NAME_BYTES} bytes"
        ));
        problem.place = spec.axes.values().next().map(|axis| axis.place);
        return Err(problem.hint("shorten the names of axes and values"));
    }
    Ok(Cell { name, values })
}
