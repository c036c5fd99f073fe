//! What is rarely to be said of a flow, kept beside it only where it is.

use schemars::JsonSchema;
use serde::Serialize;

use super::flow::Sender;
use crate::wire::{IcmpError, IcmpKind, Tunnels};

/// The most kinds of ICMP errors that are kept of a flow.
pub(super) const MAX_ICMP_KINDS: usize = 16;

/// ICMP errors of one kind about the packets of one side of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct IcmpErrors {
    /// What went wrong.
    pub name: &'static str,
    /// Type field of the messages.
    #[serde(rename = "type")]
    pub icmp_type: u8,
    /// Code field of the messages.
    pub code: u8,
    /// Whose packets could not go on.
    pub about: Sender,
    /// How many messages there were.
    pub count: u64,
    /// Frame number of the first of them.
    pub first_frame: u64,
}

/// The remarks on a flow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Remarks {
    pub(super) tunnels: Tunnels,
    pub(super) icmp_errors: Vec<IcmpErrors>,
    /// Of the initiator and of the responder.
    pub(super) checksum_errors: [u64; 2],
}

impl Remarks {
    /// Counts a packet with a wrong checksum; gives how many of this side there were with it.
    pub(super) fn count_checksum_error(&mut self, sender: Sender) -> u64 {
        let count = match sender {
            Sender::Initiator => &mut self.checksum_errors[0],
            Sender::Responder => &mut self.checksum_errors[1],
        };
        *count += 1;
        *count
    }

    /// Packets of a side with wrong checksums.
    pub(super) fn checksum_errors_of(&self, sender: Sender) -> u64 {
        match sender {
            Sender::Initiator => self.checksum_errors[0],
            Sender::Responder => self.checksum_errors[1],
        }
    }

    /// Takes in an ICMP error about a packet of `about`.
    pub(super) fn add_icmp_error(&mut self, frame: u64, about: Sender, error: &IcmpError) {
        let IcmpKind {
            icmp_type, code, ..
        } = error.kind;
        let same = |known: &&mut IcmpErrors| {
            (known.icmp_type, known.code, known.about) == (icmp_type, code, about)
        };
        if let Some(known) = self.icmp_errors.iter_mut().find(same) {
            known.count += 1;
        } else if self.icmp_errors.len() < MAX_ICMP_KINDS {
            self.icmp_errors.push(IcmpErrors {
                name: error.kind.name(),
                icmp_type,
                code,
                about,
                count: 1,
                first_frame: frame,
            });
        }
    }
}
