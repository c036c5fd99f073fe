//! The server: listens, counts its connections and drains them at the end.

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::limits::{Limits, SHUTDOWN_WAIT};
use crate::operator::{Console, Word};
use crate::room::Room;
use crate::session::{Link, serve};
use crate::{listen, one_to_one, operator, protocol, shutdown, start};

/// A chat server: a room for any number of clients, or the operator and one client at a time
///
/// The operator types on stdin. In a room, `stop` refuses newcomers while the room goes on, `close`
/// shuts down, and anything else is said to everybody. One to one, `stop` ends the present
/// connection and the next client is served, `close` shuts down, and anything else is said to the
/// client. The end of stdin means nothing; SIGTERM and SIGINT shut down like `close`.
///
/// The conversation is printed on stdout, the log on stderr (`CHAT_LOG` sets its level).
#[derive(Debug, clap::Parser)]
#[command(name = "chat-server", version)]
pub struct Args {
    /// Talk with one client at a time; the others wait in the backlog
    #[arg(long)]
    pub one_to_one: bool,

    /// Address to listen on [default: all, of IPv4 and IPv6]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<IpAddr>,

    /// Port to listen on; 0 lets the system choose one, which the first line on stdout names
    #[arg(long, default_value_t = protocol::PORT)]
    pub port: u16,

    /// Connections that the kernel may hold until they are accepted
    #[arg(long, value_name = "COUNT", default_value_t = 128)]
    pub backlog: u32,

    /// The limits.
    #[command(flatten)]
    pub limits: Limits,
}

/// Runs the server until it is told to end. Exit code 0 after a clean end, 1 when it cannot listen.
pub fn main(args: &Args) -> ExitCode {
    start::serve("chat-server", start::one_thread(), |console| {
        listen_and_run(args, console)
    })
}

async fn listen_and_run(args: &Args, console: Console) -> io::Result<()> {
    let files = start::raise_file_limit()?;
    if files < u64::from(args.limits.max_connections) + FILES_OF_ITS_OWN {
        tracing::warn!(
            files,
            "the system allows fewer open files than --max-connections"
        );
    }
    let shutdown = CancellationToken::new();
    shutdown::on_signals(shutdown.clone())?;
    let listener = listen(args)?;
    let address = listener.local_addr()?;
    tracing::info!(%address, one_to_one = args.one_to_one, "listening");
    console.show(format!("* listening on {address}"));
    let words = operator::words(io::stdin());
    if args.one_to_one {
        one_to_one::run(listener, &args.limits, words, console, shutdown).await;
    } else {
        run(listener, args.limits.clone(), words, console, shutdown).await;
    }
    Ok(())
}

/// Files that the server has open beside its connections.
const FILES_OF_ITS_OWN: u64 = 32;

/// Opens the listening socket.
///
/// # Errors
/// The address cannot be listened on; the message names it.
pub fn listen(args: &Args) -> io::Result<TcpListener> {
    listen::on(args.listen, args.port, |address| {
        let socket = listen::tcp(address)?;
        // Accepted sockets inherit it: it bounds what the kernel holds for a slow member.
        socket.set_send_buffer_size(args.limits.send_buffer)?;
        listen::keep_urgent_in_line(&socket)?;
        socket.listen(args.backlog)
    })
}

/// Runs a room on `listener` until the operator's `close` or `shutdown`, and then until every
/// session has ended or [`SHUTDOWN_WAIT`] is over. Failures to accept are logged and tried again.
pub async fn run(
    listener: TcpListener,
    limits: Limits,
    mut words: mpsc::Receiver<Word>,
    console: Console,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.max_connections as usize));
    let room = Room::new(limits.queue, console.clone(), shutdown.clone());
    let sessions = TaskTracker::new();
    let limits = Arc::new(limits);
    let mut listener = Some(listener);
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => accept(listener).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(word) = words.recv() => match word {
                // Closing the socket makes the kernel answer newcomers with RST.
                Word::Stop => if listener.take().is_some() {
                    tracing::info!("stopped: newcomers are refused from now on");
                    console.show("* newcomers are refused from now on");
                },
                Word::Close => shutdown.cancel(),
                Word::Say(text) => room.say_as_operator(&text),
            },
            (stream, peer) = accepted => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let session = session(stream, Arc::clone(&room), Arc::clone(&limits), shutdown.clone());
                    let span = tracing::info_span!("session", %peer);
                    sessions.spawn(async move { session.await; drop(place) }.instrument(span));
                }
                Err(_full) => refuse(stream, peer, limits.max_connections),
            },
        }
    }
    drop(listener);
    tracing::info!(members = room.len(), "closing");
    sessions.close();
    if tokio::time::timeout(SHUTDOWN_WAIT, sessions.wait())
        .await
        .is_err()
    {
        tracing::warn!(sessions = sessions.len(), "sessions did not end in time");
    }
}

async fn session(
    stream: TcpStream,
    room: Arc<Room>,
    limits: Arc<Limits>,
    shutdown: CancellationToken,
) {
    tracing::debug!("connected");
    let (read, write) = stream.into_split();
    let end = serve(Link::new(read, write, &limits), &room, &limits, &shutdown).await;
    tracing::debug!("ended: {end}");
}

/// The next connection. A failure to accept (no more files, say) is logged and tried again.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Each message is a segment of its own and leaves at once.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!("failed to set TCP_NODELAY: {error}");
                }
                return (
                    stream,
                    SocketAddr::new(peer.ip().to_canonical(), peer.port()),
                );
            }
            Err(error) => {
                tracing::warn!("failed to accept a connection: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// How long a failure to accept is given to pass.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Tells a client that the room is full, without waiting for anything.
fn refuse(stream: TcpStream, peer: SocketAddr, max: u32) {
    tracing::warn!(%peer, max, "refused: the room is full");
    if let Ok(stream) = stream.into_std() {
        let told = format!("* the room is full: {max} connections at most; try again later\n");
        // The send buffer is empty, so the line fits; if it does not, the FIN must do.
        let _ = (&stream).write(told.as_bytes());
    }
}
