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
            packets.insert((which + 1 + later).min(packets.len()), copy);
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
