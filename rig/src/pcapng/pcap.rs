//! Headers of pcap files and of their packets, in all the variants that were ever usual.

use super::MAX_BLOCK_BYTES;
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

/// Lengths of packet headers in bytes: the usual one; Nokia's; that of the patches of April and
/// October 1999, the first of which kept the usual magic number; that of the patch of September 1999.
const USUAL_HEAD_BYTES: usize = 16;
const NOKIA_HEAD_BYTES: usize = 20;
const PATCHED_HEAD_BYTES: usize = 24;
const SEPTEMBER_HEAD_BYTES: usize = 28;

/// The most packets that are looked at to tell kinds of files apart that have one magic number.
const MAX_PACKETS_TRIED: usize = 4;

/// How the packets of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    order: Order,
    magic: u32,
    ticks_per_s: u64,
    head_bytes: usize,
    lengths: Lengths,
    /// AIX wrote it, with link types of its own.
    aix: bool,
}

/// In which order a packet's header has its captured length and that on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lengths {
    CapturedFirst,
    OrigFirst,
    /// The smaller one is the captured length: some programs wrote version 2.3 in the older order.
    Either,
}

/// Packets one after the other, as a layout reads them.
#[derive(Debug, Clone, Copy)]
struct Run {
    headers: usize,
    /// All within a year. A clock may have been set between two packets, so that the lack of it proves nothing.
    near: bool,
    /// The bytes end where a packet ends.
    at_border: bool,
}

impl Run {
    /// Whether it shows that a file is of a rarer kind: two headers alone may agree by chance.
    fn is_proof(self) -> bool {
        self.near && (self.headers > 2 || self.headers == 2 && self.at_border)
    }
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
    pub(super) fn of(header: &[u8]) -> Option<Self> {
        /// Version that DG/UX wrote.
        const DG_UX: u16 = 543;
        [Order::Little, Order::Big].into_iter().find_map(|order| {
            let magic = order.u32(header, 0);
            let (ticks_per_s, head_bytes) = match magic {
                MICROSECONDS => (1_000_000, USUAL_HEAD_BYTES),
                NANOSECONDS => (1_000_000_000, USUAL_HEAD_BYTES),
                MODIFIED => (1_000_000, PATCHED_HEAD_BYTES),
                _ => return None,
            };
            let version = (order.u16(header, 4), order.u16(header, 6));
            let lengths = match version {
                (2, 0..=2) | (DG_UX, _) => Lengths::OrigFirst,
                (2, 3) => Lengths::Either,
                _ => Lengths::CapturedFirst,
            };
            // These link types are numbers of RFC 1573, which others did not use in that version.
            let aix = magic == MICROSECONDS
                && version == (2, 2)
                && matches!(order.u32(header, 20), 6 | 9 | 15 | 24);
            Some(Self {
                order,
                magic,
                ticks_per_s: if aix { 1_000_000_000 } else { ticks_per_s },
                head_bytes,
                lengths,
                aix,
            })
        })
    }

    /// The layout with the length of packet headers by which the packets that begin here make sense,
    /// where several kinds of files have one magic number. `bytes` are those at hand: nothing is waited
    /// for.
    pub(super) fn settled(self, bytes: &[u8]) -> Self {
        if self.magic == NANOSECONDS || self.lengths != Lengths::CapturedFirst {
            return self;
        }
        let others: &[usize] = match self.magic {
            MODIFIED => &[SEPTEMBER_HEAD_BYTES],
            _ => &[PATCHED_HEAD_BYTES, NOKIA_HEAD_BYTES],
        };
        if self.run(bytes).is_some() {
            return self;
        }
        let others = others.iter().map(|&head_bytes| Self { head_bytes, ..self });
        let mut fitting = others.filter(|other| other.run(bytes).is_some_and(Run::is_proof));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => only,
            _ => self,
        }
    }

    /// The first few packets, by their headers; none where one of these is such as no packet has.
    fn run(self, bytes: &[u8]) -> Option<Run> {
        const YEAR_S: u32 = 366 * 24 * 60 * 60;
        let first_s = self.order.u32(bytes, 0);
        let mut run = Run {
            headers: 0,
            near: true,
            at_border: false,
        };
        let mut rest = bytes;
        while run.headers < MAX_PACKETS_TRIED && rest.len() >= self.head_bytes {
            let head = self.head(rest);
            let parts = u64::from(self.order.u32(rest, 4));
            let captured = usize::try_from(head.captured_bytes).unwrap_or(usize::MAX);
            let fits = self.order.u32(rest, 8) <= self.order.u32(rest, 12);
            if parts >= self.ticks_per_s || captured > MAX_BLOCK_BYTES || !fits {
                return None;
            }
            run.headers += 1;
            run.near &= self.order.u32(rest, 0).abs_diff(first_s) < YEAR_S;
            let Some(next) = rest.get(self.head_bytes + captured..) else {
                break;
            };
            run.at_border = next.is_empty();
            rest = next;
        }
        Some(run)
    }

    /// The one interface of a file, by its header.
    pub(super) fn interface(self, header: &[u8]) -> (Interface, Clock) {
        // The upper bits of the field tell of a frame check sequence.
        let number = self.order.low_u16(header, 20);
        let link = match number {
            6 if self.aix => LinkType::Ethernet,
            24 if self.aix => LinkType::Null,
            number => LinkType::from_number(number),
        };
        let interface = Interface {
            name: String::new(),
            description: String::new(),
            link,
            snaplen_bytes: self.order.u32(header, 16),
        };
        (
            interface,
            Clock::of_ticks_ns(1_000_000_000 / self.ticks_per_s),
        )
    }

    /// Length of a packet's header in bytes. The longer ones of the patches have the index of an
    /// interface, the protocol and the kind of packet (as SLL has it) behind the usual fields.
    #[inline]
    pub(super) fn head_bytes(self) -> usize {
        self.head_bytes
    }

    /// Reads the header of a packet, which is as long as [`Layout::head_bytes`] says.
    #[inline]
    pub(super) fn head(self, head: &[u8]) -> Head {
        const KIND_AT: usize = 22;
        const OUTGOING: u8 = 4;
        let order = self.order;
        let (mut captured_bytes, mut orig_len_bytes) = (order.u32(head, 8), order.u32(head, 12));
        if self.lengths != Lengths::CapturedFirst
            && (self.lengths == Lengths::OrigFirst || captured_bytes > orig_len_bytes)
        {
            std::mem::swap(&mut captured_bytes, &mut orig_len_bytes);
        }
        let seconds = u64::from(order.u32(head, 0));
        let direction = (self.head_bytes >= PATCHED_HEAD_BYTES).then(|| match head.get(KIND_AT) {
            Some(&OUTGOING) => Direction::Outbound,
            _ => Direction::Inbound,
        });
        Head {
            ticks: seconds * self.ticks_per_s + u64::from(order.u32(head, 4)),
            captured_bytes,
            orig_len_bytes: orig_len_bytes.max(captured_bytes),
            direction,
        }
    }
}
