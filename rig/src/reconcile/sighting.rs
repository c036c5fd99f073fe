//! Where and when each packet was seen.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use super::capture::Capture;
use crate::pcapng::{Direction, InterfaceId};
use crate::units::Timestamp;
use crate::wire::{Compared, Route, Unidentified, hash_identity};

/// Position of a capture among those that are put together.
pub(super) type Place = usize;

/// One record of one capture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting {
    pub(super) place: Place,
    /// Position of the record in its capture.
    pub(super) index: usize,
    pub(super) interface: InterfaceId,
    /// By the clock of its place.
    pub(super) at: Timestamp,
    pub(super) direction: Option<Direction>,
}

/// Where a place sees a packet once: a router sees it on each of two interfaces, or, where these
/// cannot be told apart, on its way in and on its way out.
pub(super) type Spot = (Place, InterfaceId, Option<Direction>);

impl Sighting {
    pub(super) fn spot(&self) -> Spot {
        (self.place, self.interface, self.direction)
    }
}

/// Records of what may be one and the same packet, those of an earlier place first.
#[derive(Debug)]
pub(super) struct Same {
    /// None for what is not IP.
    pub(super) route: Option<Route>,
    pub(super) sightings: Vec<Sighting>,
}

/// Puts together which records may be of one packet.
pub(super) fn gather(captures: &[Capture]) -> Vec<Same> {
    let compared = if captures.iter().any(Capture::is_cut) {
        Compared::Headers
    } else {
        Compared::Everything
    };
    // Keyed at random, so that a hostile capture cannot make packets alike; two keys, since 64
    // bits would make some of a billion packets alike by chance.
    let keys = [RandomState::new(), RandomState::new()];
    let mut found: HashMap<([u64; 2], Option<Place>), usize> = HashMap::new();
    let mut all: Vec<Same> = Vec::new();
    for (place, capture) in captures.iter().enumerate() {
        for (index, record) in capture.records.iter().enumerate() {
            let sighting = Sighting {
                place,
                index,
                interface: record.interface,
                at: record.at,
                direction: record.direction,
            };
            let link = capture.link(record);
            let mut route = Err(Unidentified);
            let identity = keys.each_ref().map(|key| {
                let mut state = key.build_hasher();
                route = hash_identity(link, &record.data, compared, &mut state);
                state.finish()
            });
            // A loopback address is another one at each place.
            let here = match route {
                Ok(Some(route)) if route.source.is_loopback() => Some(place),
                _ => None,
            };
            if route.is_ok() {
                match found.entry((identity, here)) {
                    Entry::Occupied(known) => {
                        all[*known.get()].sightings.push(sighting);
                        continue;
                    }
                    Entry::Vacant(free) => free.insert(all.len()),
                };
            }
            all.push(Same {
                route: route.unwrap_or_default(),
                sightings: vec![sighting],
            });
        }
    }
    all
}

impl Same {
    /// Its first sighting at each of two places, if it came by there once: what clocks can be
    /// compared by.
    pub(super) fn once_at(&self, a: Place, b: Place) -> Option<(&Sighting, &Sighting)> {
        let once = |place| {
            let mut at_place = self.sightings.iter().filter(move |s| s.place == place);
            let first = at_place.next()?;
            let mut spots = HashSet::from([first.spot()]);
            at_place
                .all(|other| spots.insert(other.spot()))
                .then_some(first)
        };
        Some((once(a)?, once(b)?))
    }

    /// Whether it came by each place once at most.
    pub(super) fn is_unique(&self) -> bool {
        let mut spots = HashSet::new();
        self.sightings
            .iter()
            .all(|sighting| spots.insert(sighting.spot()))
    }
}
