//! `rig check` on captures: the examples of docs/patterns.md, and its errors.

#![expect(
    clippy::unwrap_used,
    reason = "what cannot be made or read ends the test"
)]

use std::process::{Command, Output};

use crate::captures;

/// The top folder of the repository, in which the examples run.
const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn rig(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rig"))
        .current_dir(TOP)
        .args(arguments)
        .output()
        .unwrap()
}

fn check(capture: &str, arguments: &[&str]) -> Output {
    let path = format!("tests/rig/captures/{capture}.pcapng");
    rig(&[&["check", path.as_str()], arguments].concat())
}

/// What was printed, with the exit code.
fn shown(output: &Output) -> String {
    let code = output.status.code().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("{stdout}{stderr}exit code {code}\n")
}

/// The commands of a document: indented lines that begin with `rig`, up to the closing quote.
fn commands(document: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut open = false;
    for line in document.lines() {
        let Some(line) = line.strip_prefix("    ") else {
            assert!(!open, "a quote is open before `{line}`");
            continue;
        };
        if open {
            let command = commands.last_mut().unwrap();
            command.push('\n');
            command.push_str(line);
        } else if line.starts_with("rig check tests/") {
            commands.push(line.to_owned());
        } else {
            continue;
        }
        open ^= line.matches('\'').count() % 2 == 1;
    }
    commands
}

/// A command's words: quotes hold words together.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in command.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn every_example_of_the_document_passes() {
    let document = std::fs::read_to_string(format!("{TOP}/docs/patterns.md")).unwrap();
    let commands = commands(&document);
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        let words = words(&command);
        let words: Vec<_> = words.iter().skip(1).map(String::as_str).collect();
        let output = rig(&words);
        assert!(output.status.success(), "{command}\n{}", shown(&output));
    }
}

#[test]
fn the_document_shows_a_mismatch_as_it_is() {
    let document = std::fs::read_to_string(format!("{TOP}/docs/patterns.md")).unwrap();
    let output = check(
        "reset",
        &["--pattern", "> SYN < SYN-ACK > ACK ... < FIN > FIN"],
    );
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let indented: Vec<_> = stdout.lines().map(|line| format!("    {line}")).collect();
    let indented = indented.join("\n");
    assert!(
        document.contains(&indented),
        "docs/patterns.md lacks\n{indented}"
    );
}

#[test]
fn results_are_told_in_text_and_in_json() {
    let pattern = "> SYN < SYN-ACK > ACK ... < FIN > FIN";
    let flow = ["--flow", "alice -> hub:15102", "--pattern", pattern];
    insta::assert_snapshot!("passes", shown(&check("orderly", &flow)));
    insta::assert_snapshot!("fails", shown(&check("refused", &flow)));
    let json = [&flow[..], &["--json", "--fate", "SF,RSTR"]].concat();
    insta::assert_snapshot!("fails-json", shown(&check("reset", &json)));
    insta::assert_snapshot!(
        "no-such-flow",
        shown(&check("reset", &["--flow", "* -> 99"]))
    );
    insta::assert_snapshot!("too-few", shown(&check("reset", &["--count", "2.."])));
}

#[test]
fn wrong_input_is_pointed_at() {
    for (name, arguments) in [
        ("pattern", ["--pattern", "> SYN  < SYN_ACK"]),
        (
            "pattern-file-missing",
            ["--pattern", "@tests/rig/nothing.txt"],
        ),
        ("flow", ["--flow", "alicia -> *"]),
        ("fate", ["--fate", "SF,RST"]),
        ("count", ["--count", "3..1"]),
    ] {
        let output = check("orderly", &arguments);
        assert_eq!(output.status.code(), Some(2), "{name}");
        insta::assert_snapshot!(format!("wrong-{name}"), shown(&output));
    }
    let output = rig(&["check", "docs/patterns.md"]);
    insta::assert_snapshot!("wrong-capture", shown(&output));
    let output = rig(&["check", "tests/rig/captures/nothing.pcapng"]);
    insta::assert_snapshot!("missing-capture", shown(&output));
}

#[test]
fn a_pattern_may_stand_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("close.txt");
    std::fs::write(&file, "# a close\n> SYN < SYN-ACK ...\n< FIN > FIN\n").unwrap();
    let argument = format!("@{}", file.display());
    assert!(check("orderly", &["--pattern", &argument]).status.success());
    std::fs::write(&file, "# a close\n> SYN < SYN-ACK ...\n< FINN > FIN\n").unwrap();
    let output = check("orderly", &["--pattern", &argument]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("close.txt:3:3: `FINN` is not an event"),
        "{stderr}"
    );
}

#[test]
fn a_capture_that_is_cut_off_decides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cut.pcapng");
    let mut bytes = std::fs::read(captures::path("orderly")).unwrap();
    bytes.truncate(bytes.len() - 70);
    std::fs::write(&file, bytes).unwrap();
    for fate in ["SF", "REJ"] {
        let output = rig(&["check", file.to_str().unwrap(), "--fate", fate]);
        assert_eq!(output.status.code(), Some(4), "{}", shown(&output));
        assert!(
            shown(&output).contains("the file is cut off"),
            "{}",
            shown(&output)
        );
    }
}

#[test]
fn the_hop_limit_of_ipv6_is_a_ttl() {
    for (pattern, code) in [("- DATA[ttl=64]+", 0), ("- DATA[ttl<64]+", 1)] {
        let capture = "tests/rig/data/loopback.pcap";
        let arguments = [
            "check",
            capture,
            "--flow",
            "* -> :5353",
            "--pattern",
            pattern,
        ];
        let output = rig(&arguments);
        assert_eq!(output.status.code(), Some(code), "{}", shown(&output));
    }
}
