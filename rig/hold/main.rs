//! The first process of a node's container. It starts the node's program, tells the agent of the host how each process
//! ends that comes to be its child, and stays until the last of them has ended.
//!
//! An engine kills what is left in a container when its first process ends, and tells of that end only a number in which
//! SIGTERM is 143, as `exit(143)` is. On a machine of its own the children of a killed server live on, a program may
//! go into the background, and whoever started it knows how it ended. So the program is not the first process.
//!
//! `hold SOCKET NODE VISIT PROGRAM [ARGUMENT…]`: SOCKET is the agent's, in the abstract namespace (unix(7)), which is
//! part of the host's network namespace. What is written to it, a line each; the first is answered by a byte:
//!
//! | line | meaning |
//! |---|---|
//! | `hold NODE VISIT` | whose first process this is |
//! | `started PID` | the program runs |
//! | `failed ERRNO` | it could not be started (execve(2)) |
//! | `exited PID CODE alone`, `killed PID SIGNAL alone` | a process has ended, and none is left |
//! | `exited PID CODE others`, `killed PID SIGNAL others` | a process has ended, and others go on |
//!
//! It uses the standard library alone: `build.rs` compiles it, and the rig holds it in itself.

use std::env;
use std::ffi::{OsString, c_int, c_ulong};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitCode, ExitStatus};

/// Exit code where it could not do its part, as of other programs that start programs (env(1)).
const FAILED: u8 = 125;

/// Signals that the container, its terminal or a program that means its whole group may send: they are for the program.
const PASSED_OVER: [c_int; 9] = [1, 2, 3, 10, 12, 15, 20, 21, 22];

// <linux/prctl.h>, <asm-generic/ioctls.h>, <signal.h>, <sys/wait.h>, <asm-generic/errno-base.h>
const PR_SET_CHILD_SUBREAPER: c_int = 36;
const TIOCSCTTY: c_ulong = 0x540E;
const TIOCNOTTY: c_ulong = 0x5422;
const SIG_DFL: usize = 0;
const SIG_IGN: usize = 1;
const WNOHANG: c_int = 1;
const EINTR: i32 = 4;

#[expect(
    unsafe_code,
    reason = "calls of the C library that the standard library has no name for"
)]
// SAFETY: these are their signatures in the C library of 64-bit Linux.
unsafe extern "C" {
    safe fn prctl(
        option: c_int,
        on: c_ulong,
        three: c_ulong,
        four: c_ulong,
        five: c_ulong,
    ) -> c_int;
    safe fn setsid() -> c_int;
    safe fn close(fd: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, argument: c_ulong) -> c_int;
    fn signal(number: c_int, handler: usize) -> usize;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
}

fn main() -> ExitCode {
    match hold() {
        Ok(end) => end,
        Err((doing, error)) => {
            // What a container prints is what its program is taken to have printed last.
            writeln!(io::stderr(), "hold: {doing}: {error}").ok();
            ExitCode::from(FAILED)
        }
    }
}

type Failed = (&'static str, io::Error);

fn hold() -> Result<ExitCode, Failed> {
    let mut arguments = env::args_os().skip(1);
    let mut next = || {
        arguments
            .next()
            .ok_or(("read the arguments", io::ErrorKind::InvalidInput.into()))
    };
    let [socket, node, visit, program]: [OsString; 4] = [next()?, next()?, next()?, next()?];
    let mut agent = connect(&socket).map_err(|error| ("connect to the host's agent", error))?;
    let tell = |agent: &mut UnixStream, line: &str| {
        agent
            .write_all(line.as_bytes())
            .map_err(|error| ("tell the host's agent", error))
    };
    tell(
        &mut agent,
        &format!("hold {} {}\n", node.display(), visit.display()),
    )?;
    // Whoever listens asks the kernel who this is, which it can tell while this process lives.
    agent
        .read_exact(&mut [0])
        .map_err(|error| ("hear from the host's agent", error))?;
    // Processes whose parent has ended become children of this one, not of the agent.
    if prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0 {
        return Err(("become the reaper of orphans", io::Error::last_os_error()));
    }
    set_signals(SIG_IGN);
    let terminal = io::stdin().is_terminal();
    if terminal {
        give_up_terminal();
    }
    let mut command = Command::new(program);
    command.args(arguments);
    before_exec(&mut command, terminal);
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            tell(
                &mut agent,
                &format!("failed {}\n", error.raw_os_error().unwrap_or_default()),
            )?;
            return Ok(ExitCode::from(FAILED));
        }
    };
    // Whoever reads or writes there has to do with the program alone.
    for fd in 0..=2 {
        close(fd);
    }
    tell(&mut agent, &format!("started {}\n", child.id()))?;
    let mut end = ExitCode::from(FAILED);
    loop {
        let (ended, others) = wait_for_children();
        for (pid, status) in &ended {
            if u32::try_from(*pid) == Ok(child.id()) {
                end = exit_code(*status);
            }
            tell(&mut agent, &line(*pid, *status, others))?;
        }
        if !others {
            return Ok(end);
        }
    }
}

fn connect(name: &OsString) -> io::Result<UnixStream> {
    let address = SocketAddr::from_abstract_name(name.as_encoded_bytes())?;
    UnixStream::connect_addr(&address)
}

/// Waits until a child ends. Gives those that have ended, and whether others go on.
fn wait_for_children() -> (Vec<(c_int, ExitStatus)>, bool) {
    let mut ended = Vec::new();
    loop {
        let mut status = 0;
        let options = if ended.is_empty() { 0 } else { WNOHANG };
        // SAFETY: the kernel writes to `status` alone, which lives as long as the call.
        #[expect(unsafe_code, reason = "waitpid(2)")]
        let pid = unsafe { waitpid(-1, &raw mut status, options) };
        match pid {
            0 => return (ended, true),
            1.. => ended.push((pid, ExitStatus::from_raw(status))),
            _ if io::Error::last_os_error().raw_os_error() == Some(EINTR) => {}
            // ECHILD: there is none.
            _ => return (ended, false),
        }
    }
}

fn line(pid: c_int, status: ExitStatus, others: bool) -> String {
    let left = if others { "others" } else { "alone" };
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited {pid} {code} {left}\n"),
        (None, signal) => format!("killed {pid} {} {left}\n", signal.unwrap_or_default()),
    }
}

/// As an engine tells the end of a program: 128 and its number for a signal.
fn exit_code(status: ExitStatus) -> ExitCode {
    let number = status.code().or_else(|| Some(128 + status.signal()?));
    ExitCode::from(
        number
            .and_then(|number| u8::try_from(number).ok())
            .unwrap_or(FAILED),
    )
}

/// Lets go of the terminal, so that the program can take it as its own.
fn give_up_terminal() {
    // SAFETY: this request takes no argument; the SIGHUP that it sends to this process is passed over.
    #[expect(unsafe_code, reason = "ioctl_tty(2)")]
    unsafe {
        ioctl(0, TIOCNOTTY, 0);
    }
}

/// The program leads a session of its own, as the first process of a container does, with its terminal if it has one:
/// a signal for its group must not reach this process.
#[expect(unsafe_code, reason = "the standard library has no safe word for it")]
fn before_exec(command: &mut Command, terminal: bool) {
    let prepare = move || {
        setsid();
        // SAFETY: this request takes a number.
        if terminal && unsafe { ioctl(0, TIOCSCTTY, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
        set_signals(SIG_DFL);
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls and nothing else (signal-safety(7)).
    unsafe {
        command.pre_exec(prepare);
    }
}

fn set_signals(handler: usize) {
    for number in PASSED_OVER {
        // SAFETY: both handlers are the kernel's own.
        #[expect(unsafe_code, reason = "signal(2)")]
        unsafe {
            signal(number, handler);
        }
    }
}
