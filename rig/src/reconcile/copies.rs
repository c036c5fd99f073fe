//! Packets that a place records several times in a row at one spot.
//!
//! In a cooked capture on all interfaces (`LINKTYPE_LINUX_SLL`) these are interfaces that nothing tells apart, such as a
//! bridge and its port, and the records are of one packet. On a named interface they are as many packets as records: the
//! network may have made them. But where most packets of a way come so, two sockets have captured them, or a mirror port
//! has copied them, and whoever reads the capture wants to know.

use std::collections::HashMap;
use std::time::Duration;

use super::sighting::{Place, Same, Spot};
use crate::units::Timestamp;
use crate::wire::{LinkType, Route};

/// Records of one packet follow each other within this time at one place; a sender that repeats something waits
/// longer, by its timers.
const TOGETHER: Duration = Duration::from_millis(10);

/// So many packets of a way at least come several times, and most of them, or it is chance.
const LEAST_PACKETS: usize = 3;

/// Packets that come more often than this are counted with those that come so often.
const MAX_TIMES: usize = 8;

/// Packets of a capture that were recorded several times each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated {
    /// How many of the packets that were looked at.
    pub packets: usize,
    /// How many were looked at.
    pub of: usize,
    /// How often these were recorded, for the most part.
    pub times: usize,
    /// The longest time from a record of one to the next.
    pub apart: Duration,
    /// What these packets begin with. Those of [`LinkType::LinuxSll`] count once, others each time.
    pub link: LinkType,
}

impl Repeated {
    fn none(link: LinkType) -> Self {
        Self {
            packets: 0,
            of: 0,
            times: 0,
            apart: Duration::ZERO,
            link,
        }
    }

    /// Takes in what one way shows, on which most come so many times.
    fn add(&mut self, times: usize, rows: &Rows) {
        self.packets = self.packets.max(rows.sizes[1..].iter().sum());
        self.times = self.times.max(times);
        self.apart = self.apart.max(rows.apart);
    }
}

/// Packets from one address to another at one spot.
type Way = (Route, Spot);

/// Which ways show each packet several times.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// How many interfaces that nothing tells apart a packet passes.
    turns: HashMap<Way, usize>,
    /// By place, and by what records begin with.
    repeated: HashMap<(Place, LinkType), Repeated>,
}

/// What the packets of one way show.
#[derive(Debug, Default)]
struct Rows {
    /// How many came once, twice and so on in a row.
    sizes: [usize; MAX_TIMES],
    apart: Duration,
}

impl Rows {
    fn add(&mut self, size: usize) {
        self.sizes[size.clamp(1, MAX_TIMES) - 1] += 1;
    }

    fn packets(&self) -> usize {
        self.sizes.iter().sum()
    }

    /// How often a packet comes, where most come equally often and more than once.
    fn usual(&self) -> Option<usize> {
        let often = |(_, packets): &(usize, &usize)| {
            **packets >= LEAST_PACKETS && 2 * **packets > self.packets()
        };
        let mut several = (1..).zip(&self.sizes).skip(1);
        several.find(often).map(|(times, _)| times)
    }
}

impl Copies {
    /// Looks at packets that were chosen; `link` is what the records of a spot begin with.
    pub(super) fn of(samples: &[Same], link: impl Fn(&Spot) -> LinkType) -> Self {
        let mut ways: HashMap<Way, Rows> = HashMap::new();
        let mut row: HashMap<Spot, (usize, Timestamp)> = HashMap::new();
        for same in samples {
            let Some(route) = same.route else {
                continue;
            };
            for sighting in &same.sightings {
                let spot = sighting.spot();
                let Some((size, last)) = row.get_mut(&spot) else {
                    row.insert(spot, (1, sighting.at));
                    continue;
                };
                let rows = ways.entry((route, spot)).or_default();
                if is_next(*last, sighting.at) {
                    *size += 1;
                    rows.apart = rows.apart.max(sighting.at.since(*last));
                } else {
                    rows.add(*size);
                    *size = 1;
                }
                *last = sighting.at;
            }
            for (spot, (size, _)) in row.drain() {
                ways.entry((route, spot)).or_default().add(size);
            }
        }
        let mut copies = Self::default();
        // A packet is looked at at several spots of a place.
        let mut by_route: HashMap<(Place, LinkType, Route), Repeated> = HashMap::new();
        for ((route, spot), rows) in ways {
            let link = link(&spot);
            let of_route = by_route.entry((spot.place, link, route));
            let of_route = of_route.or_insert_with(|| Repeated::none(link));
            of_route.of = of_route.of.max(rows.packets());
            if let Some(times) = rows.usual() {
                of_route.add(times, &rows);
                if link == LinkType::LinuxSll {
                    copies.turns.insert((route, spot), times);
                }
            }
        }
        for ((place, link, _), of_route) in by_route {
            let known = copies.repeated.entry((place, link));
            let known = known.or_insert_with(|| Repeated::none(link));
            known.packets += of_route.packets;
            known.of += of_route.of;
            known.times = known.times.max(of_route.times);
            known.apart = known.apart.max(of_route.apart);
        }
        copies.repeated.retain(|_, repeated| repeated.packets > 0);
        copies
    }

    /// What a place recorded several times.
    pub(super) fn at(&self, place: Place) -> impl Iterator<Item = Repeated> {
        let mut found: Vec<_> = self
            .repeated
            .iter()
            .filter(|((at, _), _)| *at == place)
            .map(|(_, repeated)| *repeated)
            .collect();
        found.sort_by_key(|repeated| repeated.link.number());
        found.into_iter()
    }

    /// Numbers sightings on interfaces that nothing tells apart, so that each is at a spot of its own.
    #[inline]
    pub(super) fn number(&self, same: &mut Same) {
        if !self.turns.is_empty() && same.sightings.len() > 1 {
            self.number_several(same);
        }
    }

    #[cold]
    fn number_several(&self, same: &mut Same) {
        let Some(route) = same.route else {
            return;
        };
        let mut row: HashMap<Spot, (usize, Timestamp)> = HashMap::new();
        for sighting in &mut same.sightings {
            let spot = sighting.spot();
            let Some(times) = self.turns.get(&(route, spot)) else {
                continue;
            };
            let turn = match row.get(&spot) {
                Some((turn, last)) if is_next(*last, sighting.at) => (turn + 1) % times,
                _ => 0,
            };
            row.insert(spot, (turn, sighting.at));
            sighting.turn = u8::try_from(turn).unwrap_or(u8::MAX);
        }
    }
}

/// Whether a record may be of the same packet as the one before it.
fn is_next(before: Timestamp, at: Timestamp) -> bool {
    at >= before && at.since(before) <= TOGETHER
}
