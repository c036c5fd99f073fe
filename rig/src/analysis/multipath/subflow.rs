//! One subflow, as its segments come in.

use super::connection::Connections;
use super::signals::{Signal, Signals};
use super::told::{Fallback, Joined, Multipath, Role};
use crate::analysis::flow::{Sender, TcpFlags};
use crate::analysis::side::{SideState, low32};
use crate::wire::{
    Capable, DataNumber, Dss, Join, Key, Mapping, MptcpOption, ResetReason, Tcp, Token,
};

/// What is kept of a flow that has anything to do with Multipath TCP.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent observations")]
pub(in crate::analysis) struct Subflow {
    role: Option<Role>,
    version: Option<u8>,
    keys: [Option<Key>; 2],
    /// The name by which it joined.
    token: Option<Token>,
    address_ids: [Option<u8>; 2],
    /// The place of its connection.
    connection: Option<usize>,
    /// Its initiator is the responder of the connection's first subflow.
    flipped: bool,
    /// It counts among the subflows of its connection.
    counts: bool,
    /// A SYN-ACK has come, with the option or without.
    answer: Option<bool>,
    /// The third segment of a join has come.
    confirmed: bool,
    /// A mapping without end has come.
    infinite: bool,
    reset_reason: Option<(Sender, ResetReason)>,
    sides: [SubflowSide; 2],
}

/// The same of one side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct SubflowSide {
    /// It has sent segments after its SYN, with options of Multipath TCP or without.
    confirms: bool,
    spoke_plainly: bool,
    /// Where the latest mapping stands.
    mapping: Option<Mapped>,
    /// What the numbers of its mappings are ahead of those of its segments, where its SYN was not seen.
    ahead: Option<u32>,
    /// Its last `DATA_ACK`.
    ack: Option<DataNumber>,
    reinjected_bytes: u64,
}

/// A mapping in positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mapped {
    /// Sequence number of its first byte, relative to the initial one.
    subflow_seq: u32,
    /// Data number of its first byte, relative to the initial one.
    data: u64,
    /// Bytes of payload.
    len: u32,
}

/// A segment, as far as it matters here.
#[derive(Clone, Copy)]
pub(in crate::analysis) struct Seen<'a> {
    pub(in crate::analysis) sender: Sender,
    pub(in crate::analysis) tcp: &'a Tcp<'a>,
    /// Its sender, which has not taken it in yet.
    pub(in crate::analysis) me: &'a SideState,
}

impl Seen<'_> {
    fn has(&self, flag: TcpFlags) -> bool {
        TcpFlags(self.tcp.flags).has(flag)
    }

    /// Position of its first payload byte on the subflow.
    fn position(&self) -> u32 {
        let syn = u32::from(self.has(TcpFlags::SYN));
        if self.me.isn_known {
            low32(self.me.position(self.tcp.seq).cast_unsigned()).wrapping_add(syn)
        } else {
            1
        }
    }

    /// How many of its first payload bytes the subflow has carried before.
    fn carried_before(&self) -> u32 {
        if !self.me.isn_known {
            return 0;
        }
        let before = self.me.end().since(self.tcp.seq);
        u32::try_from(before).unwrap_or_default()
    }
}

impl Subflow {
    /// Takes in a segment, and tells what it says.
    pub(in crate::analysis) fn take(
        &mut self,
        seen: &Seen<'_>,
        connections: &mut Connections,
    ) -> Signal {
        let mut signal = Signal::default();
        let (me, tcp) = (seen.sender.place(), seen.tcp);
        let mut mapping = None;
        for option in tcp.mptcp() {
            signal.signals = signal.signals.with_option(option);
            match option {
                MptcpOption::Capable(capable) => {
                    self.take_capable(seen, capable, connections);
                    mapping = mapping.or(first_data(capable));
                }
                MptcpOption::Join(join) => self.take_join(me, join, connections),
                MptcpOption::Dss(dss) => {
                    self.refer(connections);
                    self.take_ack(seen, &dss, connections, &mut signal);
                    mapping = mapping.or(dss.mapping.map(|mapping| (mapping, dss.fin)));
                    if dss.fin && dss.mapping.is_none() {
                        self.finish(me, None, connections);
                    }
                }
                MptcpOption::FastClose => self.abort(me, connections),
                MptcpOption::Reset(reason) => {
                    self.reset_reason.get_or_insert((seen.sender, reason));
                }
                _ => {}
            }
            signal.is_news |= !matches!(option, MptcpOption::Dss(dss) if !dss.fin);
        }
        if let Some((mapping, fin)) = mapping {
            self.take_mapping(seen, mapping, fin, connections);
        }
        if tcp.payload_len_bytes > 0 {
            self.take_payload(seen, connections, &mut signal);
        }
        self.note_handshake(seen, signal.signals, connections);
        signal
    }

    fn take_capable(&mut self, seen: &Seen<'_>, capable: Capable, connections: &mut Connections) {
        let me = seen.sender.place();
        let (syn, answers) = (seen.has(TcpFlags::SYN), seen.has(TcpFlags::ACK));
        self.role.get_or_insert(Role::Initial);
        // Who answers has the last word.
        if self.version.is_none() || (syn && answers) {
            self.version = Some(capable.version);
        }
        let keys = [(me, capable.sender_key), (1 - me, capable.receiver_key)];
        for (side, key) in keys {
            if let Some(key) = key {
                self.keys[side].get_or_insert(key);
            }
        }
        if syn && !answers {
            return;
        }
        self.refer(connections);
        let version = self.version.unwrap_or(capable.version);
        for (side, key) in (0..).zip(self.keys) {
            if let (Some(index), Some(key)) = (self.connection, key) {
                connections.knows_key(index, side, key, version);
            }
        }
    }

    fn take_join(&mut self, me: usize, join: Join, connections: &mut Connections) {
        self.role = Some(Role::Join);
        match join {
            Join::Syn {
                token, address_id, ..
            } => {
                self.address_ids[me] = Some(address_id);
                self.token = Some(token);
                if self.connection.is_none() {
                    let (index, of_initiator) = connections.join(token);
                    self.connection = Some(index);
                    // It is the connection's initiator to whom it was sent.
                    self.flipped = of_initiator;
                }
            }
            Join::SynAck { address_id, .. } => self.address_ids[me] = Some(address_id),
            Join::Ack => self.confirmed = true,
        }
    }

    /// Gives it a connection if it has none: one whose beginning was not seen.
    fn refer(&mut self, connections: &mut Connections) {
        if self.connection.is_none() {
            self.connection = Some(connections.begin());
        }
        if self.role != Some(Role::Join) {
            self.count(connections);
        }
    }

    /// Counts it among the subflows of its connection.
    fn count(&mut self, connections: &mut Connections) {
        if self.counts {
            return;
        }
        if let Some(connection) = self.connection.and_then(|index| connections.get(index)) {
            connection.subflows += 1;
            self.counts = true;
        }
    }

    /// Which side of its connection a side of it is.
    fn side(&self, me: usize) -> usize {
        if self.flipped { 1 - me } else { me }
    }

    fn take_ack(
        &mut self,
        seen: &Seen<'_>,
        dss: &Dss,
        connections: &mut Connections,
        signal: &mut Signal,
    ) {
        let me = seen.sender.place();
        let Some(number) = dss.ack else {
            return;
        };
        // While something is lost on the subflow, data of others moves the DATA_ACK of its duplicate ACKs.
        let moved = self.sides[me].ack.replace(number) != Some(number);
        signal.is_news |= moved && !seen.tcp.has_sack_blocks();
        let side = self.side(me);
        let Some(connection) = self.connection.and_then(|index| connections.get(index)) else {
            return;
        };
        if let Some(position) = connection.position(1 - side, number) {
            connection.acknowledged(side, position);
            signal.ack = Some(position);
        }
    }

    fn take_mapping(
        &mut self,
        seen: &Seen<'_>,
        mapping: Mapping,
        fin: bool,
        connections: &mut Connections,
    ) {
        let me = seen.sender.place();
        let side = self.side(me);
        let Some(connection) = self.connection.and_then(|index| connections.get(index)) else {
            return;
        };
        if mapping.len_bytes == 0 {
            self.infinite = true;
            return;
        }
        let Some(data) = connection.position(side, mapping.number) else {
            return;
        };
        let len = u32::from(mapping.len_bytes) - u32::from(fin);
        if fin {
            connection.finished(side, Some(data + u64::from(len)));
        }
        if len == 0 {
            return;
        }
        let known = seen.me.syn.is_some();
        let half = &mut self.sides[me];
        // Without its SYN, a segment with a mapping is taken for the beginning of that, until one shows that it stood
        // further behind.
        let ahead = if known {
            0
        } else {
            let distance = mapping.subflow_seq.wrapping_sub(seen.position());
            let ahead = half.ahead.get_or_insert(distance);
            if distance.wrapping_sub(*ahead).cast_signed() > 0 {
                *ahead = distance;
            }
            *ahead
        };
        half.mapping = Some(Mapped {
            subflow_seq: mapping.subflow_seq.wrapping_sub(ahead),
            data,
            len,
        });
    }

    /// Takes in payload by the mapping that it belongs to.
    fn take_payload(
        &mut self,
        seen: &Seen<'_>,
        connections: &mut Connections,
        signal: &mut Signal,
    ) {
        let me = seen.sender.place();
        let Some(mapped) = self.sides[me].mapping else {
            return;
        };
        let len = seen.tcp.payload_len_bytes;
        let offset = seen.position().wrapping_sub(mapped.subflow_seq);
        if offset >= mapped.len {
            return;
        }
        let len = len.min(mapped.len - offset);
        let start = mapped.data + u64::from(offset);
        let end = start + u64::from(len);
        let new = start + u64::from(seen.carried_before());
        let side = self.side(me);
        if let Some(connection) = self.connection.and_then(|index| connections.get(index)) {
            let again = connection.sent(side, start, new, end);
            self.sides[me].reinjected_bytes += again;
            if again > 0 {
                signal.signals = signal.signals.with(Signals::REINJECTED);
            }
            signal.data = Some((start, end));
        }
    }

    fn finish(&mut self, me: usize, position: Option<u64>, connections: &mut Connections) {
        let side = self.side(me);
        if let Some(connection) = self.connection.and_then(|index| connections.get(index)) {
            connection.finished(side, position);
        }
    }

    fn abort(&mut self, me: usize, connections: &mut Connections) {
        self.refer(connections);
        let side = self.side(me);
        if let Some(connection) = self.connection.and_then(|index| connections.get(index)) {
            connection.aborted(side);
        }
    }

    /// Takes note of who has answered with what.
    fn note_handshake(&mut self, seen: &Seen<'_>, signals: Signals, connections: &mut Connections) {
        let has_option = signals.has(Signals::ANY);
        if seen.has(TcpFlags::RST) {
            return;
        }
        if seen.has(TcpFlags::SYN) {
            if seen.has(TcpFlags::ACK) {
                self.answer = Some(self.answer.unwrap_or_default() || has_option);
            }
            return;
        }
        let half = &mut self.sides[seen.sender.place()];
        half.confirms |= has_option;
        half.spoke_plainly |= !has_option;
        let began_before = self.answer.is_none() && has_option;
        // It sends nothing but its SYN-ACK before the third segment has come (RFC 8684, 3.2), which may be missing.
        let confirmed = self.confirmed || (self.answer == Some(true) && has_option);
        let accepts = confirmed && seen.sender == Sender::Responder;
        if self.role == Some(Role::Join) && (accepts || began_before) {
            self.count(connections);
        }
    }

    /// Nothing more comes on it; it was reset or not.
    pub(in crate::analysis) fn is_over(&self, reset: bool, connections: &mut Connections) {
        if let Some(index) = self.connection
            && reset
            && self.counts
        {
            connections.was_reset(index);
        }
    }

    /// The place of its connection.
    pub(in crate::analysis) fn connection(&self) -> Option<usize> {
        self.connection
    }

    fn fallback(&self) -> Option<Fallback> {
        let plain = |side: &SubflowSide| side.spoke_plainly && !side.confirms;
        if self.role != Some(Role::Initial) {
            return None;
        }
        match self.answer {
            Some(false) => Some(Fallback::NotAnswered),
            Some(true) if self.sides.iter().any(plain) => Some(Fallback::NotConfirmed),
            _ => self.infinite.then_some(Fallback::InfiniteMapping),
        }
    }

    /// What there is to tell of it; it was reset or not.
    pub(in crate::analysis) fn told(&self, reset: bool, connections: &Connections) -> Multipath {
        let fallback = self.fallback();
        let joined = (self.role == Some(Role::Join)).then_some(if self.counts {
            Joined::Accepted
        } else if reset || self.answer == Some(false) {
            Joined::Refused
        } else {
            Joined::Unfinished
        });
        let connection = self
            .connection
            .and_then(|index| connections.told(index, self.flipped));
        let token = connection.and_then(|(_, token)| token).or(self.token);
        let is_plain = matches!(
            fallback,
            Some(Fallback::NotAnswered | Fallback::NotConfirmed | Fallback::InfiniteMapping)
        );
        Multipath {
            role: self.role,
            version: self.version,
            token,
            keys: self.keys,
            address_ids: self.address_ids,
            joined,
            fallback,
            reset_reason: self.reset_reason,
            reinjected_bytes: [&self.sides[0], &self.sides[1]].map(|side| side.reinjected_bytes),
            connection: connection
                .map(|(connection, _)| connection)
                // There is none yet where a join is all that was seen, and was not accepted.
                .filter(|connection| !is_plain && connection.subflows > 0),
        }
    }
}

/// The mapping of the first data of a connection, which version 1 leaves to `MP_CAPABLE`: it begins with the first
/// number of both.
fn first_data(capable: Capable) -> Option<(Mapping, bool)> {
    let len_bytes = capable.data_len_bytes?;
    let (_, first) = capable.sender_key?.derive(capable.version);
    let mapping = Mapping {
        number: DataNumber::Whole(first.wrapping_add(1)),
        subflow_seq: 1,
        len_bytes,
    };
    Some((mapping, false))
}
