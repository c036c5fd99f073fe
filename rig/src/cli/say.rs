//! What the command line itself says, on standard error.

use std::io::{self, Write as _};

use super::exit::Exit;
use crate::analysis::{PassedOver, WrongChecksums};
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

/// That a capture is not complete, by its own word.
pub(super) fn lost_by_capture(packets: u64) -> String {
    let lost = if packets == 1 { "packet" } else { "packets" };
    format!("the capture lost {packets} {lost}: what seems to be missing may have been there")
}

/// What there is to tell of the packets that are in no flow; of a capture without a flow always
/// something.
pub(super) fn packets_in_no_flow(passed_over: &PassedOver, no_flow: bool) -> Option<String> {
    if no_flow {
        return Some(passed_over.instead_of_flows());
    }
    let worth_telling = passed_over.is_worth_telling();
    worth_telling.then(|| format!("packets that are in no flow: {passed_over}"))
}

/// That a capture shows too little because its checksums are wrong, and what helps.
pub(super) fn wrong_checksums(wrong: &WrongChecksums, passed_over: &PassedOver) -> Option<String> {
    let told = wrong.told(passed_over)?;
    Some(format!(
        "{told}; if the capture was anonymised, rewritten, or taken before a network card filled them in, \
         --no-checksums takes them for right"
    ))
}

/// That a pcapng file breaks a rule of its format and was read all the same.
pub(super) fn unaligned(blocks: u64) -> String {
    let were = if blocks == 1 {
        "block has"
    } else {
        "blocks have"
    };
    format!(
        "{blocks} {were} a length that is no multiple of four, against the format: read on all the same"
    )
}
