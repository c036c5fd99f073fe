//! From a host's name into the server's book.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{UdpSocket, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::super::wire::{self, Code, MAX_DATAGRAM_BYTES};
use super::args::Args;
use crate::client::{Exit, Failure};
use crate::text;

/// A socket whose address is in the server's book.
#[derive(Debug)]
pub struct Joined {
    /// Connected: the kernel drops what other addresses send.
    pub socket: UdpSocket,
    /// What the server said.
    pub greeting: String,
}

/// Looks the host up and asks to join at its addresses, one after the other.
///
/// # Errors
/// `no such host`, a refused name, or the failure of the last address.
pub async fn join(args: &Args) -> Result<Joined, Failure> {
    let shown = text::harmless(args.host.as_bytes());
    let unknown = |cause: &str| Failure {
        exit: Exit::NoSuchHost,
        message: format!("no such host: {shown}: {cause}"),
    };
    let addresses = lookup_host((args.host.as_str(), args.port)).await;
    let mut failure = unknown("it has no address");
    for address in addresses.map_err(|e| unknown(&e.to_string()))? {
        match join_at(address, args).await {
            Ok(joined) => return Ok(joined),
            Err(refused) if refused.exit == Exit::NameRefused => return Err(refused),
            Err(other) => failure = other,
        }
    }
    Err(failure)
}

async fn join_at(address: SocketAddr, args: &Args) -> Result<Joined, Failure> {
    let failed = |e: io::Error| Failure::of(&format!("failed to join at {address}"), &e);
    let any = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await.map_err(failed)?;
    socket.connect(address).await.map_err(failed)?;
    let request = wire::encode(Code::Hello, &text::harmless(args.name.as_bytes()));
    for _ in 0..args.tries {
        socket.send(request.as_bytes()).await.map_err(failed)?;
        if let Some(answer) = answer(&socket, args).await.map_err(failed)? {
            let greeting = answer.map_err(|reason| refused(address, &reason))?;
            return Ok(Joined { socket, greeting });
        }
    }
    let tries = args.tries;
    Err(Failure {
        exit: Exit::TimedOut,
        message: format!("failed to join at {address}: no answer to {tries} datagrams"),
    })
}

/// The failure of a name that the server refuses.
pub(super) fn refused(server: SocketAddr, reason: &str) -> Failure {
    Failure {
        exit: Exit::NameRefused,
        message: format!(
            "the server at {server} refused the name: {}",
            reason.trim_start_matches("* ")
        ),
    }
}

/// The server's answer to one request: its greeting, or why it refuses; none when none came in time.
async fn answer(socket: &UdpSocket, args: &Args) -> io::Result<Option<Result<String, String>>> {
    let deadline = Instant::now() + args.retry;
    let mut bytes: wire::Buffer = [0; MAX_DATAGRAM_BYTES + 1];
    loop {
        let Ok(received) = timeout_at(deadline, socket.recv(&mut bytes)).await else {
            return Ok(None);
        };
        let Ok(datagram) = wire::decode(&bytes[..received?]) else {
            continue;
        };
        match datagram.code {
            Code::Hello => return Ok(Some(Ok(datagram.text))),
            Code::Refused => {
                let (_, reason) = wire::refused(&datagram.text);
                return Ok(Some(Err(reason.to_owned())));
            }
            _ => {}
        }
    }
}
