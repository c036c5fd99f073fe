//! From a capture file to flows.

use std::fmt;
use std::io::Read;

use super::Analyzer;
use crate::pcapng::{Frame, Reader};
use crate::wire::{LinkType, Transport, Undecoded, decode};

/// Packets of a capture that belong to no flow, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PassedOver {
    /// Other protocols than IP.
    pub not_ip: u64,
    /// IP packets that are neither TCP nor UDP.
    pub other_transport: u64,
    /// Fragments after the first one of a packet, which name no ports.
    pub fragments: u64,
    /// Cut off, or with headers that contradict themselves, before the ports are known.
    pub malformed: u64,
    /// Of a link type that is not read.
    pub link_type: u64,
    /// The first such link type.
    pub unread_link_type: Option<LinkType>,
}

impl Analyzer {
    /// Takes in every packet of a capture, up to its end or to where reading had to stop.
    pub fn read<R: Read>(&mut self, reader: &mut Reader<R>) -> PassedOver {
        let mut passed_over = PassedOver::default();
        while let Some(frame) = reader.next_frame() {
            self.push_frame(&frame, &mut passed_over);
        }
        passed_over
    }

    /// Takes in one packet of a capture with its comments.
    #[inline]
    pub fn push_frame(&mut self, frame: &Frame<'_>, passed_over: &mut PassedOver) {
        let Frame {
            number,
            link,
            record,
        } = frame;
        match decode(*link, &record.data, record.orig_len_bytes) {
            Ok(packet) => {
                passed_over.count_transport(&packet.transport);
                self.push(*number, record.at, &packet);
                if !record.comments.is_empty() {
                    self.comment(*number, &record.comments);
                }
            }
            Err(reason) => passed_over.count(reason),
        }
    }
}

impl PassedOver {
    /// Whether packets are missing from the flows that a better capture would have shown there.
    #[must_use]
    pub fn is_worth_telling(&self) -> bool {
        self.fragments + self.malformed + self.link_type > 0
    }

    fn count(&mut self, reason: Undecoded) {
        match reason {
            Undecoded::NotIp => self.not_ip += 1,
            Undecoded::Malformed => self.malformed += 1,
            Undecoded::LinkType(link) => {
                self.link_type += 1;
                self.unread_link_type.get_or_insert(link);
            }
        }
    }

    #[inline]
    fn count_transport(&mut self, transport: &Transport<'_>) {
        match transport {
            Transport::Tcp(_) | Transport::Udp(_) => {}
            Transport::Other(_) => self.other_transport += 1,
            Transport::Fragment => self.fragments += 1,
            Transport::Malformed => self.malformed += 1,
        }
    }
}

impl fmt::Display for PassedOver {
    /// What is worth telling, as a fragment: `3 later fragments, 1 malformed packet`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let link = self
            .unread_link_type
            .map_or(String::new(), |link| format!(" ({link})"));
        let parts = [
            (
                self.link_type,
                format!("of a link type that is not read{link}"),
            ),
            (self.malformed, "cut off or malformed".to_owned()),
            (self.fragments, "later fragments of a packet".to_owned()),
        ];
        let mut separator = "";
        for (count, what) in parts.iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{count} {what}")?;
            separator = ", ";
        }
        Ok(())
    }
}
