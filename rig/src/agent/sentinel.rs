//! Sentinels: frames by which the agent proves that a capture is complete.
//!
//! A sentinel is sent out of an interface like any packet, and must come out of the interface's
//! ring as one that was sent. The ring keeps the order of packets, so one that was there before a
//! sentinel came out before it, too.

use std::hash::{BuildHasher as _, RandomState};

use crate::pcapng::SENTINEL_ETHERTYPE;

/// Where a sentinel is sent: a group address that bridges do not forward (IEEE Std 802.1Q, table
/// 8-1: nearest bridge), so that no other host of a network sees it.
pub(super) const DESTINATION: [u8; 6] = [0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e];

/// What a sentinel says to a reader of the capture.
const TEXT: &[u8; 16] = b"rig sentinel of ";

/// The shortest frame of an Ethernet without its check sequence (IEEE Std 802.3, 4.2.3.3).
pub(super) const FRAME_BYTES: usize = 60;

/// Length of an Ethernet header.
const HEADER_BYTES: usize = 14;

/// What a sentinel proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The capture records from here on.
    Opening,
    /// The capture is complete up to here.
    Closing,
}

impl Stage {
    /// The comment that the packet gets in the capture.
    pub(super) fn comment(self) -> &'static str {
        match self {
            Self::Opening => "sentinel: the capture records from here",
            Self::Closing => "sentinel: complete up to here",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Opening => b'o',
            Self::Closing => b'c',
        }
    }
}

/// Makes and recognises the sentinels of one capture: those of another are told apart by a number
/// that nobody else knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sentinels {
    nonce: u64,
}

impl Sentinels {
    /// Sentinels with a new number.
    pub(super) fn new() -> Self {
        Self {
            nonce: RandomState::new().hash_one(std::process::id()),
        }
    }

    /// The frame to send from the interface with this link address.
    pub(super) fn frame(self, stage: Stage, mac: [u8; 6]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(FRAME_BYTES);
        frame.extend(DESTINATION);
        frame.extend(mac);
        frame.extend(SENTINEL_ETHERTYPE.to_be_bytes());
        frame.extend(self.payload(stage));
        frame.resize(FRAME_BYTES, 0);
        frame
    }

    /// The stage, if this frame is one of these sentinels.
    pub(super) fn recognise(self, frame: &[u8]) -> Option<Stage> {
        let ethertype = frame.get(12..HEADER_BYTES)?;
        if ethertype != SENTINEL_ETHERTYPE.to_be_bytes() {
            return None;
        }
        let payload = &frame[HEADER_BYTES..];
        [Stage::Opening, Stage::Closing]
            .into_iter()
            .find(|&stage| payload.starts_with(&self.payload(stage)))
    }

    fn payload(self, stage: Stage) -> Vec<u8> {
        let mut payload = TEXT.to_vec();
        payload.extend(self.nonce.to_be_bytes());
        payload.push(stage.code());
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sentinels_of_the_same_capture_count() {
        let (ours, theirs) = (Sentinels { nonce: 7 }, Sentinels { nonce: 8 });
        for stage in [Stage::Opening, Stage::Closing] {
            let frame = ours.frame(stage, [2; 6]);
            assert_eq!(frame.len(), FRAME_BYTES);
            assert_eq!(ours.recognise(&frame), Some(stage));
            assert_eq!(theirs.recognise(&frame), None);
            let mut other = frame.clone();
            other[12] = 0x08;
            assert_eq!(ours.recognise(&other), None);
            assert_eq!(ours.recognise(&frame[..13]), None);
        }
    }

    #[test]
    fn numbers_differ() {
        assert_ne!(Sentinels::new().nonce, Sentinels::new().nonce);
    }
}
