//! The cells of a matrix: those that it lists, or the product of its axes, without what is excluded.

mod expand;
mod filter;

pub use expand::{
    Cell, Excluded, MAX_CELL_NAME_BYTES, MAX_CELLS, Matrix, expand, expected_failure,
};
pub use filter::{FilterError, select};
