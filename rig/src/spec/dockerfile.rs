//! What a Dockerfile has for a build, as far as it can be told without an engine.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::names::hint_for;
use super::{ImageBuild, Problem};

/// The largest Dockerfile that is read, in bytes.
const MAX_DOCKERFILE_BYTES: u64 = 1024 * 1024;

/// Arguments that every build takes, in small letters as well.
const PREDEFINED: [&str; 5] = [
    "ALL_PROXY",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
];

/// The text of a Dockerfile.
///
/// # Errors
/// It cannot be read, is too large, or is no text.
pub fn read_dockerfile(path: &Path) -> io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut text = String::new();
    let file = File::open(path)?;
    let read = file
        .take(MAX_DOCKERFILE_BYTES + 1)
        .read_to_string(&mut text)?;
    if read as u64 > MAX_DOCKERFILE_BYTES {
        let message = format!("it is larger than {MAX_DOCKERFILE_BYTES} bytes");
        return Err(io::Error::other(message));
    }
    Ok(text)
}

/// The stages and arguments of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dockerfile {
    stages: Vec<Stage>,
    arguments: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stage {
    /// An image, or an earlier stage.
    from: String,
    name: Option<String>,
    /// The line that it begins with, counted from 0.
    line: usize,
}

impl Dockerfile {
    /// Takes a text apart.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut dockerfile = Self::default();
        for (number, line) in instructions(text) {
            let mut words = line.split_whitespace();
            let instruction = words.next().unwrap_or_default().to_ascii_uppercase();
            match instruction.as_str() {
                "FROM" => {
                    let words: Vec<&str> = words.filter(|word| !word.starts_with("--")).collect();
                    let name = match words.as_slice() {
                        [_, word, name] if word.eq_ignore_ascii_case("AS") => Some(*name),
                        _ => None,
                    };
                    dockerfile.stages.push(Stage {
                        from: words.first().copied().unwrap_or_default().to_owned(),
                        name: name.map(str::to_owned),
                        line: number,
                    });
                }
                "ARG" => {
                    let names = words.map(|word| word.split('=').next().unwrap_or(word));
                    dockerfile.arguments.extend(names.map(str::to_owned));
                }
                _ => {}
            }
        }
        dockerfile
    }

    /// What a build asks for and this file does not have.
    #[must_use]
    pub fn lacks(&self, build: &ImageBuild) -> Vec<Problem> {
        let target = build.target.as_ref();
        let target = target.filter(|target| self.stage(Some(&target.value)).is_none());
        let target = target.map(|target| {
            let message = format!("the Dockerfile has no stage `{}`", target.value);
            let names = self.stages.iter().filter_map(|stage| stage.name.as_deref());
            let hint = hint_for(
                &target.value,
                "stages with a name",
                &names.collect::<Vec<_>>(),
            );
            Problem::at(target.place, message).maybe_hint(hint)
        });
        let takes = |name: &String| {
            let name = name.as_str();
            let predefined = PREDEFINED.iter();
            let mut predefined = predefined.flat_map(|p| [(*p).to_owned(), p.to_lowercase()]);
            self.arguments.iter().any(|own| own == name) || predefined.any(|own| own == name)
        };
        let idle = build.args.iter().filter(|(name, _)| !takes(name));
        let idle = idle.map(|(name, value)| {
            let message = format!("the Dockerfile takes no argument `{name}`");
            let own: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
            let hint = hint_for(name, "arguments", &own);
            Problem::at(value.place, message).maybe_hint(hint)
        });
        target.into_iter().chain(idle).collect()
    }

    /// Whether the image of a stage, or of the last one, begins with nothing, not even a C library.
    #[must_use]
    pub fn is_from_scratch(&self, target: Option<&str>) -> bool {
        let Some(mut index) = self.stage(target) else {
            return false;
        };
        // Each turn goes to an earlier stage, so this ends.
        loop {
            let from = &self.stages[index].from;
            let earlier = self.stages[..index].iter().position(|stage| stage.is(from));
            match earlier {
                Some(earlier) => index = earlier,
                None => return from.eq_ignore_ascii_case("scratch"),
            }
        }
    }

    /// The line, counted from 0, before which a stage ends; none where it ends with the file.
    #[must_use]
    pub fn end_of(&self, target: Option<&str>) -> Option<usize> {
        let next = self.stage(target)? + 1;
        self.stages.get(next).map(|stage| stage.line)
    }

    /// The stage of a name, or the last one.
    fn stage(&self, name: Option<&str>) -> Option<usize> {
        match name {
            Some(name) => self.stages.iter().position(|stage| stage.is(name)),
            None => self.stages.len().checked_sub(1),
        }
    }
}

impl Stage {
    /// Engines compare the names of stages without regard to case.
    fn is(&self, name: &str) -> bool {
        let own = self.name.as_deref();
        own.is_some_and(|own| own.eq_ignore_ascii_case(name))
    }
}

/// The instructions of a Dockerfile, each on one line, without comments, with the number of its first line.
fn instructions(text: &str) -> Vec<(usize, String)> {
    // A directive may come before everything else: `# escape=` and a grave accent.
    let directive = text.lines().next().and_then(|line| line.strip_prefix('#'));
    let escape = directive.and_then(|line| line.trim().strip_prefix("escape="));
    let escape = if escape == Some("`") { '`' } else { '\\' };
    let mut instructions = vec![(0, String::new())];
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        // Comments and empty lines do not end an instruction that goes on.
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let last = instructions.len() - 1;
        let (first, instruction) = &mut instructions[last];
        if instruction.is_empty() {
            *first = number;
        }
        if let Some(part) = line.strip_suffix(escape) {
            instruction.push_str(part);
            instruction.push(' ');
        } else {
            instruction.push_str(line);
            instructions.push((number + 1, String::new()));
        }
    }
    instructions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_from_scratch(text: &str, target: Option<&str>) -> bool {
        Dockerfile::parse(text).is_from_scratch(target)
    }

    #[test]
    fn a_stage_ends_where_the_next_begins() {
        let text =
            "ARG A=1\nFROM a AS one\nRUN x \\\n  FROM b\n# FROM c\n\nFROM \\\n  d AS two\nRUN y\n";
        let dockerfile = Dockerfile::parse(text);
        assert_eq!(dockerfile.end_of(Some("ONE")), Some(6));
        assert_eq!(dockerfile.end_of(Some("two")), None);
        assert_eq!(dockerfile.end_of(None), None);
        assert_eq!(dockerfile.end_of(Some("three")), None);
    }

    #[test]
    fn the_stage_of_an_image_tells_what_it_begins_with() {
        for (text, target, scratch) in [
            (
                "# FROM debian\nFROM scratch\nCOPY bin/a /bin/\n",
                None,
                true,
            ),
            ("FROM debian AS build\nfrom scratch\n", None, true),
            ("FROM scratch AS files\nFROM debian\n", None, false),
            ("FROM scratch AS files\nFROM debian\n", Some("FILES"), true),
            (
                "FROM --platform=linux/amd64 scratch AS a\nFROM a AS b\nFROM b",
                None,
                true,
            ),
            (
                "FROM debian AS scratch-like\nFROM scratch-like AS b\n",
                Some("b"),
                false,
            ),
            ("FROM \\\n# why\n  scratch\n", None, true),
            ("FROM scratch\nRUN a \\\nFROM b\n", None, true),
            ("# escape=`\nFROM scratch\nRUN a \\\nFROM b\n", None, false),
            ("FROM scratch AS a\n", Some("b"), false),
            ("", None, false),
        ] {
            assert_eq!(is_from_scratch(text, target), scratch, "{text}");
        }
    }

    #[test]
    fn arguments_may_share_an_instruction() {
        let dockerfile = Dockerfile::parse("ARG a\nFROM x\nARG b=1 c\\\n  d=\"x y\"\n");
        assert_eq!(dockerfile.arguments[..3], ["a", "b", "c"]);
        assert!(dockerfile.arguments.contains(&"d".to_owned()));
    }
}
