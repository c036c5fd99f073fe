//! Rules that lose chosen packets.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::packet::{Header, ICMP, TCP, UDP};
use crate::analysis::{Event, EventKind, MAX_PAYLOAD_KEPT_BYTES, Sender, Signals, TcpFlags};
use crate::pattern::{EventPattern, PatternError};
use crate::units::Timestamp;
use crate::wire::{LinkType, Tcp, Transport, decode};

/// The most rules of a link in a cell.
pub const MAX_RULES: usize = 64;

/// Which packets are lost: those that fit, beginning with the `first` of them, then every
/// `every`-th, at most `count`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// How comments name it: `RST from server`.
    pub text: String,
    /// Where a packet comes from; from anywhere without one.
    pub from: Vec<Ipv4Net>,
    /// Where it goes; anywhere without one.
    pub to: Vec<Ipv4Net>,
    /// What it is, as [`EventPattern::parse_alone`] reads it.
    pub event: Option<String>,
    /// Its protocol.
    pub protocol: Option<Protocol>,
    /// One of its ports.
    pub port: Option<u16>,
    /// The first that is lost among those that fit, counted from 1.
    pub first: u64,
    /// How many steps on the next one is.
    pub every: u64,
    /// How many are lost; all without it.
    pub count: Option<u64>,
}

/// A protocol that rules tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "their names say it")]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

impl Protocol {
    /// The protocol of this name, as a matrix file writes it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "tcp" => Some(Self::Tcp),
            "udp" => Some(Self::Udp),
            "icmp" => Some(Self::Icmp),
            _ => None,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
            Self::Icmp => ICMP,
        }
    }
}

/// A rule at work.
#[derive(Debug)]
pub(super) struct Counted {
    rule: Rule,
    event: Option<EventPattern>,
    pub(super) matched: u64,
    pub(super) lost: u64,
}

impl Counted {
    /// A rule that has met nothing.
    pub(super) fn new(rule: Rule) -> Result<Self, PatternError> {
        let event = rule
            .event
            .as_deref()
            .map(EventPattern::parse_alone)
            .transpose()?;
        Ok(Self {
            rule,
            event,
            matched: 0,
            lost: 0,
        })
    }

    /// Whether it takes this packet; counts it.
    pub(super) fn takes(&mut self, header: &Header, packet: &[u8]) -> bool {
        if !self.fits(header, packet) {
            return false;
        }
        self.matched += 1;
        let since = self.matched.checked_sub(self.rule.first);
        let is_turn = since.is_some_and(|since| since.is_multiple_of(self.rule.every.max(1)));
        let taken = is_turn && self.rule.count.is_none_or(|count| self.lost < count);
        self.lost += u64::from(taken);
        taken
    }

    /// How many it shall take, where that is bounded.
    pub(super) fn count(&self) -> Option<u64> {
        self.rule.count
    }

    pub(super) fn text(&self) -> &str {
        &self.rule.text
    }

    fn fits(&self, header: &Header, packet: &[u8]) -> bool {
        let rule = &self.rule;
        within(&rule.from, header.source)
            && within(&rule.to, header.destination)
            && rule.protocol.is_none_or(|p| p.number() == header.protocol)
            && rule.port.is_none_or(|port| {
                let ports = header.ports;
                ports.is_some_and(|(from, to)| port == from || port == to)
            })
            && self.event.as_ref().is_none_or(|event| {
                let events = events(packet);
                (0..events.len()).any(|index| event.takes(&events, index))
            })
    }
}

fn within(networks: &[Ipv4Net], address: Ipv4Addr) -> bool {
    networks.is_empty() || networks.iter().any(|network| network.contains(&address))
}

/// The events that a packet carries, as far as it tells them by itself.
fn events(packet: &[u8]) -> Vec<Event> {
    let len = u32::try_from(packet.len()).unwrap_or(u32::MAX);
    let Ok(read) = decode(LinkType::RawIp, packet, len) else {
        return Vec::new();
    };
    let plain = Event {
        kind: EventKind::Ack,
        sender: Sender::Initiator,
        frame: 0,
        at: Timestamp::default(),
        flags: TcpFlags::default(),
        seq: 0,
        ack: 0,
        len_bytes: 0,
        win_bytes: 0,
        hop_limit: read.hop_limit,
        mss_bytes: None,
        retransmission: false,
        probe: false,
        lost: false,
        coalesced: false,
        older: false,
        fast_open: false,
        foreign: false,
        multipath: Signals::default(),
        payload: Vec::new(),
    };
    match read.transport {
        Transport::Tcp(tcp) => segment_events(&tcp, &plain),
        Transport::Udp(udp) => vec![Event {
            kind: EventKind::Data,
            len_bytes: udp.payload_len_bytes,
            payload: kept(udp.payload),
            ..plain
        }],
        _ => Vec::new(),
    }
}

fn segment_events(tcp: &Tcp<'_>, plain: &Event) -> Vec<Event> {
    let flags = TcpFlags(tcp.flags);
    let multipath = Signals::of(tcp);
    let of_kind = |kind| Event {
        kind,
        flags,
        win_bytes: u32::from(tcp.window),
        multipath,
        ..plain.clone()
    };
    let mut events = Vec::new();
    if flags.has(TcpFlags::SYN) {
        let is_answer = flags.has(TcpFlags::ACK);
        let options = tcp.options();
        events.push(Event {
            mss_bytes: options.mss_bytes,
            fast_open: options.fast_open.is_some(),
            ..of_kind(if is_answer {
                EventKind::SynAck
            } else {
                EventKind::Syn
            })
        });
    }
    if tcp.payload_len_bytes > 0 {
        events.push(Event {
            len_bytes: tcp.payload_len_bytes,
            payload: kept(tcp.payload),
            ..of_kind(EventKind::Data)
        });
    }
    let ends = [
        (TcpFlags::FIN, EventKind::Fin),
        (TcpFlags::RST, EventKind::Rst),
    ];
    events.extend(
        ends.iter()
            .filter(|(flag, _)| flags.has(*flag))
            .map(|(_, kind)| of_kind(*kind)),
    );
    if events.is_empty() {
        events.push(of_kind(EventKind::Ack));
    }
    events
}

fn kept(payload: &[u8]) -> Vec<u8> {
    payload[..payload.len().min(MAX_PAYLOAD_KEPT_BYTES)].to_vec()
}
