//! Captures from scripts: one packet a line.
//!
//! A line is `TIME DIRECTION FLAGS` and what else is to be said of the packet. The flags are first letters,
//! `S F R P A`, or `udp`. A number is the payload length; `@-5` moves the sequence number from where it would be,
//! `ack-5` the acknowledgement number; `win=`, `mss=`, `ws=` give window and options, `sack` and `ts` are options, and
//! `option=` gives the bytes of another in hexadecimal digits; `id=` and `ttl=` are identification and hop limit of IPv4;
//! `isn=` begins the numbers anew; `uncaptured` packets are sent and not in the capture.

use std::net::SocketAddr;

use etherparse::TcpOptionElement;
use rig::pcapng::{Interface, Record, Section, Writer};
use rig::units::{Timestamp, parse_duration};
use rig::wire::LinkType;
use rig::wire::synth::{self, Segment};

/// Where the cases of `conversations/` are.
pub(crate) const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/rig/conversations");

/// A conversation between 10.0.0.1:40000 and 10.0.0.2:15102, whose numbers wrap around soon.
struct Talk {
    ends: [SocketAddr; 2],
    next: [u32; 2],
}

/// When the first packet of a case was captured.
pub(crate) const START_NS: u64 = 1_700_000_000_000_000_000;

/// A capture of these packets.
pub(crate) fn write(packets: &[(Timestamp, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &Section::default()).unwrap();
    let interface = Interface {
        name: "lan".to_owned(),
        description: String::new(),
        link: LinkType::Ethernet,
        snaplen_bytes: 0,
    };
    let interface = writer.add_interface(&interface).unwrap();
    for (at, bytes) in packets {
        writer.write(&Record::new(interface, *at, bytes)).unwrap();
    }
    writer.finish().unwrap()
}

/// The packets of a case between two ends.
pub(crate) fn packets(
    script: &str,
    ends: [SocketAddr; 2],
    start_ns: u64,
) -> Vec<(Timestamp, Vec<u8>)> {
    let mut talk = Talk {
        ends,
        next: [u32::MAX - 3, u32::MAX - 5],
    };
    let mut packets = Vec::new();
    let lines = script.lines().skip(1).map(str::trim);
    for line in lines.filter(|line| !line.is_empty()) {
        let (time, packet) = line.split_once(char::is_whitespace).unwrap();
        let at = parse_duration(time).unwrap().as_nanos();
        let at = Timestamp(start_ns + u64::try_from(at).unwrap());
        let bytes = talk.packet(packet);
        if !packet.contains("uncaptured") {
            packets.push((at, bytes));
        }
    }
    packets
}

impl Talk {
    fn packet(&mut self, text: &str) -> Vec<u8> {
        let mut words = text.split_whitespace();
        let (me, peer) = match words.next() {
            Some(">") => (0, 1),
            Some("<") => (1, 0),
            other => panic!("{other:?} is no direction"),
        };
        let letters = words.next().unwrap();
        let (mut len, mut shift, mut ack_shift, mut window) = (0_u32, 0_i32, 0_i32, 64_240);
        let (mut options, mut other_options) = (Vec::new(), Vec::new());
        let (mut id, mut ttl) = (None, None);
        for word in words {
            match word.split_once('=') {
                Some(("win", n)) => window = n.parse().unwrap(),
                Some(("mss", n)) => {
                    options.push(TcpOptionElement::MaximumSegmentSize(n.parse().unwrap()));
                }
                Some(("ws", n)) => options.push(TcpOptionElement::WindowScale(n.parse().unwrap())),
                Some(("isn", n)) => self.next[me] = n.parse().unwrap(),
                Some(("id", n)) => id = Some(n.parse::<u16>().unwrap()),
                Some(("ttl", n)) => ttl = Some(n.parse::<u8>().unwrap()),
                Some(("option", digits)) => other_options.extend(bytes(digits)),
                None if word == "sack" => {
                    options.push(TcpOptionElement::SelectiveAcknowledgementPermitted);
                }
                None if word == "ts" => options.push(TcpOptionElement::Timestamp(1, 2)),
                None if word == "uncaptured" => {}
                None if word.starts_with('@') => shift = word[1..].parse().unwrap(),
                None if word.starts_with("ack") => ack_shift = word[3..].parse().unwrap(),
                None => len = word.parse().unwrap(),
                other => panic!("{other:?} says nothing"),
            }
        }
        let payload = vec![b'x'; len as usize];
        if letters == "udp" {
            return synth::udp(self.ends[me], self.ends[peer], &payload);
        }
        let bit = |letter, bit| if letters.contains(letter) { bit } else { 0 };
        let flags = bit('F', 1) | bit('S', 2) | bit('R', 4) | bit('P', 8) | bit('A', 16);
        let seq = self.next[me].wrapping_add_signed(shift);
        let end = seq.wrapping_add(len + u32::from((flags & 1) + (flags >> 1 & 1)));
        // A RST may stand anywhere, and nothing follows on it.
        if end != seq && end.wrapping_sub(self.next[me]).cast_signed() > 0 {
            self.next[me] = end;
        }
        let segment = Segment {
            seq,
            ack: self.next[peer].wrapping_add_signed(ack_shift),
            flags,
            window,
            options: &options,
            other_options: &other_options,
            payload: &payload,
            ..Segment::new(self.ends[me], self.ends[peer])
        };
        let mut bytes = segment.bytes();
        if id.is_some() || ttl.is_some() {
            set_in_ipv4(&mut bytes, id, ttl);
        }
        bytes
    }
}

/// Sets identification and hop limit of an IPv4 packet in an Ethernet frame.
fn set_in_ipv4(frame: &mut [u8], id: Option<u16>, ttl: Option<u8>) {
    let (mut ip, _) = etherparse::Ipv4Header::from_slice(&frame[14..]).unwrap();
    ip.identification = id.unwrap_or(ip.identification);
    ip.time_to_live = ttl.unwrap_or(ip.time_to_live);
    ip.header_checksum = ip.calc_header_checksum();
    frame[14..34].copy_from_slice(&ip.to_bytes());
}

/// The bytes that hexadecimal digits stand for.
pub(crate) fn bytes(digits: &str) -> Vec<u8> {
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}
