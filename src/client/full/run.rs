//! The front end as a thread: it alone draws, so that a terminal that stalls keeps neither the
//! connection nor the client's end waiting.

use std::io::{self, BufWriter, Stdout, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crossterm::event::Event;
use crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate, window_size};
use crossterm::{execute, queue};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Position, Rect, Size};
use ratatui::{Terminal, TerminalOptions, Viewport};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::draw;
use super::events::{self, Happening, PUT_BACK_WAIT};
use super::hold::{self, Hold};
use super::model::{Model, Wish};
use crate::client::input;
use crate::client::screen::Screen;

/// So much may wait to be shown; then no more is received.
const WAITING: usize = 64;

/// So many lines may wait to be sent; then no more can be typed.
const LINES_WAITING: usize = 64;

/// How long the last picture may take.
const LAST_PICTURE_WAIT: Duration = Duration::from_secs(1);

/// A picture is at most this large, in bytes, before the terminal gets a part of it.
const PICTURE_BYTES: usize = 64 * 1024;

/// The running front end; when it is dropped the terminal is put back.
#[derive(Debug)]
pub struct Full {
    happenings: SyncSender<Happening>,
    /// Disconnects when the thread has put the terminal back.
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// Takes the terminal over for a talk with `peer`.
///
/// # Errors
/// stdin or stdout is no terminal, or one that cannot be drawn on.
pub fn open(peer: &str) -> io::Result<input::Terminal> {
    let hold = Hold::take()?;
    let (happenings, received) = sync_channel(WAITING);
    let (typed, lines) = mpsc::channel(LINES_WAITING);
    let (told, done) = sync_channel::<()>(0);
    events::signals(happenings.clone())?;
    events::keys(happenings.clone());
    let backend = CrosstermBackend::new(BufWriter::with_capacity(PICTURE_BYTES, io::stdout()));
    // Its size is given to it: it would ask `tput` for that of a terminal that has none yet.
    let options = TerminalOptions {
        viewport: Viewport::Fixed(Rect::ZERO),
    };
    let mut front = Front {
        terminal: Terminal::with_options(backend, options)?,
        stale: true,
        model: Model::new(peer.to_owned()),
        typed: Some(typed),
        at_once: CancellationToken::new(),
    };
    let at_once = front.at_once.clone();
    let thread = std::thread::spawn(move || {
        let _told = told;
        let hold = hold;
        if let Err(error) = front.run(&received) {
            tracing::debug!("failed to use the terminal: {error}");
        }
        drop(hold);
        front.last_words();
    });
    let screen = happenings.clone();
    Ok(input::Terminal {
        lines,
        screen: Screen::with(
            move |line| {
                let gone = |_| io::ErrorKind::BrokenPipe.into();
                screen.send(Happening::Line(line.to_owned())).map_err(gone)
            },
            &[],
        ),
        interactive: true,
        at_once,
        mode: input::Mode::Full(Full {
            happenings,
            done,
            thread: Some(thread),
        }),
    })
}

impl Drop for Full {
    fn drop(&mut self) {
        events::tell(&self.happenings, Happening::Finished, LAST_PICTURE_WAIT);
        if self.done.recv_timeout(LAST_PICTURE_WAIT) == Err(RecvTimeoutError::Timeout) {
            hold::put_mode_back();
            return;
        }
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(panic)) = ended
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

struct Front {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    /// Whether the terminal may show something else than was drawn.
    stale: bool,
    model: Model,
    /// Where lines for the server go; none after the end of input.
    typed: Option<mpsc::Sender<String>>,
    /// Cancelled when the user leaves for the second time.
    at_once: CancellationToken,
}

impl Front {
    /// Draws what happens, until nothing more does.
    fn run(&mut self, happenings: &Receiver<Happening>) -> io::Result<()> {
        loop {
            self.draw()?;
            let Ok(first) = happenings.recv() else {
                return Ok(());
            };
            // What waits already is taken in before the next picture.
            for happening in [first]
                .into_iter()
                .chain(happenings.try_iter().take(WAITING))
            {
                match happening {
                    Happening::Line(line) => self.model.hear(line),
                    Happening::Typed(events) => self.typed(events)?,
                    Happening::Changed => self.refresh()?,
                    Happening::Stopped => self.stop()?,
                    Happening::Ended(answer) => {
                        hold::put_back();
                        drop(answer);
                        // The signal ends the client. If this thread ended first, so would the
                        // input, and the client might leave with a code before the signal comes.
                        std::thread::sleep(PUT_BACK_WAIT);
                        return Ok(());
                    }
                    Happening::Finished => {
                        self.draw()?;
                        return Ok(());
                    }
                }
            }
        }
    }

    fn typed(&mut self, events: Vec<Event>) -> io::Result<()> {
        for event in events {
            match event {
                Event::Key(key) => {
                    let wish = self.model.press(key);
                    self.fulfil(wish)?;
                }
                Event::Paste(text) => self.model.paste(&text),
                // Another size is told by a signal, which is waited for before the first picture.
                _ => {}
            }
        }
        Ok(())
    }

    fn fulfil(&mut self, wish: Wish) -> io::Result<()> {
        match wish {
            Wish::Draw => {}
            Wish::Send(line) => self.send(&line),
            Wish::Leave => self.leave(),
            Wish::Suspend => self.stop()?,
            Wish::Redraw => self.refresh()?,
        }
        Ok(())
    }

    /// Ends the input; the second time the rest is not waited for.
    fn leave(&mut self) {
        if self.typed.take().is_none() {
            self.at_once.cancel();
        }
    }

    fn send(&mut self, line: &str) {
        let Some(typed) = &self.typed else { return };
        match typed.try_send(line.to_owned()) {
            Ok(()) => self.model.sent(line),
            Err(mpsc::error::TrySendError::Full(line)) => self.model.refuse(line),
            // The talk has ended.
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }

    fn stop(&mut self) -> io::Result<()> {
        events::stop();
        self.refresh()
    }

    /// Draws everything anew, on a terminal that somebody else may have used meanwhile.
    fn refresh(&mut self) -> io::Result<()> {
        self.stale = true;
        hold::take_again()
    }

    fn draw(&mut self) -> io::Result<()> {
        // Asked of the kernel alone. A terminal that was only just made has no size yet; it will
        // tell when it gets one.
        let size = window_size()?;
        if size.columns == 0 || size.rows == 0 {
            return Ok(());
        }
        let size = Size::new(size.columns, size.rows);
        // A picture may reach the terminal in pieces; it shows none before the last.
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        if self.stale || size != self.model.size {
            self.terminal.resize(Rect::from((Position::ORIGIN, size)))?;
            self.stale = false;
        }
        self.model.size = size;
        let model = &self.model;
        self.terminal.draw(|frame| draw::draw(frame, model))?;
        execute!(self.terminal.backend_mut(), EndSynchronizedUpdate)
    }

    /// The server's farewell, or why it ends, stays on the terminal.
    fn last_words(&self) {
        let notice = |line: &&str| line.starts_with("* ");
        if let Some(line) = self.model.scrollback.last().filter(notice) {
            // A terminal that is gone shows nothing.
            let _ = writeln!(io::stdout(), "{line}");
        }
    }
}
