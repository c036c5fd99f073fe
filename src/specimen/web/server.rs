//! The server: accepts, counts and drains connections.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::PORT;
use super::connection::{Shared, serve};
use super::folder::Folder;
use crate::operator::Console;
use crate::{duration, listen, shutdown, start};

/// A web server for the files of a folder
///
/// It answers GET and HEAD. `/redirect` leads to `/result.html`. After that, after a path that does not exist and
/// after another method the connection is closed; otherwise it is kept for further requests.
///
/// Each request is printed on stdout with the status of its answer, the log on stderr (`CHAT_LOG` sets its
/// level). SIGTERM and SIGINT end the program once the answers that are under way have been sent.
///
/// Exit codes: 0 a clean end, 1 it cannot listen or the folder cannot be opened, 2 wrong arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder; `specimen web-site` makes one
    pub folder: PathBuf,

    /// Address to listen on [default: all, of IPv4 and IPv6]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<IpAddr>,

    /// Port to listen on; 0 lets the system choose one, which the first line on stdout names
    #[arg(long, default_value_t = PORT)]
    pub port: u16,

    /// A connection that has no whole request for so long is closed (H5)
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse_period)]
    pub idle: Duration,

    /// Connections at a time; further ones wait to be accepted
    #[arg(long, value_name = "COUNT", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_connections: u32,

    /// Connections that the kernel may hold until they are accepted
    #[arg(long, value_name = "COUNT", default_value_t = 128)]
    pub backlog: u32,
}

/// How long connections are given to end after the order to shut down.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(3);

/// How long a failure to accept is given to pass.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Runs the server until it is told to end.
pub fn main(args: &Args) -> ExitCode {
    start::serve("specimen", start::all_processors(), |console| {
        listen_and_run(args, console)
    })
}

async fn listen_and_run(args: &Args, console: Console) -> io::Result<()> {
    start::raise_file_limit()?;
    let shutdown = CancellationToken::new();
    shutdown::on_signals(shutdown.clone())?;
    let shared = Shared {
        folder: Arc::new(Folder::open(&args.folder)?),
        idle: args.idle,
        console: console.clone(),
    };
    let listener = listen(args)?;
    console.show(format!("* listening on {}", listener.local_addr()?));
    run(listener, shared, args.max_connections as usize, shutdown).await;
    Ok(())
}

fn listen(args: &Args) -> io::Result<TcpListener> {
    listen::on(args.listen, args.port, |address| {
        listen::tcp(address)?.listen(args.backlog)
    })
}

/// Serves `listener` until `shutdown`, and then until every connection has ended or [`SHUTDOWN_WAIT`]
/// is over. Failures to accept are logged and tried again.
async fn run(listener: TcpListener, shared: Shared, max: usize, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(max));
    let shared = Arc::new(shared);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Ok(place) = Arc::clone(&places).acquire_owned() => {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => break,
                    accepted = listener.accept() => accepted.map(|(stream, _)| (stream, place)),
                }
            }
        };
        match accepted {
            Ok((stream, place)) => {
                let (shared, shutdown) = (Arc::clone(&shared), shutdown.clone());
                connections.spawn(async move {
                    serve(stream, &shared, &shutdown).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("failed to accept: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    connections.close();
    let _ = timeout(SHUTDOWN_WAIT, connections.wait()).await;
}
