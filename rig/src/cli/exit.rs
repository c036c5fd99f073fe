//! Exit codes, as docs/exit-codes.md explains them.

use std::process::{ExitCode, Termination};

/// How `rig` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything that was asked holds.
    Passed = 0,
    /// A check does not hold.
    Failed = 1,
    /// The input is wrong: arguments, a matrix file, a pattern, a capture that cannot be read.
    Input = 2,
    /// The machine or the engine could not do it.
    Machine = 3,
    /// Something stayed inconclusive and nothing failed.
    Inconclusive = 4,
    /// It was interrupted by a signal.
    Interrupted = 130,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}
