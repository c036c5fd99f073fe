//! Whatever happens around a conversation, it is called by its ending, or unfinished.

use proptest::prelude::*;
use proptest::sample::Index;

use super::tests::{Script, analyze, initiator};
use super::*;

/// A beginning and an end, and what a conversation with both is called.
const ENDINGS: [(&str, &str, ConnState); 14] = [
    (">S", "", ConnState::S0),
    (">S <SA >A", "", ConnState::S1),
    (">S <SA >A", ">FA <A <FA >A", ConnState::SF),
    (">S <SA >A", "<FA >A >FA <A", ConnState::SF),
    (">S <SA >A", ">FA <FA >A <A", ConnState::SF),
    (">S <SA >A", "<FA >A >PA5 >FA <R", ConnState::SF),
    (">S <SA >A", ">FA <A", ConnState::S2),
    (">S <SA >A", "<FA >A", ConnState::S3),
    (">S <SA >A", ">RA", ConnState::RSTO),
    (">S <SA >A", "<FA >A >RA", ConnState::RSTO),
    (">S <SA >A", "<RA", ConnState::RSTR),
    (">S <SA >A", "<FA >A >PA5 <R", ConnState::RSTR),
    (">S", "<RA", ConnState::REJ),
    (">S", ">R", ConnState::RSTOS0),
];

/// What a conversation that is not over may be called.
const UNFINISHED: [ConnState; 4] = [ConnState::S0, ConnState::S1, ConnState::S2, ConnState::S3];

/// Payload from either side, each time acknowledged or not.
fn talk() -> impl Strategy<Value = String> {
    let word = (any::<bool>(), 1..1400_u32, any::<bool>()).prop_map(|(forth, len, acked)| {
        let (to, back) = if forth { ('>', '<') } else { ('<', '>') };
        let ack = if acked {
            format!(" {back}A")
        } else {
            String::new()
        };
        format!(" {to}PA{len}{ack} ")
    });
    prop::collection::vec(word, 0..8).prop_map(|words| words.concat())
}

fn conversation(ending: usize, talk: &str) -> (String, ConnState) {
    let (begin, end, state) = ENDINGS[ending];
    let established = begin.contains(">A");
    let talk = if established { talk } else { "" };
    (format!("{begin} {talk} {end}"), state)
}

/// Puts each packet of `others` somewhere among `packets`, without changing the order of either.
fn interleave(packets: Vec<Vec<u8>>, others: Vec<Vec<u8>>, places: &[Index]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = places
        .iter()
        .cycle()
        .take(others.len())
        .map(|place| place.index(packets.len() + 1))
        .collect();
    at.sort_unstable();
    let mut others = at.into_iter().zip(others).peekable();
    let mut all = Vec::new();
    for (n, packet) in packets.into_iter().enumerate() {
        while let Some((_, other)) = others.next_if(|(place, _)| *place <= n) {
            all.push(other);
        }
        all.push(packet);
    }
    all.extend(others.map(|(_, other)| other));
    all
}

proptest! {
    #[test]
    fn a_conversation_is_called_by_its_ending_or_unfinished(
        ending in 0..ENDINGS.len(),
        talk in talk(),
        twice in prop::collection::vec((any::<Index>(), 0..5_usize), 0..4),
        unrelated in prop::collection::vec((0..ENDINGS.len(), talk(), 40_001..40_009_u16), 0..4),
        places in prop::collection::vec(any::<Index>(), 1..20),
        cut in any::<Index>(),
    ) {
        let (script, expected) = conversation(ending, &talk);
        let mut packets = Script::new().play(&script);
        for (which, later) in twice {
            let which = which.index(packets.len());
            let copy = packets[which].clone();
            // A SYN that comes once the connection is over begins a new one.
            let limit = if copy == packets[0] { 1 } else { packets.len() };
            packets.insert((which + 1 + later).min(limit), copy);
        }
        let mut others = Vec::new();
        for (ending, talk, port) in unrelated {
            let mut script = Script::new();
            script.ends[0].set_port(port);
            others.extend(script.play(&conversation(ending, &talk).0));
        }
        let all = interleave(packets, others, &places);
        let ours = |flows: &[Flow]| -> Vec<ConnState> {
            let ours = flows.iter().filter(|flow| flow.orig == initiator());
            ours.map(|flow| flow.conn_state).collect()
        };
        let whole = ours(&analyze(&all, Options::default()));
        prop_assert_eq!(whole, vec![expected], "{}", script);
        let kept = &all[..cut.index(all.len() + 1)];
        for state in ours(&analyze(kept, Options::default())) {
            prop_assert!(
                state == expected || UNFINISHED.contains(&state),
                "{} cut: {}", script, state,
            );
        }
    }
}

/// Endings of an established connection, see [`ENDINGS`].
fn established() -> impl Strategy<Value = usize> {
    1..12_usize
}

fn analyzed(packets: &[Vec<u8>]) -> Vec<Flow> {
    let options = Options {
        keep_events: true,
        keep_payload: false,
    };
    analyze(packets, options)
}

proptest! {
    /// A SYN-ACK that comes again is neither an end nor spurious, and the responder is SYN-RECEIVED until it sends
    /// anything else.
    #[test]
    fn a_repeated_syn_ack_changes_nothing_of_the_ending(
        repeats in 1..4_u32,
        ending in established(),
        talk in talk(),
    ) {
        let again = "<SA@-1 >A ".repeat(usize::try_from(repeats).unwrap());
        let waiting = Script::new().play(&format!(">S <SA >A {again}"));
        let flow = analyzed(&waiting).remove(0);
        prop_assert_eq!(flow.resp_side.state, Some(RfcState::SynReceived));
        prop_assert_eq!(flow.orig_side.state, Some(RfcState::Established));

        let (_, end, state) = ENDINGS[ending];
        let script = format!(">S <SA >A {again} {talk} {end}");
        let flows = analyzed(&Script::new().play(&script));
        prop_assert_eq!(flows.len(), 1, "{}", script);
        prop_assert_eq!(flows[0].conn_state, state, "{}", script);
        let trouble = flows[0].resp_side.trouble.as_ref().unwrap();
        prop_assert_eq!(trouble.syn_repeats, repeats, "{}", script);
        prop_assert_eq!(trouble.spurious_retransmissions, 0, "{}", script);
    }

    /// What a RST that neither side sent interrupts goes on to its own ending.
    #[test]
    fn a_foreign_reset_ends_nothing_where_both_sides_go_on(
        in_name_of_initiator: bool,
        with_ack: bool,
        before in talk(),
        ending in established(),
    ) {
        let flags = if with_ack { "RA" } else { "R" };
        let (me, peer) = if in_name_of_initiator { ('>', '<') } else { ('<', '>') };
        // The receiver says something, which the side acknowledges in whose name the RST came.
        let on = format!("{me}{flags} {peer}PA7 {me}A {me}PA9 {peer}A");
        let (_, end, state) = ENDINGS[ending];
        let script = format!(">S <SA >A {before} {peer}A {on} {end}");
        let flows = analyzed(&Script::new().play(&script));
        prop_assert_eq!(flows.len(), 1, "{}", script);
        prop_assert_eq!(flows[0].conn_state, state, "{}", script);
        let resets = flows[0].events.iter().filter(|event| event.kind == EventKind::Rst);
        let foreign: Vec<bool> = resets.map(|event| event.foreign).collect();
        let own = usize::from(end.contains('R'));
        prop_assert_eq!(foreign, [vec![true], vec![false; own]].concat(), "{}", script);
    }

    /// An initiator whose host was restarted meets a peer that still has the connection.
    #[test]
    fn a_half_open_connection_ends_by_the_reset_and_the_next_one_by_itself(
        before in talk(),
        isns: [u32; 2],
        ending in established(),
        after in talk(),
    ) {
        let mut old = Script::new();
        let mut packets = old.play(&format!(">S <SA >A {before} <A >A"));
        let begun = packets.len();
        // Far from the numbers of the old one, as an ISN is that a clock makes.
        prop_assume!(isns[0].wrapping_sub(old.next[0]).cast_signed().unsigned_abs() > 1 << 22);
        let mut new = Script { next: isns, ..Script::new() };
        packets.extend(new.play(">S"));
        packets.extend(old.play("<A >R"));
        let (_, end, state) = ENDINGS[ending];
        packets.extend(new.play(&format!(">S@-1 <SA >A {after} {end}")));
        let flows = analyzed(&packets);
        let told: Vec<_> = flows.iter().map(|flow| (flow.first_frame, flow.conn_state)).collect();
        let second = u64::try_from(begun).unwrap() + 1;
        prop_assert_eq!(told, [(1, ConnState::RSTO), (second, state)], "{} {}", before, after);
        prop_assert_eq!(flows[0].orig_side.state, Some(RfcState::Closed));
        prop_assert_eq!(flows[0].resp_side.state, Some(RfcState::Closed));
        for side in [&flows[1].orig_side, &flows[1].resp_side] {
            prop_assert_eq!(side.missed_bytes, 0);
        }
    }
}
