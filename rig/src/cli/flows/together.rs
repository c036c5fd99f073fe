//! Several captures of the same traffic, shown as one.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::PathBuf;

use super::super::captures::{self, Account};
use super::super::exit::Exit;
use super::super::say;
use super::request::Request;
use super::session::SessionError;
use super::{FlowsError, session_on_stdout, tell};
use crate::analysis::PassedOver;
use crate::pcapng::Frame;
use crate::reconcile::{Reconciled, reconcile};

/// Shows the flows of captures that are put together; stderr tells how that went.
pub(super) fn main(paths: &[PathBuf], follow: bool, request: Request) -> Exit {
    let wrong = |error: &dyn Display| say::failure(Exit::Input, &error.to_string());
    if follow {
        return wrong(&"`--follow` goes with one capture");
    }
    let joined = captures::files(paths, None)
        .and_then(|files| captures::read(&files))
        .map_err(|error| wrong(&error))
        .and_then(|sources| reconcile(sources).map_err(|error| wrong(&error)));
    let joined = match joined {
        Ok(joined) => joined,
        Err(exit) => return exit,
    };
    let complain = |what: &str| {
        // Nothing is left to do where stderr itself is gone.
        let _ = writeln!(io::stderr(), "rig flows: {what}");
    };
    match show(&joined, request) {
        Ok(passed_over) if passed_over.is_worth_telling() => {
            complain(&format!("packets that are in no flow: {passed_over}"));
        }
        Ok(_) => {}
        Err(error) => return tell(FlowsError::Session(error), &complain),
    }
    say::text(&format!("{}\n", Account(&joined)));
    let stops = joined.merged.stops();
    for (name, stop) in stops {
        say::failure(Exit::Input, &format!("{name}: {stop}"));
    }
    if stops.is_empty() {
        Exit::Passed
    } else {
        Exit::Input
    }
}

fn show(joined: &Reconciled, request: Request) -> Result<PassedOver, SessionError> {
    let streams = request.streams();
    let mut session = session_on_stdout(request);
    session.names.update(&joined.names);
    let mut comments = joined.comments(false).into_iter().peekable();
    let records = joined.merged.records().iter().zip(&joined.passages);
    for (number, (record, passage)) in (1..).zip(records) {
        let Some(interface) = joined.merged.interface(record.interface) else {
            continue;
        };
        let mut record = record.clone();
        while let Some((_, comment)) = comments.next_if(|(frame, _)| *frame == number) {
            record.comments.to_mut().push(comment);
        }
        let frame = Frame {
            number,
            link: interface.link,
            record,
        };
        session.push_reconciled(&frame, passage.fate);
        if streams && session.has_ended() {
            session.show_ended()?;
        }
    }
    session.finish()
}
