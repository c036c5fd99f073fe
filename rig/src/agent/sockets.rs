//! The socket tables of the host, asked of the kernel over netlink (`sock_diag(7)`).
//!
//! `/proc/net/tcp` would not do: it shows the namespace of the process that reads it only where
//! `/proc` was mounted there, has no exact lookup, and is slow to walk.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{
    AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DESTROY,
};
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags,
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::netlink;
use super::processes::Snapshot;
use super::protocol::{MAX_SOCKET_ROWS, NAME_SERVER, SocketRow, SocketTimer, TimerKind};
use crate::units::NodeName;

/// A cookie that matches any socket (`INET_DIAG_NOCOOKIE`).
const ANY_COOKIE: [u8; 8] = [0xff; 8];

/// Length of `struct nlmsghdr` in bytes.
const NETLINK_HEADER_LEN: usize = 16;

/// A TCP or UDP socket as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KernelSocket {
    pub(super) udp: bool,
    /// The kernel's number of the state (`include/net/tcp_states.h`).
    pub(super) state: u8,
    pub(super) recv_q: u32,
    pub(super) send_q: u32,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// Zero where no process can have it open: not yet accepted, or closed by its program.
    pub(super) inode: u32,
    pub(super) timer: Option<SocketTimer>,
    pub(super) retransmits: u8,
    /// What the kernel knows it by.
    id: SocketId,
}

/// The TCP sockets in these states.
pub(super) fn tcp(states: &StateFlags) -> io::Result<Vec<KernelSocket>> {
    let mut found = dump(AF_INET, IPPROTO_TCP, states)?;
    found.extend(dump(AF_INET6, IPPROTO_TCP, states)?);
    Ok(found)
}

/// The UDP sockets.
pub(super) fn udp() -> io::Result<Vec<KernelSocket>> {
    let all = StateFlags::all();
    let mut found = dump(AF_INET, IPPROTO_UDP, &all)?;
    found.extend(dump(AF_INET6, IPPROTO_UDP, &all)?);
    Ok(found)
}

/// The inode of the TCP socket of exactly this connection.
pub(super) fn inode_of(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u32>> {
    let request = InetRequest {
        family: if local.is_ipv4() { AF_INET } else { AF_INET6 },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: local.port(),
            destination_port: remote.port(),
            source_address: local.ip(),
            destination_address: remote.ip(),
            interface_id: 0,
            cookie: ANY_COOKIE,
        },
    };
    let found = match ask(request, NLM_F_REQUEST, None, 1) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        answer => answer?,
    };
    // Where there is no such connection the kernel names the socket that listens on the port.
    Ok(found
        .into_iter()
        .find(|socket| socket.remote.port() == remote.port() && socket.inode != 0)
        .map(|socket| socket.inode))
}

/// Makes the kernel forget every TCP socket of the host, as if it had just been started
/// (`SOCK_DESTROY`); gives how many there were. What a connection sends at that is its own business.
pub(super) fn destroy_all() -> io::Result<usize> {
    let mut found = 0;
    for family in [AF_INET, AF_INET6] {
        for socket in dump(family, IPPROTO_TCP, &StateFlags::all())? {
            if socket.local.ip() == ENGINE_NAME_SERVER {
                continue;
            }
            found += 1;
            let request = InetRequest {
                family,
                protocol: IPPROTO_TCP,
                extensions: ExtensionFlags::empty(),
                states: StateFlags::all(),
                socket_id: socket.id,
            };
            match ask(
                request,
                NLM_F_REQUEST | NLM_F_ACK,
                Some(SOCK_DESTROY),
                usize::MAX,
            ) {
                // It has gone by itself meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    return Err(io::Error::other(format!(
                        "the kernel cannot destroy sockets (CONFIG_INET_DIAG_DESTROY): {error}"
                    )));
                }
                answer => drop(answer?),
            }
        }
    }
    Ok(found)
}

/// How many bytes the connections of a node have received and nobody has read. The FIN counts as one
/// in the kernel's queue, and is no data.
pub(super) fn unread_bytes(processes: &Snapshot, node: &NodeName) -> io::Result<u64> {
    let connections = tcp(&(StateFlags::ESTABLISHED | StateFlags::CLOSE_WAIT))?;
    let owners = processes.socket_owners();
    let own = connections
        .iter()
        .filter(|socket| owners.get(&socket.inode) == Some(node));
    let unread = own.map(|socket| {
        let fin = u32::from(socket.state == CLOSE_WAIT);
        u64::from(socket.recv_q.saturating_sub(fin))
    });
    Ok(unread.sum())
}

/// The connections of a process that no other process has open, each with its local end first; those that wait to be
/// accepted by it alone are among them.
pub(super) fn connections_alone(
    processes: &Snapshot,
    pid: i32,
) -> io::Result<Vec<(SocketAddr, SocketAddr)>> {
    let alone = processes.sockets_alone(pid);
    let sockets = tcp(&StateFlags::all())?;
    let of_process = |socket: &&KernelSocket| alone.contains(&socket.inode);
    let listening = sockets.iter().filter(|socket| socket.state == LISTEN);
    let ports: Vec<u16> = listening
        .filter(of_process)
        .map(|socket| socket.local.port())
        .collect();
    let waits = |socket: &KernelSocket| socket.inode == 0 && ports.contains(&socket.local.port());
    let connections = sockets.iter().filter(|socket| socket.state != LISTEN);
    let found = connections.filter(|socket| of_process(socket) || waits(socket));
    Ok(found.map(|socket| (socket.local, socket.remote)).collect())
}

/// Every TCP and UDP socket of the host, listening ones first, then by local port.
pub(super) fn table(processes: &Snapshot) -> io::Result<Vec<SocketRow>> {
    let all = StateFlags::all();
    let mut sockets = tcp(&all)?;
    sockets.extend(udp()?);
    if sockets.len() > MAX_SOCKET_ROWS {
        return Err(io::Error::other(format!(
            "the host has {} sockets or more, a table holds at most {MAX_SOCKET_ROWS}",
            sockets.len()
        )));
    }
    let owners = processes.socket_owners();
    sockets.sort_by_key(|s| {
        let listens = !s.udp && s.state == LISTEN;
        (!listens, s.local.port(), s.udp, s.local, s.remote)
    });
    Ok(sockets
        .into_iter()
        .map(|socket| SocketRow {
            proto: if socket.udp { "udp" } else { "tcp" }.to_owned(),
            state: state_name(socket.udp, socket.state).to_owned(),
            recv_q: socket.recv_q,
            send_q: socket.send_q,
            local: socket.local,
            remote: socket.remote,
            node: owners.get(&socket.inode).cloned(),
            timer: socket.timer,
            retransmits: socket.retransmits,
        })
        .filter(|row| row.node.is_some() || !is_of_name_server(row.local.ip()))
        .collect())
}

/// Whether an address is that of the engine's name server, which it puts into the namespace of every container
/// on a network of its own, or of the agent's: no program of the host opened sockets there.
pub(super) fn is_of_name_server(local: IpAddr) -> bool {
    [ENGINE_NAME_SERVER, IpAddr::V4(NAME_SERVER)].contains(&local)
}

/// Where a Docker engine's embedded name server listens.
const ENGINE_NAME_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));

const LISTEN: u8 = netlink_packet_sock_diag::constants::TCP_LISTEN;

const CLOSE_WAIT: u8 = netlink_packet_sock_diag::constants::TCP_CLOSE_WAIT;

/// The name of a state in RFC 9293, section 3.3.2, with `_`.
fn state_name(udp: bool, state: u8) -> &'static str {
    match (udp, state) {
        (_, 1) => "ESTABLISHED",
        (true, _) => "UNCONN",
        (_, 2) => "SYN_SENT",
        (_, 3 | 12) => "SYN_RECEIVED",
        (_, 4) => "FIN_WAIT_1",
        (_, 5) => "FIN_WAIT_2",
        (_, 6) => "TIME_WAIT",
        (_, 7 | 13) => "CLOSED",
        (_, 8) => "CLOSE_WAIT",
        (_, 9) => "LAST_ACK",
        (_, LISTEN) => "LISTEN",
        (_, 11) => "CLOSING",
        _ => "UNKNOWN",
    }
}

fn dump(family: u8, protocol: u8, states: &StateFlags) -> io::Result<Vec<KernelSocket>> {
    let request = InetRequest {
        family,
        protocol,
        extensions: ExtensionFlags::empty(),
        states: states.clone(),
        socket_id: if family == AF_INET {
            SocketId::new_v4()
        } else {
            SocketId::new_v6()
        },
    };
    // One more than a table holds is told as too many.
    match ask(
        request,
        NLM_F_REQUEST | NLM_F_DUMP,
        None,
        MAX_SOCKET_ROWS + 1,
    ) {
        // A kernel without IPv6 has no such sockets.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(Vec::new()),
        answer => answer,
    }
}

/// Asks the kernel; reads at most `most` sockets, or up to the end of the answer. `kind` is that of
/// the request where it is not a question.
fn ask(
    request: InetRequest,
    flags: u16,
    kind: Option<u16>,
    most: usize,
) -> io::Result<Vec<KernelSocket>> {
    let udp = request.protocol == IPPROTO_UDP;
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    if let Some(kind) = kind {
        message.header.message_type = kind;
    }
    netlink::ask(
        NETLINK_SOCK_DIAG,
        &message,
        most,
        |inner, bytes| match inner {
            SockDiagMessage::InetResponse(response) => {
                Some(kernel_socket(udp, &response.header, bytes))
            }
            _ => None,
        },
    )
}

/// `message` holds the whole answer from its netlink header on.
fn kernel_socket(udp: bool, header: &InetResponseHeader, message: &[u8]) -> KernelSocket {
    let id = &header.socket_id;
    // A socket for both families shows IPv4 peers in mapped form (RFC 4291, section 2.5.5.2).
    let address = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), port);
    KernelSocket {
        udp,
        state: header.state,
        recv_q: header.recv_queue,
        send_q: header.send_queue,
        local: address(id.source_address, id.source_port),
        remote: address(id.destination_address, id.destination_port),
        inode: header.inode,
        timer: timer(message),
        retransmits: message.get(RETRANSMITS).copied().unwrap_or_default(),
        id: id.clone(),
    }
}

// Places in an answer, in bytes: `struct inet_diag_msg` behind a netlink header. The crate that reads
// it passes over the expiry of TIME_WAIT and the number of probes.
const TIMER: usize = NETLINK_HEADER_LEN + 2;
const RETRANSMITS: usize = NETLINK_HEADER_LEN + 3;
const EXPIRES: usize = NETLINK_HEADER_LEN + 52;

fn timer(message: &[u8]) -> Option<SocketTimer> {
    let kind = match message.get(TIMER)? {
        1 => TimerKind::Retransmit,
        2 => TimerKind::Keepalive,
        3 => TimerKind::TimeWait,
        4 => TimerKind::Probe,
        _ => return None,
    };
    let expires = message.get(EXPIRES..EXPIRES + 4)?.try_into().ok()?;
    Some(SocketTimer {
        kind,
        expires_ms: u32::from_ne_bytes(expires),
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsRawFd as _;

    use super::*;

    fn inode(socket: &impl std::os::fd::AsFd) -> u32 {
        let link = format!("/proc/self/fd/{}", socket.as_fd().as_raw_fd());
        let target = std::fs::read_link(link).unwrap();
        let digits = target
            .to_str()
            .unwrap()
            .trim_matches(|c: char| !c.is_ascii_digit());
        digits.parse().unwrap()
    }

    #[test]
    fn the_kernel_knows_our_sockets() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let local = client.local_addr().unwrap();
        assert_eq!(inode_of(local, address).unwrap(), Some(inode(&client)));
        let nobody = SocketAddr::new(local.ip(), 1);
        assert_eq!(inode_of(nobody, address).unwrap(), None);
        assert_eq!(inode_of(address, nobody).unwrap(), None);

        let listening = tcp(&StateFlags::LISTEN).unwrap();
        let ours = listening.iter().find(|s| s.local == address).unwrap();
        assert_eq!((ours.inode, ours.state), (inode(&listener), LISTEN));
        let established = tcp(&StateFlags::ESTABLISHED).unwrap();
        let ours = established.iter().find(|s| s.local == local).unwrap();
        assert_eq!((ours.remote, ours.inode), (address, inode(&client)));
        // Not yet accepted, so no process has it.
        let theirs = established.iter().find(|s| s.remote == local).unwrap();
        assert_eq!(theirs.inode, 0);
    }

    #[test]
    fn mapped_addresses_are_shown_as_ipv4() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (server, _) = listener.accept().unwrap();
        let established = tcp(&StateFlags::ESTABLISHED).unwrap();
        let local = client.local_addr().unwrap();
        let ours = established.iter().find(|s| s.remote == local).unwrap();
        assert_eq!(ours.local, SocketAddr::new([127, 0, 0, 1].into(), port));
        assert_eq!(inode_of(ours.local, local).unwrap(), Some(inode(&server)));
    }

    #[test]
    fn datagram_sockets_have_no_connection() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let found = dump(AF_INET, IPPROTO_UDP, &StateFlags::all()).unwrap();
        let ours = found.iter().find(|s| s.local == address).unwrap();
        assert_eq!(state_name(ours.udp, ours.state), "UNCONN");
        assert_eq!(ours.remote.port(), 0);
    }
}
