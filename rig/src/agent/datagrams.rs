//! Which node sends datagrams from each port of the host.
//!
//! There is no first packet of a datagram socket that the kernel would mark. So a packet socket takes the first
//! datagram of each port; the kernel's filter then leaves the port out for a while, so that a flood of datagrams costs
//! a few looks at the table of sockets a second.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use etherparse::{LaxSlicedPacket, TransportSlice};
use nix::poll::PollTimeout;

use super::bpf::{Instruction, OFFSET_OF_FRAGMENT, assemble, place};
use super::processes::Processes;
use super::protocol::DatagramSocket;
use super::sockets::{self, KernelSocket};
use super::sys;
use crate::units::{NodeName, Timestamp};

/// How long a port is left out after a look at it. Another program may have bound it meanwhile.
const LEFT_OUT_FOR: Duration = Duration::from_millis(250);

/// The most ports that are left out at a time: with two instructions each, the filter stays below what kernels take for
/// one (`net.core.optmem_max`, 20,480 bytes before Linux 6.7). Of more ports every datagram is looked at.
const MAX_LEFT_OUT: usize = 256;

/// The most sockets that are kept, at 290 bytes of a reply line each. Later ones are counted in the log.
const MAX_SOCKETS: usize = 2048;

/// Bytes of a datagram that are looked at: Ethernet, IPv4 with every option or IPv6, and UDP headers.
const SNAPLEN_BYTES: usize = 14 + 60 + 8;

/// Room for datagrams that wait for the thread, in bytes of kernel memory.
const RECEIVE_BUFFER_BYTES: libc::c_int = 1024 * 1024;

/// Datagrams that are taken before the table of sockets is looked at.
const MAX_BATCH: usize = 256;

/// The sockets that datagrams of the host came from.
#[derive(Debug)]
pub(super) struct Datagrams {
    socket: OwnedFd,
    left_out: BTreeSet<u16>,
    /// Since when the first of them is left out.
    since: Option<Instant>,
    seen: Vec<DatagramSocket>,
    not_kept: usize,
}

impl Datagrams {
    /// Watches every datagram that the host sends from now on.
    pub(super) fn watch() -> io::Result<Self> {
        let mut filter = datagram_filter(&BTreeSet::new());
        Ok(Self {
            socket: sys::watching_socket(&mut filter, RECEIVE_BUFFER_BYTES)?,
            left_out: BTreeSet::new(),
            since: None,
            seen: Vec::new(),
            not_kept: 0,
        })
    }

    /// When the next look is due though no datagram has come.
    pub(super) fn due_in(&self) -> PollTimeout {
        let left = self
            .since
            .map(|since| LEFT_OUT_FOR.saturating_sub(since.elapsed()));
        // Up to the next millisecond: one too early would look in vain.
        let left = left.map(|left| left.saturating_add(Duration::from_millis(1)));
        left.and_then(|left| left.try_into().ok())
            .unwrap_or(PollTimeout::NONE)
    }

    /// Names the sockets of the ports whose datagrams wait. `known` holds nodes by the inodes of their sockets.
    pub(super) fn look(&mut self, processes: &Processes, known: &mut HashMap<u32, NodeName>) {
        if self
            .since
            .is_some_and(|since| since.elapsed() >= LEFT_OUT_FOR)
        {
            self.left_out.clear();
            self.since = None;
            self.leave_out();
        }
        loop {
            let (ports, more) = self.receive();
            if ports.is_empty() {
                break;
            }
            if self.left_out.len() + ports.len() <= MAX_LEFT_OUT {
                self.left_out.extend(ports.keys());
                self.since.get_or_insert_with(Instant::now);
                self.leave_out();
            }
            if let Err(error) = self.name(&ports, processes, known) {
                tracing::warn!(%error, "the sockets of datagrams could not be looked up");
            }
            if !more {
                break;
            }
        }
    }

    /// Hands over what was found.
    pub(super) fn take(&mut self) -> Vec<DatagramSocket> {
        if self.not_kept > 0 {
            tracing::warn!(
                sockets = self.not_kept,
                "owners not kept: more than {MAX_SOCKETS} sockets of datagrams"
            );
        }
        std::mem::take(&mut self.seen)
    }

    fn leave_out(&self) {
        let mut filter = datagram_filter(&self.left_out);
        if let Err(error) = sys::attach_filter(self.socket.as_fd(), &mut filter) {
            // The filter from before is in force still: it lets more through, or misses a change of owners.
            tracing::warn!(%error, "ports of datagrams could not be left out");
        }
    }

    /// The ports of the datagrams that wait, each with the time of its latest, and whether more wait.
    fn receive(&self) -> (HashMap<u16, Timestamp>, bool) {
        let mut ports = HashMap::new();
        let mut bytes = [0; SNAPLEN_BYTES];
        for _ in 0..MAX_BATCH {
            match sys::receive_stamped(self.socket.as_fd(), &mut bytes) {
                Ok((at, frame)) => {
                    // What came before the filter was in force.
                    let port = source_port(frame).filter(|port| !self.left_out.contains(port));
                    ports.extend(port.map(|port| (port, at)));
                }
                Err(error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        tracing::warn!(%error, "a datagram could not be read");
                    }
                    return (ports, false);
                }
            }
        }
        (ports, true)
    }

    fn name(
        &mut self,
        ports: &HashMap<u16, Timestamp>,
        processes: &Processes,
        known: &mut HashMap<u32, NodeName>,
    ) -> io::Result<()> {
        let mut found = sockets::udp()?;
        found.retain(|socket| socket.inode != 0 && ports.contains_key(&socket.local.port()));
        if found
            .iter()
            .any(|socket| !known.contains_key(&socket.inode))
        {
            *known = processes.look().socket_owners();
        }
        for socket in &found {
            let at = ports.get(&socket.local.port());
            if let (Some(node), Some(&at)) = (known.get(&socket.inode), at) {
                self.keep(socket, node, at);
            }
        }
        Ok(())
    }

    fn keep(&mut self, socket: &KernelSocket, node: &NodeName, at: Timestamp) {
        let same = |kept: &&mut DatagramSocket| {
            (kept.local, kept.remote, &kept.node) == (socket.local, socket.remote, node)
        };
        if let Some(kept) = self.seen.iter_mut().rev().find(same) {
            kept.until = kept.until.max(at);
        } else if self.seen.len() < MAX_SOCKETS {
            self.seen.push(DatagramSocket {
                local: socket.local,
                remote: socket.remote,
                node: node.clone(),
                from: at,
                until: at,
            });
        } else {
            self.not_kept += 1;
        }
    }
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn source_port(frame: &[u8]) -> Option<u16> {
    match LaxSlicedPacket::from_ethernet(frame).ok()?.transport? {
        TransportSlice::Udp(udp) => Some(udp.source_port()),
        _ => None,
    }
}

/// The classic BPF program that accepts the datagrams of UDP that this host sends, but for those from these ports: over
/// IPv4 and over IPv6 without extension headers, of fragments the first.
fn datagram_filter(left_out: &BTreeSet<u16>) -> Vec<libc::sock_filter> {
    use Instruction::{Do, If};
    use libc::{BPF_ABS, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K};
    use libc::{BPF_LD, BPF_LDX, BPF_MSH, BPF_RET};
    use place::{ETHERTYPE, IP, IPV4_FRAGMENT, IPV4_PROTOCOL, IPV6_NEXT_HEADER};
    const IPV6_HEADER_BYTES: u32 = place::IPV6_PAYLOAD - IP;
    // Values.
    const OUTGOING: u32 = libc::PACKET_OUTGOING as u32;
    const IPV4: u32 = libc::ETH_P_IP.cast_unsigned();
    const IPV6: u32 = libc::ETH_P_IPV6.cast_unsigned();
    const UDP: u32 = libc::IPPROTO_UDP.cast_unsigned();
    const ACCEPTED_BYTES: u32 = SNAPLEN_BYTES as u32;
    // Places in the program.
    const IS_IPV6: usize = 10;
    const LOOK_AT_PORT: usize = 14;
    const REJECT: usize = 16;
    const PORTS: usize = 17;

    let packet_type = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
    let equal = BPF_JMP | BPF_JEQ | BPF_K;
    let any_bit = BPF_JMP | BPF_JSET | BPF_K;
    let reject = Do(BPF_RET | BPF_K, 0);
    let mut program = vec![
        Do(BPF_LD | BPF_B | BPF_ABS, packet_type),
        If(equal, OUTGOING, 2, REJECT),
        Do(BPF_LD | BPF_H | BPF_ABS, ETHERTYPE),
        If(equal, IPV4, 4, IS_IPV6),
        Do(BPF_LD | BPF_B | BPF_ABS, IPV4_PROTOCOL),
        If(equal, UDP, 6, REJECT),
        Do(BPF_LD | BPF_H | BPF_ABS, IPV4_FRAGMENT),
        If(any_bit, OFFSET_OF_FRAGMENT, REJECT, 8),
        // The length of the IPv4 header goes to the index register.
        Do(BPF_LDX | BPF_B | BPF_MSH, IP),
        If(equal, UDP, LOOK_AT_PORT, LOOK_AT_PORT),
        If(equal, IPV6, 11, REJECT),
        Do(BPF_LD | BPF_B | BPF_ABS, IPV6_NEXT_HEADER),
        If(equal, UDP, 13, REJECT),
        Do(BPF_LDX | BPF_IMM, IPV6_HEADER_BYTES),
        Do(BPF_LD | BPF_H | BPF_IND, IP),
        If(equal, 0, PORTS, PORTS),
        reject,
    ];
    for &port in left_out {
        let place = program.len();
        program.push(If(equal, u32::from(port), place + 1, place + 2));
        program.push(reject);
    }
    program.push(Do(BPF_RET | BPF_K, ACCEPTED_BYTES));
    assemble(&program)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use etherparse::PacketBuilder;

    use super::*;
    use crate::agent::bpf;

    const OUTGOING: u32 = 4;

    fn frame(v6: bool, from: u16) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2([1; 6], [2; 6]);
        let ip = if v6 {
            ethernet.ipv6([1; 16], [2; 16], 64)
        } else {
            ethernet.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        };
        let mut bytes = Vec::new();
        ip.udp(from, 7000).write(&mut bytes, b"10").unwrap();
        bytes
    }

    #[test]
    fn the_filter_takes_outgoing_datagrams_of_other_ports() {
        let all: BTreeSet<u16> = (1..=256).map(|n| n * 200).collect();
        for left_out in [BTreeSet::new(), BTreeSet::from([5000]), all] {
            let filter = datagram_filter(&left_out);
            for v6 in [false, true] {
                for port in [5000, 4999, 51_200, 200, 1] {
                    let frame = frame(v6, port);
                    let accepted = bpf::run(&filter, OUTGOING, &frame) != 0;
                    assert_eq!(accepted, !left_out.contains(&port), "{v6} {port}");
                    assert_eq!(bpf::run(&filter, 0, &frame), 0, "incoming");
                    assert_eq!(source_port(&frame), Some(port));
                }
            }
        }
        let filter = datagram_filter(&BTreeSet::new());
        let mut later_fragment = frame(false, 1);
        later_fragment[21] = 7;
        let mut tcp = frame(false, 1);
        tcp[23] = 6;
        for other in [&later_fragment[..], &tcp, &[0; 20]] {
            assert_eq!(bpf::run(&filter, OUTGOING, other), 0);
        }
    }

    #[test]
    fn the_kernel_accepts_the_longest_filter() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let most: BTreeSet<u16> = (0..).take(MAX_LEFT_OUT).collect();
        sys::attach_filter(socket.as_fd(), &mut datagram_filter(&most)).unwrap();
    }

    fn socket(local: &str, remote: &str) -> DatagramSocket {
        DatagramSocket {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            node: NodeName::new("alice").unwrap(),
            from: Timestamp(1),
            until: Timestamp(2),
        }
    }

    #[test]
    fn of_sockets_with_one_port_the_closest_fits_best() {
        let local = "10.0.0.1:7000".parse().unwrap();
        let remote = "10.0.0.2:53".parse().unwrap();
        let fit = |own, other| socket(own, other).fits(local, remote);
        assert_eq!(fit("0.0.0.0:7000", "0.0.0.0:0"), Some(0));
        assert_eq!(fit("[::]:7000", "[::]:0"), Some(0));
        assert_eq!(fit("10.0.0.1:7000", "0.0.0.0:0"), Some(1));
        assert_eq!(fit("10.0.0.1:7000", "10.0.0.2:53"), Some(3));
        assert_eq!(fit("10.0.0.1:7000", "10.0.0.3:53"), None);
        assert_eq!(fit("10.0.0.9:7000", "0.0.0.0:0"), None);
        assert_eq!(fit("0.0.0.0:7001", "0.0.0.0:0"), None);
    }
}
