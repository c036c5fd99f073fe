//! One connection, from its first request to the last FIN.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::answer::answer;
use super::content::Content;
use super::folder::Folder;
use crate::operator::Console;
use crate::patience::{Bounds, Patience};
use crate::text;

/// The longest header of a request, in bytes, and its most fields.
const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_FIELDS: usize = 100;

/// What hyper buffers of a connection, in bytes.
const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// No connection lasts longer, whatever its client asks for and however slowly it reads.
const MAX_LIFE: Duration = Duration::from_mins(5);

/// How long the client's FIN is waited for after the server's, and so many bytes are read meanwhile: to
/// close with something unread would be a reset (RFC 9112, 9.6).
const PEER_FIN: Bounds = Bounds {
    silence: Duration::from_secs(1),
    limit: Duration::from_secs(10),
};
const DRAINED_BYTES: usize = 256 * 1024;

/// So much is read at a time meanwhile.
const READ_BYTES: usize = 4096;

/// How long the answer that is being given may take when the server shuts down.
const LAST_ANSWER_WAIT: Duration = Duration::from_secs(1);

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// The files.
    pub folder: Arc<Folder>,
    /// How long a connection may be without a whole request: at its begin and between two of them.
    pub idle: Duration,
    /// Where each request is told.
    pub console: Console,
}

/// Serves one connection to its end.
pub async fn serve(stream: TcpStream, shared: &Shared, shutdown: &CancellationToken) {
    let service = service_fn(|request| -> Pin<Box<dyn Future<Output = _> + Send + '_>> {
        Box::pin(respond(request, shared))
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // It counts from the end of the answer before, so it ends idle connections too.
        .header_read_timeout(shared.idle)
        .max_header_size(MAX_HEADER_BYTES)
        .max_headers(MAX_FIELDS)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut life = pin!(timeout(MAX_LIFE, shutdown.cancelled()));
    let ended = tokio::select! {
        ended = poll_fn(|context| connection.poll_without_shutdown(context)) => ended,
        told = &mut life => {
            if told.is_ok() {
                Pin::new(&mut connection).graceful_shutdown();
                let answered = poll_fn(|context| connection.poll_without_shutdown(context));
                timeout(LAST_ANSWER_WAIT, answered).await.unwrap_or(Ok(()))
            } else {
                Ok(())
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
    finish(connection.into_parts().io.into_inner()).await;
}

async fn respond(
    request: Request<Incoming>,
    shared: &Shared,
) -> Result<Response<Content>, Infallible> {
    let response = answer(&shared.folder, &request).await;
    let asked = format!("{} {}", request.method(), request.uri());
    let status = response.status().as_u16();
    shared
        .console
        .show(format!("{} = {status}", text::harmless(asked.as_bytes())));
    Ok(response)
}

/// Sends FIN, and waits for the client's for as long as something still comes.
async fn finish(mut stream: TcpStream) {
    // A failure means that the client is gone: there is nobody left to wait for.
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut patience = Patience::new(PEER_FIN);
    let (mut bytes, mut drained) = ([0; READ_BYTES], 0);
    while drained < DRAINED_BYTES
        && let Some(Ok(n @ 1..)) = patience.wait(stream.read(&mut bytes)).await
    {
        drained += n;
    }
}
