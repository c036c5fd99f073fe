//! The server: receives and answers, one connection after the other or two crossed.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Duration;

use super::{MAX_BYTES, NAMES, PORT};
use crate::client::{Exit, Failure, program};
use crate::duration;
use crate::specimen::calls::{Socket, print};

/// A server that answers with what it received, in upper case
///
/// It serves one connection after the other, until a signal ends it. Without further options it answers
/// until the client closes (U0c, U1a).
///
/// Each call is printed on stdout with what it returned; the lines about a connection begin with A.
///
/// Exit codes: 1 it cannot listen or accept, 2 wrong arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::UNSPECIFIED.into())]
    pub listen: IpAddr,

    /// Port to listen on; 0 lets the system choose one
    #[arg(long, default_value_t = PORT)]
    pub port: u16,

    /// Connections that the kernel may hold until they are accepted
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    pub backlog: u16,

    /// Bytes that one `recv()` takes at most (100 in U0a, 5 in U2)
    #[arg(long, value_name = "BYTES", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_BYTES)))]
    pub receive: u32,

    /// Receives before it closes: with 1 it answers once and closes at once (U0a, U0b) [default: until
    /// the client closes]
    #[arg(long, value_name = "COUNT")]
    pub receives: Option<u32>,

    /// How often an answer repeats what was received, in one `send()` (1000 in U3)
    #[arg(long, value_name = "COUNT", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,

    /// How long it sleeps before each `recv()` (5s in U4)
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration::parse)]
    pub delay: Duration,

    /// Delays the acknowledgement of the first segments too, as other systems than Linux do
    #[arg(long)]
    pub delayed_ack: bool,

    /// Accepts connections A and B, sends so many bytes of what B sent to A, then so many of what A sent to B,
    /// and closes A alone; B stays open until a signal ends the program (7,5 in U1b)
    #[arg(long, value_name = "TO-A,TO-B", value_parser = pair, conflicts_with_all = ["receives", "repeat"])]
    pub cross: Option<(usize, usize)>,
}

/// Runs the server until a signal ends it.
pub fn main(args: &Args) -> Exit {
    program::report("specimen", run(args))
}

fn run(args: &Args) -> Result<(), Failure> {
    let address = (args.listen, args.port).into();
    let listener = Socket::open("", address)?;
    listener.reuse_address()?;
    listener.bind(address)?;
    listener.listen(args.backlog)?;
    if args.delayed_ack {
        // Connections inherit it. Set on one of them it could come after the first segment.
        listener.delay_acks()?;
    }
    if let Some(address) = listener.address() {
        print(format_args!("listening on {address}"));
    }
    if let Some((to_a, to_b)) = args.cross {
        return cross(&listener, args, to_a, to_b);
    }
    loop {
        let connection = listener.accept(NAMES[0])?;
        // Its lines have told what went wrong, and the next client finds a server.
        let _ = serve(&connection, args);
        let _ = connection.close();
    }
}

/// Receives and answers, until the client closes or the receives are over.
fn serve(connection: &Socket, args: &Args) -> Result<(), Failure> {
    for _ in 0..args.receives.unwrap_or(u32::MAX) {
        let received = receive(connection, args)?;
        if received.is_empty() {
            break;
        }
        connection.send(&received.repeat(args.repeat as usize))?;
    }
    Ok(())
}

/// Sends a part of what B sent to A, and of what A sent to B, and closes A.
fn cross(listener: &Socket, args: &Args, to_a: usize, to_b: usize) -> Result<(), Failure> {
    let a = listener.accept(NAMES[0])?;
    let b = listener.accept(NAMES[1])?;
    let from_b = receive(&b, args)?;
    a.send(&from_b[..to_a.min(from_b.len())])?;
    let from_a = receive(&a, args)?;
    b.send(&from_a[..to_b.min(from_a.len())])?;
    a.close()?;
    print(format_args!("B stays open: a signal ends this program"));
    loop {
        nix::unistd::pause();
    }
}

/// What comes next, in upper case; nothing at the client's FIN.
fn receive(connection: &Socket, args: &Args) -> Result<Vec<u8>, Failure> {
    thread::sleep(args.delay);
    let mut received = connection.recv(args.receive as usize)?;
    received.make_ascii_uppercase();
    Ok(received)
}

/// Two numbers with a comma between them, neither zero.
fn pair(text: &str) -> Result<(usize, usize), String> {
    let wrong = || format!("`{text}` is not two numbers: write such as 7,5");
    let (a, b) = text.split_once(',').ok_or_else(wrong)?;
    let number = |text: &str| text.parse().ok().filter(|n| *n > 0).ok_or_else(wrong);
    Ok((number(a)?, number(b)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_make_a_pair() {
        assert_eq!(pair("7,5"), Ok((7, 5)));
        for text in ["", "7", "7,", "0,5", "7,5,3", "a,b"] {
            assert!(pair(text).unwrap_err().contains(&format!("`{text}`")));
        }
    }
}
