//! What the unit tests of this stage share: events in a compact notation (the judge's tests use it
//! too), and tables of errors.

use super::Pattern;
use crate::analysis::{Event, EventKind, Sender, Signals, TcpFlags};
use crate::units::Timestamp;

/// A pattern that cannot be read: its text, offset and length of what is wrong, and parts of the
/// message and of the hint.
pub(super) type ErrorCase = (&'static str, usize, usize, &'static str, &'static str);

/// Each text is refused where and as its case says.
pub(super) fn assert_errors(cases: &[ErrorCase]) {
    for &(text, at, len, message, hint) in cases {
        let error = Pattern::parse(text).unwrap_err();
        let place = (error.offset_bytes, error.len_bytes);
        assert_eq!(place, (at, len), "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
        let told = error.hint.unwrap_or_default();
        assert!(told.contains(hint), "{text}: {told}");
    }
}

/// One event a line, `> DATA 13`, each a millisecond after the one before and in a frame of its
/// own; a trailing `again` makes it a retransmission, and `probe` a tail loss probe.
pub(crate) fn events(text: &str) -> Vec<Event> {
    let lines = text.split(['\n', ';']).map(str::trim);
    lines
        .filter(|line| !line.is_empty())
        .zip(1..)
        .map(|(line, frame)| event(line, frame))
        .collect()
}

fn signals(word: Option<&&str>) -> Signals {
    match word {
        Some(&"mptcp") => Signals::ANY,
        Some(&"join") => Signals::ANY.with(Signals::JOIN),
        Some(&"data-fin") => Signals::ANY.with(Signals::DATA_FIN),
        Some(&"fastclose") => Signals::ANY.with(Signals::FASTCLOSE),
        Some(&"reinjected") => Signals::ANY.with(Signals::REINJECTED),
        _ => Signals::default(),
    }
}

fn event(line: &str, frame: u64) -> Event {
    let words: Vec<_> = line.split_whitespace().collect();
    let (kind, flags) = match words[1] {
        "SYN" => (EventKind::Syn, 0x02),
        "SYN-ACK" => (EventKind::SynAck, 0x12),
        "ACK" => (EventKind::Ack, 0x10),
        "DATA" => (EventKind::Data, 0x18),
        "FIN" => (EventKind::Fin, 0x11),
        "RST" => (EventKind::Rst, 0x04),
        other => panic!("no event is called {other}"),
    };
    let len_bytes = words.get(2).and_then(|word| word.parse().ok());
    Event {
        kind,
        sender: match words[0] {
            ">" => Sender::Initiator,
            "<" => Sender::Responder,
            other => panic!("no direction is called {other}"),
        },
        frame,
        at: Timestamp(frame * 1_000_000),
        flags: TcpFlags(flags),
        seq: 0,
        ack: 0,
        len_bytes: len_bytes.unwrap_or(0),
        win_bytes: 64_000,
        hop_limit: 64,
        mss_bytes: None,
        retransmission: matches!(words.last(), Some(&"again" | &"probe")),
        probe: words.last() == Some(&"probe"),
        lost: false,
        coalesced: false,
        older: words.last() == Some(&"older"),
        fast_open: words.last() == Some(&"fast-open"),
        foreign: words.last() == Some(&"foreign"),
        multipath: signals(words.last()),
        payload: Vec::new(),
    }
}
