//! `rig merge` and `rig flows` on two captures of one conversation.

use std::borrow::Cow;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use rig::pcapng::{Interface, InterfaceId, Reader, Record, Section, Writer};
use rig::units::Timestamp;
use rig::wire::LinkType;
use rig::wire::synth::Segment;
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

    // Whoever reads it knows what became of its packets, as whoever read the two did.
    let flow = flow_of(&out);
    assert_eq!(
        (&flow["orig_lost"], &flow["resp_lost"]),
        (&1.into(), &0.into()),
        "{flow}"
    );
    let mut command = rig();
    command
        .arg("check")
        .arg(&out)
        .args(["--pattern", "- ANY* > DATA[lost] - ANY*"]);
    let checked = command.output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

/// The only flow of a capture.
fn flow_of(path: &Path) -> Value {
    let output = rig().args(["flows", "--json"]).arg(path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_comment_of_a_reader_loses_nothing() {
    let temp = tempfile::tempdir().unwrap();
    two_places(temp.path());
    let near = temp.path().join("near.pcapng");
    let file = fs::read(&near).unwrap();
    let mut reader = Reader::new(&file[..]).unwrap();
    let mut writer = Writer::new(Vec::new(), &Section::default()).unwrap();
    let comments = ["lost on link home", "never arrives: too late"].map(str::to_owned);
    while let Some(frame) = reader.next_frame() {
        let record = Record {
            comments: Cow::Borrowed(&comments),
            ..frame.record.into_owned()
        };
        if frame.number == 1 {
            writer
                .add_interface(reader.interfaces().next().unwrap())
                .unwrap();
        }
        writer.write(&record).unwrap();
    }
    fs::write(&near, writer.finish().unwrap()).unwrap();
    let flow = flow_of(&near);
    assert_eq!(flow["conn_state"], "SF", "{flow}");
    assert_eq!(flow["orig_lost"], Value::Null, "{flow}");
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

fn data(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/rig/data")).join(name)
}

/// The one flow of what is merged, and what stderr says of the merging.
fn merged(captures: &[&Path], folder: &Path) -> (Value, String) {
    let out = folder.join("merged.pcapng");
    let mut merge = rig();
    let account = stderr(merge.arg("merge").args(captures).arg("-o").arg(&out));
    let output = rig().args(["flows", "--json"]).arg(&out).output().unwrap();
    let flow = serde_json::from_slice(&output.stdout).unwrap();
    (flow, account)
}

#[test]
fn a_packet_on_three_interfaces_of_one_capture_is_one() {
    let temp = tempfile::tempdir().unwrap();
    // A bridge, and the two of its ports that each packet passes: `tcpdump -i any`, whose headers have the number of the
    // interface.
    let (flow, account) = merged(&[&data("three-interfaces.pcapng")], temp.path());
    assert_eq!(
        (&flow["orig_pkts"], &flow["resp_pkts"]),
        (&5.into(), &5.into())
    );
    assert_eq!(flow["history"], "ShADadfF");
    assert!(
        account.ends_with("10 seen at one place only\n"),
        "{account}"
    );
    // The same in headers without that number: packet type, hardware type, address and protocol are left, by which two
    // of the ways look alike.
    let file = fs::read(data("three-interfaces.pcapng")).unwrap();
    let mut reader = Reader::new(&file[..]).unwrap();
    let path = temp.path().join("older.pcapng");
    let mut writer = Writer::new(File::create(&path).unwrap(), &Section::default()).unwrap();
    let mut interface = None;
    while let Some(frame) = reader.next_frame() {
        let interface = *interface.get_or_insert_with(|| {
            let any = Interface {
                link: LinkType::LinuxSll,
                ..reader_interface()
            };
            writer.add_interface(&any).unwrap()
        });
        let old = &frame.record.data;
        let header = [
            &[0, old[10], old[8], old[9], 0, old[11]],
            &old[12..20],
            &old[0..2],
        ]
        .concat();
        let bytes = [&header, &old[20..]].concat();
        let record = Record::new(interface, frame.record.at, &bytes);
        writer.write(&record).unwrap();
    }
    writer.finish().unwrap();
    let (flow, account) = merged(&[&path], temp.path());
    assert_eq!(
        (&flow["orig_pkts"], &flow["resp_pkts"]),
        (&5.into(), &5.into())
    );
    assert!(
        account.contains(
            "older: 5 of 10 packets were recorded 2 times within 20.0us each, on interfaces that Linux SLL does not tell \
             apart: each counts once"
        ),
        "{account}"
    );
}

fn reader_interface() -> Interface {
    Interface {
        name: "any".to_owned(),
        description: String::new(),
        link: LinkType::LinuxSll2,
        snaplen_bytes: 0,
    }
}

#[test]
fn equal_captures_bound_each_others_clock() {
    let temp = tempfile::tempdir().unwrap();
    let again = temp.path().join("again.pcap");
    fs::copy(data("both-ways.pcap"), &again).unwrap();
    let (_, account) = merged(&[&data("both-ways.pcap"), &again], temp.path());
    assert_eq!(
        account,
        "both-ways: its clock is the reference\n\
         again: its clock may be that of both-ways, within 0ns (18 packets compared)\n\
         18 packets: 18 arrived, 0 lost\n"
    );
}

#[test]
fn packets_of_one_way_bound_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let [near, far] = talk(&[vec![(true, 5, false); 4]]);
    for (name, packets) in [("near", near), ("far", far)] {
        let forth = packets.into_iter().filter(|(_, bytes)| bytes[29] == 1);
        let path = temp.path().join(format!("{name}.pcapng"));
        write_place(&path, 0, false, &forth.collect::<Vec<_>>());
    }
    let files = ["near.pcapng", "far.pcapng"].map(|name| temp.path().join(name));
    let mut merge = rig();
    merge
        .arg("merge")
        .args(&files)
        .arg("-o")
        .arg(temp.path().join("merged.pcapng"));
    let account = stderr(&mut merge);
    let told =
        "with nothing to bound the error, as between any two addresses packets went one way only";
    assert!(account.contains(told), "{account}");
}

#[test]
fn packets_that_were_captured_twice_on_one_interface_are_told() {
    let temp = tempfile::tempdir().unwrap();
    let file = fs::read(data("both-ways.pcap")).unwrap();
    let mut reader = Reader::new(&file[..]).unwrap();
    let (mut packets, mut once) = (Vec::new(), Vec::new());
    while let Some(frame) = reader.next_frame() {
        let mut bytes = frame.record.data.to_vec();
        // Packets of Linux have numbers of their own.
        bytes[18..20].copy_from_slice(&u16::try_from(frame.number).unwrap().to_be_bytes());
        bytes[24..26].fill(0);
        let at = frame.record.at.0;
        once.push((at, bytes.clone()));
        packets.extend([(at, bytes.clone()), (at + 5_000, bytes)]);
    }
    let [path, other] = ["twice.pcapng", "once.pcapng"].map(|name| temp.path().join(name));
    write_place(&path, 0, false, &packets);
    write_place(&other, 0, false, &once);
    let told = "twice: 18 of 18 packets were recorded 2 times on one interface, up to 5.0us apart, and count as often";
    let (flow, account) = merged(&[&path, &other], temp.path());
    assert!(account.contains(told), "{account}");
    assert!(
        account.contains("`editcap -w 0.000006 IN OUT`"),
        "{account}"
    );
    // Of one capture alone it is remarked.
    assert_eq!(
        flow["remarks"],
        serde_json::json!([
            "> 9 packets came again, captured or delivered twice",
            "< 9 packets came again, captured or delivered twice"
        ]),
        "{flow}"
    );
    assert_eq!(
        (&flow["orig_copies"], &flow["resp_copies"]),
        (&9.into(), &9.into())
    );
}

#[test]
fn room_that_is_missing_is_told_with_what_is_needed_and_where() {
    let temp = tempfile::tempdir().unwrap();
    let capture = temp.path().join("long.pcapng");
    let [packets, _] = talk(&[vec![(true, 1400, false); 40]]);
    write_place(&capture, 0, false, &packets);
    let out = temp.path().join("merged.pcapng");
    fs::write(&out, "what was there").unwrap();
    // A file of more than 16 blocks of 512 bytes is refused as one is on a full disk.
    let limited = "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"";
    let mut sh = Command::new("sh");
    sh.args(["-c", limited, env!("CARGO_BIN_EXE_rig"), "merge"]);
    let output = sh.arg(&capture).arg("-o").arg(&out).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    let folder = temp.path().display();
    let told = format!(
        "rig: put the packets aside in {folder}, before {folder}/merged.pcapng is written: write a packet of a capture: \
         File too large (os error 27): some "
    );
    assert!(said.starts_with(&told), "{said}");
    let rest = &said[told.len()..];
    let twice = " bytes, twice the length of the capture, are needed, ";
    let (needed, rest) = rest.split_once(twice).unwrap();
    let needed: u64 = needed.parse().unwrap();
    let one = fs::metadata(&capture).unwrap().len();
    assert!(
        (3 * one / 2..3 * one).contains(&needed),
        "{needed} of {one}"
    );
    assert!(
        rest.ends_with(&format!(" are left in {folder}\n")),
        "{said}"
    );
    assert_eq!(fs::read(&out).unwrap(), b"what was there");

    let full = rig()
        .arg("merge")
        .arg(&capture)
        .args(["-o", "/dev/full"])
        .output()
        .unwrap();
    let said = String::from_utf8(full.stderr).unwrap();
    let told = "rig: write /dev/full: No space left on device (os error 28): ";
    assert!(
        said.starts_with(told) && said.ends_with(" bytes are needed\n"),
        "{said}"
    );
}

/// Times are counted from here.
const EPOCH_NS: u64 = 1_700_000_000_000_000_000;

/// What connections say to each other: at the place of the initiator and at that of the responder, packets by time.
fn talk(connections: &[Vec<(bool, u16, bool)>]) -> [Vec<(u64, Vec<u8>)>; 2] {
    let mut places = [Vec::new(), Vec::new()];
    let mut at = EPOCH_NS;
    let mut say = |forth: bool, bytes: Vec<u8>, lost: bool| {
        at += 2 * DELAY_NS;
        let (near, far) = if forth { (0, 1) } else { (1, 0) };
        places[near].push((at, bytes.clone()));
        if !lost {
            places[far].push((at + DELAY_NS, bytes));
        }
    };
    for (port, said) in (40_000..).zip(connections) {
        let ends = [([10, 0, 0, 1], port), ([10, 0, 0, 2], 80)].map(SocketAddr::from);
        let mut next = [u32::from(port), 7];
        let mut segment = |forth: bool, flags: u8, len: u16| {
            let (me, peer) = if forth { (0, 1) } else { (1, 0) };
            let payload = vec![b'x'; usize::from(len)];
            let segment = Segment {
                seq: next[me],
                ack: next[peer],
                flags,
                payload: &payload,
                ..Segment::new(ends[me], ends[peer])
            };
            let taken = u32::from(flags & 1) + u32::from(flags >> 1 & 1);
            next[me] = next[me].wrapping_add(u32::from(len) + taken);
            segment.bytes()
        };
        say(true, segment(true, 0x02, 0), false);
        say(false, segment(false, 0x12, 0), false);
        say(true, segment(true, 0x10, 0), false);
        for (forth, len, lost) in said {
            say(*forth, segment(*forth, 0x18, *len), *lost);
        }
        for (forth, flags) in [(true, 0x11), (false, 0x11), (true, 0x10)] {
            say(forth, segment(forth, flags, 0), false);
        }
    }
    places
}

/// Writes what a place saw; cooked headers in place of Ethernet's where asked for.
fn write_place(path: &Path, ahead_ns: u64, is_cooked: bool, packets: &[(u64, Vec<u8>)]) {
    let mut writer = Writer::new(File::create(path).unwrap(), &Section::default()).unwrap();
    let link = if is_cooked {
        LinkType::LinuxSll
    } else {
        LinkType::Ethernet
    };
    let interface = Interface {
        name: "eth0".to_owned(),
        description: String::new(),
        link,
        snaplen_bytes: 0,
    };
    writer.add_interface(&interface).unwrap();
    for (at, bytes) in packets {
        let header = [0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 0, 0, 0, 8, 0];
        let cooked = [&header[..], &bytes[14..]].concat();
        let bytes = if is_cooked { &cooked } else { bytes };
        let record = Record::new(InterfaceId(0), Timestamp(at + ahead_ns), bytes);
        writer.write(&record).unwrap();
    }
    writer.finish().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// What is merged tells the same as its parts, and the losses are those that were made.
    #[test]
    fn flows_of_a_merged_capture_are_those_of_its_parts(
        said in prop::collection::vec(
            prop::collection::vec((any::<bool>(), 1..1400_u16, prop::bool::weighted(0.2)), 1..12),
            1..5,
        ),
        ahead_ms in 0..100_000_u64,
        is_cooked: [bool; 2],
    ) {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        // The last connection loses nothing, so that both places record for long enough.
        let calm = vec![(true, 5, false); 8];
        let mut connections = said;
        connections.push(calm);
        let mut places = talk(&connections);
        for (place, packets) in places.iter_mut().enumerate() {
            packets.sort_by_key(|(at, _)| *at);
            let ahead_ns = if place == 1 { ahead_ms * 1_000_000 } else { 0 };
            write_place(&file(&format!("{place}.pcapng")), ahead_ns, is_cooked[place], packets);
        }
        let flows = |captures: &[&str]| {
            let mut command = rig();
            let output = command.current_dir(folder.path()).args(["flows", "--json"]).args(captures).output();
            let output = output.unwrap();
            assert!(output.status.success(), "{output:?}");
            let lines = String::from_utf8(output.stdout).unwrap();
            let flows = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            flows.collect::<Vec<_>>()
        };
        let parts = flows(&["0.pcapng", "1.pcapng"]);
        let mut command = rig();
        command.current_dir(folder.path()).args(["merge", "0.pcapng", "1.pcapng", "-o", "merged.pcapng"]);
        command.assert().success();
        let merged = flows(&["merged.pcapng"]);
        prop_assert_eq!(parts.len(), connections.len());
        for ((of_parts, of_merged), said) in parts.iter().zip(&merged).zip(&connections) {
            let lost = |by: bool| said.iter().filter(|(forth, _, lost)| *lost && *forth == by).count();
            for (field, by) in [("orig_lost", true), ("resp_lost", false)] {
                prop_assert_eq!(&of_parts[field], &Value::from(lost(by)), "{}", of_parts);
                let told = of_merged[field].as_u64().unwrap_or_default();
                prop_assert_eq!(told, lost(by) as u64, "{}", of_merged);
            }
            // The time that packets take is in the merged capture only where it is asked for.
            let only_parts = ["orig_lost", "resp_lost", "orig_delay", "resp_delay"];
            let others = |flow: &Value| {
                let mut fields = flow.as_object().unwrap().clone();
                fields.retain(|name, _| !only_parts.contains(&name.as_str()));
                let remarks = fields.get_mut("remarks").and_then(Value::as_array_mut);
                let is_empty = remarks.is_some_and(|remarks| {
                    remarks.retain(|remark| !remark.as_str().unwrap().contains("after "));
                    remarks.is_empty()
                });
                if is_empty {
                    fields.remove("remarks");
                }
                fields
            };
            prop_assert_eq!(others(of_parts), others(of_merged));
        }
    }
}
