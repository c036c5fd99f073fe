//! What is known of one connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fast_open::FastOpen;
use super::multipath::{Multipath, Signals};
use super::remarks::{IcmpErrors, Path};
use super::reset::Reset;
use super::rfc9293::RfcState;
use super::step::{StateChange, Steps};
use super::trouble::Trouble;
use crate::units::Timestamp;
use crate::wire::{TcpOptions, Tunnels};

/// Address and port of one side.
pub type Endpoint = SocketAddr;

/// Transport protocol of a flow.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Proto {
    /// TCP, RFC 9293.
    Tcp,
    /// UDP, RFC 768.
    Udp,
}

impl Proto {
    /// The name as JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Which side of a flow sent something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sender {
    /// The side that opened the connection: `>` in patterns, capital letters in `history`.
    Initiator,
    /// The other side: `<` in patterns, small letters in `history`.
    Responder,
}

impl Sender {
    /// The opposite side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }

    /// Its place in pairs that have the initiator first.
    #[inline]
    pub(super) fn place(self) -> usize {
        usize::from(self == Self::Responder)
    }

    /// The side at a place.
    pub(super) fn at(place: usize) -> Self {
        if place == 0 {
            Self::Initiator
        } else {
            Self::Responder
        }
    }

    /// `>` or `<`, as patterns write it.
    #[must_use]
    pub fn arrow(self) -> char {
        match self {
            Self::Initiator => '>',
            Self::Responder => '<',
        }
    }

    /// `initiator` or `responder`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Initiator => "initiator",
            Self::Responder => "responder",
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Who closed a connection: the sender of its first FIN or RST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Closer {
    /// The initiator.
    Initiator,
    /// The responder.
    Responder,
    /// Neither: the RST came under the name of a side that did not send it.
    Neither,
}

impl Closer {
    /// The name as JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Initiator => Sender::Initiator.name(),
            Self::Responder => Sender::Responder.name(),
            Self::Neither => "neither",
        }
    }

    /// The side, if it was one.
    #[must_use]
    pub fn side(self) -> Option<Sender> {
        match self {
            Self::Initiator => Some(Sender::Initiator),
            Self::Responder => Some(Sender::Responder),
            Self::Neither => None,
        }
    }
}

impl From<Sender> for Closer {
    fn from(side: Sender) -> Self {
        match side {
            Sender::Initiator => Self::Initiator,
            Sender::Responder => Self::Responder,
        }
    }
}

impl fmt::Display for Closer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a connection ended, in Zeek's words (`conn_state` of `conn.log`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConnState {
    /// Connection attempt seen, no reply.
    S0,
    /// Established, not terminated.
    S1,
    /// Normal establishment and termination.
    SF,
    /// Connection attempt rejected.
    REJ,
    /// Established, and a close attempt by the initiator seen, but no reply from the responder.
    S2,
    /// Established, and a close attempt by the responder seen, but no reply from the initiator.
    S3,
    /// Established, the initiator aborted (sent a RST).
    RSTO,
    /// The responder sent a RST.
    RSTR,
    /// The initiator sent a SYN followed by a RST; no SYN-ACK from the responder.
    RSTOS0,
    /// The responder sent a SYN-ACK followed by a RST; no SYN from the (purported) initiator.
    RSTRH,
    /// The initiator sent a SYN followed by a FIN; no SYN-ACK from the responder.
    SH,
    /// The responder sent a SYN-ACK followed by a FIN; no SYN from the initiator.
    SHR,
    /// No SYN seen, just midstream traffic.
    OTH,
}

impl ConnState {
    /// Every state, in the order of Zeek's documentation.
    pub const ALL: [Self; 13] = [
        Self::S0,
        Self::S1,
        Self::SF,
        Self::REJ,
        Self::S2,
        Self::S3,
        Self::RSTO,
        Self::RSTR,
        Self::RSTOS0,
        Self::RSTRH,
        Self::SH,
        Self::SHR,
        Self::OTH,
    ];

    /// The state's name as Zeek writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::S0 => "S0",
            Self::S1 => "S1",
            Self::SF => "SF",
            Self::REJ => "REJ",
            Self::S2 => "S2",
            Self::S3 => "S3",
            Self::RSTO => "RSTO",
            Self::RSTR => "RSTR",
            Self::RSTOS0 => "RSTOS0",
            Self::RSTRH => "RSTRH",
            Self::SH => "SH",
            Self::SHR => "SHR",
            Self::OTH => "OTH",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl fmt::Display for ConnState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The flags of a TCP header, RFC 9293 section 3.1, in wire order (`tcp.flags` in Wireshark).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// Finish: no more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement field is significant.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is significant.
    pub const URG: Self = Self(0x20);

    /// Whether every flag of `flags` is set.
    #[must_use]
    pub fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl fmt::Display for TcpFlags {
    /// As Wireshark's info column: `[FIN, ACK]` without the brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::SYN, "SYN"),
            (Self::FIN, "FIN"),
            (Self::RST, "RST"),
            (Self::PSH, "PSH"),
            (Self::ACK, "ACK"),
            (Self::URG, "URG"),
        ];
        let set: Vec<_> = names
            .iter()
            .filter(|(flag, _)| self.has(*flag))
            .map(|(_, n)| *n)
            .collect();
        f.pad(&set.join(", "))
    }
}

/// What a segment carries, as patterns name it.
///
/// A segment yields, in this order, those that it carries; `Ack` when it carries nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum EventKind {
    /// SYN without ACK.
    Syn,
    /// SYN with ACK.
    SynAck,
    /// Payload bytes, or a datagram.
    Data,
    /// FIN.
    Fin,
    /// RST, with or without ACK.
    Rst,
    /// An acknowledgement alone.
    Ack,
}

impl EventKind {
    /// The name as patterns write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Syn => "SYN",
            Self::SynAck => "SYN-ACK",
            Self::Data => "DATA",
            Self::Fin => "FIN",
            Self::Rst => "RST",
            Self::Ack => "ACK",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One event of a flow. Several events may share a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent observations")]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Who sent it.
    pub sender: Sender,
    /// `frame.number` in the capture: the first record is 1.
    pub frame: u64,
    /// When it was captured.
    pub at: Timestamp,
    /// All flags of the segment.
    pub flags: TcpFlags,
    /// Sequence number relative to the sender's initial one (`tcp.seq`).
    pub seq: u32,
    /// Acknowledgement number relative to the peer's initial one (`tcp.ack`); 0 without ACK.
    pub ack: u32,
    /// Payload bytes of the segment by its IP length; 0 for events without payload.
    pub len_bytes: u32,
    /// Receive window as announced, scaled when both SYNs were seen (`tcp.window_size`).
    pub win_bytes: u32,
    /// Hop limit of its packet: the time to live of IPv4 (`ip.ttl`), the hop limit of IPv6.
    pub hop_limit: u8,
    /// Maximum segment size option, on SYN and SYN-ACK only.
    pub mss_bytes: Option<u16>,
    /// Its sequence range was sent before (`tcp.analysis.retransmission`). A keep-alive is not a
    /// retransmission, and neither are bytes that come late and for the first time.
    pub retransmission: bool,
    /// A retransmission that is a tail loss probe (RFC 8985, section 7), as far as that is certain.
    pub probe: bool,
    /// It was seen leaving and never arriving; known only where several captures are compared.
    pub lost: bool,
    /// The segment carries bytes of more than one write of the program, as far as the wire tells:
    /// it repeats bytes of several earlier segments, or repeats some and goes on to new ones.
    /// Writes that were joined before they were first sent leave no trace.
    pub coalesced: bool,
    /// It is of an older connection between the same endpoints.
    pub older: bool,
    /// A SYN or SYN-ACK with a Fast Open option (RFC 7413).
    pub fast_open: bool,
    /// A RST that the side did not send under whose name it came, as far as that is known.
    pub foreign: bool,
    /// What the segment says of Multipath TCP.
    pub multipath: Signals,
    /// The first bytes of the payload, at most `analysis::MAX_PAYLOAD_KEPT_BYTES`; empty unless
    /// payload was asked to be kept.
    pub payload: Vec<u8>,
}

/// Options that a SYN or SYN-ACK announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SynOptions {
    /// Maximum segment size, RFC 9293 section 3.7.1.
    pub mss_bytes: Option<u16>,
    /// Window scale shift, RFC 7323 section 2.
    pub window_scale: Option<u8>,
    /// SACK permitted, RFC 2018 section 2.
    pub sack_permitted: bool,
    /// Timestamps, RFC 7323 section 3.
    pub timestamps: bool,
}

impl SynOptions {
    /// Those of them that both sides' fields show.
    pub(super) fn of(options: &TcpOptions) -> Self {
        Self {
            mss_bytes: options.mss_bytes,
            window_scale: options.window_scale,
            sack_permitted: options.sack_permitted,
            timestamps: options.timestamps.is_some(),
        }
    }
}

/// Counters of one side of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Side {
    /// Packets sent.
    pub pkts: u64,
    /// Bytes of IP packets sent (Zeek's `orig_ip_bytes`).
    pub ip_bytes: u64,
    /// Payload bytes by sequence numbers for TCP, by datagram length for UDP (`orig_bytes`).
    pub bytes: u64,
    /// Bytes that the peer acknowledged and that the capture does not hold (Zeek's `missed_bytes`
    /// is the sum of both sides).
    pub missed_bytes: u64,
    /// Packets whose TCP or UDP checksum is wrong. They count as packets and for nothing else.
    pub checksum_errors: u64,
    /// Payload bytes that were captured and that the peer never acknowledged; 0 for UDP.
    pub unacked_bytes: u64,
    /// Its FIN was captured, and neither acknowledged nor taken by a RST of the peer.
    pub fin_unacknowledged: bool,
    /// Options of its SYN, when one was seen.
    pub syn: Option<SynOptions>,
    /// Where it stood at last; none where the capture does not tell, and for UDP.
    pub state: Option<RfcState>,
    /// What became of its packets; known only where several captures were compared.
    pub path: Option<Path>,
    /// What went less than smoothly, if anything did.
    pub trouble: Option<Box<Trouble>>,
}

impl Side {
    /// Segments whose sequence range was sent before.
    #[must_use]
    pub fn retransmissions(&self) -> u32 {
        self.trouble.as_ref().map_or(0, |t| t.retransmissions)
    }
}

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Opener {
    /// The initiator sent a SYN.
    Initiator,
    /// Both sent a SYN that answers none: a simultaneous open.
    Both,
}

impl Opener {
    /// The name as JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Initiator => "initiator",
            Self::Both => "both",
        }
    }
}

/// Why a flow ended before the capture did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// It was idle for longer than the timeout.
    Timeout,
    /// A new connection between the same endpoints took its place.
    Reuse,
}

impl Ended {
    /// The name as JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Reuse => "reuse",
        }
    }
}

/// One connection (TCP) or conversation (UDP).
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    /// Transport protocol.
    pub proto: Proto,
    /// The side that opened it.
    pub orig: Endpoint,
    /// The other side.
    pub resp: Endpoint,
    /// First packet.
    pub first: Timestamp,
    /// Last packet.
    pub last: Timestamp,
    /// Its number among the flows of the capture, in the order of their first packets, from 1 on.
    pub number: u64,
    /// Frame number of the first packet.
    pub first_frame: u64,
    /// Counters of the initiator.
    pub orig_side: Side,
    /// Counters of the responder.
    pub resp_side: Side,
    /// How it ended.
    pub conn_state: ConnState,
    /// Zeek's `history` string.
    pub history: String,
    /// Who sent the first FIN or RST, if anybody did.
    pub closed_by: Option<Closer>,
    /// Who opened it; none where no SYN of the initiator was seen.
    pub opened_by: Option<Opener>,
    /// What Fast Open did for it, if its SYN had a cookie, asked for one, or had payload.
    pub fast_open: Option<FastOpen>,
    /// The first RST, if there was one.
    pub reset: Option<Reset>,
    /// Why it ended before the capture did, if it did.
    pub ended: Option<Ended>,
    /// Wireshark's `tcp.completeness` bits.
    pub completeness: u8,
    /// The encapsulations that its first packet came in.
    pub tunnels: Tunnels,
    /// What it has to do with Multipath TCP, if anything.
    pub multipath: Option<Box<Multipath>>,
    /// ICMP errors about its packets, in the order of the first of each kind.
    pub icmp_errors: Vec<IcmpErrors>,
    /// The events in capture order; empty unless they were asked to be kept.
    pub events: Vec<Event>,
    /// Segment by segment; empty unless that was asked for.
    pub steps: Steps,
    /// When the states of a connection's sides changed; empty unless that was asked for.
    pub states: Vec<StateChange>,
}

impl Flow {
    /// Time from the first to the last packet.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.last.since(self.first)
    }

    /// Address of one side.
    #[must_use]
    pub fn endpoint(&self, side: Sender) -> Endpoint {
        match side {
            Sender::Initiator => self.orig,
            Sender::Responder => self.resp,
        }
    }

    /// Whether either side has this address.
    #[must_use]
    pub fn involves(&self, address: IpAddr) -> bool {
        self.orig.ip() == address || self.resp.ip() == address
    }
}
