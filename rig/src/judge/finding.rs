//! What a check found, before it becomes a report.

use crate::units::printable;

use super::types::{Annotation, Verdict};

/// The longest detail of a report, in characters.
const MAX_DETAIL_CHARS: usize = 800;
/// The most frames a report names.
const MAX_FRAMES: usize = 64;

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    pub(crate) verdict: Verdict,
    /// Printable and bounded.
    pub(crate) detail: String,
    pub(crate) ladder: Option<String>,
    /// Ascending, each once.
    pub(crate) frames: Vec<u64>,
    pub(crate) annotations: Vec<Annotation>,
}

impl Finding {
    pub(super) fn new(verdict: Verdict, detail: &str) -> Self {
        Self {
            verdict,
            detail: bounded(&printable(detail), MAX_DETAIL_CHARS),
            ladder: None,
            frames: Vec::new(),
            annotations: Vec::new(),
        }
    }

    pub(super) fn pass() -> Self {
        Self::new(Verdict::Pass, "")
    }

    pub(super) fn fail(detail: &str) -> Self {
        Self::new(Verdict::Fail, detail)
    }

    pub(super) fn inconclusive(detail: &str) -> Self {
        Self::new(Verdict::Inconclusive, detail)
    }

    /// With the frames it rests on.
    pub(super) fn resting_on(mut self, mut frames: Vec<u64>) -> Self {
        frames.sort_unstable();
        frames.dedup();
        frames.truncate(MAX_FRAMES);
        self.frames = frames;
        self
    }
}

/// `text`, cut after `max_chars` characters.
pub(super) fn bounded(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

/// The first of `parts` and how many more there are, on one line.
pub(super) fn listed(parts: impl ExactSizeIterator<Item = String>, max: usize) -> String {
    let hidden = parts.len().saturating_sub(max);
    let shown = parts.take(max).collect::<Vec<_>>().join(", ");
    match hidden {
        0 => shown,
        _ => format!("{shown} and {hidden} more"),
    }
}
