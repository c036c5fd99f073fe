//! Captures named on the command line, several of the same traffic among them.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::pcapng::OpenError;
use crate::reconcile::{Alignment, Capture, Clock, Reconciled};
use crate::units::{printable, show_duration};

/// What files with captures are called, compressed ones too.
const ENDINGS: [&str; 3] = ["pcapng", "pcap", "cap"];

/// What follows such an ending where a file is compressed.
const PACKED: [&str; 2] = [".gz", ".zst"];

/// The most captures that are put together.
const MAX_CAPTURES: usize = 64;

/// Captures that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum CapturesError {
    /// The file system said no.
    #[error("{}: {operation}: {cause}", .path.display())]
    Io {
        path: PathBuf,
        operation: &'static str,
        cause: io::Error,
    },
    /// A file is no capture.
    #[error("{}: {cause}", .path.display())]
    Open { path: PathBuf, cause: OpenError },
    /// A folder without captures.
    #[error("{}: no capture in this folder (files ending in .pcapng, .pcap or .cap)", .0.display())]
    EmptyFolder(PathBuf),
    /// Too many files.
    #[error("{0} captures: at most {MAX_CAPTURES} can be put together")]
    TooMany(usize),
}

/// The capture in a folder of evidence, or the file itself.
pub(super) fn capture_file(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join("wire.pcapng")
    } else {
        path.to_owned()
    }
}

/// The files that arguments mean: each file itself, and of a folder the captures in it.
/// A file that is named twice is one, and `out` in a folder is none of them.
pub(super) fn files(
    arguments: &[PathBuf],
    out: Option<&Path>,
) -> Result<Vec<PathBuf>, CapturesError> {
    let mut files = Vec::new();
    let mut known = HashSet::new();
    // What cannot be resolved is told when it is opened.
    let resolved = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let out = out.map(resolved);
    for argument in arguments {
        let found = if argument.is_dir() {
            let mut found = in_folder(argument)?;
            found.retain(|path| Some(resolved(path)) != out);
            found
        } else {
            vec![argument.clone()]
        };
        files.extend(
            found
                .into_iter()
                .filter(|path| known.insert(resolved(path))),
        );
    }
    if files.len() > MAX_CAPTURES {
        return Err(CapturesError::TooMany(files.len()));
    }
    Ok(files)
}

/// The captures in a folder, by name.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, CapturesError> {
    let failed = |cause| CapturesError::Io {
        path: folder.to_owned(),
        operation: "read the folder",
        cause,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() && stem(&path).is_some() {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(CapturesError::EmptyFolder(folder.to_owned()));
    }
    found.sort();
    Ok(found)
}

/// Reads captures, each called by its file's name without the ending.
pub(super) fn read(files: &[PathBuf]) -> Result<Vec<Capture>, CapturesError> {
    let mut captures: Vec<Capture> = Vec::new();
    for path in files {
        let file = File::open(path).map_err(|cause| CapturesError::Io {
            path: path.clone(),
            operation: "open the capture",
            cause,
        })?;
        let name = match stem(path) {
            Some(stem) => printable(&stem),
            None => printable(&path.file_name().unwrap_or_default().to_string_lossy()),
        };
        // Files of different folders may have one name.
        let taken = captures.iter().any(|capture| capture.name == name);
        let name = if taken {
            printable(&path.to_string_lossy())
        } else {
            name
        };
        let capture = Capture::read(&name, file).map_err(|cause| CapturesError::Open {
            path: path.clone(),
            cause,
        })?;
        captures.push(capture);
    }
    Ok(captures)
}

/// The name of a file without the ending of a capture; none where it has no such ending.
fn stem(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    let unpacked = PACKED
        .iter()
        .find_map(|packed| name.strip_suffix(packed))
        .unwrap_or(&name);
    let (stem, ending) = unpacked.rsplit_once('.')?;
    (ENDINGS.contains(&ending) && !stem.is_empty()).then(|| stem.to_owned())
}

/// What there is to say of captures that were put together: clocks, losses, doubts.
pub(super) struct Account<'a>(pub(super) &'a Reconciled);

impl fmt::Display for Account<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(joined) = self;
        for (place, (name, clock)) in joined.places.iter().zip(&joined.clocks).enumerate() {
            if place == 0 {
                writeln!(f, "{name}: its clock is the reference")?;
            } else {
                let against = joined.places.get(clock.against).map_or("", String::as_str);
                writeln!(f, "{name}: {}", clock_line(clock, against))?;
            }
        }
        let [arrived, lost, unsent, unwatched] = joined.counts();
        let count = joined.passages.len();
        let packets = if count == 1 { "packet" } else { "packets" };
        write!(f, "{count} {packets}: {arrived} arrived, {lost} lost")?;
        if unsent > 0 {
            write!(f, ", {unsent} not recorded where they were sent")?;
        }
        if unwatched > 0 {
            write!(f, ", {unwatched} seen at one place only")?;
        }
        for [a, b] in &joined.offloaded {
            write!(
                f,
                "\n{a} and {b} do not show the same packets: a network card cuts or joins segments behind its \
                 capture, so nothing between them is called lost; `ethtool -K INTERFACE tso off gso off gro off` \
                 before capturing helps"
            )?;
        }
        for (name, dropped) in &joined.dropped {
            write!(
                f,
                "\n{name}: its capture dropped {dropped} packets, so that some that seem lost may have arrived"
            )?;
        }
        Ok(())
    }
}

fn clock_line(clock: &Clock, against: &str) -> String {
    let what = match &clock.alignment {
        Alignment::Unknown if clock.packets > 0 => {
            return "its clock cannot be aligned".to_owned();
        }
        Alignment::Unknown => {
            return "its clock cannot be aligned: it shares no packet with the others".to_owned();
        }
        Alignment::Same => format!("its clock may be that of {against}"),
        Alignment::Offset(offset) => format!("its clock is {} {against}", signed(*offset)),
        Alignment::Drift(points) => {
            let ends = points.first().zip(points.last());
            let (first, last) = ends.map_or((0, 0), |(first, last)| (first.1, last.1));
            format!(
                "its clock drifts, from {} {against} to {} it",
                signed(first),
                signed(last)
            )
        }
    };
    let doubt = match clock.uncertainty {
        Some(uncertainty) => format!("within {}", show_duration(uncertainty)),
        None => "with nothing to bound the error, as packets went one way only".to_owned(),
    };
    format!("{what}, {doubt} ({} packets compared)", clock.packets)
}

/// `3.00ms ahead of`, `2.00s behind`.
fn signed(offset_ns: i128) -> String {
    let size = u64::try_from(offset_ns.unsigned_abs()).unwrap_or(u64::MAX);
    let size = show_duration(std::time::Duration::from_nanos(size));
    if offset_ns < 0 {
        format!("{size} behind")
    } else {
        format!("{size} ahead of")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_the_ending() {
        for (name, expected) in [
            ("hosts/alice.pcapng", Some("alice")),
            ("a.b.pcap.gz", Some("a.b")),
            ("x.cap.zst", Some("x")),
            ("notes.txt", None),
            (".pcap", None),
        ] {
            assert_eq!(stem(Path::new(name)).as_deref(), expected, "{name}");
        }
    }
}
