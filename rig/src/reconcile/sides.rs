//! Which way packets went between two places.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::sighting::{Place, Same, Sighting};
use crate::pcapng::Direction;
use crate::wire::Route;

/// A packet that two places saw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// When the first of them saw it, in nanoseconds by its clock.
    pub(super) at_ns: i128,
    /// How much later the other one saw it by its own clock, in nanoseconds; negative for earlier.
    pub(super) later_ns: i128,
    /// It went from the first place to the other; none where nothing tells.
    pub(super) forward: Option<bool>,
    /// Packets of the way back were seen as well.
    pub(super) returned: bool,
}

/// What two places have seen both.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) samples: Vec<Sample>,
    /// For each address, whether it is nearer to the first place (positive) or to the other one.
    pub(super) nearer: HashMap<IpAddr, i64>,
}

/// Looks at the packets that the places `a` and `b` share, and at which way they went.
pub(super) fn shared(all: &[Same], a: Place, b: Place) -> Shared {
    let mut shared = Shared::default();
    let mut pairs: Vec<(Route, _)> = all
        .iter()
        .filter_map(|same| {
            let (route, (at_a, at_b)) = same.route.zip(same.once_at(a, b))?;
            Some((route, (*at_a, *at_b)))
        })
        .collect();
    if pairs.is_empty() {
        // Packets that look the same, such as ARP, are better than none.
        let with_route = all.iter().filter_map(|same| Some((same, same.route?)));
        pairs = with_route
            .flat_map(|(same, route)| {
                let both = same.equally_often_at(a, b);
                both.map(move |(at_a, at_b)| (route, (*at_a, *at_b)))
            })
            .collect();
    }
    let (routes, sightings): (Vec<Route>, Vec<_>) = pairs.into_iter().unzip();
    let ways: HashSet<Route> = routes.iter().copied().collect();
    shared.samples = sightings
        .iter()
        .zip(&routes)
        .map(|((at_a, at_b), route)| Sample {
            at_ns: i128::from(at_a.at.0),
            later_ns: i128::from(at_b.at.0) - i128::from(at_a.at.0),
            forward: marked(at_a, at_b),
            returned: ways.contains(&reversed(route)),
        })
        .collect();
    let by_time = ways_by_time(&shared.samples, &routes);
    for (sample, route) in shared.samples.iter_mut().zip(&routes) {
        sample.forward = sample.forward.or_else(|| by_time.get(route).copied());
        if let Some(forward) = sample.forward {
            let vote = if forward { 1 } else { -1 };
            *shared.nearer.entry(route.source).or_default() += vote;
            *shared.nearer.entry(route.destination).or_default() -= vote;
        }
    }
    shared.samples.sort_by_key(|sample| sample.at_ns);
    shared
}

/// The way back.
fn reversed(route: &Route) -> Route {
    Route {
        source: route.destination,
        destination: route.source,
    }
}

/// The way that the marks of the captures tell: sent at one place and received at the other.
fn marked(at_a: &Sighting, at_b: &Sighting) -> Option<bool> {
    match (at_a.direction?, at_b.direction?) {
        (Direction::Outbound, Direction::Inbound) => Some(true),
        (Direction::Inbound, Direction::Outbound) => Some(false),
        _ => None,
    }
}

/// The way that times tell. Whatever the clocks show, packets of the way from the first place to the
/// other appear later at the other than packets of the way back, by the time that both ways take.
fn ways_by_time(samples: &[Sample], routes: &[Route]) -> HashMap<Route, bool> {
    let mut later: HashMap<Route, Vec<i128>> = HashMap::new();
    for (sample, route) in samples.iter().zip(routes) {
        later.entry(*route).or_default().push(sample.later_ns);
    }
    let medians: HashMap<Route, i128> = later
        .into_iter()
        .filter_map(|(route, mut times)| {
            let middle = times.len() / 2;
            (middle < times.len()).then(|| (route, *times.select_nth_unstable(middle).1))
        })
        .collect();
    medians
        .iter()
        .filter_map(|(route, there)| {
            let back = medians.get(&reversed(route))?;
            match there.cmp(back) {
                Ordering::Greater => Some((*route, true)),
                Ordering::Less => Some((*route, false)),
                Ordering::Equal => None,
            }
        })
        .collect()
}
