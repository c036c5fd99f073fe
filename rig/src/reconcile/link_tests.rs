//! Two places that capture behind different link headers.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::tests::{MS, Place, reconcile, text};
use super::*;
use crate::pcapng::Direction;
use crate::wire::synth::{self, Segment};
use crate::wire::{LinkType, decode};

/// What a link layer puts before an IP packet.
#[derive(Debug, Clone, Copy)]
enum Header {
    Ethernet,
    Tagged,
    Sll,
    Sll2,
    Raw,
}

const HEADERS: [Header; 5] = [
    Header::Ethernet,
    Header::Tagged,
    Header::Sll,
    Header::Sll2,
    Header::Raw,
];

impl Header {
    fn link(self) -> LinkType {
        match self {
            Self::Ethernet | Self::Tagged => LinkType::Ethernet,
            Self::Sll => LinkType::LinuxSll,
            Self::Sll2 => LinkType::LinuxSll2,
            Self::Raw => LinkType::RawIp,
        }
    }

    /// An Ethernet frame as it is captured behind this header.
    fn instead(self, frame: &[u8], direction: Direction) -> Vec<u8> {
        let (addresses, packet) = (&frame[..12], &frame[14..]);
        let kind = if direction == Direction::Outbound {
            4
        } else {
            0
        };
        let header = match self {
            Self::Ethernet => return frame.to_vec(),
            Self::Tagged => [addresses, &[0x81, 0, 0, 7, 8, 0]].concat(),
            Self::Sll => [&[0, kind, 0, 1, 0, 6], &addresses[6..], &[0, 0, 8, 0]].concat(),
            Self::Sll2 => {
                let interface = [0, 0, 0, 2, 0, 1, kind, 6];
                [&[8, 0, 0, 0], &interface[..], &addresses[6..], &[0, 0]].concat()
            }
            Self::Raw => Vec::new(),
        };
        [&header[..], packet].concat()
    }
}

/// Gives an IPv4 packet in an Ethernet frame a number, by which it is known again.
fn numbered(mut frame: Vec<u8>, number: u16) -> Vec<u8> {
    frame[18..20].copy_from_slice(&number.to_be_bytes());
    frame
}

/// A packet of generated traffic: from the first place, over TCP, how much payload, how long after the one before,
/// how much longer than others under way, lost.
type Sent = (bool, bool, usize, i64, i64, bool);

fn traffic() -> impl Strategy<Value = Vec<Sent>> {
    let len = prop_oneof![4 => 0..1_400_usize, 1 => 1_400..9_000_usize];
    let packet = (
        any::<bool>(),
        prop::bool::weighted(0.7),
        len,
        0..8_000_i64,
        0..3_000_i64,
        prop::bool::weighted(0.2),
    );
    prop::collection::vec(packet, 0..60)
}

proptest! {
    /// What was dropped is lost, whatever else was not, however both places capture.
    #[test]
    fn what_is_dropped_is_lost_and_nothing_else(
        headers: [prop::sample::Index; 2],
        ahead_ms in -100_000_i64..100_000,
        there_us in 1_i64..30_000,
        back_us in 1_i64..30_000,
        sent in traffic(),
    ) {
        let headers = headers.map(|which| HEADERS[which.index(HEADERS.len())]);
        let ahead = i128::from(ahead_ms) * MS;
        let mut places = [Place::new("a", |_| 0), Place::new("b", move |_| ahead)];
        let calm = |forward: bool| (forward, true, 10, 10_000, 0, false);
        let around = |count: u32| (0..count).map(|number| calm(number % 2 == 0));
        let all: Vec<Sent> = around(6).chain(sent).chain(around(40)).collect();
        let ends = [SocketAddr::from(([10, 0, 0, 1], 4000)), SocketAddr::from(([10, 0, 0, 2], 80))];
        let mut next = [7_u32, 900];
        let mut at = 0;
        for (number, (forward, tcp, len, gap_us, jitter_us, is_lost)) in (0_u16..).zip(&all) {
            at += i128::from(*gap_us) * 1000;
            let (me, peer) = if *forward { (0, 1) } else { (1, 0) };
            let payload = text(number.into(), *len);
            let frame = if *tcp {
                let segment = Segment {
                    seq: next[me],
                    ack: next[peer],
                    flags: 0x18,
                    payload: &payload,
                    ..Segment::new(ends[me], ends[peer])
                };
                next[me] = next[me].wrapping_add(u32::try_from(*len).unwrap());
                segment.bytes()
            } else {
                synth::udp(ends[me], ends[peer], &payload)
            };
            let frame = numbered(frame, number);
            let way = if *forward { there_us } else { back_us };
            places[me].saw(at, Direction::Outbound, &headers[me].instead(&frame, Direction::Outbound));
            if !is_lost {
                let came = at + i128::from(way + jitter_us) * 1000;
                places[peer].saw(came, Direction::Inbound, &headers[peer].instead(&frame, Direction::Inbound));
            }
        }
        let mut captures = places.map(Place::capture);
        for (capture, header) in captures.iter_mut().zip(headers) {
            capture.link = header.link();
        }
        let joined = reconcile(captures.into()).unwrap();
        prop_assert_eq!(joined.passages.len(), all.len());
        for (told, record) in joined.passages.iter().zip(&joined.records) {
            let packet = decode(headers[told.place].link(), &record.data, record.orig_len_bytes);
            let number = packet.unwrap().ip_id.unwrap();
            let (forward, .., is_lost) = all[usize::from(number)];
            prop_assert_eq!(told.place, usize::from(!forward), "{}", number);
            prop_assert_eq!(told.fate == Fate::Lost, is_lost, "{} {:?}", number, told.fate);
            prop_assert_eq!(matches!(told.fate, Fate::Arrived(_)), !is_lost, "{}", number);
        }
        prop_assert!(joined.tally.offloaded.is_empty());
    }
}
