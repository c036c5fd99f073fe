//! Packets that hosts forwarded, among the captures of many.
//!
//! The host of a link sends on what it received, with other Ethernet addresses and one hop less. As
//! sent, such a packet is the same one: it was recorded where it began its way. What the host made
//! itself is not: copies, answers, packets that it translated or damaged.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use super::merge::beginning;
use super::record::{Direction, InterfaceId, Record};
use crate::units::Timestamp;
use crate::wire::{Compared, Ethernet, LinkType, digest, hash_identity};

/// Length of an Ethernet header.
const ETHERNET_BYTES: usize = 14;

/// A record by its place.
type Place = usize;

/// What stays the same of a packet on its way, as two numbers keyed at random.
type Identity = [u64; 2];

/// What was forwarded.
#[derive(Debug, Default)]
pub(super) struct Forwarded {
    /// Records of packets that are recorded where their way began, too.
    pub(super) again: HashSet<Place>,
    /// Records of packets that a forwarding host sent a second time.
    pub(super) copies: Vec<Place>,
    /// Where the way began of what arrived at an interface of a forwarding host: by the interface
    /// and the beginning of the packet, with the times of equal ones.
    pub(super) origins: HashMap<(InterfaceId, u64), Vec<(Timestamp, Place)>>,
    /// When the packet whose way began at this record was sent on for the last time.
    pub(super) sent_on: HashMap<Place, Timestamp>,
}

/// Finds what was forwarded among records in order of time. `forwards` tells the hosts that forward:
/// the number of the host of each of their interfaces.
pub(super) fn find(
    records: &[Record<'static>],
    forwards: &HashMap<InterfaceId, usize>,
    compared: usize,
) -> Forwarded {
    let mut finder = Finder {
        keys: [RandomState::new(), RandomState::new()],
        compared,
        macs: macs(records, forwards),
        sent: HashMap::new(),
        taken: HashMap::new(),
        passing: HashMap::new(),
        met: HashSet::new(),
        found: Forwarded::default(),
    };
    for (place, record) in records.iter().enumerate() {
        let host = forwards.get(&record.interface).copied();
        match record.direction {
            Some(Direction::Outbound) => finder.sends(place, record, host),
            Some(Direction::Inbound) => {
                if let Some(host) = host {
                    finder.receives(record, host);
                }
            }
            None => {}
        }
    }
    finder.found
}

/// The link-layer address of each forwarding interface, by what it sent: its sentinel at least.
fn macs(
    records: &[Record<'static>],
    forwards: &HashMap<InterfaceId, usize>,
) -> HashMap<InterfaceId, [u8; 6]> {
    let sent = records.iter().filter(|record| {
        record.direction == Some(Direction::Outbound) && forwards.contains_key(&record.interface)
    });
    sent.filter_map(|record| Some((record.interface, Ethernet::read(&record.data)?.source)))
        .collect()
}

struct Finder<'a> {
    keys: [RandomState; 2],
    /// How many bytes every capture has of a long packet.
    compared: usize,
    macs: HashMap<InterfaceId, [u8; 6]>,
    /// Where the way of each frame that was sent began; equal ones in order.
    sent: HashMap<&'a [u8], Vec<Place>>,
    /// How many of equal frames each forwarding host has received.
    taken: HashMap<(usize, &'a [u8]), usize>,
    /// What each forwarding host has received and not yet sent on.
    passing: HashMap<(usize, Identity), VecDeque<Place>>,
    met: HashSet<(usize, Identity)>,
    found: Forwarded,
}

impl<'a> Finder<'a> {
    /// A frame is sent, by a host that forwards or by another one.
    fn sends(&mut self, place: Place, record: &'a Record<'static>, host: Option<usize>) {
        let mut origin = place;
        if let Some(packet) = host.zip(self.identity(record)) {
            let waiting = self.passing.get_mut(&packet);
            if let Some(began) = waiting.and_then(VecDeque::pop_front) {
                origin = began;
                self.found.again.insert(place);
                self.found.sent_on.insert(began, record.at);
            } else if self.met.contains(&packet) {
                self.found.copies.push(place);
            }
        }
        let data = beginning(&record.data, self.compared);
        self.sent.entry(data).or_default().push(origin);
    }

    /// A host that forwards receives a frame.
    fn receives(&mut self, record: &'a Record<'static>, host: usize) {
        let is_for_it = Ethernet::read(&record.data)
            .zip(self.macs.get(&record.interface))
            .is_some_and(|(frame, mac)| frame.destination == *mac);
        let Some(identity) = self.identity(record).filter(|_| is_for_it) else {
            return;
        };
        let data = beginning(&record.data, self.compared);
        let number = self.taken.entry((host, data)).or_default();
        let began = self.sent.get(data);
        let began = began.and_then(|all| all.get(*number)).copied();
        *number += 1;
        let Some(began) = began else {
            return;
        };
        self.passing
            .entry((host, identity))
            .or_default()
            .push_back(began);
        self.met.insert((host, identity));
        let packet = record.data.get(ETHERNET_BYTES..).unwrap_or_default();
        let arrivals = self.found.origins.entry((record.interface, digest(packet)));
        arrivals.or_default().push((record.at, began));
    }

    /// What stays the same of an IP packet.
    fn identity(&self, record: &Record<'_>) -> Option<Identity> {
        let mut is_ip = false;
        let data = beginning(&record.data, self.compared);
        let identity = self.keys.each_ref().map(|key| {
            let mut state = key.build_hasher();
            let link = LinkType::Ethernet;
            let route = hash_identity(link, data, Compared::Everything, &mut state);
            is_ip = matches!(route, Ok(Some(_)));
            state.finish()
        });
        is_ip.then_some(identity)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::super::Merged;
    use super::super::testing::capture;
    use super::*;
    use crate::wire::synth::{Segment, mac_of};

    const OUT: Option<Direction> = Some(Direction::Outbound);
    const IN: Option<Direction> = Some(Direction::Inbound);

    /// A SYN as it leaves the client, with a sequence number of its own.
    fn syn(seq: u32) -> Vec<u8> {
        let (from, to) = (
            SocketAddr::from(([10, 0, 1, 10], 4000)),
            SocketAddr::from(([10, 0, 2, 10], 80)),
        );
        let segment = Segment {
            flags: 0x02,
            seq,
            ..Segment::new(from, to)
        };
        let mut frame = segment.bytes();
        frame[..6].copy_from_slice(&mac([10, 0, 1, 210]));
        frame
    }

    fn mac(address: [u8; 4]) -> [u8; 6] {
        mac_of(IpAddr::from(address))
    }

    /// The same as the link sends it.
    fn forwarded(seq: u32) -> Vec<u8> {
        let mut frame = syn(seq);
        frame[..6].copy_from_slice(&mac([10, 0, 2, 10]));
        frame[6..12].copy_from_slice(&mac([10, 0, 2, 210]));
        frame[22] -= 1;
        frame
    }

    #[test]
    fn a_forwarded_packet_stands_once_and_what_a_link_made_stands_too() {
        // The first one passes, the second is lost, the third is sent twice.
        let client = [
            (0, 10, OUT, syn(1)),
            (0, 20, OUT, syn(2)),
            (0, 30, OUT, syn(3)),
        ];
        let link = [
            (0, 1, OUT, sentinel([10, 0, 1, 210])),
            (1, 2, OUT, sentinel([10, 0, 2, 210])),
            (0, 11, IN, syn(1)),
            (1, 12, OUT, forwarded(1)),
            (0, 21, IN, syn(2)),
            (0, 31, IN, syn(3)),
            (1, 32, OUT, forwarded(3)),
            (1, 33, OUT, forwarded(3)),
        ];
        let server = [
            (0, 13, IN, forwarded(1)),
            (0, 33, IN, forwarded(3)),
            (0, 34, IN, forwarded(3)),
        ];
        let captures = vec![
            capture("client", &["lan"], &client),
            capture("server", &["wan"], &server),
            capture("uplink", &["lan", "wan"], &link),
        ];
        let merged = Merged::with_links(captures, &["uplink"]).unwrap();
        let kept: Vec<u64> = merged.records().iter().map(|record| record.at.0).collect();
        assert_eq!(kept, [10, 20, 30, 33]);
        assert_eq!(merged.copies(), [4]);
        let find = |seq, at| {
            let digest = digest(&syn(seq)[ETHERNET_BYTES..]);
            merged.frame_that_arrived("uplink@lan", Timestamp(at), digest)
        };
        assert_eq!(
            [find(1, 9), find(2, 25), find(3, 31)],
            [Some(1), Some(2), Some(3)]
        );
        assert_eq!(find(4, 31), None);
        let sent = [1, 2, 3, 4, 5].map(|frame| merged.last_sent(frame).map(|at| at.0));
        assert_eq!(sent, [Some(12), Some(20), Some(32), Some(33), None]);
    }

    fn sentinel(address: [u8; 4]) -> Vec<u8> {
        [&[0xff; 6][..], &mac(address), &[0x88, 0xb5, 0]].concat()
    }
}
