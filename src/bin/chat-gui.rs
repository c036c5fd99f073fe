//! Reads the arguments, sets up the log and hands over to the library.

use clap::Parser as _;

fn main() -> chat::client::Exit {
    chat::start::log();
    chat::window::main(chat::window::Args::parse())
}
