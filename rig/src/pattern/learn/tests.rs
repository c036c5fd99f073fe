//! What is proposed for connections in a compact notation.

use super::*;
use crate::analysis::{ConnState, Flow, Proto, Side, Steps};
use crate::pattern::testing::events;
use crate::pattern::{Library, PatternFile};
use crate::wire::Tunnels;

fn flow(text: &str) -> Flow {
    let events = events(text);
    Flow {
        proto: Proto::Tcp,
        orig: "10.0.0.11:40000".parse().unwrap(),
        resp: "10.0.0.10:15102".parse().unwrap(),
        first: events[0].at,
        last: events[events.len() - 1].at,
        number: 1,
        first_frame: 1,
        orig_side: Side::default(),
        resp_side: Side::default(),
        conn_state: ConnState::SF,
        history: String::new(),
        closed_by: None,
        opened_by: None,
        fast_open: None,
        reset: None,
        ended: None,
        completeness: 0,
        tunnels: Tunnels::default(),
        multipath: None,
        icmp_errors: Vec::new(),
        events,
        steps: Steps::default(),
        states: Vec::new(),
    }
}

fn learned(texts: &[&str], exact: bool) -> String {
    let flows: Vec<_> = texts.iter().map(|text| flow(text)).collect();
    let flows: Vec<_> = flows.iter().collect();
    let text = propose(&flows, 1, Learner { exact }).unwrap();
    let file = PatternFile::parse(&text, Library::builtin()).unwrap();
    let pattern = file.pattern.unwrap();
    assert!(
        flows
            .iter()
            .all(|flow| pattern.matches(&flow.events).is_ok())
    );
    text
}

const OPEN: &str = "> SYN; < SYN-ACK; > ACK;";
const CLOSE: &str = "< FIN; > ACK; > FIN; < ACK";

#[test]
fn what_varies_is_summarised_and_the_ending_is_exact() {
    let short = format!("{OPEN} > DATA 4; < ACK; {CLOSE}");
    let long = format!("{OPEN} > DATA 4; < DATA 9; > DATA 20; < ACK; {CLOSE}");
    insta::assert_snapshot!(learned(&[&short, &long], false), @r#"
    # Learned from 2 connections in 1 capture.
    # fate: SF
    # closed first by: neither side
    # matches too: handshake ... orderly-close-by(responder), handshake ... orderly-close
    handshake
    ...                                  # > DATA 1 to 2 with 4 to 24 bytes; < DATA 0 to 1 with 0 to 9 bytes
    < FIN                                # 1.0ms after the event before
    > FIN                                # 1.0ms after the event before
    < ACK
    "#);
    insta::assert_snapshot!(learned(&[&short], false), @r#"
    # Learned from 1 connection in 1 capture.
    # fate: SF
    # closed first by: neither side
    # matches too: handshake ... orderly-close-by(responder), handshake ... orderly-close
    handshake
    ...                                  # > DATA 1 with 4 bytes
    < FIN                                # 1.0ms after the event before
    > FIN                                # 1.0ms after the event before
    < ACK
    "#);
}

#[test]
fn what_is_the_same_is_named_and_asked_for_where_wanted() {
    let one = format!("{OPEN} > DATA 4; < ACK; < DATA 9; {CLOSE}");
    let two = format!("{OPEN} > DATA 4; < DATA 12; > ACK; {CLOSE}");
    insta::assert_snapshot!(learned(&[&one, &two], false), @r#"
    # Learned from 2 connections in 1 capture.
    # fate: SF
    # closed first by: neither side
    # matches too: handshake ... orderly-close-by(responder), handshake ... orderly-close
    handshake
    > DATA                               # 4 bytes
    < DATA                               # 9 to 12 bytes
    < FIN                                # 1.0ms after the event before
    > FIN                                # 1.0ms after the event before
    < ACK
    "#);
    insta::assert_snapshot!(learned(&[&one, &two], true), @r#"
    # Learned from 2 connections in 1 capture.
    # fate: SF
    # closed first by: neither side
    # matches too: handshake ... orderly-close-by(responder), handshake ... orderly-close
    handshake
    > DATA[len=4]                        # 4 bytes
    < DATA                               # 9 to 12 bytes
    < FIN                                # 1.0ms after the event before
    > FIN                                # 1.0ms after the event before
    < ACK
    "#);
}

#[test]
fn different_endings_are_alternatives() {
    let close = format!("{OPEN} > DATA 4; {CLOSE}");
    let reset = format!("{OPEN} > DATA 4; < RST; < RST");
    let open = format!("{OPEN} > DATA 4; < ACK");
    insta::assert_snapshot!(learned(&[&close, &reset, &close, &open], false), @r#"
    # Learned from 4 connections in 1 capture.
    # fate: SF
    # closed first by: neither side
    handshake
    > DATA                               # 4 bytes
    (   # 2 of 4
        < FIN                            # 1.0ms after the event before
        > FIN                            # 1.0ms after the event before
        < ACK
    |   # 1 of 4
        < RST+                           # [RST]; 1.0ms after the event before
    )?
    "#);
}

#[test]
fn what_one_connection_alone_does_is_no_rule() {
    let close = format!("{OPEN} > DATA 4; {CLOSE}");
    let thrown_away = format!("{OPEN} > DATA 4; > FIN; < DATA 9; > RST");
    insta::assert_snapshot!(learned(&[&close, &thrown_away, &close], false), @r##"
    # Learned from 3 connections in 1 capture.
    # fate: SF
    # closed first by: neither side
    handshake
    > DATA                               # 4 bytes
    (   # 2 of 3
        < FIN                            # 1.0ms after the event before
        > FIN                            # 1.0ms after the event before
        < ACK
    |   # 1 of 3
        > FIN                            # 1.0ms after the event before
        ...                              # < DATA 1 with 9 bytes
        > RST                            # [RST]; 1.0ms after the event before
    )
    "##);
}

#[test]
fn repeats_that_always_came_are_part_of_it() {
    let silent = "> SYN; > SYN again; > SYN again";
    insta::assert_snapshot!(learned(&[silent], false), @r#"
    # Learned from 1 connection in 1 capture.
    # fate: SF
    # closed first by: neither side
    # matches too: unanswered-syn
    > SYN                                # sent again: 2
    > SYN[retransmission]+
    "#);
    insta::assert_snapshot!(learned(&[silent], true), @r#"
    # Learned from 1 connection in 1 capture.
    # fate: SF
    # closed first by: neither side
    # matches too: unanswered-syn
    > SYN                                # sent again: 2
    > SYN[retransmission]{2}
    "#);
    let given_up = format!("{OPEN} > FIN; > FIN again; > FIN again; > RST");
    insta::assert_snapshot!(learned(&[&given_up], false), @r#"
    # Learned from 1 connection in 1 capture.
    # fate: SF
    # closed first by: neither side
    # matches too: handshake ... fin-unanswered(initiator), handshake ... fin-unanswered
    handshake
    > FIN                                # 1.0ms after the event before; sent again: 2
    > FIN[retransmission]+
    > RST                                # [RST]; 1.0ms after the event before
    "#);
}

#[test]
fn what_has_too_little_in_common_is_refused() {
    assert_eq!(
        propose(&[], 1, Learner::default()),
        Err(LearnError::Nothing)
    );
    let endings = ["> FIN", "< FIN", "> RST", "< RST"];
    let texts: Vec<_> = endings
        .iter()
        .flat_map(|one| endings.map(|two| format!("{one}; > DATA 1; {two}")))
        .collect();
    let flows: Vec<_> = texts.iter().map(|text| flow(text)).collect();
    let flows: Vec<_> = flows.iter().collect();
    assert_eq!(
        propose(&flows, 1, Learner::default()),
        Err(LearnError::TooManyWays(16))
    );
    let long = flow(&"> FIN; < FIN; ".repeat(40));
    assert_eq!(
        propose(&[&long], 1, Learner::default()),
        Err(LearnError::TooLong(1))
    );
}

proptest::proptest! {
    #[test]
    fn whatever_is_proposed_matches(texts in proptest::collection::vec("([<>] (SYN|SYN-ACK|ACK|DATA [1-9]|FIN|RST|FIN again|DATA 3 again); ){1,9}", 1..4), exact: bool) {
        let flows: Vec<_> = texts.iter().map(|text| flow(text)).collect();
        let flows: Vec<_> = flows.iter().collect();
        if let Ok(text) = propose(&flows, 1, Learner { exact }) {
            let pattern = crate::pattern::Pattern::parse(&text).unwrap();
            for flow in flows {
                proptest::prop_assert!(pattern.matches(&flow.events).is_ok());
            }
        }
    }
}
