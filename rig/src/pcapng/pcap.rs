//! Headers of pcap files and of their packets, in all the variants that were ever usual.

use super::blocks::{Clock, Order};
use super::record::{Direction, Interface};
use crate::wire::LinkType;

/// Length of the header of a file in bytes.
pub(super) const HEADER_BYTES: usize = 24;

/// Magic number of files with microseconds, with nanoseconds, and of those that the patched
/// libpcap of Alexey Kuznetzov wrote.
const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;

/// How the packets of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    order: Order,
    ticks_per_s: u64,
    /// Packets say which way they went.
    modified: bool,
}

/// Fields of a packet's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) ticks: u64,
    pub(super) captured_bytes: u32,
    pub(super) orig_len_bytes: u32,
    pub(super) direction: Option<Direction>,
}

impl Layout {
    /// The layout of a file that begins with these bytes; none when it is no pcap file.
    pub(super) fn of(magic: [u8; 4]) -> Option<Self> {
        [Order::Little, Order::Big].into_iter().find_map(|order| {
            let (ticks_per_s, modified) = match order.u32(&magic, 0) {
                MICROSECONDS => (1_000_000, false),
                NANOSECONDS => (1_000_000_000, false),
                MODIFIED => (1_000_000, true),
                _ => return None,
            };
            Some(Self {
                order,
                ticks_per_s,
                modified,
            })
        })
    }

    /// The one interface of a file, by its header.
    pub(super) fn interface(self, header: &[u8]) -> (Interface, Clock) {
        let interface = Interface {
            name: String::new(),
            description: String::new(),
            // The upper bits of the field tell of a frame check sequence.
            link: LinkType::from_number(self.order.low_u16(header, 20)),
            snaplen_bytes: self.order.u32(header, 16),
        };
        (
            interface,
            Clock::of_ticks_ns(1_000_000_000 / self.ticks_per_s),
        )
    }

    /// Length of a packet's header in bytes. The modified one has the index of an interface, the
    /// protocol and the kind of packet (as SLL has it) behind the usual fields.
    #[inline]
    pub(super) fn head_bytes(self) -> usize {
        if self.modified { 24 } else { 16 }
    }

    /// Reads the header of a packet, which is as long as [`Layout::head_bytes`] says.
    #[inline]
    pub(super) fn head(self, head: &[u8]) -> Head {
        const KIND_AT: usize = 22;
        const OUTGOING: u8 = 4;
        let order = self.order;
        let captured_bytes = order.u32(head, 8);
        let seconds = u64::from(order.u32(head, 0));
        let direction = self.modified.then(|| match head.get(KIND_AT) {
            Some(&OUTGOING) => Direction::Outbound,
            _ => Direction::Inbound,
        });
        Head {
            ticks: seconds * self.ticks_per_s + u64::from(order.u32(head, 4)),
            captured_bytes,
            orig_len_bytes: order.u32(head, 12).max(captured_bytes),
            direction,
        }
    }
}
