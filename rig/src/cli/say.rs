//! What the command line itself says, on standard error.

use std::io::{self, Write as _};

use super::exit::Exit;
use crate::units::printable;

/// Says what went wrong, in a line, and gives the exit code back.
pub(super) fn failure(exit: Exit, message: &str) -> Exit {
    let lines: Vec<_> = message.lines().map(printable).collect();
    text(&format!("rig: {}\n", lines.join("\n")));
    exit
}

/// Writes text that is already harmless.
pub(super) fn text(text: &str) {
    // Without a standard error nobody is left to be told.
    io::stderr().write_all(text.as_bytes()).ok();
}
