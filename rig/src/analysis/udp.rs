//! The datagrams of a UDP conversation.

use super::events::{self, Keep};
use super::flow::{Event, Sender, Side};
use super::history::History;
use super::step::{self, Steps};
use crate::units::Timestamp;
use crate::wire::Udp;

/// What the datagrams of a conversation have told so far.
#[derive(Debug, Default)]
pub(super) struct UdpState {
    pub(super) orig: Side,
    pub(super) resp: Side,
    pub(super) history: History,
    pub(super) events: Vec<Event>,
    pub(super) steps: Option<Box<Steps>>,
}

/// A datagram and who sent it.
#[derive(Debug)]
pub(super) struct Datagram<'a> {
    pub(super) frame: u64,
    pub(super) at: Timestamp,
    pub(super) sender: Sender,
    /// Length by the IP header.
    pub(super) ip_len_bytes: u32,
    pub(super) hop_limit: u8,
    /// Its sender's first that a receiver takes.
    pub(super) is_first: bool,
    pub(super) udp: &'a Udp<'a>,
}

impl UdpState {
    pub(super) fn take(&mut self, datagram: &Datagram<'_>, keep: Keep) {
        let &Datagram { sender, udp, .. } = datagram;
        if datagram.is_first {
            self.history.add(sender, b'D');
        }
        let side = self.side(sender);
        side.pkts += 1;
        side.ip_bytes += u64::from(datagram.ip_len_bytes);
        side.bytes += u64::from(udp.payload_len_bytes);
        if keep.events {
            self.events.push(events::datagram(datagram, keep));
        }
        if keep.steps {
            let steps = self.steps.get_or_insert_default();
            steps.push(step::of_datagram(datagram));
        }
    }

    pub(super) fn pkts_of(&self, sender: Sender) -> u64 {
        match sender {
            Sender::Initiator => self.orig.pkts,
            Sender::Responder => self.resp.pkts,
        }
    }

    pub(super) fn side(&mut self, sender: Sender) -> &mut Side {
        match sender {
            Sender::Initiator => &mut self.orig,
            Sender::Responder => &mut self.resp,
        }
    }
}
