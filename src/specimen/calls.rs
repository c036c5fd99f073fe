//! A socket whose every call is printed with what it returned, as in `bind(0.0.0.0:49152) = 0`.
//!
//! The notation is strace's: the call, its arguments without the socket, and the result; a failure
//! is -1 with the name of its errno. Each line leaves as soon as the call has returned.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use socket2::{Domain, SockAddr, Type};

use crate::client::{Exit, Failure};
use crate::text;

/// So many bytes of what was received are shown, as strace does.
const SHOWN_BYTES: usize = 32;

/// A blocking TCP socket.
#[derive(Debug)]
pub struct Socket {
    socket: socket2::Socket,
    name: &'static str,
}

impl Socket {
    /// `socket()`: a socket for the kind of address that `address` is.
    ///
    /// `name` goes before each of its lines, for programs that have several.
    pub fn open(name: &'static str, address: SocketAddr) -> Result<Self, Failure> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None);
        let number = |socket: &socket2::Socket| socket.as_raw_fd().to_string();
        let socket = told(name, format_args!("socket()"), socket, number)?;
        Ok(Self { socket, name })
    }

    /// What its lines begin with.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// `setsockopt(SO_REUSEADDR)`: a server started again need not wait for the `TIME_WAIT` of its
    /// own connections.
    pub fn reuse_address(&self) -> Result<(), Failure> {
        let done = self.socket.set_reuse_address(true);
        self.done(format_args!("setsockopt(SO_REUSEADDR, 1)"), done)
    }

    /// `setsockopt(TCP_QUICKACK, 0)`: Linux acknowledges the first segments of a connection at once;
    /// now it delays this ACK as it does later ones, and as other systems do.
    pub fn delay_acks(&self) -> Result<(), Failure> {
        let done = self.socket.set_tcp_quickack(false);
        self.done(format_args!("setsockopt(TCP_QUICKACK, 0)"), done)
    }

    /// `bind()`.
    pub fn bind(&self, address: SocketAddr) -> Result<(), Failure> {
        let done = self.socket.bind(&address.into());
        self.done(format_args!("bind({address})"), done)
    }

    /// `listen()`.
    pub fn listen(&self, backlog: u16) -> Result<(), Failure> {
        let done = self.socket.listen(backlog.into());
        self.done(format_args!("listen({backlog})"), done)
    }

    /// `getsockname()`, unprinted: the address, for a port that the system chose.
    pub fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()?.as_socket()
    }

    /// `accept()`: the next connection, whose lines begin with `name`.
    pub fn accept(&self, name: &'static str) -> Result<Self, Failure> {
        let show = |(socket, peer): &(socket2::Socket, SockAddr)| match peer.as_socket() {
            Some(peer) => format!("{} from {peer}", socket.as_raw_fd()),
            None => socket.as_raw_fd().to_string(),
        };
        let accepted = self.socket.accept();
        let (socket, _) = told(name, format_args!("accept()"), accepted, show)?;
        Ok(Self { socket, name })
    }

    /// `connect()`.
    pub fn connect(&self, address: SocketAddr) -> Result<(), Failure> {
        let done = self.socket.connect(&address.into());
        self.done(format_args!("connect({address})"), done)
    }

    /// `send()`, and again as long as the kernel takes a part only.
    pub fn send(&self, mut bytes: &[u8]) -> Result<(), Failure> {
        loop {
            let call = format_args!("send({})", bytes.len());
            let sent = told(self.name, call, self.socket.send(bytes), usize::to_string)?;
            bytes = bytes.get(sent..).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(());
            }
        }
    }

    /// `recv()` of at most `max_bytes`; nothing at the peer's FIN.
    pub fn recv(&self, max_bytes: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; max_bytes];
        let received = (&self.socket).read(&mut bytes);
        let received = received.map(|len| {
            bytes.truncate(len);
            bytes
        });
        told(
            self.name,
            format_args!("recv({max_bytes})"),
            received,
            |b| shown(b),
        )
    }

    /// `close()`.
    pub fn close(self) -> Result<(), Failure> {
        let Self { socket, name } = self;
        let done = nix::unistd::close(socket);
        let done = done.map_err(io::Error::from);
        told(name, format_args!("close()"), done, |()| "0".to_owned())
    }

    fn done(&self, call: fmt::Arguments<'_>, done: io::Result<()>) -> Result<(), Failure> {
        told(self.name, call, done, |()| "0".to_owned())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The first address of `host`, IPv4 before IPv6.
///
/// # Errors
/// It has none.
pub fn resolve(host: &str, port: u16) -> Result<SocketAddr, Failure> {
    let unknown = |cause: &str| Failure {
        exit: Exit::NoSuchHost,
        message: format!("no such host: {}: {cause}", text::harmless(host.as_bytes())),
    };
    let found = (host, port).to_socket_addrs();
    let found = found.map_err(|error| unknown(&error.to_string()))?;
    found
        .min_by_key(SocketAddr::is_ipv6)
        .ok_or_else(|| unknown("it has no address"))
}

/// Prints a line of the program's own on stdout. Without a stdout the packets have to do.
pub fn print(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints a call and what it returned, which `show` writes. A failure has the exit code that the
/// chat clients give its cause.
fn told<T>(
    name: &str,
    call: fmt::Arguments<'_>,
    result: io::Result<T>,
    show: impl Fn(&T) -> String,
) -> Result<T, Failure> {
    let before = if name.is_empty() { "" } else { ": " };
    match &result {
        Ok(value) => print(format_args!("{name}{before}{call} = {}", show(value))),
        Err(error) => {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
            print(format_args!("{name}{before}{call} = -1 {errno:?}"));
        }
    }
    result.map_err(|error| Failure::of(&call.to_string(), &error))
}

/// How many bytes, and the first of them: `13 "hello, world!"`, or 0.
fn shown(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "0".to_owned();
    }
    let first = &bytes[..bytes.len().min(SHOWN_BYTES)];
    let more = if first.len() < bytes.len() { "..." } else { "" };
    format!("{} \"{}\"{more}", bytes.len(), text::harmless(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_short_and_harmless() {
        assert_eq!(shown(b""), "0");
        assert_eq!(shown(b"ciao\x1b[2J"), "8 \"ciao\\u{1b}[2J\"");
        let long = format!("1000 \"{}\"...", "x".repeat(SHOWN_BYTES));
        assert_eq!(shown(&[b'x'; 1000]), long);
    }

    #[test]
    fn a_failure_has_the_exit_code_of_the_clients() {
        let refused = io::Error::from(Errno::ECONNREFUSED);
        let call = format_args!("connect(10.0.0.1:7)");
        let failure = told("A", call, Err::<(), _>(refused), |()| String::new()).unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(failure.message, "connect(10.0.0.1:7): connection refused");
    }

    #[test]
    fn an_address_needs_no_name_server() {
        assert_eq!(resolve("127.0.0.1", 7).unwrap(), ([127, 0, 0, 1], 7).into());
        let failure = resolve("no such\x1bhost", 7).unwrap_err();
        assert_eq!(failure.exit, Exit::NoSuchHost);
        assert!(!failure.message.contains('\x1b'), "{failure}");
    }
}
