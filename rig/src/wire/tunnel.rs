//! Encapsulations: packets within packets.

use std::fmt;

use serde::{Serialize, Serializer};

use super::ip::{Ip, len_u32};
use super::link::{LinkType, Network, by_version, network};

/// The most encapsulations that are unwrapped, one within the other. What lies deeper is taken for
/// the payload of the last one.
pub const MAX_TUNNELS: usize = 4;

/// The most MPLS labels of a packet.
const MAX_LABELS: usize = 16;

/// The most extension headers of a GTP packet.
const MAX_GTP_EXTENSIONS: usize = 8;

/// A way of carrying packets within packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// An IP packet in an IP packet, RFC 2003 and RFC 2473.
    IpInIp,
    /// IPv6 in IPv4, RFC 4213.
    SixInFour,
    /// GRE version 0, RFC 2784 and RFC 2890.
    Gre,
    /// VXLAN, RFC 7348.
    Vxlan,
    /// Geneve, RFC 8926.
    Geneve,
    /// Teredo, RFC 4380.
    Teredo,
    /// GTP version 1, user plane, 3GPP TS 29.281.
    Gtp,
    /// `PPPoE`, RFC 2516.
    Pppoe,
    /// MPLS, RFC 3032.
    Mpls,
}

impl Tunnel {
    /// Its name in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IpInIp => "ipip",
            Self::SixInFour => "6in4",
            Self::Gre => "gre",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Teredo => "teredo",
            Self::Gtp => "gtpv1",
            Self::Pppoe => "pppoe",
            Self::Mpls => "mpls",
        }
    }
}

/// The encapsulations that a packet came in, the outermost first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tunnels([Option<Tunnel>; MAX_TUNNELS]);

impl Tunnels {
    /// Adds an inner one; false when there are too many.
    pub(super) fn push(&mut self, tunnel: Tunnel) -> bool {
        let place = self.0.iter_mut().find(|place| place.is_none());
        place.map(|place| *place = Some(tunnel)).is_some()
    }

    /// The outermost first.
    pub fn iter(&self) -> impl Iterator<Item = Tunnel> {
        self.0.iter().flatten().copied()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }
}

impl fmt::Display for Tunnels {
    /// `gre/mpls`, the outermost first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Tunnel::name).collect();
        f.pad(&names.join("/"))
    }
}

impl fmt::Debug for Tunnels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Tunnels {
    /// A list of names.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Tunnel::name))
    }
}

/// What was unwrapped.
pub(super) struct Inner<'a> {
    pub(super) tunnel: Tunnel,
    pub(super) network: Network<'a>,
    /// Length of the network packet on the wire.
    pub(super) len: u32,
}

/// A stretch of a packet: its bytes as captured, and its length on the wire.
#[derive(Clone, Copy)]
struct Stretch<'a> {
    bytes: &'a [u8],
    len: u32,
}

impl<'a> Stretch<'a> {
    /// What follows after `count` bytes.
    fn after(self, count: usize) -> Option<Self> {
        Some(Self {
            bytes: self.bytes.get(count..)?,
            len: self.len.checked_sub(len_u32(count))?,
        })
    }

    fn u8(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn u16(self, at: usize) -> Option<u16> {
        let pair = self.bytes.get(at..)?.first_chunk()?;
        Some(u16::from_be_bytes(*pair))
    }

    /// As what an encapsulation carries, by an `EtherType`; Ethernet itself goes by that of
    /// transparent bridging.
    fn carried(self, tunnel: Tunnel, ether_type: u16) -> Option<Inner<'a>> {
        const TRANSPARENT_ETHERNET: u16 = 0x6558;
        let network = match ether_type {
            0x0800 | 0x86dd => by_version(Some(self.bytes)),
            TRANSPARENT_ETHERNET => network(LinkType::Ethernet, self.bytes)?,
            other => Network::Other(other, self.bytes),
        };
        if matches!(network, Network::Cut) {
            return None;
        }
        let header = self.bytes.len() - network.len();
        Some(Inner {
            tunnel,
            len: self.len.saturating_sub(len_u32(header)),
            network,
        })
    }
}

/// Unwraps what stands behind a link-layer header with this `EtherType`.
pub(super) fn behind_link(ether_type: u16, bytes: &[u8], len: u32) -> Option<Inner<'_>> {
    let stretch = Stretch { bytes, len };
    match ether_type {
        0x8847 | 0x8848 => mpls(stretch),
        0x8864 => pppoe(stretch),
        _ => None,
    }
}

/// Unwraps what an IP packet carries, where it looks like an encapsulation in every field.
pub(super) fn in_ip<'a>(ip: &Ip<'a>) -> Option<Inner<'a>> {
    let stretch = Stretch {
        bytes: ip.payload,
        len: ip.payload_len,
    };
    match ip.protocol {
        4 => stretch.carried(Tunnel::IpInIp, 0x0800),
        17 => in_udp(stretch),
        41 if ip.source.is_ipv4() => stretch.carried(Tunnel::SixInFour, 0x86dd),
        41 => stretch.carried(Tunnel::IpInIp, 0x86dd),
        47 => gre(stretch),
        _ => None,
    }
}

fn in_udp(datagram: Stretch<'_>) -> Option<Inner<'_>> {
    const HEADER_BYTES: usize = 8;
    const VXLAN: u16 = 4789;
    const GENEVE: u16 = 6081;
    const GTP_USER: u16 = 2152;
    const TEREDO: u16 = 3544;
    let (source, destination) = (datagram.u16(0)?, datagram.u16(2)?);
    let payload = datagram.after(HEADER_BYTES)?;
    match (source, destination) {
        (_, VXLAN) => vxlan(payload),
        (_, GENEVE) => geneve(payload),
        (_, GTP_USER) | (GTP_USER, _) => gtp(payload),
        (_, TEREDO) | (TEREDO, _) => teredo(payload),
        _ => None,
    }
}

fn mpls(mut rest: Stretch<'_>) -> Option<Inner<'_>> {
    const LABEL_BYTES: usize = 4;
    const BOTTOM: u8 = 1;
    for _ in 0..MAX_LABELS {
        let bottom = rest.u8(2)? & BOTTOM != 0;
        rest = rest.after(LABEL_BYTES)?;
        if bottom {
            // No field says what follows; an IP header tells its version.
            return rest.carried(Tunnel::Mpls, 0x0800);
        }
    }
    None
}

fn pppoe(session: Stretch<'_>) -> Option<Inner<'_>> {
    const HEADER_BYTES: usize = 8;
    const VERSION_1_TYPE_1: u8 = 0x11;
    if session.u8(0)? != VERSION_1_TYPE_1 || session.u8(1)? != 0 {
        return None;
    }
    let ether_type = match session.u16(6)? {
        0x0021 => 0x0800,
        0x0057 => 0x86dd,
        0x0281 => 0x8847,
        _ => return None,
    };
    let rest = session.after(HEADER_BYTES)?;
    rest.carried(Tunnel::Pppoe, ether_type)
}

fn gre(packet: Stretch<'_>) -> Option<Inner<'_>> {
    const CHECKSUM: u16 = 0x8000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    let flags = packet.u16(0)?;
    // Routing, the recursion control of RFC 1701 and other versions are not read.
    if flags & !(CHECKSUM | KEY | SEQUENCE) != 0 {
        return None;
    }
    let options = [CHECKSUM, KEY, SEQUENCE];
    let present = options.iter().filter(|option| flags & *option != 0).count();
    let rest = packet.after(4 + 4 * present)?;
    rest.carried(Tunnel::Gre, packet.u16(2)?)
}

fn vxlan(payload: Stretch<'_>) -> Option<Inner<'_>> {
    const HEADER_BYTES: usize = 8;
    const NETWORK_IS_VALID: u16 = 0x0800;
    if payload.u16(0)? != NETWORK_IS_VALID {
        return None;
    }
    let frame = payload.after(HEADER_BYTES)?;
    frame.carried(Tunnel::Vxlan, 0x6558)
}

fn geneve(payload: Stretch<'_>) -> Option<Inner<'_>> {
    const HEADER_BYTES: usize = 8;
    let first = payload.u8(0)?;
    // Two bits of version, which must be zero, and the options' length in words.
    if first >> 6 != 0 {
        return None;
    }
    let options = usize::from(first & 0x3f) * 4;
    let rest = payload.after(HEADER_BYTES + options)?;
    rest.carried(Tunnel::Geneve, payload.u16(2)?)
}

fn gtp(payload: Stretch<'_>) -> Option<Inner<'_>> {
    const HEADER_BYTES: usize = 8;
    const OPTIONAL_BYTES: usize = 4;
    const USER_DATA: u8 = 255;
    const EXTENSION: u8 = 0x04;
    let flags = payload.u8(0)?;
    // Version 1, protocol type GTP, reserved bit zero.
    if flags >> 3 != 0b00110 || payload.u8(1)? != USER_DATA {
        return None;
    }
    let mut rest = payload.after(HEADER_BYTES)?;
    if u32::from(payload.u16(2)?) != rest.len {
        return None;
    }
    if flags & 0x07 != 0 {
        let mut next = if flags & EXTENSION == 0 {
            0
        } else {
            rest.u8(3)?
        };
        rest = rest.after(OPTIONAL_BYTES)?;
        for _ in 0..MAX_GTP_EXTENSIONS {
            if next == 0 {
                break;
            }
            // The length counts words and itself; the last byte names the next one.
            let len = usize::from(rest.u8(0)?) * 4;
            next = rest.u8(len.checked_sub(1)?)?;
            rest = rest.after(len)?;
        }
        if next != 0 {
            return None;
        }
    }
    rest.carried(Tunnel::Gtp, 0x0800)
}

fn teredo(mut payload: Stretch<'_>) -> Option<Inner<'_>> {
    const AUTHENTICATION: u16 = 1;
    const ORIGIN: u16 = 0;
    const ORIGIN_BYTES: usize = 8;
    const IPV6_HEADER_BYTES: u32 = 40;
    if payload.u16(0)? == AUTHENTICATION {
        let (id, value) = (payload.u8(2)?, payload.u8(3)?);
        payload = payload.after(4 + usize::from(id) + usize::from(value) + 9)?;
    }
    if payload.u16(0)? == ORIGIN {
        payload = payload.after(ORIGIN_BYTES)?;
    }
    // Other programs use the port too: the lengths must agree.
    let fits =
        payload.u8(0)? >> 4 == 6 && IPV6_HEADER_BYTES + u32::from(payload.u16(4)?) == payload.len;
    fits.then(|| payload.carried(Tunnel::Teredo, 0x86dd))?
}
