//! Flows that end before the capture does.

use std::time::Duration;

use super::tests::Script;
use super::*;
use crate::units::Timestamp;
use crate::wire::{LinkType, decode};

fn analyzer(tcp_s: u64) -> Analyzer {
    Analyzer::new(Options::default()).with_timeouts(Timeouts {
        tcp: Some(Duration::from_secs(tcp_s)),
        udp: Some(Duration::from_secs(tcp_s)),
    })
}

fn push(analyzer: &mut Analyzer, frame: u64, at_ms: u64, bytes: &[u8]) {
    let packet = decode(LinkType::Ethernet, bytes, 0).unwrap();
    analyzer.push(frame, Timestamp(at_ms * 1_000_000), &packet);
}

fn fates(flows: &[Flow]) -> Vec<(u64, ConnState, Option<Ended>)> {
    let fate = |flow: &Flow| (flow.number, flow.conn_state, flow.ended);
    flows.iter().map(fate).collect()
}

#[test]
fn a_packet_after_the_timeout_begins_a_new_flow() {
    for (gap_ms, expected) in [
        (10_000, vec![(1, ConnState::S1, None)]),
        (
            10_001,
            vec![
                (1, ConnState::S1, Some(Ended::Timeout)),
                (2, ConnState::OTH, None),
            ],
        ),
    ] {
        let mut script = Script::new();
        let mut analyzer = analyzer(10);
        for (n, bytes) in (1..).zip(script.play(">S <SA >A")) {
            push(&mut analyzer, n, n, &bytes);
        }
        push(&mut analyzer, 4, 3 + gap_ms, &script.play(">PA5")[0]);
        assert_eq!(fates(&analyzer.finish()), expected, "{gap_ms}");
    }
}

#[test]
fn closed_connections_end_soon_and_replaced_ones_once_the_new_one_is_answered() {
    let mut analyzer = analyzer(300);
    let mut script = Script::new();
    for (n, bytes) in (1..).zip(script.play(">S <SA >A >FA <FA >A")) {
        push(&mut analyzer, n, n, &bytes);
    }
    analyzer.expire(Timestamp(5_006_000_000));
    assert!(!analyzer.has_ended());
    // A late repeat belongs to it still.
    push(&mut analyzer, 7, 5_000, &script.play(">A")[0]);
    analyzer.expire(Timestamp(10_001_000_000));
    let ended = analyzer.take_ended();
    assert_eq!(fates(&ended), [(1, ConnState::SF, Some(Ended::Timeout))]);
    assert_eq!(ended[0].orig_side.pkts, 5);
    script.next = [77, 88];
    push(&mut analyzer, 8, 11_000, &script.play(">S")[0]);
    script.next = [99, 88];
    push(&mut analyzer, 9, 11_001, &script.play(">S")[0]);
    // Until then it may be told more.
    assert!(!analyzer.has_ended());
    push(&mut analyzer, 10, 11_002, &script.play("<SA")[0]);
    let ended = analyzer.take_ended();
    assert_eq!(fates(&ended), [(2, ConnState::S0, Some(Ended::Reuse))]);
    // Of several that are not answered only the last one is kept.
    for n in 1..=3 {
        script.next = [1_000_000 * u32::try_from(n).unwrap(), 88];
        push(&mut analyzer, 10 + n, 11_010 + n, &script.play(">S")[0]);
    }
    let ended = analyzer.take_ended();
    let numbers: Vec<_> = ended.iter().map(|flow| flow.number).collect();
    assert_eq!(numbers, [3, 4]);
    assert!(ended.iter().all(|flow| flow.ended == Some(Ended::Reuse)));
    let left = fates(&analyzer.finish());
    assert_eq!(
        left,
        [
            (5, ConnState::S0, Some(Ended::Reuse)),
            (6, ConnState::S0, None)
        ]
    );
}

#[test]
fn room_is_taken_by_live_flows_only() {
    const FLOWS: u64 = 20_000;
    let mut analyzer = analyzer(10);
    let (mut seen, mut most) = (0, 0);
    for n in 0..FLOWS {
        let mut script = Script::new();
        script.ends[0].set_port(u16::try_from(n % 50_000).unwrap() + 1024);
        push(&mut analyzer, n + 1, n * 100, &script.play(">S")[0]);
        seen += analyzer.take_ended().len() as u64;
        most = most.max(analyzer.room());
    }
    // A flow lives ten seconds, in which a hundred begin, and is looked at once more at most.
    assert!(most <= 250, "{most}");
    let left = analyzer.finish();
    assert_eq!(seen + left.len() as u64, FLOWS);
    assert!(left.is_sorted_by_key(|flow| flow.number));
}

#[test]
fn a_clock_that_jumps_ends_flows_and_nothing_else() {
    let mut analyzer = analyzer(10);
    let mut script = Script::new();
    let times = [u64::MAX, 0, 1_000_000_000_000_000_000, 5, u64::MAX, 0];
    for (n, (bytes, at)) in (1..).zip(script.play(">S <SA >A >PA5 <A >FA").iter().zip(times)) {
        let packet = decode(LinkType::Ethernet, bytes, 0).unwrap();
        analyzer.push(n, Timestamp(at), &packet);
    }
    let pkts = |flow: &Flow| flow.orig_side.pkts + flow.resp_side.pkts;
    assert_eq!(analyzer.finish().iter().map(pkts).sum::<u64>(), 6);
}
