//! How fast a member may talk: a bucket of messages that refills at a steady rate.

use std::time::Duration;

use tokio::time::Instant;

/// Spaces messages out. Nothing is refused: a message over the rate is read later, so that TCP's
/// own flow control slows the talker down and no message is lost.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    burst: Duration,
    /// When all messages let through so far will have been paid for at the steady rate.
    paid_until: Option<Instant>,
}

impl Pace {
    /// At most `per_second` messages a second (0: any number), after a burst of `burst`.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1)
            .checked_div(per_second)
            .unwrap_or_default();
        Self {
            interval,
            burst: interval * burst.saturating_sub(1),
            paid_until: None,
        }
    }

    /// Counts a message at `now` and returns when the next may be read; none: at once.
    pub fn count(&mut self, now: Instant) -> Option<Instant> {
        let paid = self.paid_until.map_or(now, |t| t.max(now)) + self.interval;
        self.paid_until = Some(paid);
        paid.checked_sub(self.burst).filter(|time| *time > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let now = Instant::now();
        let mut pace = Pace::new(10, 5);
        for _ in 0..4 {
            assert_eq!(pace.count(now), None);
        }
        assert_eq!(pace.count(now), Some(now + Duration::from_millis(100)));
        assert_eq!(pace.count(now), Some(now + Duration::from_millis(200)));
    }

    #[test]
    fn quiet_fills_the_bucket_again_but_never_over_the_burst() {
        let mut now = Instant::now();
        let mut pace = Pace::new(10, 2);
        for _ in 0..5 {
            pace.count(now);
        }
        now += Duration::from_mins(1);
        assert_eq!(pace.count(now), None);
        assert!(pace.count(now).is_some());
    }

    #[test]
    fn no_rate_is_no_limit() {
        let now = Instant::now();
        let mut pace = Pace::new(0, 1);
        for _ in 0..1000 {
            assert_eq!(pace.count(now), None);
        }
    }
}
