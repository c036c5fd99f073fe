//! Any text as a pattern, matched against an orderly connection and a reset one.

use std::net::SocketAddr;
use std::sync::LazyLock;

use rig::analysis::{Analyzer, Event, Options};
use rig::pattern::Pattern;
use rig::units::Timestamp;
use rig::wire::synth::Segment;
use rig::wire::{LinkType, decode};

static CONNECTIONS: LazyLock<Vec<Vec<Event>>> = LazyLock::new(|| {
    // Whether the initiator sends it, flags, payload.
    let begin = [
        (true, 2, 0),
        (false, 0x12, 0),
        (true, 0x10, 0),
        (true, 0x18, 12),
    ];
    let orderly = [
        (false, 0x18, 900),
        (false, 0x11, 0),
        (true, 0x11, 0),
        (false, 0x10, 0),
    ];
    let reset = [(false, 0x10, 0), (false, 0x14, 0)];
    let with = |end: &[(bool, u8, usize)]| events(&[&begin, end].concat());
    vec![Vec::new(), with(&orderly), with(&reset)]
});

pub(crate) fn run(text: &str) {
    let pattern = match Pattern::parse(text) {
        Ok(pattern) => pattern,
        Err(error) => {
            assert!(text.get(error.offset_bytes..).is_some());
            return;
        }
    };
    for events in CONNECTIONS.iter() {
        if let Err(mismatch) = pattern.matches(events) {
            let _ = mismatch.to_string();
        }
    }
}

fn events(steps: &[(bool, u8, usize)]) -> Vec<Event> {
    let ends: [SocketAddr; 2] = [([10, 0, 0, 1], 4000).into(), ([10, 0, 0, 2], 80).into()];
    let payload = [b'x'; 1000];
    let mut next = [7, 9];
    let mut analyzer = Analyzer::new(Options {
        keep_events: true,
        keep_payload: true,
    });
    for (frame, &(initiates, flags, len)) in (1..).zip(steps) {
        let (own, peer) = if initiates { (0, 1) } else { (1, 0) };
        let bytes = Segment {
            seq: next[own],
            ack: next[peer],
            flags,
            payload: &payload[..len],
            ..Segment::new(ends[own], ends[peer])
        }
        .bytes();
        next[own] += u32::try_from(len).unwrap_or(0) + u32::from(flags & 3 != 0);
        if let Ok(packet) = decode(LinkType::Ethernet, &bytes, 0) {
            analyzer.push(frame, Timestamp(frame * 1_000_000), &packet);
        }
    }
    analyzer
        .finish()
        .pop()
        .map(|flow| flow.events)
        .unwrap_or_default()
}
