//! The server: socket, bind, listen, each when told, and never accept.

use std::net::{IpAddr, Ipv4Addr};

use super::PORT;
use crate::client::{Exit, Failure, program};
use crate::specimen::calls::Socket;
use crate::specimen::halt::{EndOfInput, Halt};

/// A server that halts after each of its calls and never accepts
///
/// It goes on when it is told to, by a line on stdin or SIGUSR1; the end of stdin means nothing. After its
/// last stage it closes its socket and ends.
///
/// Each call is printed on stdout with what it returned.
///
/// Exit codes: 0 told to end, 1 a call failed, 2 wrong arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Stages to halt at, separated by commas
    #[arg(
        long,
        value_name = "STAGES",
        value_enum,
        value_delimiter = ',',
        default_value = "start,socket,bind,listen"
    )]
    pub halt_at: Vec<Stage>,

    /// Address to bind to
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::UNSPECIFIED.into())]
    pub listen: IpAddr,

    /// Port to bind to; 0 lets the system choose one
    #[arg(long, default_value_t = PORT)]
    pub port: u16,

    /// Connections that the kernel may hold for an `accept()` that never comes
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    pub backlog: u16,
}

/// Where the server can halt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// Before `socket()`: the port is closed (F1)
    Start,
    /// After `socket()`: the port is still closed (F2)
    Socket,
    /// After `bind()`: the port is taken, and still closed (F3)
    Bind,
    /// After `listen()`: the kernel takes connections and data (F4 to F8)
    Listen,
    /// After `listen()`, and for ever: it does not go on whatever it is told
    AcceptNever,
}

impl Stage {
    fn place(self) -> &'static str {
        match self {
            Self::Start => "before socket()",
            Self::Socket => "after socket()",
            Self::Bind => "after bind()",
            Self::Listen => "after listen()",
            Self::AcceptNever => "before an accept() that never comes",
        }
    }
}

/// Runs the server until it is told to end.
pub fn main(args: &Args) -> Exit {
    program::report("specimen", run(args))
}

fn run(args: &Args) -> Result<(), Failure> {
    let mut halt = Halt::new(EndOfInput::MeansNothing)?;
    let mut at = |stage: Stage| {
        if args.halt_at.contains(&stage) {
            halt.at(stage.place())?;
        }
        Ok::<_, Failure>(())
    };
    let address = (args.listen, args.port).into();
    at(Stage::Start)?;
    let socket = Socket::open("", address)?;
    socket.reuse_address()?;
    at(Stage::Socket)?;
    socket.bind(address)?;
    at(Stage::Bind)?;
    socket.listen(args.backlog)?;
    at(Stage::Listen)?;
    while args.halt_at.contains(&Stage::AcceptNever) {
        at(Stage::AcceptNever)?;
    }
    socket.close()
}
