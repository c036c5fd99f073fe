//! `rig merge`: captures of the same traffic become one.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};

use super::args::MergeArgs;
use super::captures::{self, Account};
use super::exit::Exit;
use super::say;
use crate::pcapng::{MergeError, MergeNotes};
use crate::reconcile::{Reconciled, reconcile};

/// The name that stands for standard output.
const STDOUT: &str = "-";

pub(super) fn main(args: &MergeArgs) -> Exit {
    let wrong = |error: &dyn std::fmt::Display| say::failure(Exit::Input, &error.to_string());
    let files = match captures::files(&args.captures, Some(&args.out)) {
        Ok(files) => files,
        Err(error) => return wrong(&error),
    };
    let sources = match captures::read(&files) {
        Ok(sources) => sources,
        Err(error) => return wrong(&error),
    };
    let joined = match reconcile(sources) {
        Ok(joined) => joined,
        Err(error) => return wrong(&error),
    };
    if let Err(error) = write(args, &joined) {
        let what = format!("write {}: {error}", args.out.display());
        return say::failure(Exit::Machine, &what);
    }
    say::text(&format!("{}\n", Account(&joined)));
    for (name, stop) in joined.merged.stops() {
        say::failure(Exit::Input, &format!("{name}: {stop}"));
    }
    if joined.merged.stops().is_empty() {
        Exit::Passed
    } else {
        Exit::Input
    }
}

fn write(args: &MergeArgs, joined: &Reconciled) -> Result<(), MergeError> {
    let notes = MergeNotes {
        names: joined.names.clone(),
        comments: joined.comments(args.delays),
        section_comment: format!(
            "merged from {}\n{}",
            joined.places.join(", "),
            Account(joined)
        ),
    };
    let io = |error: io::Error| MergeError::Io(error);
    if args.out.as_os_str() == STDOUT {
        let stdout = io::stdout();
        if stdout.is_terminal() {
            return Err(io(io::Error::other("a terminal is no place for a capture")));
        }
        return joined.merged.write(stdout.lock(), &notes).map(drop);
    }
    // All of the captures were read before this: the file may be one of them.
    let mut file = joined
        .merged
        .write(File::create(&args.out).map_err(io)?, &notes)?;
    file.flush().map_err(io)
}
