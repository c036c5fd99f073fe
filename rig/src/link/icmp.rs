//! What a link answers to packets that it cannot send on.

use std::net::Ipv4Addr;

use super::packet::{Header, ICMP, checksum};

/// Length of an IP header without options, and of the header of an ICMP error.
const IP_BYTES: usize = 20;
const ICMP_BYTES: usize = 8;

/// What is quoted of a packet at most, so that the error is not longer than 576 bytes (RFC 1812,
/// 4.3.2.3).
const QUOTED_BYTES: usize = 576 - IP_BYTES - ICMP_BYTES;

/// Hop limit of what the link sends itself.
const HOP_LIMIT: u8 = 64;

/// Types of ICMP errors (RFC 792).
const UNREACHABLE: u8 = 3;
const SOURCE_QUENCH: u8 = 4;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;

/// Code of `UNREACHABLE`: fragmentation needed, and forbidden.
const FRAGMENTATION_NEEDED: u8 = 4;

/// What is wrong with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// RFC 792; RFC 1812, 5.3.1.
    TimeExceeded,
    /// RFC 1191, section 4, with the size that the next network carries.
    TooLong(u16),
}

/// The error to send to the source of a packet, from this address; none about what must not be
/// answered with an error (RFC 1812, 4.3.2.7): other errors, and fragments but the first.
pub(super) fn error(
    packet: &[u8],
    header: &Header,
    from: Ipv4Addr,
    trouble: Trouble,
) -> Option<Vec<u8>> {
    if header.later_fragment
        || quoted_at(packet, header).is_some()
        || header.source.is_unspecified()
    {
        return None;
    }
    let (kind, code, mtu) = match trouble {
        Trouble::TimeExceeded => (TIME_EXCEEDED, 0, 0),
        Trouble::TooLong(mtu) => (UNREACHABLE, FRAGMENTATION_NEEDED, mtu),
    };
    let quoted = &packet[..header.len_bytes.min(QUOTED_BYTES)];
    let len = u16::try_from(IP_BYTES + ICMP_BYTES + quoted.len()).ok()?;
    let mut answer = Vec::with_capacity(usize::from(len));
    answer.extend([0x45, 0]);
    answer.extend(len.to_be_bytes());
    answer.extend([0, 0, 0, 0, HOP_LIMIT, ICMP, 0, 0]);
    answer.extend(from.octets());
    answer.extend(header.source.octets());
    let sum = checksum(&answer);
    answer[10..12].copy_from_slice(&sum.to_be_bytes());
    answer.extend([kind, code, 0, 0, 0, 0]);
    answer.extend(mtu.to_be_bytes());
    answer.extend(quoted);
    fill_checksum(&mut answer[IP_BYTES..]);
    Some(answer)
}

/// Where the packet begins that an ICMP error quotes; none where the packet is no such error.
pub(super) fn quoted_at(packet: &[u8], header: &Header) -> Option<usize> {
    if header.protocol != ICMP || header.later_fragment {
        return None;
    }
    let message = packet.get(header.own_bytes..header.len_bytes)?;
    let kind = *message.first()?;
    let is_error = matches!(
        kind,
        UNREACHABLE | SOURCE_QUENCH | TIME_EXCEEDED | PARAMETER_PROBLEM
    );
    (is_error && message.len() >= ICMP_BYTES).then_some(header.own_bytes + ICMP_BYTES)
}

/// Computes the checksum of an ICMP message anew.
pub(super) fn fill_checksum(message: &mut [u8]) {
    message[2..4].fill(0);
    let sum = checksum(message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}
