//! Which node sends datagrams from each port of the host.
//!
//! There is no first packet of a datagram socket that the kernel would mark. So a packet socket takes the first
//! datagram of each port; the kernel's filter then leaves the port out for a while, so that a flood of datagrams costs
//! a few looks at the table of sockets a second.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFlags, PollTimeout};

use super::bpf::{Instruction, OUTGOING_LEN, assemble, outgoing, place};
use super::processes::Processes;
use super::protocol::DatagramSocket;
use super::sockets::{self, KernelSocket, is_of_name_server};
use super::sys;
use crate::units::{NodeName, Timestamp};

/// How long the first of the ports that are left out is so; then all are looked at again. Another program may have bound
/// one meanwhile.
const LEFT_OUT_FOR: Duration = Duration::from_millis(250);

/// The most ports that are left out at a time: with two instructions each, the old filter and the new one together stay
/// below what kernels take (`net.core.optmem_max`, 20,480 bytes before Linux 6.8).
const MAX_LEFT_OUT: usize = 256;

/// Time between two looks while more ports send than can be left out: the thread has SYNs to look after.
const PAUSE: Duration = Duration::from_millis(20);

/// How many sockets without a node are kept in mind, so that the processes are not walked for them again and again.
const MAX_UNOWNED: usize = 4096;

/// The most sockets that are kept, at 290 bytes of a reply line each. Later ones are counted in the log.
const MAX_SOCKETS: usize = 2048;

/// Bytes of a datagram that are looked at: Ethernet, IPv4 with every option or IPv6, and UDP headers.
const SNAPLEN_BYTES: u8 = 14 + 60 + 8;

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
    /// More ports send than can be left out: no look before this.
    paused_until: Option<Instant>,
    /// Sockets that belonged to no node when they were looked up.
    unowned: HashSet<u32>,
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
            paused_until: None,
            unowned: HashSet::new(),
            seen: Vec::new(),
            not_kept: 0,
        })
    }

    /// When the next look is due though no datagram has come.
    pub(super) fn due_in(&self) -> PollTimeout {
        let now = Instant::now();
        let renewal = self.since.map(|since| since + LEFT_OUT_FOR);
        let due = [renewal, self.paused_until].into_iter().flatten().min();
        let left = due.map(|due| due.saturating_duration_since(now));
        // Up to the next millisecond: one too early would look in vain.
        let left = left.map(|left| left.saturating_add(Duration::from_millis(1)));
        left.and_then(|left| left.try_into().ok())
            .unwrap_or(PollTimeout::NONE)
    }

    /// What of the socket's state shall wake the thread.
    pub(super) fn wakes_by(&self) -> PollFlags {
        match self.paused_until {
            Some(_) => PollFlags::empty(),
            None => PollFlags::POLLIN,
        }
    }

    /// Names the sockets of the ports whose datagrams wait, of a bounded number at a time: whoever calls has more to do.
    /// `known` holds nodes by the inodes of their sockets.
    pub(super) fn look(&mut self, processes: &Processes, known: &mut HashMap<u32, NodeName>) {
        let now = Instant::now();
        if self.since.is_some_and(|since| now >= since + LEFT_OUT_FOR) {
            self.left_out.clear();
            self.unowned.clear();
            self.since = None;
            self.leave_out();
        }
        if self.paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.paused_until = None;
        let ports = self.receive();
        if ports.is_empty() {
            return;
        }
        let room = MAX_LEFT_OUT - self.left_out.len();
        if room < ports.len() {
            self.paused_until = Some(now + PAUSE);
        }
        if room > 0 {
            self.left_out.extend(ports.keys().take(room));
            self.since.get_or_insert(now);
            self.leave_out();
        }
        if let Err(error) = self.name(&ports, processes, known) {
            tracing::warn!(%error, "the sockets of datagrams could not be looked up");
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
        match sys::packet_statistics(self.socket.as_fd()) {
            Ok(counted) if counted.tp_drops > 0 => {
                tracing::warn!(datagrams = counted.tp_drops, "some were not looked at");
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "datagrams that were not looked at are not counted");
            }
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

    /// The ports of datagrams that wait, each with the time of its latest.
    fn receive(&self) -> HashMap<u16, Timestamp> {
        let mut ports = HashMap::new();
        let mut bytes = [0; SNAPLEN_BYTES as usize];
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
                    break;
                }
            }
        }
        ports
    }

    fn name(
        &mut self,
        ports: &HashMap<u16, Timestamp>,
        processes: &Processes,
        known: &mut HashMap<u32, NodeName>,
    ) -> io::Result<()> {
        let mut found = sockets::udp()?;
        found.retain(|socket| {
            let named = socket.inode != 0 && !is_of_name_server(socket.local.ip());
            named && ports.contains_key(&socket.local.port())
        });
        let is_new = |inode| !known.contains_key(inode) && !self.unowned.contains(inode);
        if found.iter().any(|socket| is_new(&socket.inode)) {
            *known = processes.look().socket_owners();
            let unowned = found.iter().map(|socket| socket.inode);
            let unowned = unowned.filter(|inode| !known.contains_key(inode));
            self.unowned.extend(unowned.take(MAX_UNOWNED));
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

/// The source port of a datagram, or of its first fragment, where the filter reads it.
fn source_port(frame: &[u8]) -> Option<u16> {
    let half = |at: usize| Some(u16::from_be_bytes(frame.get(at..)?.first_chunk().copied()?));
    let at = |place: u32| usize::try_from(place).unwrap_or(usize::MAX);
    let byte = |place| frame.get(at(place)).copied();
    let (protocol, header_bytes) = match i32::from(half(at(place::ETHERTYPE))?) {
        libc::ETH_P_IP => (
            byte(place::IPV4_PROTOCOL)?,
            usize::from(byte(place::IP)? & 0x0f) * 4,
        ),
        libc::ETH_P_IPV6 => (
            byte(place::IPV6_NEXT_HEADER)?,
            at(place::IPV6_PAYLOAD - place::IP),
        ),
        _ => return None,
    };
    let is_udp = i32::from(protocol) == libc::IPPROTO_UDP;
    is_udp.then(|| half(at(place::IP) + header_bytes))?
}

/// The classic BPF program that accepts the datagrams of UDP that this host sends, but for those from these ports: over
/// IPv4 and over IPv6 without extension headers, of fragments the first.
fn datagram_filter(left_out: &BTreeSet<u16>) -> Vec<libc::sock_filter> {
    use Instruction::{Do, If};
    use libc::{BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET};
    // Places in the program.
    const REJECT: usize = OUTGOING_LEN + 2;
    const PORTS: usize = REJECT + 1;

    let equal = BPF_JMP | BPF_JEQ | BPF_K;
    let reject = Do(BPF_RET | BPF_K, 0);
    let mut program = outgoing(libc::IPPROTO_UDP, REJECT).to_vec();
    program.extend([
        Do(BPF_LD | BPF_H | BPF_IND, place::IP),
        If(equal, 0, PORTS, PORTS),
        reject,
    ]);
    for &port in left_out {
        let place = program.len();
        program.push(If(equal, u32::from(port), place + 1, place + 2));
        program.push(reject);
    }
    program.push(Do(BPF_RET | BPF_K, SNAPLEN_BYTES.into()));
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
        // More fragments follow: etherparse shows no ports of it.
        let mut first_fragment = frame(false, 7);
        first_fragment[20] = 0x20;
        assert_ne!(bpf::run(&filter, OUTGOING, &first_fragment), 0);
        assert_eq!(source_port(&first_fragment), Some(7));
        let mut later_fragment = frame(false, 1);
        later_fragment[21] = 7;
        let mut tcp = frame(false, 1);
        tcp[23] = 6;
        for other in [&later_fragment[..], &tcp, &[0; 20]] {
            assert_eq!(bpf::run(&filter, OUTGOING, other), 0);
        }
        for other in [&tcp[..], &[0; 20], &frame(false, 1)[..34], &[]] {
            assert_eq!(source_port(other), None);
        }
    }

    #[test]
    fn the_kernel_accepts_the_longest_filter() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let most: BTreeSet<u16> = (0..).take(MAX_LEFT_OUT).collect();
        // The kernel has room for the old one and the new one at a time.
        for _ in 0..2 {
            sys::attach_filter(socket.as_fd(), &mut datagram_filter(&most)).unwrap();
        }
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
        let sixth = "[fd00::1]:7000".parse().unwrap();
        let other = "[fd00::2]:53".parse().unwrap();
        let of_ipv4 = socket("0.0.0.0:7000", "0.0.0.0:0");
        assert_eq!(of_ipv4.fits(sixth, other), None);
        assert_eq!(fit("10.0.0.1:7000", "0.0.0.0:0"), Some(1));
        assert_eq!(fit("10.0.0.1:7000", "10.0.0.2:53"), Some(3));
        assert_eq!(fit("10.0.0.1:7000", "10.0.0.3:53"), None);
        assert_eq!(fit("10.0.0.9:7000", "0.0.0.0:0"), None);
        assert_eq!(fit("0.0.0.0:7001", "0.0.0.0:0"), None);
    }
}
