//! Waits until somebody says go on: by a line on stdin, or by SIGUSR1.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::calls::print;
use crate::client::Failure;

/// What the end of stdin means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfInput {
    /// Nothing more will be typed, so go on: a client, which then ends.
    GoesOn,
    /// Nothing: a server without a terminal waits for the signal.
    MeansNothing,
}

/// What ended a wait for a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Somebody said go on.
    Told,
    /// The socket has something to be received: data, a FIN or an error.
    Readable,
}

/// Listens for whoever says go on.
#[derive(Debug)]
pub struct Halt {
    signals: SignalFd,
    end: EndOfInput,
    input_ended: bool,
}

impl Halt {
    /// Catches SIGUSR1 from this call on. One that comes before a wait is kept for it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(end: EndOfInput) -> Result<Self, Failure> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGUSR1);
        let signals = set
            .thread_block()
            .and_then(|()| SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC))
            .map_err(|errno| Failure::of("failed to catch SIGUSR1", &errno.into()))?;
        Ok(Self {
            signals,
            end,
            input_ended: false,
        })
    }

    /// Says that the program has halted, and `place`, where; waits until it is told to go on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn at(&mut self, place: &str) -> Result<(), Failure> {
        print(format_args!("halted {place}: a line or SIGUSR1 goes on"));
        self.wait(None).map(drop)
    }

    /// Waits until the program is told to go on, or `socket` has something to be received.
    ///
    /// # Errors
    /// The kernel's.
    pub fn or_readable(&mut self, socket: &impl AsFd) -> Result<Woken, Failure> {
        self.wait(Some(socket.as_fd()))
    }

    fn wait(&mut self, socket: Option<BorrowedFd<'_>>) -> Result<Woken, Failure> {
        let woken = self.woken(socket);
        woken.map_err(|error| Failure::of("failed to wait", &error))
    }

    fn woken(&mut self, socket: Option<BorrowedFd<'_>>) -> io::Result<Woken> {
        loop {
            if self.input_ended && self.end == EndOfInput::GoesOn {
                return Ok(Woken::Told);
            }
            let [signal, readable, typed] = self.ready(socket)?;
            if signal {
                self.signals.read_signal()?;
                return Ok(Woken::Told);
            }
            if typed && self.ends_line()? {
                return Ok(Woken::Told);
            }
            if readable {
                return Ok(Woken::Readable);
            }
        }
    }

    /// Waits until something is there: a signal, bytes on `socket`, bytes on stdin.
    fn ready(&self, socket: Option<BorrowedFd<'_>>) -> io::Result<[bool; 3]> {
        let stdin = io::stdin();
        let typed = (!self.input_ended).then(|| stdin.as_fd());
        let places = [Some(self.signals.as_fd()), socket, typed];
        let watched = places.iter().flatten();
        let mut watched: Vec<_> = watched
            .map(|fd| PollFd::new(*fd, PollFlags::POLLIN))
            .collect();
        while let Err(error) = poll(&mut watched, PollTimeout::NONE) {
            if error != Errno::EINTR {
                return Err(error.into());
            }
        }
        let mut ready = watched.iter().map(|fd| fd.any() == Some(true));
        Ok(places.map(|place| place.is_some() && ready.next() == Some(true)))
    }

    /// Reads a byte of stdin: whether it ends a line. One at a time, since later lines are for later
    /// halts, and half a line must not keep a signal or the socket waiting.
    fn ends_line(&mut self) -> io::Result<bool> {
        let mut byte = [0];
        match nix::unistd::read(io::stdin(), &mut byte) {
            // A terminal that has gone is an end of input too.
            Ok(0) | Err(Errno::EIO) => self.input_ended = true,
            Ok(_) => return Ok(byte == *b"\n"),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(false)
    }
}
