//! Internet checksums, RFC 1071, and the wrong ones that mean no harm.

use std::net::IpAddr;

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

/// Whether checksums are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Checksums {
    /// A wrong one counts as one that the receiver throws the packet away for.
    #[default]
    Judged,
    /// All are taken for right: those of a capture that was anonymised or rewritten say nothing.
    Ignored,
}

/// All sums are taken modulo this, which is what adding the carries back comes to.
const MODULUS: u64 = 0xffff;

/// Whether bytes that contain their checksum agree with it.
#[inline]
pub(super) fn is_right(bytes: &[u8]) -> bool {
    sum(0, bytes).is_multiple_of(MODULUS)
}

/// Whether the checksum `told` by a segment or datagram agrees with its bytes, or was left to the
/// network card: then it is zero, or that of the pseudo-header alone, with the length or without,
/// as Linux and Windows prepare it.
#[expect(clippy::inline_always, reason = "on the way of every packet")]
#[inline(always)]
pub(super) fn is_credible(ip: &Ip<'_>, bytes: &[u8], told: u16) -> bool {
    let without_len = sum_of_addresses(ip) + word([0, 0, 0, ip.protocol]);
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let with_len = without_len + word(len.to_be_bytes());
    sum(with_len, bytes).is_multiple_of(MODULUS) || is_left_out([with_len, without_len], told)
}

#[cold]
fn is_left_out(partial: [u64; 2], told: u16) -> bool {
    let told = u64::from(u16::from_ne_bytes(told.to_be_bytes()));
    told == 0 || partial.map(|sum| sum % MODULUS).contains(&(told % MODULUS))
}

#[inline]
fn sum_of_addresses(ip: &Ip<'_>) -> u64 {
    match (ip.source, ip.destination) {
        (IpAddr::V4(a), IpAddr::V4(b)) => word(a.octets()) + word(b.octets()),
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let both = [a, b].map(|address| sum(0, &address.octets()) % MODULUS);
            both[0] + both[1]
        }
        // A packet has one family.
        _ => 0,
    }
}

/// Adds bytes to a sum, eight at a time: modulo 0xffff it is that of their 16-bit words, whatever
/// the byte order. `etherparse` does the same more slowly, which every packet would feel.
#[inline]
fn sum(begun: u64, bytes: &[u8]) -> u64 {
    let mut sum = begun;
    let (pairs, rest) = bytes.as_chunks::<8>();
    for pair in pairs {
        sum = add(sum, u64::from_ne_bytes(*pair));
    }
    let (words, rest) = rest.as_chunks::<4>();
    for one in words {
        sum = add(sum, word(*one));
    }
    match *rest {
        [a] => add(sum, word([a, 0, 0, 0])),
        [a, b] => add(sum, word([a, b, 0, 0])),
        [a, b, c] => add(sum, word([a, b, c, 0])),
        _ => sum,
    }
}

/// Adds with the carry added back.
#[inline]
fn add(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u64::from(carry)
}

#[inline]
fn word(bytes: [u8; 4]) -> u64 {
    u64::from(u32::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use etherparse::checksum::u64_16bit_word::{add_slice, ones_complement};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_are_those_of_etherparse(mut bytes in prop::collection::vec(any::<u8>(), 1..100), fill: bool) {
            bytes[0] |= 1; // of zeros alone there is no packet
            if fill {
                // Makes the whole agree, as a sender does.
                bytes.truncate(bytes.len() & !1);
                let checksum = ones_complement(add_slice(0, &bytes));
                bytes.extend(checksum.to_ne_bytes());
            }
            let theirs = ones_complement(add_slice(0, &bytes)) == 0;
            prop_assert_eq!(is_right(&bytes), theirs);
            prop_assert!(theirs || !fill || bytes.len() < 4);
        }
    }
}
