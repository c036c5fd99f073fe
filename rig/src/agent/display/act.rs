//! What is asked of a display, done.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use x11rb::protocol::xproto::{BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, MOTION_NOTIFY_EVENT};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::{CURRENT_TIME, NONE};

use super::server::{Server, ServerError};
use super::windows::{Shown, tell};
use crate::agent::processes::Processes;
use crate::agent::protocol::{AgentError, AgentErrorKind, DisplayAct, Response};
use crate::agent::waiting::ABSENT_FOR;
use crate::plan::Gesture;
use crate::units::{NodeName, Timestamp};

/// Time between two looks at the processes while the display has nothing new to tell.
const LOOK_AT_PROCESSES_EVERY: Duration = Duration::from_millis(25);

/// The display of a node, for one request.
struct Hands {
    processes: Processes,
    node: NodeName,
    server: Server,
}

/// Does what is asked of display `number`, which shows the windows of `node`. Asking a display
/// takes a thread of its own: its answers are waited for.
pub(in crate::agent) async fn act(
    processes: Processes,
    node: NodeName,
    number: u16,
    act: DisplayAct,
    picture: PathBuf,
) -> Result<Response, AgentError> {
    let work = move || {
        let server = Server::connect(number)
            .map_err(|error| failed(&format!("reach display :{number} of {node}"), &error))?;
        let hands = Hands {
            processes,
            node,
            server,
        };
        hands.act(act, &picture)?;
        Ok(Response::Displayed {
            at: Timestamp::now(),
        })
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(AgentError {
            kind: AgentErrorKind::System,
            message: format!("ask display :{number}: {error}"),
        })
    })
}

fn failed(operation: &str, error: &ServerError) -> AgentError {
    AgentError {
        kind: AgentErrorKind::System,
        message: format!("{operation}: {error}"),
    }
}

impl Hands {
    fn act(&self, act: DisplayAct, picture: &Path) -> Result<(), AgentError> {
        let node = &self.node;
        match act {
            DisplayAct::Await { title, within } => self.await_window(&title, within),
            DisplayAct::Gesture { gesture, window } => self.gesture(&gesture, window.as_deref()),
            DisplayAct::Picture { empty_too } => {
                let operation = format!("take a picture of the display of {node}");
                if !empty_too && self.windows(&operation)?.is_empty() {
                    return Err(no_window(&operation, &tell(&[])));
                }
                let bytes = self.server.picture();
                let bytes = bytes.map_err(|error| failed(&operation, &error))?;
                fs::write(picture, bytes).map_err(|error| failed(&operation, &error.into()))
            }
        }
    }

    /// Waits until a window shows whose title contains `title`.
    fn await_window(&self, title: &str, within: Duration) -> Result<(), AgentError> {
        let node = &self.node;
        let operation = format!("wait for a window of {node} with {title:?} in its title");
        let deadline = Instant::now() + within;
        let mut present_at = Instant::now();
        let watched = self.server.watch();
        watched.map_err(|error| failed(&operation, &error))?;
        loop {
            let windows = self.server.windows(true);
            let windows = windows.map_err(|error| failed(&operation, &error))?;
            if windows.iter().any(|window| window.title.contains(title)) {
                return Ok(());
            }
            let processes = self.processes.look();
            if processes.has(node) || processes.is_starting() {
                present_at = Instant::now();
            }
            let failure = |kind, cause: &str| {
                let told = tell(&windows);
                Err(AgentError {
                    kind,
                    message: format!("{operation}: {cause}: {told}"),
                })
            };
            if present_at.elapsed() >= ABSENT_FOR {
                return failure(AgentErrorKind::NoProcess, "its program has ended");
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return failure(AgentErrorKind::TimedOut, "not in time");
            }
            self.server
                .await_event(left.min(LOOK_AT_PROCESSES_EVERY))
                .map_err(|error| failed(&operation, &error))?;
        }
    }

    fn gesture(&self, gesture: &Gesture, window: Option<&str>) -> Result<(), AgentError> {
        let node = &self.node;
        match gesture {
            Gesture::Type(text) => {
                let operation = format!("type at the window of {node}");
                self.focus(&operation, window)?;
                let typed = self.server.type_text(text);
                typed.map_err(|error| failed(&operation, &error))
            }
            Gesture::Press(keys) => {
                let operation = format!("press keys at the window of {node}");
                self.focus(&operation, window)?;
                let pressed = self.server.press(keys);
                pressed.map_err(|error| failed(&operation, &error))
            }
            &Gesture::Click { x, y, button } => {
                let operation = format!("click at {x}, {y} on the display of {node}");
                let windows = self.windows(&operation)?;
                let hit = windows.iter().rfind(|window| window.contains(x, y));
                let Some(hit) = hit else {
                    let cause = format!("no window is there: {}", tell(&windows));
                    return Err(no_window(&operation, &cause));
                };
                let clicked = self.click(hit, x, y, button);
                clicked.map_err(|error| failed(&operation, &error))
            }
        }
    }

    fn windows(&self, operation: &str) -> Result<Vec<Shown>, AgentError> {
        let windows = self.server.windows(false);
        windows.map_err(|error| failed(operation, &error))
    }

    /// Gives the focus to the window that is meant: the one with `title` in its title; without a
    /// title the only one, or the one that has the focus.
    fn focus(&self, operation: &str, title: Option<&str>) -> Result<(), AgentError> {
        let mut windows = self.windows(operation)?;
        windows.retain(|window| !window.is_popup);
        let fits = |window: &&Shown| title.is_none_or(|title| window.title.contains(title));
        let meant: Vec<Shown> = windows.iter().filter(fits).cloned().collect();
        let found = match meant.as_slice() {
            [only] => Ok(Some(only)),
            several => self.server.focused(several),
        };
        let found = found.map_err(|error| failed(operation, &error))?;
        let window = found.ok_or_else(|| {
            let cause = match title {
                _ if !meant.is_empty() => format!("several may be meant: {}", tell(&meant)),
                Some(title) => format!("none has {title:?} in its title: {}", tell(&windows)),
                None => tell(&windows),
            };
            no_window(operation, &cause)
        })?;
        let focused = self.server.focus(window);
        focused.map_err(|error| failed(operation, &error))
    }

    /// Clicks as a person would: the pointer goes there, and a window that is clicked has the focus.
    fn click(&self, hit: &Shown, x: u16, y: u16, button: u8) -> Result<(), ServerError> {
        if !hit.is_popup {
            self.server.focus(hit)?;
        }
        // Displays are smaller than the largest number of either type.
        let at = |pixels: u16| i16::try_from(pixels).unwrap_or(i16::MAX);
        let connection = &self.server.connection;
        let fake = |event, detail, window| {
            connection
                .xtest_fake_input(event, detail, CURRENT_TIME, window, at(x), at(y), 0)
                .map(x11rb::cookie::VoidCookie::ignore_error)
        };
        fake(MOTION_NOTIFY_EVENT, 0, self.server.root)?;
        fake(BUTTON_PRESS_EVENT, button, NONE)?;
        fake(BUTTON_RELEASE_EVENT, button, NONE)?;
        self.server.sync()
    }
}

fn no_window(operation: &str, cause: &str) -> AgentError {
    AgentError {
        kind: AgentErrorKind::NoWindow,
        message: format!("{operation}: {cause}"),
    }
}
