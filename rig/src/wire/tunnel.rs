//! Encapsulations: packets within packets.

use std::fmt;

use serde::{Serialize, Serializer};

use super::ip::{Ip, len_u32};
use super::link::{Network, behind, by_version};

/// The most encapsulations that are unwrapped, one within the other. What lies deeper is taken for
/// the payload of the last one.
pub const MAX_TUNNELS: usize = 4;

/// The most MPLS labels of a packet.
const MAX_LABELS: usize = 16;

/// The largest number in the place of an `EtherType` that is a length, IEEE 802.3.
pub(super) const LARGEST_LENGTH: u16 = 1500;

/// IP protocol numbers.
pub(super) const UDP: u8 = 17;
const GRE: u8 = 47;

/// The most extension headers of a GTP packet.
const MAX_GTP_EXTENSIONS: usize = 8;

/// A way of carrying packets within packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// An IP packet in an IP packet, RFC 2003 and RFC 2473.
    IpInIp,
    /// IPv6 in IPv4, RFC 4213.
    SixInFour,
    /// GRE version 0, RFC 2784 and RFC 2890, in UDP too, RFC 8086; version 1, RFC 2637.
    Gre,
    /// ERSPAN of types I, II and III, draft-foschiano-erspan, within GRE.
    Erspan,
    /// L2TP version 2, RFC 2661.
    L2tp,
    /// VXLAN, RFC 7348, with policy bits, and its generic protocol extension.
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
    /// Provider backbone bridging, IEEE 802.1ah: a frame within a frame.
    Pbb,
    /// Cisco `FabricPath`: a frame within a frame.
    FabricPath,
}

impl Tunnel {
    /// Its name in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IpInIp => "ipip",
            Self::SixInFour => "6in4",
            Self::Gre => "gre",
            Self::Erspan => "erspan",
            Self::L2tp => "l2tp",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Teredo => "teredo",
            Self::Gtp => "gtpv1",
            Self::Pppoe => "pppoe",
            Self::Mpls => "mpls",
            Self::Pbb => "pbb",
            Self::FabricPath => "fabricpath",
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
    /// None for a tag, which names a network and is no encapsulation.
    pub(super) tunnel: Option<Tunnel>,
    pub(super) network: Network<'a>,
    /// Length of the network packet on the wire.
    pub(super) len: u32,
}

/// A stretch of a packet: its bytes as captured, and its length on the wire.
#[derive(Clone, Copy)]
pub(super) struct Stretch<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) len: u32,
}

impl<'a> Stretch<'a> {
    /// What an IP packet carries.
    fn of(ip: &Ip<'a>) -> Self {
        Self {
            bytes: ip.payload,
            len: ip.payload_len,
        }
    }

    /// What follows after `count` bytes.
    pub(super) fn after(self, count: usize) -> Option<Self> {
        Some(Self {
            bytes: self.bytes.get(count..)?,
            len: self.len.checked_sub(len_u32(count))?,
        })
    }

    pub(super) fn u8(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    pub(super) fn u16(self, at: usize) -> Option<u16> {
        let pair = self.bytes.get(at..)?.first_chunk()?;
        Some(u16::from_be_bytes(*pair))
    }

    /// Whether the capture holds less than was on the wire.
    pub(super) fn is_cut(self) -> bool {
        len_u32(self.bytes.len()) < self.len
    }

    /// As what an encapsulation carries, by an `EtherType`. What claims to be IP must look like it;
    /// Ethernet itself goes by the number of transparent bridging. A length, as IEEE 802.3 has in the
    /// place of an `EtherType`, has no meaning here.
    fn carried(self, tunnel: Tunnel, ether_type: u16) -> Option<Inner<'a>> {
        const TRANSPARENT_ETHERNET: u16 = 0x6558;
        let network = match ether_type {
            0..=LARGEST_LENGTH => return None,
            0x0800 | 0x86dd => by_version(Some(self.bytes)),
            TRANSPARENT_ETHERNET => return self.frame(Some(tunnel)),
            other => behind(other, self.bytes),
        };
        match network {
            Network::Cut => None,
            network => Some(self.as_network(Some(tunnel), network)),
        }
    }
}

/// Unwraps what an IP packet carries, where it looks like an encapsulation in every field.
pub(super) fn in_ip<'a>(ip: &Ip<'a>) -> Option<Inner<'a>> {
    let stretch = Stretch::of(ip);
    match ip.protocol {
        4 => stretch.carried(Tunnel::IpInIp, 0x0800),
        UDP => in_udp(stretch),
        41 if ip.source.is_ipv4() => stretch.carried(Tunnel::SixInFour, 0x86dd),
        41 => stretch.carried(Tunnel::IpInIp, 0x86dd),
        GRE => gre(stretch),
        _ => None,
    }
}

/// Whether an IP packet is a tunnel's that is known to carry no IP.
pub(super) fn is_without_ip(ip: &Ip<'_>) -> bool {
    ip.protocol == GRE && Gre::read(Stretch::of(ip)).is_some_and(|gre| gre.is_without_ip())
}

fn in_udp(datagram: Stretch<'_>) -> Option<Inner<'_>> {
    const HEADER_BYTES: usize = 8;
    const VXLAN: u16 = 4789;
    const GENEVE: u16 = 6081;
    const GTP_USER: u16 = 2152;
    const TEREDO: u16 = 3544;
    const VXLAN_GPE: u16 = 4790;
    const GRE_IN_UDP: u16 = 4754;
    const L2TP: u16 = 1701;
    let (source, destination) = (datagram.u16(0)?, datagram.u16(2)?);
    let payload = datagram.after(HEADER_BYTES)?;
    match (source, destination) {
        (_, VXLAN) => vxlan(payload),
        (_, VXLAN_GPE) => vxlan_gpe(payload),
        (_, GENEVE) => geneve(payload),
        (_, GRE_IN_UDP) => gre(payload),
        (_, L2TP) | (L2TP, _) => l2tp(payload),
        (_, GTP_USER) | (GTP_USER, _) => gtp(payload),
        (_, TEREDO) | (TEREDO, _) => teredo(payload),
        _ => None,
    }
}

pub(super) fn mpls(mut rest: Stretch<'_>) -> Option<Inner<'_>> {
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

/// PPP, with or without address and control fields and with a protocol field of one byte or two,
/// RFC 1661 section 6.5 and RFC 1662 section 3.1.
pub(super) fn ppp(frame: Stretch<'_>, tunnel: Tunnel) -> Option<Inner<'_>> {
    let frame = without_address(frame)?;
    let first = frame.u8(0)?;
    // The last byte of a number is odd, all others are even.
    let (protocol, bytes) = if first & 1 == 0 {
        (frame.u16(0)?, 2)
    } else {
        (u16::from(first), 1)
    };
    let ether_type = match protocol {
        0x0021 => 0x0800,
        0x0057 => 0x86dd,
        0x0281 => 0x8847,
        _ => return None,
    };
    frame.after(bytes)?.carried(tunnel, ether_type)
}

/// Whether a frame of PPP is of the protocols that set a link up, which have numbers from there on,
/// RFC 1661 section 2.
pub(super) fn sets_up_ppp(frame: Stretch<'_>) -> bool {
    let protocol = without_address(frame).and_then(|frame| frame.u16(0));
    protocol.is_some_and(|number| number >= 0x8000)
}

fn without_address(frame: Stretch<'_>) -> Option<Stretch<'_>> {
    const ADDRESS_AND_CONTROL: u16 = 0xff03;
    if frame.u16(0) == Some(ADDRESS_AND_CONTROL) {
        frame.after(2)
    } else {
        Some(frame)
    }
}

/// What a packet of GRE carries.
struct Gre<'a> {
    /// An `EtherType`, mostly.
    protocol: u16,
    has_sequence: bool,
    payload: Stretch<'a>,
}

/// The protocol number of PPP in GRE.
const GRE_PPP: u16 = 0x880b;

impl<'a> Gre<'a> {
    fn read(packet: Stretch<'a>) -> Option<Self> {
        const CHECKSUM: u16 = 0x8000;
        const KEY: u16 = 0x2000;
        const SEQUENCE: u16 = 0x1000;
        const VERSION: u16 = 0x0007;
        let flags = packet.u16(0)?;
        if flags & VERSION == 1 {
            return Self::read_enhanced(packet, flags);
        }
        // Routing, the recursion control of RFC 1701 and other versions are not read.
        if flags & !(CHECKSUM | KEY | SEQUENCE) != 0 {
            return None;
        }
        let options = [CHECKSUM, KEY, SEQUENCE];
        let present = options.iter().filter(|option| flags & *option != 0).count();
        Some(Self {
            protocol: packet.u16(2)?,
            has_sequence: flags & SEQUENCE != 0,
            payload: packet.after(4 + 4 * present)?,
        })
    }

    /// Version 1, which carries PPP for PPTP, RFC 2637 section 4.1.
    fn read_enhanced(packet: Stretch<'a>, flags: u16) -> Option<Self> {
        const KEY: u16 = 0x2000;
        const SEQUENCE: u16 = 0x1000;
        const ACKNOWLEDGEMENT: u16 = 0x0080;
        const VERSION_1: u16 = 1;
        let known = KEY | SEQUENCE | ACKNOWLEDGEMENT | VERSION_1;
        if flags & !known != 0 || flags & KEY == 0 || packet.u16(2)? != GRE_PPP {
            return None;
        }
        let options = [KEY, SEQUENCE, ACKNOWLEDGEMENT];
        let present = options.iter().filter(|option| flags & *option != 0).count();
        let payload = packet.after(4 + 4 * present)?;
        // The upper half of the key is the length of what follows.
        (u32::from(packet.u16(4)?) <= payload.len).then_some(Self {
            protocol: GRE_PPP,
            has_sequence: flags & SEQUENCE != 0,
            payload,
        })
    }

    /// Whether it is known to carry no IP: keep-alives and acknowledgements of PPTP are empty, and numbers
    /// too small for an `EtherType` are those of other protocols, RFC 1701.
    fn is_without_ip(&self) -> bool {
        let is_empty = self.payload.len == 0;
        is_empty
            || self.protocol <= LARGEST_LENGTH
            || self.protocol == GRE_PPP && sets_up_ppp(self.payload)
    }
}

fn gre(packet: Stretch<'_>) -> Option<Inner<'_>> {
    const ERSPAN_1_OR_2: u16 = 0x88be;
    const ERSPAN_3: u16 = 0x22eb;
    let Gre {
        protocol,
        has_sequence,
        payload,
    } = Gre::read(packet)?;
    match protocol {
        GRE_PPP => ppp(payload, Tunnel::Gre),
        ERSPAN_1_OR_2 => erspan(payload, has_sequence),
        ERSPAN_3 => erspan_3(payload),
        ether_type => payload.carried(Tunnel::Gre, ether_type),
    }
}

/// ERSPAN without a header of its own, type I, or with one, type II.
fn erspan(rest: Stretch<'_>, has_header: bool) -> Option<Inner<'_>> {
    const HEADER_BYTES: usize = 8;
    const TYPE_2: u8 = 1;
    if !has_header {
        return rest.frame(Some(Tunnel::Erspan));
    }
    if rest.u8(0)? >> 4 != TYPE_2 {
        return None;
    }
    rest.after(HEADER_BYTES)?.frame(Some(Tunnel::Erspan))
}

/// ERSPAN of type III, whose header may be longer by a part for the platform.
fn erspan_3(rest: Stretch<'_>) -> Option<Inner<'_>> {
    const HEADER_BYTES: usize = 12;
    const PLATFORM_BYTES: usize = 8;
    const TYPE_3: u8 = 2;
    const HAS_PLATFORM: u8 = 1;
    const FRAME_IS_IP: u8 = 2;
    if rest.u8(0)? >> 4 != TYPE_3 {
        return None;
    }
    let platform = if rest.u8(HEADER_BYTES - 1)? & HAS_PLATFORM == 0 {
        0
    } else {
        PLATFORM_BYTES
    };
    let kind = rest.u8(10)? >> 2 & 0x1f;
    let inner = rest.after(HEADER_BYTES + platform)?;
    match kind {
        0 => inner.frame(Some(Tunnel::Erspan)),
        FRAME_IS_IP => inner.carried(Tunnel::Erspan, 0x0800),
        _ => None,
    }
}

/// A data message of L2TP version 2, RFC 2661 section 3.1.
fn l2tp(message: Stretch<'_>) -> Option<Inner<'_>> {
    const CONTROL: u16 = 0x8000;
    const LENGTH: u16 = 0x4000;
    const SEQUENCE: u16 = 0x0800;
    const OFFSET: u16 = 0x0200;
    const PRIORITY: u16 = 0x0100;
    const VERSION_2: u16 = 2;
    let flags = message.u16(0)?;
    let known = LENGTH | SEQUENCE | OFFSET | PRIORITY;
    if flags & CONTROL != 0 || flags & !known != VERSION_2 {
        return None;
    }
    let mut header = 6;
    if flags & LENGTH != 0 {
        if u32::from(message.u16(2)?) != message.len {
            return None;
        }
        header += 2;
    }
    if flags & SEQUENCE != 0 {
        header += 4;
    }
    if flags & OFFSET != 0 {
        header += 2 + usize::from(message.u16(header)?);
    }
    ppp(message.after(header)?, Tunnel::L2tp)
}

fn vxlan(payload: Stretch<'_>) -> Option<Inner<'_>> {
    const HEADER_BYTES: usize = 8;
    const NETWORK_IS_VALID: u16 = 0x0800;
    // A group, that it was applied, and that nothing shall be learnt, draft-smith-vxlan-group-policy.
    const POLICY: u16 = 0x8048;
    if payload.u16(0)? & !POLICY != NETWORK_IS_VALID {
        return None;
    }
    let frame = payload.after(HEADER_BYTES)?;
    frame.carried(Tunnel::Vxlan, 0x6558)
}

/// The generic protocol extension of VXLAN, draft-ietf-nvo3-vxlan-gpe.
fn vxlan_gpe(payload: Stretch<'_>) -> Option<Inner<'_>> {
    const HEADER_BYTES: usize = 8;
    const NETWORK_AND_PROTOCOL: u8 = 0x0c;
    if payload.u8(0)? != NETWORK_AND_PROTOCOL {
        return None;
    }
    let ether_type = match payload.u8(3)? {
        1 => 0x0800,
        2 => 0x86dd,
        3 => 0x6558,
        5 => 0x8847,
        _ => return None,
    };
    payload
        .after(HEADER_BYTES)?
        .carried(Tunnel::Vxlan, ether_type)
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
