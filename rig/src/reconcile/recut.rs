//! Segments that a network card cuts or joins behind a capture (offloads): two places show the same bytes, in
//! other packets.
//!
//! So a packet that a place lacks is not lost where that place has its bytes in packets that the sender's place
//! lacks in its turn. Of TCP these are the same sequence numbers, of UDP, which has none, the bytes themselves: one
//! datagram is a piece of the other. Lengths are those of IP; what a link layer adds, as a tag or a cooked header,
//! does not count.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;

use super::sighting::Place;
use crate::wire::{LinkType, Seq, Transport, decode};

/// How many packets that begin before the end of another are looked at.
const MAX_COMPARED: usize = 256;

/// How many datagrams before another and as many behind it are looked at: a long one is cut into at most 128
/// (`UDP_MAX_SEGMENTS` of Linux).
const MAX_DATAGRAMS: usize = 128;

/// How many packets that a place lacks are kept, and how many bytes of datagrams; the oldest are forgotten.
const MAX_PIECES: usize = 1 << 18;
const MAX_BYTES: usize = 16 << 20;

/// Datagrams in one Ethernet frame have no more bytes, of IPv4 and UDP in 1500. It decides where a capture has not
/// all bytes to compare: longer ones were joined, or will be cut.
const DATAGRAM_BYTES: u32 = 1472;

/// Addresses and ports of one direction, and whether it is TCP.
type Stream = (SocketAddr, SocketAddr, bool);

/// Which places saw a packet, a bit each.
pub(super) type Seen = u64;

/// What some places have and others lack, as far as it is needed.
#[derive(Debug, Default)]
pub(super) struct Recut {
    /// By stream, and by who saw it.
    streams: HashMap<Stream, Vec<(Seen, Pieces)>>,
    /// What is to be forgotten, in the order in which it came: when it was seen, and where it stands.
    order: VecDeque<(i128, Stream, Seen, Stands)>,
    bytes: usize,
    count: u64,
}

/// Bytes of a stream.
#[derive(Debug, Default)]
struct Pieces {
    /// The sequence number that came last, and how far into the stream it is.
    last: Option<(Seq, i64)>,
    /// Begin and end of each segment, and when it was seen first.
    segments: BTreeSet<(i64, i64, i128)>,
    longest: u32,
    /// By when each was seen first, and a number of its own.
    datagrams: std::collections::BTreeMap<(i128, u64), Datagram>,
}

/// Where a piece stands among others.
#[derive(Debug, Clone, Copy)]
enum Stands {
    Segment((i64, i64, i128)),
    Datagram((i128, u64)),
}

/// A datagram: its length on the wire, and its bytes as far as they were captured.
#[derive(Debug)]
struct Datagram {
    len: u32,
    bytes: Box<[u8]>,
}

/// Bytes of a stream in one packet.
#[derive(Debug)]
pub(super) struct Piece {
    stream: Stream,
    start: Seq,
    len: u32,
    /// Of a datagram: its bytes.
    bytes: Box<[u8]>,
    at_ns: i128,
}

impl Piece {
    /// The bytes of a stream that a packet carries; none where it carries none.
    pub(super) fn of(
        link: LinkType,
        data: &[u8],
        orig_len_bytes: u32,
        at_ns: i128,
    ) -> Option<Self> {
        let packet = decode(link, data, orig_len_bytes).ok()?;
        let (source, destination) = packet.endpoints()?;
        let (start, len, is_tcp, bytes) = match &packet.transport {
            Transport::Tcp(tcp) => (tcp.seq, tcp.payload_len_bytes, true, &[][..]),
            // The header of UDP tells the length of the whole datagram in its first fragment, too.
            Transport::Udp(udp) if packet.first_fragment => {
                let len = u32::try_from(udp.payload.len()).unwrap_or(u32::MAX);
                (Seq(0), len, false, udp.payload)
            }
            Transport::Udp(udp) => (Seq(0), udp.payload_len_bytes, false, udp.payload),
            _ => return None,
        };
        (len > 0).then(|| Self {
            stream: (source, destination, is_tcp),
            start,
            len,
            bytes: bytes.into(),
            at_ns,
        })
    }
}

impl Recut {
    /// Notes a packet that some of the places lack.
    pub(super) fn add(&mut self, piece: &Piece, seen: Seen) {
        let of_stream = self.streams.entry(piece.stream).or_default();
        let known = of_stream.iter().position(|(by, _)| *by == seen);
        let known = known.unwrap_or_else(|| {
            of_stream.push((seen, Pieces::default()));
            of_stream.len() - 1
        });
        self.count += 1;
        let stands = of_stream[known].1.add(piece, self.count);
        if matches!(stands, Stands::Datagram(_)) {
            self.bytes += piece.bytes.len();
        }
        self.order
            .push_back((piece.at_ns, piece.stream, seen, stands));
        // Bounded by what there is.
        while self.order.len() > MAX_PIECES || self.bytes > MAX_BYTES {
            self.forget_first();
        }
    }

    /// Forgets what was seen before a moment.
    pub(super) fn forget_before(&mut self, at_ns: i128) {
        while self.order.front().is_some_and(|(at, ..)| *at < at_ns) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((_, stream, seen, stands)) = self.order.pop_front() else {
            self.bytes = 0;
            return;
        };
        let Some(of_stream) = self.streams.get_mut(&stream) else {
            return;
        };
        if let Some(known) = of_stream.iter().position(|(by, _)| *by == seen) {
            let pieces = &mut of_stream[known].1;
            self.bytes -= pieces.forget(stands).min(self.bytes);
            if pieces.segments.is_empty() && pieces.datagrams.is_empty() {
                of_stream.swap_remove(known);
            }
        }
        if of_stream.is_empty() {
            self.streams.remove(&stream);
        }
    }

    /// Whether `lacking` has the bytes of a packet that `having` has in other packets, seen within `within_ns` of it.
    pub(super) fn has_bytes(
        &self,
        piece: &Piece,
        having: Place,
        lacking: Place,
        within_ns: i128,
    ) -> bool {
        let of_stream = self.streams.get(&piece.stream);
        let mut of_other = of_stream
            .into_iter()
            .flatten()
            .filter(|(seen, _)| seen & bit(lacking) != 0 && seen & bit(having) == 0);
        of_other.any(|(_, pieces)| pieces.recuts(piece, within_ns))
    }
}

impl Pieces {
    fn add(&mut self, piece: &Piece, number: u64) -> Stands {
        let (_, _, is_tcp) = piece.stream;
        if !is_tcp {
            let key = (piece.at_ns, number);
            let datagram = Datagram {
                len: piece.len,
                bytes: piece.bytes.clone(),
            };
            self.datagrams.insert(key, datagram);
            return Stands::Datagram(key);
        }
        let start = self.unwrapped(piece.start);
        self.last = Some((piece.start, start));
        self.longest = self.longest.max(piece.len);
        let key = (start, start + i64::from(piece.len), piece.at_ns);
        self.segments.insert(key);
        Stands::Segment(key)
    }

    fn forget(&mut self, stands: Stands) -> usize {
        match stands {
            Stands::Segment(key) => {
                self.segments.remove(&key);
                0
            }
            Stands::Datagram(key) => {
                let datagram = self.datagrams.remove(&key);
                datagram.map_or(0, |datagram| datagram.bytes.len())
            }
        }
    }

    /// How far into the stream a sequence number is, which may have wrapped.
    fn unwrapped(&self, seq: Seq) -> i64 {
        self.last
            .map_or(0, |(last, at)| at + i64::from(seq.since(last)))
    }

    /// Whether some of these are bytes of `piece` with other borders. The same borders and other bytes are what damage
    /// makes.
    fn recuts(&self, piece: &Piece, within_ns: i128) -> bool {
        let near = |at_ns: i128| (at_ns - piece.at_ns).abs() <= within_ns;
        let (_, _, is_tcp) = piece.stream;
        if !is_tcp {
            let at = (piece.at_ns, 0);
            let behind = self.datagrams.range(at..).take(MAX_DATAGRAMS);
            let mut all = behind.chain(self.datagrams.range(..at).rev().take(MAX_DATAGRAMS));
            return all.any(|((at_ns, _), other)| near(*at_ns) && other.recuts(piece));
        }
        let start = self.unwrapped(piece.start);
        let end = start + i64::from(piece.len);
        let before = (end, i64::MIN, i128::MIN);
        let candidates = self.segments.range(..before).rev();
        candidates
            .take(MAX_COMPARED)
            .take_while(|(begin, ..)| begin + i64::from(self.longest) > start)
            .any(|(begin, last, at_ns)| {
                *last > start && near(*at_ns) && (*begin, *last) != (start, end)
            })
    }
}

impl Datagram {
    /// Whether one of both is a piece of the other.
    fn recuts(&self, piece: &Piece) -> bool {
        let whole =
            |len: u32, bytes: &[u8]| usize::try_from(len).is_ok_and(|len| len == bytes.len());
        if self.len == piece.len {
            return false;
        }
        if !whole(self.len, &self.bytes) || !whole(piece.len, &piece.bytes) {
            return self.len.max(piece.len) > DATAGRAM_BYTES;
        }
        let (long, short) = if self.len > piece.len {
            (&self.bytes, &piece.bytes)
        } else {
            (&piece.bytes, &self.bytes)
        };
        // All pieces of a datagram are of one length but for the last.
        let mut pieces = long.chunks(short.len()).take(MAX_DATAGRAMS);
        pieces.any(|part| part == &short[..]) || long.ends_with(short)
    }
}

/// The bit of a place.
pub(super) fn bit(place: Place) -> Seen {
    1_u64
        .checked_shl(u32::try_from(place).unwrap_or(u32::MAX))
        .unwrap_or(0)
}
