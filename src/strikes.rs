//! The three-errors rule: a connection is given up after three consecutive failures.

use std::io;

/// So many consecutive send or receive errors end a connection.
pub const MAX_STRIKES: u8 = 3;

/// Counts the consecutive errors of one direction of a connection.
#[derive(Debug, Default)]
pub struct Strikes {
    consecutive: u8,
    last: Option<io::Error>,
}

impl Strikes {
    /// The direction works: the count begins anew.
    pub fn clear(&mut self) {
        self.consecutive = 0;
        self.last = None;
    }

    /// Counts one error; true when it was one too many.
    pub fn count(&mut self, error: io::Error) -> bool {
        self.consecutive = self.consecutive.saturating_add(1);
        self.last = Some(error);
        self.consecutive >= MAX_STRIKES
    }

    /// The latest error, unless the direction has worked since.
    pub fn take_last(&mut self) -> Option<io::Error> {
        self.last.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_consecutive_error_is_one_too_many() {
        let mut strikes = Strikes::default();
        assert!(!strikes.count(io::ErrorKind::Other.into()));
        assert!(!strikes.count(io::ErrorKind::Other.into()));
        assert!(strikes.count(io::ErrorKind::ConnectionReset.into()));
        assert_eq!(
            strikes.take_last().unwrap().kind(),
            io::ErrorKind::ConnectionReset
        );
    }

    #[test]
    fn a_success_in_between_begins_the_count_anew() {
        let mut strikes = Strikes::default();
        for _ in 0..10 {
            assert!(!strikes.count(io::ErrorKind::Other.into()));
            assert!(!strikes.count(io::ErrorKind::Other.into()));
            strikes.clear();
            assert!(strikes.take_last().is_none());
        }
    }
}
