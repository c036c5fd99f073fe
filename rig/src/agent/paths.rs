//! Packets that show whether a network lets through what has another network's addresses, as all has that a link
//! forwards. Engines and firewalls may take it, and a program would wait for its connection in vain.
//!
//! A probe looks like an ordinary datagram to them, and goes to a link address that nobody has: so a bridge shows it to
//! every host of its network, and no kernel looks into it. Recorders leave probes out.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etherparse::PacketBuilder;
use tokio::sync::watch;

use super::protocol::PathProbe;

/// What a probe begins with, before the key of its cell and its number.
const TEXT: &[u8; 16] = b"rig path probe  ";

/// Length of what a probe says, in bytes.
const PAYLOAD_BYTES: usize = TEXT.len() + 8 + 4;

/// Length of a probe: Ethernet, IPv4 and UDP headers, and what it says.
const FRAME_BYTES: usize = 14 + 20 + 8 + PAYLOAD_BYTES;

/// A link address of local administration (IEEE Std 802, 8.2.2) that nobody has.
const NOBODY: [u8; 6] = [0x02, b'r', b'i', b'g', 0xff, 0xfe];

/// The discard service (RFC 863).
const PORT: u16 = 9;

/// A probe goes no further than to the next host.
const HOP_LIMIT: u8 = 1;

/// The probes of one cell, as a host sees them. Clones share what has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Paths {
    /// Tells them from those of others; none where no links are in the cell.
    key: Option<u64>,
    arrived: Arc<Mutex<BTreeSet<u32>>>,
    changes: watch::Sender<()>,
}

impl Paths {
    /// The probes with this key.
    pub(super) fn new(key: Option<u64>) -> Self {
        Self {
            key,
            ..Self::default()
        }
    }

    /// The frame of a probe, sent by the interface with this link address; none in a cell without links.
    pub(super) fn frame(&self, probe: &PathProbe, mac: [u8; 6]) -> Option<Vec<u8>> {
        let mut payload = TEXT.to_vec();
        payload.extend(self.key?.to_be_bytes());
        payload.extend(probe.number.to_be_bytes());
        let packet = PacketBuilder::ethernet2(mac, NOBODY)
            .ipv4(probe.from.octets(), probe.to.octets(), HOP_LIMIT)
            .udp(PORT, PORT);
        let mut frame = Vec::with_capacity(packet.size(payload.len()));
        packet.write(&mut frame, &payload).ok()?;
        Some(frame)
    }

    /// The number of a probe, if the frame is one of this cell.
    pub(super) fn recognise(&self, frame: &[u8]) -> Option<u32> {
        let key = self.key?;
        // Bridges may have added nothing to it, and cards nothing but zeros to the shortest of frames.
        let payload = frame.get(FRAME_BYTES - PAYLOAD_BYTES..FRAME_BYTES)?;
        let rest = payload.strip_prefix(TEXT)?;
        let number = rest.strip_prefix(&key.to_be_bytes())?;
        (frame[..6] == NOBODY).then_some(u32::from_be_bytes(number.try_into().ok()?))
    }

    /// Notes that a probe has arrived.
    pub(super) fn note(&self, number: u32) {
        self.arrived().insert(number);
        self.changes.send_replace(());
    }

    /// Waits for these probes; gives those that have not come in time.
    pub(super) async fn missing(&self, mut awaited: BTreeSet<u32>, within: Duration) -> Vec<u32> {
        let mut changes = self.changes.subscribe();
        let all = async {
            loop {
                let arrived = self.arrived().clone();
                awaited.retain(|number| !arrived.contains(number));
                if awaited.is_empty() || changes.changed().await.is_err() {
                    break;
                }
            }
        };
        tokio::time::timeout(within, all).await.ok();
        awaited.into_iter().collect()
    }

    fn arrived(&self) -> std::sync::MutexGuard<'_, BTreeSet<u32>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn probe() -> PathProbe {
        PathProbe {
            number: 7,
            on: Ipv4Addr::new(10, 0, 0, 10),
            from: Ipv4Addr::new(10, 0, 0, 10),
            to: Ipv4Addr::new(10, 0, 1, 10),
        }
    }

    #[test]
    fn only_probes_of_the_same_cell_count() {
        let ours = Paths::new(Some(1));
        let frame = ours.frame(&probe(), [2; 6]).unwrap();
        assert_eq!(frame.len(), FRAME_BYTES);
        assert_eq!(ours.recognise(&frame), Some(7));
        assert_eq!(Paths::new(Some(2)).recognise(&frame), None);
        assert_eq!(Paths::new(None).recognise(&frame), None);
        assert_eq!(Paths::new(None).frame(&probe(), [2; 6]), None);
        assert_eq!(ours.recognise(&frame[..FRAME_BYTES - 1]), None);
        let mut to_somebody = frame.clone();
        to_somebody[5] = 0;
        assert_eq!(ours.recognise(&to_somebody), None);
        // For a firewall it is a datagram like any other.
        let seen = crate::wire::decode(crate::wire::LinkType::Ethernet, &frame, 70).unwrap();
        assert!(matches!(seen.transport, crate::wire::Transport::Udp(_)));
    }

    #[tokio::test]
    async fn what_has_not_come_is_told() {
        let paths = Paths::new(Some(1));
        let wanted = || BTreeSet::from([1, 2, 3]);
        paths.note(2);
        let missing = paths.missing(wanted(), Duration::from_millis(1)).await;
        assert_eq!(missing, [1, 3]);
        let clone = paths.clone();
        let waiting = tokio::spawn(async move { clone.missing(wanted(), Duration::MAX).await });
        paths.note(3);
        tokio::task::yield_now().await;
        paths.note(1);
        assert_eq!(waiting.await.unwrap(), [0; 0]);
    }
}
