//! Captures for tests.

use super::{Direction, HostCapture, Interface, InterfaceId, Record, Section, Statistics, Writer};
use crate::units::Timestamp;
use crate::wire::LinkType;

/// What a host saw on its networks: for each packet the number of the network, when, in which
/// direction, and its bytes. Its first interface tells that nothing was dropped.
pub(super) fn capture(
    host: &str,
    networks: &[&str],
    packets: &[(u32, u64, Option<Direction>, Vec<u8>)],
) -> HostCapture {
    cut_capture(host, networks, packets, 0)
}

/// The same of a host that records the beginnings of packets; with a snap length of zero, whole ones.
pub(super) fn cut_capture(
    host: &str,
    networks: &[&str],
    packets: &[(u32, u64, Option<Direction>, Vec<u8>)],
    snaplen_bytes: u32,
) -> HostCapture {
    let mut writer = Writer::new(Vec::new(), &Section::default()).unwrap();
    for network in networks {
        let interface = Interface {
            name: format!("{host}@{network}"),
            description: String::new(),
            link: LinkType::Ethernet,
            snaplen_bytes,
        };
        writer.add_interface(&interface).unwrap();
    }
    for (interface, at, direction, data) in packets {
        let kept = match snaplen_bytes {
            0 => data.len(),
            most => data.len().min(most as usize),
        };
        let mut record = Record::new(InterfaceId(*interface), Timestamp(*at), &data[..kept]);
        record.orig_len_bytes = u32::try_from(data.len()).unwrap();
        record.direction = *direction;
        writer.write(&record).unwrap();
    }
    let statistics = Statistics {
        received: packets.len() as u64,
        dropped: 0,
    };
    writer
        .statistics(InterfaceId(0), Timestamp(9), &statistics)
        .unwrap();
    HostCapture {
        host: host.to_owned(),
        bytes: writer.finish().unwrap(),
    }
}
