//! What commands that take a matrix file share.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use super::exit::Exit;
use crate::matrix::Matrix;
use crate::plan;
use crate::spec::{self, Diagnostics, Spec, Style};
use crate::units::printable;

/// Reads a matrix file and checks each of its cells. Errors are already told when it fails, with
/// the exit code to end with.
pub(super) fn load(file: &Path) -> Result<(Spec, Matrix), Exit> {
    let told = |diagnostics: Diagnostics| {
        show_diagnostics(&diagnostics);
        Exit::Input
    };
    let spec = spec::load(file).map_err(told)?;
    let matrix = plan::validate(&spec).map_err(told)?;
    Ok((spec, matrix))
}

/// Tells what is wrong with a matrix file: framed and coloured on a terminal, unless `NO_COLOR`
/// is set, and plain elsewhere.
pub(super) fn show_diagnostics(diagnostics: &Diagnostics) {
    let mut stderr = std::io::stderr().lock();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let style = if stderr.is_terminal() && !no_color {
        Style::Graphical
    } else {
        Style::Plain
    };
    // There is nobody left to tell when stderr is closed.
    let _ = stderr.write_all(diagnostics.render(style).as_bytes());
}

/// Tells what went wrong, in a line.
pub(super) fn show_error(error: &dyn Display) {
    // There is nobody left to tell when stderr is closed.
    let _ = writeln!(std::io::stderr(), "rig: {}", printable(&error.to_string()));
}
