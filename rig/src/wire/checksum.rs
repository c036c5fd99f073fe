//! Internet checksums, RFC 1071, and the wrong ones that mean no harm.

use std::net::IpAddr;

use etherparse::checksum::u64_16bit_word::{add_2bytes, add_4bytes, add_slice, ones_complement};

use super::ip::Ip;

/// What the checksums of a captured packet say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Checksum {
    /// They are right, or nothing is known: they were not filled in, or the packet is not all
    /// there.
    #[default]
    Credible,
    /// That of the IP header is wrong, so that not even the addresses are sure.
    WrongIp,
    /// That of the TCP segment or UDP datagram is wrong.
    WrongTransport,
}

/// Whether bytes that contain their checksum agree with it.
#[inline]
pub(super) fn is_right(bytes: &[u8]) -> bool {
    ones_complement(add_slice(0, bytes)) == 0
}

/// Whether the checksum `told` by a segment or datagram agrees with its bytes, or was left to the
/// network card: then it is zero, or that of the pseudo-header alone, with the length or without,
/// as Linux and Windows prepare it.
#[inline]
pub(super) fn is_credible(ip: &Ip<'_>, bytes: &[u8], told: u16) -> bool {
    let addresses = sum_of_addresses(ip);
    let protocol = [0, ip.protocol];
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let whole = add_slice(add_4bytes(add_2bytes(addresses, protocol), len), bytes);
    if ones_complement(whole) == 0 || told == 0 {
        return true;
    }
    let without_len = add_2bytes(addresses, protocol);
    let with_len = add_4bytes(without_len, len);
    let told = u16::from_ne_bytes(told.to_be_bytes());
    [with_len, without_len]
        .map(|sum| !ones_complement(sum))
        .contains(&told)
}

#[inline]
fn sum_of_addresses(ip: &Ip<'_>) -> u64 {
    match (ip.source, ip.destination) {
        (IpAddr::V4(a), IpAddr::V4(b)) => add_4bytes(add_4bytes(0, a.octets()), b.octets()),
        (IpAddr::V6(a), IpAddr::V6(b)) => add_slice(add_slice(0, &a.octets()), &b.octets()),
        // A packet has one family.
        _ => 0,
    }
}
