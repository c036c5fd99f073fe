//! Keys and signals, each waited for by a thread of its own.

use std::io;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyModifiers, poll, read};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::hold;

/// How long the front end may take to put the terminal back before a signal ends the client.
pub(super) const PUT_BACK_WAIT: Duration = Duration::from_secs(1);

/// Time between two looks for room in the queue of happenings: a channel cannot tell it.
const ROOM_EVERY: Duration = Duration::from_millis(2);

/// Keys that are passed on at once.
const KEYS_AT_ONCE: usize = 1024;

/// What the front end is told.
#[derive(Debug)]
pub(super) enum Happening {
    /// A line of the server.
    Line(String),
    /// Keys were pressed or text was pasted, in this order.
    Typed(Vec<Event>),
    /// The terminal has another size, or was somebody else's for a while.
    Changed,
    /// Somebody stops the client, for a while.
    Stopped,
    /// A signal ends the client: the terminal is to be put back, and the sender dropped.
    Ended(SyncSender<()>),
    /// Nothing more will come.
    Finished,
}

/// Reads keys for as long as there is a front end. What came at once is passed on at once: pictures of a line that is
/// half typed would be drawn for nobody.
pub(super) fn keys(front: SyncSender<Happening>) {
    std::thread::spawn(move || {
        loop {
            let typed = match typed() {
                Ok(typed) => typed,
                Err(error) => {
                    tracing::debug!("failed to read the terminal: {error}");
                    return;
                }
            };
            if front.send(Happening::Typed(typed)).is_err() {
                return;
            }
        }
    });
}

/// Waits for keys, and takes those that have come with the first, up to the end of a line: the next one may have to
/// wait.
fn typed() -> io::Result<Vec<Event>> {
    let mut typed = vec![read()?];
    while typed.len() < KEYS_AT_ONCE && !typed.last().is_some_and(is_enter) {
        // What goes wrong now goes wrong again when it is waited for.
        let Ok(true) = poll(Duration::ZERO) else {
            break;
        };
        let Ok(event) = read() else { break };
        typed.push(event);
    }
    Ok(typed)
}

fn is_enter(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    // What ends a line in a pipe comes as ctrl-J.
    let control = key.modifiers == KeyModifiers::CONTROL;
    key.code == KeyCode::Enter || (control && matches!(key.code, KeyCode::Char('j' | 'm')))
}

/// Waits for signals. One that ends a program ends this one too, as it would without this, but for
/// the terminal, which is put back first. Once this has returned no change of the terminal's size is
/// missed: a terminal that has none yet gets its first one so, maybe after the last line to be drawn.
///
/// # Errors
/// The kernel does not take the handlers.
pub(super) fn signals(front: SyncSender<Happening>) -> io::Result<()> {
    let ending = [SIGTERM, SIGHUP, SIGINT, SIGQUIT];
    let mut signals = Signals::new(ending.iter().chain(&[SIGTSTP, SIGCONT, SIGWINCH]))?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            match signal {
                // Never for longer: a signal that ends the program may be next.
                SIGTSTP => {
                    tell(&front, Happening::Stopped, PUT_BACK_WAIT);
                }
                SIGCONT | SIGWINCH => {
                    tell(&front, Happening::Changed, PUT_BACK_WAIT);
                }
                _ => end(&front, signal),
            }
        }
    });
    Ok(())
}

/// Tells the front end something within `patience`; false when it is gone, or stuck in a terminal
/// without a reader.
pub(super) fn tell(front: &SyncSender<Happening>, what: Happening, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    let mut what = what;
    loop {
        what = match front.try_send(what) {
            Ok(()) => return true,
            Err(TrySendError::Disconnected(_)) => return false,
            Err(TrySendError::Full(what)) => what,
        };
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(ROOM_EVERY);
    }
}

/// Gives the shell the terminal until it is told to go on.
pub(super) fn stop() {
    hold::put_back();
    // Fails for signals that cannot be sent, which this one can.
    let _ = emulate_default_handler(SIGTSTP);
}

fn end(front: &SyncSender<Happening>, signal: i32) {
    let (sender, answer) = std::sync::mpsc::sync_channel(0);
    if tell(front, Happening::Ended(sender), PUT_BACK_WAIT) {
        // An answer is never given: the sender is dropped.
        let _ = answer.recv_timeout(PUT_BACK_WAIT);
    }
    hold::put_mode_back();
    let _ = emulate_default_handler(signal);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use signal_hook::low_level::raise;

    use super::*;

    #[test]
    fn a_size_that_changes_before_the_first_key_is_told() {
        let (front, happenings) = sync_channel(1);
        signals(front).unwrap();
        raise(SIGWINCH).unwrap();
        let told = happenings.recv_timeout(PUT_BACK_WAIT).unwrap();
        assert!(matches!(told, Happening::Changed));
    }
}
