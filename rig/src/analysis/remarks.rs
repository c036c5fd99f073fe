//! What is rarely to be said of a flow, kept beside it only where it is.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::flow::Sender;
use super::multipath::Subflow;
use crate::reconcile::Fate;
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

/// What became of the packets of one side, where several captures were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Path {
    /// Packets that left their sender and never arrived.
    pub lost: u64,
    /// Packets that arrived.
    pub arrived: u64,
    /// The time that those which arrived were under way, all together.
    pub under_way: Duration,
}

impl Path {
    /// The mean time that a packet was under way; none when none arrived.
    #[must_use]
    pub fn mean_delay(&self) -> Option<Duration> {
        (self.arrived > 0).then(|| self.under_way.div_f64(as_f64(self.arrived)))
    }

    fn add(&mut self, fate: Fate) {
        match fate {
            Fate::Lost => self.lost += 1,
            Fate::Arrived(delay) => {
                self.arrived += 1;
                self.under_way = self.under_way.saturating_add(delay);
            }
            Fate::Unsent | Fate::Unwatched => {}
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count of packets stays below 2^53"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

/// The remarks that are kept while packets come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Remarks {
    pub(super) tunnels: Tunnels,
    pub(super) icmp_errors: Vec<IcmpErrors>,
    /// Of the initiator and of the responder.
    pub(super) checksum_errors: [u64; 2],
    /// Of the initiator and of the responder.
    pub(super) paths: Option<[Path; 2]>,
    /// What it has to do with Multipath TCP.
    pub(super) subflow: Option<Box<Subflow>>,
}

impl Remarks {
    /// Counts a packet with a wrong checksum; gives how many of this side there were with it.
    pub(super) fn count_checksum_error(&mut self, sender: Sender) -> u64 {
        let count = &mut self.checksum_errors[sender.place()];
        *count += 1;
        *count
    }

    /// Takes the initiator for the responder, and the other way round.
    pub(super) fn turn(&mut self) {
        self.checksum_errors.reverse();
        if let Some(paths) = &mut self.paths {
            paths.reverse();
        }
        for error in &mut self.icmp_errors {
            error.about = error.about.other();
        }
    }

    /// Notes what became of a packet.
    pub(super) fn add_fate(&mut self, sender: Sender, fate: Fate) {
        let paths = self.paths.get_or_insert_default();
        paths[sender.place()].add(fate);
    }

    /// Packets of a side with wrong checksums.
    pub(super) fn checksum_errors_of(&self, sender: Sender) -> u64 {
        self.checksum_errors[sender.place()]
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
