//! One visit to the server: the terminal client's talk, on a thread of its own.

use std::io;
use std::thread;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::client::connect::connect;
use crate::client::exit::{Exit, Failure};
use crate::client::screen::Screen;
use crate::client::{FrontEnd, Visit, talk};

/// So many events may wait for the window; then the talk receives no more for the moment.
const EVENTS_WAITING: usize = 256;

/// What the user does in a visit.
#[derive(Debug)]
pub struct Typed {
    /// The lines that a user of the terminal would type; their end leaves.
    pub lines: mpsc::Receiver<String>,
    /// Cancelled when the user, having left, waits no longer.
    pub at_once: CancellationToken,
}

/// What the window learns of a visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The connection stands.
    Connected,
    /// A line of the server, harmless.
    Line(String),
    /// The visit is over; nothing follows.
    Ended(End),
}

/// How a visit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The exit code that it would give the terminal client.
    pub exit: Exit,
    /// Operation, object and cause, where it did not end as the user asked.
    pub cause: Option<String>,
}

impl From<Result<(), Failure>> for End {
    fn from(ended: Result<(), Failure>) -> Self {
        match ended {
            Ok(()) => Self {
                exit: Exit::Left,
                cause: None,
            },
            Err(failure) => Self {
                exit: failure.exit,
                cause: Some(failure.message),
            },
        }
    }
}

/// Begins a visit.
pub fn begin(visit: Visit, typed: Typed) -> mpsc::Receiver<Event> {
    let (events, received) = mpsc::channel(EVENTS_WAITING);
    thread::spawn(move || {
        let ended = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::of("failed to start", &error))
            .and_then(|runtime| {
                let ended = runtime.block_on(go(visit, typed, &events));
                // A name look-up that is still waiting must not hold up the end.
                runtime.shutdown_background();
                ended
            });
        // A window that is gone need not be told.
        let _ = events.blocking_send(Event::Ended(ended.into()));
    });
    received
}

async fn go(
    visit: Visit,
    Typed { lines, at_once }: Typed,
    events: &mpsc::Sender<Event>,
) -> Result<(), Failure> {
    let stream = connect(&visit.host, visit.port, visit.timeout).await?;
    let _ = events.send(Event::Connected).await;
    let events = events.clone();
    let screen = Screen::of(move |line| {
        events
            .blocking_send(Event::Line(line.to_owned()))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    });
    let front = FrontEnd {
        lines,
        screen,
        interactive: true,
        at_once,
    };
    talk(stream, visit, front).await
}
