//! Conversations by script: what each must be called.
//!
//! A script is a row of segments, `>` from the initiator and `<` back, with the first letters of
//! their flags (`S F R P A`), the payload length, and where it does not follow on, `@` with the
//! distance from where it would: `>S <SA >A >PA5 >PA5@-5 <A`. `w` makes the window zero.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::reconcile::Fate;
use crate::units::Timestamp;
use crate::wire::synth::{self, Segment};
use crate::wire::{LinkType, decode};

const MILLISECOND_NS: u64 = 1_000_000;

pub(super) fn initiator() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 40_000))
}

fn responder() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 15_102))
}

/// Makes the segments of a script, each side numbering on from where it stands.
pub(super) struct Script {
    pub(super) ends: [SocketAddr; 2],
    pub(super) next: [u32; 2],
}

impl Script {
    pub(super) fn new() -> Self {
        Self {
            ends: [initiator(), responder()],
            // Both sides wrap around within the first bytes.
            next: [u32::MAX - 3, u32::MAX],
        }
    }

    pub(super) fn play(&mut self, script: &str) -> Vec<Vec<u8>> {
        script
            .split_whitespace()
            .map(|word| self.segment(word))
            .collect()
    }

    fn segment(&mut self, word: &str) -> Vec<u8> {
        let (word, shift) = word.split_once('@').unwrap_or((word, "0"));
        let shift: i32 = shift.parse().unwrap();
        let (me, peer) = if word.starts_with('>') {
            (0, 1)
        } else {
            (1, 0)
        };
        let letters = word[1..].trim_end_matches(|c: char| c.is_ascii_digit());
        let len: usize = word[1 + letters.len()..].parse().unwrap_or(0);
        let bit = |letter, bit| if letters.contains(letter) { bit } else { 0 };
        let flags = bit('F', 1) | bit('S', 2) | bit('R', 4) | bit('P', 8) | bit('A', 16);
        let payload = vec![b'x'; len];
        let seq = self.next[me].wrapping_add_signed(shift);
        let taken = u32::try_from(len).unwrap() + u32::from((flags & 1) + (flags >> 1 & 1));
        let end = seq.wrapping_add(taken);
        if end.wrapping_sub(self.next[me]).cast_signed() > 0 {
            self.next[me] = end;
        }
        let segment = Segment {
            seq,
            ack: self.next[peer],
            flags,
            window: if letters.contains('w') { 0 } else { 64_240 },
            payload: &payload,
            ..Segment::new(self.ends[me], self.ends[peer])
        };
        segment.bytes()
    }
}

pub(super) fn analyze(packets: &[Vec<u8>], options: Options) -> Vec<Flow> {
    let mut analyzer = Analyzer::new(options);
    for (frame, bytes) in (1..).zip(packets) {
        let packet = decode(LinkType::Ethernet, bytes, 0).unwrap();
        analyzer.push(frame, Timestamp(frame * MILLISECOND_NS), &packet);
    }
    analyzer.finish()
}

#[test]
fn what_is_known_of_a_packet_s_way_decides_whom_it_closes() {
    use RfcState::{Closed, Established, FinWait1};
    let talk = ">S <SA >A >PA5 <A ";
    let (lost, unsent) = (Fate::Lost, Fate::Unsent);
    for (last, fate, states, closed_by) in [
        (">RA", lost, [Closed, Established], Some(Closer::Initiator)),
        (
            ">FA",
            lost,
            [FinWait1, Established],
            Some(Closer::Initiator),
        ),
        ("<R", unsent, [Closed, Established], Some(Closer::Neither)),
        (
            "<R",
            Fate::Unwatched,
            [Closed, Closed],
            Some(Closer::Responder),
        ),
    ] {
        let packets = Script::new().play(&(talk.to_owned() + last));
        let mut analyzer = Analyzer::new(Options {
            keep_events: true,
            keep_payload: false,
        });
        for (frame, bytes) in (1..).zip(&packets) {
            let packet = decode(LinkType::Ethernet, bytes, 0).unwrap();
            let fate = if frame == 6 { fate } else { Fate::Unwatched };
            analyzer.push_with_fate(frame, Timestamp(frame), &packet, fate);
        }
        let flow = analyzer.finish().remove(0);
        let came = [&flow.orig_side, &flow.resp_side].map(|side| side.state.unwrap());
        assert_eq!(came, states, "{last} {fate:?}");
        assert_eq!(flow.closed_by, closed_by, "{last} {fate:?}");
        let final_event = flow.events.last().unwrap();
        assert_eq!(
            (final_event.lost, final_event.foreign),
            (fate == lost, fate == unsent)
        );
    }
}

fn flow_of(script: &str) -> Flow {
    let packets = Script::new().play(script);
    let mut flows = analyze(
        &packets,
        Options {
            keep_events: true,
            keep_payload: true,
        },
    );
    assert_eq!(flows.len(), 1, "{script}");
    flows.remove(0)
}

/// Script, fate, history, completeness, who closed, bytes each way.
type Case = (
    &'static str,
    ConnState,
    &'static str,
    u8,
    Option<Sender>,
    [u64; 2],
);

const INITIATOR: Option<Sender> = Some(Sender::Initiator);
const RESPONDER: Option<Sender> = Some(Sender::Responder);

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Attempts.
    (">S", ConnState::S0, "S", 1, None, [0, 0]),
    (">S >S@-1 >S@-1", ConnState::S0, "S", 1, None, [0, 0]),
    (">S <RA", ConnState::REJ, "Sr", 37, RESPONDER, [0, 0]),
    (">S >R", ConnState::RSTOS0, "SR", 33, INITIATOR, [0, 0]),
    (">S >FA", ConnState::SH, "SF", 21, INITIATOR, [0, 0]),
    (">S <A >R", ConnState::RSTOS0, "SaR", 37, INITIATOR, [0, 0]),
    // Handshake, and how it goes on.
    (">S <SA >A", ConnState::S1, "ShA", 7, None, [0, 0]),
    (">S <SA", ConnState::S1, "Sh", 3, None, [0, 0]),
    (">S <SA >A >PA5 <A <PA7 >A", ConnState::S1, "ShADad", 15, None, [5, 7]),
    (">S <SA >A >PA5 <A >FA", ConnState::S2, "ShADaF", 31, INITIATOR, [5, 0]),
    (">S <SA >A >PA5 <A <FA >A", ConnState::S3, "ShADaf", 31, RESPONDER, [5, 0]),
    (">S <SA >A >PA4 <A <PA7 <FA >A >FA <A", ConnState::SF, "ShADadfF", 31, RESPONDER, [4, 7]),
    (">S <SA >A >PA4 <A >FA <FA >A", ConnState::SF, "ShADaFf", 31, INITIATOR, [4, 0]),
    (">S <SA >A >FA <FA >A <A", ConnState::SF, "ShAFfa", 23, INITIATOR, [0, 0]),
    (">S <SA >A >FPA5 <FPA7 >A", ConnState::SF, "ShAFf", 31, INITIATOR, [5, 7]),
    // Resets.
    (">S <SA >A >PA5 >RA", ConnState::RSTO, "ShADR", 47, INITIATOR, [5, 0]),
    (">S <SA >A >PA5 <RA", ConnState::RSTR, "ShADr", 47, RESPONDER, [5, 0]),
    (">S <SA >R", ConnState::RSTO, "ShR", 35, INITIATOR, [0, 0]),
    (">S <SA >A <FA >A >PA5 <R <R", ConnState::RSTR, "ShAfDr", 63, RESPONDER, [5, 0]),
    (">S <SA >A <FA >A >PA5 >FA <R", ConnState::SF, "ShAfDFr", 63, RESPONDER, [5, 0]),
    (">S <SA >A >FA <A >RA", ConnState::RSTO, "ShAFaR", 55, INITIATOR, [0, 0]),
    // Without the initiator's SYN.
    ("<SA >A", ConnState::S1, "^hA", 6, None, [0, 0]),
    ("<SA <R", ConnState::RSTRH, "^hr", 34, RESPONDER, [0, 0]),
    ("<SA >R", ConnState::RSTO, "^hR", 34, INITIATOR, [0, 0]),
    ("<SA <FA", ConnState::SHR, "^hf", 22, RESPONDER, [0, 0]),
    ("<SA >A >PA5 <A >FA <FA", ConnState::SF, "^hADaFf", 30, INITIATOR, [5, 0]),
    ("<SA >S@-1 >A", ConnState::S1, "^hSA", 7, None, [0, 0]),
    // Midstream.
    (">PA5 <A", ConnState::OTH, "Da", 12, None, [5, 0]),
    (">PA5 <PA7 >A", ConnState::OTH, "DdA", 12, None, [5, 7]),
    (">PA5 <A >FA <FA", ConnState::SF, "DaFf", 28, INITIATOR, [5, 0]),
    (">RA", ConnState::OTH, "R", 36, INITIATOR, [0, 0]),
    (">PA5 <R", ConnState::RSTRH, "Dr", 40, RESPONDER, [5, 0]),
    // Simultaneous open, and flags that do not go together.
    (">S <S >SA@-1 <SA@-1", ConnState::S1, "Ss", 3, None, [0, 0]),
    (">SF", ConnState::SH, "Q", 1, INITIATOR, [0, 0]),
    (">S <SA >A >FR", ConnState::RSTO, "ShAI", 39, INITIATOR, [0, 0]),
    // Sent again: SYN, SYN-ACK, payload, FIN.
    (">S <SA <SA@-1 >A", ConnState::S1, "ShA", 7, None, [0, 0]),
    (">S <SA >A >PA5 >PA5@-5 <A", ConnState::S1, "ShADTa", 15, None, [5, 0]),
    (">S <SA >A >FA >FA@-1 >FA@-1 >RA", ConnState::RSTO, "ShAFR", 55, INITIATOR, [0, 0]),
    // A keep-alive of one byte and of none.
    (">S <SA >A >PA5 <A >A1@-1 <A >A@-1 <A", ConnState::S1, "ShADa", 15, None, [5, 0]),
    // A zero window.
    (">S <SA >A >PA5 <Aw <A", ConnState::S1, "ShADaw", 15, None, [5, 0]),
    // Bytes that the capture does not hold, acknowledged, and bytes that came late.
    (">S <SA >A >PA5@5 <A", ConnState::S1, "ShADaG", 15, None, [10, 0]),
    (">S <SA >A >PA5@5 >PA5@-10 <A", ConnState::S1, "ShADa", 15, None, [10, 0]),
];

#[test]
fn every_conversation_has_its_name() {
    for (script, conn_state, history, completeness, closed_by, bytes) in CASES {
        let flow = flow_of(script);
        assert_eq!(flow.conn_state, *conn_state, "{script}");
        assert_eq!(flow.history, *history, "{script}");
        assert_eq!(flow.completeness, *completeness, "{script}");
        assert_eq!(flow.closed_by, closed_by.map(Into::into), "{script}");
        assert_eq!(
            [flow.orig_side.bytes, flow.resp_side.bytes],
            *bytes,
            "{script}"
        );
        assert_eq!(flow.orig, initiator(), "{script}");
    }
}

#[test]
fn every_fate_is_among_the_conversations() {
    for state in ConnState::ALL {
        assert!(CASES.iter().any(|case| case.1 == state), "{state}");
    }
}

/// Sender, name, relative sequence number, length, and marks of each event.
fn shown(flow: &Flow) -> Vec<String> {
    let mark = |set, text| if set { text } else { "" };
    flow.events
        .iter()
        .map(|e| {
            format!(
                "{} {} {}+{}{}{}",
                e.sender.arrow(),
                e.kind,
                e.seq,
                e.len_bytes,
                mark(e.retransmission, " again"),
                mark(e.coalesced, " coalesced"),
            )
        })
        .collect()
}

#[test]
fn events_carry_what_patterns_ask_for() {
    let flow = flow_of(">S >S@-1 <SA >A >PA5 >FPA3 >FPA3@-4 <FA <FA@-1 >A");
    let expected = [
        "> SYN 0+0",
        "> SYN 0+0 again",
        "< SYN-ACK 0+0",
        "> ACK 1+0",
        "> DATA 1+5",
        "> DATA 6+3",
        "> FIN 6+0",
        "> DATA 6+3 again",
        "> FIN 6+0 again",
        "< FIN 1+0",
        "< FIN 1+0 again",
        "> ACK 10+0",
    ];
    assert_eq!(shown(&flow), expected);
    assert_eq!(flow.orig_side.retransmissions(), 2);
    assert_eq!(flow.resp_side.retransmissions(), 1);
    let first = &flow.events[4];
    assert_eq!(
        (first.frame, first.ack, &first.payload[..]),
        (5, 1, &b"xxxxx"[..])
    );
    assert_eq!(flow.events[8].at.since(flow.events[6].at).as_millis(), 1);
}

#[test]
fn payload_joined_in_a_retransmission_is_told() {
    let flow = flow_of(">S <SA >A >PA5 >PA5 >PA10@-10 >PA8@-5 <A");
    let expected = [
        "> DATA 1+5",
        "> DATA 6+5",
        "> DATA 1+10 again coalesced",
        "> DATA 6+8 again coalesced",
    ];
    assert_eq!(shown(&flow)[3..7], expected);
    assert_eq!(flow.orig_side.bytes, 13);
}

#[test]
fn late_payload_and_keep_alives_are_no_retransmissions() {
    let flow = flow_of(">S <SA >A >PA5@5 >PA5@-10 <A >A1@-1 <A >PA1 >PA1@-1 <A");
    let expected = [
        "> DATA 6+5",
        "> DATA 1+5",
        "< ACK 1+0",
        "> ACK 10+0",
        "< ACK 1+0",
        "> DATA 11+1",
        "> DATA 11+1 again",
        "< ACK 1+0",
    ];
    assert_eq!(shown(&flow)[3..], expected);
    assert_eq!(flow.orig_side.retransmissions(), 1);
    assert_eq!(flow.orig_side.missed_bytes, 0);
}

#[test]
fn a_new_syn_begins_a_new_flow_on_the_same_ports() {
    let mut script = Script::new();
    let mut packets = script.play(">S <SA >A >FA <FA >A");
    script.next = [900, 5_000];
    packets.extend(script.play(">S >S@-1 <SA >A >PA5 <RA"));
    script.next = [7_000, 100];
    packets.extend(script.play(">S <RA"));
    let flows = analyze(&packets, Options::default());
    let fates: Vec<_> = flows
        .iter()
        .map(|f| (f.first_frame, f.conn_state))
        .collect();
    let expected = [
        (1, ConnState::SF),
        (7, ConnState::RSTR),
        (13, ConnState::REJ),
    ];
    assert_eq!(fates, expected);
    assert_eq!(flows[1].orig_side.pkts, 4);
}

#[test]
fn two_ends_on_one_address_are_told_apart() {
    let mut script = Script::new();
    script.ends = [
        SocketAddr::from(([127, 0, 0, 1], 50_000)),
        SocketAddr::from(([127, 0, 0, 1], 15_102)),
    ];
    let packets = script.play(">S <SA >A >PA5 <A <FA >FA <A");
    let flows = analyze(&packets, Options::default());
    assert_eq!(flows.len(), 1);
    assert_eq!(flows[0].orig.port(), 50_000);
    assert_eq!(flows[0].conn_state, ConnState::SF);
    assert_eq!([flows[0].orig_side.pkts, flows[0].resp_side.pkts], [4, 4]);
}

#[test]
fn midstream_the_well_known_port_is_the_responders() {
    let mut script = Script::new();
    script.ends[0].set_port(443);
    let flows = analyze(&script.play(">PA5 <A"), Options::default());
    assert_eq!(flows[0].resp.port(), 443);
    assert_eq!(flows[0].history, "^dA");
}

#[test]
fn windows_are_scaled_when_both_sides_offer_it() {
    let offer = [etherparse::TcpOptionElement::WindowScale(7)];
    let segment = |forth: bool, flags, scaled: bool| {
        let (from, to) = if forth {
            (initiator(), responder())
        } else {
            (responder(), initiator())
        };
        let segment = Segment {
            flags,
            seq: u32::from(flags & 2 == 0),
            ack: 1,
            window: 500,
            options: if scaled { &offer } else { &[] },
            ..Segment::new(from, to)
        };
        segment.bytes()
    };
    for (answer_scaled, expected) in [(true, 64_000), (false, 500)] {
        let packets = [
            segment(true, 2, true),
            segment(false, 18, answer_scaled),
            segment(true, 16, false),
        ];
        let flows = analyze(
            &packets,
            Options {
                keep_events: true,
                ..Options::default()
            },
        );
        let windows: Vec<_> = flows[0].events.iter().map(|e| e.win_bytes).collect();
        assert_eq!(windows, [500, 500, expected]);
        assert_eq!(flows[0].orig_side.syn.unwrap().window_scale, Some(7));
    }
}

#[test]
fn udp_conversations_have_the_same_form() {
    let (client, server) = (initiator(), responder());
    let packets = [
        synth::udp(client, server, b"hello"),
        synth::udp(server, client, b"hi"),
        synth::udp(client, server, b""),
    ];
    let flow = &analyze(
        &packets,
        Options {
            keep_events: true,
            ..Options::default()
        },
    )[0];
    assert_eq!((flow.proto, flow.conn_state), (Proto::Udp, ConnState::SF));
    assert_eq!(flow.history, "Dd");
    assert_eq!([flow.orig_side.bytes, flow.resp_side.bytes], [5, 2]);
    assert_eq!(
        [flow.orig_side.ip_bytes, flow.resp_side.ip_bytes],
        [33 + 28, 30]
    );
    assert_eq!(flow.events.len(), 3);
    let alone = &analyze(&packets[..1], Options::default())[0];
    assert_eq!(alone.conn_state, ConnState::S0);
}

proptest! {
    /// No order of flags and numbers, however hostile, brings the counters out of step.
    #[test]
    fn any_segments_add_up(
        segments in prop::collection::vec(
            (any::<bool>(), any::<u8>(), any::<u32>(), any::<u32>(), 0..100_usize),
            1..60,
        ),
    ) {
        let packets: Vec<_> = segments
            .iter()
            .map(|&(forth, flags, seq, ack, len)| {
                let (from, to) = if forth {
                    (initiator(), responder())
                } else {
                    (responder(), initiator())
                };
                let payload = vec![0; len];
                // Often near the numbers' end, where they wrap around.
                let seq = if seq % 3 == 0 { seq } else { u32::MAX - seq % 64 };
                let segment = Segment { flags, seq, ack, payload: &payload, ..Segment::new(from, to) };
                segment.bytes()
            })
            .collect();
        let flows = analyze(&packets, Options { keep_events: true, keep_payload: true });
        let count: u64 = flows.iter().map(|f| f.orig_side.pkts + f.resp_side.pkts).sum();
        prop_assert_eq!(count, packets.len() as u64);
        for flow in &flows {
            prop_assert!(flow.events.len() as u64 >= flow.orig_side.pkts + flow.resp_side.pkts);
            prop_assert!(flow.events.iter().all(|e| e.payload.len() <= MAX_PAYLOAD_KEPT_BYTES));
        }
    }
}

#[test]
fn loopback_addresses_of_two_places_are_two() {
    let (client, server) = (
        "127.0.0.1:4000".parse().unwrap(),
        "127.0.0.1:80".parse().unwrap(),
    );
    let syn = Segment {
        flags: 0x02,
        ..Segment::new(client, server)
    };
    let bytes = syn.bytes();
    let packet = decode(LinkType::Ethernet, &bytes, 54).unwrap();
    let mut analyzer = Analyzer::new(Options::default());
    for (frame, place) in [(1, 0), (2, 3), (3, 0)] {
        analyzer.at_place(place);
        analyzer.push(frame, Timestamp(frame), &packet);
    }
    let packets: Vec<_> = analyzer
        .into_flows()
        .map(|flow| flow.orig_side.pkts)
        .collect();
    assert_eq!(packets, [2, 1]);
}
