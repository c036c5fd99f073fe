//! The server: one socket, one task, one service.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::limits::{Limits, RECEIVE_BUFFER};
use super::service::{Effects, Service};
use super::wire::{self, MAX_DATAGRAM_BYTES};
use crate::operator::{Console, Word};
use crate::{listen, operator, shutdown, start};

/// The server of the chat over datagrams
///
/// The operator types on stdin: `stop` refuses newcomers, `close` shuts down, and anything else is
/// said to everybody. The end of stdin means nothing; SIGTERM and SIGINT shut down like `close`.
///
/// Comings and goings are printed on stdout, the log on stderr (`CHAT_LOG` sets its level).
///
/// Exit codes: 0 a clean end, 1 the port cannot be had, 2 wrong arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address to receive on [default: all, of IPv4 and IPv6]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<IpAddr>,

    /// Port to receive on; 0 lets the system choose one, which the first line on stdout names
    #[arg(long, default_value_t = wire::PORT)]
    pub port: u16,

    /// The limits.
    #[command(flatten)]
    pub limits: Limits,
}

/// Runs the server until it is told to end.
pub fn main(args: &Args) -> ExitCode {
    start::serve("chat-udp", start::all_processors(), |console| {
        open_and_run(args, console)
    })
}

async fn open_and_run(args: &Args, console: Console) -> io::Result<()> {
    let shutdown = CancellationToken::new();
    shutdown::on_signals(shutdown.clone())?;
    let socket = open(args)?;
    let address = socket.local_addr()?;
    tracing::info!(%address, "receiving");
    console.show(format!("* listening on {address}"));
    let words = operator::words(io::stdin());
    run(socket, args.limits.clone(), words, console, shutdown).await;
    Ok(())
}

/// Opens the socket.
///
/// # Errors
/// The address cannot be had; the message names it.
pub fn open(args: &Args) -> io::Result<UdpSocket> {
    listen::on(args.listen, args.port, |address| {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        listen::serve_ipv4_too(&socket, address)?;
        socket.bind(&address.into())?;
        socket.set_nonblocking(true)?;
        // A short flood then waits in the kernel, instead of displacing what others say.
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        UdpSocket::from_std(socket.into())
    })
}

/// Serves `socket` until the operator's `close` or `shutdown`, and says goodbye to everybody.
pub async fn run(
    socket: UdpSocket,
    limits: Limits,
    mut words: mpsc::Receiver<Word>,
    console: Console,
    shutdown: CancellationToken,
) {
    let mut forgetting = interval((limits.forget_after / 4).clamp(SHORTEST_TICK, LONGEST_TICK));
    forgetting.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut service = Service::new(limits, Instant::now());
    let mut bytes: wire::Buffer = [0; MAX_DATAGRAM_BYTES + 1];
    loop {
        let effects = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            // A flood does not put the end, the operator or the clock off.
            Some(word) = words.recv() => match word {
                Word::Stop => {
                    service.refuse_newcomers();
                    console.show("* newcomers are refused from now on");
                    Effects::default()
                }
                Word::Close => break,
                Word::Say(text) => service.say_as_operator(&text),
            },
            _ = forgetting.tick() => service.forget(Instant::now()),
            (len, from) = receive(&socket, &mut bytes) => {
                service.receive(Instant::now(), from, &bytes[..len])
            }
        };
        carry_out(&socket, &console, effects).await;
    }
    tracing::info!(users = service.len(), "closing");
    carry_out(&socket, &console, service.farewell()).await;
}

/// How often the book is searched for users who are silent.
const SHORTEST_TICK: Duration = Duration::from_millis(20);
const LONGEST_TICK: Duration = Duration::from_secs(1);

/// How long a failure to receive is given to pass.
const RECEIVE_RETRY: Duration = Duration::from_millis(100);

/// The next datagram: its length and its sender.
async fn receive(socket: &UdpSocket, bytes: &mut wire::Buffer) -> (usize, SocketAddr) {
    loop {
        match socket.recv_from(bytes).await {
            Ok(received) => return received,
            Err(error) => {
                tracing::warn!("failed to receive: {error}");
                tokio::time::sleep(RECEIVE_RETRY).await;
            }
        }
    }
}

async fn carry_out(socket: &UdpSocket, console: &Console, effects: Effects) {
    for line in effects.shown {
        console.show(line);
    }
    for (to, datagram) in effects.datagrams {
        // Lost like any other datagram: whoever cannot be reached is forgotten in time.
        if let Err(error) = socket.send_to(datagram.as_bytes(), to).await {
            tracing::debug!(%to, "failed to send: {error}");
        }
    }
}
