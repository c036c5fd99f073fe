//! From a capture file to flows.

use std::fmt;
use std::io::Read;

use super::Analyzer;
use crate::pcapng::{Direction, Frame, Reader, Record};
use crate::reconcile::Fate;
use crate::wire::{Captured, Checksum, Decoder, LinkType, Transport, Undecoded};

/// How the comments begin that a run writes to packets that never arrived as they were sent.
pub const LOSSES: [&str; 3] = ["lost on link ", "corrupted on link ", "never arrives: "];

/// Packets of a capture that belong to no flow, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PassedOver {
    /// Other protocols than IP.
    pub not_ip: u64,
    /// IP packets that are neither TCP nor UDP.
    pub other_transport: u64,
    /// Fragments of packets that cannot be put together.
    pub fragments: u64,
    /// Cut off, or with headers that contradict themselves, before the ports are known.
    pub malformed: u64,
    /// With a wrong checksum in the IP header, so that the addresses are not sure.
    pub ip_checksum: u64,
    /// Of a link type that is not read.
    pub link_type: u64,
    /// The first such link type.
    pub unread_link_type: Option<LinkType>,
}

/// Hands the frames of a capture to an [`Analyzer`], fragments put together.
#[derive(Debug, Default)]
pub struct Feed {
    decoder: Decoder,
    passed_over: PassedOver,
}

impl Analyzer {
    /// Takes in every packet of a capture, up to its end or to where reading had to stop.
    pub fn read<R: Read>(&mut self, reader: &mut Reader<R>) -> PassedOver {
        let mut feed = Feed::default();
        while let Some(Frame {
            number,
            link,
            record,
        }) = reader.next_frame()
        {
            feed.push(self, number, link, &record);
        }
        feed.finish(self)
    }
}

impl Feed {
    /// Takes in the next frame: its number, what it begins with, and its record.
    #[inline]
    pub fn push(
        &mut self,
        analyzer: &mut Analyzer,
        number: u64,
        link: LinkType,
        record: &Record<'_>,
    ) {
        let captured = Captured {
            frame: number,
            at: record.at,
            link,
            data: &record.data,
            orig_len_bytes: record.orig_len_bytes,
            outgoing: record.direction == Some(Direction::Outbound),
        };
        match self.decoder.decode(&captured) {
            Ok(packet) if packet.checksum == Checksum::WrongIp => self.passed_over.ip_checksum += 1,
            Ok(packet) => {
                self.passed_over.count_transport(&packet.transport);
                analyzer.at_place(record.interface.0);
                analyzer.push(number, record.at, &packet);
                if !record.comments.is_empty() {
                    analyzer.comment(number, &record.comments);
                    if record
                        .comments
                        .iter()
                        .any(|one| LOSSES.iter().any(|l| one.starts_with(l)))
                    {
                        analyzer.note_fate(number, Fate::Lost);
                    }
                }
            }
            Err(reason) => self.passed_over.count(reason),
        }
        self.push_given_up(analyzer);
    }

    /// No more frames will come. Says what belongs to no flow.
    pub fn finish(mut self, analyzer: &mut Analyzer) -> PassedOver {
        self.decoder.finish();
        self.push_given_up(analyzer);
        PassedOver {
            fragments: self.decoder.lost_fragments(),
            ..self.passed_over
        }
    }

    /// The first fragments of packets of which no more is to be expected.
    #[inline]
    fn push_given_up(&mut self, analyzer: &mut Analyzer) {
        while let Some((frame, at, packet)) = self.decoder.given_up() {
            self.passed_over.count_transport(&packet.transport);
            analyzer.push(frame, at, &packet);
        }
    }
}

impl PassedOver {
    /// Whether packets are missing from the flows that a better capture would have shown there.
    #[must_use]
    pub fn is_worth_telling(&self) -> bool {
        self.fragments + self.malformed + self.ip_checksum + self.link_type > 0
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
            // Fragments that wait for others are no loss yet.
            Transport::Tcp(_) | Transport::Udp(_) | Transport::Fragment => {}
            Transport::Other(_) | Transport::IcmpError(_) => self.other_transport += 1,
            Transport::Malformed => self.malformed += 1,
        }
    }
}

impl fmt::Display for PassedOver {
    /// What is worth telling, as a fragment: `2 cut off or malformed`.
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
            (
                self.ip_checksum,
                "with a wrong checksum in the IP header".to_owned(),
            ),
            (
                self.fragments,
                "fragments of packets that are not complete".to_owned(),
            ),
        ];
        let mut separator = "";
        for (count, what) in parts.iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{count} {what}")?;
            separator = ", ";
        }
        Ok(())
    }
}
