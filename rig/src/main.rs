//! Reads the arguments, sets up the log and hands over to the library.

use clap::Parser as _;

fn main() -> rig::cli::Exit {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("RIG_LOG"))
        .init();
    rig::cli::main(rig::cli::Args::parse())
}
