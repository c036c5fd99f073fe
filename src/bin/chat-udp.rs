//! Reads the arguments, sets up the log and hands over to the library.

use std::process::{ExitCode, Termination as _};

use chat::udp::{client, server};
use clap::Parser as _;

/// A chat over datagrams: one server, any number of peers
#[derive(clap::Parser)]
#[command(name = "chat-udp", version)]
enum Args {
    Server(server::Args),
    Client(client::Args),
}

fn main() -> ExitCode {
    chat::start::log();
    match Args::parse() {
        Args::Server(args) => server::main(&args),
        Args::Client(args) => client::main(args).report(),
    }
}
