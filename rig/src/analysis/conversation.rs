//! A flow while its packets come in.

use super::expiry::Class;
use super::fate;
use super::flow::{Ended, Event, Flow, Sender, Side};
use super::history::History;
use super::key::Key;
use super::remarks::Remarks;
use super::step::Steps;
use super::tcp::TcpState;
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

/// Memory grows by this for each flow, beside its place in the hash table, while no events are kept
/// and its numbers have no holes.
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
            Kind::Tcp(state) => state
                .events
                .as_deref_mut()
                .map_or(&mut [], Vec::as_mut_slice),
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

    pub(super) fn into_flow(self) -> Flow {
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
                orig_side: with(state.orig.counters(state.resp.state), orig_wrong, orig_path),
                resp_side: with(state.resp.counters(state.orig.state), resp_wrong, resp_path),
                history: state.history.text(),
                closed_by: state.closed_by,
                opened_by: state.opened_by,
                reset: state.reset.map(|reset| *reset),
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
