//! The captures of several hosts become one, as sent.
//!
//! Between two capturing hosts every packet is recorded twice, and a plain merge would make
//! analysers call the second record a retransmission. So of each host only what it sent is taken.
//! What came from outside the set, from a bridge or a machine without an agent, was recorded on
//! arrival only, and is taken from the first host that saw it. What a host forwarded is left out,
//! too: it was sent before, by another one.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use super::delivery::Delivery;
use super::forwarded::{self, Forwarded};
use super::reader::{OpenError, Reader, Stop};
use super::record::{Direction, Interface, InterfaceId, Record, Section, Statistics};
use super::unreached;
use super::writer::{WriteError, Writer};
use super::{MAX_INTERFACES, SENTINEL_ETHERTYPE};
use crate::units::Timestamp;
use crate::wire::{Ethernet, LinkType};

/// Equal packets from outside that arrive at different hosts within this time are one packet.
const SAME_ARRIVAL: Duration = Duration::from_millis(100);

/// What one host captured.
#[derive(Debug, Clone)]
pub struct HostCapture {
    /// Its name, for errors.
    pub host: String,
    /// The file as its agent wrote it.
    pub bytes: Vec<u8>,
}

/// Captures could not be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// One of them cannot be read at all.
    #[error("merge the capture of {host}: {source}")]
    Open {
        /// Whose it is.
        host: String,
        /// Why not.
        source: OpenError,
    },
    /// They describe too many interfaces together.
    #[error("merge captures: they describe more than {MAX_INTERFACES} interfaces")]
    Interfaces,
    /// A comment is for a frame that is not there.
    #[error("comment on frame {frame}: the capture has {frames} frames")]
    NoSuchFrame {
        /// The frame asked for.
        frame: u64,
        /// How many there are.
        frames: u64,
    },
    /// The result cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The place for it cannot be had.
    #[error(transparent)]
    Io(std::io::Error),
}

impl MergeError {
    /// What the operating system said, if it was that.
    #[must_use]
    pub fn io(&self) -> Option<&std::io::Error> {
        match self {
            Self::Io(error) => Some(error),
            Self::Write(error) => error.io(),
            Self::Open { .. } | Self::Interfaces | Self::NoSuchFrame { .. } => None,
        }
    }
}

/// What is written beside the packets.
#[derive(Debug, Clone, Default)]
pub struct MergeNotes {
    /// Names of addresses.
    pub names: Vec<(IpAddr, String)>,
    /// Frame number and comment; a frame may have several, shown in this order.
    pub comments: Vec<(u64, String)>,
    /// Frame number, and what became of the packet.
    pub deliveries: HashMap<u64, Delivery>,
    /// Comment on the whole file.
    pub section_comment: String,
}

/// Captures of several hosts as one.
#[derive(Debug, Default)]
pub struct Merged {
    interfaces: Vec<Interface>,
    records: Vec<Record<'static>>,
    statistics: Vec<(InterfaceId, Timestamp, Statistics)>,
    stops: Vec<(String, Stop)>,
    /// Frames by where they arrived at hosts that forward and what they are known by there, with
    /// the times of equal ones.
    arrivals: HashMap<(InterfaceId, u64), Vec<(Timestamp, u64)>>,
    /// When frames were sent on by the last host that forwarded them.
    sent_on: HashMap<u64, Timestamp>,
    /// Frames that a forwarding host sent a second time.
    copies: Vec<u64>,
    /// Frames that never came out of the interface which they were for.
    unreached: Vec<(u64, InterfaceId)>,
}

impl Merged {
    /// Merges what hosts captured. A capture that ends early is merged as far as it goes, and
    /// [`Merged::stops`] tells of it.
    pub fn from_hosts(captures: Vec<HostCapture>) -> Result<Self, MergeError> {
        Self::with_links(captures, &[])
    }

    /// Merges what hosts captured, of which some forward packets of the others.
    pub fn with_links(captures: Vec<HostCapture>, links: &[&str]) -> Result<Self, MergeError> {
        let mut merged = Self::default();
        let mut forwards = HashMap::new();
        for (number, HostCapture { host, bytes }) in captures.into_iter().enumerate() {
            let is_link = links.contains(&host.as_str());
            let first = merged.interfaces.len();
            merged.read(host, &bytes)?;
            let own = (first..merged.interfaces.len()).filter(|_| is_link);
            let ids = own.filter_map(|index| Some(InterfaceId(u32::try_from(index).ok()?)));
            forwards.extend(ids.map(|id| (id, number)));
        }
        // A stable sort: of packets of the same nanosecond the first host's comes first.
        merged.records.sort_by_key(|record| record.at);
        merged.keep_as_sent(&forwards);
        Ok(merged)
    }

    /// The packets in order of time; the first is frame 1.
    #[must_use]
    pub fn records(&self) -> &[Record<'static>] {
        &self.records
    }

    /// The interfaces of all hosts, those of the first host first.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// An interface of a record.
    #[must_use]
    pub fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        self.interfaces.get(usize::try_from(id.0).ok()?)
    }

    /// What each interface counted.
    #[must_use]
    pub fn statistics(&self) -> &[(InterfaceId, Timestamp, Statistics)] {
        &self.statistics
    }

    /// Hosts whose captures end early, and where.
    #[must_use]
    pub fn stops(&self) -> &[(String, Stop)] {
        &self.stops
    }

    /// The frame of a packet that arrived at an interface of a forwarding host, by the interface's
    /// name and what the packet is known by there; of equal ones it is that which arrived next to
    /// `at`.
    #[must_use]
    pub fn frame_that_arrived(&self, interface: &str, at: Timestamp, digest: u64) -> Option<u64> {
        let index = self.interfaces.iter().position(|i| i.name == interface)?;
        let id = InterfaceId(u32::try_from(index).ok()?);
        let equal = self.arrivals.get(&(id, digest))?.iter();
        let nearest = equal.min_by_key(|(arrived, _)| arrived.0.abs_diff(at.0))?;
        Some(nearest.1)
    }

    /// When a frame set out for the host that it is for: the time at which it was sent, or at which
    /// the last host that forwarded it did so.
    #[must_use]
    pub fn last_sent(&self, frame: u64) -> Option<Timestamp> {
        let place = usize::try_from(frame).ok()?.checked_sub(1)?;
        let began = self.records.get(place)?.at;
        Some(self.sent_on.get(&frame).copied().unwrap_or(began))
    }

    /// Frames that a forwarding host sent a second time, as it sent them.
    #[must_use]
    pub fn copies(&self) -> &[u64] {
        &self.copies
    }

    /// Frames that one of the hosts sent to another on the same network, with the interface that never received them,
    /// though its capture was running then and a second later.
    #[must_use]
    pub fn unreached(&self) -> &[(u64, InterfaceId)] {
        &self.unreached
    }

    /// Writes the capture with its notes as pcapng, and gives the writer back.
    pub fn write<W: Write>(&self, writer: W, notes: &MergeNotes) -> Result<W, MergeError> {
        let comments = self.comments_by_frame(notes)?;
        let mut writer = Writer::new(writer, &section(notes.section_comment.clone()))?;
        let snaplen_bytes = snaplen_bytes(&self.interfaces);
        for interface in &self.interfaces {
            writer.add_interface(&Interface {
                snaplen_bytes,
                ..interface.clone()
            })?;
        }
        // Before the packets, so that the names are known to whoever reads it as a stream.
        writer.names(&notes.names)?;
        for (frame, record) in (1..).zip(&self.records) {
            let delivery = notes.deliveries.get(&frame).copied();
            let more = comments.get(&frame).map_or(&[][..], Vec::as_slice);
            if delivery.is_none() && more.is_empty() {
                writer.write(record)?;
                continue;
            }
            let mut annotated = record.clone();
            annotated.delivery = delivery.or(annotated.delivery);
            let all = annotated.comments.to_mut();
            all.extend(more.iter().map(|&comment| comment.to_owned()));
            writer.write(&annotated)?;
        }
        for (interface, at, statistics) in &self.statistics {
            writer.statistics(*interface, *at, statistics)?;
        }
        Ok(writer.finish()?)
    }

    fn read(&mut self, host: String, bytes: &[u8]) -> Result<(), MergeError> {
        let open = |source| MergeError::Open {
            host: host.clone(),
            source,
        };
        let mut reader = Reader::new(bytes).map_err(open)?;
        let mut records = Vec::new();
        while let Some(frame) = reader.next_frame() {
            records.push(frame.record.into_owned());
        }
        let base = u32::try_from(self.interfaces.len()).map_err(|_| MergeError::Interfaces)?;
        self.interfaces.extend(reader.interfaces().cloned());
        if self.interfaces.len() > MAX_INTERFACES {
            return Err(MergeError::Interfaces);
        }
        let moved = |id: InterfaceId| InterfaceId(base + id.0);
        for mut record in records {
            record.interface = moved(record.interface);
            self.records.push(record);
        }
        for &(id, at, counts) in reader.statistics() {
            self.statistics.push((moved(id), at, counts));
        }
        if let Some(stop) = reader.stop() {
            self.stops.push((host, stop.clone()));
        }
        Ok(())
    }

    /// Leaves out what was recorded twice, and the agents' own sentinels.
    fn keep_as_sent(&mut self, forwards: &HashMap<InterfaceId, usize>) {
        let compared = least_bytes(&self.interfaces);
        let forwarded = if forwards.is_empty() {
            Forwarded::default()
        } else {
            forwarded::find(&self.records, forwards, compared)
        };
        let frames: Vec<Option<Ethernet>> = self.records.iter().map(|r| self.frame(r)).collect();
        let own: HashSet<[u8; 6]> = self
            .records
            .iter()
            .zip(&frames)
            .filter(|(record, _)| record.direction == Some(Direction::Outbound))
            .filter_map(|(_, frame)| frame.map(|frame| frame.source))
            .collect();
        let mut arrivals = Arrivals {
            compared,
            ..Arrivals::default()
        };
        let keep: Vec<bool> = self
            .records
            .iter()
            .zip(&frames)
            .enumerate()
            .map(|(place, (record, frame))| match frame {
                _ if forwarded.again.contains(&place) => false,
                Some(frame) if frame.ether_type == SENTINEL_ETHERTYPE => false,
                _ if record.direction != Some(Direction::Inbound) => true,
                Some(frame) if own.contains(&frame.source) => false,
                _ => arrivals.is_first(record),
            })
            .collect();
        let numbers: Vec<u64> = keep
            .iter()
            .scan(0, |frame, kept| {
                *frame += u64::from(*kept);
                Some(*frame)
            })
            .collect();
        let origins = forwarded.origins.into_iter();
        self.arrivals = origins
            .map(|(arrival, equal)| {
                let kept = equal.into_iter().filter(|(_, place)| keep[*place]);
                let frames = kept.map(|(at, place)| (at, numbers[place]));
                (arrival, frames.collect())
            })
            .collect();
        let sent_on = forwarded.sent_on.into_iter();
        self.sent_on = sent_on
            .filter(|(place, _)| keep[*place])
            .map(|(place, at)| (numbers[place], at))
            .collect();
        self.copies = forwarded
            .copies
            .iter()
            .map(|place| numbers[*place])
            .collect();
        self.unreached = unreached::find(&self.records, &frames, compared)
            .into_iter()
            .filter(|(place, _)| keep[*place])
            .map(|(place, to)| (numbers[place], to))
            .collect();
        let mut keep = keep.into_iter();
        self.records.retain(|_| keep.next().unwrap_or(true));
    }

    /// The link-layer header of a record.
    fn frame(&self, record: &Record<'_>) -> Option<Ethernet> {
        let interface = self.interface(record.interface)?;
        match interface.link {
            LinkType::Ethernet => Ethernet::read(&record.data),
            _ => None,
        }
    }

    fn comments_by_frame<'a>(
        &self,
        notes: &'a MergeNotes,
    ) -> Result<HashMap<u64, Vec<&'a str>>, MergeError> {
        let frames = self.records.len() as u64;
        let mut comments: HashMap<u64, Vec<&str>> = HashMap::new();
        for (frame, comment) in &notes.comments {
            if !(1..=frames).contains(frame) {
                let frame = *frame;
                return Err(MergeError::NoSuchFrame { frame, frames });
            }
            comments.entry(*frame).or_default().push(comment);
        }
        Ok(comments)
    }
}

/// The header of a file that is made here.
pub(super) fn section(comment: String) -> Section {
    Section {
        os: std::env::consts::OS.to_owned(),
        application: concat!("rig ", env!("CARGO_PKG_VERSION")).to_owned(),
        comment,
        ..Section::default()
    }
}

/// One snap length for all interfaces, that of the longest, or none: libpcap refuses files with two (its
/// `sf-pcapng.c`).
pub(super) fn snaplen_bytes(interfaces: &[Interface]) -> u32 {
    let lengths = || interfaces.iter().map(|one| one.snaplen_bytes);
    if lengths().any(|length| length == 0) {
        return 0;
    }
    lengths().max().unwrap_or_default()
}

/// How much every capture holds of a long packet: hosts may cut theirs after different lengths.
fn least_bytes(interfaces: &[Interface]) -> usize {
    let lengths = interfaces.iter().map(|one| one.snaplen_bytes);
    let least = lengths.filter(|length| *length > 0).min();
    least.map_or(usize::MAX, |length| length as usize)
}

/// What of a packet is compared.
pub(super) fn beginning(data: &[u8], len_bytes: usize) -> &[u8] {
    &data[..data.len().min(len_bytes)]
}

/// Packets from outside, to tell one that several hosts saw from one that was sent again.
#[derive(Default)]
struct Arrivals<'a> {
    /// When each was seen first, and where it has been seen since.
    seen: HashMap<&'a [u8], (Timestamp, Vec<InterfaceId>)>,
    /// How much of a packet is compared.
    compared: usize,
}

impl<'a> Arrivals<'a> {
    /// Whether no other interface has seen this very packet already. Packets come in order of
    /// time.
    fn is_first(&mut self, record: &'a Record<'_>) -> bool {
        let Cow::Owned(data) = &record.data else {
            return true;
        };
        let data = beginning(data, self.compared);
        let (first, interfaces) = self.seen.entry(data).or_insert((record.at, Vec::new()));
        let again =
            record.at.since(*first) > SAME_ARRIVAL || interfaces.contains(&record.interface);
        if again {
            *first = record.at;
            interfaces.clear();
        }
        interfaces.push(record.interface);
        interfaces.len() == 1
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::testing::{capture, cut_capture};
    use super::*;
    use crate::wire::synth::{Segment, mac_of, udp};

    const OUT: Option<Direction> = Some(Direction::Outbound);
    const IN: Option<Direction> = Some(Direction::Inbound);

    fn address(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], 1000 + u16::from(host)))
    }

    fn syn(from: u8, to: u8) -> Vec<u8> {
        let segment = Segment {
            flags: 2,
            ..Segment::new(address(from), address(to))
        };
        segment.bytes()
    }

    fn two_hosts() -> Merged {
        let sentinel = [&[0xff; 6][..], &mac_of(address(1).ip()), &[0x88, 0xb5, 0]].concat();
        let router = udp(address(9), address(1), b"from outside");
        let local = udp(address(1), address(1), b"loopback");
        let alice = capture(
            "alice",
            &["lan", "lo"],
            &[
                (0, 5, OUT, sentinel.clone()),
                (0, 10, OUT, syn(1, 2)),
                (0, 31, IN, syn(2, 1)),
                (1, 40, OUT, local.clone()),
                (1, 41, IN, local),
                (0, 50, IN, router.clone()),
                (0, 60, IN, router.clone()),
            ],
        );
        let bob = capture(
            "bob",
            &["lan"],
            &[
                (0, 6, IN, sentinel),
                (0, 11, IN, syn(1, 2)),
                (0, 30, OUT, syn(2, 1)),
                (0, 52, IN, router),
            ],
        );
        Merged::from_hosts(vec![alice, bob]).unwrap()
    }

    #[test]
    fn each_packet_is_kept_once_as_sent() {
        let merged = two_hosts();
        let kept: Vec<_> = merged
            .records()
            .iter()
            .map(|r| (r.at.0, merged.interface(r.interface).unwrap().name.as_str()))
            .collect();
        // The router's packet of 52 is that of 50 at the other host; that of 60 was sent again.
        let expected = [
            (10, "alice@lan"),
            (30, "bob@lan"),
            (40, "alice@lo"),
            (50, "alice@lan"),
            (60, "alice@lan"),
        ];
        assert_eq!(kept, expected);
        assert!(merged.stops().is_empty());
    }

    #[test]
    fn a_frame_that_does_not_come_out_is_noticed_while_it_could_have() {
        const SECOND: u64 = 1_000_000_000;
        let sentinel = |host: u8| {
            let mac = mac_of(address(host).ip());
            [&[1, 0x80, 0xc2, 0, 0, 0x0e][..], &mac, &[0x88, 0xb5, 0]].concat()
        };
        let twice = udp(address(1), address(2), b"twice");
        let alice = capture(
            "alice",
            &["lan"],
            &[
                (0, 1, OUT, sentinel(1)),
                // Before the other capture began.
                (0, 2, OUT, udp(address(1), address(2), b"early")),
                (0, 10, OUT, syn(1, 2)),
                (0, 11, OUT, udp(address(1), address(2), b"lost")),
                (0, 12, OUT, twice.clone()),
                (0, 13, OUT, twice.clone()),
                (0, 14, OUT, udp(address(1), address(9), b"to somebody else")),
                (0, 2 * SECOND, OUT, udp(address(1), address(2), b"late")),
                (0, 3 * SECOND, OUT, sentinel(1)),
            ],
        );
        let bob = capture(
            "bob",
            &["lan"],
            &[
                (0, 5, OUT, sentinel(2)),
                (0, 11, IN, syn(1, 2)),
                (0, 15, IN, twice),
                (0, 2 * SECOND, OUT, sentinel(2)),
            ],
        );
        let merged = Merged::from_hosts(vec![alice, bob]).unwrap();
        // Frames 3 and 5: what was lost, and one of the two that are equal.
        let unreached: Vec<_> = merged
            .unreached()
            .iter()
            .map(|(frame, to)| (*frame, to.0))
            .collect();
        assert_eq!(unreached, [(3, 1), (5, 1)]);
    }

    #[test]
    fn hosts_may_cut_their_packets_after_different_lengths() {
        const SECOND: u64 = 1_000_000_000;
        let sentinel = |host: u8| {
            let mac = mac_of(address(host).ip());
            [&[1, 0x80, 0xc2, 0, 0, 0x0e][..], &mac, &[0x88, 0xb5, 0]].concat()
        };
        let long = udp(address(1), address(2), &[7; 1000]);
        let router = udp(address(9), address(9), &[8; 1000]);
        let of_alice = [
            (0, 1, OUT, sentinel(1)),
            (0, 10, OUT, long.clone()),
            (0, 20, IN, router.clone()),
            (0, 3 * SECOND, OUT, sentinel(1)),
        ];
        let of_bob = [
            (0, 2, OUT, sentinel(2)),
            (0, 11, IN, long),
            (0, 21, IN, router),
            (0, 3 * SECOND, OUT, sentinel(2)),
        ];
        for [alice_snap, bob_snap] in [[128, 256], [256, 128], [0, 128]] {
            let merged = Merged::from_hosts(vec![
                cut_capture("alice", &["lan"], &of_alice, alice_snap),
                cut_capture("bob", &["lan"], &of_bob, bob_snap),
            ])
            .unwrap();
            let kept: Vec<_> = merged.records().iter().map(|record| record.at.0).collect();
            assert_eq!(kept, [10, 20], "{alice_snap} {bob_snap}");
            assert_eq!(merged.unreached(), [], "{alice_snap} {bob_snap}");
            assert_eq!(merged.records()[0].orig_len_bytes, 1042);
        }
    }

    #[test]
    fn notes_are_written() {
        let notes = MergeNotes {
            names: vec![(address(1).ip(), "alice".to_owned())],
            comments: vec![
                (2, "first".to_owned()),
                (1, "other".to_owned()),
                (2, "second".to_owned()),
            ],
            deliveries: HashMap::from([(2, Delivery::Lost), (3, Delivery::Corrupted)]),
            section_comment: "cell".to_owned(),
        };
        let file = two_hosts().write(Vec::new(), &notes).unwrap();
        let mut reader = Reader::new(&file[..]).unwrap();
        let (mut comments, mut deliveries) = (Vec::new(), Vec::new());
        while let Some(frame) = reader.next_frame() {
            deliveries.extend(frame.record.delivery);
            let all = frame.record.comments.iter();
            comments.extend(all.map(|c| (frame.number, c.clone())));
        }
        assert_eq!(reader.stop(), None);
        assert_eq!(deliveries, [Delivery::Lost, Delivery::Corrupted]);
        let expected = [(1, "other"), (2, "first"), (2, "second")];
        assert_eq!(comments, expected.map(|(f, c)| (f, c.to_owned())));
        assert_eq!(reader.names(), notes.names);
        assert_eq!(reader.sections()[0].comment, "cell");
        assert_eq!(reader.statistics().len(), 2);
        assert_eq!(reader.statistics()[1].0, InterfaceId(2));
        assert_eq!(reader.statistics()[1].2.received, 4);
    }

    #[test]
    fn a_comment_needs_its_frame() {
        let notes = MergeNotes {
            comments: vec![(6, "nowhere".to_owned())],
            ..MergeNotes::default()
        };
        let error = two_hosts().write(Vec::new(), &notes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "comment on frame 6: the capture has 5 frames"
        );
    }

    #[test]
    fn a_cut_capture_is_merged_as_far_as_it_goes() {
        let mut bob = capture(
            "bob",
            &["lan"],
            &[(0, 1, OUT, syn(2, 1)), (0, 2, OUT, syn(2, 1))],
        );
        bob.bytes.truncate(bob.bytes.len() - 60);
        let merged = Merged::from_hosts(vec![bob]).unwrap();
        assert_eq!(merged.records().len(), 1);
        assert_eq!(merged.stops()[0].0, "bob");
        let nothing = HostCapture {
            host: "carol".to_owned(),
            bytes: Vec::new(),
        };
        let error = Merged::from_hosts(vec![nothing]).unwrap_err().to_string();
        assert_eq!(
            error,
            "merge the capture of carol: not a capture: it is empty"
        );
    }
}
