//! The table of flows.

use std::collections::HashMap;
use std::net::IpAddr;

use super::events::{self, Keep};
use super::fate;
use super::flow::{Event, Flow, Proto, Sender, Side, TcpFlags};
use super::history::History;
use super::key::Key;
use super::remarks::Remarks;
use super::tcp::{Segment, TcpState};
use crate::units::Timestamp;
use crate::wire::{Checksum, IcmpError, Packet, Tcp, Transport, Tunnels, Udp};

/// Ports below this one belong to well-known services, RFC 6335 section 6.
const FIRST_USER_PORT: u16 = 1024;

/// What is kept of each flow beside its counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Keep the events, which takes some 100 bytes for each segment.
    pub keep_events: bool,
    /// Keep the first bytes of each payload with its event.
    pub keep_payload: bool,
}

/// Sorts packets into flows.
///
/// ```
/// use rig::analysis::{Analyzer, ConnState, Options};
/// use rig::units::Timestamp;
/// use rig::wire::{LinkType, decode, synth::Segment};
///
/// let (client, server) = ("10.0.0.1:4000".parse()?, "10.0.0.2:80".parse()?);
/// let syn = Segment { flags: 0x02, ..Segment::new(client, server) }.bytes();
/// let mut analyzer = Analyzer::new(Options::default());
/// analyzer.push(1, Timestamp(0), &decode(LinkType::Ethernet, &syn, 54)?);
/// let flows = analyzer.finish();
/// assert_eq!(flows[0].conn_state, ConnState::S0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Analyzer {
    keep: Keep,
    flows: Vec<Conversation>,
    /// The latest flow of each key. The standard hasher is keyed at random, so a hostile capture
    /// cannot make keys collide.
    latest: HashMap<Key, usize>,
    /// The flow of the packet before, which is often that of the next one too.
    recent: Option<(Key, usize)>,
}

/// A flow while its packets come in.
#[derive(Debug)]
struct Conversation {
    key: Key,
    /// The initiator is the first endpoint of the key.
    orig_first: bool,
    first: Timestamp,
    last: Timestamp,
    first_frame: u64,
    remarks: Option<Box<Remarks>>,
    kind: Kind,
}

/// Memory grows by this for each flow, beside its place in the hash table, while no events are kept
/// and its numbers have no holes.
const MAX_BYTES_PER_FLOW: usize = 320;

const _: () = assert!(size_of::<Conversation>() <= MAX_BYTES_PER_FLOW);

#[derive(Debug)]
enum Kind {
    Tcp(TcpState),
    Udp(UdpState),
}

#[derive(Debug, Default)]
struct UdpState {
    orig: Side,
    resp: Side,
    history: History,
    events: Vec<Event>,
}

impl Analyzer {
    /// An analyzer that has seen nothing.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            keep: Keep {
                events: options.keep_events || options.keep_payload,
                payload: options.keep_payload,
            },
            flows: Vec::new(),
            latest: HashMap::new(),
            recent: None,
        }
    }

    /// Takes in a packet, in the order of the capture. Packets that are neither TCP nor UDP belong
    /// to no flow; ICMP errors are noted at the flow whose packet they quote. A segment or datagram
    /// with a wrong checksum, which its receiver throws away, is counted and changes no state.
    pub fn push(&mut self, frame: u64, at: Timestamp, packet: &Packet<'_>) {
        match &packet.transport {
            Transport::Tcp(tcp) => self.push_tcp(frame, at, packet, tcp),
            Transport::Udp(udp) => self.push_udp(frame, at, packet, udp),
            Transport::IcmpError(error) => self.push_icmp_error(frame, error),
            Transport::Fragment | Transport::Other(_) | Transport::Malformed => {}
        }
    }

    /// The flows, in the order of their first packets.
    #[must_use]
    pub fn finish(self) -> Vec<Flow> {
        self.into_flows().collect()
    }

    /// The flows one by one, in the order of their first packets, which spares the room of having
    /// them all at once.
    pub fn into_flows(self) -> impl ExactSizeIterator<Item = Flow> {
        drop(self.latest);
        self.flows.into_iter().map(Conversation::into_flow)
    }

    fn push_tcp(&mut self, frame: u64, at: Timestamp, packet: &Packet<'_>, tcp: &Tcp<'_>) {
        let source = (packet.source, tcp.source_port);
        let destination = (packet.destination, tcp.destination_port);
        let (key, source_first) = Key::of(Proto::Tcp, source, destination);
        let wrong = packet.checksum != Checksum::Credible;
        let found = self.find(key).filter(|index| {
            let flow = &self.flows[*index];
            wrong || !flow.is_reuse(source_first, tcp)
        });
        let index = found.unwrap_or_else(|| {
            let flags = TcpFlags(tcp.flags);
            let flipped = answers(flags, source, destination);
            let mut state = TcpState::default();
            if flipped {
                state.history.add(Sender::Initiator, b'^');
            }
            let opened = self.open(key, source_first != flipped, frame, at, Kind::Tcp(state));
            self.note_tunnels(opened, packet.tunnels);
            opened
        });
        let flow = &mut self.flows[index];
        flow.last = flow.last.max(at);
        let sender = flow.sender(source_first);
        if wrong {
            flow.take_unreadable(sender, packet.ip_len_bytes);
            return;
        }
        if let Kind::Tcp(state) = &mut flow.kind {
            let segment = Segment {
                frame,
                at,
                sender,
                ip_len_bytes: packet.ip_len_bytes,
                flags: TcpFlags(tcp.flags),
                tcp,
            };
            state.take(&segment, self.keep);
        }
    }

    fn push_udp(&mut self, frame: u64, at: Timestamp, packet: &Packet<'_>, udp: &Udp<'_>) {
        let source = (packet.source, udp.source_port);
        let destination = (packet.destination, udp.destination_port);
        let (key, source_first) = Key::of(Proto::Udp, source, destination);
        let index = self.find(key).unwrap_or_else(|| {
            let flipped = is_service(source.1) && !is_service(destination.1);
            let mut state = UdpState::default();
            if flipped {
                state.history.add(Sender::Initiator, b'^');
            }
            let opened = self.open(key, source_first != flipped, frame, at, Kind::Udp(state));
            self.note_tunnels(opened, packet.tunnels);
            opened
        });
        let flow = &mut self.flows[index];
        flow.last = flow.last.max(at);
        let sender = flow.sender(source_first);
        if packet.checksum != Checksum::Credible {
            flow.take_unreadable(sender, packet.ip_len_bytes);
            return;
        }
        let wrong = flow
            .remarks
            .as_ref()
            .map_or(0, |r| r.checksum_errors_of(sender));
        if let Kind::Udp(state) = &mut flow.kind {
            let side = match sender {
                Sender::Initiator => &mut state.orig,
                Sender::Responder => &mut state.resp,
            };
            if side.pkts == wrong {
                state.history.add(sender, b'D');
            }
            side.pkts += 1;
            side.ip_bytes += u64::from(packet.ip_len_bytes);
            side.bytes += u64::from(udp.payload_len_bytes);
            if self.keep.events {
                let event = events::datagram(sender, frame, at, udp, self.keep);
                state.events.push(event);
            }
        }
    }

    #[inline]
    fn find(&mut self, key: Key) -> Option<usize> {
        if let Some((recent, index)) = self.recent
            && recent == key
        {
            return Some(index);
        }
        let index = *self.latest.get(&key)?;
        self.recent = Some((key, index));
        Some(index)
    }

    fn open(&mut self, key: Key, orig_first: bool, frame: u64, at: Timestamp, kind: Kind) -> usize {
        let index = self.flows.len();
        self.flows.push(Conversation {
            key,
            orig_first,
            first: at,
            last: at,
            first_frame: frame,
            remarks: None,
            kind,
        });
        self.latest.insert(key, index);
        self.recent = Some((key, index));
        index
    }

    #[inline]
    fn note_tunnels(&mut self, index: usize, tunnels: Tunnels) {
        if !tunnels.is_empty() {
            self.flows[index].remarks.get_or_insert_default().tunnels = tunnels;
        }
    }

    /// Notes an ICMP error at the flow that it is about, if that is known.
    #[cold]
    fn push_icmp_error(&mut self, frame: u64, error: &IcmpError) {
        let proto = if error.about_tcp {
            Proto::Tcp
        } else {
            Proto::Udp
        };
        let [source, destination] =
            [error.sender, error.receiver].map(|end| (end.ip(), end.port()));
        let (key, source_first) = Key::of(proto, source, destination);
        if let Some(index) = self.find(key) {
            let flow = &mut self.flows[index];
            let about = flow.sender(source_first);
            let remarks = flow.remarks.get_or_insert_default();
            remarks.add_icmp_error(frame, about, error);
        }
    }
}

impl Conversation {
    /// Counts a packet that its receiver throws away for its checksum.
    #[cold]
    fn take_unreadable(&mut self, sender: Sender, ip_len_bytes: u32) {
        let remarks = self.remarks.get_or_insert_default();
        let count = remarks.count_checksum_error(sender);
        let (pkts, ip_bytes, history) = match (&mut self.kind, sender) {
            (Kind::Tcp(state), Sender::Initiator) => {
                let side = &mut state.orig;
                (&mut side.pkts, &mut side.ip_bytes, &mut state.history)
            }
            (Kind::Tcp(state), Sender::Responder) => {
                let side = &mut state.resp;
                (&mut side.pkts, &mut side.ip_bytes, &mut state.history)
            }
            (Kind::Udp(state), Sender::Initiator) => {
                let side = &mut state.orig;
                (&mut side.pkts, &mut side.ip_bytes, &mut state.history)
            }
            (Kind::Udp(state), Sender::Responder) => {
                let side = &mut state.resp;
                (&mut side.pkts, &mut side.ip_bytes, &mut state.history)
            }
        };
        *pkts += 1;
        *ip_bytes += u64::from(ip_len_bytes);
        history.add_scaled(sender, b'C', u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn sender(&self, source_first: bool) -> Sender {
        if source_first == self.orig_first {
            Sender::Initiator
        } else {
            Sender::Responder
        }
    }

    fn is_reuse(&self, source_first: bool, tcp: &Tcp<'_>) -> bool {
        match &self.kind {
            Kind::Tcp(state) => state.is_reuse(self.sender(source_first), tcp),
            Kind::Udp(_) => false,
        }
    }

    fn into_flow(self) -> Flow {
        let [first, second] = self.key.endpoints();
        let (orig, resp) = if self.orig_first {
            (first, second)
        } else {
            (second, first)
        };
        let remarks = self.remarks.map(|remarks| *remarks).unwrap_or_default();
        let frame = Flow {
            proto: self.key.proto(),
            orig,
            resp,
            first: self.first,
            last: self.last,
            first_frame: self.first_frame,
            orig_side: Side::default(),
            resp_side: Side::default(),
            conn_state: super::ConnState::OTH,
            history: String::new(),
            closed_by: None,
            completeness: 0,
            tunnels: remarks.tunnels,
            icmp_errors: remarks.icmp_errors,
            events: Vec::new(),
        };
        let [orig_wrong, resp_wrong] = remarks.checksum_errors;
        let with_wrong = |side: Side, checksum_errors| Side {
            checksum_errors,
            ..side
        };
        match self.kind {
            Kind::Tcp(state) => Flow {
                orig_side: with_wrong(state.orig.counters(state.resp.state), orig_wrong),
                resp_side: with_wrong(state.resp.counters(state.orig.state), resp_wrong),
                conn_state: state.conn_state(),
                history: state.history.text(),
                closed_by: state.closed_by,
                completeness: state.completeness,
                events: state.events.map(|events| *events).unwrap_or_default(),
                ..frame
            },
            Kind::Udp(state) => Flow {
                conn_state: fate::udp(state.orig.pkts - orig_wrong, state.resp.pkts - resp_wrong),
                orig_side: with_wrong(state.orig, orig_wrong),
                resp_side: with_wrong(state.resp, resp_wrong),
                history: state.history.text(),
                events: state.events,
                ..frame
            },
        }
    }
}

/// Whether the sender of a flow's first segment answers, so that its receiver is the initiator.
///
/// A SYN-ACK answers. Segments without a SYN are judged by their ports, as Zeek does: a well-known
/// one is the responder's, and of two such ones the lower.
fn answers(flags: TcpFlags, source: (IpAddr, u16), destination: (IpAddr, u16)) -> bool {
    if flags.has(TcpFlags::SYN) {
        return flags.has(TcpFlags::ACK);
    }
    is_service(source.1) && (!is_service(destination.1) || source.1 < destination.1)
}

fn is_service(port: u16) -> bool {
    port < FIRST_USER_PORT
}
