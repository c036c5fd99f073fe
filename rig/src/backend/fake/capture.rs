//! What the hosts of a fake cell see: segments become packets, packets become pcapng files.

use std::net::{IpAddr, Ipv4Addr};

use etherparse::{PacketBuilder, TcpOptionElement};

use super::tcp::{Conn, MSS_BYTES, Segment};
use crate::agent::protocol::{HostInterface, InterfaceProof};
use crate::pcapng::{Direction, Interface, InterfaceId, Record, Section, WriteError, Writer};
use crate::plan::HostPlan;
use crate::units::Timestamp;
use crate::wire::LinkType;

const HOPS: u8 = 64;
const WINDOW_BYTES: u16 = 64_240;
const MTU_BYTES: u32 = 1500;

/// The capture of one host.
#[derive(Debug)]
pub(super) struct HostCapture {
    interfaces: Vec<HostInterface>,
    packets: Vec<(usize, Timestamp, Direction, Vec<u8>)>,
}

impl HostCapture {
    /// One interface for each network, then the loopback.
    pub(super) fn new(host: &HostPlan) -> Self {
        let lans = host.interfaces.iter().enumerate();
        let mut interfaces: Vec<_> = lans
            .map(|(index, interface)| HostInterface {
                name: format!("eth{index}"),
                label: format!("{}@{}", host.name, interface.network),
                mac: mac(interface.address),
                addresses: vec![IpAddr::V4(interface.address)],
                mtu_bytes: MTU_BYTES,
                offloads_left: vec![],
            })
            .collect();
        interfaces.push(HostInterface {
            name: "lo".to_owned(),
            label: format!("{}@lo", host.name),
            mac: [0; 6],
            addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            mtu_bytes: 65_536,
            offloads_left: vec![],
        });
        Self {
            interfaces,
            packets: Vec::new(),
        }
    }

    pub(super) fn interfaces(&self) -> &[HostInterface] {
        &self.interfaces
    }

    /// Adds a packet on the interface with `address`; on the loopback without one.
    pub(super) fn add(
        &mut self,
        address: Option<Ipv4Addr>,
        at: Timestamp,
        direction: Direction,
        packet: Vec<u8>,
    ) {
        let has = |interface: &HostInterface| {
            address.is_some_and(|address| interface.addresses.contains(&IpAddr::V4(address)))
        };
        let loopback = self.interfaces.len() - 1;
        let interface = self.interfaces.iter().position(has).unwrap_or(loopback);
        self.packets.push((interface, at, direction, packet));
    }

    /// What each ring counted: everything, unless a fault says otherwise.
    pub(super) fn proofs(&self, dropped: u64, closed: bool) -> Vec<InterfaceProof> {
        let counted = |index| {
            let received = self.packets.iter().filter(|packet| packet.0 == index);
            u64::try_from(received.count()).unwrap_or(u64::MAX)
        };
        let interfaces = self.interfaces.iter().enumerate();
        interfaces
            .map(|(index, interface)| InterfaceProof {
                label: interface.label.clone(),
                received: counted(index),
                dropped,
                unsure: 0,
                opened: true,
                closed,
            })
            .collect()
    }

    /// The file.
    pub(super) fn written(&self) -> Result<Vec<u8>, WriteError> {
        let section = Section {
            application: "rig fake backend".to_owned(),
            ..Section::default()
        };
        let mut writer = Writer::new(Vec::new(), &section)?;
        for interface in &self.interfaces {
            writer.add_interface(&Interface {
                name: interface.label.clone(),
                description: interface.name.clone(),
                link: LinkType::Ethernet,
                snaplen_bytes: 0,
            })?;
        }
        for (interface, at, direction, packet) in &self.packets {
            let id = InterfaceId(u32::try_from(*interface).unwrap_or(u32::MAX));
            writer.write(&Record {
                direction: Some(*direction),
                ..Record::new(id, *at, packet)
            })?;
        }
        writer.finish()
    }
}

/// A locally administered address for each IPv4 address, the bytes that container engines use.
fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// The Ethernet frame of a segment.
pub(super) fn frame(conn: &Conn, segment: &Segment, on_loopback: bool) -> Vec<u8> {
    let from = conn.end(segment.from).address;
    let to = conn.end(segment.from.other()).address;
    let link = |address: Ipv4Addr| if on_loopback { [0; 6] } else { mac(address) };
    let mut packet = PacketBuilder::ethernet2(link(*from.ip()), link(*to.ip()))
        .ipv4(from.ip().octets(), to.ip().octets(), HOPS)
        .tcp(from.port(), to.port(), segment.seq, WINDOW_BYTES);
    if let Some(ack) = segment.ack {
        packet = packet.ack(ack);
    }
    if segment.syn {
        packet = packet.syn();
        let mss = [TcpOptionElement::MaximumSegmentSize(MSS_BYTES)];
        // One option of four bytes fits into any TCP header.
        packet = packet.options(&mss).unwrap_or_else(|_| unreachable!());
    }
    if segment.fin {
        packet = packet.fin();
    }
    if segment.rst {
        packet = packet.rst();
    }
    if !segment.payload.is_empty() {
        packet = packet.psh();
    }
    let mut bytes = Vec::with_capacity(packet.size(segment.payload.len()));
    // Writing into memory fails only for payloads over 64 kB, and these are cut at the MSS.
    let written = packet.write(&mut bytes, &segment.payload);
    debug_assert!(
        written.is_ok(),
        "a segment within the MSS fits into a packet"
    );
    bytes
}
