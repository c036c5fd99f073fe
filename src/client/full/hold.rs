//! The terminal taken over, and put back whatever happens.

use std::io::{self, IsTerminal as _, Write as _};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::execute;
use crossterm::terminal::{
    EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};

/// Whether the terminal is taken: there is one, whoever wants it put back.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, taken over until this is dropped.
#[derive(Debug)]
pub(super) struct Hold(());

impl Hold {
    /// Takes the terminal: no line editing and no echo by the kernel, the alternate screen. A panic,
    /// on whichever thread, puts it back before its message is printed.
    ///
    /// # Errors
    /// stdin or stdout is no terminal, or one that cannot be drawn on.
    pub(super) fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        check()?;
        HOOK.call_once(|| {
            let print = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                put_back();
                print(info);
            }));
        });
        let hold = Self(());
        take_again()?;
        Ok(hold)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        put_back();
    }
}

/// Tells a terminal that can be taken from what cannot.
///
/// # Errors
/// stdin or stdout is no terminal, or one that cannot be drawn on.
pub(crate) fn check() -> io::Result<()> {
    let wants = |what: &str| {
        Err(io::Error::other(format!(
            "--ui full needs a terminal: {what}"
        )))
    };
    if !io::stdin().is_terminal() {
        return wants("stdin is none");
    }
    if !io::stdout().is_terminal() {
        return wants("stdout is none");
    }
    match std::env::var("TERM").as_deref() {
        Ok("dumb") => wants("TERM says that this one cannot move its cursor (dumb)"),
        _ => Ok(()),
    }
}

/// Takes the terminal where it has been put back.
pub(super) fn take_again() -> io::Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste)
}

/// Puts the terminal back, once.
pub(super) fn put_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // A terminal that is gone has nothing to be put back.
    let _ = disable_raw_mode();
    let _ = execute!(
        io::stdout(),
        EndSynchronizedUpdate,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        crossterm::cursor::Show
    );
    let _ = io::stdout().flush();
}

/// Gives the kernel's mode back to the terminal and writes nothing: for one that takes no output.
pub(super) fn put_mode_back() {
    let _ = disable_raw_mode();
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use nix::pty::openpty;
    use nix::sys::termios::{LocalFlags, tcgetattr};

    use super::*;

    /// What the test below runs on a terminal.
    #[test]
    #[ignore = "panics on purpose; another test runs it on a terminal of its own"]
    fn panic_with_the_terminal() {
        let _hold = Hold::take().unwrap();
        std::thread::spawn(|| panic!("on purpose")).join().unwrap();
    }

    #[test]
    fn a_panic_on_any_thread_puts_the_terminal_back_before_it_is_told() {
        let pty = openpty(None, None).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let before = tcgetattr(&pty.slave).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--nocapture", "--exact"])
            .arg(format!("{}::panic_with_the_terminal", module()))
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        assert!(!child.wait().unwrap().success());
        let after = tcgetattr(&pty.slave).unwrap();
        assert_eq!(after, before);
        assert!(after.local_flags.contains(LocalFlags::ECHO));
        // What was printed fits the kernel's buffer; it ends when the last writer is gone.
        drop(pty.slave);
        let mut shown = Vec::new();
        let _ = File::from(pty.master).read_to_end(&mut shown);
        let shown = String::from_utf8_lossy(&shown);
        let (taken, rest) = shown.split_once("\u{1b}[?1049h").unwrap();
        assert!(!taken.contains("on purpose"));
        let (_, told) = rest.split_once("\u{1b}[?1049l").unwrap();
        assert!(told.contains("on purpose"), "{shown:?}");
    }

    /// This module's path as the test runner names it.
    fn module() -> &'static str {
        module_path!().split_once("::").map_or("", |(_, path)| path)
    }
}
