//! A program for the agent's tests: small, static, and it does just what it is told.
//!
//! ```text
//! tcp-echo listen PORT               sends back what it is sent; closes when the peer has closed
//! tcp-echo connect ADDRESS PORT N    sends N bytes, waits until they come back, then for ever
//! tcp-echo deaf ADDRESS PORT N       sends N bytes and never reads
//! tcp-echo orphan                    leaves a child behind, which ends with its parent
//! tcp-echo alone                     ends once it is the only process beside the first one
//! ```

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long `alone` waits.
const ALONE_WITHIN: Duration = Duration::from_secs(10);

/// Time between two looks of `alone`.
const LOOK_EVERY: Duration = Duration::from_millis(10);

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["listen", port] => listen(number(port)?),
        ["connect", address, port, count] => {
            let mut stream = connect(address, port, count)?;
            let mut echo = vec![0; number(count)?];
            stream.read_exact(&mut echo)?;
            writeln!(io::stdout(), "echoed")?;
            wait_for_ever()
        }
        ["deaf", address, port, count] => {
            let _stream = connect(address, port, count)?;
            wait_for_ever()
        }
        ["orphan"] => Command::new("/proc/self/exe")
            .arg("child")
            .stdin(Stdio::piped())
            .spawn()
            .map(drop),
        ["child"] => io::copy(&mut io::stdin(), &mut io::sink()).map(drop),
        ["alone"] => alone(),
        _ => Err(io::Error::other(format!("unknown arguments: {args:?}"))),
    }
}

fn number<T: std::str::FromStr<Err: Into<Box<dyn std::error::Error + Send + Sync>>>>(
    text: &str,
) -> io::Result<T> {
    text.parse().map_err(io::Error::other)
}

fn listen(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        std::thread::spawn(move || {
            let mut back = stream.try_clone()?;
            io::copy(&mut stream, &mut back)
        });
    }
    Ok(())
}

fn connect(address: &str, port: &str, count: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect((address, number(port)?))?;
    stream.write_all(&vec![b'x'; number(count)?])?;
    Ok(stream)
}

fn wait_for_ever() -> io::Result<()> {
    loop {
        std::thread::park();
    }
}

fn alone() -> io::Result<()> {
    let started = Instant::now();
    loop {
        let own = std::process::id();
        let others: Vec<u32> = std::fs::read_dir("/proc")?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|&pid| pid != 1 && pid != own)
            .collect();
        if others.is_empty() {
            return Ok(());
        }
        if started.elapsed() > ALONE_WITHIN {
            return Err(io::Error::other(format!("still there: {others:?}")));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
