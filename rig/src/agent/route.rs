//! Requests to the kernel's traffic control and neighbour tables (`rtnetlink(7)`).

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourHeader, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::RouteType;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::netlink;

/// Asks the kernel to do something; gives its refusal.
pub(super) fn request(message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    ask(message, NLM_F_REQUEST | NLM_F_ACK | flags).map(drop)
}

/// Asks the kernel for a list.
pub(super) fn dump(message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    ask(message, NLM_F_REQUEST | NLM_F_DUMP)
}

/// Writes down for good which link address a neighbour has, so that nobody asks for it any more.
pub(super) fn pin_neighbour(interface: i32, address: IpAddr, mac: [u8; 6]) -> io::Result<()> {
    let (family, destination) = match address {
        IpAddr::V4(v4) => (AddressFamily::Inet, NeighbourAddress::Inet(v4)),
        IpAddr::V6(v6) => (AddressFamily::Inet6, NeighbourAddress::Inet6(v6)),
    };
    let mut message = NeighbourMessage::default();
    message.header = NeighbourHeader {
        family,
        ifindex: u32::try_from(interface).map_err(io::Error::other)?,
        state: NeighbourState::Permanent,
        kind: RouteType::Unicast,
        ..NeighbourHeader::default()
    };
    message.attributes = vec![
        NeighbourAttribute::Destination(destination),
        NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
    ];
    let message = RouteNetlinkMessage::NewNeighbour(message);
    request(message, NLM_F_CREATE | NLM_F_REPLACE)
}

fn ask(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    netlink::ask(NETLINK_ROUTE, &message, usize::MAX, |inner, _| Some(inner))
}
