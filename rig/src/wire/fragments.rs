//! Putting fragments together again: RFC 791 section 3.2, RFC 8200 section 4.5.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;

use super::ip::{Ip, Piece, len_u32};
use super::tunnel::Tunnels;
use crate::units::Timestamp;

/// The most packets of which fragments are kept.
const MAX_PACKETS: usize = 4096;

/// The most memory for fragments, in bytes: Linux' `ipfrag_high_thresh`.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What a fragment takes beside its bytes.
const OVERHEAD_BYTES: usize = 64;

/// How long fragments wait for the others, in capture time: Linux' `ipfrag_time`.
const MAX_WAIT_NS: u64 = 30_000_000_000;

/// The longest payload that fragments may make: an IP length has 16 bits.
const MAX_PAYLOAD_BYTES: u32 = 65_535;

/// Fragments whose packets are not complete yet.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    packets: HashMap<Key, Partial>,
    /// In the order in which they began, with the number that tells apart those of one key.
    order: VecDeque<(Key, u64)>,
    begun: u64,
    bytes: usize,
    /// First fragments of packets that were given up, until they are fetched.
    given_up: VecDeque<Whole>,
    /// Fragments that made no packet.
    pub(super) lost: u64,
}

/// What tells the packets apart that fragments belong to. IPv6 leaves the protocol out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    protocol: Option<u8>,
    tunnels: Tunnels,
}

/// A packet of which fragments are there.
#[derive(Debug)]
struct Partial {
    number: u64,
    begin: Timestamp,
    /// By their place in the payload; they do not overlap.
    pieces: BTreeMap<u32, Bytes>,
    /// Length of all pieces on the wire.
    have: u32,
    /// Length of the whole payload, once its last fragment is there.
    need: Option<u32>,
    first: Option<First>,
}

/// Bytes of a fragment.
#[derive(Debug)]
struct Bytes {
    captured: Vec<u8>,
    /// Length on the wire.
    len: u32,
}

/// What only the first fragment knows.
#[derive(Debug, Clone, Copy)]
struct First {
    frame: u64,
    at: Timestamp,
    protocol: u8,
    header_len: u32,
    hop_limit: u8,
    ip_id: Option<u16>,
    checkable: bool,
}

/// A packet put together, or the first fragment of one that could not be.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) frame: u64,
    pub(super) at: Timestamp,
    source: IpAddr,
    destination: IpAddr,
    pub(super) tunnels: Tunnels,
    protocol: u8,
    header_len: u32,
    hop_limit: u8,
    ip_id: Option<u16>,
    payload: Vec<u8>,
    payload_len: u32,
    /// It is no more than the first fragment.
    first_only: bool,
    checkable: bool,
}

impl Whole {
    /// As though it had been captured in one piece.
    pub(super) fn ip(&self) -> Ip<'_> {
        Ip {
            source: self.source,
            destination: self.destination,
            protocol: self.protocol,
            payload: &self.payload,
            payload_len: self.payload_len,
            len: self.header_len.saturating_add(self.payload_len),
            hop_limit: self.hop_limit,
            id: self.ip_id,
            piece: self.first_only.then_some(Piece {
                id: 0,
                offset: 0,
                more: true,
            }),
            cut: false,
            damaged: false,
            checkable: self.checkable,
        }
    }
}

impl Fragments {
    /// Takes in a fragment; gives the packet that it completes.
    pub(super) fn add(
        &mut self,
        ip: &Ip<'_>,
        piece: Piece,
        tunnels: Tunnels,
        (frame, at): (u64, Timestamp),
    ) -> Option<Whole> {
        self.give_up_before(at);
        let end = piece.offset.checked_add(ip.payload_len)?;
        // Only the last one may have any length.
        let aligned = !piece.more || ip.payload_len.is_multiple_of(8);
        if end > MAX_PAYLOAD_BYTES || ip.payload_len == 0 || !aligned {
            self.lost += 1;
            return None;
        }
        let key = Key {
            source: ip.source,
            destination: ip.destination,
            id: piece.id,
            protocol: ip.source.is_ipv4().then_some(ip.protocol),
            tunnels,
        };
        self.begin(key, at);
        let partial = self.packets.get_mut(&key)?;
        match partial.take(ip, piece, (frame, at)) {
            Taken::New => self.bytes += ip.payload.len() + OVERHEAD_BYTES,
            Taken::Again => return None,
            // As Linux does: one of two that contradict each other is forged, and it is not known
            // which.
            Taken::Contradicts => {
                self.lost += 1;
                self.forget(key);
                return None;
            }
        }
        if partial.need == Some(partial.have) {
            let partial = self.remove(key)?;
            return partial.whole(key, (frame, at));
        }
        self.keep_bounds();
        None
    }

    /// The first fragment of a packet whose others did not come.
    pub(super) fn fetch_given_up(&mut self) -> Option<Whole> {
        self.given_up.pop_front()
    }

    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.bytes
    }

    /// Gives up what has waited too long at this moment.
    fn give_up_before(&mut self, now: Timestamp) {
        while let Some((key, number)) = self.order.front().copied() {
            let found = self.packets.get(&key).filter(|p| p.number == number);
            let waits = found.is_some_and(|p| now.0.saturating_sub(p.begin.0) <= MAX_WAIT_NS);
            if waits {
                return;
            }
            let is_there = found.is_some();
            self.order.pop_front();
            if is_there {
                self.give_up(key);
            }
        }
    }

    /// Gives up everything: no more will come.
    pub(super) fn give_up_all(&mut self) {
        while let Some((key, number)) = self.order.pop_front() {
            if self.packets.get(&key).is_some_and(|p| p.number == number) {
                self.give_up(key);
            }
        }
    }

    /// Gives up the oldest until the bounds are kept.
    fn keep_bounds(&mut self) {
        while self.packets.len() > MAX_PACKETS || self.bytes > MAX_BYTES {
            let Some((key, number)) = self.order.pop_front() else {
                return;
            };
            if self.packets.get(&key).is_some_and(|p| p.number == number) {
                self.give_up(key);
            }
        }
    }

    fn begin(&mut self, key: Key, at: Timestamp) {
        if self.packets.contains_key(&key) {
            return;
        }
        self.begun += 1;
        let partial = Partial {
            number: self.begun,
            begin: at,
            pieces: BTreeMap::new(),
            have: 0,
            need: None,
            first: None,
        };
        self.packets.insert(key, partial);
        self.order.push_back((key, self.begun));
        // Completed packets leave their places behind.
        if self.order.len() > 2 * MAX_PACKETS {
            let packets = &self.packets;
            self.order
                .retain(|(key, number)| packets.get(key).is_some_and(|p| p.number == *number));
        }
    }

    fn remove(&mut self, key: Key) -> Option<Partial> {
        let partial = self.packets.remove(&key)?;
        for piece in partial.pieces.values() {
            self.bytes -= piece.captured.len() + OVERHEAD_BYTES;
        }
        Some(partial)
    }

    /// Forgets a packet altogether.
    fn forget(&mut self, key: Key) {
        if let Some(partial) = self.remove(key) {
            self.lost += partial.pieces.len() as u64;
        }
    }

    /// Forgets a packet but for its first fragment, which names the ports.
    fn give_up(&mut self, key: Key) {
        let Some(mut partial) = self.remove(key) else {
            return;
        };
        let first = partial
            .first
            .and_then(|first| partial.first_only(key, first));
        self.lost += partial.pieces.len() as u64;
        self.given_up.extend(first);
    }
}

/// What became of a fragment.
enum Taken {
    New,
    /// All its bytes were there already.
    Again,
    /// It overlaps others, or says another length.
    Contradicts,
}

impl Partial {
    fn take(&mut self, ip: &Ip<'_>, piece: Piece, (frame, at): (u64, Timestamp)) -> Taken {
        let (start, end) = (piece.offset, piece.offset + ip.payload_len);
        let before = self.pieces.range(..=start).next_back();
        let before_end = before.map_or(0, |(at, bytes)| at + bytes.len);
        if before_end >= end {
            return Taken::Again;
        }
        let after = self.pieces.range(start..).next().map(|(at, _)| *at);
        let overlaps = before_end > start || after.is_some_and(|after| after < end);
        let last_end = self.pieces.last_key_value().map_or(0, |(at, b)| at + b.len);
        let too_long = match self.need {
            Some(need) => end > need || (!piece.more && end != need),
            None => !piece.more && last_end > end,
        };
        if overlaps || too_long {
            return Taken::Contradicts;
        }
        if !piece.more {
            self.need = Some(end);
        }
        if start == 0 {
            self.first = Some(First {
                frame,
                at,
                protocol: ip.protocol,
                header_len: ip.len.saturating_sub(ip.payload_len),
                hop_limit: ip.hop_limit,
                ip_id: ip.id,
                checkable: ip.checkable,
            });
        }
        self.have += ip.payload_len;
        let bytes = Bytes {
            captured: ip.payload.to_vec(),
            len: ip.payload_len,
        };
        self.pieces.insert(start, bytes);
        Taken::New
    }

    /// The packet, all of whose fragments are there; `at` is the moment of the last one.
    fn whole(self, key: Key, (frame, at): (u64, Timestamp)) -> Option<Whole> {
        let first = self.first?;
        let mut payload = Vec::new();
        for (start, piece) in &self.pieces {
            // Beyond a fragment that the capture cut off, bytes would stand at wrong places.
            if len_u32(payload.len()) != *start {
                break;
            }
            payload.extend_from_slice(&piece.captured);
        }
        Some(Whole {
            frame,
            at,
            payload,
            payload_len: self.have,
            first_only: false,
            ..Whole::begun(key, first)
        })
    }

    /// The first fragment alone.
    fn first_only(&mut self, key: Key, first: First) -> Option<Whole> {
        let bytes = self.pieces.remove(&0)?;
        Some(Whole {
            payload: bytes.captured,
            payload_len: bytes.len,
            ..Whole::begun(key, first)
        })
    }
}

impl Whole {
    fn begun(key: Key, first: First) -> Self {
        Self {
            frame: first.frame,
            at: first.at,
            source: key.source,
            destination: key.destination,
            tunnels: key.tunnels,
            protocol: first.protocol,
            header_len: first.header_len,
            payload: Vec::new(),
            payload_len: 0,
            first_only: true,
            hop_limit: first.hop_limit,
            ip_id: first.ip_id,
            checkable: first.checkable,
        }
    }
}
