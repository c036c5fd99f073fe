//! The client: connects, sends 12 bytes and waits.

use super::PORT;
use crate::client::{Exit, Failure, program};
use crate::specimen::calls::{self, Socket, print};
use crate::specimen::halt::{EndOfInput, Halt, Woken};

/// The 12 bytes of the reports.
const GREETING: &[u8; 12] = b"hello, stage";

/// What it receives at most in one call.
const RECEIVE_BYTES: usize = 1024;

/// A client that connects, sends 12 bytes and waits for an answer
///
/// It ends when the connection does, or on a line on stdin, the end of stdin or SIGUSR1.
///
/// Each call is printed on stdout with what it returned.
///
/// Exit codes: 0 told to end, 1 another failure, 2 wrong arguments, 3 connection refused, 4 timed out, 5
/// reset by the peer, 6 no such host, 7 the server closed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name or address of the server's host
    pub host: String,

    /// Port of the server
    #[arg(long, default_value_t = PORT)]
    pub port: u16,
}

/// Runs the client to its end.
pub fn main(args: &Args) -> Exit {
    program::report("specimen", run(args))
}

fn run(args: &Args) -> Result<(), Failure> {
    let mut halt = Halt::new(EndOfInput::GoesOn)?;
    let address = calls::resolve(&args.host, args.port)?;
    let socket = Socket::open("", address)?;
    socket.connect(address)?;
    socket.send(GREETING)?;
    print(format_args!(
        "waiting for recv(): a line, the end of input or SIGUSR1 ends it"
    ));
    while halt.or_readable(&socket)? == Woken::Readable {
        if socket.recv(RECEIVE_BYTES)?.is_empty() {
            socket.close()?;
            return Err(Failure {
                exit: Exit::ServerClosed,
                message: format!("the server at {address} closed the connection"),
            });
        }
    }
    socket.close()
}
