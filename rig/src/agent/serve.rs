//! The agent's life: requests in, replies out, until nobody is there to ask.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::host::Host;
use super::protocol::{AgentError, AgentErrorKind, MAX_LINE_BYTES, ReplyLine, RequestLine};
use super::sys;
use crate::units::printable;

/// How long the agent waits for its first request: a controller that has gone before it asked
/// anything leaves no host behind.
const FIRST_REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// Requests that are served at the same time; further ones are refused.
const MAX_REQUESTS: usize = 256;

/// Lines that were read and not yet looked at.
const MAX_LINES: usize = 16;

/// How much of a line that is no request the log shows, in bytes.
const SHOWN_BYTES: usize = 200;

/// Why the agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The controller closed the agent's input or output.
    Released,
    /// No request came in time.
    NeverAsked,
    /// SIGTERM or SIGINT came.
    Signalled,
}

/// Serves requests until the input ends.
///
/// Everything that is still under way then is abandoned: the caller is expected to end the process
/// at once, and with it, where it is the first of its namespace, every other.
///
/// # Errors
/// When signals or threads cannot be had of the kernel.
pub async fn serve(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    capture_path: PathBuf,
) -> io::Result<End> {
    sys::leave_reaping_to_kernel()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        end = converse(input, output, capture_path) => end,
        _ = terminate.recv() => Ok(End::Signalled),
        _ = interrupt.recv() => Ok(End::Signalled),
    }
}

/// Serves requests until nobody asks any more.
async fn converse(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    capture_path: PathBuf,
) -> io::Result<End> {
    let mut lines = read_lines(input)?;
    let replies = write_replies(output)?;
    let host = Arc::new(Host::new(capture_path));
    let mut requests = JoinSet::new();
    let mut asked = false;
    let deadline = tokio::time::sleep(FIRST_REQUEST_WITHIN);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            line = lines.recv() => {
                let Some(line) = line else {
                    break;
                };
                asked = true;
                take_line(&line, &host, &replies, &mut requests);
            }
            () = replies.closed() => break,
            () = &mut deadline, if !asked => return Ok(End::NeverAsked),
            Some(ended) = requests.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a request was not answered");
                }
            }
        }
    }
    if host.is_kept() {
        // Only a signal ends the agent now.
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(host.linger()).await;
    Ok(End::Released)
}

/// Answers a line, in a task of its own where it is a request.
fn take_line(
    line: &Line,
    host: &Arc<Host>,
    replies: &mpsc::Sender<ReplyLine>,
    requests: &mut JoinSet<()>,
) {
    let (id, refusal) = match parse(line) {
        Ok(request) if requests.len() < MAX_REQUESTS => {
            let (host, replies) = (Arc::clone(host), replies.clone());
            requests.spawn(async move {
                let result = host.answer(request.request).await;
                let id = request.id;
                // Nobody reads any more: the agent is about to end.
                let _ = replies.send(ReplyLine { id, result }).await;
            });
            return;
        }
        Ok(request) => {
            let message = format!("more than {MAX_REQUESTS} requests at a time");
            (Some(request.id), message)
        }
        Err(refused) => refused,
    };
    let Some(id) = id else {
        tracing::warn!("{refusal}");
        return;
    };
    let replies = replies.clone();
    requests.spawn(async move {
        let result = Err(AgentError {
            kind: AgentErrorKind::Protocol,
            message: refusal,
        });
        let _ = replies.send(ReplyLine { id, result }).await;
    });
}

/// A line of input, without its end.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole(Vec<u8>),
    /// It was longer than [`MAX_LINE_BYTES`] and was passed over.
    TooLong,
}

/// Reads a request. Where it is none: why, and the id that a reply can carry if there is one.
fn parse(line: &Line) -> Result<RequestLine, (Option<u64>, String)> {
    #[derive(Deserialize)]
    struct Id {
        id: u64,
    }
    let Line::Whole(bytes) = line else {
        return Err((
            None,
            format!("a line is longer than {MAX_LINE_BYTES} bytes"),
        ));
    };
    serde_json::from_slice(bytes).map_err(|error| {
        let id = serde_json::from_slice::<Id>(bytes).ok();
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]);
        let message = format!("read the request `{}`: {error}", printable(&shown));
        (id.map(|id| id.id), printable(&message))
    })
}

/// Reads lines on a thread; the channel closes at the end of input.
fn read_lines(input: impl Read + Send + 'static) -> io::Result<mpsc::Receiver<Line>> {
    let (sender, receiver) = mpsc::channel(MAX_LINES);
    std::thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            let mut input = BufReader::new(input);
            while let Ok(Some(line)) = read_line(&mut input) {
                if sender.blocking_send(line).is_err() {
                    break;
                }
            }
        })?;
    Ok(receiver)
}

/// Reads a line; `None` at the end of input, where an unfinished one is dropped.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let limit = MAX_LINE_BYTES as u64 + 1;
    input.by_ref().take(limit).read_until(b'\n', &mut line)?;
    if line.pop_if(|last| *last == b'\n').is_some() {
        return Ok(Some(Line::Whole(line)));
    }
    if line.len() <= MAX_LINE_BYTES {
        return Ok(None);
    }
    drop(line);
    let found_end = input.skip_until(b'\n')? > 0;
    Ok(found_end.then_some(Line::TooLong))
}

/// Writes replies on a thread; the channel closes when nobody reads them any more.
fn write_replies(mut output: impl Write + Send + 'static) -> io::Result<mpsc::Sender<ReplyLine>> {
    let (sender, mut receiver) = mpsc::channel::<ReplyLine>(MAX_REQUESTS);
    std::thread::Builder::new()
        .name("output".to_owned())
        .spawn(move || {
            while let Some(reply) = receiver.blocking_recv() {
                let written = encode(&reply)
                    .and_then(|line| output.write_all(&line).and_then(|()| output.flush()));
                if let Err(error) = written {
                    tracing::info!(%error, "replies are no longer read");
                    break;
                }
            }
        })?;
    Ok(sender)
}

fn encode(reply: &ReplyLine) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(reply)?;
    if line.len() > MAX_LINE_BYTES {
        let message = format!(
            "the reply has {} bytes, at most {MAX_LINE_BYTES} are sent",
            line.len()
        );
        line = serde_json::to_vec(&ReplyLine {
            id: reply.id,
            result: Err(AgentError {
                kind: AgentErrorKind::System,
                message,
            }),
        })?;
    }
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::protocol::Request;

    #[test]
    fn lines_are_bounded_and_the_next_one_is_read() {
        let mut input = b"one\n".to_vec();
        input.extend(vec![b'x'; MAX_LINE_BYTES + 10]);
        input.extend(b"\ntwo\nunfinished");
        let mut input = input.as_slice();
        let mut read = || read_line(&mut input).unwrap();
        assert_eq!(read(), Some(Line::Whole(b"one".to_vec())));
        assert_eq!(read(), Some(Line::TooLong));
        assert_eq!(read(), Some(Line::Whole(b"two".to_vec())));
        assert_eq!(read(), None);
    }

    #[test]
    fn a_line_that_is_no_request_is_answered_where_it_has_an_id() {
        let parse = |text: &str| parse(&Line::Whole(text.into()));
        let good = parse(r#"{"id":7,"request":{"op":"sockets"}}"#).unwrap();
        assert_eq!((good.id, good.request), (7, Request::Sockets));
        let (id, why) = parse(r#"{"id":8,"request":{"op":"fly"}}"#).unwrap_err();
        assert_eq!(id, Some(8));
        assert!(why.contains("unknown variant `fly`"), "{why}");
        let (id, why) = parse("\u{1b}[2J").unwrap_err();
        assert_eq!(id, None);
        assert!(!why.contains('\u{1b}'), "{why:?}");
    }

    #[tokio::test]
    async fn the_end_of_input_is_the_end() {
        let end = converse(io::empty(), io::sink(), "/nonexistent/capture".into()).await;
        assert_eq!(end.unwrap(), End::Released);
    }

    #[tokio::test]
    async fn requests_are_answered_by_their_ids() {
        let (requests, mut ask) = io::pipe().unwrap();
        let (replies, output) = io::pipe().unwrap();
        let agent = tokio::spawn(converse(requests, output, "/nonexistent/capture".into()));
        let asking = tokio::task::spawn_blocking(move || {
            let mut replies = BufReader::new(replies).lines();
            let mut reply = || -> ReplyLine {
                serde_json::from_str(&replies.next().unwrap().unwrap()).unwrap()
            };
            ask.write_all(b"nonsense\n{\"id\":1,\"request\":{\"op\":\"close\"}}\n")
                .unwrap();
            let first = reply();
            ask.write_all(b"{\"id\":2}\n").unwrap();
            (first, reply())
        });
        let (first, second) = asking.await.unwrap();
        assert_eq!((first.id, second.id), (1, 2));
        let kind = |reply: ReplyLine| reply.result.unwrap_err().kind;
        assert_eq!(kind(first), AgentErrorKind::Protocol);
        assert_eq!(kind(second), AgentErrorKind::Protocol);
        assert_eq!(agent.await.unwrap().unwrap(), End::Released);
    }

    #[tokio::test]
    async fn a_kept_agent_stays_when_its_controller_goes() {
        let (requests, mut ask) = io::pipe().unwrap();
        let (mut replies, output) = io::pipe().unwrap();
        let agent = tokio::spawn(converse(requests, output, "/nonexistent/capture".into()));
        let asking = tokio::task::spawn_blocking(move || {
            ask.write_all(b"{\"id\":1,\"request\":{\"op\":\"keep\"}}\n")
                .unwrap();
            let mut first = [0];
            replies.read_exact(&mut first).unwrap();
        });
        asking.await.unwrap();
        tokio::time::pause();
        let ended = tokio::time::timeout(Duration::from_hours(1), agent).await;
        assert!(ended.is_err(), "{ended:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_nobody_asks_ends() {
        let (reader, _writer) = io::pipe().unwrap();
        let end = converse(reader, io::sink(), "/nonexistent/capture".into()).await;
        assert_eq!(end.unwrap(), End::NeverAsked);
    }
}
