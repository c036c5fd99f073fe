//! What is asked: the arguments as complete types, and the capture.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::sync::Arc;

use super::super::args::CheckArgs;
use super::super::exit::Exit;
use super::super::input::{show_diagnostics, show_error};
use super::ends::Selector;
use crate::analysis::{ConnState, Sender};
use crate::pattern::{EventPattern, Library, MAX_PATTERN_FILE_BYTES, Pattern, PatternFile};
use crate::spec::{Copies, Diagnostics, Fault, FromText, Problem, Source};

/// What the capture is asked.
#[derive(Debug)]
pub(super) struct Request {
    /// The selectors as written; names in them are those of the capture.
    pub(super) flows: Vec<String>,
    pub(super) pattern: Option<Pattern>,
    pub(super) fate: Vec<ConnState>,
    pub(super) count: Copies,
    /// Who closes first.
    pub(super) closed_by: Option<Sender>,
    /// Events that do not occur.
    pub(super) never: Vec<EventPattern>,
    /// Only the n-th of the flows, counted from 1.
    pub(super) nth: Option<usize>,
    /// Where this is asked, in a file of checks.
    pub(super) line: Option<u32>,
}

/// What is wrong with the arguments.
#[derive(Debug)]
pub(super) enum RequestError {
    /// Something in an argument or a pattern file.
    Text(Diagnostics),
    /// A pattern file cannot be read.
    File(String),
}

impl RequestError {
    /// Tells the error; gives the exit code to end with.
    pub(super) fn tell(&self) -> Exit {
        match self {
            Self::Text(diagnostics) => show_diagnostics(diagnostics),
            Self::File(message) => show_error(message),
        }
        Exit::Input
    }
}

impl Request {
    /// That there is a flow, whatever it is.
    pub(super) fn any() -> Self {
        Self {
            flows: Vec::new(),
            pattern: None,
            fate: Vec::new(),
            count: Copies::SOME,
            closed_by: None,
            never: Vec::new(),
            nth: None,
            line: None,
        }
    }

    pub(super) fn read(args: &CheckArgs) -> Result<Self, RequestError> {
        let words = args.fate.iter().map(|word| word.trim());
        let library = library(&args.patterns)?;
        let pattern = args.pattern.as_deref();
        Ok(Self {
            flows: args.flow.clone(),
            pattern: pattern
                .map(|argument| read_pattern(argument, &library))
                .transpose()?,
            fate: words
                .map(|word| value("--fate", word))
                .collect::<Result<_, _>>()?,
            count: match &args.count {
                Some(count) => value("--count", count)?,
                None => Copies::SOME,
            },
            ..Self::any()
        })
    }

    /// The selectors, with the names that stand in the capture.
    pub(super) fn selectors(
        &self,
        names: &[(IpAddr, String)],
    ) -> Result<Vec<Selector>, Diagnostics> {
        selectors(&self.flows, names)
    }
}

/// Selectors of `--flow`, with the names that stand in the capture.
pub(in crate::cli) fn selectors(
    flows: &[String],
    names: &[(IpAddr, String)],
) -> Result<Vec<Selector>, Diagnostics> {
    let selectors = flows.iter().map(|text| {
        Selector::read(text, names).map_err(|fault| diagnostics("--flow", text, vec![fault]))
    });
    selectors.collect()
}

/// Reads the value of an option.
fn value<T: FromText>(option: &str, text: &str) -> Result<T, RequestError> {
    T::from_text(text).map_err(|fault| RequestError::Text(diagnostics(option, text, vec![fault])))
}

/// The patterns that come with `rig`, and those of the files that `--patterns` names.
fn library(files: &[String]) -> Result<Library, RequestError> {
    let mut library = Library::builtin().clone();
    for path in files {
        library = read_file(path, &library)?.library;
    }
    Ok(library)
}

/// Reads a pattern, or the file that `@` names.
fn read_pattern(argument: &str, library: &Library) -> Result<Pattern, RequestError> {
    let Some(path) = argument.strip_prefix('@') else {
        return Pattern::parse_with(argument, library).map_err(|error| {
            RequestError::Text(diagnostics("--pattern", argument, vec![error.into()]))
        });
    };
    let file = read_file(path, library)?;
    file.pattern.ok_or_else(|| {
        let names: Vec<_> = file.definitions.iter().map(|d| d.name.as_str()).collect();
        RequestError::File(format!(
            "{path} defines {} and says of none that it is meant: use `--patterns {path}` and name \
             one with `--pattern`",
            names.join(", ")
        ))
    })
}

fn read_file(path: &str, library: &Library) -> Result<PatternFile, RequestError> {
    let text = read_text(path).map_err(RequestError::File)?;
    PatternFile::parse(&text, library).map_err(|errors| {
        let faults = errors.into_iter().map(Fault::from).collect();
        RequestError::Text(diagnostics(path, &text, faults))
    })
}

/// Reads a pattern file, no further than one may be long.
fn read_text(path: &str) -> Result<String, String> {
    let mut text = String::new();
    // One byte more than allowed, so that the reader of patterns sees that it is too long.
    let most = MAX_PATTERN_FILE_BYTES as u64 + 1;
    File::open(path)
        .and_then(|file| file.take(most).read_to_string(&mut text))
        .map_err(|error| format!("read the pattern file {path}: {error}"))?;
    Ok(text)
}

/// Faults of a text that was given under this name.
pub(in crate::cli) fn diagnostics(name: &str, text: &str, faults: Vec<Fault>) -> Diagnostics {
    let source = Source::new(name, text.to_owned());
    let problems = faults.into_iter().map(|fault| {
        let range = fault.range.unwrap_or(0..text.len());
        // An end of a flow may be read as a part of more than was written.
        let start = range.start.min(text.len());
        let place = source.place(start, range.end.min(text.len()) - start);
        Problem::at(place, fault.message).maybe_hint(fault.hint)
    });
    let problems = problems.collect();
    Diagnostics::new(Arc::new(source), problems)
}
