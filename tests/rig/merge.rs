//! `rig merge` and `rig flows` on two captures of one conversation.

use std::fs::{self, File};
use std::path::Path;

use rig::pcapng::{Reader, Record, Section, Writer};
use rig::units::Timestamp;
use serde_json::Value;

use crate::captures;
use crate::support::rig;

/// How far the second place's clock is ahead.
const AHEAD_NS: u64 = 5_000_000_000;

/// How long each packet is under way.
const DELAY_NS: u64 = 1_000_000;

/// The frame of the conversation that never arrives: the initiator's data.
const LOST: u64 = 6;

/// What two places record of `orderly.pcapng`: all of it, and all but one packet by another clock.
fn two_places(folder: &Path) {
    let file = fs::read(captures::path("orderly")).unwrap();
    let mut reader = Reader::new(&file[..]).unwrap();
    let mut initiator = None;
    let mut places = [Vec::new(), Vec::new()];
    while let Some(frame) = reader.next_frame() {
        let source = frame.record.data[26..30].to_vec();
        let forward = *initiator.get_or_insert(source.clone()) == source;
        let late = Timestamp(frame.record.at.0 + DELAY_NS);
        let (near, far) = if forward {
            (frame.record.at, late)
        } else {
            (late, frame.record.at)
        };
        let (number, record) = (frame.number, frame.record.into_owned());
        let at = |at: Timestamp| Record {
            at,
            direction: None,
            ..record.clone()
        };
        places[0].push(at(near));
        if number != LOST {
            places[1].push(at(Timestamp(far.0 + AHEAD_NS)));
        }
    }
    for (name, records) in ["near", "far"].into_iter().zip(places) {
        let path = folder.join(format!("{name}.pcapng"));
        let mut writer = Writer::new(File::create(path).unwrap(), &Section::default()).unwrap();
        writer
            .add_interface(reader.interfaces().next().unwrap())
            .unwrap();
        for record in &records {
            writer.write(record).unwrap();
        }
        writer.finish().unwrap();
    }
}

fn stderr(command: &mut assert_cmd::Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn clocks_are_aligned_and_the_loss_is_marked() {
    let temp = tempfile::tempdir().unwrap();
    two_places(temp.path());
    let out = temp.path().join("wire.pcapng");
    let mut command = rig();
    command
        .current_dir(temp.path())
        .args(["merge", "near.pcapng", "far.pcapng"]);
    let account = stderr(command.arg("--out").arg(&out).arg("--delays"));
    assert_eq!(
        account,
        "near: its clock is the reference\n\
         far: its clock is 5.00s ahead of near, within 1.0ms (11 packets compared)\n\
         12 packets: 11 arrived, 1 lost\n"
    );
    let file = fs::read(&out).unwrap();
    let mut reader = Reader::new(&file[..]).unwrap();
    let mut comments = Vec::new();
    while let Some(frame) = reader.next_frame() {
        comments.extend(frame.record.comments.iter().cloned());
    }
    let lost = usize::try_from(LOST).unwrap() - 1;
    assert_eq!(comments[lost], "lost: last seen at near");
    assert_eq!(comments[0], "arrived at far after 1.0ms");
    assert_eq!(comments.len(), 12);
}

#[test]
fn flows_of_a_folder_have_losses_and_delays() {
    let temp = tempfile::tempdir().unwrap();
    two_places(temp.path());
    let output = rig()
        .args(["flows", "--json"])
        .arg(temp.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let flow: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(flow["conn_state"], "SF", "{flow}");
    assert_eq!(
        (&flow["orig_lost"], &flow["resp_lost"]),
        (&1.into(), &0.into()),
        "{flow}"
    );
    let delay = flow["orig_delay"].as_f64().unwrap();
    assert!((delay - 0.001).abs() < 1e-6, "{flow}");

    let ladder = rig()
        .args(["flows", "--ladder", "1"])
        .arg(temp.path())
        .output()
        .unwrap();
    let ladder = String::from_utf8(ladder.stdout).unwrap();
    assert!(ladder.contains("lost: last seen at near"), "{ladder}");
}

#[test]
fn what_cannot_be_put_together_is_one_clear_line() {
    let temp = tempfile::tempdir().unwrap();
    let empty = temp.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let text = temp.path().join("notes.pcap");
    fs::write(&text, "no capture").unwrap();
    for (argument, expected) in [
        (&empty, "no capture in this folder"),
        (&text, "not a capture"),
        (&temp.path().join("absent.pcap"), "open the capture"),
    ] {
        let mut command = rig();
        let output = command
            .arg("merge")
            .arg(argument)
            .args(["-o", "-"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains(expected) && said.lines().count() == 1,
            "{said}"
        );
        assert_eq!(output.stdout, b"");
    }
}
