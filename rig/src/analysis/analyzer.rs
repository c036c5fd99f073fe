//! The table of flows.

use std::hash::BuildHasher as _;
use std::net::IpAddr;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::conversation::{Conversation, Kind, Opening};
use super::events::Keep;
use super::expiry::{Class, Due, Expiry, Timeouts, deadline};
use super::flow::{Ended, Flow, Proto, Sender, TcpFlags};
use super::key::Key;
use super::multipath::Connections;
use super::older::{Older, Place};
use super::tcp::{Segment, TcpState};
use super::udp::{Datagram, UdpState};
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
    /// The places of the latest flow of each key, which the flow itself holds: a table that small stays in
    /// the processor's cache. The hasher is keyed at random, so a hostile capture cannot make keys
    /// collide.
    latest: HashTable<usize>,
    hasher: DefaultHashBuilder,
    /// The connections of Multipath TCP.
    connections: Connections,
    /// The flow of the packet before, which is often that of the next one too.
    recent: Option<(Key, usize)>,
    /// The packet that was pushed last, if it belongs to a flow: its frame, flow and sender.
    pushed: Option<(u64, usize, Sender)>,
    /// What became of the packet that is pushed.
    fate: Fate,
    /// Where loopback addresses are looked for, see [`Analyzer::at_place`].
    place: u32,
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
                states: false,
            },
            steps_of: None,
            timeouts: Timeouts::default(),
            times_out: false,
            expiry: Expiry::default(),
            flows: Vec::new(),
            free: Vec::new(),
            ended: Vec::new(),
            begun: 0,
            latest: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            connections: Connections::default(),
            recent: None,
            pushed: None,
            fate: Fate::Unwatched,
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

    /// Keeps when the states of each connection's sides changed.
    #[must_use]
    pub fn keeping_states(mut self) -> Self {
        self.keep.states = true;
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

    /// Takes in a packet of which it is known what became: a RST or FIN that was lost does not close its
    /// receiver, and a RST that its sender's host never sent is nobody's.
    pub fn push_with_fate(&mut self, frame: u64, at: Timestamp, packet: &Packet<'_>, fate: Fate) {
        self.fate = fate;
        self.push(frame, at, packet);
        self.fate = Fate::Unwatched;
        self.note_fate(frame, fate);
    }

    fn note_fate(&mut self, frame: u64, fate: Fate) {
        let Some((_, index, sender)) = self.pushed.filter(|(pushed, ..)| *pushed == frame) else {
            return;
        };
        let Some(flow) = &mut self.flows[index] else {
            return;
        };
        flow.remarks.get_or_insert_default().add_fate(sender, fate);
        let of_it = flow.events().iter_mut().rev();
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
        let mut connections = self.connections;
        for flow in self.flows.iter().flatten() {
            flow.is_over(&mut connections);
        }
        let flows = self.flows.into_iter().flatten();
        let flows = flows.map(move |flow| flow.into_flow(&connections));
        self.ended.into_iter().chain(flows)
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
        let replaced = found.filter(|index| !wrong && self.is_replaced(*index, source_first, tcp));
        let replaced = replaced.filter(|index| !self.mend(*index, source_first, at, tcp));
        let index = found.filter(|_| replaced.is_none()).unwrap_or_else(|| {
            let flipped = answers(TcpFlags(tcp.flags), source, destination);
            let opening = Opening {
                flipped,
                source_first,
                frame,
                at,
            };
            let older = replaced.and_then(|index| self.replace(index, source_first != flipped));
            let state = TcpState {
                older: older.map(Box::new),
                ..TcpState::default()
            };
            self.open(key, opening, packet.tunnels, Kind::Tcp(state))
        });
        let steps_of = self.steps_of;
        let keep = self.keep;
        let fate = self.fate;
        let Some(flow) = self.flows[index].as_mut() else {
            return;
        };
        let sender = account(flow, source_first, at, packet);
        self.pushed = Some((frame, index, sender));
        let keep = Keep {
            steps: steps_of == Some(flow.number),
            ..keep
        };
        let mut segment = Segment {
            frame,
            at,
            sender,
            ip_len_bytes: packet.ip_len_bytes,
            fate,
            hop_limit: packet.hop_limit,
            ip_id: packet.ip_id,
            flags: TcpFlags(tcp.flags),
            tcp,
            signal: None,
        };
        if wrong {
            if let (Kind::Tcp(state), true) = (&mut flow.kind, keep.steps) {
                state.show_unreadable(&segment);
            }
            return;
        }
        let signal;
        if flow.may_be_multipath(&segment) {
            signal = flow.take_multipath(&segment, &mut self.connections);
            segment.signal = signal.as_ref();
        }
        if let Kind::Tcp(state) = &mut flow.kind {
            let is_own = state.take(&segment, keep);
            if !is_own && segment.flags.has(TcpFlags::RST) {
                self.reset_older(index, source_first, &segment);
            }
        }
        if self.times_out {
            self.let_older_go(index);
            self.watch_if_closed(index);
        }
    }

    /// Lets a new connection take the place of a flow; gives what it must know of that, which may be told more
    /// until the new one is answered.
    fn replace(&mut self, index: usize, orig_first: bool) -> Option<Older> {
        self.end_older(index);
        let flow = self.flows[index].as_mut()?;
        flow.ended = Some(Ended::Reuse);
        let number = flow.number;
        Some(flow.older(Place { index, number }, orig_first))
    }

    /// Ends the connection before a flow by a RST that came late.
    #[cold]
    fn reset_older(&mut self, index: usize, source_first: bool, segment: &Segment<'_>) {
        let place = self.flows[index]
            .as_ref()
            .and_then(Conversation::older_place);
        if let Some(place) = place
            && let Some(older) = &mut self.flows[place.index]
            && older.number == place.number
        {
            older.take_late_reset(source_first, segment);
        }
    }

    /// Gives the connection before a flow out once nothing of it can come any more.
    #[inline]
    fn let_older_go(&mut self, index: usize) {
        let waits = |flow: &Conversation| flow.older_place().is_some() && flow.awaits_answer();
        let flow = self.flows[index].as_ref();
        if !flow.is_some_and(waits) {
            self.end_older(index);
        }
    }

    /// Gives the connection before a flow out, if it was kept.
    fn end_older(&mut self, index: usize) {
        let place = self.flows[index]
            .as_mut()
            .and_then(Conversation::take_older_place);
        if let Some(Place { index, number }) = place
            && self.times_out
            && self.flows[index]
                .as_ref()
                .is_some_and(|flow| flow.number == number)
        {
            self.end(index, Ended::Reuse);
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
            let opening = Opening {
                flipped: is_service(source.1) && !is_service(destination.1),
                source_first,
                frame,
                at,
            };
            self.open(key, opening, packet.tunnels, Kind::Udp(UdpState::default()))
        });
        let steps_of = self.steps_of;
        let keep = self.keep;
        let Some(flow) = self.flows[index].as_mut() else {
            return;
        };
        let sender = account(flow, source_first, at, packet);
        self.pushed = Some((frame, index, sender));
        if packet.checksum != Checksum::Credible {
            return;
        }
        let keep = Keep {
            steps: steps_of == Some(flow.number),
            ..keep
        };
        let unreadable = flow.unreadable_of(sender);
        if let Kind::Udp(state) = &mut flow.kind {
            let datagram = Datagram {
                frame,
                at,
                sender,
                ip_len_bytes: packet.ip_len_bytes,
                hop_limit: packet.hop_limit,
                is_first: state.pkts_of(sender) == unreadable,
                udp,
            };
            state.take(&datagram, keep);
        }
    }

    #[cfg(test)]
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
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
                let of_key = |index: &usize| has_key(&self.flows, *index, &key);
                let index = *self.latest.find(self.hasher.hash_one(key), of_key)?;
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

    /// Whether a segment begins a new connection in the place of a flow.
    #[inline]
    fn is_replaced(&self, index: usize, source_first: bool, tcp: &Tcp<'_>) -> bool {
        let flow = self.flows[index].as_ref();
        flow.is_none_or(|flow| flow.is_reuse(source_first, tcp))
    }

    /// Puts a SYN that was captured after the RST which refuses it in its place; says whether it is such a one.
    fn mend(&mut self, index: usize, source_first: bool, at: Timestamp, tcp: &Tcp<'_>) -> bool {
        let flow = self.flows[index].as_mut();
        flow.is_some_and(|flow| flow.mends(source_first, at, tcp))
    }

    /// Gives a flow out and its place free.
    fn end(&mut self, index: usize, why: Ended) {
        self.end_older(index);
        let Some(mut flow) = self.flows[index].take() else {
            return;
        };
        // One that was replaced is kept for a while, and ended then.
        flow.ended.get_or_insert(why);
        self.free.push(index);
        let hash = self.hasher.hash_one(flow.key);
        if let Ok(entry) = self.latest.find_entry(hash, |place| *place == index) {
            entry.remove();
        }
        if self.recent.is_some_and(|(_, recent)| recent == index) {
            self.recent = None;
        }
        self.ended.push(flow.leave(&mut self.connections));
    }

    /// Begins a flow in a free place.
    fn open(&mut self, key: Key, opening: Opening, tunnels: Tunnels, kind: Kind) -> usize {
        self.begun += 1;
        let flow = Conversation::new(key, &opening, self.begun, tunnels, kind);
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
            let (at, number) = (deadline(opening.at, timeout), self.begun);
            self.expiry.watch(class, Due { at, number, index });
        }
        self.note_latest(key, index);
        self.recent = Some((key, index));
        index
    }

    fn note_latest(&mut self, key: Key, index: usize) {
        let Self {
            flows,
            latest,
            hasher,
            ..
        } = self;
        let hash_of = |place: &usize| {
            let flow = flows[*place].as_ref();
            // Who ends leaves the table: all that are in it are there.
            flow.map_or(0, |flow| hasher.hash_one(flow.key))
        };
        let of_key = |place: &usize| has_key(flows, *place, &key);
        match latest.entry(hasher.hash_one(key), of_key, hash_of) {
            Entry::Occupied(mut entry) => *entry.get_mut() = index,
            Entry::Vacant(entry) => {
                entry.insert(index);
            }
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

/// Counts a packet to its flow, and gives its sender. Nothing more is to be done with one that its receiver throws
/// away.
#[inline]
fn account(
    flow: &mut Conversation,
    source_first: bool,
    at: Timestamp,
    packet: &Packet<'_>,
) -> Sender {
    flow.last = flow.last.max(at);
    let sender = flow.sender(source_first);
    if packet.checksum != Checksum::Credible {
        flow.take_unreadable(sender, packet.ip_len_bytes);
    }
    sender
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

#[inline]
fn has_key(flows: &[Option<Conversation>], index: usize, key: &Key) -> bool {
    flows[index].as_ref().is_some_and(|flow| flow.key == *key)
}

fn is_service(port: u16) -> bool {
    port < FIRST_USER_PORT
}
