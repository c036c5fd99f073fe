//! Lines from a terminal or a pipe, read by a thread of their own (such a read cannot be
//! cancelled).

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::dup2_stdout;
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::full::Full;
use super::screen::Screen;
use crate::operator::for_each_line;

/// So many lines may wait to be sent; then no more are read.
const LINES_WAITING: usize = 64;

/// The longest line that is read from a pipe, in bytes; whether it is too long for the server is for
/// the server to say.
const MAX_LINE_BYTES: usize = 1024 * 1024;

/// What the user sees before the line that is typed.
const PROMPT: &str = "> ";

/// Takes an unanswered prompt off the line.
const WIPE_LINE: &[u8] = b"\r\x1b[K";

/// Where lines come from and go to.
#[derive(Debug)]
pub struct Terminal {
    /// The user's lines; closed at the end of input.
    pub lines: mpsc::Receiver<String>,
    /// Where received lines are shown.
    pub screen: Screen,
    /// Whether somebody can be asked.
    pub interactive: bool,
    /// Cancelled when the user, having left, waits no longer. Where the kernel has the keys, ctrl-C is a signal.
    pub at_once: CancellationToken,
    /// Puts the terminal back as it was.
    pub mode: Mode,
}

/// How the terminal is put back when this is dropped.
#[derive(Debug)]
pub enum Mode {
    /// Nothing was changed.
    Untouched,
    /// The mode before the line editor changed it. The client may end while the editor waits for a
    /// key, and its thread cannot be stopped: it loses its stdout, so that it draws no more.
    Edited(Termios),
    /// The front end that has the whole terminal puts it back.
    Full(Full),
}

impl Drop for Mode {
    fn drop(&mut self) {
        let Self::Edited(mode) = self else { return };
        // If the terminal is gone there is nothing to put back.
        if let Ok(nowhere) = File::options().write(true).open("/dev/null") {
            let _ = dup2_stdout(nowhere);
        }
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, mode);
        if io::stderr().is_terminal() {
            let _ = io::stderr().write_all(WIPE_LINE);
        }
    }
}

/// A line editor when both stdin and stdout are a terminal, plain lines otherwise. After a line
/// that `is_last` the editor asks for no more.
///
/// # Errors
/// The terminal cannot be used.
pub fn open(is_last: fn(&str) -> bool) -> io::Result<Terminal> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        let mode = tcgetattr(io::stdin())?;
        // Without bracketed paste there is no other mode to put back than the kernel's.
        let config = Config::builder()
            .bracketed_paste(false)
            .auto_add_history(true)
            .build();
        let edit = |e: ReadlineError| io::Error::other(format!("failed to use the terminal: {e}"));
        let mut editor = DefaultEditor::with_config(config).map_err(edit)?;
        // A terminal without line editing (TERM=dumb) has no printer; it is used like a pipe.
        if let Ok(printer) = editor.create_external_printer() {
            let screen = Screen::terminal(printer);
            return Ok(Terminal {
                lines: edited(editor, is_last),
                screen,
                interactive: true,
                at_once: CancellationToken::new(),
                mode: Mode::Edited(mode),
            });
        }
    }
    Ok(Terminal {
        lines: plain(io::stdin()),
        screen: Screen::pipe(),
        interactive: io::stdin().is_terminal(),
        at_once: CancellationToken::new(),
        mode: Mode::Untouched,
    })
}

fn edited(mut editor: DefaultEditor, is_last: fn(&str) -> bool) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(LINES_WAITING);
    std::thread::spawn(move || {
        // Ctrl-C and ctrl-D leave like the end of input.
        while let Ok(line) = editor.readline(PROMPT) {
            let last = is_last(&line);
            if sender.blocking_send(line).is_err() || last {
                return;
            }
        }
    });
    lines
}

fn plain(input: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(LINES_WAITING);
    std::thread::spawn(move || {
        for_each_line(input, MAX_LINE_BYTES, |line| {
            sender.blocking_send(line).is_ok()
        });
    });
    lines
}
