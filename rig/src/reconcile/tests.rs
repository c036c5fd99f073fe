//! Two or three places, a path between them, and clocks that do not agree.

use std::io::Cursor;
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::pcapng::{Delivery, Direction, Interface, InterfaceId, Record, Section, Writer};
use crate::units::Timestamp;
use crate::wire::LinkType;
use crate::wire::synth::{self, Segment};

pub(super) const MS: i128 = 1_000_000;

/// Times are counted from here, so that clocks may be behind.
const EPOCH_NS: i128 = 1_700_000_000_000_000_000;

/// A capture while it is made.
pub(super) struct Place {
    name: &'static str,
    /// What its clock shows too much, at a true time.
    ahead: Box<dyn Fn(i128) -> i128>,
    marks: bool,
    records: Vec<(i128, Option<Direction>, Vec<u8>)>,
}

impl Place {
    pub(super) fn new(name: &'static str, ahead: impl Fn(i128) -> i128 + 'static) -> Self {
        Self {
            name,
            ahead: Box::new(ahead),
            marks: false,
            records: Vec::new(),
        }
    }

    pub(super) fn saw(&mut self, at_ns: i128, direction: Direction, data: &[u8]) {
        let direction = self.marks.then_some(direction);
        let shown = at_ns + (self.ahead)(at_ns);
        self.records.push((shown, direction, data.to_vec()));
    }

    pub(super) fn capture(mut self) -> Capture {
        self.records.sort_by_key(|(at, ..)| *at);
        let records = self.records.into_iter().map(|(at, direction, data)| {
            let at = Timestamp(u64::try_from(EPOCH_NS + at).unwrap());
            let mut record = Record::new(InterfaceId(0), at, &data).into_owned();
            record.direction = direction;
            record
        });
        Capture {
            name: self.name,
            link: LinkType::Ethernet,
            records: records.collect(),
        }
    }
}

/// A capture before it is written.
#[derive(Clone)]
pub(super) struct Capture {
    name: &'static str,
    pub(super) link: LinkType,
    records: Vec<Record<'static>>,
}

impl Capture {
    /// Records another packet, out of order.
    fn add(&mut self, at: Timestamp, data: &[u8]) {
        let record = Record::new(InterfaceId(0), at, data);
        self.records.push(record.into_owned());
    }

    fn source(&self) -> Source<Cursor<Vec<u8>>> {
        Source::new(self.name, Cursor::new(self.file()))
    }

    fn file(&self) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), &Section::default()).unwrap();
        let interface = Interface {
            name: "eth0".to_owned(),
            description: String::new(),
            link: self.link,
            snaplen_bytes: 0,
        };
        writer.add_interface(&interface).unwrap();
        for record in &self.records {
            writer.write(record).unwrap();
        }
        writer.finish().unwrap()
    }
}

/// All packets of several captures.
pub(super) struct Joined {
    pub(super) passages: Vec<Told>,
    pub(super) records: Vec<Record<'static>>,
    comments: Vec<(u64, String)>,
    clocks: Vec<Clock>,
    interfaces: Vec<Interface>,
    pub(super) tally: Tally,
}

/// What became of one of them.
pub(super) struct Told {
    pub(super) place: usize,
    pub(super) fate: Fate,
}

pub(super) fn reconcile(captures: Vec<Capture>) -> Result<Joined, ReconcileError> {
    let sources = captures.into_iter().map(|capture| capture.source());
    let mut joining = Reconciliation::of(sources.collect())?;
    let mut joined = Joined {
        passages: Vec::new(),
        records: Vec::new(),
        comments: Vec::new(),
        clocks: joining.clocks().to_vec(),
        interfaces: joining.outline().interfaces.clone(),
        tally: Tally::default(),
    };
    for frame in 1.. {
        let Some(passage) = joining.next_packet() else {
            break;
        };
        joined.passages.push(Told {
            place: passage.place,
            fate: passage.fate,
        });
        let record = passage.into_record(false).into_owned();
        let comments = record.comments.iter().cloned();
        joined.comments.extend(comments.map(|text| (frame, text)));
        joined.records.push(record);
    }
    joined.tally = joining.tally().clone();
    Ok(joined)
}

impl Joined {
    /// How many packets came to an end of each kind: arrived, lost, unsent, unwatched.
    fn counts(&self) -> [usize; 4] {
        let tally = &self.tally;
        [tally.arrived, tally.lost, tally.unsent, tally.unwatched]
            .map(|count| usize::try_from(count).unwrap())
    }
}

fn packet(number: u32, forward: bool) -> Vec<u8> {
    let a = SocketAddr::from(([10, 0, 0, 1], 4000));
    let b = SocketAddr::from(([10, 0, 0, 2], 80));
    let (from, to) = if forward { (a, b) } else { (b, a) };
    let segment = Segment {
        seq: number,
        flags: 0x10,
        payload: &number.to_be_bytes(),
        ..Segment::new(from, to)
    };
    segment.bytes()
}

/// A packet to and one back every 10 ms; those in `lost` never arrive. Gives both captures.
fn talk(
    packets: u32,
    there: i128,
    back: i128,
    lost: &[u32],
    ahead: impl Fn(i128) -> i128 + 'static,
    marks: bool,
) -> Vec<Capture> {
    let mut a = Place::new("a", |_| 0);
    let mut b = Place::new("b", ahead);
    (a.marks, b.marks) = (marks, marks);
    for number in 0..packets {
        let forward = number % 2 == 0;
        let at = i128::from(number) * 10 * MS;
        let data = packet(number, forward);
        let (from, to, delay) = if forward {
            (&mut a, &mut b, there)
        } else {
            (&mut b, &mut a, back)
        };
        from.saw(at, Direction::Outbound, &data);
        if !lost.contains(&number) {
            to.saw(at + delay, Direction::Inbound, &data);
        }
    }
    vec![a.capture(), b.capture()]
}

fn fates(joined: &Joined) -> Vec<Fate> {
    joined.passages.iter().map(|passage| passage.fate).collect()
}

/// When each packet was sent, from the first one on.
fn times_ns(joined: &Joined) -> Vec<i128> {
    joined
        .records
        .iter()
        .map(|r| i128::from(r.at.0) - EPOCH_NS)
        .collect()
}

#[test]
fn a_packet_at_both_ends_is_one_packet_with_its_delay() {
    for marks in [false, true] {
        let joined = reconcile(talk(20, 3 * MS, 3 * MS, &[], |_| 0, marks)).unwrap();
        assert_eq!(
            fates(&joined),
            [Fate::Arrived(Duration::from_millis(3)); 20]
        );
        let sent: Vec<i128> = (0..20).map(|number| number * 10 * MS).collect();
        assert_eq!(times_ns(&joined), sent);
        assert_eq!(joined.clocks[1].alignment, Alignment::Same);
        assert_eq!(joined.clocks[1].uncertainty, Some(Duration::from_millis(3)));
        let from: Vec<_> = joined.passages.iter().map(|p| p.place).collect();
        assert_eq!(from, [0, 1].repeat(10));
    }
}

#[test]
fn a_clock_that_is_off_is_aligned() {
    for offset in [7 * MS, -3_600_000 * MS] {
        let joined = reconcile(talk(20, 2 * MS, 4 * MS, &[], move |_| offset, false)).unwrap();
        // Ways that differ in length look like a clock that is off by half of the difference.
        assert_eq!(joined.clocks[1].alignment, Alignment::Offset(offset - MS));
        assert_eq!(joined.clocks[1].uncertainty, Some(Duration::from_millis(3)));
        assert_eq!(
            fates(&joined),
            [Fate::Arrived(Duration::from_millis(3)); 20]
        );
    }
}

#[test]
fn a_clock_that_drifts_is_followed() {
    // 1 ms in each second, which no single offset explains.
    let joined = reconcile(talk(2000, MS, MS, &[], |at| 50 * MS + at / 1000, false)).unwrap();
    assert!(matches!(&joined.clocks[1].alignment, Alignment::Drift(points) if points.len() >= 2));
    assert!(joined.clocks[1].uncertainty.unwrap() < Duration::from_millis(2));
    for fate in fates(&joined) {
        let Fate::Arrived(delay) = fate else {
            panic!("{fate:?}")
        };
        assert!(delay.as_micros().abs_diff(1000) < 200, "{delay:?}");
    }
}

#[test]
fn what_never_arrives_is_lost() {
    for marks in [false, true] {
        let joined = reconcile(talk(20, 2 * MS, 2 * MS, &[4, 7], |_| 9 * MS, marks)).unwrap();
        let lost: Vec<usize> = (0..20)
            .filter(|number| joined.passages[*number].fate == Fate::Lost)
            .collect();
        assert_eq!(lost, [4, 7]);
        let marked = |number: &usize| joined.records[*number].delivery == Some(Delivery::Lost);
        assert_eq!((0..20).filter(marked).collect::<Vec<_>>(), [4, 7]);
        assert_eq!(joined.counts(), [18, 2, 0, 0]);
        let comments = joined.comments;
        assert_eq!(
            comments,
            [
                (5, "lost: last seen at a".to_owned()),
                (8, "lost: last seen at b".to_owned())
            ]
        );
    }
}

#[test]
fn a_capture_that_had_ended_lost_nothing() {
    let mut a = Place::new("a", |_| 0);
    let mut b = Place::new("b", |_| 0);
    for number in 0..20 {
        let at = i128::from(number) * 10 * MS;
        let data = packet(number, number % 2 == 0);
        a.saw(at, Direction::Outbound, &data);
        if number < 10 {
            let shift = if number % 2 == 0 { MS } else { -MS };
            b.saw(at + shift, Direction::Inbound, &data);
        }
    }
    let joined = reconcile(vec![a.capture(), b.capture()]).unwrap();
    assert_eq!(joined.counts(), [10, 0, 0, 10]);
}

#[test]
fn what_was_not_recorded_where_it_was_sent_is_told() {
    let mut captures = talk(20, MS, MS, &[], |_| 0, false);
    // Number 6, the fourth packet that the first place sent.
    captures[0]
        .records
        .retain(|record| record.data[..] != packet(6, true)[..]);
    let joined = reconcile(captures).unwrap();
    assert_eq!(joined.counts(), [19, 0, 1, 0]);
    assert_eq!(joined.passages[6].fate, Fate::Unsent);
}

#[test]
fn a_place_on_the_way_tells_how_far_a_packet_came() {
    let mut places = [
        Place::new("a", |_| 0),
        Place::new("router", |_| 500 * MS),
        Place::new("b", |_| -20 * MS),
    ];
    for number in 0..20_u32 {
        let data = packet(number, number % 2 == 0);
        let at = i128::from(number) * 10 * MS;
        let mut way = [0, 1, 2];
        if number % 2 == 1 {
            way.reverse();
        }
        let seen = if number == 10 { 2 } else { 3 };
        for (hop, place) in (0_i128..).zip(way).take(seen) {
            places[place].saw(at + hop * MS, Direction::Inbound, &data);
        }
    }
    let joined = reconcile(places.map(Place::capture).into()).unwrap();
    assert_eq!(joined.counts(), [19, 1, 0, 0]);
    assert_eq!(
        joined.comments,
        [(11, "lost: last seen at router".to_owned())]
    );
    let delays: Vec<Fate> = fates(&joined);
    assert_eq!(delays[0], Fate::Arrived(Duration::from_millis(2)));
    assert_eq!(joined.clocks[1].alignment, Alignment::Offset(500 * MS));
}

#[test]
fn captures_that_share_nothing_stand_side_by_side() {
    let mut a = Place::new("a", |_| 0);
    let mut b = Place::new("b", |_| 0);
    a.saw(0, Direction::Outbound, &packet(1, true));
    b.saw(5, Direction::Outbound, &packet(2, true));
    let joined = reconcile(vec![a.capture(), b.capture()]).unwrap();
    assert_eq!(joined.counts(), [0, 0, 0, 2]);
    assert_eq!(joined.clocks[1].alignment, Alignment::Unknown);
    let names: Vec<_> = joined.interfaces.iter().map(|i| &i.name[..]).collect();
    assert_eq!(names, ["eth0@a", "eth0@b"]);
}

#[test]
fn places_that_share_nothing_with_the_first_are_aligned_with_one_another() {
    let alone = Place::new("alone", |_| 0);
    let mut captures = talk(20, 2 * MS, 2 * MS, &[4], |_| 3_600_000 * MS, false);
    captures.insert(0, alone.capture());
    let joined = reconcile(captures).unwrap();
    assert_eq!(joined.clocks[1].alignment, Alignment::Unknown);
    assert_eq!(joined.clocks[2].against, 1);
    assert_eq!(
        joined.clocks[2].alignment,
        Alignment::Offset(3_600_000 * MS)
    );
    assert_eq!(joined.counts(), [19, 1, 0, 0]);
    let arrived = Fate::Arrived(Duration::from_millis(2));
    assert_eq!(
        fates(&joined)
            .iter()
            .filter(|fate| **fate == arrived)
            .count(),
        19
    );
}

#[test]
fn a_record_far_out_of_time_does_not_make_all_others_wait() {
    let mut captures = talk(400, 2 * MS, 2 * MS, &[], |_| 0, false);
    let last = captures[1].records.last_mut().unwrap();
    last.at = Timestamp(0);
    let sources = captures.iter().map(Capture::source).collect();
    let mut joining = Reconciliation::of(sources).unwrap();
    joining.window.limit_to(50);
    let mut told = 0;
    while let Some(passage) = joining.next_packet() {
        drop(passage);
        told += 1;
        assert!(joining.window.held() <= 50 + 2 * 256, "{told}");
    }
    assert!(told >= 400, "{told}");
}

#[test]
fn a_packet_sent_again_is_another_one() {
    let mut a = Place::new("a", |_| 0);
    let mut b = Place::new("b", |_| 0);
    let again = packet(0, true);
    for (at, arrives) in [(0, false), (1000, true)] {
        a.saw(at * MS, Direction::Outbound, &again);
        if arrives {
            b.saw((at + 2) * MS, Direction::Inbound, &again);
        }
    }
    for number in 1..10 {
        let (at, data) = (
            i128::from(number) * 300 * MS,
            packet(number, number % 2 == 0),
        );
        let shift = if number % 2 == 0 { 2 * MS } else { -2 * MS };
        a.saw(at, Direction::Outbound, &data);
        b.saw(at + shift, Direction::Inbound, &data);
    }
    // The receiver recorded before the first one was sent.
    b.saw(-MS, Direction::Inbound, &packet(99, false));
    let joined = reconcile(vec![a.capture(), b.capture()]).unwrap();
    let of_it: Vec<Fate> = joined
        .passages
        .iter()
        .zip(&joined.records)
        .filter(|(_, record)| record.data[..] == again[..])
        .map(|(passage, _)| passage.fate)
        .collect();
    assert_eq!(of_it, [Fate::Lost, Fate::Arrived(Duration::from_millis(2))]);
}

#[test]
fn a_router_that_captures_everywhere_sees_each_packet_twice() {
    let mut places = [
        Place::new("a", |_| 0),
        Place::new("router", |_| 40 * MS),
        Place::new("b", |_| 0),
    ];
    places[1].marks = true;
    for number in 0..20_u32 {
        let forward = number % 2 == 0;
        let (data, at) = (packet(number, forward), i128::from(number) * 10 * MS);
        let (near, far) = if forward { (0, 2) } else { (2, 0) };
        places[near].saw(at, Direction::Outbound, &data);
        places[1].saw(at + MS, Direction::Inbound, &data);
        places[1].saw(at + MS + 1000, Direction::Outbound, &data);
        places[far].saw(at + 2 * MS, Direction::Inbound, &data);
    }
    let joined = reconcile(places.map(Place::capture).into()).unwrap();
    assert_eq!(joined.counts(), [20, 0, 0, 0]);
    assert_eq!(fates(&joined)[0], Fate::Arrived(Duration::from_millis(2)));
}

#[test]
fn packets_that_look_the_same_are_told_apart_by_time() {
    let mut captures = talk(20, MS, MS, &[], |_| 0, false);
    // A datagram each second, of which the first place recorded 0 to 9 and the other 5 to 14.
    let beat = synth::udp(
        SocketAddr::from(([10, 0, 0, 1], 5000)),
        SocketAddr::from(([10, 0, 0, 2], 5000)),
        b"beat",
    );
    for (place, from, late) in [(0, 0, 0), (1, 5, MS)] {
        for second in from..from + 10 {
            let at = EPOCH_NS + i128::from(second) * 1000 * MS + 5 * MS + late;
            let at = Timestamp(u64::try_from(at).unwrap());
            let mut record = captures[place].records[0].clone();
            (record.at, record.data) = (at, beat.clone().into());
            record.orig_len_bytes = u32::try_from(beat.len()).unwrap();
            captures[place].records.push(record);
        }
    }
    let joined = reconcile(captures).unwrap();
    let of_beats = joined.passages.iter().zip(&joined.records);
    let of_beats: Vec<Fate> = of_beats
        .filter(|(_, record)| record.data[..] == beat[..])
        .map(|(passage, _)| passage.fate)
        .collect();
    assert_eq!(of_beats.len(), 15);
    assert_eq!(
        of_beats[5..10],
        [Fate::Arrived(Duration::from_millis(1)); 5]
    );
}

#[test]
fn a_row_of_packets_that_look_the_same_is_one_row_at_both_places() {
    let ends = [1, 2].map(|host| SocketAddr::from(([10, 0, 0, host], 5000)));
    let beat = synth::udp(ends[0], ends[1], b"beat");
    let mut places = [Place::new("a", |_| 0), Place::new("b", |_| 0)];
    for number in 0..20 {
        for place in &mut places {
            place.saw(number * 300 * MS, Direction::Outbound, &beat);
        }
    }
    let joined = reconcile(places.map(Place::capture).into()).unwrap();
    assert_eq!(joined.counts(), [20, 0, 0, 0]);
}

#[test]
fn segments_that_are_cut_behind_the_capture_are_not_lost_and_others_are() {
    let ends = ["10.0.0.1:4000", "10.0.0.2:80"].map(|end| end.parse::<SocketAddr>().unwrap());
    let segment = |seq: u32, len: usize| {
        let payload = vec![7; len];
        let segment = Segment {
            seq,
            flags: 0x10,
            payload: &payload,
            ..Segment::new(ends[0], ends[1])
        };
        segment.bytes()
    };
    let mut captures = talk(20, MS, MS, &[4, 8], |_| 0, false);
    let at = captures[0].records[6].at;
    let mut add = |place: usize, later_ns, bytes: Vec<u8>| {
        captures[place].add(Timestamp(at.0 + later_ns), &bytes);
    };
    // One long segment becomes three, and a longer one than any never arrives.
    add(0, 0, segment(1_000, 3_000));
    for part in 0..3 {
        add(1, 1_000_000, segment(1_000 + part * 1_000, 1_000));
    }
    add(0, 100, segment(50_000, 20_000));
    let joined = reconcile(captures).unwrap();
    assert_eq!(joined.counts()[1], 3, "two of the talk, and the long one");
    assert_eq!(joined.tally.offloaded, [[0, 1]].into());
}

#[test]
fn loopback_packets_of_two_places_are_two() {
    let ends = [4000, 80].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let beat = synth::udp(ends[0], ends[1], b"beat");
    let mut places = [Place::new("a", |_| 0), Place::new("b", |_| 0)];
    for place in &mut places {
        place.saw(0, Direction::Outbound, &beat);
    }
    let joined = reconcile(places.map(Place::capture).into()).unwrap();
    assert_eq!(joined.counts(), [0, 0, 0, 2]);
}

#[test]
fn a_clock_that_was_set_does_not_run_away() {
    let mut captures = talk(
        100,
        MS,
        MS,
        &[],
        |at| if at < 500 * MS { 0 } else { 30 * MS },
        false,
    );
    let late = Timestamp(captures[1].records[0].at.0 + 3_600_000_000_000);
    captures[1].add(late, &packet(1000, false));
    let joined = reconcile(captures).unwrap();
    let last = *times_ns(&joined).last().unwrap();
    assert!((last - 3_600_000 * MS).abs() < 100 * MS, "{last}");
}

proptest! {
    #[test]
    fn each_packet_is_there_once_and_its_loss_is_known(
        offset_ms in -10_000_i64..10_000,
        there_us in 1_i64..30_000,
        back_us in 1_i64..30_000,
        lost in proptest::collection::btree_set(2_u32..38, 0..8),
        marks: bool,
    ) {
        let offset = i128::from(offset_ms) * MS;
        let lost: Vec<u32> = lost.into_iter().collect();
        let (there, back) = (i128::from(there_us) * 1000, i128::from(back_us) * 1000);
        let captures = talk(48, there, back, &lost, move |_| offset, marks);
        let joined = reconcile(captures).unwrap();
        prop_assert_eq!(joined.passages.len(), 48);
        prop_assert_eq!(joined.records.len(), 48);
        prop_assert_eq!(joined.counts(), [48 - lost.len(), lost.len(), 0, 0]);
        let clock = &joined.clocks[1];
        let error = (clock.ahead_ns(EPOCH_NS) - offset).unsigned_abs();
        prop_assert!(error <= clock.uncertainty.unwrap().as_nanos());
    }
}

/// Payload that occurs nowhere else.
pub(super) fn text(seed: u32, len: usize) -> Vec<u8> {
    let words = (0..).flat_map(|word: u32| (word ^ seed.wrapping_mul(0x9e37_79b9)).to_be_bytes());
    words.take(len).collect()
}

#[test]
fn a_long_datagram_that_is_cut_hides_no_loss_of_another() {
    let ends = [1, 2].map(|host| SocketAddr::from(([10, 0, 0, host], 5000)));
    let datagram = |bytes: &[u8]| synth::udp(ends[0], ends[1], bytes);
    for lost_len in [100, 2_000] {
        let mut captures = talk(20, MS, MS, &[], |_| 0, false);
        let at = captures[0].records[6].at;
        let mut add = |place: usize, later_ns, bytes: Vec<u8>| {
            captures[place].add(Timestamp(at.0 + later_ns), &bytes);
        };
        let long = text(1, 3_000);
        add(0, 0, datagram(&long));
        for part in long.chunks(1_200) {
            add(1, 1_000_000, datagram(part));
        }
        // Joined on its way: one for two.
        let [one, other] = [text(2, 900), text(3, 800)];
        add(0, 200, datagram(&one));
        add(0, 300, datagram(&other));
        add(1, 1_000_300, datagram(&[one, other].concat()));
        add(0, 100, datagram(&text(4, lost_len)));
        let joined = reconcile(captures).unwrap();
        let lost = joined.passages.iter().zip(&joined.records);
        let lost: Vec<_> = lost
            .filter(|(told, _)| told.fate == Fate::Lost)
            .map(|(_, record)| record.data.len())
            .collect();
        assert_eq!(lost, [lost_len + 42]);
        assert_eq!(joined.counts()[2], 0, "all of it was sent");
        assert_eq!(joined.tally.offloaded, [[0, 1]].into());
    }
}

#[test]
fn a_damaged_datagram_hides_no_loss_of_a_long_one() {
    let ends = [1, 2].map(|host| SocketAddr::from(([10, 0, 0, host], 5000)));
    let mut captures = talk(20, MS, MS, &[], |_| 0, false);
    let at = captures[0].records[6].at;
    for (place, later_ns, payload) in [
        (0, 0, text(1, 3_000)),
        (0, 100, text(2, 50)),
        // The second one as it came.
        (1, 1_000_100, text(3, 50)),
    ] {
        let bytes = synth::udp(ends[0], ends[1], &payload);
        captures[place].add(Timestamp(at.0 + later_ns), &bytes);
    }
    let joined = reconcile(captures).unwrap();
    assert_eq!(joined.counts(), [20, 2, 1, 0]);
    assert!(joined.tally.offloaded.is_empty());
}

#[test]
fn more_packets_than_are_chosen_are_told_one_by_one_too() {
    // Each client has four packets, so that most addresses are of few.
    let count = 90_000_u32;
    let lost = |packet: u32| packet % 1_000 == 10 || packet % 1_000 == 503;
    let mut places = [Place::new("a", |_| 0), Place::new("b", |_| 77 * MS)];
    for packet in 0..count {
        let at = i128::from(packet) * MS / 20;
        let [_, high, middle, low] = (packet / 4).to_be_bytes();
        let client = SocketAddr::from(([10, 1 + high, middle, low], 4000));
        let server = SocketAddr::from(([9, 0, 0, 1], 80));
        let (near, far) = if packet % 2 == 0 { (0, 1) } else { (1, 0) };
        let (from, to) = if packet % 2 == 0 {
            (client, server)
        } else {
            (server, client)
        };
        let segment = Segment {
            seq: packet,
            flags: 0x10,
            ..Segment::new(from, to)
        };
        let data = segment.bytes();
        places[near].saw(at, Direction::Outbound, &data);
        if !lost(packet) || packet > count - 2_000 {
            places[far].saw(at + 3 * MS, Direction::Inbound, &data);
        }
    }
    let joined = reconcile(places.map(Place::capture).into()).unwrap();
    for (packet, told) in (0_u32..).zip(&joined.passages) {
        let arrived = Fate::Arrived(Duration::from_millis(3));
        let expected = if lost(packet) && packet <= count - 2_000 {
            Fate::Lost
        } else {
            arrived
        };
        assert_eq!(told.fate, expected, "{packet}");
    }
}

proptest! {
    /// Whatever stands in captures, each record is told at most once, and nothing panics.
    #[test]
    fn spoiled_captures_are_put_together_as_far_as_they_go(
        spoiled in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<u8>()), 0..40),
        cut in prop::option::of(any::<prop::sample::Index>()),
        twisted in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 0..3),
    ) {
        let mut captures = talk(40, MS, 2 * MS, &[9], |_| 5 * MS, true);
        for (which, at) in twisted {
            let records = &mut captures[1].records;
            let which = which.index(records.len());
            records[which].at = Timestamp(at);
        }
        let mut files = [0, 1].map(|place: usize| captures[place].file());
        for (second, at, byte) in spoiled {
            let file = &mut files[usize::from(second)];
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Some(cut) = cut {
            let len = cut.index(files[0].len());
            files[0].truncate(len);
        }
        let sources = files.map(|file| Source::new("spoiled", Cursor::new(file)));
        if let Ok(mut joining) = Reconciliation::of(sources.into()) {
            let mut count = 0;
            while joining.next_packet().is_some() {
                count += 1;
            }
            prop_assert!(count <= 80, "{}", count);
            prop_assert_eq!(joining.tally().packets(), count);
        }
    }
}
