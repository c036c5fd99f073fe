//! The matrix files of README.md and docs/matrix.md: without mistakes, and true on the engine.

#![expect(clippy::panic, reason = "what cannot be read ends the test")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::{rig, workspace_file};

/// The blocks of YAML in a document.
fn examples(document: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace_file(document)).unwrap();
    let blocks = text.split("```yaml\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

/// Takes a file apart at its top-level keys.
fn sections(text: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match line.split_once(':') {
            Some((key, _)) if !line.starts_with([' ', '#']) => {
                sections.push((key.to_owned(), format!("{line}\n")));
            }
            _ => {
                let (_, section) = sections.last_mut().unwrap();
                section.push_str(line);
                section.push('\n');
            }
        }
    }
    sections
}

/// The examples of docs/matrix.md, each put in place of the same sections of the complete file
/// that stands first there; with the keys of the sections that it replaces.
fn matrices() -> Vec<(Vec<String>, String)> {
    let examples = examples("docs/matrix.md");
    let base = sections(&examples[0]);
    let rest = examples.iter().skip(1).map(String::as_str);
    std::iter::once("")
        .chain(rest)
        .map(|example| {
            let replaced = sections(example);
            let kept = base
                .iter()
                .filter(|(key, _)| !replaced.iter().any(|(k, _)| k == key));
            let text = kept.chain(&replaced).map(|(_, text)| text.as_str());
            let text = text.collect();
            (replaced.into_iter().map(|(key, _)| key).collect(), text)
        })
        .collect()
}

#[test]
fn each_example_is_a_file_without_mistakes() {
    let mut count = 0;
    for (_, text) in matrices() {
        let spec = rig::spec::parse("matrix.md", Path::new(""), text.clone());
        let result = spec.and_then(|spec| rig::plan::validate(&spec));
        if let Err(diagnostics) = result {
            panic!("{text}\n{}", diagnostics.render(rig::spec::Style::Plain));
        }
        count += 1;
    }
    assert!(count > 8, "{count} examples");
}

/// Runs a matrix file as if it stood in the folder `folder` of the workspace; it must pass.
fn passes(folder: &str, text: &str) {
    let temp = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = |name: &str| temp.path().join(name);
    symlink(
        fs::canonicalize(workspace_file("docker")).unwrap(),
        path("docker"),
    )
    .unwrap();
    fs::create_dir_all(path(folder)).unwrap();
    let file = path(folder).join("matrix.yaml");
    fs::write(&file, text).unwrap();
    let mut command = rig();
    command.args(["run", "--jobs", "2"]).arg(&file);
    let output = command.arg("--out").arg(path("out")).output().unwrap();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// The complete file, and the examples that ask the wire something else.
#[test]
fn examples_of_the_matrix_file_pass_on_the_engine() {
    let mut count = 0;
    for (keys, text) in matrices() {
        if keys.is_empty() || keys.iter().any(|key| key == "steps" || key == "checks") {
            passes("docs", &text);
            count += 1;
        }
    }
    assert!(count > 3, "{count} examples");
}

#[test]
fn the_example_of_the_readme_passes_on_the_engine() {
    passes("", &examples("README.md")[0]);
}
