//! The flows of a capture, with their events.

use std::fs::File;
use std::net::IpAddr;
use std::path::Path;

use crate::analysis::{Analyzer, Feed, Flow, Options, WrongChecksums};
use crate::cli::captures::capture_file;
use crate::cli::input::show_error;
use crate::cli::say::{lost_by_capture, packets_in_no_flow, unaligned, wrong_checksums};
use crate::pcapng::{Reader, Section};
use crate::wire::Checksums;

/// What was read of a capture.
#[derive(Debug, Default)]
pub(in crate::cli) struct Capture {
    /// In order of their first packet, with events and payload.
    pub(in crate::cli) flows: Vec<Flow>,
    /// The cell that it is the evidence of, as its section's comment says.
    pub(super) cell: Option<String>,
    /// Its name resolution block.
    pub(in crate::cli) names: Vec<(IpAddr, String)>,
    /// Where and why reading ended before the end of the file.
    pub(in crate::cli) stop: Option<String>,
    /// Packets that the capture lost, as it says itself.
    pub(in crate::cli) dropped: u64,
    /// Most of it, or of one direction, counts for nothing since its checksums are wrong.
    pub(super) doubted: bool,
    /// What else there is to tell of it: packets that are in no flow or count for nothing.
    pub(in crate::cli) notes: Vec<String>,
}

impl Capture {
    /// Reads a capture as far as it goes; a folder is one of a cell's evidence. Payload is kept only
    /// where it is asked about: without a pattern nobody looks at it.
    pub(in crate::cli) fn read(
        path: &Path,
        keep_payload: bool,
        checksums: Checksums,
    ) -> Result<Self, String> {
        let file = capture_file(path);
        let shown = file.display();
        let file = File::open(&file).map_err(|error| format!("open {shown}: {error}"))?;
        let mut reader = Reader::new(file).map_err(|error| format!("{shown}: {error}"))?;
        let mut analyzer = Analyzer::new(Options {
            keep_events: true,
            keep_payload,
        });
        let feed = Feed::default().with_checksums(checksums);
        let passed_over = feed.read(&mut analyzer, &mut reader);
        let flows = analyzer.finish();
        let mut wrong = WrongChecksums::default();
        for flow in &flows {
            wrong.add(flow);
        }
        let odd = reader.unaligned_blocks();
        let odd = (odd > 0).then(|| unaligned(odd));
        let in_no_flow = packets_in_no_flow(&passed_over, flows.is_empty());
        let wrong = wrong_checksums(&wrong, &passed_over);
        let doubted = wrong.is_some();
        let notes = odd.into_iter().chain(in_no_flow).chain(wrong);
        Ok(Self {
            doubted,
            notes: notes.collect(),
            flows,
            cell: cell_of(reader.sections()),
            names: reader.names().to_vec(),
            stop: reader.stop().map(ToString::to_string),
            dropped: reader.dropped(),
        })
    }

    /// Says on standard error what there is to tell of the capture in this file.
    pub(in crate::cli) fn tell(&self, path: &Path) {
        let path = path.display();
        if let Some(stop) = &self.stop {
            show_error(&format!("{path}: {stop}"));
        }
        if self.dropped > 0 {
            show_error(&format!("{path}: {}", lost_by_capture(self.dropped)));
        }
        for note in &self.notes {
            show_error(&format!("{path}: {note}"));
        }
    }

    /// The name that the capture has for an address.
    pub(super) fn name_of(&self, address: IpAddr) -> Option<&str> {
        let mut names = self.names.iter();
        names
            .find(|(known, _)| *known == address)
            .map(|(_, name)| name.as_str())
    }
}

fn cell_of(sections: &[Section]) -> Option<String> {
    let mut lines = sections.iter().flat_map(|section| section.comment.lines());
    lines.find_map(|line| Some(line.strip_prefix("cell ")?.to_owned()))
}
