//! Routes and addresses of the host, by the requests that `route` and `ifconfig` make.
//!
//! These are `ioctl`s (netdevice(7), and `SIOCADDRT` in route's sources): for a handful of static
//! routes a netlink library would be more code than they are.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, AsRawFd as _};

use super::sys;
use crate::link::Route;

/// Default routes that a host may have; more are an error.
const MAX_DEFAULT_ROUTES: usize = 16;

/// Flags of a route: it is usable, and leads to a gateway (`linux/route.h`).
const UP: u16 = 0x1;
const GATEWAY: u16 = 0x2;

/// Gives the host these routes and no others beyond its networks.
pub(super) fn set(routes: &[Route]) -> io::Result<()> {
    remove_default()?;
    for route in routes {
        let Some(via) = route.via else {
            continue;
        };
        let (network, mask) = (route.network.network(), route.network.netmask());
        request(libc::SIOCADDRT, network, mask, Some(via)).map_err(|error| {
            let network = route.network;
            io::Error::new(
                error.kind(),
                format!("add a route to {network} via {via}: {error}"),
            )
        })?;
    }
    Ok(())
}

/// Removes every default route: an engine gives its containers one where a network has a way out.
fn remove_default() -> io::Result<()> {
    let any = Ipv4Addr::UNSPECIFIED;
    for _ in 0..MAX_DEFAULT_ROUTES {
        match request(libc::SIOCDELRT, any, any, None) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
            Err(error) => {
                let what = format!("remove the default route: {error}");
                return Err(io::Error::new(error.kind(), what));
            }
        }
    }
    Err(io::Error::other("the host has too many default routes"))
}

#[expect(unsafe_code, reason = "routes have no safe function")]
fn request(
    what: libc::Ioctl,
    network: Ipv4Addr,
    mask: Ipv4Addr,
    via: Option<Ipv4Addr>,
) -> io::Result<()> {
    let socket = sys::packet_socket()?;
    // SAFETY: all zeros is a value of `rtentry`: no device, no gateway.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = sys::inet_address(network);
    route.rt_genmask = sys::inet_address(mask);
    route.rt_flags = UP;
    if let Some(via) = via {
        route.rt_gateway = sys::inet_address(via);
        route.rt_flags |= GATEWAY;
    }
    // SAFETY: `route` outlives the call and points to nothing.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), what, &raw const route) };
    sys::check(result)
}
