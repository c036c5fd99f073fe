//! `rig flows`: the connections of a capture, as columns, JSON, CSV, or one of them as a ladder.

mod columns;
mod filter;
mod follow;
mod ladder;
mod line;
mod multipath;
mod names;
mod record;
mod request;
mod select;
mod session;
mod together;

#[cfg(test)]
mod testing;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::FlowsArgs;
use super::captures::{STDIN, capture_file};
use super::exit::Exit;
use super::input::show_diagnostics;
use super::say::{lost_by_capture, unaligned};
use crate::pcapng::{OpenError, Reader, Stop, StopReason};
use crate::units::printable;
use follow::{Growing, Piped};
use request::Request;
use session::{Rest, Session, SessionError};

/// Bytes handed to stdout at once.
const OUTPUT_BYTES: usize = 64 * 1024;

/// Why flows were not shown, or not all of them.
enum FlowsError {
    Open(io::Error),
    NoCapture(OpenError),
    Session(SessionError),
}

impl From<SessionError> for FlowsError {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

pub(super) fn main(args: &FlowsArgs) -> Exit {
    if args.captures.is_empty() {
        return print_schema();
    }
    let request = match Request::read(args) {
        Ok(request) => request,
        Err(diagnostics) => {
            show_diagnostics(&diagnostics);
            return Exit::Input;
        }
    };
    let file = args.captures.first().map(|path| capture_file(path));
    let path = match (args.captures.as_slice(), file) {
        // The folder of a cell means what all of its hosts saw, put together already.
        ([path], Some(file)) if !path.is_dir() || file.is_file() => file,
        (several, _) => return together::main(several, args.follow, request),
    };
    let shown = match path.to_string_lossy() {
        name if name == STDIN => "stdin".to_owned(),
        name => printable(&name),
    };
    let complain = |what: &str| {
        // Nothing is left to do where stderr itself is gone.
        let _ = writeln!(io::stderr(), "rig flows: {shown}: {what}");
    };
    match run(&path, request) {
        Ok(Told {
            rest,
            stop,
            dropped,
            unaligned: odd,
        }) => {
            if odd > 0 {
                complain(&unaligned(odd));
            }
            if dropped > 0 {
                complain(&lost_by_capture(dropped));
            }
            rest.told().for_each(|told| complain(&told));
            match stop {
                Some(stop) => {
                    complain(&stop.to_string());
                    Exit::Input
                }
                None => Exit::Passed,
            }
        }
        Err(error) => tell(error, &complain),
    }
}

fn tell(error: FlowsError, complain: &dyn Fn(&str)) -> Exit {
    match error {
        FlowsError::Open(error) => complain(&format!("open the capture: {error}")),
        FlowsError::NoCapture(error) => complain(&error.to_string()),
        FlowsError::Session(SessionError::Argument(diagnostics)) => show_diagnostics(&diagnostics),
        FlowsError::Session(SessionError::Missing(message)) => complain(&message),
        // Whoever reads it has seen enough, as `head` does.
        FlowsError::Session(SessionError::Write(error))
            if error.kind() == ErrorKind::BrokenPipe =>
        {
            return Exit::Passed;
        }
        FlowsError::Session(SessionError::Write(error)) => {
            complain(&format!("write the flows: {error}"));
            return Exit::Machine;
        }
    }
    Exit::Input
}

/// What there is to tell of a capture beside its flows.
#[derive(Default)]
struct Told {
    rest: Rest,
    /// Where reading stopped early.
    stop: Option<Stop>,
    /// Packets that the capture lost, as it says itself.
    dropped: u64,
    /// Blocks whose length the format forbids.
    unaligned: u64,
}

/// Shows the flows.
fn run(path: &Path, request: Request) -> Result<Told, FlowsError> {
    let (follow, streams) = (request.follow, request.streams());
    let session = RefCell::new(session_on_stdout(request));
    // What goes wrong while nothing can be read, which the reader would only call a read error.
    let failed = RefCell::new(None);
    let idle = || {
        let shown = session.borrow_mut().idle();
        shown.map_err(|error| {
            failed.replace(Some(error));
            io::Error::other("flows could not be shown")
        })
    };
    let interrupted = (follow || path.as_os_str() == STDIN).then(follow::interruption);
    let interrupted = interrupted.transpose().map_err(FlowsError::Open)?;
    if interrupted.is_some() {
        session.borrow_mut().watch();
    }
    let source = open(path, interrupted.clone(), idle).map_err(FlowsError::Open)?;
    let mut reader = match Reader::new(source) {
        Ok(reader) => reader,
        // Nobody wrote a byte of it until it was interrupted.
        Err(OpenError::Empty) if interrupted.is_some_and(|flag| flag.load(Ordering::Relaxed)) => {
            return Ok(Told::default());
        }
        Err(error) => return Err(FlowsError::NoCapture(error)),
    };
    while let Some(frame) = reader.next_frame() {
        let mut session = session.borrow_mut();
        session.push(&frame);
        if follow {
            session.read_at(frame.record.at);
        }
        if streams {
            session.names.update(reader.names());
            if session.has_ended() {
                session.show_ended()?;
            }
        }
    }
    let stop = reader.stop().cloned();
    let (dropped, unaligned) = (reader.dropped(), reader.unaligned_blocks());
    session.borrow_mut().names.update(reader.names());
    drop(reader);
    if let Some(error) = failed.into_inner() {
        return Err(error.into());
    }
    let rest = session.into_inner().finish()?;
    // Interrupted between the halves of a packet is as good as between two.
    let cut = |stop: &Stop| matches!(stop.reason, StopReason::Truncated { .. });
    let ended_early = interrupted.is_some_and(|flag| flag.load(Ordering::Relaxed));
    Ok(Told {
        rest,
        stop: stop.filter(|stop| !(ended_early && cut(stop))),
        dropped,
        unaligned,
    })
}

/// A session that writes to standard output.
fn session_on_stdout(request: Request) -> Session<impl Write> {
    let stdout = io::stdout();
    let width = stdout
        .is_terminal()
        .then(|| comfy_table::Table::new().width())
        .flatten();
    let out = BufWriter::with_capacity(OUTPUT_BYTES, stdout.lock());
    Session::new(request, out, width)
}

/// Opens a capture; one that is read until it is interrupted, with the flag for that.
fn open<'a>(
    path: &Path,
    interrupted: Option<Arc<AtomicBool>>,
    idle: impl FnMut() -> io::Result<()> + 'a,
) -> io::Result<Box<dyn Read + 'a>> {
    match interrupted {
        Some(interrupted) if path.as_os_str() == STDIN => Ok(Box::new(Piped::new(interrupted)?)),
        Some(_) if !std::fs::metadata(path)?.is_file() => {
            Err(io::Error::other("only a regular file can be followed"))
        }
        Some(interrupted) => Ok(Box::new(Growing::new(File::open(path)?, interrupted, idle))),
        None => Ok(Box::new(File::open(path)?)),
    }
}

/// Prints the JSON Schema of `--json`.
fn print_schema() -> Exit {
    let mut out = io::stdout().lock();
    let written = serde_json::to_writer_pretty(&mut out, &record::schema())
        .map_err(io::Error::from)
        .and_then(|()| writeln!(out));
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Exit::Machine,
        _ => Exit::Passed,
    }
}
