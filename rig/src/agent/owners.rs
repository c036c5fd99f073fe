//! Which node opened each connection of the host, and which sends datagrams from each of its ports.
//!
//! A thread is woken by every SYN that leaves the host, asks the kernel at once which socket sent
//! it, and then looks which process has that socket open. A socket that is gone by then (its
//! connection was refused within microseconds, or its process was killed) has no owner, unless a step has
//! waited for the connection, or has read the table of sockets, and found out. The same thread looks at datagrams ([`super::datagrams`]).

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;

use super::bpf::{Instruction, OUTGOING_LEN, assemble, outgoing, place, tcp};
use super::datagrams::Datagrams;
use super::processes::Processes;
use super::protocol::{ConnectionOwner, DatagramSocket};
use super::{sockets, sys};
use crate::units::{NodeName, Timestamp};

/// The most connections whose owners are kept: what fits a reply line at 205 bytes each. Later
/// ones are counted in the log.
const MAX_OWNERS: usize = 16_384;

/// SYNs whose sockets are looked up before the processes are: sockets go first, processes stay.
const MAX_BATCH: usize = 256;

/// Bytes of a SYN that are looked at: Ethernet, IPv6 and TCP headers with every option.
const SNAPLEN_BYTES: usize = 14 + 40 + 60;

/// Room for SYNs that wait for the thread, in bytes of kernel memory (about 800 each).
const RECEIVE_BUFFER_BYTES: libc::c_int = 4 * 1024 * 1024;

/// How many SYNs have left the host while its connections are watched, those sent again among them. Clones
/// share the count.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts(Arc<AtomicU64>);

impl Attempts {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the thread has found out.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// The owner of each connection, in the order of their SYNs.
    pub(super) connections: Vec<ConnectionOwner>,
    pub(super) datagrams: Vec<DatagramSocket>,
}

/// The thread that names the owners of connections and of ports that send datagrams.
#[derive(Debug)]
pub(super) struct OwnerWatch {
    stop: Arc<EventFd>,
    result: oneshot::Receiver<Owners>,
}

impl OwnerWatch {
    /// Starts to watch, and counts `attempts`.
    pub(super) fn start(processes: Processes, attempts: Attempts) -> io::Result<Self> {
        // Every SYN that the host sends, and nothing else.
        let socket = sys::watching_socket(&mut syn_filter(), RECEIVE_BUFFER_BYTES)?;
        let datagrams = Datagrams::watch()?;
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
        let mut watch = Watch {
            socket,
            datagrams,
            stop: Arc::clone(&stop),
            processes,
            attempts,
            seen: HashSet::new(),
            owners: Vec::new(),
            not_kept: 0,
            known: HashMap::new(),
        };
        let (sender, result) = oneshot::channel();
        std::thread::Builder::new()
            .name("owners".to_owned())
            .spawn(move || {
                watch.run();
                // The socket is dropped after this: the kernel takes its time to let go of it.
                // Nobody may be waiting any more.
                let _ = sender.send(Owners {
                    connections: watch.take(),
                    datagrams: watch.datagrams.take(),
                });
            })?;
        Ok(Self { stop, result })
    }

    /// Stops; gives what was found out.
    pub(super) async fn finish(self) -> io::Result<Owners> {
        self.stop.write(1)?;
        self.result
            .await
            .map_err(|_| io::Error::other("the thread that names owners of connections panicked"))
    }
}

/// A TCP connection attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Syn {
    local: SocketAddr,
    remote: SocketAddr,
    /// The initial sequence number: the same in a retransmission, another in a new connection.
    sequence: u32,
}

struct Watch {
    socket: OwnedFd,
    datagrams: Datagrams,
    stop: Arc<EventFd>,
    processes: Processes,
    attempts: Attempts,
    seen: HashSet<Syn>,
    owners: Vec<ConnectionOwner>,
    not_kept: u64,
    /// Nodes of sockets, by inode, from the last look at the processes.
    known: HashMap<u32, NodeName>,
}

impl Watch {
    fn run(&mut self) {
        loop {
            let mut fds = [
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.datagrams.as_fd(), self.datagrams.wakes_by()),
            ];
            match poll(&mut fds, self.datagrams.due_in()) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => {
                    tracing::error!(%error, "owners of connections are no longer looked up");
                    break;
                }
            }
            let stopped = fds[1].any().unwrap_or(true);
            while self.name_batch() {}
            self.datagrams.look(&self.processes, &mut self.known);
            if stopped {
                break;
            }
        }
        if self.not_kept > 0 {
            tracing::warn!(
                connections = self.not_kept,
                "owners not kept: more than {MAX_OWNERS} connections"
            );
        }
    }

    /// Hands over what was found, with what others have found out since.
    fn take(&mut self) -> Vec<ConnectionOwner> {
        // From the last on: of several connections between the same ends what was found out is of the latest before.
        for owner in self.owners.iter_mut().rev() {
            let found = self.processes.recall(owner.local, owner.remote, owner.at);
            owner.node = owner.node.take().or(found);
        }
        std::mem::take(&mut self.owners)
    }

    /// Names the owners of the SYNs that wait, of a bounded number at a time; gives whether more
    /// may wait.
    fn name_batch(&mut self) -> bool {
        let mut batch = Vec::new();
        let mut more = true;
        while more && batch.len() < MAX_BATCH {
            match receive_syn(&self.socket) {
                Ok(Some((at, syn))) => {
                    self.attempts.add_one();
                    if self.owners.len() + batch.len() >= MAX_OWNERS {
                        self.not_kept += 1;
                    } else if self.seen.insert(syn) {
                        batch.push((at, syn, inode_of(&syn)));
                    }
                }
                // Not a SYN after all: the filter and the parser see malformed packets apart.
                Ok(None) => {}
                Err(error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        tracing::warn!(%error, "a SYN could not be read");
                    }
                    more = false;
                }
            }
        }
        let unknown = |known: &HashMap<u32, NodeName>| {
            let mut inodes = batch.iter().filter_map(|(_, _, inode)| inode.as_ref());
            inodes.any(|inode| !known.contains_key(inode))
        };
        if unknown(&self.known) {
            self.known = self.processes.look().socket_owners();
        }
        for (at, syn, inode) in batch {
            let Syn { local, remote, .. } = syn;
            // Whoever waited for the connection has forgotten nothing, even if its program is gone.
            let waited_for = self.processes.recall(local, remote, at);
            let node = inode.and_then(|inode| self.known.get(&inode).cloned());
            self.owners.push(ConnectionOwner {
                at,
                local,
                remote,
                node: node.or(waited_for),
            });
        }
        more
    }
}

fn inode_of(syn: &Syn) -> Option<u32> {
    sockets::inode_of(syn.local, syn.remote).unwrap_or_else(|error| {
        tracing::warn!(%error, local = %syn.local, "the socket of a SYN could not be looked up");
        None
    })
}

/// Takes a SYN from the socket, with the time at which it was sent.
fn receive_syn(socket: &OwnedFd) -> io::Result<Option<(Timestamp, Syn)>> {
    let mut bytes = [0; SNAPLEN_BYTES];
    let (at, frame) = sys::receive_stamped(socket.as_fd(), &mut bytes)?;
    Ok(parse_syn(frame).map(|syn| (at, syn)))
}

fn parse_syn(frame: &[u8]) -> Option<Syn> {
    // A SYN may carry data (RFC 7413), which is cut off here.
    let packet = LaxSlicedPacket::from_ethernet(frame).ok()?;
    let TransportSlice::Tcp(tcp) = packet.transport? else {
        return None;
    };
    let (from, to) = match packet.net? {
        LaxNetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        LaxNetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        LaxNetSlice::Arp(_) => return None,
    };
    (tcp.syn() && !tcp.ack()).then(|| Syn {
        local: SocketAddr::new(from, tcp.source_port()),
        remote: SocketAddr::new(to, tcp.destination_port()),
        sequence: tcp.sequence_number(),
    })
}

/// The classic BPF program (Documentation/networking/filter.rst) that accepts TCP segments with SYN
/// and without ACK that this host sends, over IPv4 and over IPv6 without extension headers.
fn syn_filter() -> Vec<libc::sock_filter> {
    use Instruction::{Do, If};
    use libc::{BPF_ALU, BPF_AND, BPF_B, BPF_IND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET};
    // Values.
    const SYN: u32 = 0x02;
    const SYN_AND_ACK: u32 = 0x12;
    // Places in the program.
    const REJECT: usize = OUTGOING_LEN + 3;
    const ACCEPT: usize = REJECT + 1;

    let mut program = outgoing(libc::IPPROTO_TCP, REJECT).to_vec();
    program.extend([
        Do(BPF_LD | BPF_B | BPF_IND, place::IP + tcp::FLAGS),
        Do(BPF_ALU | BPF_AND | BPF_K, SYN_AND_ACK),
        If(BPF_JMP | BPF_JEQ | BPF_K, SYN, ACCEPT, REJECT),
        Do(BPF_RET | BPF_K, 0),
        Do(BPF_RET | BPF_K, u32::MAX),
    ]);
    assemble(&program)
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;
    use crate::agent::bpf;

    /// What the kernel would do with the filter.
    fn accepts(outgoing: bool, frame: &[u8]) -> bool {
        bpf::run(&syn_filter(), if outgoing { 4 } else { 0 }, frame) != 0
    }

    fn frame(v6: bool, options: &[u8], flags: &str, payload: &[u8]) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2([1; 6], [2; 6]);
        let ip = if v6 {
            ethernet.ipv6([1; 16], [2; 16], 64)
        } else {
            let mut header = etherparse::Ipv4Header::new(
                0,
                64,
                etherparse::IpNumber::TCP,
                [10, 0, 0, 1],
                [10, 0, 0, 2],
            )
            .unwrap();
            header.options = options.try_into().unwrap();
            ethernet.ip(etherparse::IpHeaders::Ipv4(
                header,
                etherparse::Ipv4Extensions::default(),
            ))
        };
        let mut tcp = ip.tcp(40_000, 15_102, 77, 64_240);
        if flags.contains('S') {
            tcp = tcp.syn();
        }
        if flags.contains('A') {
            tcp = tcp.ack(5);
        }
        if flags.contains('P') {
            tcp = tcp.psh();
        }
        let mut bytes = Vec::new();
        tcp.write(&mut bytes, payload).unwrap();
        bytes
    }

    #[test]
    fn the_filter_takes_outgoing_connection_attempts_only() {
        for v6 in [false, true] {
            for (flags, attempt) in [
                ("S", true),
                ("SP", true),
                ("SA", false),
                ("A", false),
                ("", false),
            ] {
                let frame = frame(v6, &[], flags, b"");
                assert_eq!(accepts(true, &frame), attempt, "{v6} {flags}");
                assert!(!accepts(false, &frame), "{v6} {flags} incoming");
                assert_eq!(parse_syn(&frame).is_some(), attempt, "{v6} {flags} parsed");
            }
        }
        assert!(accepts(true, &frame(false, &[1; 8], "S", b"")));
        let mut fragment = frame(false, &[], "S", b"");
        fragment[21] = 7;
        assert!(!accepts(true, &fragment));
        let mut udp = frame(false, &[], "S", b"");
        udp[23] = 17;
        assert!(!accepts(true, &udp));
        assert!(!accepts(true, &[0; 20]));
    }

    #[test]
    fn the_kernel_accepts_the_filter() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sys::attach_filter(socket.as_fd(), &mut syn_filter()).unwrap();
    }

    #[test]
    fn a_cut_syn_with_data_is_read() {
        let frame = frame(false, &[], "S", &[7; 400]);
        let syn = parse_syn(&frame[..SNAPLEN_BYTES]).unwrap();
        let expected = Syn {
            local: "10.0.0.1:40000".parse().unwrap(),
            remote: "10.0.0.2:15102".parse().unwrap(),
            sequence: 77,
        };
        assert_eq!(syn, expected);
    }
}
