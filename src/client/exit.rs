//! How a talk can end, each with its exit code.

use std::io;
use std::process::{ExitCode, Termination};

/// The exit codes of the clients and of the peer. 2, wrong arguments, is clap's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The user left: `quit`, `exit` or the end of input.
    Left = 0,
    /// A failure without a code of its own.
    Failed = 1,
    /// Nobody listens on that port.
    Refused = 3,
    /// No answer in time, when connecting or later.
    TimedOut = 4,
    /// The peer reset the connection.
    Reset = 5,
    /// The host's name does not resolve.
    NoSuchHost = 6,
    /// The server or the peer ended it, unasked.
    ServerClosed = 7,
    /// The server refused the name, and nobody can be asked for another.
    NameRefused = 8,
    /// The user left, and something of what was said was not heard back.
    Unheard = 9,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        (self as u8).into()
    }
}

/// A talk that did not end as asked: a line for stderr, and the code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// Operation, object and cause.
    pub message: String,
}

impl Failure {
    /// The user left before `lines` lines were heard back from `peer`, and why no longer was waited for.
    pub fn unheard(lines: usize, peer: &str, why: &str) -> Self {
        Self {
            exit: Exit::Unheard,
            message: format!("{} from {peer}: {why}", not_heard(lines)),
        }
    }

    /// The same failure, which says how many lines were not heard back, if there are any.
    #[must_use]
    pub fn and_unheard(mut self, lines: usize) -> Self {
        if lines > 0 {
            self.message = format!("{}; {}", self.message, not_heard(lines));
        }
        self
    }

    /// A failure of `operation` (such as `failed to connect to HOST`), named after its cause.
    pub fn of(operation: &str, error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        let (exit, cause) = match error.kind() {
            Kind::ConnectionRefused => (Exit::Refused, "connection refused".to_owned()),
            Kind::TimedOut => (Exit::TimedOut, "timed out".to_owned()),
            // A pipe breaks when a reset came before the write.
            Kind::ConnectionReset | Kind::BrokenPipe => (Exit::Reset, "reset by peer".to_owned()),
            _ => (Exit::Failed, error.to_string()),
        };
        Self {
            exit,
            message: format!("{operation}: {cause}"),
        }
    }
}

fn not_heard(lines: usize) -> String {
    match lines {
        1 => "1 line was not heard back".to_owned(),
        _ => format!("{lines} lines were not heard back"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_heard_back_is_counted() {
        let failure = Failure::unheard(2, "hub port 15102", "it is silent");
        assert_eq!(failure.exit, Exit::Unheard);
        let told = "2 lines were not heard back from hub port 15102: it is silent";
        assert_eq!(failure.to_string(), told);
        let lost = || Failure::of("connection to hub lost", &io::ErrorKind::TimedOut.into());
        let told = "connection to hub lost: timed out";
        assert_eq!(lost().and_unheard(0).to_string(), told);
        let one = lost().and_unheard(1);
        assert_eq!(
            one.to_string(),
            format!("{told}; 1 line was not heard back")
        );
        assert_eq!(one.exit, Exit::TimedOut);
    }

    #[test]
    fn every_cause_has_its_own_code_and_words() {
        for (kind, exit, words) in [
            (
                io::ErrorKind::ConnectionRefused,
                Exit::Refused,
                "connection refused",
            ),
            (io::ErrorKind::TimedOut, Exit::TimedOut, "timed out"),
            (io::ErrorKind::ConnectionReset, Exit::Reset, "reset by peer"),
            (io::ErrorKind::BrokenPipe, Exit::Reset, "reset by peer"),
            (
                io::ErrorKind::NetworkUnreachable,
                Exit::Failed,
                "unreachable",
            ),
        ] {
            let failure = Failure::of("failed to connect to hub", &kind.into());
            assert_eq!(failure.exit, exit);
            assert!(failure.message.starts_with("failed to connect to hub: "));
            assert!(failure.message.contains(words), "{failure}");
        }
    }
}
