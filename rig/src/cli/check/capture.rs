//! The flows of a capture, with their events.

use std::fs::File;
use std::net::IpAddr;
use std::path::Path;

use crate::analysis::{Analyzer, Flow, Options};
use crate::cli::captures::capture_file;
use crate::pcapng::{Reader, Section};

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
}

impl Capture {
    /// Reads a capture as far as it goes; a folder is one of a cell's evidence. Payload is kept only
    /// where it is asked about: without a pattern nobody looks at it.
    pub(in crate::cli) fn read(path: &Path, keep_payload: bool) -> Result<Self, String> {
        let file = capture_file(path);
        let shown = file.display();
        let file = File::open(&file).map_err(|error| format!("open {shown}: {error}"))?;
        let mut reader = Reader::new(file).map_err(|error| format!("{shown}: {error}"))?;
        let mut analyzer = Analyzer::new(Options {
            keep_events: true,
            keep_payload,
        });
        // What is not TCP or UDP over IP belongs to no flow.
        analyzer.read(&mut reader);
        Ok(Self {
            flows: analyzer.finish(),
            cell: cell_of(reader.sections()),
            names: reader.names().to_vec(),
            stop: reader.stop().map(ToString::to_string),
        })
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
