//! `rig validate`.

use std::io::Write as _;

use super::args::ValidateArgs;
use super::exit::Exit;
use super::input::{self, show_error};
use crate::plan::check_files;
use crate::units::printable;

pub(super) fn main(args: &ValidateArgs) -> Exit {
    let mut exit = Exit::Passed;
    for file in &args.files {
        let Ok((spec, matrix)) = input::load(file) else {
            exit = Exit::Input;
            continue;
        };
        if let Err(diagnostics) = check_files(&spec, &matrix) {
            input::show_diagnostics(&diagnostics);
            exit = Exit::Input;
            continue;
        }
        let name = printable(&file.display().to_string());
        let line = match matrix.cells.len() {
            1 => format!("{name}: 1 cell, ok"),
            cells => format!("{name}: {cells} cells, ok"),
        };
        if let Err(error) = writeln!(std::io::stdout(), "{line}") {
            show_error(&format!("cannot write the result: {error}"));
            return Exit::Machine;
        }
    }
    exit
}
