//! The first look at captures: what they say of themselves, and packets by which their clocks can be compared.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{Read, Seek};
use std::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};

use super::sighting::{Identifier, Place, Same, Sighting};
use super::source::{ReconcileError, Source, counted, moved, point};
use crate::pcapng::{Direction, Interface, InterfaceId, Record, Statistics, Stop};
use crate::units::Timestamp;
use crate::wire::{Compared, LinkType, Route, hash_identity};

/// How many different packets are looked at. Of more those are chosen of which a hash is least, which are the same
/// at each place.
const MAX_CHOSEN: usize = 1 << 16;

/// How many packets of each route are chosen at each place whatever their hash, so that an address of few
/// packets is known as well, and how many of these there are together.
const CHOSEN_BY_ROUTE: u8 = 4;
const MAX_BY_ROUTE: usize = 1 << 16;
const MAX_ROUTES: usize = 1 << 16;

/// How often a packet may be seen that is looked at, and how often, once too much is kept.
const MAX_SIGHTINGS_OF_ONE: usize = 4096;
const FEW_SIGHTINGS: usize = 16;

/// How many sightings are kept of all packets together.
const MAX_SIGHTINGS: usize = 1 << 20;

/// How many addresses of senders are kept that directions tell.
const MAX_MARKED: usize = 1 << 17;

/// How many records share a note of how early any that follows is: eight bytes for each so many.
pub(super) const CHUNK: u64 = 256;

/// What a first look at captures shows.
#[derive(Debug)]
pub(super) struct Survey {
    /// Each of them.
    pub(super) places: Vec<Surveyed>,
    /// Packets by which clocks can be compared.
    pub(super) samples: Vec<Same>,
    /// The first place that says of an address that it sent for it.
    pub(super) marked: BTreeMap<IpAddr, Place>,
    /// What of a packet is compared.
    pub(super) compared: Compared,
}

/// What one capture says.
#[derive(Debug)]
pub(super) struct Surveyed {
    pub(super) interfaces: Vec<Interface>,
    pub(super) statistics: Vec<(InterfaceId, Timestamp, Statistics)>,
    pub(super) names: Vec<(IpAddr, String)>,
    pub(super) dropped: u64,
    /// Blocks whose length is no multiple of four, which the format forbids.
    pub(super) unaligned_blocks: u64,
    /// Where reading it stopped, if not at its end.
    pub(super) stop: Option<Stop>,
    /// Its records, those that do not count among them: it may grow before it is read again.
    pub(super) frames: u64,
    /// The earliest and the latest record.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    /// The last record.
    pub(super) last: Option<Timestamp>,
    /// The earliest record from each [`CHUNK`] of records to the end of the file: files are not always in order.
    pub(super) earliest: Vec<Timestamp>,
}

impl Survey {
    /// Reads all captures.
    pub(super) fn of<R: Read + Seek>(sources: &mut [Source<R>]) -> Result<Self, ReconcileError> {
        // Once more where some are cut: the whole of a packet cannot be compared then.
        match Self::comparing(Compared::Everything, sources)? {
            Some(survey) => Ok(survey),
            None => Ok(Self::comparing(Compared::Headers, sources)?.unwrap_or_default()),
        }
    }

    /// None where packets turn out to be cut and everything was to be compared.
    fn comparing<R: Read + Seek>(
        compared: Compared,
        sources: &mut [Source<R>],
    ) -> Result<Option<Self>, ReconcileError> {
        let mut sampler = Sampler::new(compared);
        let mut marked = BTreeMap::new();
        let mut places: Vec<Surveyed> = Vec::new();
        for (place, source) in sources.iter_mut().enumerate() {
            let mut reader = source.reader(place)?;
            let (mut frames, mut counts, mut last) = (0, 0, None);
            let mut earliest: Vec<Timestamp> = Vec::new();
            let mut span: Option<(Timestamp, Timestamp)> = None;
            let mut sender = None;
            sampler.routes.clear();
            let before: usize = places.iter().map(|place| place.interfaces.len()).sum();
            sampler.base = u32::try_from(before).unwrap_or(u32::MAX);
            while let Some(frame) = reader.next_frame() {
                frames += 1;
                let Some((link, record)) = counted(frame) else {
                    continue;
                };
                if compared == Compared::Everything && record.is_cut() {
                    return Ok(None);
                }
                let (first, latest) = span.unwrap_or((record.at, record.at));
                match earliest.last_mut() {
                    Some(earliest) if counts % CHUNK != 0 => *earliest = record.at.min(*earliest),
                    _ => earliest.push(record.at),
                }
                counts += 1;
                span = Some((first.min(record.at), latest.max(record.at)));
                last = Some(record.at);
                let route = sampler.see(link, &record, place);
                if record.direction == Some(Direction::Outbound)
                    && let Some(Route { source, .. }) = route
                    && sender != Some(source)
                {
                    sender = Some(source);
                    if marked.len() < MAX_MARKED {
                        marked.entry(source).or_insert(place);
                    }
                }
            }
            for chunk in (1..earliest.len()).rev() {
                earliest[chunk - 1] = earliest[chunk - 1].min(earliest[chunk]);
            }
            places.push(Surveyed {
                interfaces: reader.interfaces().cloned().collect(),
                statistics: reader.statistics().to_vec(),
                names: reader.names().to_vec(),
                dropped: reader.dropped(),
                unaligned_blocks: reader.unaligned_blocks(),
                stop: reader.stop().cloned(),
                frames,
                span,
                last,
                earliest,
            });
        }
        Ok(Some(Self {
            places,
            samples: sampler.finish(),
            marked,
            compared,
        }))
    }
}

impl Default for Survey {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            samples: Vec::new(),
            marked: BTreeMap::new(),
            compared: Compared::Headers,
        }
    }
}

/// Chooses packets, the same at each place.
struct Sampler {
    compared: Compared,
    /// Those whose hash is below are chosen.
    below: u64,
    /// The same in each run, so that each run tells the same.
    choice: FixedState,
    identifier: Identifier,
    chosen: Vec<Chosen>,
    /// Numbers of the chosen ones by their hash.
    found: HashTable<usize>,
    by_hash: usize,
    by_route: usize,
    sightings: usize,
    /// Interfaces of the places before the one that is read.
    base: u32,
    /// Packets of each route at the place that is read.
    routes: HashMap<Route, u8>,
}

struct Chosen {
    hash: u64,
    identity: u64,
    by_route: bool,
    /// It was seen more often than is kept.
    given_up: bool,
    same: Same,
}

impl Sampler {
    fn new(compared: Compared) -> Self {
        Self {
            compared,
            below: u64::MAX,
            choice: FixedState::with_seed(0),
            identifier: Identifier::new(compared),
            chosen: Vec::new(),
            found: HashTable::new(),
            by_hash: 0,
            by_route: 0,
            sightings: 0,
            base: 0,
            routes: HashMap::new(),
        }
    }

    /// Looks at a record, and gives its route.
    fn see(&mut self, link: LinkType, record: &Record<'_>, place: Place) -> Option<Route> {
        let mut state = self.choice.build_hasher();
        let route = hash_identity(link, &record.data, self.compared, &mut state).ok()??;
        let hash = state.finish();
        let by_route = self.is_first_of(route);
        let below = hash < self.below;
        let known = self
            .found
            .find(hash, |known| self.chosen[*known].hash == hash);
        if known.is_none() && !below && !by_route {
            return Some(route);
        }
        let Ok((identity, _)) = self.identifier.of(link, &record.data, place) else {
            return Some(route);
        };
        let sighting = Sighting {
            place,
            index: 0,
            interface: moved(self.base, record.interface),
            at: record.at,
            direction: record.direction,
            point: point(link, &record.data),
            turn: 0,
        };
        let known = self.found.find(hash, |known| {
            let known = &self.chosen[*known];
            (known.hash, known.identity) == (hash, identity)
        });
        if let Some(known) = known {
            let known = &mut self.chosen[*known];
            if known.same.sightings.len() >= MAX_SIGHTINGS_OF_ONE {
                self.sightings -= known.give_up();
            } else if !known.given_up {
                known.same.sightings.push(sighting);
                self.sightings += 1;
            }
        } else if below || by_route {
            let chosen = &self.chosen;
            self.found
                .insert_unique(hash, self.chosen.len(), |known| chosen[*known].hash);
            self.by_hash += usize::from(!by_route);
            self.by_route += usize::from(by_route);
            self.sightings += 1;
            self.chosen.push(Chosen {
                hash,
                identity,
                by_route,
                given_up: false,
                same: Same {
                    route: Some(route),
                    sightings: vec![sighting],
                },
            });
        }
        if self.by_hash > MAX_CHOSEN || self.sightings > MAX_SIGHTINGS {
            self.thin_out();
        }
        Some(route)
    }

    /// Whether few packets of a route were seen before at the place.
    fn is_first_of(&mut self, route: Route) -> bool {
        if let Some(count) = self.routes.get_mut(&route) {
            if *count >= CHOSEN_BY_ROUTE {
                return false;
            }
            *count += 1;
        } else if self.routes.len() < MAX_ROUTES {
            self.routes.insert(route, 1);
        } else {
            return false;
        }
        self.by_route < MAX_BY_ROUTE
    }

    /// Halves those that are chosen by their hash.
    #[cold]
    fn thin_out(&mut self) {
        self.below /= 2;
        if self.sightings > MAX_SIGHTINGS {
            for chosen in &mut self.chosen {
                if chosen.same.sightings.len() > FEW_SIGHTINGS {
                    chosen.give_up();
                }
            }
        }
        let below = self.below;
        self.chosen
            .retain(|chosen| chosen.by_route || chosen.hash < below);
        self.found.clear();
        for (number, chosen) in self.chosen.iter().enumerate() {
            let all = &self.chosen;
            self.found
                .insert_unique(chosen.hash, number, |known| all[*known].hash);
        }
        self.by_hash = self.chosen.len() - self.by_route;
        let sightings = self.chosen.iter().map(|chosen| chosen.same.sightings.len());
        self.sightings = sightings.sum();
    }

    fn finish(self) -> Vec<Same> {
        let kept = self.chosen.into_iter().filter(|chosen| !chosen.given_up);
        kept.map(|chosen| chosen.same).collect()
    }
}

impl Chosen {
    /// Forgets its sightings, and tells how many these were.
    fn give_up(&mut self) -> usize {
        self.given_up = true;
        std::mem::take(&mut self.same.sightings).len()
    }
}
