//! What a capture file is made of, without its encoding.

use std::borrow::Cow;

use super::delivery::Delivery;
use crate::units::Timestamp;
use crate::wire::LinkType;

/// Where a section comes from (section header block). Empty texts are left out of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    /// `shb_hardware`.
    pub hardware: String,
    /// `shb_os`.
    pub os: String,
    /// `shb_userappl`.
    pub application: String,
    /// `opt_comment`; several are joined by a line feed when read.
    pub comment: String,
}

/// An interface that packets were captured on (interface description block).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// `if_name`; empty when there is none.
    pub name: String,
    /// `if_description`; empty when there is none.
    pub description: String,
    /// What its packets begin with.
    pub link: LinkType,
    /// Packets were cut to this many bytes; 0 means that they were not.
    pub snaplen_bytes: u32,
}

/// Position of an interface in the file: the first is 0, counted through all sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct InterfaceId(pub u32);

/// Which way a packet went, as seen by the capturing host (`epb_flags`, bits 0 and 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// It arrived.
    Inbound,
    /// It was sent.
    Outbound,
}

/// One captured packet, borrowed from a buffer or owning its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it was captured.
    pub interface: InterfaceId,
    /// When it was captured.
    pub at: Timestamp,
    /// Which way it went, where the file says so.
    pub direction: Option<Direction>,
    /// Length on the wire in bytes; more than `data` holds when the packet was cut.
    pub orig_len_bytes: u32,
    /// The packet from its link-layer header on.
    pub data: Cow<'a, [u8]>,
    /// Its comments (`opt_comment`).
    pub comments: Cow<'a, [String]>,
    /// What became of it, where the file says so.
    pub delivery: Option<Delivery>,
}

/// A packet as a file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    /// `frame.number` in Wireshark: the first packet is 1.
    pub number: u64,
    /// What the packet begins with, by the interface it was captured on.
    pub link: LinkType,
    /// The packet.
    pub record: Record<'a>,
}

impl<'a> Record<'a> {
    /// A whole packet without direction or comments.
    #[must_use]
    pub fn new(interface: InterfaceId, at: Timestamp, data: &'a [u8]) -> Self {
        Self {
            interface,
            at,
            direction: None,
            orig_len_bytes: u32::try_from(data.len()).unwrap_or(u32::MAX),
            data: Cow::Borrowed(data),
            comments: Cow::Borrowed(&[]),
            delivery: None,
        }
    }

    /// Whether the capture holds a part of the packet only.
    #[must_use]
    #[inline]
    pub fn is_cut(&self) -> bool {
        (self.data.len() as u64) < u64::from(self.orig_len_bytes)
    }

    /// The same record with bytes of its own.
    #[must_use]
    pub fn into_owned(self) -> Record<'static> {
        Record {
            interface: self.interface,
            at: self.at,
            direction: self.direction,
            orig_len_bytes: self.orig_len_bytes,
            data: Cow::Owned(self.data.into_owned()),
            comments: match self.comments {
                // Most packets have none, and an empty slice costs nothing.
                Cow::Borrowed([]) => Cow::Borrowed(&[]),
                some => Cow::Owned(some.into_owned()),
            },
            delivery: self.delivery,
        }
    }
}

/// What an interface counted (interface statistics block).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// `isb_ifrecv`: packets received.
    pub received: u64,
    /// Packets that were lost for want of room: `isb_ifdrop`, with those of the operating system (`isb_osdrop`) and
    /// those that the filter accepted and nobody got (`isb_filteraccept` less `isb_usrdeliv`) where that is not there.
    pub dropped: u64,
}
