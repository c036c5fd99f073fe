//! Link-layer types.

use std::fmt;

/// What the first bytes of a captured packet are (`LINKTYPE_` registry of tcpdump.org).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// `LINKTYPE_ETHERNET`.
    Ethernet,
    /// `LINKTYPE_NULL`: a four-byte address family in the byte order of the capturing machine.
    Null,
    /// `LINKTYPE_LOOP`: a four-byte address family in network byte order.
    Loop,
    /// `LINKTYPE_RAW`, `LINKTYPE_IPV4` and `LINKTYPE_IPV6`: the IP header comes first.
    RawIp,
    /// `LINKTYPE_LINUX_SLL`: Linux cooked capture.
    LinuxSll,
    /// `LINKTYPE_LINUX_SLL2`: Linux cooked capture, second version.
    LinuxSll2,
    /// Any other; its packets are counted and not read.
    Other(u16),
}

impl LinkType {
    /// The type with this number. Files of some systems carry their own number for raw IP (12 and
    /// 14 beside 101), as Wireshark reads them too.
    #[must_use]
    pub fn from_number(number: u16) -> Self {
        match number {
            0 => Self::Null,
            1 => Self::Ethernet,
            12 | 14 | 101 | 228 | 229 => Self::RawIp,
            108 => Self::Loop,
            113 => Self::LinuxSll,
            276 => Self::LinuxSll2,
            other => Self::Other(other),
        }
    }

    /// The number that a file carries for this type.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Null => 0,
            Self::Ethernet => 1,
            Self::RawIp => 101,
            Self::Loop => 108,
            Self::LinuxSll => 113,
            Self::LinuxSll2 => 276,
            Self::Other(number) => number,
        }
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ethernet => f.pad("Ethernet"),
            Self::Null => f.pad("null"),
            Self::Loop => f.pad("loop"),
            Self::RawIp => f.pad("raw IP"),
            Self::LinuxSll => f.pad("Linux SLL"),
            Self::LinuxSll2 => f.pad("Linux SLL2"),
            Self::Other(number) => write!(f, "link type {number}"),
        }
    }
}

/// Addresses and type of an Ethernet frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination address.
    pub destination: [u8; 6],
    /// Source address.
    pub source: [u8; 6],
    /// `EtherType` behind any VLAN tags.
    pub ether_type: u16,
}

impl Ethernet {
    /// Reads the header of a frame; none when it is cut off within the header.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        let header = etherparse::Ethernet2HeaderSlice::from_slice(frame).ok()?;
        let (ether_type, _) = untagged(header.ether_type().0, frame.get(ETHERNET_BYTES..)?)?;
        Some(Self {
            destination: header.destination(),
            source: header.source(),
            ether_type,
        })
    }
}

/// Length of an Ethernet header without tags.
const ETHERNET_BYTES: usize = 14;

/// The most VLAN tags that are passed over: 802.1ad has two, a few more do no harm.
const MAX_VLAN_TAGS: usize = 4;

const ETHER_TYPE_IPV4: u16 = 0x0800;
const ETHER_TYPE_IPV6: u16 = 0x86dd;

/// Stands in for an `EtherType` where no field tells what follows; IEEE has set it aside.
pub(super) const UNTOLD: u16 = 0xffff;

/// What lies behind the link-layer header.
#[derive(Clone, Copy)]
pub(super) enum Network<'a> {
    /// An IP packet.
    Ip(&'a [u8]),
    /// Another protocol, such as ARP, by its `EtherType`; [`UNTOLD`] where none is told, and a length
    /// of at most 1500 where IEEE 802.2 LLC follows.
    Other(u16, &'a [u8]),
    /// The packet is cut off within the link-layer header.
    Cut,
}

impl Network<'_> {
    /// Bytes that lie behind the header.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ip(rest) | Self::Other(_, rest) => rest.len(),
            Self::Cut => 0,
        }
    }
}

/// Passes over the link-layer header of a packet; none for a type that is not read.
#[inline]
pub(super) fn network(link: LinkType, data: &[u8]) -> Option<Network<'_>> {
    const SLL_BYTES: usize = 16;
    const SLL2_BYTES: usize = 20;
    const FAMILY_BYTES: usize = 4;
    Some(match link {
        LinkType::Ethernet => by_ether_type(data, 12, ETHERNET_BYTES),
        LinkType::LinuxSll => by_ether_type(data, 14, SLL_BYTES),
        LinkType::LinuxSll2 => by_ether_type(data, 0, SLL2_BYTES),
        // The family's number for IPv6 differs between systems; the IP header tells its version.
        LinkType::Null | LinkType::Loop => by_version(data.get(FAMILY_BYTES..)),
        LinkType::RawIp => by_version(Some(data)),
        LinkType::Other(_) => return None,
    })
}

/// Goes by the protocol field at `type_at` in a header of `header_bytes`.
#[inline]
fn by_ether_type(data: &[u8], type_at: usize, header_bytes: usize) -> Network<'_> {
    match read_u16(data, type_at).zip(data.get(header_bytes..)) {
        Some((ether_type, rest)) => behind(ether_type, rest),
        None => Network::Cut,
    }
}

/// Goes by an `EtherType`, past VLAN tags.
#[inline]
pub(super) fn behind(ether_type: u16, rest: &[u8]) -> Network<'_> {
    match untagged(ether_type, rest) {
        Some((ETHER_TYPE_IPV4 | ETHER_TYPE_IPV6, rest)) => Network::Ip(rest),
        Some((other, rest)) => Network::Other(other, rest),
        None => Network::Cut,
    }
}

/// The operation of a message of ARP, RFC 826: 1 is a request, 2 a reply. None for another packet.
#[must_use]
pub fn arp_operation(link: LinkType, data: &[u8]) -> Option<u16> {
    const ETHER_TYPE_ARP: u16 = 0x0806;
    const OPERATION_AT: usize = 6;
    match network(link, data)? {
        Network::Other(ETHER_TYPE_ARP, message) => read_u16(message, OPERATION_AT),
        _ => None,
    }
}

/// Whether a cooked capture says that the packet was sent by the capturing host itself.
#[inline]
pub(super) fn is_outgoing(link: LinkType, data: &[u8]) -> bool {
    const OUTGOING: u8 = 4;
    let kind = match link {
        LinkType::LinuxSll => data.get(1),
        LinkType::LinuxSll2 => data.get(10),
        _ => None,
    };
    kind == Some(&OUTGOING)
}

/// Goes by the version field of the IP header.
pub(super) fn by_version(data: Option<&[u8]>) -> Network<'_> {
    match data.and_then(|data| data.first().map(|first| (first >> 4, data))) {
        Some((4 | 6, data)) => Network::Ip(data),
        Some((_, data)) => Network::Other(UNTOLD, data),
        None => Network::Cut,
    }
}

/// Passes over VLAN tags (802.1Q, 802.1ad and its early number).
#[inline]
fn untagged(mut ether_type: u16, mut rest: &[u8]) -> Option<(u16, &[u8])> {
    const TAG_BYTES: usize = 4;
    for _ in 0..MAX_VLAN_TAGS {
        if !matches!(ether_type, 0x8100 | 0x88a8 | 0x9100) {
            break;
        }
        ether_type = read_u16(rest, 2)?;
        rest = rest.get(TAG_BYTES..)?;
    }
    Some((ether_type, rest))
}

#[inline]
fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*pair))
}
