//! Link-layer addresses of the next hosts: asked for, answered and remembered (RFC 826).

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::link::Side;
use crate::units::Timestamp;

/// A link-layer address.
pub(super) type Mac = [u8; 6];

/// Ethernet types.
pub(super) const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
pub(super) const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];

/// Length of an Ethernet header.
pub(super) const ETHERNET_BYTES: usize = 14;

/// To everybody on a network.
const BROADCAST: Mac = [0xff; 6];

/// Hardware type, protocol type and their lengths, for IPv4 over Ethernet.
const ARP_HEADER: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// Packets that wait for the address of one host.
const MAX_WAITING: usize = 64;

/// How often a host is asked for, and how long after each time.
const ATTEMPTS: u32 = 3;
const ASK_EVERY: Duration = Duration::from_millis(200);

/// An ARP message for IPv4 over Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arp {
    pub(super) is_request: bool,
    pub(super) sender: (Mac, Ipv4Addr),
    pub(super) target: (Mac, Ipv4Addr),
}

impl Arp {
    /// Reads what follows an Ethernet header.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let message = message.first_chunk::<28>()?;
        let (header, rest) = message.split_first_chunk::<6>()?;
        let (operation, rest) = rest.split_first_chunk::<2>()?;
        if *header != ARP_HEADER || ![REQUEST, REPLY].contains(operation) {
            return None;
        }
        let end = |at: usize| {
            let mac = *rest.get(at..)?.first_chunk::<6>()?;
            let address = *rest.get(at + 6..)?.first_chunk::<4>()?;
            Some((mac, Ipv4Addr::from(address)))
        };
        Some(Self {
            is_request: *operation == REQUEST,
            sender: end(0)?,
            target: end(10)?,
        })
    }

    /// The frame that carries it.
    pub(super) fn frame(&self) -> Vec<u8> {
        let to = if self.is_request {
            BROADCAST
        } else {
            self.target.0
        };
        let mut frame = [&to[..], &self.sender.0, &ETHERTYPE_ARP, &ARP_HEADER].concat();
        frame.extend(if self.is_request { REQUEST } else { REPLY });
        for (mac, address) in [self.sender, self.target] {
            frame.extend(mac);
            frame.extend(address.octets());
        }
        frame
    }
}

/// What is known of the hosts on both sides, and what waits until it is.
#[derive(Debug)]
pub(super) struct Neighbours<T> {
    known: HashMap<(Side, Ipv4Addr), Mac>,
    asked: HashMap<(Side, Ipv4Addr), Asked<T>>,
}

#[derive(Debug)]
struct Asked<T> {
    attempts: u32,
    again_at: Timestamp,
    waiting: Vec<T>,
}

/// What becomes of a packet for a host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<T> {
    /// It can be sent to this address.
    Known(Mac, T),
    /// It waits; the host shall be asked for.
    Ask,
    /// It waits for an answer.
    Waits,
    /// Too many wait already.
    Refused(T),
}

impl<T> Neighbours<T> {
    pub(super) fn new() -> Self {
        Self {
            known: HashMap::new(),
            asked: HashMap::new(),
        }
    }

    /// Looks for the address of a host, for a packet that is to be sent to it.
    pub(super) fn find(
        &mut self,
        side: Side,
        host: Ipv4Addr,
        packet: T,
        now: Timestamp,
    ) -> Found<T> {
        if let Some(mac) = self.known.get(&(side, host)) {
            return Found::Known(*mac, packet);
        }
        if let Some(asked) = self.asked.get_mut(&(side, host)) {
            if asked.waiting.len() >= MAX_WAITING {
                return Found::Refused(packet);
            }
            asked.waiting.push(packet);
            return Found::Waits;
        }
        let asked = Asked {
            attempts: 1,
            again_at: later(now),
            waiting: vec![packet],
        };
        self.asked.insert((side, host), asked);
        Found::Ask
    }

    /// Remembers the address of a host; gives the packets that waited for it.
    pub(super) fn learn(&mut self, side: Side, host: Ipv4Addr, mac: Mac) -> Vec<T> {
        if host.is_unspecified() {
            return Vec::new();
        }
        let asked = self.asked.remove(&(side, host));
        // Only hosts that are needed are remembered, so that nobody can fill the table.
        if asked.is_some() || self.known.contains_key(&(side, host)) {
            self.known.insert((side, host), mac);
        }
        asked.map(|asked| asked.waiting).unwrap_or_default()
    }

    /// When something is to be done again.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.asked.values().map(|asked| asked.again_at).min()
    }

    /// Hosts that shall be asked for again by now, and packets for those that were asked for often
    /// enough.
    pub(super) fn overdue(&mut self, now: Timestamp) -> (Vec<(Side, Ipv4Addr)>, Vec<T>) {
        let (mut again, mut given_up) = (Vec::new(), Vec::new());
        let late = self.asked.extract_if(|host, asked| {
            if asked.again_at > now {
                return false;
            }
            if asked.attempts >= ATTEMPTS {
                return true;
            }
            asked.attempts += 1;
            asked.again_at = later(now);
            again.push(*host);
            false
        });
        for (_, asked) in late {
            given_up.extend(asked.waiting);
        }
        (again, given_up)
    }
}

fn later(now: Timestamp) -> Timestamp {
    let pause = u64::try_from(ASK_EVERY.as_nanos()).unwrap_or(u64::MAX);
    Timestamp(now.0.saturating_add(pause))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const MAC: Mac = [2, 0, 0, 0, 0, 1];

    #[test]
    fn messages_are_read_as_they_are_written() {
        for is_request in [true, false] {
            let arp = Arp {
                is_request,
                sender: (MAC, HOST),
                target: ([0; 6], Ipv4Addr::new(10, 0, 0, 2)),
            };
            let frame = arp.frame();
            assert_eq!(frame[12..14], ETHERTYPE_ARP);
            assert_eq!(Arp::read(&frame[ETHERNET_BYTES..]), Some(arp));
            assert_eq!(Arp::read(&frame[ETHERNET_BYTES..41]), None);
            assert_eq!(Arp::read(&[0; 28]), None);
        }
    }

    #[test]
    fn packets_wait_until_their_host_answers_or_is_given_up() {
        let mut hosts = Neighbours::new();
        let side = Side::First;
        let at = |millis: u64| Timestamp(millis * 1_000_000);
        assert_eq!(hosts.find(side, HOST, 1, at(0)), Found::Ask);
        assert_eq!(hosts.find(side, HOST, 2, at(0)), Found::Waits);
        assert_eq!(hosts.overdue(at(100)), (vec![], vec![]));
        assert_eq!(hosts.overdue(at(200)), (vec![(side, HOST)], vec![]));
        assert_eq!(hosts.learn(side, HOST, MAC), [1, 2]);
        assert_eq!(hosts.find(side, HOST, 3, at(300)), Found::Known(MAC, 3));
        assert_eq!(hosts.next_due(), None);

        // Nobody is on the other side.
        assert_eq!(hosts.find(Side::Second, HOST, 4, at(0)), Found::Ask);
        for millis in [200, 400] {
            assert_eq!(hosts.overdue(at(millis)).0.len(), 1);
        }
        assert_eq!(hosts.overdue(at(600)), (vec![], vec![4]));
        for packet in 0..MAX_WAITING {
            hosts.find(Side::Second, HOST, packet, at(700));
        }
        assert_eq!(
            hosts.find(Side::Second, HOST, 99, at(700)),
            Found::Refused(99)
        );
        // Who is not needed is not remembered.
        hosts.learn(side, Ipv4Addr::new(10, 0, 0, 9), MAC);
        assert_eq!(hosts.known.len(), 1);
    }
}
