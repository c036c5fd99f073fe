//! An engine for tests that says what it is told to, so that the words of engines that are not here can be met.

use std::sync::{Arc, Mutex, PoisonError};

use bollard::API_DEFAULT_VERSION;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

/// A running engine.
pub(super) struct Canned {
    pub(super) client: bollard::Docker,
    requests: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

impl Canned {
    /// Answers each request, `DELETE /networks/x` with its body, by a status and a body.
    pub(super) fn new(
        mut answer: impl FnMut(&str, &str) -> (u16, String) + Send + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some((line, body)) = request(&mut stream).await else {
                    continue;
                };
                lock(&heard).push(line.clone());
                let (status, body) = answer(&line, &body);
                let reply = format!(
                    "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\n\
                     content-length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(reply.as_bytes()).await.unwrap();
            }
        });
        let path = socket.to_str().unwrap();
        let client = bollard::Docker::connect_with_unix(path, 10, API_DEFAULT_VERSION).unwrap();
        Self {
            client,
            requests,
            _folder: folder,
        }
    }

    /// What it was asked so far, without parameters.
    pub(super) fn requests(&self) -> Vec<String> {
        lock(&self.requests).clone()
    }
}

/// Method and path of a request, without the version and the parameters, and its body.
async fn request(stream: &mut UnixStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let (head, mut body) = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            break (head.to_owned(), body.as_bytes().to_vec());
        }
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().unwrap())
    });
    while body.len() < length.unwrap_or(0) {
        stream.read_buf(&mut body).await.ok()?;
    }
    let mut words = head.split_whitespace();
    let (method, target) = (words.next()?, words.next()?);
    let path = target.split('?').next()?;
    let line = format!("{method} {path}");
    Some((line, String::from_utf8(body).ok()?))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
