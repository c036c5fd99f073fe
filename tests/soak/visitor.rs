//! The visitor of the web server who behaves: asks for a page and for large pictures over connections
//! that are kept, compares every byte, and comes again.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
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
        let mut stream = connect(server).await;
        for (path, content) in files.iter().cycle().take(REQUESTS) {
            let request = format!("GET /{path} HTTP/1.1\r\nHost: {server}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            talk.said += 1;
            let answer = timeout(PATIENCE, answer(&mut stream)).await;
            assert_eq!(&answer.expect("an answer in time"), content, "{path}");
            talk.heard += 1;
        }
    }
    talk
}

async fn connect(server: SocketAddr) -> BufReader<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((ADDRESS, 0).into()).unwrap();
    let connected = timeout(PATIENCE, socket.connect(server)).await;
    BufReader::new(connected.expect("a connection in time").unwrap())
}

/// The body of an answer, which must be a success.
async fn answer(stream: &mut BufReader<TcpStream>) -> Vec<u8> {
    let mut length = 0;
    let mut first = true;
    loop {
        let mut line = String::new();
        let n = stream.read_line(&mut line).await.unwrap();
        assert!(n > 0, "the server dropped a visitor who behaves");
        let line = line.trim_end().to_ascii_lowercase();
        if first {
            assert_eq!(line, "http/1.1 200 ok");
            first = false;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    body
}
