//! Why a backend could not do what it was asked.

use crate::spec::Place;

/// Whose fault an error is, which decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// The matrix file asks for something that cannot be: exit code 2.
    Input,
    /// The machine, the engine or a program did not do its part: exit code 3.
    Machine,
    /// Nobody's: the cell was left out or cut short on purpose.
    Nobody,
}

/// An operation that failed, with its object and cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BackendError {
    /// Operation, object and cause, as a fragment that fits after 'failed to'.
    pub message: String,
    /// What may mend it.
    pub hint: Option<String>,
    /// Whose fault it is.
    pub blame: Blame,
    /// The place in the matrix file that asked for it.
    pub place: Option<Place>,
}

impl BackendError {
    /// The machine or the engine failed.
    pub fn machine(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            blame: Blame::Machine,
            place: None,
        }
    }

    /// The matrix file asks for something that cannot be.
    pub fn input(message: impl Into<String>, place: Place) -> Self {
        Self {
            message: message.into(),
            hint: None,
            blame: Blame::Input,
            place: Some(place),
        }
    }

    /// Names the place that asked for it, unless it is known more exactly.
    #[must_use]
    pub fn or_at(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }

    /// Adds what may mend it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
