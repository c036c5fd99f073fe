//! What programs are told: typed, said by a signal, or done at their windows.

use std::sync::atomic::Ordering;

use super::driver::{Driver, StepError};
use crate::backend::{BackendError, LiveCell};
use crate::plan::Input;
use crate::units::NodeName;

impl<C: LiveCell> Driver<'_, C> {
    /// Whether there is anybody to tell something: a program that has ended before its time is what a cell is about.
    pub(super) async fn must_run(&self, node: &NodeName, what: &str) -> Result<(), StepError> {
        if self.visits(node) == 0 || self.running(node) {
            return Ok(());
        }
        let end = self.end_told(node).await;
        let said = self.last_words(node);
        Err(StepError::Unmet(format!(
            "{what}: its program has ended{end}{said}"
        )))
    }

    pub(super) async fn give(&self, node: &NodeName, input: &Input) -> Result<(), StepError> {
        match input {
            Input::Stdin(bytes) => {
                let sender = self.last_visit(node, |visit| visit.input.clone()).flatten();
                let sender = sender.ok_or_else(|| self.no_input(node))?;
                sender
                    .send(bytes.clone())
                    .await
                    .map_err(|_| self.no_input(node).into())
            }
            Input::Eof => {
                let taken = self.last_visit(node, |visit| visit.input.take()).flatten();
                taken.map(drop).ok_or_else(|| self.no_input(node).into())
            }
            Input::Signal(signal) => self.signal(node, *signal).await,
            Input::Window(gesture) => self.gesture(node, gesture, None).await,
        }
    }

    /// Takes the end of a node's main process for that of its program from now on.
    pub(super) fn let_end(&self, node: &NodeName) {
        self.last_visit(node, |visit| visit.leaving.store(true, Ordering::Relaxed));
    }

    fn no_input(&self, node: &NodeName) -> BackendError {
        let why = if self.visits(node) == 0 {
            "it was not started"
        } else {
            "its input has ended"
        };
        BackendError::machine(format!("tell node `{node}` something: {why}"))
    }
}

/// An input, as the transcript has it.
pub(super) fn describe(input: &Input) -> String {
    match input {
        Input::Stdin(bytes) => String::from_utf8_lossy(bytes).trim_end().to_owned(),
        Input::Eof => "(end of input)".to_owned(),
        Input::Signal(signal) => format!("({signal})"),
        Input::Window(gesture) => gesture.describe(),
    }
}
