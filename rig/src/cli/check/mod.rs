//! `rig check`: holds the connections of a capture against fates, counts and a pattern, or against
//! the flow checks of a file.

mod capture;
pub(super) mod ends;
mod expect;
mod outcome;
mod request;

use std::io::Write;

use super::args::CheckArgs;
use super::captures::checksums;
use super::exit::Exit;
use super::input::{show_diagnostics, show_error};
use crate::spec::Diagnostics;
use outcome::{Outcome, check};
use request::Request;

pub(super) use capture::Capture;
pub(super) use request::{diagnostics, selectors};

pub(super) fn main(args: &CheckArgs) -> Exit {
    let (capture, outcome) = match asked(args) {
        Ok(asked) => asked,
        Err(exit) => return exit,
    };
    capture.tell(&args.capture);
    let mut stdout = std::io::stdout().lock();
    let written = if args.json {
        outcome.write_json(&mut stdout)
    } else {
        outcome.write_text(&mut stdout)
    };
    match written.and_then(|()| stdout.flush()) {
        Ok(()) => outcome.exit(),
        // The reader has seen enough, `rig check … | head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => outcome.exit(),
        Err(error) => {
            show_error(&format!("cannot write the result: {error}"));
            Exit::Machine
        }
    }
}

/// The capture, and what comes of what it is asked. Errors are already told when it fails, with
/// the exit code to end with.
fn asked(args: &CheckArgs) -> Result<(Capture, Outcome), Exit> {
    if let Some(file) = &args.expect {
        return expect::judge(args, file);
    }
    let request = Request::read(args).map_err(|error| error.tell())?;
    let capture = read(args, request.pattern.is_some())?;
    let selectors = request
        .selectors(&capture.names)
        .map_err(|diagnostics| told(&diagnostics))?;
    let outcome = check(&request, &selectors, &capture);
    Ok((capture, outcome))
}

fn read(args: &CheckArgs, keep_payload: bool) -> Result<Capture, Exit> {
    let checksums = checksums(args.no_checksums);
    Capture::read(&args.capture, keep_payload, checksums).map_err(|message| {
        show_error(&message);
        Exit::Input
    })
}

/// Tells what is wrong with the input.
fn told(diagnostics: &Diagnostics) -> Exit {
    show_diagnostics(diagnostics);
    Exit::Input
}
