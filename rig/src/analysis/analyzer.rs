//! The table of flows.

use std::collections::HashMap;
use std::net::IpAddr;

use super::events::{self, Keep};
use super::expiry::{Class, Due, Expiry, Timeouts, deadline};
use super::fate;
use super::flow::{Ended, Event, Flow, Proto, Sender, Side, TcpFlags};
use super::history::History;
use super::key::Key;
use super::remarks::Remarks;
use super::step::{self, Steps};
use super::tcp::{Segment, TcpState};
use crate::reconcile::Fate;
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
    /// The flow whose steps are kept, by its number.
    steps_of: Option<u64>,
    timeouts: Timeouts,
    /// Whether any flow can be over before the capture is.
    times_out: bool,
    expiry: Expiry,
    /// Flows that are not over, each in its place; in the order of their first packets while
    /// nothing times out.
    flows: Vec<Option<Conversation>>,
    /// Places that are free.
    free: Vec<usize>,
    /// Flows that are over and were not asked for yet.
    ended: Vec<Flow>,
    /// How many flows have begun.
    begun: u64,
    /// The latest flow of each key. The standard hasher is keyed at random, so a hostile capture
    /// cannot make keys collide.
    latest: HashMap<Key, usize>,
    /// The flow of the packet before, which is often that of the next one too.
    recent: Option<(Key, usize)>,
    /// The packet that was pushed last, if it belongs to a flow: its frame, flow and sender.
    pushed: Option<(u64, usize, Sender)>,
    /// Where loopback addresses are looked for, see [`Analyzer::at_place`].
    place: u32,
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
    number: u64,
    /// It stands in the queue of closed connections.
    watched_closed: bool,
    ended: Option<Ended>,
    kind: Kind,
}

/// Memory grows by this for each flow, beside its place in the hash table, while no events are kept
/// and its numbers have no holes.
const MAX_BYTES_PER_FLOW: usize = 384;

const _: () = assert!(size_of::<Option<Conversation>>() <= MAX_BYTES_PER_FLOW);

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
    steps: Option<Box<Steps>>,
}

impl Analyzer {
    /// An analyzer that has seen nothing.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            keep: Keep {
                events: options.keep_events || options.keep_payload,
                payload: options.keep_payload,
                steps: false,
            },
            steps_of: None,
            timeouts: Timeouts::default(),
            times_out: false,
            expiry: Expiry::default(),
            flows: Vec::new(),
            free: Vec::new(),
            ended: Vec::new(),
            begun: 0,
            latest: HashMap::new(),
            recent: None,
            pushed: None,
            place: 0,
        }
    }

    /// Tells at which place the next packets were captured. Loopback addresses of different places
    /// are different ones; other addresses are the same everywhere.
    #[inline]
    pub fn at_place(&mut self, place: u32) {
        self.place = place;
    }

    /// Lets flows end that have had no packet for some time.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.times_out = timeouts.is_on();
        self.timeouts = timeouts;
        self
    }

    /// Keeps one flow segment by segment: the one with this number, from 1 on.
    #[must_use]
    pub fn keeping_steps_of(mut self, number: u64) -> Self {
        self.steps_of = Some(number);
        self
    }

    /// Takes in a packet, in the order of the capture. Packets that are neither TCP nor UDP belong
    /// to no flow; ICMP errors are noted at the flow whose packet they quote. A segment or datagram
    /// with a wrong checksum, which its receiver throws away, is counted and changes no state.
    pub fn push(&mut self, frame: u64, at: Timestamp, packet: &Packet<'_>) {
        if self.times_out {
            self.expire(at);
        }
        match &packet.transport {
            Transport::Tcp(tcp) => self.push_tcp(frame, at, packet, tcp),
            Transport::Udp(udp) => self.push_udp(frame, at, packet, udp),
            Transport::IcmpError(error) => self.push_icmp_error(frame, at, error),
            Transport::Fragment | Transport::Other(_) | Transport::Malformed => {}
        }
    }

    /// Takes in what became of the packet that was pushed last, by the frame's number.
    pub fn note_fate(&mut self, frame: u64, fate: Fate) {
        let Some((_, index, sender)) = self.pushed.filter(|(pushed, ..)| *pushed == frame) else {
            return;
        };
        let Some(flow) = &mut self.flows[index] else {
            return;
        };
        flow.remarks.get_or_insert_default().add_fate(sender, fate);
        let events = match &mut flow.kind {
            Kind::Tcp(state) => state.events.as_deref_mut(),
            Kind::Udp(state) => Some(&mut state.events),
        };
        let of_it = events.into_iter().flatten().rev();
        for event in of_it.take_while(|event| event.frame == frame) {
            event.lost = fate == Fate::Lost;
        }
    }

    /// Takes in what the capture says of the packet that was pushed last.
    pub fn comment(&mut self, frame: u64, comments: &[String]) {
        let Some((_, index)) = self.recent else {
            return;
        };
        if let Some(flow) = &mut self.flows[index]
            && let Some(steps) = flow.steps()
        {
            steps.comment(frame, comments);
        }
    }

    /// Ends the flows that have had no packet for their timeout by now. Packets do so by
    /// themselves; this is for when none come.
    pub fn expire(&mut self, now: Timestamp) {
        for class in Class::ALL {
            let Some(timeout) = self.timeouts.of(class) else {
                continue;
            };
            while let Some(due) = self.expiry.next(class, now) {
                let Some(flow) = &mut self.flows[due.index] else {
                    continue;
                };
                if flow.number != due.number {
                    continue;
                }
                let at = deadline(flow.last, timeout);
                if class == Class::Closed && !flow.is_settled() {
                    flow.watched_closed = false;
                } else if at < now {
                    self.end(due.index, Ended::Timeout);
                } else {
                    self.expiry.watch(class, Due { at, ..due });
                }
            }
        }
    }

    /// The flows that are over, as far as they were not taken yet, in the order in which that was
    /// found. There are none without timeouts.
    pub fn take_ended(&mut self) -> Vec<Flow> {
        std::mem::take(&mut self.ended)
    }

    /// Whether there are flows to take.
    #[must_use]
    #[inline]
    pub fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// The flows that were not taken, in the order of their first packets.
    #[must_use]
    pub fn finish(self) -> Vec<Flow> {
        self.into_flows().collect()
    }

    /// The flows that were not taken one by one, in the order of their first packets, which spares
    /// the room of having them all at once.
    pub fn into_flows(mut self) -> impl Iterator<Item = Flow> {
        drop(self.latest);
        if self.times_out {
            // Places were given on, so they are out of order.
            let number = |flow: &Option<Conversation>| flow.as_ref().map(|flow| flow.number);
            self.flows.sort_unstable_by_key(number);
        }
        let flows = self.flows.into_iter().flatten();
        self.ended
            .into_iter()
            .chain(flows.map(Conversation::into_flow))
    }

    #[inline]
    fn key(&self, proto: Proto, source: (IpAddr, u16), destination: (IpAddr, u16)) -> (Key, bool) {
        let (key, source_first) = Key::of(proto, source, destination);
        if source.0.is_loopback() {
            (key.at(self.place), source_first)
        } else {
            (key, source_first)
        }
    }

    fn push_tcp(&mut self, frame: u64, at: Timestamp, packet: &Packet<'_>, tcp: &Tcp<'_>) {
        let source = (packet.source, tcp.source_port);
        let destination = (packet.destination, tcp.destination_port);
        let (key, source_first) = self.key(Proto::Tcp, source, destination);
        let wrong = packet.checksum != Checksum::Credible;
        let found = self.find(key, at);
        let found = found.filter(|index| wrong || !self.is_replaced(*index, source_first, tcp));
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
        let Some(flow) = &mut self.flows[index] else {
            return;
        };
        flow.last = flow.last.max(at);
        let sender = flow.sender(source_first);
        self.pushed = Some((frame, index, sender));
        if wrong {
            flow.take_unreadable(sender, packet.ip_len_bytes);
            return;
        }
        let keep = Keep {
            steps: self.steps_of == Some(flow.number),
            ..self.keep
        };
        if let Kind::Tcp(state) = &mut flow.kind {
            let segment = Segment {
                frame,
                at,
                sender,
                ip_len_bytes: packet.ip_len_bytes,
                flags: TcpFlags(tcp.flags),
                tcp,
            };
            state.take(&segment, keep);
        }
        if self.times_out {
            self.watch_if_closed(index);
        }
    }

    /// Lets a connection end soon that both sides have closed.
    fn watch_if_closed(&mut self, index: usize) {
        let Some(flow) = &mut self.flows[index] else {
            return;
        };
        if let Some(timeout) = self.timeouts.of(Class::Closed)
            && !flow.watched_closed
            && flow.is_settled()
        {
            flow.watched_closed = true;
            let (at, number) = (deadline(flow.last, timeout), flow.number);
            let due = Due { at, number, index };
            self.expiry.watch(Class::Closed, due);
        }
    }

    fn push_udp(&mut self, frame: u64, at: Timestamp, packet: &Packet<'_>, udp: &Udp<'_>) {
        let source = (packet.source, udp.source_port);
        let destination = (packet.destination, udp.destination_port);
        let (key, source_first) = self.key(Proto::Udp, source, destination);
        let index = self.find(key, at).unwrap_or_else(|| {
            let flipped = is_service(source.1) && !is_service(destination.1);
            let mut state = UdpState::default();
            if flipped {
                state.history.add(Sender::Initiator, b'^');
            }
            let opened = self.open(key, source_first != flipped, frame, at, Kind::Udp(state));
            self.note_tunnels(opened, packet.tunnels);
            opened
        });
        let Some(flow) = &mut self.flows[index] else {
            return;
        };
        flow.last = flow.last.max(at);
        let sender = flow.sender(source_first);
        self.pushed = Some((frame, index, sender));
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
            if self.steps_of == Some(flow.number) {
                let steps = state.steps.get_or_insert_default();
                steps.push(step::of_datagram(sender, frame, at, udp));
            }
        }
    }

    /// How many places for flows there are, free ones included.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.flows.len()
    }

    /// The flow of a key, unless it is over by now.
    #[inline]
    fn find(&mut self, key: Key, at: Timestamp) -> Option<usize> {
        let index = match self.recent {
            Some((recent, index)) if recent == key => index,
            _ => {
                let index = *self.latest.get(&key)?;
                self.recent = Some((key, index));
                index
            }
        };
        if self.times_out && self.is_idle(index, at) {
            self.end(index, Ended::Timeout);
            return None;
        }
        Some(index)
    }

    /// Whether a flow has had no packet for longer than it may.
    fn is_idle(&self, index: usize, at: Timestamp) -> bool {
        let Some(flow) = &self.flows[index] else {
            return false;
        };
        let timeout = self.timeouts.of(flow.class());
        timeout.is_some_and(|timeout| deadline(flow.last, timeout) < at)
    }

    /// Whether a segment begins a new connection in the place of a flow, which is over then.
    #[inline]
    fn is_replaced(&mut self, index: usize, source_first: bool, tcp: &Tcp<'_>) -> bool {
        let Some(flow) = &mut self.flows[index] else {
            return true;
        };
        let replaced = flow.is_reuse(source_first, tcp);
        if replaced {
            flow.ended = Some(Ended::Reuse);
            if self.times_out {
                self.end(index, Ended::Reuse);
            }
        }
        replaced
    }

    /// Gives a flow out and its place free.
    fn end(&mut self, index: usize, why: Ended) {
        let Some(mut flow) = self.flows[index].take() else {
            return;
        };
        flow.ended = Some(why);
        self.free.push(index);
        self.latest.remove(&flow.key);
        if self.recent.is_some_and(|(_, recent)| recent == index) {
            self.recent = None;
        }
        self.ended.push(flow.into_flow());
    }

    fn open(&mut self, key: Key, orig_first: bool, frame: u64, at: Timestamp, kind: Kind) -> usize {
        self.begun += 1;
        let flow = Conversation {
            key,
            orig_first,
            first: at,
            last: at,
            first_frame: frame,
            remarks: None,
            number: self.begun,
            watched_closed: false,
            ended: None,
            kind,
        };
        let class = flow.class();
        let index = if let Some(index) = self.free.pop() {
            self.flows[index] = Some(flow);
            index
        } else {
            self.flows.push(Some(flow));
            self.flows.len() - 1
        };
        if self.times_out
            && let Some(timeout) = self.timeouts.of(class)
        {
            let (at, number) = (deadline(at, timeout), self.begun);
            self.expiry.watch(class, Due { at, number, index });
        }
        self.latest.insert(key, index);
        self.recent = Some((key, index));
        index
    }

    #[inline]
    fn note_tunnels(&mut self, index: usize, tunnels: Tunnels) {
        if tunnels.is_empty() {
            return;
        }
        if let Some(flow) = &mut self.flows[index] {
            flow.remarks.get_or_insert_default().tunnels = tunnels;
        }
    }

    /// Notes an ICMP error at the flow that it is about, if that is known.
    #[cold]
    fn push_icmp_error(&mut self, frame: u64, at: Timestamp, error: &IcmpError) {
        let proto = if error.about_tcp {
            Proto::Tcp
        } else {
            Proto::Udp
        };
        let [source, destination] =
            [error.sender, error.receiver].map(|end| (end.ip(), end.port()));
        let (key, source_first) = self.key(proto, source, destination);
        let found = self.find(key, at);
        if let Some(flow) = found.and_then(|index| self.flows[index].as_mut()) {
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

    /// Whether both sides are done, so that nothing is to come but repeats.
    fn is_settled(&self) -> bool {
        match &self.kind {
            Kind::Tcp(state) => state.is_settled(),
            Kind::Udp(_) => false,
        }
    }

    fn class(&self) -> Class {
        match &self.kind {
            Kind::Udp(_) => Class::Udp,
            Kind::Tcp(state) if state.is_settled() => Class::Closed,
            Kind::Tcp(_) => Class::Tcp,
        }
    }

    fn steps(&mut self) -> Option<&mut Steps> {
        match &mut self.kind {
            Kind::Tcp(state) => state.steps.as_deref_mut(),
            Kind::Udp(state) => state.steps.as_deref_mut(),
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
            number: self.number,
            first_frame: self.first_frame,
            orig_side: Side::default(),
            resp_side: Side::default(),
            conn_state: super::ConnState::OTH,
            history: String::new(),
            closed_by: None,
            opened_by: None,
            reset: None,
            ended: self.ended,
            completeness: 0,
            tunnels: remarks.tunnels,
            icmp_errors: remarks.icmp_errors,
            events: Vec::new(),
            steps: Steps::default(),
        };
        let [orig_wrong, resp_wrong] = remarks.checksum_errors;
        let [orig_path, resp_path] = remarks.paths.map_or([None; 2], |paths| paths.map(Some));
        let with = |side: Side, checksum_errors, path| Side {
            checksum_errors,
            path,
            ..side
        };
        match self.kind {
            Kind::Tcp(mut state) => Flow {
                conn_state: state.conn_state(),
                orig_side: with(state.orig.counters(state.resp.state), orig_wrong, orig_path),
                resp_side: with(state.resp.counters(state.orig.state), resp_wrong, resp_path),
                history: state.history.text(),
                closed_by: state.closed_by,
                opened_by: state.opened_by,
                reset: state.reset.map(|reset| *reset),
                completeness: state.completeness,
                events: state.events.map(|events| *events).unwrap_or_default(),
                steps: state.steps.map(|steps| *steps).unwrap_or_default(),
                ..frame
            },
            Kind::Udp(state) => Flow {
                conn_state: fate::udp(state.orig.pkts - orig_wrong, state.resp.pkts - resp_wrong),
                orig_side: with(state.orig, orig_wrong, orig_path),
                resp_side: with(state.resp, resp_wrong, resp_path),
                history: state.history.text(),
                events: state.events,
                steps: state.steps.map(|steps| *steps).unwrap_or_default(),
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
