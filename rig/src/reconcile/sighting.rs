//! Where and when each packet was seen.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use crate::pcapng::{Direction, InterfaceId};
use crate::units::Timestamp;
use crate::wire::{Compared, LinkType, Route, Unidentified, hash_identity};

/// Position of a capture among those that are put together.
pub(super) type Place = usize;

/// One record of one capture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting {
    pub(super) place: Place,
    /// Where its record is kept, for whoever keeps it.
    pub(super) index: usize,
    pub(super) interface: InterfaceId,
    /// By the clock of its place.
    pub(super) at: Timestamp,
    pub(super) direction: Option<Direction>,
    /// What a cooked header tells of the interface, see [`super::source::point`].
    pub(super) point: u32,
    /// Which one of several interfaces it is that nothing tells apart, see [`super::copies`].
    pub(super) turn: u8,
}

/// Where a place sees a packet once: a bridge or router sees it on each of two interfaces or more, and on its way in
/// and out where that is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    pub(super) place: Place,
    interface: InterfaceId,
    direction: Option<Direction>,
    point: u32,
    turn: u8,
}

impl Sighting {
    pub(super) fn spot(&self) -> Spot {
        Spot {
            place: self.place,
            interface: self.interface,
            direction: self.direction,
            point: self.point,
            turn: self.turn,
        }
    }
}

impl Spot {
    /// What its records begin with, by the interfaces of all captures.
    pub(super) fn link(&self, links: &[LinkType]) -> LinkType {
        let index = usize::try_from(self.interface.0).ok();
        let link = index.and_then(|index| links.get(index));
        link.copied().unwrap_or(LinkType::Ethernet)
    }
}

/// Records of what may be one and the same packet, those of an earlier place first.
#[derive(Debug)]
pub(super) struct Same {
    /// None for what is not IP.
    pub(super) route: Option<Route>,
    pub(super) sightings: Vec<Sighting>,
}

/// Tells which records may be of one packet.
#[derive(Debug)]
pub(super) struct Identifier {
    /// At random, so that a hostile capture cannot make packets alike.
    key: RandomState,
    compared: Compared,
}

impl Identifier {
    pub(super) fn new(compared: Compared) -> Self {
        Self {
            key: RandomState::new(),
            compared,
        }
    }

    /// What is the same for all records of a packet. Packets are compared with those of about the same
    /// time only, so that 64 bits are enough.
    pub(super) fn of(
        &self,
        link: LinkType,
        data: &[u8],
        place: Place,
    ) -> Result<(u64, Option<Route>), Unidentified> {
        let mut state = self.key.build_hasher();
        let route = hash_identity(link, data, self.compared, &mut state)?;
        // A loopback address is another one at each place.
        if route.is_some_and(|route| route.source.is_loopback()) {
            state.write_usize(place);
        }
        Ok((state.finish(), route))
    }
}

impl Same {
    /// Its first sighting at each of two places, if it came by there once: what clocks can be
    /// compared by.
    pub(super) fn once_at(&self, a: Place, b: Place) -> Option<(&Sighting, &Sighting)> {
        Some((self.once(a)?, self.once(b)?))
    }

    fn once(&self, place: Place) -> Option<&Sighting> {
        let mut at_place = self.sightings.iter().filter(move |s| s.place == place);
        let first = at_place.next()?;
        let Some(second) = at_place.next() else {
            return Some(first);
        };
        let mut spots = HashSet::from([first.spot()]);
        let mut others = std::iter::once(second).chain(at_place);
        others
            .all(|other| spots.insert(other.spot()))
            .then_some(first)
    }

    /// Its sightings at each of two places in order, if both saw as many.
    pub(super) fn equally_often_at(
        &self,
        a: Place,
        b: Place,
    ) -> impl Iterator<Item = (&Sighting, &Sighting)> {
        let at = |place| self.sightings.iter().filter(move |s| s.place == place);
        let as_many = at(a).count() == at(b).count();
        at(a).zip(at(b)).filter(move |_| as_many)
    }

    /// Whether it came by each place once at most.
    pub(super) fn is_unique(&self) -> bool {
        match self.sightings.as_slice() {
            [] | [_] => return true,
            [one, other] => return one.spot() != other.spot(),
            _ => {}
        }
        let mut spots = HashSet::new();
        self.sightings
            .iter()
            .all(|sighting| spots.insert(sighting.spot()))
    }
}
