//! What the user types, also before anybody is there.

use std::collections::VecDeque;
use std::pin::pin;

use tokio::sync::mpsc;

/// What ends the chat when it is typed.
pub const QUIT: &str = ":q";

/// So many lines are kept for a peer that is not there yet; then no more are read.
const LINES_KEPT: usize = 64;

/// Whether a line ends the chat.
pub fn is_quit(line: &str) -> bool {
    line.trim() == QUIT
}

/// The user's lines.
#[derive(Debug)]
pub struct Keyboard {
    lines: mpsc::Receiver<String>,
    kept: VecDeque<String>,
    ended: bool,
}

impl Keyboard {
    /// Takes lines from `lines`, which is closed at the end of input.
    pub fn new(lines: mpsc::Receiver<String>) -> Self {
        Self {
            lines,
            kept: VecDeque::new(),
            ended: false,
        }
    }

    /// Waits for `event` and keeps what is typed meanwhile. None when the user leaves instead: by
    /// [`QUIT`], or at the end of input with nothing left to send.
    pub async fn until<T>(&mut self, event: impl Future<Output = T>) -> Option<T> {
        self.meanwhile(event, true).await
    }

    /// The same for what is worth waiting for at the end of input, too: there may be an answer to it.
    pub async fn unless_quit<T>(&mut self, event: impl Future<Output = T>) -> Option<T> {
        self.meanwhile(event, false).await
    }

    async fn meanwhile<T>(
        &mut self,
        event: impl Future<Output = T>,
        leaves_at_end: bool,
    ) -> Option<T> {
        let mut event = pin!(event);
        loop {
            let reads = !self.ended && self.kept.len() < LINES_KEPT;
            tokio::select! {
                biased;
                happened = &mut event => return Some(happened),
                line = self.lines.recv(), if reads => match line {
                    Some(line) if is_quit(&line) => return None,
                    Some(line) => self.kept.push_back(line),
                    None if leaves_at_end && self.kept.is_empty() => return None,
                    None => self.ended = true,
                },
            }
        }
    }

    /// The next line to send; none when the user ends the chat.
    pub async fn line(&mut self) -> Option<String> {
        if let Some(line) = self.kept.pop_front() {
            return Some(line);
        }
        if self.ended {
            return None;
        }
        self.lines.recv().await.filter(|line| !is_quit(line))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn typed(lines: &[&str]) -> Keyboard {
        let (sender, receiver) = mpsc::channel(100);
        for line in lines {
            sender.try_send((*line).to_owned()).unwrap();
        }
        Keyboard::new(receiver)
    }

    #[tokio::test]
    async fn what_was_typed_too_early_is_kept_and_then_the_input_ends() {
        let mut keyboard = typed(&["one", "two"]);
        let someone = async { tokio::task::yield_now().await };
        assert_eq!(keyboard.until(someone).await, Some(()));
        assert_eq!(keyboard.line().await.as_deref(), Some("one"));
        assert_eq!(keyboard.line().await.as_deref(), Some("two"));
        assert_eq!(keyboard.line().await, None);
    }

    #[tokio::test]
    async fn the_user_may_leave_while_nobody_is_there() {
        for lines in [&["hello", ":q"][..], &[":q "], &[]] {
            assert_eq!(typed(lines).until(pending::<()>()).await, None, "{lines:?}");
        }
    }

    #[tokio::test]
    async fn the_end_of_input_does_not_end_an_attempt() {
        let slow = async { tokio::task::yield_now().await };
        assert_eq!(typed(&[]).unless_quit(slow).await, Some(()));
        let never = pending::<()>();
        assert_eq!(typed(&["hello", ":q"]).unless_quit(never).await, None);
    }

    #[tokio::test]
    async fn a_bounded_number_of_lines_is_kept() {
        let mut keyboard = typed(&["x"; 100]);
        let (done, patience) = (pending::<()>(), std::time::Duration::from_millis(20));
        let waiting = tokio::time::timeout(patience, keyboard.until(done)).await;
        assert!(waiting.is_err());
        assert_eq!(keyboard.kept.len(), LINES_KEPT);
    }

    #[tokio::test]
    async fn the_word_to_leave_is_not_a_line_to_send() {
        let mut keyboard = typed(&["ciao", ":q", "late"]);
        assert_eq!(keyboard.until(ready(())).await, Some(()));
        assert_eq!(keyboard.line().await.as_deref(), Some("ciao"));
        assert_eq!(keyboard.line().await, None);
    }
}
