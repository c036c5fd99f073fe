//! Several captures become one.

use std::collections::{BTreeSet, HashSet};
use std::io::{Read, Seek};
use std::net::IpAddr;

use super::align::{Known, true_ns};
use super::clocks::{Alignment, Clock};
use super::copies::Repeated;
use super::passage::{self, Fate, Judged, Timed};
use super::recut::{Piece, Recut, bit};
use super::sighting::{Identifier, Place, Same, Sighting};
use super::source::{ReconcileError, Source, counted, moved, point};
use super::survey::{CHUNK, Survey, Surveyed};
use super::window::{Outcome, Seen, Window};
use crate::pcapng::{
    Delivery, Interface, InterfaceId, MAX_INTERFACES, MergeError, Reader, Record, Statistics, Stop,
};
use crate::units::{Timestamp, show_duration};
use crate::wire::LinkType;

/// Captures of the same traffic, of which each packet is told once.
///
/// They are read twice: first to compare their clocks, then packet by packet. What is kept at a time are the records of
/// about as long as packets are under way.
#[derive(Debug)]
pub struct Reconciliation<R: Read> {
    readings: Vec<Reading<R>>,
    /// How many records there are.
    records: u64,
    identifier: Identifier,
    known: Known,
    pub(super) window: Window,
    recut: Recut,
    outline: Outline,
    tally: Tally,
    /// Records that look the same and are further apart are of several packets.
    reach_ns: i128,
    /// All records before have come.
    horizon_ns: i128,
    /// Packets up to here were told apart before all of their records may have come.
    hasty_until_ns: Option<i128>,
    /// The record that was given last.
    given: Option<usize>,
    same: Same,
}

/// What is known of captures beside their packets, as one.
#[derive(Debug, Default)]
pub struct Outline {
    /// What the captures are called.
    pub places: Vec<String>,
    /// Their interfaces in one row. A name that does not tell its host gets that of the capture: `eth0@alice`.
    pub interfaces: Vec<Interface>,
    /// What the interfaces counted, at the time of the first capture's clock.
    pub statistics: Vec<(InterfaceId, Timestamp, Statistics)>,
    /// Names of addresses that any of the captures gives.
    pub names: Vec<(IpAddr, String)>,
    /// Captures that end early, and where.
    pub stops: Vec<(String, Stop)>,
    /// Captures with blocks whose length is no multiple of four, which the format forbids, and how many.
    pub unaligned: Vec<(String, u64)>,
    /// Captures whose own kernel says that it dropped packets, and how many: what seems lost on
    /// its way to them may have arrived.
    pub dropped: Vec<(String, u64)>,
    /// Captures that recorded many packets several times.
    pub repeated: Vec<(String, Repeated)>,
}

/// What became of the packets told so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// They arrived.
    pub arrived: u64,
    /// They never did.
    pub lost: u64,
    /// Their sender's place did not record them.
    pub unsent: u64,
    /// One place alone saw them, and nothing says that another one should have.
    pub unwatched: u64,
    /// Of these, packets of which nothing is known since too many records were of about one time.
    pub hasty: u64,
    /// Pairs of captures, by position, that do not hold all the same packets, since a network card cuts some into
    /// segments or puts them together: these are not called lost.
    pub offloaded: BTreeSet<[usize; 2]>,
}

/// A packet of several captures.
#[derive(Debug)]
pub struct Passage<'a> {
    /// As it was recorded where it was sent, at the time of the first capture's clock.
    pub record: Record<'a>,
    /// What its record begins with.
    pub link: LinkType,
    /// The capture that its record is of, by position.
    pub place: usize,
    /// What became of it.
    pub fate: Fate,
    /// What the last place that saw it is called.
    pub last_seen: &'a str,
}

/// One of the captures, while it is read for the second time.
#[derive(Debug)]
struct Reading<R: Read> {
    reader: Reader<R>,
    /// Records that are left of those that there were at first.
    left: u64,
    /// How many were read that count.
    number: u64,
    /// Interfaces of the captures before it.
    base: u32,
    /// The earliest record from each chunk on, by its own clock.
    earliest: Vec<Timestamp>,
    /// By how much records may be in another order by the first capture's clock.
    slack_ns: i128,
    /// All records before have come.
    reached_ns: i128,
}

/// How long packets are taken to be under way at most where nothing tells it.
const LONG_NS: i128 = 1_000_000_000;

impl<R: Read + Seek> Reconciliation<R> {
    /// Reads captures for the first time, and begins to put them together.
    ///
    /// # Errors
    /// What is no capture, and more interfaces than a file can describe.
    pub fn of(mut sources: Vec<Source<R>>) -> Result<Self, ReconcileError> {
        let mut survey = Survey::of(&mut sources)?;
        let known = Known::of(&mut survey);
        let mut outline = Outline::default();
        let mut readings = Vec::new();
        for (place, (source, surveyed)) in sources.into_iter().zip(survey.places).enumerate() {
            let frames = surveyed.frames;
            let slack_ns = known.clocks.get(place).map_or(0, spread_ns);
            let earliest = surveyed.earliest.clone();
            let repeated = known.copies.at(place);
            let repeated = repeated.map(|repeated| (source.name.clone(), repeated));
            outline.repeated.extend(repeated);
            let base = outline.add(source.name.clone(), surveyed, &known.clocks)?;
            readings.push(Reading {
                reader: source.into_reader(place)?,
                left: frames,
                number: 0,
                base,
                earliest,
                slack_ns,
                reached_ns: i128::MIN,
            });
        }
        Ok(Self {
            records: readings.iter().map(|reading| reading.left).sum(),
            readings,
            identifier: Identifier::new(survey.compared),
            window: Window::new(),
            recut: Recut::default(),
            outline,
            tally: Tally::default(),
            reach_ns: known.longest_ns.unwrap_or(LONG_NS),
            horizon_ns: i128::MIN,
            hasty_until_ns: None,
            given: None,
            same: Same {
                route: None,
                sightings: Vec::new(),
            },
            known,
        })
    }

    /// What is known beside the packets.
    #[must_use]
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// How the clock of each capture was aligned.
    #[must_use]
    pub fn clocks(&self) -> &[Clock] {
        &self.known.clocks
    }

    /// What became of the packets told so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// How many records the packets told so far were of, and how many there are.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        let left: u64 = self.readings.iter().map(|reading| reading.left).sum();
        let held = self.window.held() as u64;
        (self.records.saturating_sub(left + held), self.records)
    }

    /// The next packet in order of time.
    pub fn next_packet(&mut self) -> Option<Passage<'_>> {
        if let Some(slot) = self.given.take() {
            self.window.release(slot);
        }
        // Each turn reads a record, tells apart what some of them are of, or takes one of these out.
        let slot = loop {
            if let Some(slot) = self.next_settled() {
                break slot;
            }
            if self.horizon_ns == i128::MAX && self.window.is_empty() {
                return None;
            }
            if self.close_oldest() {
                continue;
            }
            // A record that is far out of time keeps all others from being settled.
            if self.window.is_full()
                && let Some(slot) = self.window.pop()
            {
                break slot;
            }
            self.read_on();
        };
        self.given = Some(slot);
        let (fate, last_seen) = self.judge(slot);
        self.tally.count(fate);
        let slot = self.window.slot(slot);
        Some(Passage {
            record: Record {
                interface: slot.sighting.interface,
                at: timestamp(slot.at_ns),
                direction: slot.sighting.direction,
                orig_len_bytes: slot.orig_len_bytes,
                data: slot.data.as_slice().into(),
                comments: slot.comments.as_slice().into(),
                delivery: slot.delivery,
            },
            link: slot.link,
            place: slot.sighting.place,
            fate,
            last_seen: self
                .outline
                .places
                .get(last_seen)
                .map_or("", String::as_str),
        })
    }

    /// The earliest packet, if it is known what others of about its time are.
    fn next_settled(&mut self) -> Option<usize> {
        let at_ns = self.window.ready_ns()?;
        let settled_ns = self.window.settled_ns(self.horizon_ns);
        let is_known = at_ns.saturating_add(self.reach_ns) < settled_ns;
        // Where too much is kept it goes without what others may tell of it.
        let is_due = is_known || self.window.is_full() && at_ns < settled_ns;
        if is_due { self.window.pop() } else { None }
    }

    /// Tells apart the packets of the oldest group, if all of its records have come or too much is kept.
    fn close_oldest(&mut self) -> bool {
        let Some(last_ns) = self.window.oldest_ns() else {
            return false;
        };
        if last_ns.saturating_add(self.reach_ns) >= self.horizon_ns {
            if !self.window.is_full() {
                return false;
            }
            self.hurry(last_ns);
        }
        let mut same = std::mem::replace(
            &mut self.same,
            Same {
                route: None,
                sightings: Vec::new(),
            },
        );
        self.window.close(&mut same);
        self.known.copies.number(&mut same);
        let longest_ns = self.known.longest_ns;
        let window = &self.window;
        let time = |sighting: &Sighting| window.slot(sighting.index).at_ns;
        match *same.sightings.as_slice() {
            [] => {}
            [one] => {
                let packet = [timed(time, one)];
                self.settle(&packet, &same);
            }
            [one, other] if one.spot() != other.spot() => {
                let mut packet = [one, other].map(|sighting| timed(time, sighting));
                packet.sort_by_key(|timed| timed.at_ns);
                self.settle(&packet, &same);
            }
            _ => {
                for packet in passage::packets(&same, time, longest_ns) {
                    self.settle(&packet, &same);
                }
            }
        }
        self.same = same;
        true
    }

    /// A packet is told apart.
    fn settle(&mut self, packet: &[Timed], same: &Same) {
        let places = &self.known.places;
        let Some(sent) = passage::sent(packet, same.route, places) else {
            return;
        };
        let mut judged = passage::judge(packet, sent, same.route, places);
        let seen = packet
            .iter()
            .fold(0, |seen, timed| seen | bit(timed.sighting.place));
        let mut piece = None;
        if same.route.is_some()
            && (1..self.readings.len()).contains(&(seen.count_ones() as usize))
            && let Some(first) = packet.first()
        {
            let slot = self.window.slot(first.sighting.index);
            piece = Piece::of(slot.link, &slot.data, slot.orig_len_bytes, first.at_ns);
            if let Some(piece) = &piece {
                self.recut.add(piece, seen);
            }
        }
        let too_early = |until_ns: i128| {
            let first = packet.first().map_or(sent.at_ns, |first| first.at_ns);
            first <= until_ns.saturating_add(self.reach_ns)
        };
        if judged.doubt.is_some() && self.hasty_until_ns.is_some_and(too_early) {
            judged = Judged::unknown();
            self.tally.hasty += 1;
        }
        let receiver = same
            .route
            .and_then(|route| places.homes.get(&route.destination));
        let arrived_at = receiver.filter(|_| matches!(judged.fate, Fate::Arrived(_)));
        let last = packet.last().map_or(sent, |last| last).sighting.place;
        let outcome = Outcome {
            last_seen: arrived_at.copied().unwrap_or(last),
            piece: piece.filter(|_| judged.doubt.is_some()),
            judged,
        };
        let kept = sent.sighting.index;
        for timed in packet.iter().filter(|timed| timed.sighting.index != kept) {
            self.window.release(timed.sighting.index);
        }
        self.window.settle(kept, outcome);
    }

    /// What became of a packet, by all that is known at its turn; and the last place that saw it.
    fn judge(&mut self, slot: usize) -> (Fate, Place) {
        let at_ns = self.window.slot(slot).at_ns;
        self.recut
            .forget_before(at_ns.saturating_sub(2 * self.reach_ns));
        let settled_ns = self.window.settled_ns(self.horizon_ns);
        let is_hasty = at_ns.saturating_add(self.reach_ns) >= settled_ns;
        let Some(outcome) = self.window.slot_mut(slot).outcome.take() else {
            return (Fate::Unwatched, 0);
        };
        let Outcome {
            judged,
            last_seen,
            piece,
        } = outcome;
        let Some((having, lacking)) = judged.doubt else {
            return (judged.fate, last_seen);
        };
        let recut =
            piece.is_some_and(|piece| self.recut.has_bytes(&piece, having, lacking, self.reach_ns));
        if recut {
            let pair = [having.min(lacking), having.max(lacking)];
            self.tally.offloaded.insert(pair);
            return (judged.otherwise, last_seen);
        }
        if is_hasty {
            self.tally.hasty += 1;
            return (Fate::Unwatched, last_seen);
        }
        (judged.fate, last_seen)
    }

    /// More was kept than may be: nothing is sure up to a moment.
    #[cold]
    fn hurry(&mut self, until_ns: i128) {
        let until_ns = self
            .hasty_until_ns
            .map_or(until_ns, |old| old.max(until_ns));
        self.hasty_until_ns = Some(until_ns);
    }

    /// Reads a record of the place that is furthest behind.
    fn read_on(&mut self) {
        let numbered = self.readings.iter().enumerate();
        let behind = numbered.min_by_key(|(_, reading)| reading.reached_ns);
        let Some((place, _)) = behind.filter(|(_, reading)| reading.reached_ns != i128::MAX) else {
            self.horizon_ns = i128::MAX;
            return;
        };
        let reading = &mut self.readings[place];
        let frame = if reading.left > 0 {
            reading.left -= 1;
            reading.reader.next_frame()
        } else {
            None
        };
        let Some(frame) = frame else {
            reading.reached_ns = i128::MAX;
            self.advance();
            return;
        };
        let Some((link, record)) = counted(frame) else {
            return;
        };
        let at_ns = true_ns(&self.known.clocks, place, record.at);
        let identity = self.identifier.of(link, &record.data, place);
        let number = reading.number;
        reading.number += 1;
        let chunk = number.is_multiple_of(CHUNK).then_some(number / CHUNK);
        let earliest = chunk.and_then(|chunk| reading.earliest.get(usize::try_from(chunk).ok()?));
        if let Some(earliest) = earliest {
            let reached_ns = true_ns(&self.known.clocks, place, *earliest);
            reading.reached_ns = reached_ns.saturating_sub(reading.slack_ns);
        }
        let seen = Seen {
            at_ns,
            number,
            sighting: Sighting {
                place,
                index: 0,
                interface: moved(reading.base, record.interface),
                at: record.at,
                direction: record.direction,
                point: point(link, &record.data),
                turn: 0,
            },
            link,
            identity: identity.as_ref().ok().map(|(identity, _)| *identity),
            route: identity.ok().and_then(|(_, route)| route),
            record,
        };
        self.window.take_in(seen, self.horizon_ns, self.reach_ns);
        if chunk.is_some() {
            self.advance();
        }
    }

    fn advance(&mut self) {
        let reached = self.readings.iter().map(|reading| reading.reached_ns);
        self.horizon_ns = reached.min().unwrap_or(i128::MAX);
    }
}

fn timed(time: impl Fn(&Sighting) -> i128, sighting: Sighting) -> Timed {
    Timed {
        at_ns: time(&sighting),
        sighting,
    }
}

/// How far the offset of a clock changes: its records may be that much out of order by another clock.
fn spread_ns(clock: &Clock) -> i128 {
    let Alignment::Drift(points) = &clock.alignment else {
        return 0;
    };
    let offsets = || points.iter().map(|(_, offset)| *offset);
    let (least, most) = (offsets().min(), offsets().max());
    // It goes on beyond both ends.
    2 * (most.unwrap_or_default() - least.unwrap_or_default())
}

fn timestamp(ns: i128) -> Timestamp {
    Timestamp(u64::try_from(ns.max(0)).unwrap_or(u64::MAX))
}

impl Outline {
    /// Adds what a capture says, and gives the number of its first interface.
    fn add(
        &mut self,
        name: String,
        surveyed: Surveyed,
        clocks: &[Clock],
    ) -> Result<u32, MergeError> {
        let place = self.places.len();
        let lost = surveyed.dropped;
        if lost > 0 {
            self.dropped.push((name.clone(), lost));
        }
        let base = u32::try_from(self.interfaces.len()).map_err(|_| MergeError::Interfaces)?;
        let renamed = surveyed.interfaces.into_iter().map(|mut interface| {
            if interface.name.is_empty() {
                interface.name.clone_from(&name);
            } else if !interface.name.contains('@') {
                // `eth0` of every machine is called so; the rig's own names tell their host.
                interface.name = format!("{}@{name}", interface.name);
            }
            interface
        });
        self.interfaces.extend(renamed);
        if self.interfaces.len() > MAX_INTERFACES {
            return Err(MergeError::Interfaces);
        }
        let told = surveyed.statistics.iter().map(|(.., told)| told.dropped);
        let untold = lost.saturating_sub(told.fold(0, u64::saturating_add));
        if untold > 0
            && let Some(last) = surveyed.last
        {
            // Its packets told it, and they are one by one from now on.
            let at = timestamp(true_ns(clocks, place, last));
            let statistics = Statistics {
                received: 0,
                dropped: untold,
            };
            self.statistics.push((InterfaceId(base), at, statistics));
        }
        for (id, at, statistics) in surveyed.statistics {
            let at = timestamp(true_ns(clocks, place, at));
            self.statistics.push((moved(base, id), at, statistics));
        }
        let mut known: HashSet<IpAddr> = self.names.iter().map(|(address, _)| *address).collect();
        let names = surveyed.names.into_iter();
        self.names
            .extend(names.filter(|(address, _)| known.insert(*address)));
        if surveyed.unaligned_blocks > 0 {
            let blocks = surveyed.unaligned_blocks;
            self.unaligned.push((name.clone(), blocks));
        }
        if let Some(stop) = surveyed.stop {
            self.stops.push((name.clone(), stop));
        }
        self.places.push(name);
        Ok(base)
    }
}

impl Tally {
    /// All of them.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.arrived + self.lost + self.unsent + self.unwatched
    }

    fn count(&mut self, fate: Fate) {
        let count = match fate {
            Fate::Arrived(_) => &mut self.arrived,
            Fate::Lost => &mut self.lost,
            Fate::Unsent => &mut self.unsent,
            Fate::Unwatched => &mut self.unwatched,
        };
        *count += 1;
    }
}

impl<'a> Passage<'a> {
    /// The packet for the merged capture, with what became of it: as data, and in a comment where it was lost, or, with
    /// `delays`, where it arrived. What a record says of itself already stands as it is.
    #[must_use]
    pub fn into_record(self, delays: bool) -> Record<'a> {
        if self.record.delivery.is_some() {
            return self.record;
        }
        let comment = self.comment(delays);
        let mut record = self.record;
        record.comments.to_mut().extend(comment);
        record.delivery = match self.fate {
            Fate::Lost => Some(Delivery::Lost),
            Fate::Unsent => Some(Delivery::Unsent),
            Fate::Arrived(_) | Fate::Unwatched => None,
        };
        record
    }

    fn comment(&self, delays: bool) -> Option<String> {
        let last = self.last_seen;
        match self.fate {
            Fate::Lost => Some(format!("lost: last seen at {last}")),
            Fate::Unsent => Some("not recorded where it was sent".to_owned()),
            Fate::Arrived(delay) if delays => {
                Some(format!("arrived at {last} after {}", show_duration(delay)))
            }
            Fate::Arrived(_) | Fate::Unwatched => None,
        }
    }
}
