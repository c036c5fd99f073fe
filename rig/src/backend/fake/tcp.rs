//! A small TCP: two ends, their RFC 9293 states, and the segments that they send. Nothing is lost
//! and nothing takes time, so there are no timers and no windows.

use std::net::SocketAddrV4;

use super::process::Pid;
use crate::units::HostName;

/// Payload bytes of a full segment on a link of 1500 bytes, without options.
pub(super) const MSS_BYTES: u16 = 1460;

/// A connection, by the order in which they were opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnId(pub(super) usize);

/// One of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// States of RFC 9293 section 3.3.2 that this TCP passes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    SynSent,
    SynReceived,
    Established,
    FinWait2,
    CloseWait,
    TimeWait,
    Closed,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SynSent => "SYN_SENT",
            Self::SynReceived => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait2 => "FIN_WAIT_2",
            Self::CloseWait => "CLOSE_WAIT",
            Self::TimeWait => "TIME_WAIT",
            Self::Closed => "CLOSED",
        }
    }
}

/// One end of a connection.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) host: HostName,
    pub(super) address: SocketAddrV4,
    /// The process that has the socket open; `None` once it was closed.
    pub(super) owner: Option<Pid>,
    pub(super) state: State,
    /// Bytes received that the program has not read.
    pub(super) unread: u32,
    /// Sequence number of the next byte to send.
    next_seq: u32,
    /// Sequence number expected from the peer.
    expected: u32,
}

/// Two ends.
#[derive(Debug, Clone)]
pub(super) struct Conn {
    client: End,
    server: End,
}

/// A TCP segment, without its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) from: Side,
    pub(super) seq: u32,
    /// `None` without the ACK flag.
    pub(super) ack: Option<u32>,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) payload: Vec<u8>,
}

impl End {
    fn new(host: HostName, address: SocketAddrV4, owner: Option<Pid>, initial_seq: u32) -> Self {
        Self {
            host,
            address,
            owner,
            state: State::Closed,
            unread: 0,
            next_seq: initial_seq,
            expected: 0,
        }
    }
}

impl Conn {
    /// Two closed ends; `server.2` is the listener's process, if anybody listens.
    pub(super) fn new(
        number: usize,
        client: (HostName, SocketAddrV4, Pid),
        server: (HostName, SocketAddrV4, Option<Pid>),
    ) -> Self {
        // Any number does; these make a hex dump of two connections tell apart.
        let initial = u32::try_from(number).map_or(0, |n| n.wrapping_mul(1_000_000));
        Self {
            client: End::new(
                client.0,
                client.1,
                Some(client.2),
                initial.wrapping_add(1000),
            ),
            server: End::new(server.0, server.1, server.2, initial.wrapping_add(500_000)),
        }
    }

    pub(super) fn end(&self, side: Side) -> &End {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    pub(super) fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// The handshake, or its refusal when nobody listens; whether it is established.
    pub(super) fn open(&mut self, segments: &mut Vec<Segment>) -> bool {
        self.client.state = State::SynSent;
        segments.push(Segment {
            syn: true,
            ack: None,
            ..self.segment(Side::Client)
        });
        self.advance(Side::Client, 1);
        if self.server.owner.is_none() {
            // RFC 9293 section 3.10.7.1: the RST of a closed port acknowledges the SYN.
            segments.push(Segment {
                seq: 0,
                rst: true,
                ..self.segment(Side::Server)
            });
            self.client.state = State::Closed;
            return false;
        }
        self.server.state = State::SynReceived;
        segments.push(Segment {
            syn: true,
            ..self.segment(Side::Server)
        });
        self.advance(Side::Server, 1);
        segments.push(self.segment(Side::Client));
        self.client.state = State::Established;
        self.server.state = State::Established;
        true
    }

    /// Sends bytes; false when the peer's socket is gone and it answered with a RST.
    pub(super) fn send(&mut self, side: Side, bytes: &[u8], segments: &mut Vec<Segment>) -> bool {
        if !matches!(self.end(side).state, State::Established | State::CloseWait) {
            return true; // the program wrote to a connection it has shut down
        }
        for part in bytes.chunks(usize::from(MSS_BYTES)) {
            segments.push(Segment {
                payload: part.to_vec(),
                ..self.segment(side)
            });
            self.advance(side, part.len());
            if self.is_gone(side.other()) {
                self.reset(side.other(), segments);
                return false;
            }
            segments.push(self.segment(side.other()));
        }
        true
    }

    /// Ends the sending half; true when the peer has just learnt of it.
    pub(super) fn shutdown(&mut self, side: Side, segments: &mut Vec<Segment>) -> bool {
        let next = match self.end(side).state {
            State::Established => State::FinWait2,
            State::CloseWait => State::Closed,
            _ => return false,
        };
        segments.push(Segment {
            fin: true,
            ..self.segment(side)
        });
        self.advance(side, 1);
        segments.push(self.segment(side.other()));
        self.end_mut(side).state = next;
        let peer = self.end_mut(side.other());
        peer.state = match peer.state {
            State::FinWait2 => State::TimeWait,
            _ => State::CloseWait,
        };
        true
    }

    /// Closes the socket: a FIN, or a RST when bytes are thrown away unread (RFC 2525 section
    /// 2.17). What the peer learns: nothing, the end, or a reset.
    pub(super) fn close(&mut self, side: Side, segments: &mut Vec<Segment>) -> Closed {
        self.end_mut(side).owner = None;
        if self.end(side).state == State::Closed {
            return Closed::Quietly;
        }
        if self.end(side).unread > 0 {
            self.reset(side, segments);
            return Closed::ByReset;
        }
        if self.shutdown(side, segments) {
            Closed::ByFin
        } else {
            Closed::Quietly
        }
    }

    /// Sends a RST; both ends are gone.
    pub(super) fn reset(&mut self, side: Side, segments: &mut Vec<Segment>) {
        segments.push(Segment {
            rst: true,
            ..self.segment(side)
        });
        self.end_mut(side).owner = None;
        self.client.state = State::Closed;
        self.server.state = State::Closed;
    }

    /// Nobody can read at this end any more.
    fn is_gone(&self, side: Side) -> bool {
        self.end(side).owner.is_none() || self.end(side).state == State::Closed
    }

    /// A bare acknowledgement.
    fn segment(&self, from: Side) -> Segment {
        let end = self.end(from);
        Segment {
            from,
            seq: end.next_seq,
            ack: Some(end.expected),
            syn: false,
            fin: false,
            rst: false,
            payload: vec![],
        }
    }

    /// `side` sent something that counts `len` sequence numbers, and the peer received it.
    fn advance(&mut self, side: Side, len: usize) {
        let end = self.end_mut(side);
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        end.next_seq = end.next_seq.wrapping_add(len);
        let next = end.next_seq;
        self.end_mut(side.other()).expected = next;
    }
}

/// What the peer of a closed socket learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    Quietly,
    ByFin,
    ByReset,
}
