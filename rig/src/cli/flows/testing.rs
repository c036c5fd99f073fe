//! A flow for the unit tests of this command.

use std::time::Duration;

use crate::analysis::{
    Closer, ConnState, Flow, Proto, Reset, RfcState, Sender, Side, Steps, TcpFlags, Trouble, Unlike,
};
use crate::units::Timestamp;
use crate::wire::Tunnels;

/// 10.0.0.1:40000 -> 10.0.0.2:80, 5 bytes and none back, 2.5 s, sent again once, reset.
pub(super) fn flow() -> Flow {
    let trouble = Trouble {
        retransmissions: 1,
        retransmission_gaps: vec![Duration::from_millis(300)],
        ..Trouble::default()
    };
    Flow {
        proto: Proto::Tcp,
        orig: "10.0.0.1:40000".parse().unwrap(),
        resp: "10.0.0.2:80".parse().unwrap(),
        first: Timestamp(1_700_000_000_000_000_000),
        last: Timestamp(1_700_000_002_500_000_000),
        number: 3,
        first_frame: 7,
        orig_side: Side {
            bytes: 5,
            pkts: 4,
            trouble: Some(Box::new(trouble)),
            state: Some(RfcState::Closed),
            ..Side::default()
        },
        resp_side: Side {
            pkts: 3,
            ..Side::default()
        },
        conn_state: ConnState::RSTR,
        history: "ShADTar".to_owned(),
        closed_by: Some(Closer::Responder),
        opened_by: None,
        fast_open: None,
        reset: Some(Reset {
            by: Sender::Responder,
            flags: TcpFlags(0x14),
            foreign: None,
            unlike: Unlike::default(),
            state: Some(RfcState::Established),
            zero_window: false,
            unacked_bytes: 0,
            unanswered_bytes: 5,
            unread: None,
        }),
        ended: None,
        completeness: 47,
        tunnels: Tunnels::default(),
        multipath: None,
        icmp_errors: Vec::new(),
        events: Vec::new(),
        steps: Steps::default(),
        states: Vec::new(),
    }
}
