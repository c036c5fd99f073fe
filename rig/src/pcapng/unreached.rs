//! Frames that one host sent to another on the same network, and that never came out there.
//!
//! A bridge between two captures loses nothing by itself. What takes a frame is the machine: the engine's firewall,
//! connection tracking that finds it invalid, netfilter for bridges, a queue that is full.

use std::collections::HashMap;
use std::time::Duration;

use super::SENTINEL_ETHERTYPE;
use super::merge::beginning;
use super::record::{Direction, InterfaceId, Record};
use crate::units::Timestamp;
use crate::wire::Ethernet;

/// How long a frame may be under way between two hosts of one network. What was sent later before the end of a capture
/// may have come after it.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// When the capture of an interface began and ended, by its sentinels.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: Timestamp,
    until: Timestamp,
}

/// The places of records that never reached the interface which they were for, and that interface. `compared` is how
/// many bytes every capture has of a long packet.
pub(super) fn find(
    records: &[Record<'_>],
    frames: &[Option<Ethernet>],
    compared: usize,
) -> Vec<(usize, InterfaceId)> {
    let owners = owners(records, frames);
    let spans = spans(records, frames);
    let mut arrived: HashMap<(InterfaceId, &[u8]), usize> = HashMap::new();
    for (record, frame) in records.iter().zip(frames) {
        // What none of the hosts sent is not looked for.
        let is_of_hosts = frame.is_some_and(|frame| owners.contains_key(&frame.source));
        if is_of_hosts && record.direction == Some(Direction::Inbound) {
            let data = beginning(&record.data, compared);
            *arrived.entry((record.interface, data)).or_default() += 1;
        }
    }
    let mut unreached = Vec::new();
    for (place, (record, frame)) in records.iter().zip(frames).enumerate() {
        let Some(frame) = frame.filter(|frame| is_sent(record, *frame)) else {
            continue;
        };
        let to = owners.get(&frame.destination).copied().flatten();
        let Some(to) = to.filter(|to| *to != record.interface) else {
            continue;
        };
        let is_covered =
            |span: &Span| record.at >= span.from && span.until.since(record.at) >= UNDER_WAY;
        match arrived.get_mut(&(to, beginning(&record.data, compared))) {
            // Of equal ones nobody can say which it was.
            Some(count) if *count > 0 => *count -= 1,
            _ if spans.get(&to).is_some_and(is_covered) => unreached.push((place, to)),
            _ => {}
        }
    }
    unreached
}

fn is_sent(record: &Record<'_>, frame: Ethernet) -> bool {
    record.direction == Some(Direction::Outbound) && frame.ether_type != SENTINEL_ETHERTYPE
}

/// The interface that has each link address; none where several have.
fn owners(
    records: &[Record<'_>],
    frames: &[Option<Ethernet>],
) -> HashMap<[u8; 6], Option<InterfaceId>> {
    let mut owners: HashMap<[u8; 6], Option<InterfaceId>> = HashMap::new();
    for (record, frame) in records.iter().zip(frames) {
        if let Some(frame) = frame.filter(|_| record.direction == Some(Direction::Outbound)) {
            let owner = owners.entry(frame.source).or_insert(Some(record.interface));
            if *owner != Some(record.interface) {
                *owner = None;
            }
        }
    }
    owners
}

fn spans(records: &[Record<'_>], frames: &[Option<Ethernet>]) -> HashMap<InterfaceId, Span> {
    let mut spans: HashMap<InterfaceId, Span> = HashMap::new();
    for (record, frame) in records.iter().zip(frames) {
        let is_own = record.direction == Some(Direction::Outbound);
        if is_own && frame.is_some_and(|frame| frame.ether_type == SENTINEL_ETHERTYPE) {
            let span = spans.entry(record.interface).or_insert(Span {
                from: record.at,
                until: record.at,
            });
            span.from = span.from.min(record.at);
            span.until = span.until.max(record.at);
        }
    }
    spans
}
