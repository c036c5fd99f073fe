//! Choosing cells by parts of their names.

use super::Cell;
use crate::units::printable;

/// A filter fits no cell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no cell fits `--filter {}`", printable(.0))]
pub struct FilterError(pub String);

/// The cells that fit any of the filters, in their order; all of them without a filter.
///
/// A filter is one or more parts joined by `,`, all of which must fit. A part that is a whole
/// `axis=value` of some cell fits the cells with that value; any other fits the cells whose name
/// contains it.
///
/// # Errors
/// A filter that fits no cell.
pub fn select(cells: &[Cell], filters: &[String]) -> Result<Vec<Cell>, FilterError> {
    if filters.is_empty() {
        return Ok(cells.to_vec());
    }
    let mut chosen = vec![false; cells.len()];
    for filter in filters {
        let parts: Vec<&str> = filter.split(',').map(str::trim).collect();
        let mut fits_any = false;
        for (index, cell) in cells.iter().enumerate() {
            if parts.iter().all(|part| fits(cells, cell, part)) {
                fits_any = true;
                chosen[index] = true;
            }
        }
        if !fits_any {
            return Err(FilterError(filter.clone()));
        }
    }
    let kept = cells.iter().zip(chosen).filter(|(_, chosen)| *chosen);
    Ok(kept.map(|(cell, _)| cell.clone()).collect())
}

fn fits(cells: &[Cell], cell: &Cell, part: &str) -> bool {
    let whole = |cell: &Cell| cell.name.split(',').any(|pair| pair == part);
    if part.contains('=') && cells.iter().any(whole) {
        whole(cell)
    } else {
        cell.name.contains(part)
    }
}
