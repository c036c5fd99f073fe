//! Any bytes as a capture file, plain or compressed, up to the flows in it.

use rig::analysis::{Analyzer, Options};
use rig::pcapng::Reader;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(mut reader) = Reader::new(bytes) else {
        return;
    };
    let mut analyzer = Analyzer::new(Options {
        keep_events: true,
        keep_payload: true,
    });
    let passed_over = analyzer.read(&mut reader);
    let _ = (passed_over.to_string(), passed_over.instead_of_flows());
    let _ = reader.stop().map(ToString::to_string);
    assert!(reader.next_frame().is_none());
    for flow in analyzer.into_flows() {
        assert!(flow.first <= flow.last);
        assert!(flow.history.is_ascii());
    }
}
