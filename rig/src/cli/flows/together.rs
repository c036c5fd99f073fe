//! Several captures of the same traffic, shown as one.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

use super::super::captures::{self, Account};
use super::super::exit::Exit;
use super::super::say;
use super::request::Request;
use super::session::{Rest, SessionError};
use super::{FlowsError, session_on_stdout, tell};
use crate::pcapng::Frame;
use crate::reconcile::Reconciliation;

/// Shows the flows of captures that are put together; stderr tells how that went.
pub(super) fn main(paths: &[PathBuf], follow: bool, request: Request) -> Exit {
    if follow {
        return say::failure(Exit::Input, "`--follow` goes with one capture");
    }
    let mut joining = match captures::reconcile(paths, None) {
        Ok(joining) => joining,
        Err(error) => return say::failure(Exit::Input, &error.to_string()),
    };
    let complain = |what: &str| {
        // Nothing is left to do where stderr itself is gone.
        let _ = writeln!(io::stderr(), "rig flows: {what}");
    };
    match show(&mut joining, request) {
        Ok(rest) => rest.told().for_each(|told| complain(&told)),
        Err(error) => return tell(FlowsError::Session(error), &complain),
    }
    captures::tell(&Account::of(&joining))
}

fn show(joining: &mut Reconciliation<File>, request: Request) -> Result<Rest, SessionError> {
    let streams = request.streams();
    let mut session = session_on_stdout(request);
    session.names.update(&joining.outline().names);
    let mut number = 0;
    while let Some(passage) = joining.next_packet() {
        number += 1;
        let (fate, link) = (passage.fate, passage.link);
        let frame = Frame {
            number,
            link,
            record: passage.into_record(false),
        };
        session.push_reconciled(&frame, fate);
        if streams && session.has_ended() {
            session.show_ended()?;
        }
    }
    session.finish()
}
