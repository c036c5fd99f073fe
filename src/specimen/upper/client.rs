//! The client: opens its connections, sends, receives and closes.

use std::thread;
use std::time::Duration;

use super::{MAX_BYTES, NAMES, PORT};
use crate::client::{Exit, Failure, program};
use crate::duration;
use crate::specimen::calls::{self, Socket};
use crate::specimen::halt::{EndOfInput, Halt};

/// A client that sends small letters, receives and closes
///
/// It opens its connections (A, B, and so on), sends, receives on each of them in turn, and closes them in
/// turn. What it sends is the alphabet, as often as it takes. Without further options it sends 13 bytes,
/// receives once and closes (U0a, U1a).
///
/// Each call is printed on stdout with what it returned.
///
/// Exit codes: 0 every call succeeded, 1 another failure, 2 wrong arguments, 3 connection refused, 4 timed
/// out, 5 reset by the peer, 6 no such host.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name or address of the server's host
    pub host: String,

    /// Port of the server
    #[arg(long, default_value_t = PORT)]
    pub port: u16,

    /// Connections to open (2 in U1b)
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = connections)]
    pub connections: usize,

    /// Bytes of each `send()`, separated by commas (9,9 in U0c; 130,130,130,130 in U4)
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_value = "13",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_BYTES)))]
    pub send: Vec<u32>,

    /// The connection of each `send()`, separated by commas and taken in turn (B,A in U1b)
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "A",
          value_parser = NAMES)]
    pub order: Vec<String>,

    /// How long it waits between two `send()` (5s in U1b)
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration::parse)]
    pub pause: Duration,

    /// Bytes that one `recv()` takes at most
    #[arg(long, value_name = "BYTES", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_BYTES)))]
    pub receive: u32,

    /// Receives on each connection, once everything is sent (2 in U3)
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub receives: u32,

    /// Receives once after each `send()` instead (U0c)
    #[arg(long)]
    pub alternate: bool,

    /// Bytes that are sent on A after all else, when the server may have closed (9 in U0b)
    #[arg(long, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_BYTES)))]
    pub late: Option<u32>,

    /// Where to halt until a line on stdin, its end or SIGUSR1, separated by commas
    #[arg(long, value_name = "STAGES", value_enum, value_delimiter = ',')]
    pub halt_at: Vec<Stage>,

    /// Delays the acknowledgement of the first segments too, as other systems than Linux do
    #[arg(long)]
    pub delayed_ack: bool,
}

/// Where the client can halt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// After `connect()`
    Connect,
    /// After the last `send()`
    Send,
    /// After the last `recv()`, before what is late and `close()`
    Receive,
}

/// Runs the client to its end.
pub fn main(args: &Args) -> Exit {
    program::report("specimen", run(args))
}

fn run(args: &Args) -> Result<(), Failure> {
    let mut halt = Halt::new(EndOfInput::GoesOn)?;
    let mut at = |stage, place| {
        if args.halt_at.contains(&stage) {
            halt.at(place)?;
        }
        Ok::<_, Failure>(())
    };
    let sockets = open(args)?;
    at(Stage::Connect, "after connect()")?;
    send(&sockets, args)?;
    at(Stage::Send, "after send()")?;
    if !args.alternate {
        for socket in &sockets {
            for _ in 0..args.receives {
                socket.recv(args.receive as usize)?;
            }
        }
    }
    at(Stage::Receive, "after recv()")?;
    if let (Some(late), Some(a)) = (args.late, sockets.first()) {
        a.send(&letters(late))?;
    }
    sockets.into_iter().try_for_each(Socket::close)
}

fn open(args: &Args) -> Result<Vec<Socket>, Failure> {
    let address = calls::resolve(&args.host, args.port)?;
    let open = |name: &&'static str| {
        let socket = Socket::open(name, address)?;
        socket.connect(address)?;
        if args.delayed_ack {
            socket.delay_acks()?;
        }
        Ok(socket)
    };
    NAMES.iter().take(args.connections).map(open).collect()
}

/// Sends all that is not late, and receives after each `send()` where the two alternate.
fn send(sockets: &[Socket], args: &Args) -> Result<(), Failure> {
    for (number, (len, name)) in args.send.iter().zip(args.order.iter().cycle()).enumerate() {
        if number > 0 {
            thread::sleep(args.pause);
        }
        let socket = sockets.iter().find(|socket| socket.name() == name);
        let socket = socket.ok_or_else(|| Failure {
            exit: Exit::Failed,
            message: format!(
                "--order names {name}, and --connections opens {}",
                sockets.len()
            ),
        })?;
        socket.send(&letters(*len))?;
        if args.alternate {
            socket.recv(args.receive as usize)?;
        }
    }
    Ok(())
}

/// So many small letters.
fn letters(len: u32) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(len as usize).collect()
}

fn connections(text: &str) -> Result<usize, String> {
    let most = NAMES.len();
    let number = text.parse().ok().filter(|n| (1..=most).contains(n));
    number.ok_or_else(|| format!("`{text}` is not a number from 1 to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_sent_as_often_as_it_takes() {
        assert_eq!(letters(13), b"abcdefghijklm");
        assert_eq!(letters(28)[24..], *b"yzab");
    }

    #[test]
    fn connections_have_names_and_bounds() {
        assert_eq!(connections("2"), Ok(2));
        for text in ["0", "5", "", "two"] {
            assert!(connections(text).is_err(), "{text}");
        }
    }
}
