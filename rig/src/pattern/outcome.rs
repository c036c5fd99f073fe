//! What comes of matching a pattern with a flow.

use std::fmt;

use serde::Serialize;

/// A flow that a pattern describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Match {
    /// The events that an item other than `...` took, in order. Empty for a flow so long that the
    /// way through the pattern was not kept.
    pub named: Vec<NamedEvent>,
}

/// An event and the item that took it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedEvent {
    /// Index of the event in the flow.
    pub event: usize,
    /// `frame.number` of the event.
    pub frame: u64,
    /// The item as the pattern has it: `< FIN`.
    pub item: String,
    /// Whether the item is ANY without conditions, which expects nothing of the event.
    pub any: bool,
}

/// A flow that a pattern does not describe, and where it departs from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Index of the first event that fits no way through the pattern; `None` when the flow ended
    /// before the pattern did.
    pub event: Option<usize>,
    /// `frame.number` of that event.
    pub frame: Option<u64>,
    /// What could have stood there, as the pattern has it; [`Mismatch::END_OF_FLOW`] where the
    /// pattern could end.
    pub expected: Vec<String>,
    /// What stood there: `> DATA len=13`.
    pub came: String,
    /// What it means, where that can be told in a sentence.
    pub hint: Option<String>,
    /// The flow and the pattern side by side, a few lines around the place.
    pub ladder: String,
}

impl Mismatch {
    /// How the end of a flow is named.
    pub const END_OF_FLOW: &'static str = "the end of the flow";
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &String| match text.as_str() {
            Self::END_OF_FLOW | "…" => text.clone(),
            _ => format!("`{text}`"),
        };
        let expected: Vec<_> = self.expected.iter().map(quoted).collect();
        let expected = expected.join(" or ");
        write!(f, "expected {expected}, came {}", quoted(&self.came))?;
        if let Some(frame) = self.frame {
            write!(f, " (frame {frame})")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, ": {hint}")?;
        }
        Ok(())
    }
}
