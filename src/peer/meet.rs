//! Connects, or listens for one peer.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

use super::args::Args;
use crate::client::connect::connect;
use crate::client::{Exit, Failure};
use crate::{listen, text};

/// Connections that wait for the listening peer; it takes one, and the kernel resets the others.
const BACKLOG: u32 = 1;

/// What became of the attempt to connect.
#[derive(Debug)]
pub enum Attempt {
    /// A connection to the peer.
    Connected(TcpStream),
    /// Nobody answered there; the reason.
    Alone(Failure),
}

/// Connects to `host`.
///
/// # Errors
/// The host does not exist: listening would not help.
pub async fn call(host: &str, args: &Args) -> Result<Attempt, Failure> {
    match connect(host, args.port, args.timeout).await {
        // On an ephemeral port of its own host a socket may connect to itself (RFC 9293, 3.5).
        Ok(stream) if is_itself(&stream) => {
            let refused = io::ErrorKind::ConnectionRefused.into();
            let shown = text::harmless(host.as_bytes());
            let operation = format!("failed to connect to {shown} port {}", args.port);
            Ok(Attempt::Alone(Failure::of(&operation, &refused)))
        }
        Ok(stream) => Ok(Attempt::Connected(stream)),
        Err(failure) if failure.exit == Exit::NoSuchHost => Err(failure),
        Err(failure) => Ok(Attempt::Alone(failure)),
    }
}

fn is_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

/// Opens the listening socket.
///
/// # Errors
/// The port cannot be listened on.
pub fn open(args: &Args) -> io::Result<TcpListener> {
    listen::on(args.listen, args.port, |address| {
        let socket = listen::tcp(address)?;
        listen::keep_urgent_in_line(&socket)?;
        socket.listen(BACKLOG)
    })
}

/// Takes one connection and closes the listening socket: whoever comes later is refused.
///
/// # Errors
/// The kernel's.
pub async fn accept(listener: TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    // Each line is a segment of its own and leaves at once.
    stream.set_nodelay(true)?;
    Ok((
        stream,
        SocketAddr::new(peer.ip().to_canonical(), peer.port()),
    ))
}
