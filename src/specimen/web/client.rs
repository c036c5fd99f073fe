//! Gets one page over one connection and shows it.

use std::io::{self, IsTerminal as _, Write};
use std::net::Ipv6Addr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::PORT;
use crate::client::connect::connect;
use crate::client::{Exit, Failure, program};
use crate::{duration, text};

/// A client that gets one page: one connection, one GET, nothing that the page names
///
/// The status, the header and the body are printed on stdout; on a terminal, characters that would move it are
/// written out. It asks the server to close, waits for its FIN, and closes.
///
/// Exit codes: 0 an answer with any status, 1 another failure, 2 wrong arguments, 3 connection refused, 4
/// timed out, 5 reset by the peer, 6 no such host.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name or address of the server's host
    pub host: String,

    /// The path to get
    #[arg(default_value = "/")]
    pub path: Uri,

    /// Port of the server
    #[arg(long, default_value_t = PORT)]
    pub port: u16,

    /// How long all of it may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    pub timeout: Duration,

    /// Bytes of the body that are shown at most; more end the connection
    #[arg(long, value_name = "BYTES", default_value_t = 1_048_576)]
    pub max_body: usize,
}

/// The largest header of an answer, in bytes, unless hyper's own buffer is larger.
const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// So many bytes are read behind the answer while the server's FIN is waited for.
const DRAINED_BYTES: u64 = 64 * 1024;

/// Gets the page, and prints the line on stderr that a failure deserves.
pub fn main(args: &Args) -> Exit {
    program::run("specimen", get(args))
}

async fn get(args: &Args) -> Result<(), Failure> {
    let deadline = Instant::now() + args.timeout;
    let stream = connect(&args.host, args.port, args.timeout).await?;
    let (host, port) = (text::harmless(args.host.as_bytes()), args.port);
    let operation = format!("failed to get {} from {host} port {port}", args.path);
    let late = |_elapsed| Failure::of(&operation, &io::ErrorKind::TimedOut.into());
    let mut page = Page::of(io::stdout().is_terminal(), args.max_body);
    let stream = timeout_at(deadline, exchange(stream, args, &mut page)).await;
    let stream = stream
        .map_err(late)?
        .map_err(|error| Failure::of(&operation, &error))?;
    let closed = timeout_at(deadline, finish(stream)).await;
    closed
        .map_err(late)?
        .map_err(|error| Failure::of(&operation, &error))
}

/// Sends the request, shows the answer, and gives the connection back.
async fn exchange(stream: TcpStream, args: &Args, page: &mut Page) -> io::Result<TcpStream> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_BUFFER_BYTES)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(cause)?;
    let request = request(args)?;
    let show = async {
        let response = sender.send_request(request).await.map_err(cause)?;
        page.show(response).await
    };
    // What cannot be shown ends it; why the connection failed is told to who waits for the answer.
    let closed = async { Ok(connection.without_shutdown().await) };
    let ((), parts) = tokio::try_join!(show, closed)?;
    Ok(parts.map_err(cause)?.io.into_inner())
}

fn request(args: &Args) -> io::Result<Request<Empty<Bytes>>> {
    Request::get(args.path.clone())
        .header(HOST, authority(&args.host, args.port))
        .header(USER_AGENT, concat!("specimen/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(io::Error::other)
}

/// Host and port as a header writes them, an IPv6 address in brackets (RFC 3986, 3.2.2).
fn authority(host: &str, port: u16) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}

/// Waits for the server's FIN, and sends the client's.
async fn finish(mut stream: TcpStream) -> io::Result<()> {
    tokio::io::copy(
        &mut (&mut stream).take(DRAINED_BYTES),
        &mut tokio::io::sink(),
    )
    .await?;
    stream.shutdown().await
}

/// Where the answer is shown.
#[derive(Debug)]
struct Page {
    on_terminal: bool,
    left: usize,
}

impl Page {
    fn of(on_terminal: bool, max_body: usize) -> Self {
        Self {
            on_terminal,
            left: max_body,
        }
    }

    async fn show(&mut self, response: Response<Incoming>) -> io::Result<()> {
        let mut out = io::stdout();
        show_header(&mut out, &response).map_err(|error| unwritten(&error))?;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(cause)?.into_data() {
                self.count(data.len())?;
                self.show_data(&mut out, &data)
                    .map_err(|error| unwritten(&error))?;
            }
        }
        out.flush().map_err(|error| unwritten(&error))
    }

    /// Counts bytes that are about to be shown.
    fn count(&mut self, len_bytes: usize) -> io::Result<()> {
        self.left = self.left.checked_sub(len_bytes).ok_or_else(|| {
            let message = "the body is larger than --max-body";
            io::Error::new(io::ErrorKind::FileTooLarge, message)
        })?;
        Ok(())
    }

    /// Writes a part of the body: as it is, or line by line made harmless on a terminal.
    fn show_data(&self, out: &mut impl Write, data: &[u8]) -> io::Result<()> {
        if !self.on_terminal {
            return out.write_all(data);
        }
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => writeln!(out, "{}", text::harmless(line))?,
                None => write!(out, "{}", text::harmless(line))?,
            }
        }
        Ok(())
    }
}

fn show_header(out: &mut impl Write, response: &Response<Incoming>) -> io::Result<()> {
    writeln!(out, "{:?} {}", response.version(), response.status())?;
    for (name, value) in response.headers() {
        writeln!(out, "{name}: {}", text::harmless(value.as_bytes()))?;
    }
    writeln!(out)
}

/// An error of stdout, so that a pipe without a reader is not taken for the server's reset.
fn unwritten(error: &io::Error) -> io::Error {
    io::Error::other(format!("failed to write to stdout: {error}"))
}

/// The kernel's error where there is one, so that a reset is told from the rest.
fn cause(error: hyper::Error) -> io::Error {
    let kernels =
        std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
    let kind = kernels.map_or(io::ErrorKind::Other, io::Error::kind);
    match kind {
        io::ErrorKind::Other => io::Error::other(error),
        kind => kind.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(on_terminal: bool, data: &[u8]) -> String {
        let mut out = Vec::new();
        Page::of(on_terminal, 100)
            .show_data(&mut out, data)
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_ipv6_address_has_its_brackets() {
        assert_eq!(authority("::1", 80), "[::1]:80");
        assert_eq!(authority("hub", 8888), "hub:8888");
    }

    #[test]
    fn a_terminal_gets_harmless_text_and_a_pipe_what_came() {
        assert_eq!(shown(true, b"a\x1b[2J\nb"), "a\\u{1b}[2J\nb");
        assert_eq!(shown(false, b"a\x1b[2J\nb"), "a\x1b[2J\nb");
    }

    #[test]
    fn a_body_without_end_is_not_shown_without_end() {
        let mut page = Page::of(false, 10);
        page.count(8).unwrap();
        assert!(page.count(3).is_err());
    }
}
