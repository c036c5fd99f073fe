//! Several captures become one.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use super::capture::Capture;
use super::clocks::Clock;
use super::passage::{self, Fate, Passage, Places, Timed};
use super::sides::{Sample, Shared, shared};
use super::sighting::{Place, Same, Sighting, gather};
use crate::pcapng::{Direction, InterfaceId, MergeError, Merged};
use crate::units::{Timestamp, show_duration};

/// Several captures as one.
#[derive(Debug)]
pub struct Reconciled {
    /// Each packet once, as it was recorded where it was sent, at the time of the first capture's
    /// clock.
    pub merged: Merged,
    /// What became of each packet of it, in the same order.
    pub passages: Vec<Passage>,
    /// How the clock of each capture was aligned.
    pub clocks: Vec<Clock>,
    /// Names of addresses that any of the captures gives.
    pub names: Vec<(IpAddr, String)>,
    /// What the captures are called.
    pub places: Vec<String>,
    /// Captures whose own kernel says that it dropped packets, and how many: what seems lost on
    /// its way to them may have arrived.
    pub dropped: Vec<(String, u64)>,
    /// Pairs of captures that do not hold the same packets, since a network card cuts them into
    /// segments or puts them together: between these nothing is called lost.
    pub offloaded: Vec<[String; 2]>,
}

/// How much longer than any other a packet may be under way that looks the same as others, as a
/// factor, and at least.
const LONGER: i128 = 4;
const AT_LEAST_NS: i128 = 10_000_000;

/// Puts captures of the same traffic together.
///
/// # Errors
/// More interfaces than a file can describe.
pub fn reconcile(captures: Vec<Capture>) -> Result<Reconciled, MergeError> {
    let all = gather(&captures);
    let comparisons = compare(&all, captures.len());
    let clocks = align(&comparisons, captures.len());
    let time = |sighting: &Sighting| true_ns(&clocks, sighting.place, sighting.at);
    let spans = spans(&captures, &clocks);
    let uncertainty_ns = uncertainty_ns(&clocks);
    let spread = |same: &Same| {
        let times = || same.sightings.iter().map(time);
        Some(times().max()? - times().min()?)
    };
    let unique = all
        .iter()
        .filter(|same| same.route.is_some() && same.is_unique());
    let slowest_ns = unique.filter_map(spread).max().unwrap_or_default();
    let longest_ns =
        (slowest_ns > 0).then_some(slowest_ns * LONGER + 2 * uncertainty_ns + AT_LEAST_NS);
    let packets: Vec<(&Same, Vec<Timed>)> = all
        .iter()
        .flat_map(|same| {
            passage::packets(same, time, longest_ns)
                .into_iter()
                .map(move |packet| (same, packet))
        })
        .collect();
    let places = Places {
        homes: homes(&comparisons, &all),
        spans,
        uncertainty_ns,
        slowest_ns,
        longest_bytes: longest_bytes(&captures, &all),
    };
    let mut passages: Vec<Passage> = packets
        .iter()
        .filter_map(|(same, packet)| {
            let sent = passage::sent(packet, same.route, &places)?;
            let fate = passage::fate(packet, sent, same.route, &places);
            let receiver = same
                .route
                .and_then(|route| places.homes.get(&route.destination));
            let arrived_at = receiver.filter(|_| matches!(fate, Fate::Arrived(_)));
            Some(Passage {
                at_ns: sent.at_ns,
                place: sent.sighting.place,
                index: sent.sighting.index,
                route: same.route,
                fate,
                last_seen: arrived_at.copied().unwrap_or(packet.last()?.sighting.place),
            })
        })
        .collect();
    drop(packets);
    // Of packets of one moment those of an earlier capture come first, in its order.
    passages.sort_by_key(|passage| (passage.at_ns, passage.place, passage.index));
    let offloaded = offloaded(&captures, &comparisons, &places);
    let mut joined = write_down(captures, passages, clocks)?;
    joined.offloaded = offloaded;
    Ok(joined)
}

/// The length of the longest packet that went between two hosts, for each place.
fn longest_bytes(captures: &[Capture], all: &[Same]) -> Vec<u32> {
    let mut longest = vec![0; captures.len()];
    let between_hosts = all.iter().filter(|same| {
        let route = same.route.filter(|route| route.source != route.destination);
        route.is_some_and(|route| !route.source.is_loopback())
    });
    for sighting in between_hosts.flat_map(|same| &same.sightings) {
        let record = captures
            .get(sighting.place)
            .and_then(|c| c.records.get(sighting.index));
        if let Some((record, longest)) = record.zip(longest.get_mut(sighting.place)) {
            *longest = record.orig_len_bytes.max(*longest);
        }
    }
    longest
}

fn offloaded(captures: &[Capture], comparisons: &Comparisons, places: &Places) -> Vec<[String; 2]> {
    let mut pairs: Vec<_> = comparisons
        .iter()
        .filter(|((a, b), compared)| compared.clock.packets > 0 && places.offloaded(*a, *b))
        .map(|(pair, _)| *pair)
        .collect();
    pairs.sort_unstable();
    let name = |place: Place| captures[place].name.clone();
    pairs.into_iter().map(|(a, b)| [name(a), name(b)]).collect()
}

/// What two places share.
#[derive(Debug)]
struct Compared {
    /// The second one's clock against the first one's.
    clock: Clock,
    /// The first one's clock against the second one's.
    reversed: Clock,
    /// See [`Shared::nearer`].
    nearer: HashMap<IpAddr, i64>,
}

/// What each two places share, those with the earlier one first.
type Comparisons = HashMap<(Place, Place), Compared>;

fn compare(all: &[Same], places: usize) -> Comparisons {
    (0..places)
        .flat_map(|a| (a + 1..places).map(move |b| (a, b)))
        .map(|(a, b)| {
            let shared = shared(all, a, b);
            let compared = Compared {
                clock: Clock::of(a, &shared.samples),
                reversed: Clock::of(b, &reversed(&shared)),
                nearer: shared.nearer,
            };
            ((a, b), compared)
        })
        .collect()
}

/// Aligns each clock with one that is aligned already: with the one that leaves least doubt.
fn align(comparisons: &Comparisons, places: usize) -> Vec<Clock> {
    let mut clocks: Vec<Option<Clock>> = vec![None; places];
    if let Some(first) = clocks.first_mut() {
        *first = Some(Clock::reference());
    }
    for _ in 1..places {
        let candidates = comparisons.iter().filter_map(|(&(a, b), compared)| {
            let known = |place: Place| clocks[place].is_some();
            match (known(a), known(b)) {
                (true, false) => Some((b, &compared.clock)),
                (false, true) => Some((a, &compared.reversed)),
                _ => None,
            }
        });
        let best = candidates
            .filter(|(_, clock)| clock.packets > 0)
            .min_by_key(|(place, clock)| {
                let doubt = clock.uncertainty.unwrap_or(Duration::MAX);
                (doubt, usize::MAX - clock.packets, *place)
            });
        let Some((place, clock)) = best else { break };
        clocks[place] = Some(clock.clone());
    }
    clocks
        .into_iter()
        .map(|clock| clock.unwrap_or_else(Clock::unknown))
        .collect()
}

/// The samples as the second place sees them.
fn reversed(shared: &Shared) -> Vec<Sample> {
    let mut samples: Vec<_> = shared
        .samples
        .iter()
        .map(|sample| Sample {
            at_ns: sample.at_ns + sample.later_ns,
            later_ns: -sample.later_ns,
            forward: sample.forward.map(|forward| !forward),
        })
        .collect();
    samples.sort_by_key(|sample| sample.at_ns);
    samples
}

/// A moment of a place's clock by the clock of the first capture.
fn true_ns(clocks: &[Clock], place: Place, at: Timestamp) -> i128 {
    let mut ns = i128::from(at.0);
    let mut place = place;
    // Each step leads to a clock that was aligned earlier; the first one is its own reference.
    for _ in 0..clocks.len() {
        let Some(clock) = clocks.get(place) else {
            break;
        };
        ns -= clock.ahead_ns(ns);
        if place == clock.against {
            break;
        }
        place = clock.against;
    }
    ns
}

/// What all clocks together may be wrong by.
fn uncertainty_ns(clocks: &[Clock]) -> i128 {
    let known = clocks.iter().filter_map(|clock| clock.uncertainty);
    known
        .map(|uncertainty| i128::try_from(uncertainty.as_nanos()).unwrap_or(i128::MAX))
        .max()
        .unwrap_or_default()
}

fn spans(captures: &[Capture], clocks: &[Clock]) -> Vec<Option<(i128, i128)>> {
    captures
        .iter()
        .enumerate()
        .map(|(place, capture)| {
            let times = || {
                capture
                    .records
                    .iter()
                    .map(|record| true_ns(clocks, place, record.at))
            };
            times().min().zip(times().max())
        })
        .collect()
}

/// The place nearest to each address: the one that no other place is nearer than. An address that
/// one place alone has seen has none, unless that place sent for it.
fn homes(comparisons: &Comparisons, all: &[Same]) -> HashMap<IpAddr, Place> {
    let mut points: HashMap<IpAddr, HashMap<Place, i64>> = HashMap::new();
    for (&(a, b), compared) in comparisons {
        for (&address, &nearer) in &compared.nearer {
            let of_address = points.entry(address).or_default();
            *of_address.entry(a).or_default() += nearer.signum();
            *of_address.entry(b).or_default() -= nearer.signum();
        }
    }
    let marked = all.iter().filter_map(|same| {
        let sent = same
            .sightings
            .iter()
            .find(|sighting| sighting.direction == Some(Direction::Outbound))?;
        Some((same.route?.source, sent.place))
    });
    for (address, place) in marked.collect::<HashSet<_>>() {
        points
            .entry(address)
            .or_insert_with(|| HashMap::from([(place, 1)]));
    }
    points
        .into_iter()
        .filter_map(|(address, points)| {
            let (place, _) = points
                .into_iter()
                .filter(|(_, points)| *points > 0)
                .max_by_key(|(place, points)| (*points, usize::MAX - place))?;
            Some((address, place))
        })
        .collect()
}

/// Takes the record that stands for each packet out of its capture.
fn write_down(
    captures: Vec<Capture>,
    passages: Vec<Passage>,
    clocks: Vec<Clock>,
) -> Result<Reconciled, MergeError> {
    let mut merged = Merged::default();
    let mut names: Vec<(IpAddr, String)> = Vec::new();
    let mut seen = HashSet::new();
    let mut places = Vec::new();
    let mut dropped = Vec::new();
    let mut records = Vec::new();
    let mut bases = Vec::new();
    for (place, capture) in captures.into_iter().enumerate() {
        if capture.dropped() > 0 {
            dropped.push((capture.name.clone(), capture.dropped()));
        }
        let interfaces = capture.interfaces.into_iter().map(|mut interface| {
            if interface.name.is_empty() {
                interface.name.clone_from(&capture.name);
            } else if !interface.name.contains('@') {
                // `eth0` of every machine is called so; the rig's own names tell their host.
                interface.name = format!("{}@{}", interface.name, capture.name);
            }
            interface
        });
        let base = merged.add_interfaces(interfaces)?;
        for (id, at, statistics) in capture.statistics {
            let at = timestamp(true_ns(&clocks, place, at));
            merged.add_statistics(InterfaceId(base + id.0), at, statistics);
        }
        for (address, name) in capture.names {
            if seen.insert(address) {
                names.push((address, name));
            }
        }
        if let Some(stop) = capture.stop {
            merged.add_stop(capture.name.clone(), stop);
        }
        places.push(capture.name);
        bases.push(base);
        records.push(capture.records.into_iter().map(Some).collect::<Vec<_>>());
    }
    for passage in &passages {
        // Each record stands for one packet at most.
        let Some(mut record) = records[passage.place][passage.index].take() else {
            continue;
        };
        record.interface = InterfaceId(bases[passage.place] + record.interface.0);
        record.at = timestamp(passage.at_ns);
        merged.add_record(record);
    }
    Ok(Reconciled {
        merged,
        passages,
        clocks,
        names,
        places,
        dropped,
        offloaded: Vec::new(),
    })
}

fn timestamp(ns: i128) -> Timestamp {
    Timestamp(u64::try_from(ns.max(0)).unwrap_or(u64::MAX))
}

impl Reconciled {
    /// Comments for the merged capture: on each packet that was lost, and, with `delays`, on each
    /// that arrived.
    #[must_use]
    pub fn comments(&self, delays: bool) -> Vec<(u64, String)> {
        let numbered = (1..).zip(&self.passages);
        numbered
            .filter_map(|(frame, passage)| {
                let last = self.places.get(passage.last_seen)?;
                let comment = match passage.fate {
                    Fate::Lost => format!("lost: last seen at {last}"),
                    Fate::Unsent => "not recorded where it was sent".to_owned(),
                    Fate::Arrived(delay) if delays => {
                        format!("arrived at {last} after {}", show_duration(delay))
                    }
                    Fate::Arrived(_) | Fate::Unwatched => return None,
                };
                Some((frame, comment))
            })
            .collect()
    }

    /// How many packets came to an end of each kind: arrived, lost, unsent, unwatched.
    #[must_use]
    pub fn counts(&self) -> [usize; 4] {
        let count = |is: fn(Fate) -> bool| {
            let fates = self.passages.iter().map(|passage| passage.fate);
            fates.filter(|fate| is(*fate)).count()
        };
        [
            count(|fate| matches!(fate, Fate::Arrived(_))),
            count(|fate| fate == Fate::Lost),
            count(|fate| fate == Fate::Unsent),
            count(|fate| fate == Fate::Unwatched),
        ]
    }
}
