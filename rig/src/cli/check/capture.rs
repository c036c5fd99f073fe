//! The flows of a capture, with their events.

use std::fs::File;
use std::net::IpAddr;
use std::path::Path;

use crate::analysis::{Analyzer, Flow, Options};
use crate::pcapng::Reader;

/// What was read of a capture.
#[derive(Debug, Default)]
pub(super) struct Capture {
    /// In order of their first packet, with events and payload.
    pub(super) flows: Vec<Flow>,
    /// Its name resolution block.
    pub(super) names: Vec<(IpAddr, String)>,
    /// Where and why reading ended before the end of the file.
    pub(super) stop: Option<String>,
}

impl Capture {
    /// Reads a capture as far as it goes. Payload is kept only where it is asked about: without a
    /// pattern nobody looks at it.
    pub(super) fn read(path: &Path, keep_payload: bool) -> Result<Self, String> {
        let shown = path.display();
        let file = File::open(path).map_err(|error| format!("open {shown}: {error}"))?;
        let mut reader = Reader::new(file).map_err(|error| format!("{shown}: {error}"))?;
        let mut analyzer = Analyzer::new(Options {
            keep_events: true,
            keep_payload,
        });
        // What is not TCP or UDP over IP belongs to no flow.
        analyzer.read(&mut reader);
        Ok(Self {
            flows: analyzer.finish(),
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
