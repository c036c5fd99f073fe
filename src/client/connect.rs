//! From a host's name to a connection.

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::exit::{Exit, Failure};
use crate::listen::keep_urgent_in_line;
use crate::text;

/// Looks `host` up and tries its addresses one after the other, all within `timeout`.
///
/// # Errors
/// `no such host`, or the failure of the last address.
pub async fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, Failure> {
    let deadline = Instant::now() + timeout;
    let shown = text::harmless(host.as_bytes());
    let late = || Failure {
        exit: Exit::TimedOut,
        message: format!("failed to connect to {shown} port {port}: timed out after {timeout:?}"),
    };
    let unknown = |cause: &str| Failure {
        exit: Exit::NoSuchHost,
        message: format!("no such host: {shown}: {cause}"),
    };
    let addresses = match timeout_at(deadline, lookup_host((host, port))).await {
        Err(_elapsed) => return Err(late()),
        Ok(Err(error)) => return Err(unknown(&error.to_string())),
        Ok(Ok(addresses)) => addresses,
    };
    let mut failure = unknown("it has no address");
    for address in addresses {
        match timeout_at(deadline, open(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                failure = Failure::of(&format!("failed to connect to {shown} ({address})"), &error);
            }
            Err(_elapsed) => return Err(late()),
        }
    }
    Err(failure)
}

async fn open(address: std::net::SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Each message is a segment of its own and leaves at once.
    stream.set_nodelay(true)?;
    keep_urgent_in_line(&stream)?;
    Ok(stream)
}
