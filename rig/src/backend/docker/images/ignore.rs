//! `.dockerignore`: which files of a folder are no part of a build's context.
//!
//! The rules are Docker's (<https://docs.docker.com/build/concepts/context/#dockerignore-files>, and
//! `patternmatcher` of Moby, which makes regular expressions of patterns as this does). They are not those
//! of `.gitignore`, which the crate `ignore` knows: a pattern begins at the root of the context, and an
//! exception brings a file back although its folder is left out. The patterns of `globset` differ in
//! `{a,b}`, `[!a]` and `a**b`, which mean nothing special here, or something else.
//!
//! With the classic builder the command `docker build` (28.2) does not look for `!**/*.rs` in a folder that
//! is left out, against its own documentation; `BuildKit` does, and so does this.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use regex::Regex;

/// Name of the file at the root of a context.
const NAME: &str = ".dockerignore";

/// The largest file of patterns, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// The most patterns: each file of a folder is held against all of them.
const MAX_PATTERNS: usize = 1000;

/// What a folder leaves out of a context.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    patterns: Vec<Pattern>,
}

/// What the patterns say of a folder, for what is in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Above {
    /// Which of them fit it, or a folder that it is in.
    fitting: Vec<bool>,
}

/// What becomes of a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is a part of the context.
    Kept,
    /// It is not; of a folder, what is in it may be.
    Left,
    /// Nor is anything in it.
    LeftWhole,
}

#[derive(Debug)]
struct Pattern {
    /// The pattern was an exception, `!…`.
    brings_back: bool,
    text: String,
    meant: Regex,
}

impl Ignore {
    /// Reads the file beside the Dockerfile, `NAME.dockerignore`, or else that of the context.
    ///
    /// # Errors
    /// It cannot be read, or a pattern of it is none; the message names the file and the line.
    pub(super) fn of(context: &Path, dockerfile: &Path) -> Result<Self, String> {
        let mut beside = dockerfile.as_os_str().to_owned();
        beside.push(NAME);
        for path in [Path::new(&beside), &context.join(NAME)] {
            let told = |why: &str| format!("{}: {why}", path.display());
            match read(path) {
                Ok(text) => return Self::parse(&text).map_err(|why| told(&why)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(told(&error.to_string())),
            }
        }
        Ok(Self::default())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut patterns = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            let pattern = pattern(line).map_err(|why| format!("line {}: {why}", index + 1))?;
            patterns.extend(pattern);
        }
        if patterns.len() > MAX_PATTERNS {
            return Err(format!("more than {MAX_PATTERNS} patterns"));
        }
        Ok(Self { patterns })
    }

    /// What becomes of `path`, which begins at the root of the context, in a folder of which `above` is
    /// told; and what is told to what is in it.
    pub(super) fn fate(&self, path: &Path, above: &Above) -> (Fate, Above) {
        let path = path.to_string_lossy();
        let patterns = self.patterns.iter().enumerate();
        let fitting: Vec<bool> = patterns
            .map(|(index, pattern)| {
                let fits_above = above.fitting.get(index).copied().unwrap_or_default();
                fits_above || pattern.meant.is_match(&path)
            })
            .collect();
        // The last pattern that fits decides.
        let mut deciding = self.patterns.iter().zip(&fitting).rev();
        let deciding = deciding.find(|(_, fits)| **fits);
        let fate = match deciding {
            Some((pattern, _)) if !pattern.brings_back => {
                let mut exceptions = self.patterns.iter().filter(|pattern| pattern.brings_back);
                if exceptions.any(|pattern| pattern.may_be_below(&path)) {
                    Fate::Left
                } else {
                    Fate::LeftWhole
                }
            }
            _ => Fate::Kept,
        };
        (fate, Above { fitting })
    }
}

impl Pattern {
    /// Whether something in a folder may fit: what stands before the first wildcard agrees with its path.
    fn may_be_below(&self, folder: &str) -> bool {
        let plain = self.text.split('/');
        let mut plain = plain.take_while(|part| !part.contains(['*', '?', '[', '\\']));
        folder
            .split('/')
            .zip(&mut plain)
            .all(|(part, plain)| part == plain)
    }
}

fn read(path: &Path) -> io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut text = String::new();
    let read = File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)?;
    if read as u64 > MAX_BYTES {
        return Err(io::Error::other(format!(
            "it is larger than {MAX_BYTES} bytes"
        )));
    }
    Ok(text)
}

/// The pattern of a line, if it has one.
fn pattern(line: &str) -> Result<Option<Pattern>, String> {
    // Only what begins with it is a comment.
    let text = line.trim();
    if line.starts_with('#') || text.is_empty() {
        return Ok(None);
    }
    let (brings_back, text) = match text.strip_prefix('!') {
        Some(text) => (true, text.trim()),
        None => (false, text),
    };
    if text.is_empty() {
        return Err("`!` is followed by no pattern".to_owned());
    }
    let text = clean(text);
    let meant = expression(&text).ok_or_else(|| format!("`{text}` is not a pattern"))?;
    let meant = Regex::new(&meant).map_err(|_| format!("`{text}` is not a pattern"))?;
    Ok(Some(Pattern {
        brings_back,
        text,
        meant,
    }))
}

/// The shortest path that means the same (Go's `filepath.Clean`), from the root of the context.
fn clean(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            // There is nothing above the root.
            ".." if text.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A pattern as a regular expression for whole paths, if it is one.
fn expression(pattern: &str) -> Option<String> {
    let mut expression = String::from("(?s)^");
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                // Folders in any number, none included; at the end, everything.
                chars.next_if_eq(&'/');
                let any = if chars.peek().is_none() {
                    ".*"
                } else {
                    "(.*/)?"
                };
                expression.push_str(any);
            }
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            '[' => expression.push_str(&class(&mut chars)?),
            '\\' => push_literal(&mut expression, chars.next()?),
            c => push_literal(&mut expression, c),
        }
    }
    expression.push('$');
    Some(expression)
}

/// A class of characters, behind its `[`: `a-z]` or `^ab]`.
fn class(chars: &mut impl Iterator<Item = char>) -> Option<String> {
    let mut class = String::from("[");
    let mut next = chars.next()?;
    if next == '^' {
        class.push('^');
        next = chars.next()?;
    }
    let mut is_empty = true;
    loop {
        match next {
            ']' if is_empty => return None,
            ']' => break,
            '\\' => push_literal(&mut class, chars.next()?),
            '-' if !is_empty => class.push('-'),
            c => push_literal(&mut class, c),
        }
        is_empty = false;
        next = chars.next()?;
    }
    class.push(']');
    Some(class)
}

fn push_literal(expression: &mut String, c: char) {
    expression.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a path is left out, as a walk from the root finds.
    fn is_left(patterns: &str, path: &str) -> bool {
        let ignore = Ignore::parse(patterns).unwrap();
        let mut above = Above::default();
        let mut fate = Fate::Kept;
        for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
            (fate, above) = ignore.fate(Path::new(&path[..at]), &above);
            if fate == Fate::LeftWhole {
                return true;
            }
        }
        fate != Fate::Kept
    }

    #[test]
    fn patterns_are_those_of_docker() {
        // From the tests of Moby's `patternmatcher`, and its documentation.
        for (patterns, path, left) in [
            ("**", "file", true),
            ("**", "dir/file", true),
            ("**/", "file", true),
            ("**/", "dir/dir2/file", true),
            ("**/**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir/dir2/file", true),
            ("dir/**", "dir", false),
            ("**/dir", "dir", true),
            ("**/dir", "dir/file", true),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/*", "dir/dir2/dir2/file", true),
            ("**/dir2/**", "dir/dir2/dir2/file", true),
            ("**file", "file", true),
            ("**file", "dir/file", true),
            ("**/file", "dir/dir/file", true),
            ("**/file*", "dir/dir/file.txt", true),
            ("**/file*txt", "dir/dir/file.txt", true),
            ("**/**/*.txt", "dir/dir/file.txt", true),
            ("**/**/*.txt2", "dir/dir/file.txt", false),
            ("**/*.txt", "file.txt", true),
            ("a**/*.txt", "a/file.txt", true),
            ("a**/*.txt", "a/dir/file.txt", true),
            ("a/*.txt", "a/dir/file.txt", false),
            ("a/*.txt", "a/file.txt", true),
            ("a/*.txt**", "a/file.txt", true),
            ("a[b-d]e", "ae", false),
            ("a[b-d]e", "ace", true),
            ("a[^b-d]e", "aze", true),
            ("a[!b]e", "abe", true),
            ("a[\\]b]e", "a]e", true),
            (".*", ".foo", true),
            (".*", "foo", false),
            ("abc.def", "abcdef", false),
            ("abc.def", "abc.def", true),
            ("abc?def", "abcZdef", true),
            ("abc?def", "abcdef", false),
            ("abc?def", "abc/def", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("{a,b}", "a", false),
            ("{a,b}", "{a,b}", true),
            ("**/foo/bar", "foo/bar", true),
            ("**/foo/bar", "dir/dir2/foo/bar", true),
            ("abc/**", "abc/def", true),
            ("abc/**/def", "abc/def", true),
            ("abc/**/def", "abc/x/y/def", true),
            ("*", "a/b", true),
            // From the root of the context, however it is written.
            ("foo", "a/foo", false),
            ("/foo", "foo", true),
            ("./foo/", "foo/bar", true),
            ("foo//bar/../baz", "foo/baz", true),
            ("../foo", "foo", false),
            (".", "foo", false),
            ("/", "foo", false),
            // Comments and blanks.
            ("# foo\nbar", "# foo", false),
            (" # foo", "# foo", true),
            ("  foo  \r\n\n", "foo", true),
            ("\u{feff}foo", "foo", true),
            // The last one that fits decides, also against a folder.
            ("*.md\n!README.md", "README.md", false),
            ("*.md\n!README.md", "OTHER.md", true),
            (
                "*.md\n!README*.md\nREADME-secret.md",
                "README-secret.md",
                true,
            ),
            (
                "*.md\nREADME-secret.md\n!README*.md",
                "README-secret.md",
                false,
            ),
            ("foo\n!foo/bar", "foo/bar", false),
            ("foo\n!foo/bar", "foo/baz", true),
            ("foo\n!foo/bar", "foo", true),
            ("*\n!**/*.rs", "src/deep/a.rs", false),
            ("*\n!**/*.rs", "src/deep/a.c", true),
            ("*\n! src/a", "src/a", false),
            ("foo\n!other/bar", "foo/bar", true),
            ("a/b\n!a", "a/b/c", false),
            ("è?", "èè", true),
        ] {
            assert_eq!(is_left(patterns, path), left, "{patterns:?} {path}");
        }
    }

    #[test]
    fn whole_folders_are_not_walked_without_need() {
        let fate = |patterns: &str, path: &str| {
            let ignore = Ignore::parse(patterns).unwrap();
            ignore.fate(Path::new(path), &Above::default()).0
        };
        assert_eq!(fate("target", "target"), Fate::LeftWhole);
        assert_eq!(fate("target\n!src/a", "target"), Fate::LeftWhole);
        assert_eq!(fate("target\n!target/a", "target"), Fate::Left);
        assert_eq!(fate("target\n!t*/a", "target"), Fate::Left);
        assert_eq!(fate("target", "src"), Fate::Kept);
    }

    #[test]
    fn what_is_no_pattern_is_told_with_its_line() {
        for (text, line) in [
            ("a\n!\n", 2),
            ("[a", 1),
            ("[]a]", 1),
            ("a\\", 1),
            ("[z-a]", 1),
        ] {
            let why = Ignore::parse(text).unwrap_err();
            assert!(why.starts_with(&format!("line {line}: ")), "{text}: {why}");
        }
        let many = "a\n".repeat(MAX_PATTERNS + 1);
        assert!(Ignore::parse(&many).is_err());
    }
}
