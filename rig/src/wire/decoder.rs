//! Packets of a whole capture, one after the other.

use super::checksum::{Checksum, Checksums};
use super::fragments::{Fragments, Whole};
use super::ip::{self, Ip};
use super::link::{LinkType, is_outgoing};
use super::packet::{Packet, Transport, Undecoded, packet};
use super::tunnel::{MAX_TUNNELS, Tunnels};
use super::walk::{Found, unwrap, usual, walk};
use crate::units::Timestamp;

/// A packet as it was captured.
#[derive(Debug, Clone, Copy)]
pub struct Captured<'a> {
    /// Its number in the capture.
    pub frame: u64,
    /// When it was captured.
    pub at: Timestamp,
    /// What it begins with.
    pub link: LinkType,
    /// Its bytes.
    pub data: &'a [u8],
    /// Its length on the wire.
    pub orig_len_bytes: u32,
    /// The capturing host itself sent it, so that its network card may still have had to fill in
    /// checksums.
    pub outgoing: bool,
}

/// Reads the packets of a capture in their order and puts fragments together again.
///
/// Fragments are kept for 30 s of capture time, in bounded memory. A packet is given when its last
/// fragment comes; of one that never becomes complete, its first fragment is given afterwards.
#[derive(Debug, Default)]
pub struct Decoder {
    fragments: Fragments,
    whole: Option<Whole>,
    checksums: Checksums,
}

impl Decoder {
    /// Says whether checksums are judged; they are unless they are said not to be.
    #[must_use]
    pub fn with_checksums(mut self, checksums: Checksums) -> Self {
        self.checksums = checksums;
        self
    }

    /// Reads a packet. A fragment that completes nothing gives [`Transport::Fragment`].
    #[inline]
    pub fn decode<'a>(&'a mut self, captured: &Captured<'a>) -> Result<Packet<'a>, Undecoded> {
        let checksums = self.checksums;
        let usual = usual(captured.link, captured.data, captured.orig_len_bytes);
        let mut packet = match usual {
            Some(ip) => packet(&ip, Tunnels::default()),
            None => self.decode_unusual(captured)?,
        };
        let wrong = packet.checksum != Checksum::Credible;
        if wrong
            && (checksums == Checksums::Ignored
                || captured.outgoing
                || is_outgoing(captured.link, captured.data))
        {
            packet.checksum = Checksum::Credible;
        }
        Ok(packet)
    }

    /// The first fragment of a packet that was given up, with its frame number and moment.
    #[inline]
    pub fn given_up(&mut self) -> Option<(u64, Timestamp, Packet<'_>)> {
        let first = self.fragments.fetch_given_up()?;
        let first = self.whole.insert(first);
        Some((first.frame, first.at, packet(&first.ip(), first.tunnels)))
    }

    /// No more packets will come: those that are not complete are given up.
    pub fn finish(&mut self) {
        self.fragments.give_up_all();
    }

    /// Fragments so far that belong to no packet that was given.
    #[must_use]
    pub fn lost_fragments(&self) -> u64 {
        self.fragments.lost
    }

    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.fragments.kept_bytes()
    }

    #[inline(never)]
    fn decode_unusual<'a>(&'a mut self, captured: &Captured<'a>) -> Result<Packet<'a>, Undecoded> {
        let found = walk(
            captured.link,
            captured.data,
            captured.orig_len_bytes,
            self.checksums,
        )?;
        if found.ip.piece.is_some() && !found.ip.damaged {
            self.put_together(&found, captured)
        } else {
            Ok(packet(&found.ip, found.tunnels))
        }
    }

    #[cold]
    fn put_together<'a>(
        &'a mut self,
        found: &Found<'a>,
        captured: &Captured<'a>,
    ) -> Result<Packet<'a>, Undecoded> {
        let moment = (captured.frame, captured.at);
        let mut complete = self.add(found, moment);
        // What fragments make may be an encapsulation with fragments inside.
        for _ in 0..MAX_TUNNELS {
            let Some(whole) = complete else {
                return Ok(waiting(found));
            };
            let whole = self.whole.insert(whole);
            complete = match again(whole, self.checksums) {
                Ok(inner) if inner.ip.piece.is_some() => {
                    let Some(piece) = inner.ip.piece else { break };
                    self.fragments.add(&inner.ip, piece, inner.tunnels, moment)
                }
                _ => break,
            };
        }
        match &self.whole {
            Some(whole) => {
                again(whole, self.checksums).map(|found| packet(&found.ip, found.tunnels))
            }
            None => Ok(waiting(found)),
        }
    }

    fn add(&mut self, found: &Found<'_>, moment: (u64, Timestamp)) -> Option<Whole> {
        let piece = found.ip.piece?;
        self.fragments.add(&found.ip, piece, found.tunnels, moment)
    }
}

/// Reads on in a packet that was put together.
fn again(whole: &Whole, checksums: Checksums) -> Result<Found<'_>, Undecoded> {
    let mut ip: Ip<'_> = whole.ip();
    ip::pass_over_rest(&mut ip);
    unwrap(ip, whole.tunnels, checksums)
}

/// What a fragment is while others are missing.
fn waiting<'a>(found: &Found<'a>) -> Packet<'a> {
    Packet {
        transport: Transport::Fragment,
        first_fragment: false,
        ..packet(&found.ip, found.tunnels)
    }
}
