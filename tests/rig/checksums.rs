//! Captures whose checksums are wrong: what is said of them, and that `--no-checksums` reads them.

use std::path::Path;
use std::process::{Command, Output};

use super::captures;

const SENDER_AT: usize = 29;
const IP_CHECKSUM_AT: usize = 25;
const TCP_CHECKSUM_AT: usize = 51;
const HUB: u8 = 10;

fn rig(arguments: &[&str], capture: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
    command.args(arguments).arg(capture).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A change of a frame, by its index.
type Spoil<'a> = &'a dyn Fn(usize, &mut [u8]);

/// A capture of `captures/` as another file, with the frames changed by `spoil`.
fn spoiled(name: &str, folder: &Path, spoil: impl Fn(usize, &mut [u8])) -> std::path::PathBuf {
    use rig::pcapng::{Frame, Reader, Section, Writer};
    let file = std::fs::read(captures::path(name)).unwrap();
    let mut reader = Reader::new(&file[..]).unwrap();
    let mut writer = Writer::new(Vec::new(), &Section::default()).unwrap();
    let mut index = 0;
    while let Some(Frame { record, .. }) = reader.next_frame() {
        let mut record = record.into_owned();
        spoil(index, record.data.to_mut());
        if index == 0 {
            writer
                .add_interface(reader.interfaces().next().unwrap())
                .unwrap();
            writer.names(reader.names()).unwrap();
        }
        writer.write(&record).unwrap();
        index += 1;
    }
    let path = folder.join(format!("{name}.pcapng"));
    std::fs::write(&path, writer.finish().unwrap()).unwrap();
    path
}

fn fate(output: &Output) -> Option<String> {
    let flow: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    Some(flow.get("conn_state")?.as_str()?.to_owned())
}

#[test]
fn wrong_checksums_are_told_and_may_be_ignored() {
    let transport = |_: usize, bytes: &mut [u8]| bytes[TCP_CHECKSUM_AT] ^= 0x55;
    let network = |_: usize, bytes: &mut [u8]| bytes[IP_CHECKSUM_AT] ^= 0x55;
    let of_hub = |_: usize, bytes: &mut [u8]| {
        if bytes[SENDER_AT] == HUB {
            bytes[TCP_CHECKSUM_AT] ^= 0x55;
        }
    };
    let one = |index: usize, bytes: &mut [u8]| {
        if index == 3 {
            bytes[TCP_CHECKSUM_AT] ^= 0x55;
        }
    };
    let cases: [(Spoil<'_>, Option<&str>, Option<&str>); 4] = [
        (&transport, Some("OTH"), Some("12 of 12 packets have")),
        (&network, None, Some("12 of 12 packets have")),
        (
            &of_hub,
            Some("SH"),
            Some("6 of 6 packets from responders have"),
        ),
        (&one, Some("SF"), None),
    ];
    for (spoil, judged, told) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = spoiled("orderly", folder.path(), spoil);
        let output = rig(&["flows", "--json"], &path);
        let stderr = text(&output.stderr);
        assert_eq!(fate(&output).as_deref(), judged, "{stderr}");
        for arguments in [&["flows", "--json"][..], &["check"], &["learn"]] {
            let output = rig(arguments, &path);
            let stderr = text(&output.stderr);
            match told {
                Some(told) => {
                    assert!(stderr.contains(told), "{arguments:?}: {stderr}");
                    assert!(stderr.contains("--no-checksums"), "{arguments:?}: {stderr}");
                }
                None => assert_eq!(stderr, "", "{arguments:?}"),
            }
        }
        let check = rig(
            &["check", "--pattern", "handshake ... orderly-close"],
            &path,
        );
        let code = if told.is_some() { 4 } else { 0 };
        assert_eq!(check.status.code(), Some(code), "{}", text(&check.stdout));
        if judged.is_some() {
            let output = rig(&["flows", "--ladder", "1"], &path);
            let ladder = text(&output.stdout);
            assert!(ladder.contains("wrong checksum: "), "{ladder}");
        }
        let plain = rig(&["flows", "--json"], &captures::path("orderly"));
        let ignoring = rig(&["flows", "--json", "--no-checksums"], &path);
        assert_eq!(text(&ignoring.stdout), text(&plain.stdout), "{told:?}");
        assert_eq!(text(&ignoring.stderr), "");
    }
}

#[test]
fn every_command_takes_wrong_checksums_for_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = spoiled("orderly", folder.path(), |_, bytes| {
        bytes[IP_CHECKSUM_AT] ^= 0x55;
        bytes[TCP_CHECKSUM_AT] ^= 0x55;
    });
    let checks = folder.path().join("checks.yaml");
    std::fs::write(
        &checks,
        "checks:\n  - flow: \"* -> :15102\"\n    fate: SF\n",
    )
    .unwrap();
    let expect = ["--expect", checks.to_str().unwrap()];
    let pattern = ["--pattern", "handshake ... orderly-close-by(responder)"];
    for arguments in [
        &["check", "--fate", "SF"][..],
        &[&["check"], &expect[..]].concat(),
        &[&["check"], &pattern[..]].concat(),
    ] {
        let judged = rig(arguments, &path);
        assert_eq!(judged.status.code(), Some(4), "{arguments:?} {judged:?}");
        let ignoring = rig(&[arguments, &["--no-checksums"]].concat(), &path);
        assert_eq!(
            ignoring.status.code(),
            Some(0),
            "{arguments:?} {ignoring:?}"
        );
    }
    let learned = rig(&["learn", "--no-checksums"], &path);
    let plain = rig(&["learn"], &captures::path("orderly"));
    assert_eq!(text(&learned.stdout), text(&plain.stdout));
    // Two captures that are put together, and what is merged of them, which never asks for checksums.
    let other = folder.path().join("other.pcapng");
    std::fs::copy(&path, &other).unwrap();
    let other = other.to_str().unwrap();
    let together = rig(&["flows", "--json", "--no-checksums", other], &path);
    assert_eq!(fate(&together).as_deref(), Some("SF"));
    let out = folder.path().join("out");
    let merge = ["merge", "-o", out.to_str().unwrap(), other];
    let merged = rig(&merge, &path);
    assert_eq!(merged.status.code(), Some(0), "{merged:?}");
    assert!(text(&merged.stderr).contains("12 arrived, 0 lost"));
}
