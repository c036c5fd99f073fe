//! What each request is answered with.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode};

use super::content::Content;
use super::folder::{Folder, Found};

/// The path that is redirected, and where to.
const REDIRECT: (&str, &str) = ("/redirect", "/result.html");

/// Answers a request: a file of the folder, or a status after which the connection is closed.
pub async fn answer<B>(folder: &Arc<Folder>, request: &Request<B>) -> Response<Content> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return last(StatusCode::METHOD_NOT_ALLOWED, ALLOW, "GET, HEAD");
    }
    let path = request.uri().path();
    if path == REDIRECT.0 {
        return last(StatusCode::MOVED_PERMANENTLY, LOCATION, REDIRECT.1);
    }
    let (folder, path) = (Arc::clone(folder), path.to_owned());
    let found = tokio::task::spawn_blocking(move || file(folder.find(&path)?)).await;
    match found.ok().flatten() {
        Some(response) => response,
        None => last(
            StatusCode::NOT_FOUND,
            CONTENT_TYPE,
            "text/plain; charset=utf-8",
        ),
    }
}

/// The answer with a file, none where it cannot be read.
fn file(found: Found) -> Option<Response<Content>> {
    let content = Content::of(found.file.into_std(), found.len).ok()?;
    let mut response = Response::new(content);
    let content_type = HeaderValue::from_static(found.content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Some(response)
}

/// The last answer of a connection: a status, in words too, with one more header.
fn last(
    status: StatusCode,
    name: hyper::header::HeaderName,
    value: &'static str,
) -> Response<Content> {
    let text = Bytes::from(format!("{status}\n"));
    let mut response = Response::new(Content::Text(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(name, HeaderValue::from_static(value));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
