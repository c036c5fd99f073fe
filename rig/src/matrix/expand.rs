//! From axes to cells.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;
use serde::Serialize;

use crate::spec::{CellRule, CellsEntry, Diagnostics, ExpectedFailure, Place, Problem, Spec};

/// The most cells that a matrix may have, excluded ones included.
pub const MAX_CELLS: usize = 10_000;
/// The longest name of a cell, in bytes: it names a folder.
pub const MAX_CELL_NAME_BYTES: usize = 200;

/// One combination of values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Stable name: `server=ours,client=netcat`, or the name of a matrix without axes.
    pub name: String,
    /// Value on each axis that it has one of, in the order of the file.
    pub values: IndexMap<String, String>,
    /// Where the file lists it, if it lists its cells.
    #[serde(skip)]
    pub listed: Option<Place>,
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

/// Takes the cells that the file lists, or else the product of the axes, takes out what `exclude`
/// names and puts back what `include` names.
///
/// # Errors
/// Too many cells, names that are too long, cells that are listed twice, rules that name no cell, an
/// `include` of cells that are there already, or nothing left.
pub fn expand(spec: &Spec) -> Result<Matrix, Diagnostics> {
    let wrong = |problems| Diagnostics::new(spec.source.clone(), problems);
    let named = if spec.cells.is_empty() {
        product(spec)
    } else {
        listed(spec)
    };
    let named = named.map_err(|problem| wrong(vec![problem]))?;
    let mut problems = twice(&named);
    problems.extend(naming_nothing(spec, &named));
    let (matrix, doubled) = choose(spec, named);
    problems.extend(doubled);
    problems.extend(idle(spec, &matrix.cells));
    if matrix.cells.is_empty() {
        let place = spec.exclude.first().map(|rule| rule.place);
        let problem = Problem::of_file("no cell is left: `exclude` takes out all of them");
        problems.push(at(place, problem));
    }
    if problems.is_empty() {
        Ok(matrix)
    } else {
        Err(wrong(problems))
    }
}

/// Takes out what `exclude` names and puts back what `include` names, and tells which `include` names a
/// cell that is there anyway.
fn choose(spec: &Spec, named: Vec<Cell>) -> (Matrix, impl Iterator<Item = Problem>) {
    let mut matrix = Matrix::default();
    let mut doubled: Vec<Option<String>> = vec![None; spec.include.len()];
    for cell in named {
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
    let doubled = spec.include.iter().zip(doubled);
    let doubled = doubled.filter_map(|(rule, cell)| {
        let message = format!("cell {} is there already", cell?);
        let hint = "`include` brings back cells that `exclude` took out, each once; `cells` lists \
            those that are no combination of all axes";
        Some(Problem::at(rule.place, message).hint(hint))
    });
    (matrix, doubled)
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

/// Cells that the file lists more than once: of each entry the first one that an entry before it, or
/// it itself, has named.
fn twice(cells: &[Cell]) -> Vec<Problem> {
    let mut seen: HashMap<&str, Option<Place>> = HashMap::new();
    let mut told = HashSet::new();
    let mut problems = Vec::new();
    for cell in cells {
        let Some(first) = seen.insert(&cell.name, cell.listed) else {
            continue;
        };
        let Some(place) = cell.listed.filter(|place| told.insert(*place)) else {
            continue;
        };
        let message = format!("cell {} is listed twice", cell.name);
        let problem = Problem::at(place, message).hint("name it in one entry, and there once");
        problems.push(match first.filter(|first| *first != place) {
            Some(first) => problem.other(first, "listed first"),
            None => problem,
        });
    }
    problems
}

/// Rules of `exclude` and `include` that name no cell. Of the product of the axes each names some.
fn naming_nothing<'s>(spec: &'s Spec, cells: &'s [Cell]) -> impl Iterator<Item = Problem> + 's {
    let rules = spec.exclude.iter().chain(&spec.include);
    let idle = rules.filter(move |rule| !cells.iter().any(|cell| cell.fits(rule)));
    idle.map(|rule| {
        let hint = "no entry of `cells` lists a cell with these values";
        Problem::at(rule.place, "the rule names no cell").hint(hint)
    })
}

/// Every combination of values, the last axis varying fastest.
fn product(spec: &Spec) -> Result<Vec<Cell>, Problem> {
    let first = spec.axes.values().next().map(|axis| axis.place);
    let axes = spec.axes.iter();
    let axes: Vec<_> = axes
        .map(|(name, axis)| (name, axis.values.keys().collect()))
        .collect();
    add_up(0, &axes).map_err(|problem| at(first, problem))?;
    let named = rows(&axes)
        .into_iter()
        .map(|values| cell(spec, values, None));
    let named: Result<_, _> = named.collect();
    named.map_err(|problem| at(first, problem))
}

/// The cells that the file lists, in the order of its entries; within one the last axis varies fastest.
fn listed(spec: &Spec) -> Result<Vec<Cell>, Problem> {
    let mut count = 0;
    let mut cells = Vec::new();
    for entry in &spec.cells {
        let here = |problem| at(Some(entry.place), problem);
        let axes = axes_of(spec, entry);
        count = add_up(count, &axes).map_err(here)?;
        for values in rows(&axes) {
            cells.push(cell(spec, values, Some(entry.place)).map_err(here)?);
        }
    }
    Ok(cells)
}

/// Axes with values.
type Axes<'s> = Vec<(&'s String, Vec<&'s String>)>;

/// The axes that an entry names, in the order of the file, so that equal cells have equal names.
fn axes_of<'s>(spec: &'s Spec, entry: &'s CellsEntry) -> Axes<'s> {
    let named = spec.axes.keys().filter_map(|axis| {
        let values = entry.values.conditions.get(axis)?.iter();
        Some((axis, values.map(|value| &value.value).collect()))
    });
    named.collect()
}

/// How many cells there are with the combinations of some axes.
fn add_up(before: usize, axes: &Axes<'_>) -> Result<usize, Problem> {
    let mut lens = axes.iter().map(|(_, values)| values.len());
    let count = lens.try_fold(1_usize, usize::checked_mul);
    let count = count.and_then(|count| before.checked_add(count));
    count.filter(|&count| count <= MAX_CELLS).ok_or_else(|| {
        let message = format!("the matrix has more than {MAX_CELLS} cells");
        Problem::of_file(message).hint("split the file, or take values away")
    })
}

/// Every combination, the last axis varying fastest.
fn rows(axes: &Axes<'_>) -> Vec<IndexMap<String, String>> {
    let mut rows: Vec<IndexMap<String, String>> = vec![IndexMap::new()];
    for (name, values) in axes {
        rows = rows
            .iter()
            .flat_map(|row| {
                values.iter().map(move |&value| {
                    let mut row = row.clone();
                    row.insert((*name).clone(), value.clone());
                    row
                })
            })
            .collect();
    }
    rows
}

fn cell(
    spec: &Spec,
    values: IndexMap<String, String>,
    listed: Option<Place>,
) -> Result<Cell, Problem> {
    let name = if values.is_empty() {
        spec.name.clone()
    } else {
        let pairs: Vec<String> = values.iter().map(|(a, v)| format!("{a}={v}")).collect();
        pairs.join(",")
    };
    if name.len() > MAX_CELL_NAME_BYTES {
        let problem = Problem::of_file(format!(
            "the cell's name {name} is longer than {MAX_CELL_NAME_BYTES} bytes"
        ));
        return Err(problem.hint("shorten the names of axes and values"));
    }
    Ok(Cell {
        name,
        values,
        listed,
    })
}

fn at(place: Option<Place>, problem: Problem) -> Problem {
    Problem { place, ..problem }
}
