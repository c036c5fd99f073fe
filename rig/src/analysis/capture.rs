//! From a capture file to flows.

use std::io::Read;

use super::Analyzer;
use super::passed_over::PassedOver;
use crate::pcapng::{Direction, Frame, Reader, Record};
use crate::reconcile::Fate;
use crate::wire::{Captured, Checksum, Checksums, Decoder, LinkType};

/// Hands the frames of a capture to an [`Analyzer`], fragments put together.
#[derive(Debug, Default)]
pub struct Feed {
    decoder: Decoder,
    passed_over: PassedOver,
}

impl Analyzer {
    /// Takes in every packet of a capture, up to its end or to where reading had to stop.
    pub fn read<R: Read>(&mut self, reader: &mut Reader<R>) -> PassedOver {
        Feed::default().read(self, reader)
    }
}

impl Feed {
    /// Says whether checksums are judged; they are unless they are said not to be.
    #[must_use]
    pub fn with_checksums(mut self, checksums: Checksums) -> Self {
        self.decoder = self.decoder.with_checksums(checksums);
        self
    }

    /// Takes in every packet of a capture, up to its end or to where reading had to stop. Says what
    /// belongs to no flow.
    pub fn read<R: Read>(mut self, analyzer: &mut Analyzer, reader: &mut Reader<R>) -> PassedOver {
        while let Some(Frame {
            number,
            link,
            record,
        }) = reader.next_frame()
        {
            self.push(analyzer, number, link, &record);
        }
        self.finish(analyzer)
    }

    /// Takes in the next frame: its number, what it begins with, and its record.
    #[inline]
    pub fn push(
        &mut self,
        analyzer: &mut Analyzer,
        number: u64,
        link: LinkType,
        record: &Record<'_>,
    ) {
        self.push_with_fate(analyzer, number, link, record, Fate::Unwatched);
    }

    /// Takes in the next frame, of which it is known what became.
    #[inline]
    pub fn push_with_fate(
        &mut self,
        analyzer: &mut Analyzer,
        number: u64,
        link: LinkType,
        record: &Record<'_>,
        fate: Fate,
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
                self.passed_over
                    .count_transport(&packet.transport, || record.is_cut());
                analyzer.at_place(record.interface.0);
                let fate = record.delivery.map_or(fate, Fate::from);
                if fate == Fate::Unwatched {
                    analyzer.push(number, record.at, &packet);
                } else {
                    analyzer.push_with_fate(number, record.at, &packet, fate);
                }
                if !record.comments.is_empty() {
                    analyzer.comment(number, &record.comments);
                }
            }
            Err(reason) => self
                .passed_over
                .count(reason, link, &record.data, record.is_cut()),
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
            self.passed_over
                .count_transport(&packet.transport, || false);
            analyzer.push(frame, at, &packet);
        }
    }
}
