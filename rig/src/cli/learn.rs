//! `rig learn`.

use std::io::Write as _;

use super::args::LearnArgs;
use super::captures::checksums;
use super::check::{Capture, selectors};
use super::exit::Exit;
use super::input::{show_diagnostics, show_error};
use crate::pattern::{DefinitionError, Learner, Library, propose};

pub(super) fn main(args: &LearnArgs) -> Exit {
    let text = match learned(args) {
        Ok(text) => text,
        Err(exit) => return exit,
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Passed,
        // The reader has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Passed,
        Err(error) => {
            show_error(&format!("cannot write the pattern: {error}"));
            Exit::Machine
        }
    }
}

/// The proposed pattern. Errors are already told when it fails.
fn learned(args: &LearnArgs) -> Result<String, Exit> {
    if let Some(name) = &args.name {
        check_name(name).map_err(|message| wrong(&message))?;
    }
    let mut flows = Vec::new();
    for path in &args.captures {
        let capture = Capture::read(path, true, checksums(args.no_checksums));
        let capture = capture.map_err(|message| wrong(&message))?;
        capture.tell(path);
        if capture.stop.is_some() {
            // Its last connections may go on behind the end.
            return Err(Exit::Inconclusive);
        }
        let selectors = selectors(&args.flow, &capture.names).map_err(|diagnostics| {
            show_diagnostics(&diagnostics);
            Exit::Input
        })?;
        let meant = capture.flows.into_iter();
        flows.extend(meant.filter(|flow| selectors.iter().any(|one| one.means(flow))));
    }
    let all: Vec<_> = flows.iter().collect();
    let learner = Learner { exact: args.exact };
    let text = propose(&all, args.captures.len(), learner);
    let text = text.map_err(|error| wrong(&format!("cannot propose a pattern: {error}")))?;
    Ok(match &args.name {
        None => text,
        Some(name) => defined(name, &text),
    })
}

fn wrong(message: &str) -> Exit {
    show_error(&message);
    Exit::Input
}

fn check_name(name: &str) -> Result<(), String> {
    let (_, errors) = Library::default().with(&[(name, "...")]);
    match errors.into_iter().next() {
        None => Ok(()),
        Some((_, DefinitionError::Name(error) | DefinitionError::Text(error))) => {
            let hint = error.hint.as_deref().unwrap_or_default();
            Err(format!("--name: {error}: {hint}"))
        }
    }
}

/// The pattern as a definition, below the comments that it begins with.
fn defined(name: &str, text: &str) -> String {
    let comments = text.lines().take_while(|line| line.starts_with('#'));
    let at = comments.map(|line| line.len() + 1).sum::<usize>();
    let (head, body) = text.split_at(at);
    let body: Vec<_> = body.lines().map(|line| format!("    {line}")).collect();
    format!("{head}{name} =\n{}\n", body.join("\n"))
}
