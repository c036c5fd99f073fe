//! What may stand between the link layer and IP: tags that name the network, and frames within
//! frames.

use super::link::{LinkType, Network, UNTOLD, behind, by_version, network};
use super::packet::Undecoded;
use super::tunnel::{Inner, LARGEST_LENGTH, Stretch, Tunnel, mpls, ppp, sets_up_ppp};

/// The most headers between the link layer and IP, within one encapsulation. Usual are none or one;
/// VLAN tags do not count.
pub(super) const MAX_SHIMS: usize = 8;

/// Passes over one header behind an `EtherType` that is not that of IP. The bytes are `len` long on
/// the wire.
pub(super) fn behind_link(ether_type: u16, bytes: &[u8], len: u32) -> Result<Inner<'_>, Undecoded> {
    const CUSTOMER_FRAME_AT: usize = 4;
    const FABRIC_PATH_TAG_BYTES: usize = 2;
    const METADATA_BYTES: usize = 8;
    const VN_TAG_BYTES: usize = 6;
    const E_TAG_BYTES: usize = 8;
    let stretch = Stretch { bytes, len };
    let inner = match ether_type {
        0..=LARGEST_LENGTH => return llc(stretch),
        0x6558 => stretch.frame(None),
        0x8847 | 0x8848 => mpls(stretch),
        0x8864 => return pppoe(stretch),
        0x8903 => stretch
            .after(FABRIC_PATH_TAG_BYTES)
            .and_then(|rest| rest.frame(Some(Tunnel::FabricPath))),
        0x8909 => tag(stretch, METADATA_BYTES),
        0x8926 => tag(stretch, VN_TAG_BYTES),
        0x893f => tag(stretch, E_TAG_BYTES),
        0x88e7 => stretch
            .after(CUSTOMER_FRAME_AT)
            .and_then(|rest| rest.frame(Some(Tunnel::Pbb))),
        UNTOLD => return Err(Undecoded::NotIp),
        0x8100 | 0x88a8 | 0x9100 => return Err(Undecoded::TooDeep),
        other if is_known_without_ip(other) => return Err(Undecoded::NotIp),
        other => return Err(Undecoded::EtherType(other)),
    };
    match inner {
        Some(inner) if matches!(inner.network, Network::Other(UNTOLD, _)) => {
            Err(Undecoded::EtherType(ether_type))
        }
        Some(inner) => Ok(inner),
        None => Err(refusal(stretch, ether_type)),
    }
}

/// Why a header could not be passed over: it is cut off, or not as it should be.
fn refusal(stretch: Stretch<'_>, ether_type: u16) -> Undecoded {
    if stretch.is_cut() {
        Undecoded::Malformed
    } else {
        Undecoded::EtherType(ether_type)
    }
}

/// A tag of so many bytes, the last two of which are the `EtherType` of what follows.
fn tag(stretch: Stretch<'_>, tag_bytes: usize) -> Option<Inner<'_>> {
    let ether_type = stretch.u16(tag_bytes - 2)?;
    let rest = stretch.after(tag_bytes)?;
    Some(rest.as_network(None, behind(ether_type, rest.bytes)))
}

/// IEEE 802.2 LLC: IP itself, or SNAP with an `EtherType` (RFC 1042). All other protocols that use
/// it, spanning tree among them, carry no IP.
fn llc(stretch: Stretch<'_>) -> Result<Inner<'_>, Undecoded> {
    const UNNUMBERED: u8 = 3;
    const LLC_BYTES: usize = 3;
    const SNAP_BYTES: usize = 8;
    const IP: u8 = 0x06;
    const SNAP: u8 = 0xaa;
    let bytes = |count: usize| stretch.bytes.get(..count).ok_or(Undecoded::Malformed);
    let after = |count: usize| stretch.after(count).ok_or(Undecoded::Malformed);
    match *bytes(LLC_BYTES)? {
        [IP, IP, UNNUMBERED] => {
            let rest = after(LLC_BYTES)?;
            Ok(rest.as_network(None, by_version(Some(rest.bytes))))
        }
        [SNAP, SNAP, UNNUMBERED] => {
            let snap = bytes(SNAP_BYTES)?;
            // RFC 1042, and the tunnel of 802.1H for protocols that RFC 1042 would mistake.
            if !matches!(snap[3..6], [0, 0, 0 | 0xf8]) {
                return Err(Undecoded::NotIp);
            }
            let ether_type = u16::from_be_bytes([snap[6], snap[7]]);
            let rest = after(SNAP_BYTES)?;
            Ok(rest.as_network(None, behind(ether_type, rest.bytes)))
        }
        _ => Err(Undecoded::NotIp),
    }
}

fn pppoe(session: Stretch<'_>) -> Result<Inner<'_>, Undecoded> {
    const ETHER_TYPE: u16 = 0x8864;
    const HEADER_BYTES: usize = 6;
    const VERSION_1_TYPE_1: u8 = 0x11;
    let refused = || refusal(session, ETHER_TYPE);
    if session.u8(0).zip(session.u8(1)).ok_or_else(refused)? != (VERSION_1_TYPE_1, 0) {
        return Err(refused());
    }
    let payload = session.after(HEADER_BYTES).ok_or_else(refused)?;
    match ppp(payload, Tunnel::Pppoe) {
        Some(inner) => Ok(inner),
        None if sets_up_ppp(payload) => Err(Undecoded::NotIp),
        None => Err(refused()),
    }
}

impl<'a> Stretch<'a> {
    /// As an Ethernet frame.
    pub(super) fn frame(self, tunnel: Option<Tunnel>) -> Option<Inner<'a>> {
        match network(LinkType::Ethernet, self.bytes)? {
            Network::Cut => None,
            inner => Some(self.as_network(tunnel, inner)),
        }
    }

    /// What this stretch holds behind a header that was passed over already.
    pub(super) fn as_network(self, tunnel: Option<Tunnel>, network: Network<'a>) -> Inner<'a> {
        let header = match network {
            Network::Cut => 0,
            _ => self.bytes.len() - network.len(),
        };
        Inner {
            tunnel,
            len: self.len.saturating_sub(super::ip::len_u32(header)),
            network,
        }
    }
}

/// `EtherType`s of protocols that are usual in captures and known to carry no IP.
fn is_known_without_ip(ether_type: u16) -> bool {
    matches!(
        ether_type,
        // ARP, Wake-on-LAN, audio and video transport, stream reservation
        0x0806 | 0x0842 | 0x22f0 | 0x22ea
        // DECnet, RARP, AppleTalk and its ARP, IPX
        | 0x6001..=0x6004 | 0x8035 | 0x809b | 0x80f3 | 0x8137
        // flow control and slow protocols, PPPoE discovery, HomePlug, 802.1X
        | 0x8808 | 0x8809 | 0x8863 | 0x887b | 0x88e1 | 0x8912 | 0x888e
        // PROFINET, EtherCAT, ATA over Ethernet, GOOSE, GSE, sampled values, experiments
        | 0x8892 | 0x88a4 | 0x88a2 | 0x88b8..=0x88ba | 0x88b5 | 0x88b6
        // LLDP, MRP, VLAN and address registration, precision time, connectivity faults
        | 0x88cc | 0x88e3 | 0x88f5 | 0x88f6 | 0x88f7 | 0x8902
        // Fibre Channel and its set-up, loopback tests
        | 0x8906 | 0x8914 | 0x9000
    )
}
