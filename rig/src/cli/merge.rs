//! `rig merge`: captures of the same traffic become one.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;

use super::args::MergeArgs;
use super::captures::{self, Account};
use super::exit::Exit;
use super::say;
use crate::pcapng::{Closed, MergeError, Spool};
use crate::reconcile::Reconciliation;

/// The name that stands for standard output.
const STDOUT: &str = "-";

/// A merged capture could not be written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("write standard output: a terminal is no place for a capture")]
    Terminal,
    /// The packets, which stand in a file of their own until all is known that the header tells.
    #[error("put the packets aside in {}, before {} is written: {cause}{room}", .folder.display(), .out.display())]
    Aside {
        folder: PathBuf,
        out: PathBuf,
        cause: Box<MergeError>,
        room: Room,
    },
    #[error("write {}: {cause}{room}", .out.display())]
    Out {
        out: PathBuf,
        cause: io::Error,
        room: Room,
    },
}

/// What there is to say of the room that is missing, in bytes; empty where that is not the cause.
#[derive(Debug, Default)]
struct Room {
    needed: Option<u64>,
    /// `needed` goes by what the packets so far have taken.
    is_estimate: bool,
    /// What is put aside is there as well until the capture is.
    is_twice: bool,
    left: Option<(u64, PathBuf)>,
}

impl Room {
    /// Looks at it where an error tells that it is missing.
    fn missing(cause: &io::Error, look: impl FnOnce() -> Self) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        if matches!(cause.kind(), FileTooLarge | QuotaExceeded | StorageFull) {
            look()
        } else {
            Self::default()
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = if self.is_estimate { "some " } else { "" };
        let twice = if self.is_twice {
            ", twice the length of the capture,"
        } else {
            ""
        };
        let needed = self.needed;
        let needed = needed.map(|bytes| format!("{some}{bytes} bytes{twice} are needed"));
        let left = self.left.as_ref();
        let left = left.map(|(bytes, folder)| format!("{bytes} are left in {}", folder.display()));
        let told: Vec<_> = [needed, left].into_iter().flatten().collect();
        if told.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", told.join(", "))
    }
}

pub(super) fn main(args: &MergeArgs) -> Exit {
    let mut joining = match captures::reconcile(&args.captures, Some(&args.out)) {
        Ok(joining) => joining,
        Err(error) => return say::failure(Exit::Input, &error.to_string()),
    };
    if let Err(error) = write(args, &mut joining) {
        return say::failure(Exit::Machine, &error.to_string());
    }
    captures::tell(&Account::of(&joining))
}

fn write(args: &MergeArgs, joining: &mut Reconciliation<File>) -> Result<(), WriteError> {
    let to_stdout = args.out.as_os_str() == STDOUT;
    if to_stdout && io::stdout().is_terminal() {
        return Err(WriteError::Terminal);
    }
    let folder = folder_aside(&args.out);
    let is_twice = is_file(&args.out) && folder == folder_of(&args.out);
    let times = if is_twice { 2 } else { 1 };
    let closed = aside(args, joining, &folder).map_err(|(cause, written)| {
        let room = cause.io().map(|cause| {
            Room::missing(cause, || Room {
                needed: Some(estimate(written, joining).saturating_mul(times)),
                is_estimate: true,
                is_twice,
                left: left_in(&folder),
            })
        });
        WriteError::Aside {
            out: args.out.clone(),
            room: room.unwrap_or_default(),
            folder: folder.clone(),
            cause: Box::new(cause),
        }
    })?;
    // All of the captures were read before this: the file may be one of them.
    let needed = closed.len_bytes();
    let written = if to_stdout {
        closed.write_to(io::stdout().lock())
    } else {
        write_out(&args.out, closed)
    };
    written.map_err(|cause| WriteError::Out {
        room: Room::missing(&cause, || Room {
            needed: Some(needed.saturating_mul(times)),
            is_twice,
            left: is_file(&args.out)
                .then(|| left_in(folder_of(&args.out)))
                .flatten(),
            ..Room::default()
        }),
        out: args.out.clone(),
        cause,
    })
}

/// Puts the merged packets into a file without a name. An error comes with how many bytes
/// these have so far.
fn aside(
    args: &MergeArgs,
    joining: &mut Reconciliation<File>,
    folder: &Path,
) -> Result<Closed, (MergeError, u64)> {
    let file = tempfile::tempfile_in(folder).map_err(|error| (MergeError::Io(error), 0))?;
    let outline = joining.outline();
    let spool = Spool::new(file, &outline.interfaces, &outline.names);
    let mut spool = spool.map_err(|error| (error, 0))?;
    while let Some(passage) = joining.next_packet() {
        let record = passage.into_record(args.delays);
        if let Err(error) = spool.write(&record) {
            return Err((error, spool.len_bytes()));
        }
    }
    let outline = joining.outline();
    let comment = format!(
        "merged from {}\n{}",
        outline.places.join(", "),
        Account::of(joining)
    );
    let len = spool.len_bytes();
    let closed = spool.close(&outline.statistics, comment);
    closed.map_err(|error| (error, len))
}

/// Where the packets are put aside: beside the file that is to be written, where there is room for that one as well,
/// unless it goes into a device or a pipe.
fn folder_aside(out: &Path) -> PathBuf {
    let beside = is_file(out).then(|| folder_of(out));
    // A folder that takes no such file may be on a file system without them.
    let fits = beside.filter(|folder| tempfile::tempfile_in(folder).is_ok());
    fits.map_or_else(std::env::temp_dir, Path::to_owned)
}

/// Whether it is a file, or will be one.
fn is_file(out: &Path) -> bool {
    out.as_os_str() != STDOUT && (out.is_file() || !out.exists())
}

fn folder_of(out: &Path) -> &Path {
    let folder = out.parent();
    folder
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Writes a capture to its file. What is there stays as it is where there is no room for the new one, as far as the
/// file system tells in advance.
fn write_out(out: &Path, closed: Closed) -> io::Result<()> {
    let was_there = out.exists();
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(out)?;
    if !file.metadata()?.is_file() {
        return closed.write_to(file);
    }
    let len = closed.len_bytes();
    let room = i64::try_from(len).unwrap_or(i64::MAX);
    // Not every file system can tell, and none does for another reason.
    if let Err(error @ (Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG)) =
        fallocate(&file, FallocateFlags::empty(), 0, room)
    {
        if !was_there {
            // Nothing is in it.
            std::fs::remove_file(out).ok();
        }
        return Err(error.into());
    }
    let written = closed.write_to(&file).and_then(|()| file.set_len(len));
    if written.is_err() && !was_there {
        std::fs::remove_file(out).ok();
    }
    written
}

/// How many bytes all packets will take, if they are like those so far.
fn estimate(written: u64, joining: &Reconciliation<File>) -> u64 {
    let (read, all) = joining.progress();
    let scaled = u128::from(written) * u128::from(all) / u128::from(read.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// How many bytes are free in a folder.
fn left_in(folder: &Path) -> Option<(u64, PathBuf)> {
    let room = statvfs(folder).ok()?;
    let bytes = room.blocks_available().saturating_mul(room.fragment_size());
    Some((bytes, folder.to_owned()))
}
