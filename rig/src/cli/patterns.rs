//! `rig patterns`.

use std::fmt::Write as _;
use std::io::Write as _;

use super::args::PatternsArgs;
use super::exit::Exit;
use super::input::show_error;
use crate::pattern::{LIBRARY_TEXT, Library, NamedPattern, PatternFile};
use crate::spec::hint_for;
use crate::units::printable;

pub(super) fn main(args: &PatternsArgs) -> Exit {
    let text = match chosen(&args.names) {
        Ok(text) => text,
        Err(message) => {
            show_error(&message);
            return Exit::Input;
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Passed,
        // The reader has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Passed,
        Err(error) => {
            show_error(&format!("cannot write the patterns: {error}"));
            Exit::Machine
        }
    }
}

/// The library as a pattern file: all of it, or the definitions with these names.
fn chosen(names: &[String]) -> Result<String, String> {
    if names.is_empty() {
        return Ok(LIBRARY_TEXT.to_owned());
    }
    let library = PatternFile::parse(LIBRARY_TEXT, &Library::default());
    let definitions = library.map(|file| file.definitions).unwrap_or_default();
    let mut text = String::new();
    let mut comment = "";
    for name in names {
        let mut found = definitions
            .iter()
            .filter(|one| is_called(one, name))
            .peekable();
        if found.peek().is_none() {
            let known: Vec<_> = definitions.iter().map(|one| one.name.as_str()).collect();
            let hint = hint_for(name, "patterns", &known);
            let hint = hint.map_or_else(String::new, |hint| format!(": {hint}"));
            return Err(format!("no pattern is called `{}`{hint}", printable(name)));
        }
        for definition in found {
            if definition.comment != comment {
                comment = &definition.comment;
                let between = if text.is_empty() { "" } else { "\n" };
                text.push_str(between);
                text.push_str(comment);
            }
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", definition.text);
        }
    }
    Ok(text)
}

/// Whether a definition has this name, with or without its argument.
fn is_called(definition: &NamedPattern, name: &str) -> bool {
    definition.name == name || definition.name.split('(').next() == Some(name)
}
