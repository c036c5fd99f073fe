//! IP headers, with their options, extension headers and fragments.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    IpAuthHeaderSlice, IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
    Ipv6RawExtHeaderSlice, ip_number,
};

use super::checksum;

/// The most IPv6 extension headers that are passed over. Usual are none to three.
const MAX_EXTENSIONS: usize = 16;

/// Length of an IPv4 header without options in bytes.
const IPV4_FIXED_BYTES: usize = 20;

/// First byte of such a header: version 4, and five words of four bytes.
const IPV4_WITHOUT_OPTIONS: u8 = 0x45;

/// Length of an IPv6 header in bytes.
const IPV6_HEADER_BYTES: usize = 40;

/// An IP packet up to what it carries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ip<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// What it carries, by its IP protocol number.
    pub(super) protocol: u8,
    /// Payload as captured.
    pub(super) payload: &'a [u8],
    /// Length of the payload on the wire.
    pub(super) payload_len: u32,
    /// Length of the whole packet on the wire.
    pub(super) len: u32,
    pub(super) hop_limit: u8,
    /// The identification of IPv4.
    pub(super) id: Option<u16>,
    /// Set when it is a fragment.
    pub(super) piece: Option<Piece>,
    /// Extension headers are cut off or malformed, so that `protocol` and `payload` mean nothing.
    pub(super) cut: bool,
    /// The checksum of its header is wrong.
    pub(super) damaged: bool,
    /// The checksum of what it carries can be judged: lengths and addresses are what they seem.
    pub(super) checkable: bool,
}

/// Which part of a packet a fragment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) id: u32,
    /// Where in the payload of the whole packet it begins, in bytes.
    pub(super) offset: u32,
    /// Further fragments follow behind it.
    pub(super) more: bool,
}

impl Ip<'_> {
    /// Whether it is a fragment other than the first of its packet.
    #[inline]
    pub(super) fn is_later_piece(&self) -> bool {
        self.piece.is_some_and(|piece| piece.offset > 0)
    }

    /// Whether its payload was captured to the last byte.
    #[inline]
    pub(super) fn is_whole(&self) -> bool {
        self.payload.len() == usize::try_from(self.payload_len).unwrap_or(usize::MAX)
    }
}

/// Reads what nearly all packets are: IPv4 without options, with TCP in one piece. None for all others.
#[expect(clippy::inline_always, reason = "on the way of every packet")]
#[inline(always)]
pub(super) fn read_usual(bytes: &[u8], wire_len: u32) -> Option<Ip<'_>> {
    let usual = *bytes.first()? == IPV4_WITHOUT_OPTIONS && *bytes.get(9)? == ip_number::TCP.0;
    if !usual {
        return None;
    }
    v4(bytes, wire_len).filter(|ip| ip.piece.is_none())
}

/// Reads an IP header. `wire_len` stands in for a length of zero, as segmentation offload and
/// jumbograms have it, and for one beyond it; zero where it is not known. None when the addresses cannot be known, or the header contradicts itself.
#[expect(clippy::inline_always, reason = "on the way of every packet")]
#[inline(always)]
pub(super) fn read(bytes: &[u8], wire_len: u32) -> Option<Ip<'_>> {
    match bytes.first()? >> 4 {
        4 => v4(bytes, wire_len),
        6 => v6(bytes, wire_len),
        _ => None,
    }
}

#[expect(clippy::inline_always, reason = "on the way of every packet")]
#[inline(always)]
fn v4(bytes: &[u8], wire_len: u32) -> Option<Ip<'_>> {
    let header = Ipv4HeaderSlice::from_slice(bytes).ok()?;
    let header_len = header.slice().len();
    let claimed = header.total_len();
    let believed = is_believed(claimed.into(), wire_len);
    let (len, end) = if believed {
        (u32::from(claimed), bytes.len().min(usize::from(claimed)))
    } else {
        (wire_len, bytes.len())
    };
    let piece = header.is_fragmenting_payload().then(|| Piece {
        id: u32::from(header.identification()),
        offset: u32::from(header.fragments_offset().byte_offset()),
        more: header.more_fragments(),
    });
    let sum = header.header_checksum();
    let mut ip = Ip {
        source: IpAddr::V4(Ipv4Addr::from(header.source())),
        destination: IpAddr::V4(if header_len == IPV4_FIXED_BYTES {
            Ipv4Addr::from(header.destination())
        } else {
            final_destination(&header)
        }),
        protocol: header.protocol().0,
        payload: bytes.get(header_len..end)?,
        payload_len: len.saturating_sub(len_u32(header_len)),
        len,
        hop_limit: header.ttl(),
        id: Some(header.identification()),
        piece,
        cut: false,
        // A network card that is to fill it in has left a zero.
        damaged: sum != 0 && !checksum::is_right(header.slice()),
        checkable: believed,
    };
    if ip.protocol == ip_number::AUTH.0 && !ip.is_later_piece() {
        pass_over_authentication(&mut ip);
    }
    Some(ip)
}

/// Whether a length that an IP header claims is the packet's: zero is none, and the packet is no longer
/// than it was on the wire. `wire_len` is zero where that is not known.
#[expect(clippy::inline_always, reason = "on the way of every packet")]
#[inline(always)]
fn is_believed(claimed: u32, wire_len: u32) -> bool {
    claimed != 0 && (claimed <= wire_len || wire_len == 0)
}

/// Where a packet with options goes at last: to the end of a source route whose addresses are not
/// used up, RFC 791 section 3.1. Transport checksums cover that address, and the answer comes from it.
#[cold]
fn final_destination(header: &Ipv4HeaderSlice<'_>) -> Ipv4Addr {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_ROUTE: u8 = 131;
    const STRICT_ROUTE: u8 = 137;
    let next = Ipv4Addr::from(header.destination());
    let mut options = header.options();
    // Each turn takes a byte at least, of 40 at most.
    while let [kind, rest @ ..] = options {
        match *kind {
            END => break,
            NO_OPERATION => options = rest,
            kind => {
                let option = rest
                    .first()
                    .and_then(|len| options.get(..usize::from(*len)))
                    .filter(|option| option.len() >= 2);
                let Some(option) = option else { break };
                if matches!(kind, LOOSE_ROUTE | STRICT_ROUTE) {
                    return end_of_route(option).unwrap_or(next);
                }
                options = &options[option.len()..];
            }
        }
    }
    next
}

/// The last address of a source route, unless all were used already. The pointer counts bytes of the
/// option from 1 on.
fn end_of_route(option: &[u8]) -> Option<Ipv4Addr> {
    const ROUTE_AT: usize = 3;
    const ADDRESS_BYTES: usize = 4;
    let next_at = usize::from(*option.get(2)?).checked_sub(1)?;
    let last_at = option.len().checked_sub(ADDRESS_BYTES)?;
    let is_route = last_at >= ROUTE_AT && (last_at - ROUTE_AT).is_multiple_of(ADDRESS_BYTES);
    let last: &[u8; ADDRESS_BYTES] = option.last_chunk()?;
    (is_route && next_at <= last_at).then(|| Ipv4Addr::from(*last))
}

#[cold]
fn pass_over_authentication(ip: &mut Ip<'_>) {
    match IpAuthHeaderSlice::from_slice(ip.payload) {
        Ok(header) => {
            let len = header.slice().len();
            ip.protocol = header.next_header().0;
            ip.payload = &ip.payload[len..];
            ip.payload_len = ip.payload_len.saturating_sub(len_u32(len));
        }
        Err(_) => ip.cut = true,
    }
}

#[inline(never)]
fn v6(bytes: &[u8], wire_len: u32) -> Option<Ip<'_>> {
    let header = Ipv6HeaderSlice::from_slice(bytes).ok()?;
    let claimed = IPV6_HEADER_BYTES + usize::from(header.payload_length());
    let believed = claimed > IPV6_HEADER_BYTES && is_believed(len_u32(claimed), wire_len);
    let (len, end) = if believed {
        (len_u32(claimed), bytes.len().min(claimed))
    } else {
        (wire_len, bytes.len())
    };
    let mut ip = Ip {
        source: IpAddr::V6(Ipv6Addr::from(header.source())),
        destination: IpAddr::V6(Ipv6Addr::from(header.destination())),
        protocol: header.next_header().0,
        payload: bytes.get(IPV6_HEADER_BYTES..end)?,
        payload_len: len.saturating_sub(len_u32(IPV6_HEADER_BYTES)),
        len,
        hop_limit: header.hop_limit(),
        id: None,
        piece: None,
        cut: false,
        damaged: false,
        checkable: believed,
    };
    pass_over_extensions(&mut ip);
    Some(ip)
}

/// Passes over the headers that stand at the beginning of a payload put together from fragments.
pub(super) fn pass_over_rest(ip: &mut Ip<'_>) {
    if ip.source.is_ipv6() {
        pass_over_extensions(ip);
        // There is no fragment of what was put together already.
        ip.cut |= ip.piece.is_some();
        ip.piece = None;
    } else if ip.protocol == ip_number::AUTH.0 {
        pass_over_authentication(ip);
    }
}

/// Passes over IPv6 extension headers, up to the payload or a header that says that the packet is
/// a fragment: what follows there belongs to the whole packet.
fn pass_over_extensions(ip: &mut Ip<'_>) {
    // One turn more, to see what follows the last one.
    for _ in 0..=MAX_EXTENSIONS {
        let header = match IpNumber(ip.protocol) {
            ip_number::IPV6_HOP_BY_HOP | ip_number::IPV6_DEST_OPTIONS | ip_number::IPV6_ROUTE => {
                // The pseudo-header has the last address of a route, and options may hold others.
                ip.checkable = false;
                Ipv6RawExtHeaderSlice::from_slice(ip.payload)
                    .ok()
                    .map(|header| (header.next_header(), header.slice().len()))
            }
            ip_number::AUTH => IpAuthHeaderSlice::from_slice(ip.payload)
                .ok()
                .map(|header| (header.next_header(), header.slice().len())),
            ip_number::IPV6_FRAG => {
                Ipv6FragmentHeaderSlice::from_slice(ip.payload)
                    .ok()
                    .map(|header| {
                        ip.piece = header.is_fragmenting_payload().then(|| Piece {
                            id: header.identification(),
                            offset: u32::from(header.fragment_offset().byte_offset()),
                            more: header.more_fragments(),
                        });
                        (header.next_header(), header.slice().len())
                    })
            }
            _ => return,
        };
        let Some((next, len)) = header else {
            break;
        };
        ip.protocol = next.0;
        ip.payload = &ip.payload[len..];
        ip.payload_len = ip.payload_len.saturating_sub(len_u32(len));
        if ip.piece.is_some() {
            return;
        }
    }
    ip.cut = true;
}

/// A length as the 32 bits that captures have for it.
#[inline]
pub(super) fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
