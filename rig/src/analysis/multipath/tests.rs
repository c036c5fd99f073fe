//! Connections of Multipath TCP by a model of two hosts: what was sent, and how often, is known.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::analysis::tests::analyze;
use crate::analysis::{Analyzer, Flow, Options, Sender, Timeouts};
use crate::units::Timestamp;
use crate::wire::synth::Segment;
use crate::wire::{Key, LinkType, Token, decode};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// One subflow: its ends, and the next sequence number of each.
struct Path {
    ends: [SocketAddr; 2],
    next: [u32; 2],
    isn: [u32; 2],
    /// Its initiator is the connection's responder.
    flipped: bool,
}

/// Two hosts with a connection. Sides are those of the connection.
struct Hosts {
    version: u8,
    keys: [Key; 2],
    /// Numbers of 64 bits.
    whole: bool,
    paths: Vec<Path>,
    /// The next data number of each side, and what it knows of the peer's.
    data: [u64; 2],
    packets: Vec<Vec<u8>>,
}

impl Hosts {
    fn new(version: u8, keys: [u64; 2], whole: bool) -> Self {
        let keys = keys.map(Key);
        Self {
            version,
            keys,
            whole,
            paths: Vec::new(),
            data: keys.map(|key| key.derive(version).1.wrapping_add(1)),
            packets: Vec::new(),
        }
    }

    /// A segment of a side of the connection on a path.
    fn send(&mut self, path: usize, side: usize, flags: u8, payload: &[u8], options: &[u8]) {
        let path = &mut self.paths[path];
        let me = if path.flipped { 1 - side } else { side };
        let seq = path.next[me];
        let taken = u32::from(flags & (SYN | FIN) != 0) + u32::try_from(payload.len()).unwrap();
        path.next[me] = seq.wrapping_add(taken);
        let ack = if flags & ACK == 0 {
            0
        } else {
            path.next[1 - me]
        };
        let segment = Segment {
            seq,
            ack,
            flags,
            payload,
            other_options: options,
            ..Segment::new(path.ends[me], path.ends[1 - me])
        };
        self.packets.push(segment.bytes());
    }

    /// A path with numbers that wrap around soon.
    fn path(&mut self, flipped: bool) -> usize {
        let number = u16::try_from(self.paths.len()).unwrap();
        let isn = [u32::MAX - 3 - u32::from(number), u32::MAX - 900];
        self.paths.push(Path {
            ends: [
                SocketAddr::from(([10, 0, 0, 1], 40_000 + number)),
                SocketAddr::from(([10, 0, 0, 2], 15_102)),
            ],
            next: isn,
            isn,
            flipped,
        });
        if flipped {
            self.paths.last_mut().unwrap().ends.reverse();
        }
        usize::from(number)
    }

    fn capable(&self, keys: &[Key], data_len: Option<u16>) -> Vec<u8> {
        let len = u8::try_from(4 + 8 * keys.len() + data_len.map_or(0, |_| 2)).unwrap();
        let mut option = vec![30, len, self.version, 1];
        for key in keys {
            option.extend(key.0.to_be_bytes());
        }
        option.extend(data_len.into_iter().flat_map(u16::to_be_bytes));
        option
    }

    fn begin(&mut self) {
        let path = self.path(false);
        let keys = self.keys;
        let first = if self.version == 0 { &keys[..1] } else { &[] };
        let (syn, answer) = (self.capable(first, None), self.capable(&keys[1..], None));
        let third = self.capable(&keys, None);
        self.send(path, 0, SYN, b"", &syn);
        self.send(path, 1, SYN | ACK, b"", &answer);
        self.send(path, 0, ACK, b"", &third);
    }

    /// Lets a side open a further subflow.
    fn join(&mut self, side: usize) {
        let path = self.path(side == 1);
        let (Token(token), _) = self.keys[1 - side].derive(self.version);
        let syn = [&[30, 12, 0x10, 2][..], &token.to_be_bytes(), &[9; 4]].concat();
        self.send(path, side, SYN, b"", &syn);
        let answer = [&[30, 16, 0x10, 3][..], &[7; 12]].concat();
        self.send(path, 1 - side, SYN | ACK, b"", &answer);
        self.send(
            path,
            side,
            ACK,
            b"",
            &[&[30, 24, 0x10, 0][..], &[5; 20]].concat(),
        );
        self.send(path, 1 - side, ACK, b"", &[]);
    }

    fn dss(&self, side: usize, mapping: Option<(u64, u32, u16)>, fin: bool) -> Vec<u8> {
        let first = if self.whole { 0 } else { 4 };
        let number = |number: u64| number.to_be_bytes()[first..].to_vec();
        let wide = if self.whole { 0x0a } else { 0 };
        let flags = 1 | wide | u8::from(mapping.is_some()) << 2 | u8::from(fin) << 4;
        let mut option = vec![30, 0, 0x20, flags];
        option.extend(number(self.data[1 - side]));
        if let Some((data, subflow, len)) = mapping {
            option.extend(number(data));
            option.extend(subflow.to_be_bytes());
            option.extend(len.to_be_bytes());
        }
        option[1] = u8::try_from(option.len()).unwrap();
        option
    }

    /// Sends data from a number on; on a path on which it has not been.
    fn carry(&mut self, path: usize, side: usize, data: u64, len: u16) {
        let on = &self.paths[path];
        let me = if on.flipped { 1 - side } else { side };
        let subflow = on.next[me].wrapping_sub(on.isn[me]);
        let option = self.dss(side, Some((data, subflow, len)), false);
        self.send(path, side, ACK, &vec![b'x'; len.into()], &option);
        let answer = self.dss(1 - side, None, false);
        self.send(path, 1 - side, ACK, b"", &answer);
    }

    fn data_fin(&mut self, path: usize, side: usize) {
        let option = self.dss(side, Some((self.data[side], 0, 1)), true);
        self.send(path, side, ACK, b"", &option);
        self.send(path, side, ACK, b"", &option);
        self.data[side] = self.data[side].wrapping_add(1);
        let answer = self.dss(1 - side, None, false);
        self.send(path, 1 - side, ACK, b"", &answer);
    }

    fn close(&mut self, path: usize) {
        for side in [0, 1] {
            let option = self.dss(side, None, false);
            self.send(path, side, ACK | FIN, b"", &option);
        }
        self.send(path, 0, ACK, b"", &self.dss(0, None, false));
    }

    fn fast_close(&mut self, path: usize, side: usize) {
        let key = self.keys[1 - side].0.to_be_bytes();
        let option = [&[30, 12, 0x70, 0][..], &key, &[30, 4, 0x80, 0]].concat();
        self.send(path, side, ACK | RST, b"", &option);
    }

    fn reset(&mut self, path: usize, side: usize, reason: u8) {
        self.send(path, side, ACK | RST, b"", &[30, 4, 0x80, reason]);
    }

    fn flows(&self) -> Vec<Flow> {
        analyze(&self.packets, Options::default())
    }
}

fn told(flow: &Flow) -> &Multipath {
    flow.multipath.as_deref().unwrap()
}

/// What a side of the connection is called in a flow.
fn called(flow: &Flow, side: usize) -> Sender {
    let flipped = flow.orig.ip().to_string() == "10.0.0.2";
    if (side == 1) == flipped {
        Sender::Initiator
    } else {
        Sender::Responder
    }
}

fn at(pair: [DataSide; 2], sender: Sender) -> DataSide {
    pair[usize::from(sender == Sender::Responder)]
}

/// What happens in a connection.
#[derive(Debug, Clone)]
enum Act {
    /// A side sends new data on a path.
    Send {
        side: bool,
        path: usize,
        len: u16,
    },
    /// A side sends its latest data again, on a path and with new sequence numbers there.
    Reinject {
        path: usize,
        side: bool,
    },
    /// The last packet comes once more.
    Repeat,
    Join {
        side: bool,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (any::<bool>(), 0..4_usize, 1..1400_u16)
            .prop_map(|(side, path, len)| Act::Send { side, path, len }),
        2 => (0..4_usize, any::<bool>()).prop_map(|(path, side)| Act::Reinject { path, side }),
        1 => Just(Act::Repeat),
        1 => any::<bool>().prop_map(|side| Act::Join { side }),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Nothing,
    Half(bool),
    Orderly(bool),
    Fast(bool),
    Resets(bool),
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        Just(End::Nothing),
        any::<bool>().prop_map(End::Half),
        any::<bool>().prop_map(End::Orderly),
        any::<bool>().prop_map(End::Fast),
        any::<bool>().prop_map(End::Resets),
    ]
}

/// Plays acts; gives the bytes of each side, and how many of them were sent again with new numbers of a subflow.
fn play(hosts: &mut Hosts, acts: &[Act]) -> ([u64; 2], [u64; 2]) {
    let (mut bytes, mut again) = ([0; 2], [0; 2]);
    let mut latest = [None; 2];
    for act in acts {
        match *act {
            Act::Send { side, path, len } => {
                let side = usize::from(side);
                let (path, data) = (path % hosts.paths.len(), hosts.data[side]);
                hosts.data[side] = data.wrapping_add(len.into());
                hosts.carry(path, side, data, len);
                bytes[side] += u64::from(len);
                latest[side] = Some((data, len));
            }
            Act::Reinject { path, side } => {
                let side = usize::from(side);
                if let Some((data, len)) = latest[side] {
                    hosts.carry(path % hosts.paths.len(), side, data, len);
                    again[side] += u64::from(len);
                }
            }
            Act::Repeat => {
                let last = hosts.packets.last().unwrap().clone();
                hosts.packets.push(last);
            }
            Act::Join { side } if hosts.paths.len() < 4 => hosts.join(side.into()),
            Act::Join { .. } => {}
        }
    }
    (bytes, again)
}

fn finish(hosts: &mut Hosts, end: End) -> (MultipathFate, Option<usize>) {
    let last = hosts.paths.len() - 1;
    match end {
        End::Nothing => (MultipathFate::Open, None),
        End::Half(side) => {
            hosts.data_fin(last, side.into());
            (MultipathFate::HalfClosed, Some(side.into()))
        }
        End::Orderly(side) => {
            hosts.data_fin(last, side.into());
            hosts.data_fin(0, (!side).into());
            (0..=last).for_each(|path| hosts.close(path));
            (MultipathFate::Orderly, Some(side.into()))
        }
        End::Fast(side) => {
            (0..=last).for_each(|path| hosts.fast_close(path, side.into()));
            (MultipathFate::Fastclosed, Some(side.into()))
        }
        End::Resets(side) => {
            (0..=last).for_each(|path| hosts.reset(path, side.into(), 6));
            (MultipathFate::Reset, None)
        }
    }
}

proptest! {
    #[test]
    fn a_connection_is_told_as_it_was(
        keys: [u64; 2], version in 0..2_u8, whole: bool,
        acts in prop::collection::vec(act(), 0..24), end in end(),
    ) {
        let mut hosts = Hosts::new(version, keys, whole);
        hosts.begin();
        let (bytes, again) = play(&mut hosts, &acts);
        let (fate, closer) = finish(&mut hosts, end);
        let flows = hosts.flows();
        prop_assert_eq!(flows.len(), hosts.paths.len());
        let (token, _) = Key(keys[1]).derive(version);
        let mut reinjected = [0; 2];
        for flow in &flows {
            let multipath = told(flow);
            let connection = multipath.connection.unwrap();
            prop_assert_eq!(multipath.token, Some(token));
            prop_assert_eq!(multipath.fallback, None);
            prop_assert_eq!(connection.subflows as usize, flows.len());
            prop_assert_eq!(connection.fate, fate);
            prop_assert_eq!(connection.closed_by, closer.map(|side| called(flow, side)));
            for side in [0, 1] {
                let here = called(flow, side);
                let data = at(connection.sides, here);
                prop_assert_eq!(data.bytes, bytes[side]);
                reinjected[side] += multipath.reinjected_bytes[usize::from(here == Sender::Responder)];
                let finished = matches!(end, End::Orderly(_)) || end == End::Half(side == 1);
                prop_assert_eq!(data.fin.is_some(), finished);
                let trouble = match here {
                    Sender::Initiator => &flow.orig_side,
                    Sender::Responder => &flow.resp_side,
                }.trouble.as_deref();
                prop_assert_eq!(trouble.map_or(0, |trouble| trouble.keep_alives), 0);
            }
        }
        prop_assert_eq!(reinjected, again);
        let joined = flows[1..].iter().all(|flow| told(flow).joined == Some(Joined::Accepted));
        prop_assert!(joined);
    }

    #[test]
    fn whatever_options_come_nothing_panics_and_bytes_stay_below_what_was_sent(
        packets in prop::collection::vec(
            (any::<bool>(), 0..64_u8, 0..20_usize, prop::collection::vec(any::<u8>(), 0..37), 0..9_u8),
            0..40,
        ),
    ) {
        let mut hosts = Hosts::new(1, [1, 2], true);
        hosts.begin();
        let mut sent = 0;
        for (side, flags, len, mut option, subtype) in packets {
            option.splice(0..0, [30, u8::try_from(option.len()).unwrap() + 3, subtype << 4]);
            hosts.send(0, side.into(), flags, &vec![b'x'; len], &option);
            sent += len as u64;
        }
        for flow in hosts.flows() {
            let connection = flow.multipath.and_then(|multipath| multipath.connection);
            for side in connection.into_iter().flat_map(|connection| connection.sides) {
                prop_assert!(side.bytes <= sent);
            }
        }
    }
}

#[test]
fn a_data_fin_and_what_answers_it_are_no_duplicate_acknowledgements() {
    let mut hosts = Hosts::new(1, [3, 4], true);
    hosts.begin();
    hosts.carry(0, 0, hosts.data[0], 10);
    hosts.data[0] = hosts.data[0].wrapping_add(10);
    hosts.data_fin(0, 0);
    hosts.data_fin(0, 1);
    hosts.close(0);
    let flow = hosts.flows().remove(0);
    for side in [&flow.orig_side, &flow.resp_side] {
        let trouble = side.trouble.as_deref();
        assert_eq!(trouble.map_or(0, |trouble| trouble.duplicate_acks), 0);
    }
    // The same acknowledgement without anything new is one.
    let dss = hosts.dss(1, None, false);
    let mut hosts = Hosts::new(1, [3, 4], true);
    hosts.begin();
    for _ in 0..3 {
        hosts.send(0, 1, ACK, b"", &dss);
    }
    let flow = hosts.flows().remove(0);
    assert_eq!(flow.resp_side.trouble.unwrap().duplicate_acks, 2);
}

#[test]
fn a_connection_that_is_not_answered_or_confirmed_is_plain() {
    let mut hosts = Hosts::new(1, [5, 6], true);
    let path = hosts.path(false);
    let syn = hosts.capable(&[], None);
    hosts.send(path, 0, SYN, b"", &syn);
    hosts.send(path, 1, SYN | ACK, b"", &[]);
    hosts.send(path, 0, ACK, b"hello", &[]);
    let flow = hosts.flows().remove(0);
    assert_eq!(told(&flow).fallback, Some(Fallback::NotAnswered));
    assert_eq!(told(&flow).connection, None);
    let mut hosts = Hosts::new(1, [5, 6], true);
    hosts.begin();
    hosts.packets.pop();
    hosts.send(0, 0, ACK, b"hello", &[]);
    let flow = hosts.flows().remove(0);
    assert_eq!(told(&flow).fallback, Some(Fallback::NotConfirmed));
    assert_eq!(told(&flow).connection, None);
    let mut hosts = Hosts::new(1, [5, 6], true);
    hosts.begin();
    let endless = hosts.dss(0, Some((hosts.data[0], 1, 0)), false);
    hosts.send(0, 0, ACK, b"hello", &endless);
    let flow = hosts.flows().remove(0);
    assert_eq!(told(&flow).fallback, Some(Fallback::InfiniteMapping));
}

#[test]
fn a_join_is_accepted_refused_or_not_finished() {
    let after = |packets: usize, reset: bool| {
        let mut hosts = Hosts::new(1, [7, 8], true);
        hosts.begin();
        let before = hosts.packets.len();
        hosts.join(0);
        hosts.packets.truncate(before + packets);
        if reset {
            hosts.reset(1, 1, 2);
        }
        let flows = hosts.flows();
        let multipath = told(&flows[1]);
        assert_eq!(multipath.role, Some(Role::Join));
        assert_eq!(multipath.token, told(&flows[0]).token);
        assert_eq!(multipath.address_ids[0], Some(2));
        let subflows = multipath.connection.unwrap().subflows;
        (multipath.joined.unwrap(), subflows, flows[1].remarks())
    };
    assert_eq!(after(4, false).0, Joined::Accepted);
    assert_eq!(after(4, true).1, 2);
    for packets in 1..4 {
        let (joined, subflows, _) = after(packets, false);
        assert_eq!((joined, subflows), (Joined::Unfinished, 1), "{packets}");
        let (joined, subflows, remarks) = after(packets, true);
        assert_eq!((joined, subflows), (Joined::Refused, 1), "{packets}");
        let reason = "< RST with reason 2 (lack of resources)".to_owned();
        assert!(remarks.contains(&reason), "{remarks:?}");
    }
}

#[test]
fn a_join_of_a_connection_that_began_earlier_has_its_own_name() {
    let mut hosts = Hosts::new(1, [9, 10], true);
    hosts.begin();
    hosts.packets.clear();
    hosts.join(0);
    hosts.join(0);
    hosts.carry(1, 0, hosts.data[0], 10);
    hosts.carry(2, 0, hosts.data[0], 10);
    let flows = hosts.flows();
    let (token, _) = Key(10).derive(1);
    for flow in &flows {
        assert_eq!(told(flow).token, Some(token));
        assert_eq!(told(flow).connection.unwrap().sides[0].bytes, 10);
    }
    assert_eq!(told(&flows[1]).reinjected_bytes, [10, 0]);
}

#[test]
fn a_flow_that_begins_midstream_is_told_as_far_as_it_goes() {
    let mut hosts = Hosts::new(1, [11, 12], true);
    hosts.begin();
    hosts.packets.clear();
    for _ in 0..3 {
        hosts.carry(0, 0, hosts.data[0], 10);
        hosts.data[0] = hosts.data[0].wrapping_add(10);
    }
    hosts.data_fin(0, 0);
    let flow = hosts.flows().remove(0);
    let connection = told(&flow).connection.unwrap();
    assert_eq!((told(&flow).role, told(&flow).token), (None, None));
    assert_eq!(connection.fate, MultipathFate::HalfClosed);
    assert_eq!(connection.sides[0].bytes, 30);
    assert_eq!(connection.sides[0].fin, Some(DataFin::Acknowledged));
}

#[test]
fn a_flow_that_begins_within_a_mapping_is_counted_from_the_next_one_on() {
    let mut hosts = Hosts::new(1, [11, 12], true);
    hosts.begin();
    // Offloads give each piece of a mapping the option of the whole.
    for _ in 0..3 {
        let on = &hosts.paths[0];
        let subflow = on.next[0].wrapping_sub(on.isn[0]);
        for _ in 0..10 {
            let option = hosts.dss(0, Some((hosts.data[0], subflow, 100)), false);
            hosts.send(0, 0, ACK, &[b'x'; 10], &option);
        }
        hosts.data[0] = hosts.data[0].wrapping_add(100);
    }
    // The handshake and eight pieces are not captured.
    hosts.packets.drain(..3 + 8);
    let flow = hosts.flows().remove(0);
    let connection = told(&flow).connection.unwrap();
    assert_eq!(connection.sides[0].bytes, 220);
}

#[test]
fn a_join_whose_third_segment_was_not_captured_is_accepted_by_what_its_responder_sends() {
    let mut hosts = Hosts::new(1, [11, 12], true);
    hosts.begin();
    hosts.join(0);
    let third = hosts.packets.len() - 2;
    hosts.packets.remove(third);
    hosts.carry(1, 1, hosts.data[1], 10);
    let flow = hosts.flows().remove(1);
    assert_eq!(told(&flow).joined, Some(Joined::Accepted));
    assert_eq!(told(&flow).connection.unwrap().subflows, 2);
}

#[test]
fn connections_are_forgotten_with_their_last_flow() {
    let timeout = std::time::Duration::from_secs(1);
    let timeouts = Timeouts {
        tcp: Some(timeout),
        ..Timeouts::default()
    };
    let mut analyzer = Analyzer::new(Options::default()).with_timeouts(timeouts);
    let mut frame = 0;
    for key in 0..50 {
        let mut hosts = Hosts::new(1, [key, key + 1000], true);
        hosts.begin();
        hosts.join(0);
        for bytes in &hosts.packets {
            frame += 1;
            let packet = decode(LinkType::Ethernet, bytes, 0).unwrap();
            analyzer.push(frame, Timestamp(frame * 500_000_000), &packet);
        }
        assert!(analyzer.connections().len() <= 3);
    }
    let flows: Vec<_> = analyzer.into_flows().collect();
    assert_eq!(flows.len(), 100);
}
