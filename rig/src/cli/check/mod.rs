//! `rig check`: holds the connections of a capture against fates, counts and a pattern.

mod capture;
pub(super) mod ends;
mod outcome;
mod request;

use std::io::Write;

use super::args::CheckArgs;
use super::exit::Exit;
use super::input::{show_diagnostics, show_error};
use capture::Capture;
use outcome::check;
use request::Request;

pub(super) fn main(args: &CheckArgs) -> Exit {
    let request = match Request::read(args) {
        Ok(request) => request,
        Err(error) => return error.tell(),
    };
    let capture = match Capture::read(&args.capture, request.pattern.is_some()) {
        Ok(capture) => capture,
        Err(message) => {
            show_error(&message);
            return Exit::Input;
        }
    };
    let selectors = match request.selectors(&capture.names) {
        Ok(selectors) => selectors,
        Err(diagnostics) => {
            show_diagnostics(&diagnostics);
            return Exit::Input;
        }
    };
    if let Some(stop) = &capture.stop {
        show_error(&format!("{}: {stop}", args.capture.display()));
    }
    let outcome = check(&request, &selectors, &capture);
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
