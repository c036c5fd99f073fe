//! The operator and one client at a time; further clients wait in the listening socket's backlog.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{Limits, SHUTDOWN_WAIT};
use crate::link::{Event, line};
use crate::operator::{Console, Word};
use crate::protocol;
use crate::rate::Pace;
use crate::server::accept;
use crate::session::{End, Link};

/// The author of the client's lines on the operator's screen.
const CLIENT: &str = "client";

/// So many lines of the operator may wait for a client that does not read.
const OPERATOR_LINES: usize = 64;

/// So many ended connections may wait for their client's FIN before the next client is accepted.
const MAX_ENDING: usize = 64;

/// What the talk needs beside the connection.
struct Desk<'a> {
    limits: &'a Limits,
    words: mpsc::Receiver<Word>,
    console: Console,
    shutdown: CancellationToken,
}

/// Serves one client after the other until the operator's `close` or `shutdown`.
/// Failures to accept are logged and tried again.
pub async fn run(
    listener: TcpListener,
    limits: &Limits,
    words: mpsc::Receiver<Word>,
    console: Console,
    shutdown: CancellationToken,
) {
    let mut desk = Desk {
        limits,
        words,
        console,
        shutdown,
    };
    let ending = TaskTracker::new();
    while let Some((stream, peer)) = desk.next_client(&listener, &ending).await {
        let (read, write) = stream.into_split();
        let mut link = Link::new(read, write, limits);
        let (end, unsent) = desk.talk(&mut link, peer).await;
        tracing::info!(%peer, "connection ends: {end}");
        desk.console.show(format!("* {peer} is gone: {end}"));
        let shutdown = desk.shutdown.clone();
        ending.spawn(async move { link.end(&end, unsent, &shutdown).await });
    }
    drop(listener);
    ending.close();
    // Past this time the kernel ends what is left; every FIN is on its way already.
    let _ = tokio::time::timeout(SHUTDOWN_WAIT, ending.wait()).await;
}

impl Desk<'_> {
    /// Waits for the next client; none when the server shuts down.
    async fn next_client(
        &mut self,
        listener: &TcpListener,
        ending: &TaskTracker,
    ) -> Option<(tokio::net::TcpStream, SocketAddr)> {
        loop {
            let accepted = async {
                if ending.len() >= MAX_ENDING {
                    std::future::pending::<()>().await;
                }
                accept(listener).await
            };
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return None,
                Some(word) = self.words.recv() => match word {
                    Word::Close => self.shutdown.cancel(),
                    Word::Stop | Word::Say(_) => self.console.show("* nobody is connected"),
                },
                accepted = accepted => return Some(accepted),
                // The number of ending connections may have sunk: look again.
                () = tokio::time::sleep(ENDING_CHECK), if ending.len() >= MAX_ENDING => {}
            }
        }
    }

    /// Both directions at once, until either side ends it; with what the operator has said last.
    async fn talk<R, W>(
        &mut self,
        link: &mut Link<R, W>,
        peer: SocketAddr,
    ) -> (End, mpsc::Receiver<String>)
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        tracing::info!(%peer, "connected");
        self.console.show(format!("* {peer} is connected"));
        let (sender, mut outbox) = mpsc::channel::<String>(OPERATOR_LINES);
        link.outgoing.push(&line(protocol::ONE_TO_ONE_GREETING));
        let end = self.converse(link, &sender, &mut outbox).await;
        (end, outbox)
    }

    async fn converse<R, W>(
        &mut self,
        link: &mut Link<R, W>,
        sender: &mpsc::Sender<String>,
        outbox: &mut mpsc::Receiver<String>,
    ) -> End
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut pace = Pace::new(self.limits.rate, self.limits.burst);
        let mut read_from: Option<Instant> = None;
        loop {
            let next = async {
                if let Some(time) = read_from {
                    sleep_until(time).await;
                }
                link.incoming.next().await
            };
            let event = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return End::Shutdown,
                Some(word) = self.words.recv() => {
                    match word {
                        Word::Stop => return End::Stopped,
                        Word::Close => self.shutdown.cancel(),
                        Word::Say(text) => {
                            let said = line(&protocol::operator_said(&text));
                            if sender.try_send(said).is_err() {
                                self.console.show("* the client does not read: that was not sent");
                            }
                        }
                    }
                    continue;
                }
                error = link.outgoing.pump(outbox) => return End::Failed(error),
                event = next => event,
            };
            match event {
                Event::Message(text) if protocol::is_quit(&text) => return End::Quit,
                Event::Message(text) => self.console.show(protocol::said(CLIENT, &text)),
                // One who does not read cannot pile up notices of his own.
                Event::TooLong if !link.outgoing.has_room() => {}
                Event::TooLong => {
                    let told = protocol::too_long(self.limits.max_message_bytes());
                    link.outgoing.push(&line(&told));
                }
                Event::Telnet(reply) => link.outgoing.reply(&reply),
                Event::Finished => return End::Finished,
                Event::Failed(error) => return End::Failed(error),
            }
            read_from = pace.count(Instant::now());
        }
    }
}

/// How often a server with too many ending connections looks whether it may accept again.
const ENDING_CHECK: std::time::Duration = std::time::Duration::from_millis(100);
