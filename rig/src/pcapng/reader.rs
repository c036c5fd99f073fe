//! Reading pcap and pcapng as streams.
//!
//! Files are framed and read here, not by `pcap-file`: that crate ends a pcapng file at its first
//! block above 8 MB, at a resolution finer than nanoseconds and at a reserved bit, and does not know
//! modified pcap files; each of these stands in captures that Wireshark reads.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::Read;
use std::net::IpAddr;

use super::blocks::{self, Clock, Order, PacketHead, PacketOptions, kind};
use super::input::Input;
use super::packed::{LEGACY_LZ4, Packer};
use super::pcap::{HEADER_BYTES, Layout};
use super::record::{Direction, Frame, Interface, InterfaceId, Record, Section, Statistics};
use super::{MAX_BLOCK_BYTES, MAX_INTERFACES, MAX_NAMES};
use crate::units::Timestamp;
use crate::wire::LinkType;

/// Why a file could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The source gave an error.
    #[error("read the capture: {0}")]
    Io(#[from] std::io::Error),
    /// There is not one byte.
    #[error("not a capture: it is empty")]
    Empty,
    /// It ends within the file header.
    #[error("not a capture: it ends after {0} bytes, within the file header")]
    TooShort(usize),
    /// A capture may be inside, but compressed in a way that is not read, or twice.
    #[error("it is compressed with {0}: unpack it first")]
    Compressed(&'static str),
    /// A kind of file that Wireshark reads and this reader does not.
    #[error("a file of {0} is not read: `editcap -F pcapng IN OUT` makes one that is")]
    OfAnotherKind(&'static str),
    /// The first bytes are those of neither format.
    #[error("not a capture: it begins with {0:02x?}, which is neither pcap nor pcapng")]
    NotACapture([u8; 4]),
}

/// Where and why the reading of a file ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("reading stopped after frame {frames}, at byte {offset}{}: {reason}", of_what(.unpacked))]
pub struct Stop {
    /// Offset of the block or packet that could not be read, in the file or in what it unpacks to.
    pub offset: u64,
    /// The file is compressed.
    pub unpacked: bool,
    /// Frames that came before.
    pub frames: u64,
    /// What was found there.
    pub reason: StopReason,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape that the message asks for"
)]
fn of_what(unpacked: &bool) -> &'static str {
    if *unpacked {
        " of the unpacked file"
    } else {
        ""
    }
}

/// What ended the reading.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    /// The file ends within a block or packet.
    #[error("the file is cut off: {have} of {need} bytes are there")]
    Truncated {
        /// Bytes that the block or packet needs.
        need: u64,
        /// Bytes that are there.
        have: u64,
    },
    /// A length that no block can have.
    #[error(
        "a block claims a length of {0} bytes (legal: a multiple of 4, 12 to {MAX_BLOCK_BYTES})"
    )]
    BlockLength(u32),
    /// The length before a block and the one after it differ.
    #[error("a block's two lengths differ: {0} before it and {1} after it")]
    LengthsDiffer(u32, u32),
    /// A length that no packet can have.
    #[error("a packet claims a length of {0} bytes (legal: at most {MAX_BLOCK_BYTES})")]
    PacketLength(u32),
    /// A packet block is too short for the bytes it claims to hold.
    #[error("a packet block of {0} bytes is too short for what it claims to hold")]
    PacketBlock(u32),
    /// A packet names an interface that was not described.
    #[error("a packet was captured on interface {0}, which the file does not describe")]
    Interface(u32),
    /// An interface description is too short, or there are too many.
    #[error("an interface description is too short, or more than {MAX_INTERFACES} are there")]
    Interfaces,
    /// A section of a version or byte order that is not known.
    #[error("a section header has no known byte order or version")]
    Section,
    /// The source gave an error.
    #[error("{0}")]
    Io(String),
}

/// Reads a capture from any source, in bounded memory.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut reader = rig::pcapng::Reader::new(std::fs::File::open("wire.pcapng")?)?;
/// while let Some(frame) = reader.next_frame() {
///     println!("{}: {} bytes", frame.number, frame.record.data.len());
/// }
/// if let Some(stop) = reader.stop() {
///     eprintln!("{stop}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Reader<R: Read> {
    input: Input<R>,
    unpacked: bool,
    format: Format,
    frames: u64,
    /// Offset of the block or packet that is being read.
    block_offset: u64,
    interfaces: Vec<(Interface, Clock)>,
    statistics: Vec<(InterfaceId, Timestamp, Statistics)>,
    /// Packets that were lost between others, as these say.
    drops: Cell<u64>,
    sections: Vec<Section>,
    names: Vec<(IpAddr, String)>,
    unaligned_blocks: u64,
    ended: bool,
    stop: Option<Stop>,
}

#[derive(Debug)]
enum Format {
    Pcap(Layout),
    Pcapng {
        order: Order,
        /// How many interfaces earlier sections described.
        base: usize,
    },
}

/// A packet that was found and taken from the input; its bytes are the input's last ones.
struct Found {
    interface: InterfaceId,
    link: LinkType,
    at: Timestamp,
    head: PacketHead,
    /// By the packet's own header; pcapng has it among the options.
    direction: Option<Direction>,
    /// Bytes from the body's first to the last one taken.
    taken: usize,
    /// Bytes of these that are the body.
    body_len: usize,
}

impl<R: Read> Reader<R> {
    /// Looks at the first bytes and tells the format by them, and whether it is compressed.
    pub fn new(source: R) -> Result<Self, OpenError> {
        let mut input = Input::new(source);
        input.fill(HEADER_BYTES)?;
        let packer = input.window().first_chunk().copied().and_then(Packer::of);
        if let Some(packer) = packer {
            input = input.unpacked(packer);
            input.fill(HEADER_BYTES)?;
        }
        let mut reader = Self::open(input)?;
        reader.unpacked = packer.is_some();
        Ok(reader)
    }

    fn open(mut input: Input<R>) -> Result<Self, OpenError> {
        const PCAPNG_START_BYTES: usize = 12;
        let start = input.window();
        let Some(&magic) = start.first_chunk::<4>() else {
            return Err(match start.len() {
                0 => OpenError::Empty,
                n => OpenError::TooShort(n),
            });
        };
        if Order::Big.u32(&magic, 0) == kind::SECTION {
            if start.len() < PCAPNG_START_BYTES {
                return Err(OpenError::TooShort(start.len()));
            }
            let order = section_order(start).ok_or(OpenError::NotACapture(magic))?;
            return Ok(Self::of(input, Format::Pcapng { order, base: 0 }));
        }
        if let Some(packer) = compression(magic) {
            return Err(OpenError::Compressed(packer));
        }
        let layout = Layout::of(start).ok_or_else(|| unread(start, magic))?;
        let header = start.get(..HEADER_BYTES);
        let interface = layout.interface(header.ok_or(OpenError::TooShort(start.len()))?);
        input.take(HEADER_BYTES);
        let mut reader = Self::of(input, Format::Pcap(layout));
        reader.interfaces.push(interface);
        Ok(reader)
    }

    fn of(input: Input<R>, format: Format) -> Self {
        Self {
            input,
            unpacked: false,
            format,
            frames: 0,
            block_offset: 0,
            interfaces: Vec::new(),
            statistics: Vec::new(),
            drops: Cell::new(0),
            sections: Vec::new(),
            names: Vec::new(),
            unaligned_blocks: 0,
            ended: false,
            stop: None,
        }
    }

    /// The next packet; none at the end of the file or where reading had to stop.
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        if self.ended {
            return None;
        }
        let next = match self.format {
            Format::Pcap(_) => self.next_pcap(),
            Format::Pcapng { .. } => self.next_pcapng(),
        };
        match next {
            Ok(Some(found)) => Some(Frame {
                number: self.frames,
                link: found.link,
                record: self.record(&found),
            }),
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(reason) => {
                self.ended = true;
                self.stop = Some(Stop {
                    offset: self.block_offset,
                    unpacked: self.unpacked,
                    frames: self.frames,
                    reason,
                });
                None
            }
        }
    }

    /// Where reading stopped before the end of the file, once [`Reader::next_frame`] gave none.
    pub fn stop(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// An interface that has been described so far.
    pub fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        let index = usize::try_from(id.0).ok()?;
        self.interfaces.get(index).map(|(interface, _)| interface)
    }

    /// The interfaces described so far, those of all sections in one row.
    pub fn interfaces(&self) -> impl ExactSizeIterator<Item = &Interface> {
        self.interfaces.iter().map(|(interface, _)| interface)
    }

    /// Names of addresses read so far.
    pub fn names(&self) -> &[(IpAddr, String)] {
        &self.names
    }

    /// Interface statistics read so far, in the order of the file.
    pub fn statistics(&self) -> &[(InterfaceId, Timestamp, Statistics)] {
        &self.statistics
    }

    /// Packets that the capture lost, as its interface statistics say, or its packets themselves.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let counted = self.statistics.iter().map(|(.., counts)| counts.dropped);
        let counted = counted.fold(0, u64::saturating_add);
        counted.max(self.drops.get())
    }

    /// Blocks of a pcapng file whose length is no multiple of four, which the format forbids.
    #[must_use]
    pub fn unaligned_blocks(&self) -> u64 {
        self.unaligned_blocks
    }

    #[cold]
    fn note_drops(&self, drops: u64) {
        self.drops.set(self.drops.get().saturating_add(drops));
    }

    /// Headers of the sections read so far; none for a pcap file.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    fn record(&self, found: &Found) -> Record<'_> {
        let head = &found.head;
        let body = &self.input.last(found.taken)[..found.body_len];
        let data = &body[head.data_at..head.data_at + head.data_len];
        let options = body.get(head.options_at..).unwrap_or_default();
        let said = match &self.format {
            Format::Pcapng { order, .. } if !options.is_empty() => {
                let said = blocks::packet_options(*order, options);
                if said.drops > 0 {
                    self.note_drops(said.drops);
                }
                said
            }
            _ => PacketOptions {
                direction: found.direction,
                ..PacketOptions::default()
            },
        };
        Record {
            interface: found.interface,
            at: found.at,
            direction: said.direction,
            orig_len_bytes: head.orig_len_bytes,
            data: Cow::Borrowed(data),
            comments: Cow::Owned(said.comments),
            delivery: said.delivery,
        }
    }

    fn next_pcap(&mut self) -> Result<Option<Found>, StopReason> {
        if self.frames == 0 {
            self.settle()?;
        }
        let Format::Pcap(layout) = self.format else {
            return Ok(None);
        };
        self.block_offset = self.input.offset();
        let head_bytes = layout.head_bytes();
        if !self.input.fill(head_bytes).map_err(io)? {
            return at_end(&self.input, head_bytes);
        }
        let head = layout.head(self.input.window());
        let data_len = usize::try_from(head.captured_bytes).unwrap_or(usize::MAX);
        if data_len > MAX_BLOCK_BYTES {
            return Err(StopReason::PacketLength(head.captured_bytes));
        }
        let len = head_bytes + data_len;
        if !self.input.fill(len).map_err(io)? {
            return at_end(&self.input, len);
        }
        self.input.take(len);
        self.frames += 1;
        let (interface, clock) = &self.interfaces[0];
        Ok(Some(Found {
            interface: InterfaceId(0),
            link: interface.link,
            at: clock.at(head.ticks),
            head: PacketHead {
                interface: 0,
                ticks: head.ticks,
                orig_len_bytes: head.orig_len_bytes,
                data_at: head_bytes,
                data_len,
                options_at: len,
            },
            direction: head.direction,
            taken: len,
            body_len: len,
        }))
    }

    /// Looks at the first packets where they tell how long the headers of packets are.
    #[cold]
    fn settle(&mut self) -> Result<(), StopReason> {
        if let Format::Pcap(layout) = self.format {
            self.input.fill(layout.head_bytes()).map_err(io)?;
            self.format = Format::Pcap(layout.settled(self.input.window()));
        }
        Ok(())
    }

    fn next_pcapng(&mut self) -> Result<Option<Found>, StopReason> {
        // Type and length before the body, the length again after it; the byte order of a section
        // is known from the twelfth byte on.
        const HEAD_BYTES: usize = 8;
        const TAIL_BYTES: usize = 4;
        const MIN_BYTES: usize = HEAD_BYTES + TAIL_BYTES;
        loop {
            self.block_offset = self.input.offset();
            if !self.input.fill(MIN_BYTES).map_err(io)? {
                return at_end(&self.input, MIN_BYTES);
            }
            let order = self.block_order()?;
            let head = self.input.window();
            let (kind, claimed) = (order.u32(head, 0), order.u32(head, 4));
            let len = usize::try_from(claimed).unwrap_or(usize::MAX);
            let large = len > MAX_BLOCK_BYTES;
            if len < MIN_BYTES || (large && (is_needed(kind) || len % 4 != 0)) {
                return Err(StopReason::BlockLength(claimed));
            }
            if large {
                self.skip_block(claimed)?;
                self.frames += u64::from(is_frame_without_packet(kind));
                continue;
            }
            if !self.input.fill(len).map_err(io)? {
                return at_end(&self.input, len);
            }
            let after = order.u32(self.input.window(), len - TAIL_BYTES);
            let mut whole_len = len;
            if after != claimed || len % 4 != 0 {
                whole_len = self.unaligned(order, claimed, len)?;
            }
            let body_len = len - MIN_BYTES;
            if is_packet(kind) {
                let mut found = self.packet_block(order, kind, claimed, body_len)?;
                found.taken = whole_len - HEAD_BYTES;
                self.input.take(whole_len);
                self.frames += 1;
                return Ok(Some(found));
            }
            self.other_block(order, kind, body_len)?;
            self.input.take(whole_len);
        }
    }

    /// The whole length of a block whose two lengths do not agree at once. Some programs forget to count
    /// the padding of a body, or to write it.
    #[cold]
    fn unaligned(&mut self, order: Order, claimed: u32, len: usize) -> Result<usize, StopReason> {
        const TAIL_BYTES: usize = 4;
        let padded = len.next_multiple_of(4);
        let is_whole = self.input.fill(padded).map_err(io)?;
        let window = self.input.window();
        let told = |end: usize| order.u32(window, end - TAIL_BYTES);
        let end = if padded != len && told(len) == claimed {
            len
        } else if !is_whole {
            return Err(StopReason::Truncated {
                need: padded as u64,
                have: window.len() as u64,
            });
        } else if padded != len && told(padded) == claimed {
            padded
        } else {
            return Err(StopReason::LengthsDiffer(claimed, told(len)));
        };
        self.unaligned_blocks += 1;
        Ok(end)
    }

    /// Byte order of the block at the window: its own for a section header, else the section's.
    fn block_order(&self) -> Result<Order, StopReason> {
        let head = self.input.window();
        let Format::Pcapng { order, .. } = self.format else {
            return Err(StopReason::Section);
        };
        // A section header's type reads the same in both byte orders.
        if Order::Big.u32(head, 0) == kind::SECTION {
            section_order(head).ok_or(StopReason::Section)
        } else {
            Ok(order)
        }
    }

    /// Passes over a large block that holds nothing of interest.
    fn skip_block(&mut self, len: u32) -> Result<(), StopReason> {
        let begin = self.input.offset();
        if self.input.skip(u64::from(len)).map_err(io)? {
            return Ok(());
        }
        Err(StopReason::Truncated {
            need: u64::from(len),
            have: self.input.offset() - begin,
        })
    }

    /// Finds the packet in the packet block at the window.
    #[inline]
    fn packet_block(
        &self,
        order: Order,
        kind: u32,
        claimed: u32,
        body_len: usize,
    ) -> Result<Found, StopReason> {
        let body = &self.input.window()[8..8 + body_len];
        let Format::Pcapng { base, .. } = self.format else {
            return Err(StopReason::Section);
        };
        let snaplen = self.interfaces.get(base).map_or(0, |i| i.0.snaplen_bytes);
        let head =
            blocks::packet(order, kind, body, snaplen).ok_or(StopReason::PacketBlock(claimed))?;
        let missing = || StopReason::Interface(head.interface);
        let interface = blocks::global_id(base, head.interface).ok_or_else(missing)?;
        let index = usize::try_from(interface.0).map_err(|_| missing())?;
        let (described, clock) = self.interfaces.get(index).ok_or_else(missing)?;
        if kind == kind::OBSOLETE_PACKET {
            let drops = blocks::obsolete_drops(order, body);
            if drops > 0 {
                self.note_drops(drops);
            }
        }
        Ok(Found {
            interface,
            link: described.link,
            at: clock.at(head.ticks),
            head,
            direction: None,
            taken: body_len + 4,
            body_len,
        })
    }

    /// Takes in what a block without a packet says; unknown kinds say nothing.
    fn other_block(&mut self, order: Order, kind: u32, body_len: usize) -> Result<(), StopReason> {
        let body = &self.input.window()[8..8 + body_len];
        match kind {
            kind::SECTION => {
                const MAJOR_VERSION_AT: usize = 4;
                if order.u16(body, MAJOR_VERSION_AT) != 1 {
                    return Err(StopReason::Section);
                }
                self.sections.push(blocks::section(order, body));
                let base = self.interfaces.len();
                self.format = Format::Pcapng { order, base };
            }
            kind::INTERFACE => {
                let interface = blocks::interface(order, body);
                let interface = interface.filter(|_| self.interfaces.len() < MAX_INTERFACES);
                self.interfaces
                    .push(interface.ok_or(StopReason::Interfaces)?);
            }
            kind::NAMES => {
                let room = MAX_NAMES.saturating_sub(self.names.len());
                let names = blocks::names(order, body);
                self.names.extend(names.into_iter().take(room));
            }
            kind::STATISTICS => self.take_statistics(order, body_len),
            // Wireshark lists these among the packets; numbers must stay the same as there.
            _ if is_frame_without_packet(kind) => self.frames += 1,
            _ => {}
        }
        Ok(())
    }

    fn take_statistics(&mut self, order: Order, body_len: usize) {
        let body = &self.input.window()[8..8 + body_len];
        let Format::Pcapng { base, .. } = self.format else {
            return;
        };
        let Some((number, ticks, statistics)) = blocks::statistics(order, body) else {
            return;
        };
        let clock = blocks::global_id(base, number).and_then(|id| {
            let index = usize::try_from(id.0).ok()?;
            Some((id, self.interfaces.get(index)?.1))
        });
        // A file may repeat them at will: one a described interface is all that is ever asked for.
        if let Some((id, clock)) = clock {
            self.statistics.retain(|(other, ..)| *other != id);
            self.statistics.push((id, clock.at(ticks), statistics));
        }
    }
}

/// The end of the stream: a clean one where nothing is left, else one within a block.
fn at_end<R: Read>(input: &Input<R>, need: usize) -> Result<Option<Found>, StopReason> {
    match input.window().len() {
        0 => Ok(None),
        have => Err(StopReason::Truncated {
            need: need as u64,
            have: have as u64,
        }),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err asks for"
)]
fn io(error: std::io::Error) -> StopReason {
    StopReason::Io(error.to_string())
}

/// Whether a block is a packet.
#[inline]
fn is_packet(kind: u32) -> bool {
    matches!(
        kind,
        kind::ENHANCED_PACKET | kind::SIMPLE_PACKET | kind::OBSOLETE_PACKET
    )
}

/// Whether Wireshark numbers a block as a frame although it holds no packet: journal entries,
/// events of sysdig and custom blocks.
fn is_frame_without_packet(kind: u32) -> bool {
    matches!(
        kind,
        kind::JOURNAL
            | kind::CUSTOM
            | kind::CUSTOM_NOT_COPIED
            | kind::SYSDIG_EVENT
            | kind::SYSDIG_EVENT_2
            | kind::SYSDIG_EVENT_2_LARGE
    )
}

/// Whether the rest of a file cannot be read rightly without this block.
fn is_needed(kind: u32) -> bool {
    is_packet(kind) || matches!(kind, kind::SECTION | kind::INTERFACE)
}

/// Byte order by the magic number of a section header block.
fn section_order(block: &[u8]) -> Option<Order> {
    const MAGIC: u32 = 0x1a2b_3c4d;
    [Order::Little, Order::Big]
        .into_iter()
        .find(|order| order.u32(block, 8) == MAGIC)
}

/// Why a file that begins with these bytes is not read: of the kinds that Wireshark reads, those that
/// tell themselves by their first bytes.
#[cold]
fn unread(start: &[u8], magic: [u8; 4]) -> OpenError {
    const KINDS: [(&[u8], &str); 16] = [
        (b"snoop\0\0\0", "snoop"),
        (b"btsnoop\0", "btsnoop"),
        (b"RTSS", "Microsoft Network Monitor 1"),
        (b"GMBU", "Microsoft Network Monitor 2"),
        (b"TRSNIFF data    \x1a", "Sniffer for DOS"),
        (b"XCP\0", "Sniffer for Windows"),
        (b"VL\0\0", "NetXRay"),
        (b"iptrace ", "iptrace"),
        (b"\x05VNF", "Visual Networks"),
        (b"ObserverPktBuffe", "Observer"),
        (b"\x7fver", "Peek"),
        (b"\xaa\xaa\xaa\xaa", "5View"),
        (b"TR\0d\0", "nettl"),
        (b"+---------+---------", "K12 text"),
        // Ixia's pcap with a longer header, of hardware and of software, in the usual byte order.
        (b"\xac\x01\x00\x1c", "Ixia"),
        (b"\xab\x01\x00\x1c", "Ixia"),
    ];
    let kind = KINDS.iter().find(|(first, _)| start.starts_with(first));
    kind.map_or(OpenError::NotACapture(magic), |(_, name)| {
        OpenError::OfAnotherKind(name)
    })
}

/// The packer whose files begin with these bytes; such files are not unpacked, or not twice.
fn compression(magic: [u8; 4]) -> Option<&'static str> {
    match (magic, Packer::of(magic)) {
        (_, Some(Packer::Gzip)) => Some("gzip"),
        (_, Some(Packer::Lz4)) => Some("lz4"),
        (_, Some(Packer::Zstd)) => Some("zstd"),
        ([0xfd, b'7', b'z', b'X'], _) => Some("xz"),
        ([b'B', b'Z', b'h', _], _) => Some("bzip2"),
        (LEGACY_LZ4, _) => Some("lz4 in its legacy format"),
        _ => None,
    }
}
