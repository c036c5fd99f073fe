//! The guest of a one-to-one server who behaves: waits for its turn, exchanges numbers with the
//! operator, leaves, and comes again.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::ChildStdin;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::soak::{PATIENCE, Stop, Talk};
use crate::subject::Subject;

/// Where the guest comes from, which no attacker does.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 9);

/// Messages each way in one visit.
const MESSAGES: u64 = 20;

/// What the guest's messages begin with; a number follows.
const WORD: &str = "guest-says-";

/// The guest, who is the operator too.
pub(crate) struct Guest {
    server: std::net::SocketAddr,
    operator: ChildStdin,
    shown: mpsc::UnboundedReceiver<String>,
}

impl Guest {
    /// Takes the operator's place.
    pub(crate) fn new(server: &mut Subject) -> Self {
        Self {
            server: server.address,
            operator: server.stdin.take().unwrap(),
            shown: server
                .lines(|line| line.contains(WORD) || line.starts_with(&format!("* {ADDRESS}:"))),
        }
    }

    /// Visits over and over until `stop`.
    pub(crate) async fn visit(mut self, stop: Stop) -> Talk {
        let mut talk = Talk::default();
        while !stop.is_cancelled() {
            self.once(&mut talk).await;
        }
        talk
    }

    async fn once(&mut self, talk: &mut Talk) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((ADDRESS, 0).into()).unwrap();
        let connected = timeout(PATIENCE, socket.connect(self.server)).await;
        let stream = connected.expect("a connection in time").unwrap();
        let mut stream = BufReader::new(stream);
        self.shows("is connected").await;
        assert!(line(&mut stream).await.starts_with("* welcome"));
        for number in talk.said..talk.said + MESSAGES {
            let message = format!("{WORD}{number}\n");
            stream.write_all(message.as_bytes()).await.unwrap();
            self.shows(&format!("client: {}", message.trim_end())).await;
            // A pipe that is read takes a short line at once.
            self.operator
                .write_all(format!("{number}\n").as_bytes())
                .unwrap();
            assert_eq!(line(&mut stream).await, format!("operator: {number}"));
            talk.heard += 2;
        }
        talk.said += MESSAGES;
        stream.write_all(b"quit\n").await.unwrap();
        assert_eq!(line(&mut stream).await, "* goodbye");
        self.shows("is gone").await;
    }

    /// Waits for the next line about the guest, which must be this one: the operator's own words
    /// are not shown.
    async fn shows(&mut self, text: &str) {
        let line = timeout(PATIENCE, self.shown.recv()).await;
        let line = line.expect("a line for the operator in time").unwrap();
        assert!(line.contains(text), "`{line}` instead of `{text}`");
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    let n = timeout(PATIENCE, stream.read_line(&mut line)).await;
    let n = n.expect("a line in time").expect("a connection");
    assert!(n > 0, "the server dropped a guest who behaves");
    line.trim_end().to_owned()
}
