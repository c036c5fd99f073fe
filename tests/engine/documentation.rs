//! The matrix files of README.md and docs/matrix.md are true on the engine.

use std::fs;
use std::os::unix::fs::symlink;

use libtest_mimic::Trial;

use crate::evidence::Folder;
use crate::support::examples::{examples, matrices};
use crate::support::{rig, workspace_file};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial!(fn examples_of_the_matrix_file_pass_on_the_engine),
        trial!(fn the_example_of_the_readme_passes_on_the_engine),
    ]
}

/// Runs a matrix file as if it stood in the folder `folder` of the workspace; it must pass.
fn passes(folder: &str, text: &str) {
    let temp = Folder::new();
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

fn the_example_of_the_readme_passes_on_the_engine() {
    passes("", &examples("README.md")[0]);
}
