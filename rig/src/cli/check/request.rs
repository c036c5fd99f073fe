//! What is asked: the arguments as complete types, and the capture.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::sync::Arc;

use super::super::args::CheckArgs;
use super::super::exit::Exit;
use super::super::input::{show_diagnostics, show_error};
use super::ends::Selector;
use crate::analysis::ConnState;
use crate::pattern::{MAX_PATTERN_BYTES, Pattern};
use crate::spec::{Copies, Diagnostics, Fault, FromText, Problem, Source};

/// What the capture is asked.
#[derive(Debug)]
pub(super) struct Request {
    /// The selectors as written; names in them are those of the capture.
    pub(super) flows: Vec<String>,
    pub(super) pattern: Option<Pattern>,
    pub(super) fate: Vec<ConnState>,
    pub(super) count: Copies,
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
    pub(super) fn read(args: &CheckArgs) -> Result<Self, RequestError> {
        let words = args.fate.iter().map(|word| word.trim());
        Ok(Self {
            flows: args.flow.clone(),
            pattern: args.pattern.as_deref().map(read_pattern).transpose()?,
            fate: words
                .map(|word| value("--fate", word))
                .collect::<Result<_, _>>()?,
            count: match &args.count {
                Some(count) => value("--count", count)?,
                None => Copies::SOME,
            },
        })
    }

    /// The selectors, with the names that stand in the capture.
    pub(super) fn selectors(
        &self,
        names: &[(IpAddr, String)],
    ) -> Result<Vec<Selector>, Diagnostics> {
        let selectors = self.flows.iter().map(|text| {
            Selector::read(text, names).map_err(|fault| diagnostics("--flow", text, fault))
        });
        selectors.collect()
    }
}

/// Reads the value of an option.
fn value<T: FromText>(option: &str, text: &str) -> Result<T, RequestError> {
    T::from_text(text).map_err(|fault| RequestError::Text(diagnostics(option, text, fault)))
}

/// Reads a pattern, or the file that `@` names.
fn read_pattern(argument: &str) -> Result<Pattern, RequestError> {
    let (name, text) = match argument.strip_prefix('@') {
        None => ("--pattern", argument.to_owned()),
        Some(path) => (path, read_text(path).map_err(RequestError::File)?),
    };
    Pattern::parse(&text).map_err(|error| {
        let fault = Fault {
            range: Some(error.offset_bytes..error.offset_bytes + error.len_bytes),
            message: error.message,
            hint: error.hint,
        };
        RequestError::Text(diagnostics(name, &text, fault))
    })
}

/// Reads a pattern file, no further than a pattern may be long.
fn read_text(path: &str) -> Result<String, String> {
    let mut text = String::new();
    // One byte more than allowed, so that the pattern's reader sees that it is too long.
    let most = MAX_PATTERN_BYTES as u64 + 1;
    File::open(path)
        .and_then(|file| file.take(most).read_to_string(&mut text))
        .map_err(|error| format!("read the pattern file {path}: {error}"))?;
    Ok(text)
}

/// A fault of a text that was given under this name.
fn diagnostics(name: &str, text: &str, fault: Fault) -> Diagnostics {
    let source = Source::new(name, text.to_owned());
    let range = fault.range.unwrap_or(0..text.len());
    let place = source.place(range.start, range.len());
    let problem = Problem::at(place, fault.message).maybe_hint(fault.hint);
    Diagnostics::new(Arc::new(source), vec![problem])
}
