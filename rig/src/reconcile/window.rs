//! The packets of several captures that are looked at together: those of about one time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use hashbrown::HashTable;

use super::passage::Judged;
use super::recut::Piece;
use super::sighting::{Place, Same, Sighting};
use crate::pcapng::{Delivery, Record};
use crate::wire::{LinkType, Route};

/// How many records are kept at once, and how many bytes of them.
const MAX_HELD: usize = 1 << 18;
const MAX_HELD_BYTES: usize = 64 << 20;

/// How many records may look the same before they are told apart.
const MAX_ALIKE: u32 = 4096;

/// How many groups may be open of which the records look the same; records of more are of packets of their own.
const MAX_GROUPS_ALIKE: usize = 256;

/// Buffers of packets that are kept for the next ones, and how large these may be.
const SPARE_BUFFERS: usize = 1 << 12;
const SPARE_BYTES: usize = 2048;

/// Records of about one time, and which of them may be of one packet.
#[derive(Debug, Default)]
pub(super) struct Window {
    slots: Vec<Slot>,
    free_slots: Vec<usize>,
    groups: Vec<Group>,
    free_groups: Vec<usize>,
    /// Open groups by their identity.
    found: HashTable<usize>,
    /// Open groups in the order in which they began.
    open: VecDeque<usize>,
    /// Packets that are told apart, by their time, place and position there, with their slot.
    ready: BinaryHeap<Reverse<(i128, Place, u64, usize)>>,
    spare: Vec<Vec<u8>>,
    held: usize,
    held_bytes: usize,
    /// See [`MAX_HELD`], which tests make smaller.
    max_held: usize,
}

/// A record that is kept.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) at_ns: i128,
    /// Position of the record in its capture.
    pub(super) number: u64,
    pub(super) sighting: Sighting,
    pub(super) link: LinkType,
    pub(super) orig_len_bytes: u32,
    pub(super) data: Vec<u8>,
    pub(super) comments: Vec<String>,
    pub(super) delivery: Option<Delivery>,
    /// The next one of its group.
    next: Option<usize>,
    /// What became of the packet that it stands for.
    pub(super) outcome: Option<Outcome>,
}

/// What became of a packet, but for what others may tell.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) judged: Judged,
    /// The last place that saw it.
    pub(super) last_seen: Place,
    /// Its bytes, where these may be in other packets.
    pub(super) piece: Option<Piece>,
}

/// Records that look the same.
#[derive(Debug)]
struct Group {
    identity: Option<u64>,
    route: Option<Route>,
    first: usize,
    last: usize,
    count: u32,
    /// The earliest and the latest of them.
    first_at_ns: i128,
    last_at_ns: i128,
    /// No record that comes later is of an earlier time.
    since_ns: i128,
}

/// A record that was read.
pub(super) struct Seen<'a> {
    pub(super) at_ns: i128,
    pub(super) number: u64,
    pub(super) sighting: Sighting,
    pub(super) link: LinkType,
    pub(super) record: Record<'a>,
    /// What it is known by; none where it is like no other.
    pub(super) identity: Option<u64>,
    pub(super) route: Option<Route>,
}

impl Window {
    /// A window that keeps nothing yet.
    pub(super) fn new() -> Self {
        Self {
            max_held: MAX_HELD,
            ..Self::default()
        }
    }

    #[cfg(test)]
    pub(super) fn limit_to(&mut self, max_held: usize) {
        self.max_held = max_held;
    }

    /// How many records are kept.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes in a record. Those before `since_ns` have all come. Records that look the same and are at most
    /// `reach_ns` apart are of one group.
    pub(super) fn take_in(&mut self, seen: Seen<'_>, since_ns: i128, reach_ns: i128) {
        let Seen {
            at_ns,
            identity,
            route,
            ..
        } = seen;
        let slot = self.keep(seen);
        let (mut alike, mut known) = (0, None);
        if let Some(identity) = identity {
            let groups = &self.groups;
            let same = |group: &&usize| groups[**group].identity == Some(identity);
            for number in self
                .found
                .iter_hash(identity)
                .filter(same)
                .take(MAX_GROUPS_ALIKE)
            {
                alike += 1;
                let group = &groups[*number];
                // The places are read in turns, so that a record may be of an earlier time than others of its group.
                let within = group.first_at_ns - reach_ns..=group.last_at_ns + reach_ns;
                if within.contains(&at_ns) && group.count < MAX_ALIKE {
                    known = Some(*number);
                    break;
                }
            }
        }
        if let Some(group) = known {
            let group = &mut self.groups[group];
            self.slots[group.last].next = Some(slot);
            group.last = slot;
            group.count += 1;
            group.first_at_ns = group.first_at_ns.min(at_ns);
            group.last_at_ns = group.last_at_ns.max(at_ns);
            return;
        }
        let group = Group {
            identity,
            route,
            first: slot,
            last: slot,
            count: 1,
            first_at_ns: at_ns,
            last_at_ns: at_ns,
            since_ns,
        };
        let number = self.free_groups.pop().unwrap_or(self.groups.len());
        match self.groups.get_mut(number) {
            Some(free) => *free = group,
            None => self.groups.push(group),
        }
        self.open.push_back(number);
        if let Some(identity) = identity
            && alike < MAX_GROUPS_ALIKE
        {
            let groups = &self.groups;
            let hash = |group: &usize| groups[*group].identity.unwrap_or_default();
            self.found.insert_unique(identity, number, hash);
        }
    }

    fn keep(&mut self, seen: Seen<'_>) -> usize {
        let mut data = self.spare.pop().unwrap_or_default();
        data.extend_from_slice(&seen.record.data);
        self.held += 1;
        self.held_bytes += data.len();
        let slot = Slot {
            at_ns: seen.at_ns,
            number: seen.number,
            sighting: seen.sighting,
            link: seen.link,
            orig_len_bytes: seen.record.orig_len_bytes,
            data,
            comments: seen.record.comments.into_owned(),
            delivery: seen.record.delivery,
            next: None,
            outcome: None,
        };
        let place = self.free_slots.pop().unwrap_or(self.slots.len());
        match self.slots.get_mut(place) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        self.slots[place].sighting.index = place;
        place
    }

    /// A record that is kept.
    pub(super) fn slot(&self, slot: usize) -> &Slot {
        &self.slots[slot]
    }

    /// See there.
    pub(super) fn slot_mut(&mut self, slot: usize) -> &mut Slot {
        &mut self.slots[slot]
    }

    /// Gives up a record.
    pub(super) fn release(&mut self, slot: usize) {
        let freed = &mut self.slots[slot];
        let mut data = std::mem::take(&mut freed.data);
        freed.comments = Vec::new();
        freed.outcome = None;
        self.held -= 1;
        self.held_bytes -= data.len();
        if self.spare.len() < SPARE_BUFFERS && data.capacity() <= SPARE_BYTES {
            data.clear();
            self.spare.push(data);
        }
        self.free_slots.push(slot);
    }

    /// Whether more is kept than may be.
    pub(super) fn is_full(&self) -> bool {
        self.held > self.max_held || self.held_bytes > MAX_HELD_BYTES
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.ready.is_empty()
    }

    /// No packet that is not told apart yet is of an earlier time, where all records before `horizon_ns` have come.
    pub(super) fn settled_ns(&self, horizon_ns: i128) -> i128 {
        let oldest = self.open.front().map(|group| self.groups[*group].since_ns);
        oldest.unwrap_or(horizon_ns)
    }

    /// When the last record of the oldest group was seen; none where no group is open.
    pub(super) fn oldest_ns(&self) -> Option<i128> {
        Some(self.groups[*self.open.front()?].last_at_ns)
    }

    /// Closes the oldest group and puts its records into `same`, those of an earlier place first.
    pub(super) fn close(&mut self, same: &mut Same) {
        same.sightings.clear();
        let Some(number) = self.open.pop_front() else {
            return;
        };
        let group = &self.groups[number];
        same.route = group.route;
        let mut next = Some(group.first);
        while let Some(slot) = next {
            same.sightings.push(self.slots[slot].sighting);
            next = self.slots[slot].next;
        }
        if let Some(identity) = group.identity
            && let Ok(found) = self.found.find_entry(identity, |group| *group == number)
        {
            found.remove();
        }
        self.free_groups.push(number);
        // A stable sort: records of one place are in the order of its capture.
        same.sightings.sort_by_key(|sighting| sighting.place);
    }

    /// A packet is told apart, and the record in `slot` stands for it.
    pub(super) fn settle(&mut self, slot: usize, outcome: Outcome) {
        let stands = &mut self.slots[slot];
        stands.outcome = Some(outcome);
        let key = (stands.at_ns, stands.sighting.place, stands.number, slot);
        self.ready.push(Reverse(key));
    }

    /// When the earliest packet that is told apart was sent.
    pub(super) fn ready_ns(&self) -> Option<i128> {
        self.ready.peek().map(|Reverse((at_ns, ..))| *at_ns)
    }

    /// Takes the earliest packet that is told apart.
    pub(super) fn pop(&mut self) -> Option<usize> {
        let Reverse((.., slot)) = self.ready.pop()?;
        Some(slot)
    }
}
