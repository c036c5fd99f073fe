//! Matrix files with mistakes: each file in `bad/` is refused with the errors in the snapshot
//! beside it. A new case is one new file.

#![expect(clippy::unwrap_used, reason = "what cannot be read ends the test")]

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;
use nix::sys::resource::{UsageWho, getrusage};
use proptest::prelude::*;
use rig::spec::{Diagnostics, MAX_FILE_BYTES, Style, parse};

/// What reading and refusing a few files may take, in seconds of a processor.
const MAX_SECONDS: i64 = 20;

/// A command that still runs then hangs.
const PATIENCE: Duration = Duration::from_mins(2);

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/rig")
        .join(name)
}

/// The matrix files of a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no matrix", folder.display());
    files
}

fn rig(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rig"))
        .current_dir(folder)
        .args(args)
        .timeout(PATIENCE)
        .output()
        .unwrap()
}

/// What a command did, as its snapshot holds it.
fn told(output: &Output) -> String {
    let code = output.status.code().unwrap();
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    let part = |name: &str, text: &str| match text {
        "" => String::new(),
        text => format!("--- {name}\n{text}"),
    };
    format!(
        "exit code {code}\n{}{}",
        part("stdout", &stdout),
        part("stderr", &stderr)
    )
}

/// Compares with the snapshot beside the files.
fn assert_snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("bad");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn acts_on_terminal(text: &str) -> bool {
    let kept = |c: char| c == '\n' || c == '\t';
    text.chars()
        .any(|c| rig::units::acts_on_terminal(c) && !kept(c))
}

#[test]
fn each_mistake_is_told_with_its_place() {
    let folder = folder("bad");
    for path in files(&folder) {
        let file = path.file_name().unwrap().to_str().unwrap();
        let output = rig(&folder, &["validate", file]);
        assert_eq!(output.status.code(), Some(2), "{file}");
        let text = told(&output);
        assert!(!acts_on_terminal(&text), "{file} reached the terminal");
        assert_snapshot(path.file_stem().unwrap().to_str().unwrap(), &text);
    }
}

#[test]
fn lists_refuse_the_same_files() {
    let folder = folder("bad");
    let validated = rig(&folder, &["validate", "key-typo.yaml"]);
    let listed = rig(&folder, &["list", "key-typo.yaml"]);
    assert_eq!(told(&validated), told(&listed));
}

#[test]
fn a_terminal_gets_frames_and_nothing_else_that_acts_on_it() {
    let text = std::fs::read_to_string(folder("bad/control-characters.yaml")).unwrap();
    let diagnostics = parse("x.yaml", Path::new(""), text).unwrap_err();
    let shown = diagnostics.render(Style::Graphical);
    let colours = shown.matches("\u{1b}[").count();
    let whole_colours = regular_colours(&shown);
    assert!(colours > 0, "{shown}");
    assert_eq!(colours, whole_colours, "{shown:?}");
    assert!(shown.contains("sm?[2Jall"), "{shown}");
}

/// Counts sequences that set a colour: `ESC [ digits and semicolons m`.
fn regular_colours(text: &str) -> usize {
    let sequences = text.split("\u{1b}[").skip(1);
    sequences
        .filter(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != ';');
            end.is_some_and(|end| rest[end..].starts_with('m'))
        })
        .count()
}

#[test]
fn graphical_frames() {
    let text = std::fs::read_to_string(folder("bad/many-errors.yaml")).unwrap();
    let diagnostics = parse("many-errors.yaml", Path::new(""), text).unwrap_err();
    let mut plain = String::new();
    // The colours are the theme's; what is compared is the frames.
    for (index, part) in diagnostics
        .render(Style::Graphical)
        .split('\u{1b}')
        .enumerate()
    {
        let text = if index == 0 {
            part
        } else {
            part.split_once('m').unwrap().1
        };
        plain += text;
    }
    assert_snapshot("graphical", &plain);
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("latin1.yaml"),
        b"version: 1\nname: caf\xe9\n",
    )
    .unwrap();
    let huge = "a: b\n".repeat(10 * 1024 * 1024 / 5);
    std::fs::write(dir.path().join("huge.yaml"), huge).unwrap();
    let args = ["validate", "latin1.yaml", "huge.yaml", "missing.yaml"];
    let output = rig(dir.path(), &args);
    assert_eq!(output.status.code(), Some(2));
    assert_snapshot("cannot-be-read", &told(&output));
}

#[test]
fn one_good_file_among_bad_ones_is_still_told() {
    let output = rig(
        &folder("good"),
        &["validate", "../bad/empty.yaml", "small.yaml"],
    );
    assert_eq!(output.status.code(), Some(2));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(stdout, "small.yaml: 2 cells, ok\n");
}

/// Parses a text that must be refused, and renders the errors both ways.
fn refused(text: String) -> Diagnostics {
    let diagnostics = parse("x.yaml", Path::new(""), text).unwrap_err();
    assert!(!acts_on_terminal(&diagnostics.render(Style::Plain)));
    let _ = diagnostics.render(Style::Graphical);
    diagnostics
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    let lines: Vec<String> = (0..count).map(line).collect();
    lines.join("\n")
}

#[test]
fn nesting_without_end_is_refused() {
    for text in [
        "[".repeat(MAX_FILE_BYTES),
        "{a: ".repeat(MAX_FILE_BYTES / 4),
        "- ".repeat(MAX_FILE_BYTES / 2),
        lines(1000, |depth| format!("{}a:", " ".repeat(depth))),
        "? ".repeat(1000),
    ] {
        let diagnostics = refused(text);
        let message = &diagnostics.problems()[0].message;
        let known = ["nested deeper", "not YAML", "a key must be"];
        assert!(known.iter().any(|k| message.contains(k)), "{message}");
    }
}

#[test]
fn large_and_strange_texts_are_refused_in_good_time() {
    let begun = processor_time();
    let long_text = "x".repeat(500_000);
    let aliases = ", *a".repeat(50_000);
    for text in [
        "a: 1\n".repeat(MAX_FILE_BYTES / 5),
        lines(70_000, |key| format!("key{key}: 1")),
        format!("a: &a {long_text}\nb: [*a{aliases}]\n"),
        format!("a: &a [{}]\nb: [*a{aliases}]\n", "&b x, ".repeat(10_000)),
        format!("name: {}\n", "\u{202e}".repeat(100_000)),
        format!("version: 1\nmatrix: {{ a: [{}] }}\n", "x, ".repeat(100_000)),
        format!("version: {}", "\0".repeat(100_000)),
        format!(
            "version: 1\nmatrix: {{ a: [{}] }}\nexclude: [{}]\n",
            lines(5000, |value| format!("v{value},")),
            "{ a: ['*', '*1*'] }, ".repeat(20_000)
        ),
        "%YAML 1.2\n---\n...\n---\n".repeat(1000),
        "\u{feff}".to_owned(),
        "${${${".repeat(1000),
    ] {
        refused(text);
    }
    let took = processor_time() - begun;
    assert!(took < MAX_SECONDS, "{took} s");
}

/// How long this thread has worked, in seconds: what others do on the machine does not count.
fn processor_time() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    usage.user_time().tv_sec() + usage.system_time().tv_sec()
}

/// A small matrix with `from` replaced by anything.
fn changed(at: usize, len: usize, by: &str) -> String {
    let text = include_str!("good/small.yaml");
    let start = text.floor_char_boundary(at % text.len());
    let end = text.floor_char_boundary((start + len).min(text.len()));
    format!("{}{by}{}", &text[..start], &text[end.max(start)..])
}

/// Goes the whole way that a file goes; every error must render.
fn goes_through(text: String) {
    let result = parse("x.yaml", Path::new(""), text)
        .and_then(|spec| rig::plan::validate(&spec).map(|matrix| matrix.cells.len()));
    if let Err(diagnostics) = result {
        assert!(!diagnostics.problems().is_empty());
        assert!(!acts_on_terminal(&diagnostics.render(Style::Plain)));
        assert!(!diagnostics.render(Style::Graphical).is_empty());
        assert!(!acts_on_terminal(&diagnostics.to_string()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        goes_through(text);
    }

    #[test]
    fn text_that_looks_like_yaml_is_read_or_refused(
        text in "([a-z&*!|>{}\\[\\],:\"'#%@`?$\\- \\n\\t\u{1b}è]|: |- |\n  ){0,200}",
    ) {
        goes_through(text);
    }

    #[test]
    fn a_changed_matrix_is_read_or_refused(
        at in any::<usize>(),
        len in 0_usize..20,
        by in "[a-z&*!|>{}\\[\\],:\"'#$ \\n0-9.\\-]{0,8}",
    ) {
        goes_through(changed(at, len, &by));
    }
}
