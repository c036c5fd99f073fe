//! What a reporter is, and several of them as one.

use std::io;
use std::path::PathBuf;

use crate::run::Event;

/// Something that tells what happens in a run.
pub trait Reporter: Send {
    /// Takes note of an event.
    fn on(&mut self, event: &Event) -> Result<(), ReportError>;
}

/// Why something could not be reported.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file could not be written.
    #[error("failed to write {}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Standard output or standard error could not be written.
    #[error("failed to write to {name}: {cause}")]
    Stream {
        /// Which.
        name: &'static str,
        /// Why.
        cause: io::Error,
    },
    /// A report could not be put into its format.
    #[error("failed to write {what}: {cause}")]
    Format {
        /// Which report.
        what: &'static str,
        /// Why.
        cause: String,
    },
}

impl ReportError {
    /// Whether the reader of a stream has gone away.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Stream { cause, .. } if cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Several reporters, each told of every event.
#[derive(Default)]
pub struct Reporters {
    all: Vec<Box<dyn Reporter>>,
}

impl Reporters {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one; they are told in the order in which they were added.
    #[must_use]
    pub fn with(mut self, reporter: impl Reporter + 'static) -> Self {
        self.all.push(Box::new(reporter));
        self
    }

    /// Tells every reporter; one that fails does not keep the others from hearing of the event.
    pub fn on(&mut self, event: &Event) -> Vec<ReportError> {
        self.all
            .iter_mut()
            .filter_map(|reporter| reporter.on(event).err())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Counter(Arc<AtomicUsize>, bool);

    impl Reporter for Counter {
        fn on(&mut self, _: &Event) -> Result<(), ReportError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            if self.1 {
                return Err(ReportError::File {
                    path: "rig-out/run.json".into(),
                    cause: io::ErrorKind::StorageFull.into(),
                });
            }
            Ok(())
        }
    }

    #[test]
    fn a_reporter_that_fails_does_not_keep_the_next_from_hearing() {
        let heard = Arc::new(AtomicUsize::new(0));
        let mut reporters = Reporters::new()
            .with(Counter(heard.clone(), true))
            .with(Counter(heard.clone(), false));
        let errors = reporters.on(&Event::Interrupted);
        assert_eq!(heard.load(Ordering::Relaxed), 2);
        assert_eq!(
            errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["failed to write rig-out/run.json: no storage space"]
        );
    }
}
