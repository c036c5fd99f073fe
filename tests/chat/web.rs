//! The web server and the web client, over loopback.

use std::fmt::Write as _;
use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use tempfile::TempDir;

use crate::support::{PATIENCE, Program, Wire};

/// A web server of the example site.
struct Server {
    program: Program,
    address: SocketAddr,
    folder: TempDir,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        assert_eq!(
            Program::start("specimen", &["web-site", &path]).outcome().0,
            0
        );
        let fixed = ["web-server", &path, "--listen", "127.0.0.1", "--port", "0"];
        let program = Program::start("specimen", &[&fixed, args].concat());
        let line = program.hear("* listening on ");
        let address = line.trim_start_matches("* listening on ").parse().unwrap();
        Self {
            program,
            address,
            folder,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// What comes for a request, up to the server's FIN.
    fn answer(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn client(&self, args: &[&str]) -> Program {
        let (host, port) = (
            self.address.ip().to_string(),
            self.address.port().to_string(),
        );
        let fixed = ["web-client", &host, "--port", &port];
        Program::start("specimen", &[&fixed, args].concat())
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
}

#[test]
fn files_have_their_type_and_length() {
    let server = Server::start(&[]);
    for (path, content_type, len) in [
        ("/", "text/html; charset=utf-8", None),
        ("/style.css", "text/css; charset=utf-8", None),
        ("/favicon.ico", "image/x-icon", Some(1150)),
        ("/pictures/large.bmp", "image/bmp", Some(531_990)),
    ] {
        let mut stream = server.connect();
        stream.write_all(get(path).as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap()
            + 4;
        let head = String::from_utf8_lossy(&bytes[..end]);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(
            head.contains(&format!("content-type: {content_type}\r\n")),
            "{head}"
        );
        let body = bytes.len() - end;
        assert!(
            head.contains(&format!("content-length: {body}\r\n")),
            "{head}"
        );
        assert!(len.is_none_or(|len| len == body), "{body}");
    }
    server.program.hear("GET /pictures/large.bmp = 200");
}

#[test]
fn a_redirect_a_missing_path_and_another_method_close() {
    let server = Server::start(&["--idle", "5m"]);
    for (request, status, header) in [
        (
            "GET /redirect",
            "301 Moved Permanently",
            "location: /result.html",
        ),
        ("GET /nowhere.html", "404 Not Found", "connection: close"),
        ("POST /", "405 Method Not Allowed", "allow: GET, HEAD"),
    ] {
        // The server's FIN ends the answer, though nobody asked for it.
        let answer = server.answer(&format!("{request} HTTP/1.1\r\nHost: web\r\n\r\n"));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{answer}"
        );
        assert!(answer.contains(&format!("{header}\r\n")), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
}

#[test]
fn a_body_that_nobody_reads_does_not_reset_the_answer() {
    let server = Server::start(&[]);
    let body = "x".repeat(200_000);
    let answer = server.answer(&format!(
        "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 200000\r\n\r\n{body}"
    ));
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[test]
fn a_body_that_comes_slowly_after_the_answer_is_no_reset_either() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    stream.write_all(get("/nothing").as_bytes()).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    // Longer in all than the server waits for a silent client.
    for _ in 0..6 {
        stream.write_all(b"more").unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }
    let ended = stream.read(&mut [0]);
    assert_eq!(ended.expect("the FIN, and no reset behind it"), 0);
}

#[test]
fn head_is_get_without_the_body() {
    let server = Server::start(&[]);
    let answer = server
        .answer("HEAD /pictures/large.bmp HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
    assert!(answer.contains("content-length: 531990\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn nothing_outside_the_folder_is_served() {
    let server = Server::start(&[]);
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let link = server.folder.path().join("link");
    std::os::unix::fs::symlink(outside.path().join("secret"), link).unwrap();
    for path in [
        "/link",
        "/../secret",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2fsecret",
        "//etc/passwd",
        "/etc/passwd",
    ] {
        let answer = server.answer(&get(path));
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
        assert!(!answer.contains("secret"), "{path}: {answer}");
    }
}

#[test]
fn a_connection_is_kept_and_closed_when_it_is_idle() {
    let server = Server::start(&["--idle", "300ms"]);
    let mut wire = Wire::new(server.connect());
    let begin = Instant::now();
    for path in ["/result.html", "/index.html"] {
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: web\r\n\r\n"));
        wire.hear("HTTP/1.1 200 OK");
        wire.hear("</html>");
    }
    assert_eq!(wire.rest(), Vec::<String>::new());
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

#[test]
fn headers_are_bounded_in_size_and_in_time() {
    let server = Server::start(&["--idle", "200ms"]);
    let large = format!(
        "GET / HTTP/1.1\r\nHost: web\r\nX: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    let answer = server.answer(&large);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let mut many = String::from("GET / HTTP/1.1\r\nHost: web\r\n");
    for number in 0..200 {
        write!(many, "X-{number}: y\r\n").unwrap();
    }
    let answer = server.answer(&format!("{many}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    // Half a request, and no more.
    assert_eq!(server.answer("GET / HTTP/1.1\r\nHost: w"), "");
    let garbage = server.answer("\x16\x03\x01 no HTTP\r\n\r\n");
    assert!(garbage.starts_with("HTTP/1.1 400 "), "{garbage}");
}

#[test]
fn further_connections_wait_for_a_place() {
    let server = Server::start(&["--max-connections", "1", "--idle", "5m"]);
    let mut first = Wire::new(server.connect());
    first.send("GET /result.html HTTP/1.1\r\nHost: web\r\n\r\n");
    first.hear("</html>");
    let mut second = Wire::new(server.connect());
    second.send(get("/result.html"));
    second
        .stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(second.stream.peek(&mut [0]).is_err(), "answered too early");
    second.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    drop(first);
    second.hear("HTTP/1.1 200 OK");
}

#[test]
fn sigterm_ends_the_server_with_its_idle_connections() {
    let mut server = Server::start(&["--idle", "5m"]);
    let mut wire = Wire::new(server.connect());
    wire.send("GET /result.html HTTP/1.1\r\nHost: web\r\n\r\n");
    wire.hear("</html>");
    server.program.signal("TERM");
    assert_eq!(wire.rest(), Vec::<String>::new());
    drop(wire);
    assert!(server.program.ended().success());
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let (code, _, stderr) =
        Program::start("specimen", &["web-server", "/no/such", "--port", "0"]).outcome();
    assert_eq!(code, 1);
    assert!(
        stderr.starts_with("specimen: failed to open folder /no/such: "),
        "{stderr}"
    );
}

#[test]
fn the_client_gets_one_page_and_closes_after_the_server() {
    let server = Server::start(&["--idle", "5m"]);
    let (code, stdout, stderr) = server.client(&["/result.html"]).outcome();
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(
        stdout.starts_with("HTTP/1.1 200 OK\ncontent-type: text/html"),
        "{stdout}"
    );
    assert!(stdout.ends_with("</html>"), "{stdout}");
    let (code, stdout, _) = server.client(&["/redirect"]).outcome();
    assert_eq!(code, 0);
    assert!(
        stdout.starts_with("HTTP/1.1 301 Moved Permanently\nlocation: /result.html"),
        "{stdout}"
    );
    let (code, _, stderr) = server
        .client(&["/pictures/large.bmp", "--max-body", "1000"])
        .outcome();
    assert_eq!(code, 1);
    assert!(
        stderr.ends_with("the body is larger than --max-body"),
        "{stderr}"
    );
}

#[test]
fn a_stdout_that_nobody_reads_is_not_taken_for_a_reset() {
    let server = Server::start(&[]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let client = Command::new(cargo_bin("specimen"))
        .args([
            "web-client",
            &server.address.ip().to_string(),
            "/pictures/large.bmp",
        ])
        .args(["--port", &server.address.port().to_string()])
        .stdout(writer)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&client.stderr);
    assert_eq!(client.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("failed to write to stdout"), "{stderr}");
}

#[test]
fn the_client_tells_how_a_server_fails() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let client = || {
        Program::start(
            "specimen",
            &[
                "web-client",
                "127.0.0.1",
                "--port",
                &port,
                "--timeout",
                "300ms",
            ],
        )
    };
    let request = |stream: &TcpStream| {
        let mut lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
        lines
            .find(|line| line.as_ref().unwrap().is_empty())
            .unwrap()
            .unwrap();
    };

    let silent = client();
    let stream = listener.accept().unwrap().0;
    request(&stream);
    assert_eq!(silent.outcome().0, 4);

    let reset = client();
    let stream = listener.accept().unwrap().0;
    // The request stays unread, so that closing resets.
    assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
    drop(stream);
    assert_eq!(reset.outcome().0, 5);

    let garbage = client();
    let mut stream = listener.accept().unwrap().0;
    request(&stream);
    stream.write_all(b"no HTTP\r\n\r\n").unwrap();
    drop(stream);
    let (code, _, stderr) = garbage.outcome();
    assert_eq!(code, 1);
    assert!(
        stderr.starts_with("specimen: failed to get / from 127.0.0.1 port "),
        "{stderr}"
    );

    drop(listener);
    assert_eq!(client().outcome().0, 3);
}
