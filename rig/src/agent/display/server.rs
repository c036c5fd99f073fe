//! The connection to the server of a display.

use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use x11rb::connection::Connection as _;
use x11rb::errors::{ConnectError, ConnectionError, ReplyError, ReplyOrIdError};
use x11rb::protocol::xproto::{Atom, ConnectionExt as _, Window};
use x11rb::rust_connection::{DefaultStream, RustConnection};

/// A display, spoken to.
pub(super) struct Server {
    pub(super) connection: RustConnection,
    /// The window that covers the whole display.
    pub(super) root: Window,
    pub(super) width: u16,
    pub(super) height: u16,
    /// `_NET_WM_NAME`, the title of a window in UTF-8 (Extended Window Manager Hints 1.5).
    pub(super) title_atom: Atom,
}

/// Why a display could not be asked.
#[derive(Debug)]
pub(super) struct ServerError(String);

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for ServerError {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<ConnectError> for ServerError {
    fn from(error: ConnectError) -> Self {
        Self(error.to_string())
    }
}

impl From<ConnectionError> for ServerError {
    fn from(error: ConnectionError) -> Self {
        Self(error.to_string())
    }
}

impl From<ReplyError> for ServerError {
    fn from(error: ReplyError) -> Self {
        Self(match error {
            ReplyError::ConnectionError(error) => error.to_string(),
            ReplyError::X11Error(error) => {
                format!("{:?} of {:?}", error.error_kind, error.request_name)
            }
        })
    }
}

impl From<ReplyOrIdError> for ServerError {
    fn from(error: ReplyOrIdError) -> Self {
        Self(error.to_string())
    }
}

impl From<&str> for ServerError {
    fn from(message: &str) -> Self {
        Self(message.to_owned())
    }
}

impl From<String> for ServerError {
    fn from(message: String) -> Self {
        Self(message)
    }
}

impl Server {
    /// Connects to the server of display `number`.
    pub(super) fn connect(number: u16) -> Result<Self, ServerError> {
        let name = format!("/tmp/.X11-unix/X{number}");
        let address = SocketAddr::from_abstract_name(name)?;
        let stream = UnixStream::connect_addr(&address)?;
        let (stream, _) = DefaultStream::from_unix_stream(stream)?;
        let connection = RustConnection::connect_to_stream(stream, 0)?;
        let screen = connection.setup().roots.first();
        let screen = screen.ok_or("the server has no screen")?;
        let (root, width, height) = (screen.root, screen.width_in_pixels, screen.height_in_pixels);
        let title_atom = connection
            .intern_atom(false, b"_NET_WM_NAME")?
            .reply()?
            .atom;
        Ok(Self {
            connection,
            root,
            width,
            height,
            title_atom,
        })
    }

    /// Waits until the server has done all that it was asked.
    pub(super) fn sync(&self) -> Result<(), ServerError> {
        self.connection.get_input_focus()?.reply()?;
        Ok(())
    }

    /// Waits until the server tells of something, at most `within`, and forgets what it told.
    pub(super) fn await_event(&self, within: Duration) -> Result<(), ServerError> {
        self.connection.flush()?;
        if self.forget_events()? {
            return Ok(());
        }
        let timeout = PollTimeout::try_from(within).unwrap_or(PollTimeout::ZERO);
        let mut socket = [PollFd::new(
            self.connection.stream().as_fd(),
            PollFlags::POLLIN,
        )];
        match poll(&mut socket, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        self.forget_events().map(drop)
    }

    fn forget_events(&self) -> Result<bool, ServerError> {
        let mut any = false;
        while self.connection.poll_for_event()?.is_some() {
            any = true;
        }
        Ok(any)
    }
}
