//! The interfaces of a host: which there are, how a capture names them, and their offloads.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;

use super::protocol::HostInterface;
use super::sys;

/// The most interfaces that a host may have: each takes a ring of 8 MiB.
pub(super) const MAX_INTERFACES: usize = 64;

/// An interface with what the kernel calls it by.
#[derive(Debug, Clone)]
pub(super) struct Interface {
    /// Its number.
    pub(super) index: i32,
    /// What the controller is told of it.
    pub(super) public: HostInterface,
}

impl Interface {
    /// Whether nothing beyond the host is on it.
    pub(super) fn is_loopback(&self) -> bool {
        let mut addresses = self.public.addresses.iter();
        addresses.any(IpAddr::is_loopback)
    }
}

/// Prepares every interface on which packets can cross: brings the loopback interface up, switches
/// offloads off, names each `host@network`. Interfaces that are down, or that are no Ethernet
/// (tunnels that the kernel puts into every new namespace), are left alone.
pub(super) fn prepare(host: &str, networks: &[(IpAddr, String)]) -> io::Result<Vec<Interface>> {
    let socket = sys::packet_socket()?;
    let mut found = enumerate()?;
    for raw in found.values().filter(|raw| raw.loopback && !raw.up) {
        sys::bring_up(socket.as_fd(), &raw.name)?;
    }
    // Addresses of a loopback interface come with its being up.
    found = enumerate()?;
    found.retain(|_, raw| {
        let kept = raw.up && raw.ethernet;
        if !kept {
            tracing::info!(interface = raw.name, "not captured: down, or no Ethernet");
        }
        kept
    });
    if found.len() > MAX_INTERFACES {
        return Err(io::Error::other(format!(
            "the host has {} interfaces, at most {MAX_INTERFACES} are captured",
            found.len()
        )));
    }
    let mut taken = Vec::new();
    found
        .into_iter()
        .map(|(index, raw)| {
            let label = label(host, networks, &raw, &taken);
            taken.push(label.clone());
            Ok(Interface {
                index,
                public: HostInterface {
                    label,
                    mac: raw.mac,
                    mtu_bytes: sys::mtu_bytes(socket.as_fd(), &raw.name)?,
                    offloads_left: switch_offloads_off(socket.as_fd(), &raw.name),
                    addresses: raw.addresses,
                    name: raw.name,
                },
            })
        })
        .collect()
}

#[derive(Debug, Default)]
struct Raw {
    name: String,
    mac: [u8; 6],
    addresses: Vec<IpAddr>,
    loopback: bool,
    ethernet: bool,
    up: bool,
}

/// Interfaces by their numbers.
fn enumerate() -> io::Result<BTreeMap<i32, Raw>> {
    let entries: Vec<InterfaceAddress> = getifaddrs()?.collect();
    let mut found = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    for entry in &entries {
        let link = entry.address.as_ref().and_then(|a| a.as_link_addr());
        let Some(link) = link else {
            continue;
        };
        let index = i32::try_from(link.ifindex()).map_err(io::Error::other)?;
        numbers.insert(entry.interface_name.clone(), index);
        let raw = Raw {
            name: entry.interface_name.clone(),
            mac: link.addr().unwrap_or_default(),
            addresses: Vec::new(),
            loopback: link.hatype() == libc::ARPHRD_LOOPBACK,
            ethernet: matches!(link.hatype(), libc::ARPHRD_LOOPBACK | libc::ARPHRD_ETHER),
            up: entry.flags.contains(InterfaceFlags::IFF_UP),
        };
        found.insert(index, raw);
    }
    for entry in &entries {
        let raw = numbers
            .get(&entry.interface_name)
            .and_then(|index| found.get_mut(index));
        if let (Some(raw), Some(address)) = (raw, ip_address(entry)) {
            raw.addresses.push(address);
        }
    }
    Ok(found)
}

fn ip_address(entry: &InterfaceAddress) -> Option<IpAddr> {
    let address = entry.address.as_ref()?;
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(v4.ip().into());
    }
    address.as_sockaddr_in6().map(|v6| v6.ip().into())
}

/// `host@network`; the interface's own name stands for the network where none is known, and beside
/// it where another interface of the host is on the same one.
fn label(host: &str, networks: &[(IpAddr, String)], raw: &Raw, taken: &[String]) -> String {
    let network = networks
        .iter()
        .find(|(address, _)| raw.addresses.contains(address))
        .map_or(raw.name.as_str(), |(_, network)| network);
    let network = if raw.loopback { "lo" } else { network };
    let label = format!("{host}@{network}");
    if taken.contains(&label) {
        return format!("{label}.{}", raw.name);
    }
    label
}

/// An offload: its name in `ethtool -K`, and the commands that set and get it (linux/ethtool.h).
struct Offload {
    name: &'static str,
    set: u32,
    get: u32,
}

/// What makes a capture differ from a wire: segments joined or not yet cut (tso, gso, gro), and
/// checksums not yet computed (tx, rx). The checksums come last, as the others rest on them.
const OFFLOADS: [Offload; 5] = [
    Offload {
        name: "tso",
        set: 0x1f,
        get: 0x1e,
    },
    Offload {
        name: "gso",
        set: 0x24,
        get: 0x23,
    },
    Offload {
        name: "gro",
        set: 0x2c,
        get: 0x2b,
    },
    Offload {
        name: "tx",
        set: 0x17,
        get: 0x16,
    },
    Offload {
        name: "rx",
        set: 0x15,
        get: 0x14,
    },
];

/// Switches every offload off; gives the names of those that the kernel keeps on.
fn switch_offloads_off(socket: BorrowedFd<'_>, interface: &str) -> Vec<String> {
    for offload in &OFFLOADS {
        if let Err(error) = sys::ethtool(socket, interface, offload.set, 0) {
            tracing::debug!(interface, offload = offload.name, %error, "not switched off");
        }
    }
    // Some drivers accept a command without obeying it: what counts is what they say afterwards.
    // A driver that does not know an offload does not do it.
    OFFLOADS
        .iter()
        .filter(|offload| sys::ethtool(socket, interface, offload.get, 0).is_ok_and(|on| on != 0))
        .map(|offload| offload.name.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, address: &str) -> Raw {
        Raw {
            name: name.to_owned(),
            addresses: vec![address.parse().unwrap()],
            ..Raw::default()
        }
    }

    #[test]
    fn interfaces_are_named_after_their_networks() {
        let networks = [
            ("10.0.1.10".parse().unwrap(), "lan".to_owned()),
            ("10.0.2.10".parse().unwrap(), "wan".to_owned()),
            ("10.0.1.11".parse().unwrap(), "lan".to_owned()),
        ];
        let mut taken = Vec::new();
        for (raw, expected) in [
            (interface("eth1", "10.0.2.10"), "alice@wan"),
            (interface("eth0", "10.0.1.10"), "alice@lan"),
            (interface("eth2", "10.0.1.11"), "alice@lan.eth2"),
            (interface("eth3", "192.0.2.1"), "alice@eth3"),
        ] {
            let label = label("alice", &networks, &raw, &taken);
            assert_eq!(label, expected);
            taken.push(label);
        }
        let lo = Raw {
            loopback: true,
            ..interface("lo", "10.0.1.10")
        };
        assert_eq!(label("alice", &networks, &lo, &taken), "alice@lo");
    }
}
