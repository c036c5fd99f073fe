//! Bodies of pcapng blocks, read leniently: one odd option or reserved bit must not cost the rest
//! of a file, as it would with `pcap-file`'s own block types.

use std::net::IpAddr;

use super::delivery::Delivery;
use super::record::{Direction, Interface, InterfaceId, Section, Statistics};
use crate::units::Timestamp;
use crate::wire::LinkType;

/// Block types, draft-ietf-opsawg-pcapng section 11.1.
pub(super) mod kind {
    pub(in super::super) const SECTION: u32 = 0x0a0d_0d0a;
    pub(in super::super) const INTERFACE: u32 = 1;
    pub(in super::super) const OBSOLETE_PACKET: u32 = 2;
    pub(in super::super) const SIMPLE_PACKET: u32 = 3;
    pub(in super::super) const NAMES: u32 = 4;
    pub(in super::super) const STATISTICS: u32 = 5;
    pub(in super::super) const ENHANCED_PACKET: u32 = 6;
    pub(in super::super) const JOURNAL: u32 = 9;
    pub(in super::super) const CUSTOM: u32 = 0x0bad;
    pub(in super::super) const CUSTOM_NOT_COPIED: u32 = 0x4000_0bad;
    pub(in super::super) const SYSDIG_EVENT: u32 = 0x0204;
    pub(in super::super) const SYSDIG_EVENT_2: u32 = 0x0216;
    pub(in super::super) const SYSDIG_EVENT_2_LARGE: u32 = 0x0221;
}

/// Options of a section header block beside the comment.
const SHB_HARDWARE: u16 = 2;
const SHB_OS: u16 = 3;
const SHB_USERAPPL: u16 = 4;
/// Options of an interface description block.
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
/// Options of an interface statistics block.
const ISB_IFRECV: u16 = 4;
const ISB_IFDROP: u16 = 5;
const ISB_FILTERACCEPT: u16 = 6;
const ISB_OSDROP: u16 = 7;
const ISB_USRDELIV: u16 = 8;
/// Option of packet blocks.
const PACKET_FLAGS: u16 = 2;
const PACKET_DROPCOUNT: u16 = 4;
/// Options of every block.
const COMMENT: u16 = 1;
const CUSTOM_TEXT: u16 = 2988;

/// Byte order of a section or a pcap file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Big,
    Little,
}

impl Order {
    /// The two bytes at `at`; zero beyond the end, so that callers check lengths once.
    #[inline]
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let raw = bytes.get(at..).and_then(|b| b.first_chunk());
        let raw = raw.copied().unwrap_or_default();
        match self {
            Self::Big => u16::from_be_bytes(raw),
            Self::Little => u16::from_le_bytes(raw),
        }
    }

    /// The four bytes at `at`; zero beyond the end.
    #[inline]
    pub(super) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let raw = bytes.get(at..).and_then(|b| b.first_chunk());
        let raw = raw.copied().unwrap_or_default();
        match self {
            Self::Big => u32::from_be_bytes(raw),
            Self::Little => u32::from_le_bytes(raw),
        }
    }

    /// The lower half of the four bytes at `at`; zero beyond the end.
    pub(super) fn low_u16(self, bytes: &[u8], at: usize) -> u16 {
        match self {
            Self::Big => self.u16(bytes, at + 2),
            Self::Little => self.u16(bytes, at),
        }
    }

    /// The eight bytes at `at`; zero beyond the end.
    fn u64(self, bytes: &[u8], at: usize) -> u64 {
        let (first, second) = (self.u32(bytes, at), self.u32(bytes, at + 4));
        let (high, low) = match self {
            Self::Big => (first, second),
            Self::Little => (second, first),
        };
        u64::from(high) << 32 | u64::from(low)
    }
}

/// How an interface's timestamps are read (`if_tsresol`, `if_tsoffset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    resolution: Resolution,
    offset_s: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resolution {
    /// A tick is this many nanoseconds.
    Coarse(u64),
    /// A nanosecond is this many ticks.
    Fine(u128),
    /// A tick is 2 to the minus this many seconds.
    Binary(u8),
}

impl Clock {
    /// A clock of ticks of this many nanoseconds, beginning with the epoch.
    pub(super) fn of_ticks_ns(tick_ns: u64) -> Self {
        Self {
            resolution: Resolution::Coarse(tick_ns),
            offset_s: 0,
        }
    }

    /// A clock as `if_tsresol` and `if_tsoffset` give it. Digits beyond the nanosecond are dropped.
    fn new(tsresol: u8, offset_s: i64) -> Self {
        let power = tsresol & 0x7f;
        let resolution = if tsresol & 0x80 != 0 {
            Resolution::Binary(power)
        } else if power <= 9 {
            Resolution::Coarse(10_u64.pow(9 - u32::from(power)))
        } else {
            let ticks = 10_u128.checked_pow(u32::from(power) - 9);
            Resolution::Fine(ticks.unwrap_or(u128::MAX))
        };
        Self {
            resolution,
            offset_s,
        }
    }

    /// The moment that a tick count stands for, held within what a [`Timestamp`] can say.
    #[inline]
    pub(super) fn at(self, ticks: u64) -> Timestamp {
        let ns = match self.resolution {
            Resolution::Coarse(tick_ns) => ticks.saturating_mul(tick_ns),
            Resolution::Fine(per_ns) => saturate(u128::from(ticks) / per_ns),
            Resolution::Binary(power) => saturate((u128::from(ticks) * 1_000_000_000) >> power),
        };
        let offset_ns = self.offset_s.unsigned_abs().saturating_mul(1_000_000_000);
        Timestamp(if self.offset_s < 0 {
            ns.saturating_sub(offset_ns)
        } else {
            ns.saturating_add(offset_ns)
        })
    }
}

fn saturate(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// Options of a block: code and value, up to the end mark or the first one that does not fit.
fn options(order: Order, mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_at_checked(4)?;
        let (code, len) = (order.u16(head, 0), usize::from(order.u16(head, 2)));
        let value = rest.get(..len)?;
        if code == 0 {
            return None;
        }
        bytes = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((code, value))
    })
}

fn text(value: &[u8]) -> String {
    let value = value.strip_suffix(b"\0").unwrap_or(value);
    String::from_utf8_lossy(value).into_owned()
}

/// A section header block's body after the magic number.
pub(super) fn section(order: Order, body: &[u8]) -> Section {
    const OPTIONS_AT: usize = 16;
    let mut section = Section::default();
    for (code, value) in options(order, body.get(OPTIONS_AT..).unwrap_or_default()) {
        match code {
            SHB_HARDWARE => section.hardware = text(value),
            SHB_OS => section.os = text(value),
            SHB_USERAPPL => section.application = text(value),
            COMMENT if section.comment.is_empty() => section.comment = text(value),
            COMMENT => {
                section.comment.push('\n');
                section.comment.push_str(&text(value));
            }
            _ => {}
        }
    }
    section
}

/// An interface description block: the interface and its clock.
pub(super) fn interface(order: Order, body: &[u8]) -> Option<(Interface, Clock)> {
    const OPTIONS_AT: usize = 8;
    /// Microseconds, where nothing else is said.
    const DEFAULT_TSRESOL: u8 = 6;
    let option_bytes = body.get(OPTIONS_AT..)?;
    let mut interface = Interface {
        name: String::new(),
        description: String::new(),
        link: LinkType::from_number(order.u16(body, 0)),
        snaplen_bytes: order.u32(body, 4),
    };
    let (mut tsresol, mut offset_s) = (DEFAULT_TSRESOL, 0);
    for (code, value) in options(order, option_bytes) {
        match (code, value.len()) {
            (IF_NAME, _) => interface.name = text(value),
            (IF_DESCRIPTION, _) => interface.description = text(value),
            (IF_TSRESOL, 1) => tsresol = value[0],
            (IF_TSOFFSET, 8) => offset_s = order.u64(value, 0).cast_signed(),
            _ => {}
        }
    }
    Some((interface, Clock::new(tsresol, offset_s)))
}

/// A packet block before its interface is looked up.
#[derive(Debug, Clone, Copy)]
pub(super) struct PacketHead {
    /// Number of the interface within its section.
    pub(super) interface: u32,
    pub(super) ticks: u64,
    pub(super) orig_len_bytes: u32,
    /// Where the packet's bytes begin in the body, and how many there are.
    pub(super) data_at: usize,
    pub(super) data_len: usize,
    /// Where options begin in the body.
    pub(super) options_at: usize,
}

/// The fixed fields of a packet block of any of the three kinds; none when the body is too short
/// for what it promises. `snaplen_bytes` is that of the section's first interface, which a simple
/// packet block needs.
#[inline]
pub(super) fn packet(
    order: Order,
    kind: u32,
    body: &[u8],
    snaplen_bytes: u32,
) -> Option<PacketHead> {
    let (interface, data_at, captured, orig): (u32, usize, u32, u32) = match kind {
        kind::SIMPLE_PACKET => {
            let orig = order.u32(body, 0);
            let limit = if snaplen_bytes == 0 {
                orig
            } else {
                snaplen_bytes
            };
            (0, 4, orig.min(limit), orig)
        }
        kind::OBSOLETE_PACKET => {
            let interface = u32::from(order.u16(body, 0));
            (interface, 20, order.u32(body, 12), order.u32(body, 16))
        }
        _ => (
            order.u32(body, 0),
            20,
            order.u32(body, 12),
            order.u32(body, 16),
        ),
    };
    let ticks = if kind == kind::SIMPLE_PACKET {
        0
    } else {
        u64::from(order.u32(body, 4)) << 32 | u64::from(order.u32(body, 8))
    };
    let data_len = usize::try_from(captured).ok()?;
    let data_end = data_at.checked_add(data_len)?;
    if data_end > body.len() {
        return None;
    }
    Some(PacketHead {
        interface,
        ticks,
        orig_len_bytes: orig.max(captured),
        data_at,
        data_len,
        options_at: data_end.next_multiple_of(4),
    })
}

/// Packets that were lost before one in an obsolete packet block, as its fixed fields say.
pub(super) fn obsolete_drops(order: Order, body: &[u8]) -> u64 {
    /// It is not known.
    const UNKNOWN: u16 = 0xffff;
    match order.u16(body, 2) {
        UNKNOWN => 0,
        drops => drops.into(),
    }
}

/// What the options of a packet block say.
#[derive(Debug, Default)]
pub(super) struct PacketOptions {
    pub(super) direction: Option<Direction>,
    pub(super) comments: Vec<String>,
    pub(super) delivery: Option<Delivery>,
    /// How many packets were lost before it.
    pub(super) drops: u64,
}

/// Reads the options of a packet block.
pub(super) fn packet_options(order: Order, bytes: &[u8]) -> PacketOptions {
    let mut found = PacketOptions::default();
    for (code, value) in options(order, bytes) {
        match (code, value.len()) {
            (COMMENT, _) => found.comments.push(text(value)),
            (PACKET_DROPCOUNT, 8) => found.drops = order.u64(value, 0),
            (CUSTOM_TEXT, 4..) => {
                let delivery = Delivery::read(order.u32(value, 0), &value[4..]);
                found.delivery = delivery.or(found.delivery);
            }
            (PACKET_FLAGS, 4) => {
                found.direction = match order.u32(value, 0) & 0b11 {
                    1 => Some(Direction::Inbound),
                    2 => Some(Direction::Outbound),
                    _ => None,
                };
            }
            _ => {}
        }
    }
    found
}

/// An interface statistics block: number of the interface within its section, tick count, counts.
pub(super) fn statistics(order: Order, body: &[u8]) -> Option<(u32, u64, Statistics)> {
    const OPTIONS_AT: usize = 12;
    let option_bytes = body.get(OPTIONS_AT..)?;
    let ticks = u64::from(order.u32(body, 4)) << 32 | u64::from(order.u32(body, 8));
    let (mut received, mut lost) = (0, 0);
    let (mut lost_by_os, mut accepted, mut delivered) = (None, None, None);
    for (code, value) in options(order, option_bytes) {
        match (code, value.len()) {
            (ISB_IFRECV, 8) => received = order.u64(value, 0),
            (ISB_IFDROP, 8) => lost = order.u64(value, 0),
            (ISB_OSDROP, 8) => lost_by_os = Some(order.u64(value, 0)),
            (ISB_FILTERACCEPT, 8) => accepted = Some(order.u64(value, 0)),
            (ISB_USRDELIV, 8) => delivered = Some(order.u64(value, 0)),
            _ => {}
        }
    }
    let undelivered = accepted
        .zip(delivered)
        .map_or(0, |(accepted, delivered): (u64, u64)| {
            accepted.saturating_sub(delivered)
        });
    // Where the system does not say what it dropped: what a filter has taken and nobody got.
    let dropped = lost_by_os.unwrap_or(undelivered).saturating_add(lost);
    let statistics = Statistics { received, dropped };
    Some((order.u32(body, 0), ticks, statistics))
}

/// The records of a name resolution block, up to its end mark or the first one that does not fit.
pub(super) fn names(order: Order, body: &[u8]) -> Vec<(IpAddr, String)> {
    const IPV4: u16 = 1;
    const IPV6: u16 = 2;
    let mut names = Vec::new();
    // Records are laid out as options are: type, length, value, padding, and a zero type ends them.
    for (code, value) in options(order, body) {
        let split = match code {
            IPV4 => value
                .split_first_chunk()
                .map(|(a, rest)| (IpAddr::from(*a as [u8; 4]), rest)),
            IPV6 => value
                .split_first_chunk()
                .map(|(a, rest)| (IpAddr::from(*a as [u8; 16]), rest)),
            _ => None,
        };
        let Some((address, rest)) = split else {
            continue;
        };
        let all = rest.split(|&b| b == 0).filter(|name| !name.is_empty());
        names.extend(all.map(|name| (address, text(name))));
    }
    names
}

/// The interface of a record given as its number within its section, whose interfaces begin at
/// `base`.
pub(super) fn global_id(base: usize, in_section: u32) -> Option<InterfaceId> {
    let base = u32::try_from(base).ok()?;
    base.checked_add(in_section).map(InterfaceId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resolution_gives_nanoseconds() {
        let cases = [
            (6, 0, 1_500_000, 1_500_000_000),
            (9, 0, 7, 7),
            (0, 0, 2, 2_000_000_000),
            (12, 0, 1_500, 1),
            (127, 0, u64::MAX, 0),
            (0x80, 0, 3, 3_000_000_000),
            (0x8a, 0, 512, 500_000_000),
            (0xa8, 0, 1 << 40, 1_000_000_000),
            (9, 2, 5, 2_000_000_005),
            (9, -1, 1_000_000_005, 5),
            (9, -2, 5, 0),
            (0, 0, u64::MAX, u64::MAX),
            (9, i64::MIN, 5, 0),
        ];
        for (tsresol, offset_s, ticks, ns) in cases {
            let clock = Clock::new(tsresol, offset_s);
            assert_eq!(
                clock.at(ticks),
                Timestamp(ns),
                "{tsresol} {offset_s} {ticks}"
            );
        }
    }

    #[test]
    fn an_option_that_does_not_fit_ends_the_list() {
        let bytes = [1, 0, 2, 0, b'h', b'i', 0, 0, 2, 0, 9, 0, 1];
        let all: Vec<_> = options(Order::Little, &bytes).collect();
        assert_eq!(all, [(1, &b"hi"[..])]);
    }
}
