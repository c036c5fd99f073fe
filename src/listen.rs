//! The address to listen on: one, or all there are.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use socket2::SockRef;
use tokio::net::TcpSocket;

/// Opens a socket with `open` on `address`, or on all addresses: an IPv6 socket that serves IPv4
/// too, or an IPv4 socket where there is no IPv6.
///
/// # Errors
/// The address cannot be listened on; the message names it.
pub fn on<T>(
    address: Option<IpAddr>,
    port: u16,
    open: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let open = |address: SocketAddr| {
        open(address)
            .map_err(|e| io::Error::new(e.kind(), format!("failed to listen on {address}: {e}")))
    };
    if let Some(address) = address {
        return open((address, port).into());
    }
    match open((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            open((Ipv4Addr::UNSPECIFIED, port).into())
        }
        other => other,
    }
}

/// A TCP socket that has this address; it does not listen yet.
///
/// # Errors
/// The kernel's.
pub fn tcp(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv6() {
        TcpSocket::new_v6()
    } else {
        TcpSocket::new_v4()
    }?;
    // A program started again must not wait for the TIME_WAIT of its own connections.
    socket.set_reuseaddr(true)?;
    serve_ipv4_too(&socket, address)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Makes a socket that gets all IPv6 addresses take IPv4 too, whatever `net.ipv6.bindv6only` says.
///
/// # Errors
/// The kernel's.
pub fn serve_ipv4_too(socket: &impl AsFd, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() && address.ip().is_unspecified() {
        SockRef::from(socket).set_only_v6(false)?;
    }
    Ok(())
}

/// Keeps urgent bytes where they were sent, among the others: the mark of telnet's Synch is one of two bytes that
/// make sense together alone (RFC 854). Sockets that a listening one accepts are like it.
///
/// # Errors
/// The kernel's.
pub fn keep_urgent_in_line(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_out_of_band_inline(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_ipv6_is_served_over_ipv4() {
        let open = |address: SocketAddr| match address {
            SocketAddr::V4(_) => Ok(address),
            SocketAddr::V6(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        assert_eq!(on(None, 7, open).unwrap(), ([0, 0, 0, 0], 7).into());
        let error = on(Some(Ipv6Addr::LOCALHOST.into()), 7, open).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("failed to listen on [::1]:7: ")
        );
    }

    #[test]
    fn a_port_in_use_is_not_tried_again() {
        let open = |_| -> io::Result<()> { Err(io::ErrorKind::AddrInUse.into()) };
        let error = on(None, 7, open).unwrap_err();
        assert!(error.to_string().contains("[::]:7"), "{error}");
    }
}
