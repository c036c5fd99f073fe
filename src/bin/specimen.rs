//! Reads the arguments, sets up the log and hands over to the library.

use std::process::{ExitCode, Termination as _};

use chat::specimen::{staged, upper, web};
use clap::Parser as _;

/// Small servers and clients whose calls are read beside the packets
#[derive(clap::Parser)]
#[command(name = "specimen", version)]
enum Args {
    Staged(staged::server::Args),
    StagedClient(staged::client::Args),
    UpperServer(upper::server::Args),
    UpperClient(upper::client::Args),
    WebServer(web::server::Args),
    WebClient(web::client::Args),
    WebSite(web::site::Args),
}

fn main() -> ExitCode {
    chat::start::log();
    match Args::parse() {
        Args::Staged(args) => staged::server::main(&args).report(),
        Args::StagedClient(args) => staged::client::main(&args).report(),
        Args::UpperServer(args) => upper::server::main(&args).report(),
        Args::UpperClient(args) => upper::client::main(&args).report(),
        Args::WebServer(args) => web::server::main(&args),
        Args::WebClient(args) => web::client::main(&args).report(),
        Args::WebSite(args) => web::site::main(&args).report(),
    }
}
