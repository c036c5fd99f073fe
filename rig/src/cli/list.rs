//! `rig list`.

use std::io::Write as _;

use serde::Serialize;

use super::args::ListArgs;
use super::exit::Exit;
use super::input::{self, show_error};
use crate::matrix::{Cell, Excluded, FilterError, Matrix, select};
use crate::units::printable;

pub(super) fn main(args: &ListArgs) -> Exit {
    let matrix = match input::load(&args.file) {
        Ok((_, matrix)) => matrix,
        Err(exit) => return exit,
    };
    let matrix = match chosen(matrix, &args.filter) {
        Ok(matrix) => matrix,
        Err(error) => {
            show_error(&error);
            return Exit::Input;
        }
    };
    match write(&matrix, args) {
        Ok(()) => Exit::Passed,
        // The reader has seen enough, as in `rig list … | head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Passed,
        Err(error) => {
            show_error(&format!("cannot write the list: {error}"));
            Exit::Machine
        }
    }
}

/// The cells that fit; excluded ones only where nothing is asked for in particular.
fn chosen(mut matrix: Matrix, filters: &[String]) -> Result<Matrix, FilterError> {
    if !filters.is_empty() {
        matrix.cells = select(&matrix.cells, filters)?;
        matrix.excluded.clear();
    }
    Ok(matrix)
}

/// A line of `--json`.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    cell: &'a Cell,
    excluded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Cells go to stdout. In JSON excluded ones do too, marked; as text they are told on stderr:
/// their number, or each where that is asked for.
fn write(matrix: &Matrix, args: &ListArgs) -> std::io::Result<()> {
    let json = args.json;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for cell in &matrix.cells {
        if json {
            write_row(&mut out, cell, false, None)?;
        } else {
            writeln!(out, "{}", cell.name)?;
        }
    }
    for Excluded { cell, reason } in &matrix.excluded {
        if json {
            write_row(&mut out, cell, true, reason.as_deref())?;
        } else if args.excluded {
            let reason = reason
                .as_ref()
                .map_or_else(String::new, |r| format!(": {r}"));
            let line = format!("excluded {}{reason}", cell.name);
            writeln!(std::io::stderr(), "{}", printable(&line))?;
        }
    }
    out.flush()?;
    let excluded = matrix.excluded.len();
    if excluded > 0 && !json && !args.excluded {
        let cells = if excluded == 1 { "cell" } else { "cells" };
        let line = format!("{excluded} {cells} excluded, see --excluded");
        writeln!(std::io::stderr(), "{line}")?;
    }
    Ok(())
}

fn write_row(
    out: &mut impl std::io::Write,
    cell: &Cell,
    excluded: bool,
    reason: Option<&str>,
) -> std::io::Result<()> {
    let row = Row {
        cell,
        excluded,
        reason,
    };
    serde_json::to_writer(&mut *out, &row)?;
    writeln!(out)
}
