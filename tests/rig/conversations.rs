//! Conversations and what `rig flows` says of them: one file of `conversations/` a case. A new case
//! is a new file.
//!
//! A file has three sections, each begun by a line `== name`:
//!
//! - `script`: one packet a line, as `tests/support/scripts.rs` tells.
//! - `flows`: the JSON of each flow, a field a line, without what is the same in all cases.
//! - `ladder`: what `--ladder 1` draws.
//!
//! `UPDATE_CASES=1` writes what came into the files, to be read in the diff before it is kept.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::support::scripts::{CASES, START_NS, packets, write};

/// What says nothing about a case.
const LEFT_OUT: [&str; 10] = [
    "ts",
    "uid",
    "id.orig_h",
    "id.orig_p",
    "id.resp_h",
    "id.resp_p",
    "orig_ip_bytes",
    "resp_ip_bytes",
    "first_frame",
    "number",
];

#[test]
fn every_case_holds() {
    let mut files: Vec<_> = std::fs::read_dir(CASES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 30, "only {} cases in {CASES}", files.len());
    let wrong: Vec<_> = files.iter().filter_map(|file| judge(file)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_fate_has_a_case() {
    let cases: String = std::fs::read_dir(CASES)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    for state in rig::analysis::ConnState::ALL {
        assert!(
            cases.contains(&format!("conn_state \"{state}\"\n")),
            "{state}"
        );
    }
}

/// What is wrong with a case, if anything.
fn judge(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let script_end = text.find("== flows").unwrap_or(text.len());
    let (script, expected) = text.split_at(script_end);
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("case.pcapng");
    std::fs::write(&capture, self::capture(script)).unwrap();
    let mut came = String::from("== flows\n");
    for line in flows(&capture, &["--json"]).lines() {
        let flow: serde_json::Value = serde_json::from_str(line).unwrap();
        for (name, value) in flow.as_object().unwrap() {
            if !LEFT_OUT.contains(&name.as_str()) {
                writeln!(came, "{name} {value}").unwrap();
            }
        }
        came.push('\n');
    }
    write!(came, "== ladder\n{}", flows(&capture, &["--ladder", "1"])).unwrap();
    if came != expected && std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(file, format!("{}\n\n{came}", script.trim_end())).unwrap();
        return None;
    }
    let name = file.file_name().unwrap().display();
    (came != expected).then(|| format!("{name}: expected\n{expected}\ncame\n{came}"))
}

fn flows(capture: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
    let output = command.arg("flows").arg(capture).args(arguments).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn capture(script: &str) -> Vec<u8> {
    let ends = ["10.0.0.1:40000", "10.0.0.2:15102"].map(|end| end.parse().unwrap());
    write(&packets(script, ends, START_NS))
}
