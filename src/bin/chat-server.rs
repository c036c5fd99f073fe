//! Reads the arguments, sets up the log and hands over to the library.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    chat::start::log();
    chat::server::main(&chat::server::Args::parse())
}
