//! What the first look at captures tells of clocks, of how long packets take, and of where addresses are.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use super::clocks::Clock;
use super::copies::Copies;
use super::passage::Places;
use super::sides::{Sample, Shared, shared};
use super::sighting::{Place, Same, Sighting};
use super::survey::Survey;
use crate::units::Timestamp;

/// How much longer than any other a packet may be under way that looks the same as others, as a
/// factor, and at least.
const LONGER: i128 = 4;
const AT_LEAST_NS: i128 = 10_000_000;

/// What is known before packets are put together.
#[derive(Debug)]
pub(super) struct Known {
    /// How the clock of each place is aligned.
    pub(super) clocks: Vec<Clock>,
    pub(super) places: Places,
    pub(super) copies: Copies,
    /// The longest that a packet may be under way that looks the same as others; none where nothing tells how long
    /// packets take.
    pub(super) longest_ns: Option<i128>,
}

impl Known {
    /// Compares what the places have seen.
    pub(super) fn of(survey: &mut Survey) -> Self {
        let links: Vec<_> = survey
            .places
            .iter()
            .flat_map(|place| place.interfaces.iter().map(|one| one.link))
            .collect();
        let copies = Copies::of(&survey.samples, |spot| spot.link(&links));
        for same in &mut survey.samples {
            copies.number(same);
        }
        let all = &survey.samples;
        let comparisons = compare(all, survey.places.len());
        let clocks = align(&comparisons, survey.places.len());
        let time = |sighting: &Sighting| true_ns(&clocks, sighting.place, sighting.at);
        let uncertainty_ns = uncertainty_ns(&clocks);
        let spread = |same: &Same| {
            let times = || same.sightings.iter().map(time);
            Some(times().max()? - times().min()?)
        };
        let unique = all
            .iter()
            .filter(|same| same.sightings.len() > 1 && same.route.is_some() && same.is_unique());
        let slowest_ns = unique.filter_map(spread).max().unwrap_or_default();
        let longest_ns =
            (slowest_ns > 0).then_some(slowest_ns * LONGER + 2 * uncertainty_ns + AT_LEAST_NS);
        let numbered = || survey.places.iter().enumerate();
        let spans = numbered().map(|(place, surveyed)| {
            let (first, last) = surveyed.span?;
            let [a, b] = [first, last].map(|at| true_ns(&clocks, place, at));
            Some((a.min(b), a.max(b)))
        });
        let lossy = numbered().filter(|(_, surveyed)| surveyed.dropped > 0);
        let places = Places {
            homes: homes(&comparisons, &survey.marked),
            spans: spans.collect(),
            uncertainty_ns,
            slowest_ns,
            lossy: lossy.map(|(place, _)| place).collect(),
        };
        Self {
            clocks,
            places,
            copies,
            longest_ns,
        }
    }
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

/// Aligns each clock with one that is aligned already: with the one that leaves least doubt. Places that share packets
/// with one another alone are aligned with the first of them, whose clock is as unknown as before.
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
        let apart = || {
            let shares = |place: &Place| {
                let both = comparisons
                    .iter()
                    .filter(|((a, b), _)| a == place || b == place);
                clocks[*place].is_none()
                    && both.map(|(_, found)| found.clock.packets).sum::<usize>() > 0
            };
            Some(((0..places).find(shares)?, Clock::unknown()))
        };
        let best = best.map(|(place, clock)| (place, clock.clone()));
        let Some((place, clock)) = best.or_else(apart) else {
            break;
        };
        clocks[place] = Some(clock);
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
            returned: sample.returned,
        })
        .collect();
    samples.sort_by_key(|sample| sample.at_ns);
    samples
}

/// A moment of a place's clock by the clock of the first capture.
pub(super) fn true_ns(clocks: &[Clock], place: Place, at: Timestamp) -> i128 {
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

/// The place nearest to each address: the one that no other place is nearer than. An address that
/// one place alone has seen has none, unless that place sent for it.
fn homes(
    comparisons: &Comparisons,
    marked: &BTreeMap<IpAddr, Place>,
) -> hashbrown::HashMap<IpAddr, Place> {
    let mut points: HashMap<IpAddr, HashMap<Place, i64>> = HashMap::new();
    for (&(a, b), compared) in comparisons {
        for (&address, &nearer) in &compared.nearer {
            let of_address = points.entry(address).or_default();
            *of_address.entry(a).or_default() += nearer.signum();
            *of_address.entry(b).or_default() -= nearer.signum();
        }
    }
    for (&address, &place) in marked {
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
