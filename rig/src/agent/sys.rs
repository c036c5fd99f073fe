//! The kernel calls for which no kept crate has a safe function, each behind one that is safe.

use std::io::{self, IoSliceMut};
use std::mem::size_of;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, getsockopt, recvmsg, socket,
    sockopt,
};
use nix::sys::time::TimeSpec;

use crate::units::{Signal, Timestamp};

/// A socket that sends and receives whole frames. It receives nothing until it is bound with
/// [`bind_to_interface`], so that options can be set while no packet waits in it.
pub(super) fn packet_socket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(AddressFamily::Packet, SockType::Raw, flags, None)?)
}

/// Lets a packet socket receive every frame of an interface, or of all of them where `index` is 0.
#[expect(unsafe_code, reason = "no safe function binds a packet socket")]
pub(super) fn bind_to_interface(socket: BorrowedFd<'_>, index: i32) -> io::Result<()> {
    let address = link_address(index, EVERY_ETHERTYPE, [0; 6]);
    // SAFETY: `address` is a `sockaddr_ll` that outlives the call, and its size is given.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            length_of::<libc::sockaddr_ll>(),
        )
    };
    check(result)
}

/// `ETH_P_ALL`, in the width of a protocol.
const EVERY_ETHERTYPE: u16 = 3;

/// `AF_PACKET`, in the width of an address.
const FAMILY: libc::sa_family_t = 17;

/// `IFF_UP`, in the width of an interface's flags.
const UP: libc::c_short = 1;

/// Sends a whole frame out of an interface.
#[expect(unsafe_code, reason = "no safe function addresses a packet socket")]
pub(super) fn send_frame(socket: BorrowedFd<'_>, index: i32, frame: &[u8]) -> io::Result<()> {
    let ethertype = frame
        .get(12..14)
        .map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
    let mut to = [0; 6];
    to.copy_from_slice(frame.get(..6).unwrap_or(&[0; 6]));
    let address = link_address(index, ethertype, to);
    // SAFETY: `frame` and `address` outlive the call, and their sizes are given.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const address).cast(),
            length_of::<libc::sockaddr_ll>(),
        )
    };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn link_address(index: i32, ethertype: u16, to: [u8; 6]) -> libc::sockaddr_ll {
    let mut sll_addr = [0; 8];
    sll_addr[..6].copy_from_slice(&to);
    libc::sockaddr_ll {
        sll_family: FAMILY,
        sll_protocol: ethertype.to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr,
    }
}

/// A kernel structure of plain numbers: any bytes are a value of it, and it points to nothing.
///
/// # Safety
/// The type must be `repr(C)`, hold only integers, and have no padding that the kernel would leave
/// unwritten.
#[expect(unsafe_code, reason = "a promise about the layout of a type")]
pub(super) unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($name:ty),*) => {
        $(
            #[expect(unsafe_code, reason = "the types below hold integers alone")]
            // SAFETY: integers alone, laid out as the kernel's headers do, without padding.
            unsafe impl Plain for $name {}
        )*
    };
}
plain!(
    libc::c_int,
    libc::tpacket_req3,
    libc::tpacket_stats_v3,
    EthtoolValue
);

/// Sets a socket option (setsockopt(2)).
#[expect(unsafe_code, reason = "options of packet sockets have no safe setter")]
pub(super) fn set_option<T: Plain>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: `value` is plain, outlives the call, and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const *value).cast(),
            length_of::<T>(),
        )
    };
    check(result)
}

/// Gives a socket this much room for what waits to be received, in bytes as the kernel counts them, or as much as
/// the machine allows (`net.core.rmem_max`) where the user namespace gives no right to more (socket(7)): so it is
/// under an engine that an ordinary user runs.
pub(super) fn make_room(socket: BorrowedFd<'_>, bytes: libc::c_int) -> io::Result<()> {
    let forced = set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &bytes);
    match forced {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &bytes)?;
            // The kernel doubles what it is asked for, to have room for its own records.
            let given = getsockopt(&socket, sockopt::RcvBuf)? / 2;
            if i32::try_from(given).is_ok_and(|given| given < bytes) {
                tracing::warn!(
                    asked = bytes,
                    given,
                    "a socket gets less room for packets that wait (net.core.rmem_max)"
                );
            }
            Ok(())
        }
        other => other,
    }
}

/// A socket that receives the frames of every interface that a classic BPF program accepts, with the kernel's time of
/// each ([`receive_stamped`]).
pub(super) fn watching_socket(
    filter: &mut [libc::sock_filter],
    receive_buffer_bytes: libc::c_int,
) -> io::Result<OwnedFd> {
    let socket = packet_socket()?;
    let fd = socket.as_fd();
    attach_filter(fd, filter)?;
    set_option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1)?;
    make_room(fd, receive_buffer_bytes)?;
    bind_to_interface(fd, 0)?;
    Ok(socket)
}

/// Takes a frame from a socket, as far as `bytes` has room for it, and the time at which it was sent or received. Does
/// not wait for one.
pub(super) fn receive_stamped<'a>(
    socket: BorrowedFd<'_>,
    bytes: &'a mut [u8],
) -> io::Result<(Timestamp, &'a [u8])> {
    let mut control = nix::cmsg_space!(TimeSpec);
    let (length, at) = {
        let mut buffers = [IoSliceMut::new(bytes)];
        let message = recvmsg::<()>(
            socket.as_raw_fd(),
            &mut buffers,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let at = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(time) => Some(timestamp(time)),
            _ => None,
        });
        (message.bytes, at)
    };
    let frame = bytes.get(..length).unwrap_or_default();
    Ok((at.unwrap_or_else(Timestamp::now), frame))
}

fn timestamp(time: TimeSpec) -> Timestamp {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec()).unwrap_or(0);
    Timestamp(seconds * 1_000_000_000 + nanoseconds)
}

/// What a packet socket counted since it was last asked (`PACKET_STATISTICS`); the last
/// counter is that of a version 3 ring alone.
#[expect(
    unsafe_code,
    reason = "the statistics of packet sockets have no safe getter"
)]
pub(super) fn packet_statistics(socket: BorrowedFd<'_>) -> io::Result<libc::tpacket_stats_v3> {
    let mut value = libc::tpacket_stats_v3 {
        tp_packets: 0,
        tp_drops: 0,
        tp_freeze_q_cnt: 0,
    };
    let mut length = length_of::<libc::tpacket_stats_v3>();
    // SAFETY: `value` and `length` outlive the call, and `length` is the size of `value`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    check(result)?;
    Ok(value)
}

/// Lets a socket receive only what a classic BPF program accepts.
#[expect(unsafe_code, reason = "filters have no safe setter")]
pub(super) fn attach_filter(
    socket: BorrowedFd<'_>,
    program: &mut [libc::sock_filter],
) -> io::Result<()> {
    let len = u16::try_from(program.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the filter is too long"))?;
    let program = libc::sock_fprog {
        len,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `program` and the instructions that it points to outlive the call; the kernel copies
    // them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            length_of::<libc::sock_fprog>(),
        )
    };
    check(result)
}

/// `struct ethtool_value`: a command and its argument or result (linux/ethtool.h).
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct EthtoolValue {
    pub(super) cmd: u32,
    pub(super) data: u32,
}

/// Asks a driver something (`SIOCETHTOOL`); gives what it answered.
#[expect(unsafe_code, reason = "interface requests have no safe function")]
pub(super) fn ethtool(
    socket: BorrowedFd<'_>,
    interface: &str,
    cmd: u32,
    data: u32,
) -> io::Result<u32> {
    let mut value = EthtoolValue { cmd, data };
    let mut request = interface_request(interface)?;
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: `request` and the value that it points to outlive the call; the commands used read
    // and write an `ethtool_value`.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) })?;
    Ok(value.data)
}

/// Largest packet of an interface in bytes.
#[expect(unsafe_code, reason = "interface requests have no safe function")]
pub(super) fn mtu_bytes(socket: BorrowedFd<'_>, interface: &str) -> io::Result<u32> {
    let mut request = interface_request(interface)?;
    // SAFETY: `request` outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, &raw mut request) })?;
    // SAFETY: SIOCGIFMTU wrote this member.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).map_err(|_| io::Error::other("the MTU is negative"))
}

/// Switches an interface on.
#[expect(unsafe_code, reason = "interface requests have no safe function")]
pub(super) fn bring_up(socket: BorrowedFd<'_>, interface: &str) -> io::Result<()> {
    let mut request = interface_request(interface)?;
    // SAFETY: `request` outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) })?;
    // SAFETY: SIOCGIFFLAGS wrote this member.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | UP;
    // SAFETY: `request` outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) })
}

/// Takes the IPv4 address of an interface away from the kernel.
#[expect(unsafe_code, reason = "interface requests have no safe function")]
pub(super) fn remove_address(interface: &str) -> io::Result<()> {
    let socket = packet_socket()?;
    let mut request = interface_request(interface)?;
    request.ifr_ifru.ifru_addr = inet_address(Ipv4Addr::UNSPECIFIED);
    // SAFETY: `request` outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR, &raw mut request) })
}

/// An address as requests about interfaces and routes take it.
pub(super) fn inet_address(address: Ipv4Addr) -> libc::sockaddr {
    /// `AF_INET`, in the width of an address.
    const INET: libc::sa_family_t = 2;
    let mut sa_data = [0; 14];
    for (to, from) in sa_data[2..].iter_mut().zip(address.octets()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    libc::sockaddr {
        sa_family: INET,
        sa_data,
    }
}

/// Lets a packet socket receive only what others sent.
pub(super) fn ignore_outgoing(socket: BorrowedFd<'_>) -> io::Result<()> {
    /// `linux/if_packet.h`, since Linux 4.20.
    const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
    set_option(socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1)
}

/// Lets this thread sleep as exactly as the kernel's clocks are: it wakes others up to 50 us late
/// by default (`PR_SET_TIMERSLACK`).
#[expect(unsafe_code, reason = "prctl(2) has no safe function")]
pub(super) fn sharpen_timers() {
    const ONE_NANOSECOND: libc::c_ulong = 1;
    // SAFETY: the call takes numbers. It cannot fail with these.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, ONE_NANOSECOND) };
}

#[expect(unsafe_code, reason = "the structure holds a union")]
fn interface_request(interface: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all zeros is a value of `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero: the kernel reads a terminated name.
    let room = request.ifr_name.len() - 1;
    if interface.len() > room {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{interface}` is no interface name: at most {room} bytes"),
        ));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

/// A process, held so that its id cannot come to mean another one.
#[derive(Debug)]
pub(super) struct ProcessHandle(OwnedFd);

impl ProcessHandle {
    /// Takes hold of a process (`pidfd_open(2)`).
    #[expect(unsafe_code, reason = "the C library has no function for this call")]
    pub(super) fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: the call takes two numbers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        check(fd.min(0))?;
        // SAFETY: the kernel has just opened `fd` for nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Whether it has ended, waited for or not.
    pub(super) fn has_ended(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        Ok(poll(&mut fds, PollTimeout::ZERO)? > 0)
    }

    /// Sends it a signal (`pidfd_send_signal(2)`).
    #[expect(unsafe_code, reason = "the C library has no function for this call")]
    pub(super) fn send(&self, signal: Signal) -> io::Result<()> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the call takes numbers and a pointer that may be null.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_fd().as_raw_fd(),
                signal.number(),
                no_info,
                0,
            )
        };
        check(i32::try_from(result).map_err(io::Error::other)?)
    }
}

/// Lets the kernel reap children itself, orphans that fall to the first process included
/// (`sigaction(2)` on `SA_NOCLDWAIT`).
#[expect(unsafe_code, reason = "signal dispositions have no safe function")]
pub(super) fn leave_reaping_to_kernel() -> io::Result<()> {
    // SAFETY: ignoring a signal runs no code of ours.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    if before == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

pub(super) fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "sizes of kernel structures fit 32 bits"
)]
const fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// An ordinary user's id, the one that no file belongs to.
    const NOBODY: libc::c_long = 65534;

    /// Takes the rights of root from this thread alone: the C library would take them from all.
    #[expect(unsafe_code, reason = "the C library has no function for one thread")]
    fn become_nobody() {
        // SAFETY: the call takes three numbers.
        unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
    }

    #[test]
    fn without_the_right_to_more_a_socket_gets_what_the_machine_allows() {
        let room = std::thread::spawn(|| {
            become_nobody();
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let one: libc::c_int = 1;
            let forced = set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &one);
            assert_eq!(forced.unwrap_err().raw_os_error(), Some(libc::EPERM));
            make_room(socket.as_fd(), 64 * 1024).unwrap();
            getsockopt(&socket, sockopt::RcvBuf).unwrap()
        });
        // Every machine allows so much, and doubles it.
        assert_eq!(room.join().unwrap(), 2 * 64 * 1024);
    }
}
