//! Every cell planned, so that every mistake shows before anything runs.

use std::net::Ipv4Addr;

use indexmap::IndexMap;

use super::{Plan, Subnet, networks_needed, plan};
use crate::matrix::{Cell, Matrix, expand};
use crate::spec::{Diagnostics, Place, Problem, Spec};

/// The most different mistakes after which no more cells are planned.
const MAX_PROBLEMS: usize = 1000;

/// A cell planned with made-up subnets.
///
/// # Errors
/// What the file says and cannot be meant in this cell.
pub fn sketch(spec: &Spec, cell: &Cell) -> Result<Plan, Diagnostics> {
    let subnets = made_up_subnets(networks_needed(spec, cell).count);
    plan(spec, cell, &subnets)
}

/// Expands the matrix and plans each cell with made-up subnets.
///
/// # Errors
/// What is wrong in any cell; what is wrong in several is told once, with the first of them.
pub fn validate(spec: &Spec) -> Result<Matrix, Diagnostics> {
    let matrix = expand(spec)?;
    let mut found: IndexMap<(Option<Place>, String), (Problem, &str, usize)> = IndexMap::new();
    for cell in &matrix.cells {
        let Err(diagnostics) = sketch(spec, cell) else {
            continue;
        };
        for problem in diagnostics.problems() {
            let key = (problem.place, problem.message.clone());
            let entry = found.entry(key);
            let (_, _, cells) = entry.or_insert_with(|| (problem.clone(), &cell.name, 0));
            *cells += 1;
        }
        if found.len() > MAX_PROBLEMS {
            break;
        }
    }
    if found.is_empty() {
        return Ok(matrix);
    }
    let all = matrix.cells.len();
    let problems = found.into_values().map(|(mut problem, cell, cells)| {
        if cells < all {
            let message = problem.message;
            problem.message = match cells - 1 {
                0 => format!("{message} (in cell {cell})"),
                more => format!("{message} (in cell {cell} and {more} more)"),
            };
        }
        problem
    });
    Err(Diagnostics::new(spec.source.clone(), problems.collect()))
}

/// Subnets that nothing is sent to.
fn made_up_subnets(count: usize) -> Vec<Subnet> {
    let subnets = (0..=u8::MAX).flat_map(|second| {
        (0..=u8::MAX).map(move |third| Subnet::containing(Ipv4Addr::new(10, second, third, 0)))
    });
    subnets.take(count).collect()
}
