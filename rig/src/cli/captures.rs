//! Captures named on the command line, several of the same traffic among them.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::exit::Exit;
use super::say;
use crate::pcapng::OpenError;
use crate::reconcile::{
    Alignment, Clock, Outline, ReconcileError, Reconciliation, Repeated, Source, Tally,
};
use crate::units::{printable, show_duration};
use crate::wire::{Checksums, LinkType};

/// What files with captures are called, compressed ones too.
const ENDINGS: [&str; 3] = ["pcapng", "pcap", "cap"];

/// What standard input is called.
pub(super) const STDIN: &str = "-";

/// What follows such an ending where a file is compressed.
const PACKED: [&str; 3] = [".gz", ".zst", ".lz4"];

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
    /// What cannot be read twice could not be copied to where it can.
    #[error("{}: put it aside in {}: {cause}", .path.display(), .folder.display())]
    Aside {
        path: PathBuf,
        folder: PathBuf,
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
    /// They cannot be put together.
    #[error(transparent)]
    Reconcile(ReconcileError),
}

/// The capture in a folder of evidence, or the file itself.
pub(super) fn capture_file(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join("wire.pcapng")
    } else {
        path.to_owned()
    }
}

/// What `--no-checksums` asks for.
pub(super) fn checksums(no_checksums: bool) -> Checksums {
    if no_checksums {
        Checksums::Ignored
    } else {
        Checksums::Judged
    }
}

/// The files that arguments mean: each file itself, and of a folder the captures in it.
/// A file that is named twice is one, and `out` in a folder is none of them.
fn files(arguments: &[PathBuf], out: Option<&Path>) -> Result<Vec<PathBuf>, CapturesError> {
    let mut files = Vec::new();
    let mut known = HashSet::new();
    // What cannot be resolved is told when it is opened.
    let resolved = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let out = out.map(resolved);
    for argument in arguments {
        let found = if argument.is_dir() {
            let mut found = in_folder(argument)?;
            found.retain(|path| Some(resolved(path)) != out);
            if found.is_empty() {
                return Err(CapturesError::EmptyFolder(argument.clone()));
            }
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

/// Reads the captures that arguments mean for the first time, to put them together; `out` is none of them.
pub(super) fn reconcile(
    arguments: &[PathBuf],
    out: Option<&Path>,
) -> Result<Reconciliation<File>, CapturesError> {
    let files = files(arguments, out)?;
    Reconciliation::of(sources(&files)?).map_err(|error| match error {
        ReconcileError::Open { place, cause, .. } if place < files.len() => CapturesError::Open {
            path: files[place].clone(),
            cause,
        },
        other => CapturesError::Reconcile(other),
    })
}

/// Opens captures, each called by its file's name without the ending.
fn sources(files: &[PathBuf]) -> Result<Vec<Source<File>>, CapturesError> {
    let mut names: HashSet<String> = HashSet::new();
    let mut sources = Vec::new();
    for path in files {
        let file = open(path)?;
        let name = match stem(path) {
            Some(stem) => printable(&stem),
            None => printable(&path.file_name().unwrap_or_default().to_string_lossy()),
        };
        // Files of different folders may have one name.
        let name = if names.contains(&name) {
            printable(&path.to_string_lossy())
        } else {
            name
        };
        sources.push(Source::new(&name, file));
        names.insert(name);
    }
    Ok(sources)
}

/// Opens a file that can be read twice; what comes from a pipe is put aside first.
fn open(path: &Path) -> Result<File, CapturesError> {
    let failed = |cause| CapturesError::Io {
        path: path.to_owned(),
        operation: "open the capture",
        cause,
    };
    let aside = |result: io::Result<File>| {
        result.map_err(|cause| CapturesError::Aside {
            path: path.to_owned(),
            folder: std::env::temp_dir(),
            cause,
        })
    };
    if path == Path::new(STDIN) {
        return aside(put_aside(&mut io::stdin().lock()));
    }
    let mut file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_file() {
        return Ok(file);
    }
    aside(put_aside(&mut file))
}

fn put_aside(input: &mut impl Read) -> io::Result<File> {
    let mut aside = tempfile::tempfile()?;
    io::copy(input, &mut aside)?;
    Ok(aside)
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
pub(super) struct Account<'a> {
    outline: &'a Outline,
    clocks: &'a [Clock],
    tally: &'a Tally,
}

impl<'a> Account<'a> {
    /// Of all packets that were told so far.
    pub(super) fn of(joining: &'a Reconciliation<File>) -> Self {
        Self {
            outline: joining.outline(),
            clocks: joining.clocks(),
            tally: joining.tally(),
        }
    }
}

/// Tells on stderr how captures were put together, and gives the code to end with.
pub(super) fn tell(account: &Account<'_>) -> Exit {
    say::text(&format!("{account}\n"));
    for (name, blocks) in &account.outline.unaligned {
        say::text(&format!("{name}: {}\n", say::unaligned(*blocks)));
    }
    let stops = &account.outline.stops;
    for (name, stop) in stops {
        say::failure(Exit::Input, &format!("{name}: {stop}"));
    }
    if stops.is_empty() {
        Exit::Passed
    } else {
        Exit::Input
    }
}

impl fmt::Display for Account<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = &self.outline.places;
        let name = |place: usize| places.get(place).map_or("", String::as_str);
        for (place, clock) in self.clocks.iter().enumerate() {
            if place == 0 {
                writeln!(f, "{}: its clock is the reference", name(place))?;
            } else if clock.alignment == Alignment::Unknown
                && self.clocks.iter().any(|other| other.against == place)
            {
                let first = name(0);
                writeln!(
                    f,
                    "{}: its clock cannot be aligned with that of {first}: they share no packet",
                    name(place)
                )?;
            } else {
                let line = clock_line(clock, name(clock.against));
                writeln!(f, "{}: {line}", name(place))?;
            }
        }
        let count = self.tally.packets();
        let Tally {
            arrived,
            lost,
            unsent,
            unwatched,
            hasty,
            offloaded,
        } = self.tally;
        let packets = if count == 1 { "packet" } else { "packets" };
        write!(f, "{count} {packets}: {arrived} arrived, {lost} lost")?;
        if *unsent > 0 {
            write!(f, ", {unsent} not recorded where they were sent")?;
        }
        if *unwatched > 0 {
            write!(f, ", {unwatched} seen at one place only")?;
        }
        if *hasty > 0 {
            write!(
                f,
                "\n{hasty} of these may be lost: too many packets came within the time that one is under way"
            )?;
        }
        for [a, b] in offloaded.iter().map(|pair| pair.map(name)) {
            write!(
                f,
                "\n{a} and {b} show the same bytes in other packets: a network card cuts or joins segments behind its \
                 capture, so these are not called lost; `ethtool -K INTERFACE tso off gso off gro off` before \
                 capturing helps"
            )?;
        }
        for (name, repeated) in &self.outline.repeated {
            write!(f, "\n{name}: {}", repeated_line(repeated))?;
        }
        for (name, dropped) in &self.outline.dropped {
            write!(
                f,
                "\n{name}: its capture dropped {dropped} packets, so that some that seem lost may have arrived"
            )?;
        }
        Ok(())
    }
}

/// That packets of a capture were recorded several times each, and what that means here.
fn repeated_line(repeated: &Repeated) -> String {
    let Repeated {
        packets,
        of,
        times,
        apart,
        link,
    } = repeated;
    let apart = show_duration(*apart);
    if *link == LinkType::LinuxSll {
        return format!(
            "{packets} of {of} packets were recorded {times} times within {apart} each, on interfaces that {link} does \
             not tell apart: each counts once; `tcpdump -y LINUX_SLL2` tells which interface it was"
        );
    }
    format!(
        "{packets} of {of} packets were recorded {times} times on one interface, up to {apart} apart, and count as often: \
         two sockets, or a mirror port that copies both ways, do that, unless their sender or the network doubled them; \
         `editcap -w {:.6} IN OUT` leaves one of each",
        (repeated.apart + Duration::from_micros(1)).as_secs_f64()
    )
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
        None => "with nothing to bound the error, as between any two addresses packets went one way only".to_owned(),
    };
    format!("{what}, {doubt} ({} packets compared)", clock.packets)
}

/// `3.00ms ahead of`, `2.00s behind`.
fn signed(offset_ns: i128) -> String {
    let size = u64::try_from(offset_ns.unsigned_abs()).unwrap_or(u64::MAX);
    let size = show_duration(Duration::from_nanos(size));
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
            ("x.pcapng.lz4", Some("x")),
            ("notes.txt", None),
            (".pcap", None),
        ] {
            assert_eq!(stem(Path::new(name)).as_deref(), expected, "{name}");
        }
    }
}
