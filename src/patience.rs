//! How long somebody is waited for who may still be at it: deadlines that count from the last sign of life.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Waits for as long as somebody gives signs of life, none later than `silence` after the one before, and not beyond
/// `limit` in all.
#[derive(Debug)]
pub struct Patience {
    bounds: Bounds,
    quiet_until: Instant,
    end: Instant,
    /// What leaves less time, and how much it leaves.
    hurry: Option<(CancellationToken, Bounds)>,
}

/// How long a wait may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Between two signs of life.
    pub silence: Duration,
    /// In all: whoever gives signs of life without end is not waited for without end.
    pub limit: Duration,
}

impl Patience {
    /// A wait that begins now.
    pub fn new(bounds: Bounds) -> Self {
        let now = Instant::now();
        Self {
            bounds,
            quiet_until: now + bounds.silence,
            end: now + bounds.limit,
            hurry: None,
        }
    }

    /// The same, with other bounds from the moment on in which `hurry` is cancelled.
    #[must_use]
    pub fn hurried_by(mut self, hurry: &CancellationToken, bounds: Bounds) -> Self {
        self.hurry = Some((hurry.clone(), bounds));
        self
    }

    /// When the wait is over, unless a sign of life comes before.
    pub fn deadline(&self) -> Instant {
        self.quiet_until.min(self.end)
    }

    /// A sign of life.
    pub fn renew(&mut self) {
        self.quiet_until = Instant::now() + self.bounds.silence;
    }

    /// The wait begins anew: something of which there is only so much has been done.
    pub fn restart(&mut self) {
        self.renew();
        self.end = Instant::now() + self.bounds.limit;
    }

    /// Waits for `event`, which is a sign of life; none when it does not come in time. What is there already
    /// counts, but for the limit.
    pub async fn wait<T>(&mut self, event: impl Future<Output = T>) -> Option<T> {
        if Instant::now() >= self.end {
            return None;
        }
        let mut event = pin!(event);
        loop {
            let hurry = self.hurry.as_ref().map(|(token, _)| token.clone());
            let hurried = async {
                match &hurry {
                    Some(token) => token.cancelled().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                happened = &mut event => {
                    self.renew();
                    return Some(happened);
                }
                () = hurried => self.hurry_up(),
                () = sleep_until(self.deadline()) => return None,
            }
        }
    }

    fn hurry_up(&mut self) {
        if let Some((_, bounds)) = self.hurry.take() {
            self.bounds = bounds;
            let now = Instant::now();
            self.quiet_until = self.quiet_until.min(now + bounds.silence);
            self.end = self.end.min(now + bounds.limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    const BOUNDS: Bounds = Bounds {
        silence: SECOND,
        limit: Duration::from_secs(10),
    };

    #[tokio::test(start_paused = true)]
    async fn who_gives_signs_of_life_is_waited_for_up_to_the_limit() {
        let begin = Instant::now();
        let mut patience = Patience::new(BOUNDS);
        let mut signs = 0;
        while patience.wait(sleep(SECOND * 3 / 4)).await.is_some() {
            signs += 1;
        }
        assert_eq!((signs, begin.elapsed()), (13, BOUNDS.limit));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_none_is_waited_for_once() {
        let begin = Instant::now();
        let mut patience = Patience::new(BOUNDS);
        assert_eq!(patience.wait(pending::<()>()).await, None);
        assert_eq!(begin.elapsed(), SECOND);
        // What is there already needs no waiting.
        assert_eq!(patience.wait(ready(7)).await, Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_is_done_begins_the_wait_anew() {
        let begin = Instant::now();
        let mut patience = Patience::new(BOUNDS);
        for _ in 0..100 {
            assert!(patience.wait(sleep(SECOND / 2)).await.is_some());
            patience.restart();
        }
        assert_eq!(begin.elapsed(), SECOND * 50);
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_stops_is_left_all_the_same() {
        let mut patience = Patience::new(BOUNDS);
        assert_eq!(patience.wait(ready(())).await, Some(()));
        tokio::time::advance(BOUNDS.limit).await;
        assert_eq!(patience.wait(ready(())).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hurry_shortens_the_wait() {
        let begin = Instant::now();
        let hurry = CancellationToken::new();
        let short = Bounds {
            silence: SECOND / 10,
            limit: SECOND / 5,
        };
        let mut patience = Patience::new(BOUNDS).hurried_by(&hurry, short);
        assert!(patience.wait(sleep(SECOND / 2)).await.is_some());
        hurry.cancel();
        assert_eq!(patience.wait(pending::<()>()).await, None);
        assert_eq!(begin.elapsed(), SECOND / 2 + SECOND / 10);
    }
}
