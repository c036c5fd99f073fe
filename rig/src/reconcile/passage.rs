//! The way of one packet through the places where it was seen.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use super::sighting::{Place, Same, Sighting, Spot};
use crate::pcapng::{Delivery, Direction};
use crate::wire::Route;

/// How many earlier packets that look the same a record may belong to.
const MAX_COMPARED: usize = 64;

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was recorded at one place only, and nothing says that another one should have seen it.
    Unwatched,
    /// It arrived, this long after it was sent.
    Arrived(Duration),
    /// It was recorded where it was sent and not at its receiver, which was recording.
    Lost,
    /// It was recorded where it arrived and not at its sender, which was recording: that capture
    /// is not complete.
    Unsent,
}

impl From<Delivery> for Fate {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Lost | Delivery::Corrupted => Self::Lost,
            Delivery::Unsent => Self::Unsent,
        }
    }
}

/// What became of a packet by where it was seen, and what it is otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    pub(super) fate: Fate,
    /// A place that has the packet and one that lacks it, if the fate is another one where the second has its bytes
    /// in packets that the first one lacks.
    pub(super) doubt: Option<(Place, Place)>,
    /// The fate that it is then.
    pub(super) otherwise: Fate,
}

/// A sighting with its time by the clock of the first capture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timed {
    pub(super) at_ns: i128,
    pub(super) sighting: Sighting,
}

/// Tells apart the packets among records that look the same, and gives the sightings of each.
///
/// Where every place saw them equally often, the first of one place is the first of the other, unless
/// they would then have been under way for longer than `longest_ns`. Where not, a record belongs to
/// the latest packet before it that its place has not seen yet, within that time.
pub(super) fn packets(
    same: &Same,
    timed: impl Fn(&Sighting) -> i128,
    longest_ns: Option<i128>,
) -> Vec<Vec<Timed>> {
    let mut all: Vec<Timed> = same
        .sightings
        .iter()
        .map(|sighting| Timed {
            at_ns: timed(sighting),
            sighting: *sighting,
        })
        .collect();
    let mut counts: HashMap<Spot, usize> = HashMap::new();
    let ranks: Vec<usize> = all
        .iter()
        .map(|timed| {
            let count = counts.entry(timed.sighting.spot()).or_default();
            *count += 1;
            *count - 1
        })
        .collect();
    let often = counts.values().max().copied().unwrap_or_default();
    if counts.values().all(|count| *count == often) {
        let mut packets = vec![Vec::new(); often];
        for (timed, rank) in all.iter().zip(ranks) {
            packets[rank].push(*timed);
        }
        for packet in &mut packets {
            packet.sort_by_key(|timed| timed.at_ns);
        }
        let is_quick = |packet: &Vec<Timed>| longest_ns.is_none_or(|ns| span_ns(packet) <= ns);
        if often == 1 || packets.iter().all(is_quick) {
            return packets;
        }
    }
    all.sort_by_key(|timed| timed.at_ns);
    let mut packets: Vec<(HashSet<Spot>, Vec<Timed>)> = Vec::new();
    for timed in all {
        let spot = timed.sighting.spot();
        let misses = |(spots, packet): &&mut (HashSet<Spot>, Vec<Timed>)| {
            let first = packet.first().map_or(timed.at_ns, |first| first.at_ns);
            !spots.contains(&spot) && longest_ns.is_none_or(|ns| timed.at_ns - first <= ns)
        };
        match packets.iter_mut().rev().take(MAX_COMPARED).find(misses) {
            Some((spots, packet)) => {
                spots.insert(spot);
                packet.push(timed);
            }
            None => packets.push((HashSet::from([spot]), vec![timed])),
        }
    }
    packets.into_iter().map(|(_, packet)| packet).collect()
}

/// The time from the first sighting of a packet to the last.
pub(super) fn span_ns(packet: &[Timed]) -> i128 {
    let ends = packet.first().zip(packet.last());
    ends.map_or(0, |(first, last)| last.at_ns - first.at_ns)
}

/// What is known of the places when packets are judged.
#[derive(Debug)]
pub(super) struct Places {
    /// The place nearest to each address.
    pub(super) homes: hashbrown::HashMap<IpAddr, Place>,
    /// First and last record of each place, by the clock of the first capture.
    pub(super) spans: Vec<Option<(i128, i128)>>,
    /// How far the clocks of the places may be from the truth, in nanoseconds.
    pub(super) uncertainty_ns: i128,
    /// The longest that a packet took, in nanoseconds.
    pub(super) slowest_ns: i128,
    /// Places whose captures say that they lost packets: what they lack may have been sent there all the same.
    pub(super) lossy: HashSet<Place>,
}

/// The sighting of a packet that stands for it: where it was sent.
pub(super) fn sent<'a>(
    packet: &'a [Timed],
    route: Option<Route>,
    places: &Places,
) -> Option<&'a Timed> {
    let marked = |timed: &&Timed| timed.sighting.direction == Some(Direction::Outbound);
    let home = route.and_then(|route| places.homes.get(&route.source));
    let at_home = |timed: &&Timed| Some(&timed.sighting.place) == home;
    packet
        .iter()
        .find(|timed| marked(timed) && at_home(timed))
        .or_else(|| packet.iter().find(at_home))
        .or_else(|| packet.iter().find(marked))
        .or_else(|| packet.first())
}

/// What became of a packet, by where it was seen.
pub(super) fn judge(
    packet: &[Timed],
    sent: &Timed,
    route: Option<Route>,
    places: &Places,
) -> Judged {
    let home = |address| places.homes.get(&address).copied();
    let Some(route) = route else {
        return Judged::sure(arrived(packet, sent));
    };
    let (sender, receiver) = (home(route.source), home(route.destination));
    let (Some(sender), Some(receiver)) = (sender, receiver) else {
        return Judged::sure(match receiver {
            Some(receiver) => arrived_at(packet, sent, receiver),
            None => arrived(packet, sent),
        });
    };
    let seen_at = |place| packet.iter().any(|timed| timed.sighting.place == place);
    if sender == receiver {
        return Judged::sure(Fate::Unwatched);
    }
    let otherwise = arrived_at(packet, sent, receiver);
    let recorded = |place| places.recorded(place, sent.at_ns);
    let missing = |fate, place, other| Judged {
        fate,
        doubt: Some((other, place)),
        otherwise,
    };
    match (seen_at(sender), seen_at(receiver)) {
        (true, false) if recorded(receiver) => missing(Fate::Lost, receiver, sender),
        (false, true) if !places.lossy.contains(&sender) && recorded(sender) => {
            missing(Fate::Unsent, sender, receiver)
        }
        _ => Judged::sure(otherwise),
    }
}

impl Judged {
    fn sure(fate: Fate) -> Self {
        Self {
            fate,
            doubt: None,
            otherwise: fate,
        }
    }

    /// Nothing is known of it.
    pub(super) fn unknown() -> Self {
        Self::sure(Fate::Unwatched)
    }
}

/// Arrived, if the receiver's place saw it after it was sent.
fn arrived_at(packet: &[Timed], sent: &Timed, receiver: Place) -> Fate {
    let at_receiver = packet
        .iter()
        .find(|timed| timed.sighting.place == receiver)
        .filter(|_| sent.sighting.place != receiver);
    at_receiver.map_or(Fate::Unwatched, |timed| {
        Fate::Arrived(delay(timed.at_ns - sent.at_ns))
    })
}

/// What clocks cannot tell may look like an arrival before the sending.
fn delay(ns: i128) -> Duration {
    Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
}

fn arrived(packet: &[Timed], sent: &Timed) -> Fate {
    let others = packet
        .iter()
        .filter(|timed| timed.sighting.place != sent.sighting.place);
    match others.map(|timed| timed.at_ns - sent.at_ns).max() {
        Some(ns) => Fate::Arrived(delay(ns)),
        None => Fate::Unwatched,
    }
}

impl Places {
    /// Whether a place recorded before and after what was sent at a moment could reach it.
    fn recorded(&self, place: Place, at_ns: i128) -> bool {
        let margin = self.uncertainty_ns + self.slowest_ns;
        self.spans
            .get(place)
            .copied()
            .flatten()
            .is_some_and(|(first, last)| {
                first - self.uncertainty_ns <= at_ns && at_ns + margin <= last
            })
    }
}
