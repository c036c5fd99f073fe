//! `rig merge`: captures of the same traffic become one.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::path::Path;

use super::args::MergeArgs;
use super::captures::{self, Account};
use super::exit::Exit;
use super::say;
use crate::pcapng::{MergeError, Spool};
use crate::reconcile::Reconciliation;

/// The name that stands for standard output.
const STDOUT: &str = "-";

pub(super) fn main(args: &MergeArgs) -> Exit {
    let mut joining = match captures::reconcile(&args.captures, Some(&args.out)) {
        Ok(joining) => joining,
        Err(error) => return say::failure(Exit::Input, &error.to_string()),
    };
    if let Err(error) = write(args, &mut joining) {
        let what = format!("write {}: {error}", args.out.display());
        return say::failure(Exit::Machine, &what);
    }
    captures::tell(&Account::of(&joining))
}

fn write(args: &MergeArgs, joining: &mut Reconciliation<File>) -> Result<(), MergeError> {
    let to_stdout = args.out.as_os_str() == STDOUT;
    if to_stdout && io::stdout().is_terminal() {
        let error = io::Error::other("a terminal is no place for a capture");
        return Err(MergeError::Io(error));
    }
    let file = spool(&args.out).map_err(MergeError::Io)?;
    let outline = joining.outline();
    let mut spool = Spool::new(file, &outline.interfaces, &outline.names)?;
    while let Some(passage) = joining.next_packet() {
        let comment = passage.comment(args.delays);
        let mut record = passage.record;
        record.comments.to_mut().extend(comment);
        spool.write(&record)?;
    }
    let outline = joining.outline();
    let comment = format!(
        "merged from {}\n{}",
        outline.places.join(", "),
        Account::of(joining)
    );
    if to_stdout {
        let stdout = io::stdout().lock();
        return spool.finish(&outline.statistics, comment, stdout).map(drop);
    }
    // All of the captures were read before this: the file may be one of them.
    let file = File::create(&args.out).map_err(MergeError::Io)?;
    spool.finish(&outline.statistics, comment, file).map(drop)
}

/// A file without a name: beside the one that is to be written, where there is room for that one as well, unless it
/// goes into a device or a pipe.
fn spool(out: &Path) -> io::Result<File> {
    if out.exists() && !out.is_file() {
        return tempfile::tempfile();
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    let beside = tempfile::tempfile_in(folder.unwrap_or(Path::new(".")));
    beside.or_else(|_| tempfile::tempfile())
}
