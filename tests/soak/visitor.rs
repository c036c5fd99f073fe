//! The visitor of the web server who behaves: asks for a page and for large pictures over connections
//! that are kept, compares every byte, and comes again.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::soak::{PATIENCE, Stop, Talk};

/// Where the visitor comes from, which no attacker does.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 8);

/// What is asked for, over and over.
const FILES: [&str; 4] = [
    "index.html",
    "pictures/large.bmp",
    "page.html",
    "result.html",
];

/// Requests over one connection.
const REQUESTS: usize = 20;

/// Visits over and over until `stop`.
pub(crate) async fn visit(server: SocketAddr, folder: &Path, stop: Stop) -> Talk {
    let files = FILES.map(|path| (path, std::fs::read(folder.join(path)).unwrap()));
    let mut talk = Talk::default();
    while !stop.is_cancelled() {
        let mut connection = connect(server).await;
        for (path, content) in files.iter().cycle().take(REQUESTS) {
            talk.said += 1;
            let answer = timeout(PATIENCE, get(&mut connection, server, path)).await;
            assert_eq!(&answer.expect("an answer in time"), content, "{path}");
            talk.heard += 1;
        }
    }
    talk
}

async fn connect(server: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((ADDRESS, 0).into()).unwrap();
    let connected = timeout(PATIENCE, socket.connect(server)).await;
    let stream = TokioIo::new(connected.expect("a connection in time").unwrap());
    let (requests, connection) = handshake(stream).await.unwrap();
    // It ends with the last sender of requests; a failure is told to whoever waits for an answer.
    tokio::spawn(connection);
    requests
}

/// The body of the answer, which must be a success.
async fn get(connection: &mut SendRequest<Empty<Bytes>>, server: SocketAddr, path: &str) -> Bytes {
    let request = Request::get(format!("/{path}"))
        .header(HOST, server.to_string())
        .body(Empty::new())
        .unwrap();
    connection.ready().await.unwrap();
    let answer = connection.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer.into_body().collect().await.unwrap().to_bytes()
}
