//! Fast Open, RFC 7413: cookies, and payload that comes with the SYN.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::flow::{Sender, TcpFlags};
use super::side::SideState;
use super::tcp::{Segment, TcpState};
use crate::wire::Cookie;

/// What Fast Open did for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FastOpen {
    /// The option of the SYN; none where its payload came without one.
    pub option: Option<Cookie>,
    /// Payload of the SYN in bytes.
    pub bytes: u32,
    /// What the SYN-ACK says to it, once there is one.
    pub answer: Option<FastOpenAnswer>,
}

/// What a SYN-ACK says to Fast Open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FastOpenAnswer {
    /// Payload of the SYN that it acknowledges, in bytes.
    pub accepted_bytes: u32,
    /// It gives a cookie.
    pub gives_cookie: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FastOpenOutcome {
    /// The SYN asked for a cookie, and the SYN-ACK gives one.
    Given,
    /// The SYN asked for a cookie, and the SYN-ACK gives none.
    NotGiven,
    /// The SYN-ACK acknowledges payload of the SYN.
    Accepted,
    /// The SYN-ACK acknowledges the SYN and none of its payload.
    Refused,
    /// There was a cookie and no payload.
    Unused,
    /// No SYN-ACK was captured.
    Unanswered,
}

impl FastOpenOutcome {
    /// The name as JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::NotGiven => "not-given",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Unused => "unused",
            Self::Unanswered => "unanswered",
        }
    }
}

impl FastOpen {
    /// What came of it.
    #[must_use]
    pub fn outcome(&self) -> FastOpenOutcome {
        let Some(answer) = self.answer else {
            return FastOpenOutcome::Unanswered;
        };
        match (self.bytes, self.option) {
            (0, Some(Cookie::Request)) if answer.gives_cookie => FastOpenOutcome::Given,
            (0, Some(Cookie::Request)) => FastOpenOutcome::NotGiven,
            (0, _) => FastOpenOutcome::Unused,
            _ if answer.accepted_bytes > 0 => FastOpenOutcome::Accepted,
            _ => FastOpenOutcome::Refused,
        }
    }

    /// Payload of the SYN that the SYN-ACK acknowledges, in bytes.
    #[must_use]
    pub fn accepted_bytes(&self) -> u32 {
        self.answer.map_or(0, |answer| answer.accepted_bytes)
    }
}

impl TcpState {
    /// Takes note of what a SYN or SYN-ACK says of Fast Open. A SYN that is sent again leaves option and payload out,
    /// so the first one counts.
    pub(super) fn note_fast_open(&mut self, segment: &Segment<'_>, option: Option<Cookie>) {
        let bytes = segment.tcp.payload_len_bytes;
        let answers = segment.flags.has(TcpFlags::ACK);
        match (segment.sender, answers) {
            (Sender::Initiator, false) if option.is_some() || bytes > 0 => {
                let gives_cookie =
                    |side: &SideState| side.watch.as_ref().is_some_and(|watch| watch.gives_cookie);
                let acked = u32::try_from(self.orig.acked).unwrap_or(u32::MAX);
                // A SYN-ACK may have been captured before.
                let answer = self.resp.greeted.then(|| FastOpenAnswer {
                    accepted_bytes: acked.saturating_sub(1).min(bytes),
                    gives_cookie: gives_cookie(&self.resp),
                });
                let told = FastOpen {
                    option,
                    bytes,
                    answer,
                };
                self.orig.watch().fast_open.get_or_insert(told);
            }
            (Sender::Responder, true) => self.note_fast_open_answer(segment, option),
            _ => {}
        }
    }

    fn note_fast_open_answer(&mut self, segment: &Segment<'_>, option: Option<Cookie>) {
        let acked = self.relative_ack(segment).saturating_sub(1);
        let gives_cookie = option == Some(Cookie::Given);
        let watch = self.orig.watch.as_deref_mut();
        if let Some(told) = watch.and_then(|watch| watch.fast_open.as_mut()) {
            told.answer.get_or_insert(FastOpenAnswer {
                accepted_bytes: acked.min(told.bytes),
                gives_cookie,
            });
        } else if gives_cookie {
            self.resp.watch().gives_cookie = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::analysis::{Analyzer, Flow, Options};
    use crate::units::Timestamp;
    use crate::wire::synth::Segment as Made;
    use crate::wire::{LinkType, decode};

    const REQUEST: &[u8] = &[34, 2];
    const COOKIE: &[u8] = &[34, 6, 1, 2, 3, 4];
    const SYN: u8 = 0x02;
    const SYN_ACK: u8 = 0x12;

    /// A handshake whose SYN has a payload, of which so much is accepted.
    fn flow(isn: u32, option: &[u8], bytes: u32, accepted: u32, answer: &[u8]) -> Flow {
        let ends: [SocketAddr; 2] =
            ["10.0.0.1:4000", "10.0.0.2:80"].map(|end| end.parse().unwrap());
        let payload = vec![b'x'; bytes as usize];
        let acked = isn.wrapping_add(1 + accepted);
        let segment = |own: usize| Made::new(ends[own], ends[1 - own]);
        let segments = [
            Made {
                seq: isn,
                flags: SYN,
                other_options: option,
                payload: &payload,
                ..segment(0)
            },
            Made {
                seq: 7,
                ack: acked,
                flags: SYN_ACK,
                other_options: answer,
                ..segment(1)
            },
            Made {
                seq: acked,
                ack: 8,
                flags: 0x10,
                payload: &payload[accepted as usize..],
                ..segment(0)
            },
        ];
        let mut analyzer = Analyzer::new(Options::default());
        for (segment, frame) in segments.iter().zip(1..) {
            let bytes = segment.bytes();
            let packet = decode(LinkType::Ethernet, &bytes, 0).unwrap();
            analyzer.push(frame, Timestamp(frame), &packet);
        }
        analyzer.finish().remove(0)
    }

    proptest! {
        #[test]
        fn what_the_syn_ack_takes_is_told(
            isn: u32,
            option in prop::sample::select(vec![&[][..], REQUEST, COOKIE]),
            (bytes, accepted) in (0_u32..1400).prop_flat_map(|bytes| (Just(bytes), 0..=bytes)),
            gives: bool,
        ) {
            let answer = if gives { COOKIE } else { &[] };
            let flow = flow(isn, option, bytes, accepted, answer);
            prop_assert_eq!(flow.orig_side.bytes, u64::from(bytes));
            prop_assert_eq!(flow.orig_side.missed_bytes, 0);
            let Some(told) = flow.fast_open else {
                prop_assert!(option.is_empty() && bytes == 0);
                return Ok(());
            };
            prop_assert_eq!((told.bytes, told.accepted_bytes()), (bytes, accepted));
            let outcome = match (bytes, accepted) {
                (0, _) if option == COOKIE => FastOpenOutcome::Unused,
                (0, _) if gives => FastOpenOutcome::Given,
                (0, _) => FastOpenOutcome::NotGiven,
                (_, 0) => FastOpenOutcome::Refused,
                _ => FastOpenOutcome::Accepted,
            };
            prop_assert_eq!(told.outcome(), outcome);
        }
    }
}
