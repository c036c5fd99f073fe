//! What tells one conversation from another.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::flow::Proto;

/// Protocol and both endpoints, the same for both directions. The lower endpoint comes first, so
/// two ends on one address are told apart by their ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    proto: Proto,
    addresses: Addresses,
    ports: [u16; 2],
    /// Which of the places that have these addresses is meant. Loopback addresses are of every
    /// machine, and a merged capture holds those of several.
    place: u32,
}

/// Both addresses, without what a `SocketAddr` carries besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addresses {
    V4([[u8; 4]; 2]),
    V6([[u8; 16]; 2]),
}

impl Key {
    /// The key of a packet, and whether its source is the first endpoint of it.
    #[inline]
    pub(super) fn of(
        proto: Proto,
        source: (IpAddr, u16),
        destination: (IpAddr, u16),
    ) -> (Self, bool) {
        if let (IpAddr::V4(from), IpAddr::V4(to)) = (source.0, destination.0) {
            return Self::of_ipv4(proto, (from, source.1), (to, destination.1));
        }
        let source_first = source <= destination;
        let (first, second) = if source_first {
            (source, destination)
        } else {
            (destination, source)
        };
        let addresses = Addresses::V6([octets(first.0), octets(second.0)]);
        let ports = [first.1, second.1];
        let key = Self {
            proto,
            addresses,
            ports,
            place: 0,
        };
        (key, source_first)
    }

    /// The same for most packets, in a few comparisons of numbers.
    #[inline]
    fn of_ipv4(
        proto: Proto,
        source: (Ipv4Addr, u16),
        destination: (Ipv4Addr, u16),
    ) -> (Self, bool) {
        let number = |end: (Ipv4Addr, u16)| u64::from(end.0.to_bits()) << 16 | u64::from(end.1);
        let source_first = number(source) <= number(destination);
        let (first, second) = if source_first {
            (source, destination)
        } else {
            (destination, source)
        };
        let key = Self {
            proto,
            addresses: Addresses::V4([first.0.octets(), second.0.octets()]),
            ports: [first.1, second.1],
            place: 0,
        };
        (key, source_first)
    }

    /// The same addresses at another place.
    #[inline]
    pub(super) fn at(self, place: u32) -> Self {
        Self { place, ..self }
    }

    pub(super) fn proto(&self) -> Proto {
        self.proto
    }

    /// Both endpoints, the lower one first.
    pub(super) fn endpoints(&self) -> [SocketAddr; 2] {
        let [a, b] = match self.addresses {
            Addresses::V4(both) => both.map(IpAddr::from),
            Addresses::V6(both) => both.map(IpAddr::from),
        };
        [
            SocketAddr::new(a, self.ports[0]),
            SocketAddr::new(b, self.ports[1]),
        ]
    }
}

impl Hash for Key {
    /// In as few pieces as there are, which is what a hasher's time goes by.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b] = self.ports;
        let rest = u64::from(a) << 32 | u64::from(b) << 16 | self.proto as u64;
        match self.addresses {
            Addresses::V4(both) => {
                let [a, b] = both.map(|octets| u64::from(Ipv4Addr::from(octets).to_bits()));
                state.write_u64(a << 32 | b);
            }
            Addresses::V6([a, b]) => {
                state.write_u128(u128::from_ne_bytes(a));
                state.write_u128(u128::from_ne_bytes(b));
            }
        }
        state.write_u64(rest);
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}
