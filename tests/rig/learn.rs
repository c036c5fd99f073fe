//! `rig learn` and `rig patterns`, and that `rig check` takes what they print.

use std::fs;
use std::process::{Command, Output};

use crate::captures;

fn rig(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rig"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn what_is_learned_is_what_check_takes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("learned.pattern");
    for (captures, options) in [
        (&["orderly"][..], &[][..]),
        (&["orderly"], &["--exact"]),
        (&["orderly", "reset"], &["--flow", "alice -> :15102"]),
        (&["refused", "orderly", "silent", "reset"], &["--exact"]),
        (&["silent"], &[]),
        (&["refused"], &["--name", "seen(once)"]),
    ] {
        let paths: Vec<_> = captures.iter().map(|name| captures::path(name)).collect();
        let paths: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
        let output = rig(&[&["learn"], &paths[..], options].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let name = format!("learn-{}{}", captures.join("-"), options.concat());
        let name: String = name
            .chars()
            .filter(|c| c.is_alphanumeric() || *c == '-')
            .collect();
        insta::assert_snapshot!(name, text(&output.stdout));
        fs::write(&file, &output.stdout).unwrap();
        let argument = format!("@{}", file.display());
        for path in paths {
            let output = rig(&["check", path, "--pattern", &argument]);
            assert!(output.status.success(), "{}", text(&output.stdout));
        }
    }
}

#[test]
fn what_was_thrown_away_unread_is_told() {
    let output = rig(&["learn", "tests/rig/truth/closed-over-unread-data.pcap"]);
    insta::assert_snapshot!("learn-unread", text(&output.stdout));
}

#[test]
fn a_tail_loss_probe_is_told_and_not_asked_for() {
    let output = rig(&["learn", "--exact", "tests/rig/truth/last-words.pcap"]);
    insta::assert_snapshot!("learn-probe", text(&output.stdout));
}

#[test]
fn the_document_shows_what_is_learned() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/patterns.md");
    let document = fs::read_to_string(path).unwrap();
    let output = rig(&["learn", "tests/rig/captures/orderly.pcapng"]);
    let learned = text(&output.stdout);
    let indented: Vec<_> = learned.lines().map(|line| format!("    {line}")).collect();
    let indented = indented.join("\n");
    assert!(
        document.contains(&indented),
        "docs/patterns.md lacks\n{indented}"
    );
}

#[test]
fn what_cannot_be_learned_from_is_told() {
    let orderly = captures::path("orderly");
    let orderly = orderly.to_str().unwrap();
    for (arguments, message) in [
        (
            &[orderly, "--flow", "* -> 99"][..],
            "cannot propose a pattern: there is no connection",
        ),
        (&[orderly, "--flow", "alicia -> *"], "did you mean `alice`?"),
        (
            &[orderly, "--name", "Loud"],
            "--name: `Loud` is not a name of a pattern",
        ),
        (&["nothing.pcapng"], "open nothing.pcapng"),
    ] {
        let output = rig(&[&["learn"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = text(&output.stderr);
        assert!(told.contains(message), "{told}");
    }
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.pcapng");
    let mut bytes = fs::read(orderly).unwrap();
    bytes.truncate(bytes.len() - 70);
    fs::write(&cut, bytes).unwrap();
    let output = rig(&["learn", cut.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(4));
    assert!(output.stdout.is_empty());
}

#[test]
fn the_library_is_a_pattern_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("library.pattern");
    let printed = rig(&["patterns"]);
    fs::write(&file, &printed.stdout).unwrap();
    let library = file.to_str().unwrap();
    let orderly = captures::path("orderly");
    let orderly = orderly.to_str().unwrap();
    let close = "handshake ... orderly-close-by(responder)";
    let output = rig(&["check", orderly, "--patterns", library, "--pattern", close]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = rig(&["check", orderly, "--pattern", &format!("@{library}")]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(told.contains("says of none that it is meant"), "{told}");

    let some = rig(&["patterns", "refused", "half-close"]);
    insta::assert_snapshot!("patterns-some", text(&some.stdout));
    let none = rig(&["patterns", "refuse"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("did you mean `refused`?"));
}
