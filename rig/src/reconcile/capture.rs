//! One of several captures, in memory.

use std::collections::HashMap;
use std::io::Read;
use std::net::IpAddr;

use crate::pcapng::{
    Direction, Interface, InterfaceId, OpenError, Reader, Record, SENTINEL_ETHERTYPE, Statistics,
    Stop,
};
use crate::units::Timestamp;
use crate::wire::{Ethernet, LinkType};

/// What was captured at one place.
#[derive(Debug)]
pub struct Capture {
    /// What it is called, for people: the stem of its file's name.
    pub name: String,
    /// Where reading it stopped, if not at its end.
    pub stop: Option<Stop>,
    pub(super) interfaces: Vec<Interface>,
    pub(super) records: Vec<Record<'static>>,
    pub(super) statistics: Vec<(InterfaceId, Timestamp, Statistics)>,
    pub(super) names: Vec<(IpAddr, String)>,
}

impl Capture {
    /// Reads a capture, as far as it goes. The sentinels of agents are left out, and of what a
    /// host sent to itself the copy that arrived.
    ///
    /// # Errors
    /// What is no capture.
    pub fn read(name: &str, source: impl Read) -> Result<Self, OpenError> {
        let mut reader = Reader::new(source)?;
        let mut records = Vec::new();
        while let Some(frame) = reader.next_frame() {
            if !is_sentinel(frame.link, &frame.record) {
                let direction = cooked_direction(frame.link, &frame.record.data);
                let mut record = frame.record.into_owned();
                record.direction = record.direction.or(direction);
                records.push(record);
            }
        }
        let interfaces: Vec<Interface> = reader.interfaces().cloned().collect();
        drop_echoes(&mut records, &interfaces);
        Ok(Self {
            name: name.to_owned(),
            stop: reader.stop().cloned(),
            statistics: reader.statistics().to_vec(),
            names: reader.names().to_vec(),
            interfaces,
            records,
        })
    }

    /// The link type of a record.
    pub(super) fn link(&self, record: &Record<'_>) -> LinkType {
        usize::try_from(record.interface.0)
            .ok()
            .and_then(|index| self.interfaces.get(index))
            .map_or(LinkType::Other(u16::MAX), |interface| interface.link)
    }

    /// Packets that its interfaces dropped for want of room, as far as it says.
    pub(super) fn dropped(&self) -> u64 {
        // The last count of each interface is the one of the whole capture.
        let last: HashMap<InterfaceId, u64> = self
            .statistics
            .iter()
            .map(|(id, _, counts)| (*id, counts.dropped))
            .collect();
        last.values()
            .fold(0, |sum, dropped| sum.saturating_add(*dropped))
    }

    /// Whether its packets were cut.
    pub(super) fn is_cut(&self) -> bool {
        let cut = |record: &Record<'_>| u64::from(record.orig_len_bytes) > record.data.len() as u64;
        self.records.iter().any(cut)
    }
}

fn is_sentinel(link: LinkType, record: &Record<'_>) -> bool {
    link == LinkType::Ethernet
        && Ethernet::read(&record.data).is_some_and(|frame| frame.ether_type == SENTINEL_ETHERTYPE)
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

/// A loopback interface shows each packet twice, as sent and as received. Its frames come from
/// nobody: their Ethernet addresses are zero.
fn drop_echoes(records: &mut Vec<Record<'static>>, interfaces: &[Interface]) {
    const NOBODY: [u8; 6] = [0; 6];
    records.retain(|record| {
        let link = usize::try_from(record.interface.0)
            .ok()
            .and_then(|index| interfaces.get(index))
            .map(|interface| interface.link);
        let is_echo = link == Some(LinkType::Ethernet)
            && record.direction == Some(Direction::Inbound)
            && Ethernet::read(&record.data)
                .is_some_and(|frame| frame.source == NOBODY && frame.destination == NOBODY);
        !is_echo
    });
}
