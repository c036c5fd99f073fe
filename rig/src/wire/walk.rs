//! From the link layer to the innermost IP packet.

use super::checksum::Checksums;
use super::ip::{self, Ip, len_u32};
use super::link::{LinkType, Network, network};
use super::packet::Undecoded;
use super::shim::{self, MAX_SHIMS};
use super::tunnel::{self, Tunnels};

/// An IP packet and the encapsulations that it came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) ip: Ip<'a>,
    pub(super) tunnels: Tunnels,
}

/// The packet, where it is what nearly all are: IPv4 without options, with TCP, in one piece and in nothing else. For
/// these the way is short.
#[expect(clippy::inline_always, reason = "on the way of every packet")]
#[inline(always)]
pub(super) fn usual(link: LinkType, data: &[u8], orig_len_bytes: u32) -> Option<Ip<'_>> {
    match network(link, data) {
        Some(Network::Ip(bytes)) => {
            let len = orig_len_bytes.saturating_sub(len_u32(data.len() - bytes.len()));
            ip::read_usual(bytes, len)
        }
        _ => None,
    }
}

/// Passes over the link layer and encapsulations, up to what is in none or to a fragment.
#[inline(never)]
pub(super) fn walk(
    link: LinkType,
    data: &[u8],
    orig_len_bytes: u32,
    checksums: Checksums,
) -> Result<Found<'_>, Undecoded> {
    let network = network(link, data).ok_or(Undecoded::LinkType(link))?;
    let mut tunnels = Tunnels::default();
    let ip = if let Network::Ip(bytes) = network {
        let len = orig_len_bytes.saturating_sub(len_u32(data.len() - bytes.len()));
        ip::read(bytes, len).ok_or(Undecoded::Malformed)?
    } else {
        shims(network, data.len(), orig_len_bytes, &mut tunnels)?
    };
    unwrap(ip, tunnels, checksums)
}

/// Unwraps an IP packet as far as it goes.
pub(super) fn unwrap(
    mut ip: Ip<'_>,
    mut tunnels: Tunnels,
    checksums: Checksums,
) -> Result<Found<'_>, Undecoded> {
    // Each turn adds an encapsulation, of which there is a bounded number.
    loop {
        ip.damaged &= checksums == Checksums::Judged;
        if ip.piece.is_some() || ip.cut || ip.damaged {
            return Ok(Found { ip, tunnels });
        }
        let Some(inner) = tunnel::in_ip(&ip) else {
            if tunnel::is_without_ip(&ip) {
                return Err(Undecoded::NotIp);
            }
            return Ok(Found { ip, tunnels });
        };
        let mut deeper = tunnels;
        if !inner.tunnel.is_none_or(|tunnel| deeper.push(tunnel)) {
            return Ok(Found { ip, tunnels });
        }
        let rest = inner.network.len();
        match shims(inner.network, rest, inner.len, &mut deeper) {
            Ok(found) => (ip, tunnels) = (found, deeper),
            // It only looked like an encapsulation.
            Err(Undecoded::Malformed) => return Ok(Found { ip, tunnels }),
            // Ports are only a hint, and the datagram can be told by its own.
            Err(_) if ip.protocol == tunnel::UDP => return Ok(Found { ip, tunnels }),
            Err(other) => return Err(other),
        }
    }
}

/// Passes over what may stand between the link layer and IP. Of the layer, `captured` bytes are
/// there, and it has `len` bytes on the wire.
fn shims<'a>(
    mut network: Network<'a>,
    mut captured: usize,
    mut len: u32,
    tunnels: &mut Tunnels,
) -> Result<Ip<'a>, Undecoded> {
    for _ in 0..=MAX_SHIMS {
        len = len.saturating_sub(len_u32(captured - network.len()));
        match network {
            Network::Ip(bytes) => return ip::read(bytes, len).ok_or(Undecoded::Malformed),
            Network::Cut => return Err(Undecoded::Malformed),
            Network::Other(ether_type, bytes) => {
                let inner = shim::behind_link(ether_type, bytes, len)?;
                if !inner.tunnel.is_none_or(|tunnel| tunnels.push(tunnel)) {
                    return Err(Undecoded::TooDeep);
                }
                len = inner.len;
                network = inner.network;
                captured = network.len();
            }
        }
    }
    Err(Undecoded::TooDeep)
}
