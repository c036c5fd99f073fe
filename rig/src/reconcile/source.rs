//! Captures that are read twice: once to learn of their clocks, once to put their packets together.

use std::io::{Read, Seek};

use crate::pcapng::{
    Direction, Frame, InterfaceId, MergeError, OpenError, Reader, Record, SENTINEL_ETHERTYPE,
};
use crate::wire::{Ethernet, LinkType};

/// What was captured at one place.
#[derive(Debug)]
pub struct Source<R> {
    /// What it is called, for people: the stem of its file's name.
    pub(super) name: String,
    input: R,
}

/// Captures that cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// One of them, by its position, is no capture.
    #[error("{name}: {cause}")]
    Open {
        /// Its position.
        place: usize,
        /// What it is called.
        name: String,
        /// What is wrong.
        cause: OpenError,
    },
    /// They describe too many interfaces together.
    #[error(transparent)]
    Merge(#[from] MergeError),
}

impl<R: Read + Seek> Source<R> {
    /// A capture and what it is called. It is read from its beginning.
    pub fn new(name: &str, input: R) -> Self {
        Self {
            name: name.to_owned(),
            input,
        }
    }

    /// Begins to read it; it can be read again afterwards.
    pub(super) fn reader(&mut self, place: usize) -> Result<Reader<&mut R>, ReconcileError> {
        open(place, &self.name, &mut self.input)
    }

    /// Begins to read it for the last time.
    pub(super) fn into_reader(self, place: usize) -> Result<Reader<R>, ReconcileError> {
        open(place, &self.name, self.input)
    }
}

/// Reads a capture from its beginning.
fn open<R: Read + Seek>(
    place: usize,
    name: &str,
    mut input: R,
) -> Result<Reader<R>, ReconcileError> {
    let rewound = input.rewind().map_err(OpenError::from);
    let reader = rewound.and_then(|()| Reader::new(input));
    reader.map_err(|cause| ReconcileError::Open {
        place,
        name: name.to_owned(),
        cause,
    })
}

/// A record that counts: the sentinels of agents are left out, and of what a host sent to itself the
/// copy that arrived.
#[inline]
pub(super) fn counted(frame: Frame<'_>) -> Option<(LinkType, Record<'_>)> {
    let Frame {
        link, mut record, ..
    } = frame;
    if link == LinkType::Ethernet {
        if is_sentinel(&record.data) || is_echo(&record) {
            return None;
        }
    } else {
        record.direction = record
            .direction
            .or_else(|| cooked_direction(link, &record.data));
    }
    Some((link, record))
}

fn is_sentinel(frame: &[u8]) -> bool {
    const IPV4: &[u8] = &[0x08, 0x00];
    frame.get(12..14) != Some(IPV4)
        && Ethernet::read(frame).is_some_and(|frame| frame.ether_type == SENTINEL_ETHERTYPE)
}

/// A loopback interface shows each packet twice, as sent and as received. Its frames come from
/// nobody: their Ethernet addresses are zero.
fn is_echo(record: &Record<'_>) -> bool {
    const HEADER_BYTES: usize = 14;
    record.direction == Some(Direction::Inbound)
        && record.data.len() >= HEADER_BYTES
        && record.data.starts_with(&[0; 12])
}

/// The direction that a Linux cooked header tells: whoever captures on every interface of a router
/// sees each packet twice.
fn cooked_direction(link: LinkType, data: &[u8]) -> Option<Direction> {
    /// `PACKET_OUTGOING` of packet(7).
    const OUTGOING: u8 = 4;
    let packet_type = match link {
        LinkType::LinuxSll => *data.get(1)?,
        LinkType::LinuxSll2 => *data.get(10)?,
        _ => return None,
    };
    Some(if packet_type == OUTGOING {
        Direction::Outbound
    } else {
        Direction::Inbound
    })
}

/// What the cooked header of a capture on all interfaces tells of the one that a packet was seen on; zero in other
/// captures. SLL2 has its index. SLL has none: two interfaces are told apart as far as their packet type, hardware
/// type, sender's address or protocol differ.
#[inline]
pub(super) fn point(link: LinkType, data: &[u8]) -> u32 {
    const SLL_BYTES: usize = 16;
    const INDEX_AT: std::ops::Range<usize> = 4..8;
    match link {
        LinkType::LinuxSll2 => {
            let index = data.get(INDEX_AT).and_then(|index| index.first_chunk());
            index.map_or(0, |index| u32::from_be_bytes(*index))
        }
        LinkType::LinuxSll => data.get(..SLL_BYTES).map_or(0, fnv),
        _ => 0,
    }
}

/// FNV-1a of 32 bits: that two interfaces have the same does no harm.
fn fnv(bytes: &[u8]) -> u32 {
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, mix)
}

/// The number of an interface among those of all captures, of which `base` came before.
pub(super) fn moved(base: u32, id: InterfaceId) -> InterfaceId {
    InterfaceId(base.saturating_add(id.0))
}
