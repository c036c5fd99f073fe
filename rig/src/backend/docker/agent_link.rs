//! The line to an agent: requests go out as JSON lines, replies are matched to them by id.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use futures_util::StreamExt as _;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

use crate::agent::protocol::{MAX_LINE_BYTES, Patience, ReplyLine, Request, RequestLine, Response};
use crate::backend::BackendError;
use crate::units::{HostName, printable};

/// How long an agent may take beyond what the request itself allows.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// Requests that may wait to be written.
const QUEUE: usize = 16;

/// A connection to the agent of one host; dropping it ends the agent.
#[derive(Debug)]
pub(super) struct AgentLink {
    host: HostName,
    next_id: AtomicU64,
    lines: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Mutex<Waiting>>,
}

type Reply = Result<Response, crate::agent::protocol::AgentError>;

#[derive(Debug, Default)]
struct Waiting {
    by_id: HashMap<u64, oneshot::Sender<Reply>>,
    /// The last line of the agent's log: what it had to say before it ended.
    last_words: String,
    ended: bool,
}

impl AgentLink {
    /// Takes over the attached streams of the agent's container.
    pub(super) fn new(host: HostName, attached: AttachContainerResults) -> Self {
        let (lines, queue) = mpsc::channel(QUEUE);
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        tokio::spawn(write_lines(attached.input, queue));
        tokio::spawn(read_lines(
            host.clone(),
            attached.output,
            Arc::clone(&waiting),
        ));
        Self {
            host,
            next_id: AtomicU64::new(1),
            lines,
            waiting,
        }
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, request: Request) -> Result<Response, BackendError> {
        let allowed = match request.patience() {
            Patience::None => Some(REPLY_TIMEOUT),
            Patience::Within(own) => Some(REPLY_TIMEOUT + own),
            Patience::Endless => None,
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, reply) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if waiting.ended {
                return Err(self.ended(&waiting.last_words));
            }
            waiting.by_id.insert(id, sender);
        }
        let line = RequestLine { id, request };
        let mut bytes = serde_json::to_vec(&line)
            .map_err(|error| self.error(&format!("write a request: {error}")))?;
        bytes.push(b'\n');
        let answered = async {
            // A closed queue means that the agent has ended: its reader says so by `reply`.
            self.lines.send(bytes).await.ok();
            reply.await
        };
        let answer = match allowed {
            None => answered.await,
            Some(allowed) => {
                let Ok(answer) = tokio::time::timeout(allowed, answered).await else {
                    lock(&self.waiting).by_id.remove(&id);
                    let late = format!("no answer within {} s", allowed.as_secs());
                    return Err(self.error(&late));
                };
                answer
            }
        };
        match answer {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.error(&error.message)),
            Err(_) => Err(self.ended(&lock(&self.waiting).last_words)),
        }
    }

    fn error(&self, what: &str) -> BackendError {
        BackendError::machine(format!("host `{}`: {}", self.host, printable(what)))
    }

    fn ended(&self, last_words: &str) -> BackendError {
        match last_words {
            "" => self.error("its agent ended"),
            words => self.error(&format!("its agent ended: {words}")),
        }
    }
}

async fn write_lines(
    mut input: Pin<Box<dyn AsyncWrite + Send>>,
    mut queue: mpsc::Receiver<Vec<u8>>,
) {
    while let Some(line) = queue.recv().await {
        if input.write_all(&line).await.is_err() || input.flush().await.is_err() {
            return;
        }
    }
    // End of input is the agent's end.
    input.shutdown().await.ok();
}

type Output =
    Pin<Box<dyn futures_util::Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

async fn read_lines(host: HostName, mut output: Output, waiting: Arc<Mutex<Waiting>>) {
    let mut partial = Vec::new();
    while let Some(Ok(chunk)) = output.next().await {
        match chunk {
            LogOutput::StdErr { message } => note_log(&host, &message, &waiting),
            LogOutput::StdOut { message } => {
                // Only what is new is searched: a line may come in many pieces.
                let mut rest = &message[..];
                while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                    partial.extend_from_slice(&rest[..end]);
                    deliver(&host, &partial, &waiting);
                    partial.clear();
                    rest = &rest[end + 1..];
                }
                partial.extend_from_slice(rest);
                if partial.len() > MAX_LINE_BYTES {
                    tracing::warn!(%host, "the agent sent a line without an end");
                    break;
                }
            }
            LogOutput::StdIn { .. } | LogOutput::Console { .. } => {}
        }
    }
    let mut waiting = lock(&waiting);
    waiting.ended = true;
    waiting.by_id.clear();
}

fn note_log(host: &HostName, message: &[u8], waiting: &Mutex<Waiting>) {
    let text = String::from_utf8_lossy(message);
    for line in text.lines() {
        tracing::debug!(%host, "agent: {}", printable(line));
    }
    if let Some(last) = text.lines().rfind(|line| !line.trim().is_empty()) {
        lock(waiting).last_words = printable(last.trim());
    }
}

fn deliver(host: &HostName, line: &[u8], waiting: &Mutex<Waiting>) {
    match serde_json::from_slice::<ReplyLine>(line) {
        Ok(reply) => {
            if let Some(sender) = lock(waiting).by_id.remove(&reply.id) {
                // Whoever asked may have given up meanwhile.
                sender.send(reply.result).ok();
            }
        }
        Err(error) => tracing::warn!(%host, %error, "the agent sent a line that is not a reply"),
    }
}

fn lock(waiting: &Mutex<Waiting>) -> std::sync::MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
