//! A connection segment by segment, for those who want to look at it.

use super::flow::{Sender, SynOptions, TcpFlags};
use super::mark::Marks;
use super::rfc9293::RfcState;
use super::side::low32;
use super::tcp::{Judgement, Segment, TcpState};
use super::udp::Datagram;
use crate::units::Timestamp;
use crate::wire::Cookie;

/// The most steps that are kept of a flow; further ones are counted.
pub const MAX_STEPS_KEPT: usize = 100_000;

/// The most comments that are kept of a packet.
pub const MAX_COMMENTS_KEPT: usize = 16;

/// One segment or datagram, and where it brought both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `frame.number` in the capture.
    pub frame: u64,
    /// When it was captured.
    pub at: Timestamp,
    /// Who sent it.
    pub sender: Sender,
    /// Its flags; none for a datagram.
    pub flags: TcpFlags,
    /// Sequence number relative to the sender's initial one (`tcp.seq`).
    pub seq: u32,
    /// Acknowledgement number relative to the peer's initial one (`tcp.ack`); 0 without ACK.
    pub ack: u32,
    /// Payload bytes by the IP length.
    pub len_bytes: u32,
    /// Receive window, scaled when both SYNs were seen (`tcp.window_size`).
    pub win_bytes: u32,
    /// Hop limit of its packet: the time to live of IPv4 (`ip.ttl`), the hop limit of IPv6.
    pub hop_limit: u8,
    /// Options of a SYN or SYN-ACK.
    pub syn: Option<SynOptions>,
    /// Fast Open option (RFC 7413) of a SYN or SYN-ACK.
    pub fast_open: Option<Cookie>,
    /// What is remarkable about it.
    pub marks: Marks,
    /// What it says of Multipath TCP, option by option.
    pub multipath: Vec<String>,
    /// State of the initiator and of the responder after it; none where the capture does not tell,
    /// and for UDP.
    pub states: [Option<RfcState>; 2],
    /// What the capture says of it (`opt_comment`), as it stands there.
    pub comments: Vec<String>,
}

/// Where a segment brought both sides, where it moved one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateChange {
    /// When the segment was captured.
    pub at: Timestamp,
    /// State of the initiator and of the responder after it; none where the capture does not tell.
    pub states: [Option<RfcState>; 2],
}

/// The steps of a flow, no more than [`MAX_STEPS_KEPT`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steps {
    /// The first of them, in capture order.
    pub kept: Vec<Step>,
    /// How many came after them.
    pub left_out: u64,
}

impl Steps {
    pub(super) fn push(&mut self, step: Step) {
        if self.kept.len() < MAX_STEPS_KEPT {
            self.kept.push(step);
        } else {
            self.left_out += 1;
        }
    }

    /// Adds the capture's comments to the step of a frame, when it is the last one.
    pub(super) fn comment(&mut self, frame: u64, comments: &[String]) {
        if let Some(last) = self.kept.last_mut()
            && last.frame == frame
        {
            let some = comments.iter().take(MAX_COMMENTS_KEPT).cloned();
            last.comments.extend(some);
        }
    }
}

/// The steps that are kept of a flow so far.
pub(super) fn kept(steps: &mut Option<Box<Steps>>) -> &mut [Step] {
    let steps = steps.as_deref_mut();
    steps.map_or(&mut [], |steps| steps.kept.as_mut_slice())
}

/// The step of a segment that `flow` has taken in.
pub(super) fn of_segment(
    flow: &TcpState,
    segment: &Segment<'_>,
    judgement: &Judgement,
    marks: Marks,
) -> Step {
    let syn = segment.flags.has(TcpFlags::SYN);
    let options = syn.then(|| segment.tcp.options());
    Step {
        frame: segment.frame,
        at: segment.at,
        sender: segment.sender,
        flags: segment.flags,
        seq: low32(judgement.start.cast_unsigned()),
        ack: flow.relative_ack(segment),
        len_bytes: segment.tcp.payload_len_bytes,
        win_bytes: flow.window_bytes(segment),
        hop_limit: segment.hop_limit,
        syn: options.as_ref().map(SynOptions::of),
        fast_open: options.and_then(|options| options.fast_open),
        marks,
        multipath: segment
            .signal
            .map_or_else(Vec::new, |signal| signal.words(segment.tcp)),
        states: [flow.orig.rfc, flow.resp.rfc],
        comments: Vec::new(),
    }
}

/// The step of a datagram.
pub(super) fn of_datagram(datagram: &Datagram<'_>) -> Step {
    let &Datagram {
        frame,
        at,
        sender,
        hop_limit,
        udp,
        ..
    } = datagram;
    Step {
        frame,
        at,
        sender,
        flags: TcpFlags::default(),
        seq: 0,
        ack: 0,
        len_bytes: udp.payload_len_bytes,
        win_bytes: 0,
        hop_limit,
        syn: None,
        fast_open: None,
        marks: Marks::default(),
        multipath: Vec::new(),
        states: [None, None],
        comments: Vec::new(),
    }
}
