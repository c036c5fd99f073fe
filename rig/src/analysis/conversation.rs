//! A flow while its packets come in.

use super::expiry::Class;
use super::fate;
use super::flow::{Ended, Event, Flow, Sender, Side, TcpFlags};
use super::history::History;
use super::key::Key;
use super::multipath::{Connections, Multipath, Seen, Signal, Subflow};
use super::older::{self, Older, Place};
use super::remarks::Remarks;
use super::step::Steps;
use super::tcp::{Segment, TcpState};
use super::udp::UdpState;
use crate::units::Timestamp;
use crate::wire::{Tcp, Tunnels};

/// A flow while its packets come in.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) key: Key,
    /// The initiator is the first endpoint of the key.
    orig_first: bool,
    first: Timestamp,
    pub(super) last: Timestamp,
    first_frame: u64,
    pub(super) remarks: Option<Box<Remarks>>,
    pub(super) number: u64,
    /// It stands in the queue of closed connections.
    pub(super) watched_closed: bool,
    pub(super) ended: Option<Ended>,
    pub(super) kind: Kind,
}

/// Memory grows by this for each flow, beside its place in the hash table, while no events are kept,
/// its numbers have no holes and it has nothing to do with Multipath TCP.
const MAX_BYTES_PER_FLOW: usize = 384;

const _: () = assert!(size_of::<Option<Conversation>>() <= MAX_BYTES_PER_FLOW);

/// What the packets of a flow have done so far.
#[derive(Debug)]
pub(super) enum Kind {
    Tcp(TcpState),
    Udp(UdpState),
}

/// How a flow begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    /// Its first packet is an answer, so that the receiver is the initiator.
    pub(super) flipped: bool,
    /// The sender of its first packet is the first endpoint of the key.
    pub(super) source_first: bool,
    pub(super) frame: u64,
    pub(super) at: Timestamp,
}

impl Conversation {
    pub(super) fn new(
        key: Key,
        opening: &Opening,
        number: u64,
        tunnels: Tunnels,
        mut kind: Kind,
    ) -> Self {
        if opening.flipped {
            kind.history().add(Sender::Initiator, b'^');
        }
        let remarks = (!tunnels.is_empty()).then(|| {
            Box::new(Remarks {
                tunnels,
                ..Remarks::default()
            })
        });
        Self {
            key,
            orig_first: opening.source_first != opening.flipped,
            first: opening.at,
            last: opening.at,
            first_frame: opening.frame,
            remarks,
            number,
            watched_closed: false,
            ended: None,
            kind,
        }
    }

    /// Counts a packet that its receiver throws away for its checksum.
    #[cold]
    pub(super) fn take_unreadable(&mut self, sender: Sender, ip_len_bytes: u32) {
        let remarks = self.remarks.get_or_insert_default();
        let count = remarks.count_checksum_error(sender);
        let (pkts, ip_bytes) = self.kind.counters(sender);
        *pkts += 1;
        *ip_bytes += u64::from(ip_len_bytes);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.kind.history().add_scaled(sender, b'C', count);
    }

    pub(super) fn sender(&self, source_first: bool) -> Sender {
        if source_first == self.orig_first {
            Sender::Initiator
        } else {
            Sender::Responder
        }
    }

    pub(super) fn is_reuse(&self, source_first: bool, tcp: &Tcp<'_>) -> bool {
        match &self.kind {
            Kind::Tcp(state) => state.is_reuse(self.sender(source_first), tcp),
            Kind::Udp(_) => false,
        }
    }

    /// Takes a SYN for the first segment where a RST that refuses it was captured before it; says whether it did.
    pub(super) fn mends(&mut self, source_first: bool, at: Timestamp, tcp: &Tcp<'_>) -> bool {
        let sender = self.sender(source_first);
        let Kind::Tcp(state) = &mut self.kind else {
            return false;
        };
        let mends = state.was_refused_before(sender, at, tcp);
        if mends && sender == Sender::Responder {
            state.turn();
            self.orig_first = !self.orig_first;
            if let Some(remarks) = &mut self.remarks {
                remarks.turn();
            }
        }
        mends
    }

    /// What the next connection between its endpoints needs to know of it, whose first packet comes from the first
    /// endpoint of the key or not.
    pub(super) fn older(&self, place: Place, orig_first: bool) -> Older {
        let Kind::Tcp(state) = &self.kind else {
            return Older::default();
        };
        let (mut first, mut second) = (&state.orig, &state.resp);
        if orig_first != self.orig_first {
            std::mem::swap(&mut first, &mut second);
        }
        let known = first.isn_known && second.isn_known;
        Older {
            place: Some(place),
            isns: known.then_some([first.isn, second.isn]),
            ends: known.then(|| [first.end(), second.end()]),
            ..Older::default()
        }
    }

    /// Where the connection before it is, as long as it may be told more.
    pub(super) fn older_place(&self) -> Option<Place> {
        match &self.kind {
            Kind::Tcp(state) => state.older.as_ref()?.place,
            Kind::Udp(_) => None,
        }
    }

    /// The same, for the last time.
    pub(super) fn take_older_place(&mut self) -> Option<Place> {
        match &mut self.kind {
            Kind::Tcp(state) => state.older.as_mut()?.place.take(),
            Kind::Udp(_) => None,
        }
    }

    /// Whether its SYN is not answered yet.
    pub(super) fn awaits_answer(&self) -> bool {
        match &self.kind {
            Kind::Tcp(state) => state.awaits_answer(),
            Kind::Udp(_) => false,
        }
    }

    /// Takes in a RST that came after another connection had begun between its endpoints.
    pub(super) fn take_late_reset(&mut self, source_first: bool, segment: &Segment<'_>) {
        let sender = self.sender(source_first);
        if let Kind::Tcp(state) = &mut self.kind {
            state.take_late_reset(&Segment { sender, ..*segment });
        }
    }

    /// Whether both sides are done, so that nothing is to come but repeats.
    pub(super) fn is_settled(&self) -> bool {
        match &self.kind {
            Kind::Tcp(state) => state.is_settled(),
            Kind::Udp(_) => false,
        }
    }

    pub(super) fn class(&self) -> Class {
        match &self.kind {
            Kind::Udp(_) => Class::Udp,
            Kind::Tcp(state) if state.is_settled() => Class::Closed,
            Kind::Tcp(_) => Class::Tcp,
        }
    }

    /// Its events so far, where they are kept.
    pub(super) fn events(&mut self) -> &mut [Event] {
        match &mut self.kind {
            Kind::Tcp(state) => state.kept_events(),
            Kind::Udp(state) => &mut state.events,
        }
    }

    /// How many packets of a sender its receiver threw away.
    pub(super) fn unreadable_of(&self, sender: Sender) -> u64 {
        let remarks = self.remarks.as_ref();
        remarks.map_or(0, |remarks| remarks.checksum_errors_of(sender))
    }

    pub(super) fn steps(&mut self) -> Option<&mut Steps> {
        match &mut self.kind {
            Kind::Tcp(state) => state.steps.as_deref_mut(),
            Kind::Udp(state) => state.steps.as_deref_mut(),
        }
    }

    /// Whether the options of a segment are to be looked at for those of Multipath TCP: it has to do with that, or
    /// the segment is one that would show it.
    #[inline]
    pub(super) fn may_be_multipath(&self, segment: &Segment<'_>) -> bool {
        let known = |remarks: &Remarks| remarks.subflow.is_some();
        if self.remarks.as_deref().is_some_and(known) {
            return true;
        }
        let opens = segment.flags.has(TcpFlags::SYN)
            || matches!(&self.kind, Kind::Tcp(state) if state.side(segment.sender).pkts == 0);
        opens && segment.tcp.may_have_mptcp() && segment.tcp.mptcp().next().is_some()
    }

    /// Takes in what a segment, which it has not taken in yet, says of Multipath TCP.
    #[cold]
    pub(super) fn take_multipath(
        &mut self,
        segment: &Segment<'_>,
        connections: &mut Connections,
    ) -> Option<Signal> {
        let Kind::Tcp(state) = &self.kind else {
            return None;
        };
        if older::is_of_older_rarely(state, segment) {
            return None;
        }
        let remarks = self.remarks.get_or_insert_default();
        let subflow = remarks.subflow.get_or_insert_default();
        let (sender, tcp) = (segment.sender, segment.tcp);
        let me = state.side(sender);
        Some(subflow.take(&Seen { sender, tcp, me }, connections))
    }

    fn subflow(&self) -> Option<&Subflow> {
        self.remarks.as_ref()?.subflow.as_deref()
    }

    /// Whether a RST ended it.
    fn was_reset(&self) -> bool {
        matches!(&self.kind, Kind::Tcp(state) if state.was_reset())
    }

    /// Nothing more comes; its connection of Multipath TCP, if it has one, takes note.
    #[inline]
    pub(super) fn is_over(&self, connections: &mut Connections) {
        if let Some(subflow) = self.subflow() {
            subflow.is_over(self.was_reset(), connections);
        }
    }

    /// What it has to do with Multipath TCP.
    fn multipath(&self, connections: &Connections) -> Option<Box<Multipath>> {
        let told = self.subflow()?.told(self.was_reset(), connections);
        Some(Box::new(told))
    }

    /// The flow that it is when nothing more comes, and that refers to no connection any more.
    pub(super) fn leave(self, connections: &mut Connections) -> Flow {
        self.is_over(connections);
        let connection = self.subflow().and_then(Subflow::connection);
        let flow = self.into_flow(connections);
        if let Some(index) = connection {
            connections.leave(index);
        }
        flow
    }

    pub(super) fn into_flow(self, connections: &Connections) -> Flow {
        let multipath = self.multipath(connections);
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
            fast_open: None,
            reset: None,
            ended: self.ended,
            completeness: 0,
            tunnels: remarks.tunnels,
            multipath,
            icmp_errors: remarks.icmp_errors,
            events: Vec::new(),
            steps: Steps::default(),
            states: Vec::new(),
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
                fast_open: state.orig.watch.as_ref().and_then(|watch| watch.fast_open),
                orig_side: with(
                    state.counters(Sender::Initiator, self.last),
                    orig_wrong,
                    orig_path,
                ),
                resp_side: with(
                    state.counters(Sender::Responder, self.last),
                    resp_wrong,
                    resp_path,
                ),
                history: state.history.text(),
                closed_by: state.closed_by,
                opened_by: state.opened_by,
                reset: state.reset.map(|reset| reset.told),
                completeness: state.completeness,
                events: state.events.map(|events| *events).unwrap_or_default(),
                states: state.states.map(|states| *states).unwrap_or_default(),
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

impl Kind {
    /// Packets of a sender, and their length by the IP header.
    fn counters(&mut self, sender: Sender) -> (&mut u64, &mut u64) {
        match (self, sender) {
            (Self::Tcp(state), Sender::Initiator) => {
                (&mut state.orig.pkts, &mut state.orig.ip_bytes)
            }
            (Self::Tcp(state), Sender::Responder) => {
                (&mut state.resp.pkts, &mut state.resp.ip_bytes)
            }
            (Self::Udp(state), _) => {
                let side = state.side(sender);
                (&mut side.pkts, &mut side.ip_bytes)
            }
        }
    }

    fn history(&mut self) -> &mut History {
        match self {
            Self::Tcp(state) => &mut state.history,
            Self::Udp(state) => &mut state.history,
        }
    }
}
