//! How fast a user, and how fast a stranger, is served. Unlike a stream, a datagram over the rate
//! cannot wait: it is thrown away.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::limits::MAX_STRANGERS;
use crate::rate::Pace;

/// How long strangers are counted, and how often one who is too fast is told so.
const SECOND: Duration = Duration::from_secs(1);

/// What becomes of a user's datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is read.
    Serve,
    /// It is thrown away, and the user is told.
    Tell,
    /// It is thrown away; the user was told within the last second.
    Drop,
}

/// How fast one user may send.
#[derive(Debug)]
pub struct Allowance {
    pace: Pace,
    /// Nothing is read before this time.
    next: Option<Instant>,
    told: Option<Instant>,
}

impl Allowance {
    /// At most `rate` datagrams a second (0: any number), after a burst of `burst`.
    pub fn new(rate: u32, burst: u32) -> Self {
        Self {
            pace: Pace::new(rate, burst),
            next: None,
            told: None,
        }
    }

    /// Whether a datagram that came at `now` is read. One that is not does not count.
    pub fn judge(&mut self, now: Instant) -> Verdict {
        if self.next.is_none_or(|next| next <= now) {
            self.next = self.pace.count(now);
            Verdict::Serve
        } else if self.told.is_some_and(|told| now < told + SECOND) {
            Verdict::Drop
        } else {
            self.told = Some(now);
            Verdict::Tell
        }
    }
}

/// Datagrams of addresses that are not in the book, counted by IP address, a second at a time: a
/// flood from one address leaves the others their share, and answers to forged senders are few.
#[derive(Debug)]
pub struct Strangers {
    rate: u32,
    since: Instant,
    seen: HashMap<IpAddr, u32>,
    dropped: u64,
}

impl Strangers {
    /// Reads `rate` datagrams a second from one IP address.
    pub fn new(rate: u32, now: Instant) -> Self {
        Self {
            rate,
            since: now,
            seen: HashMap::new(),
            dropped: 0,
        }
    }

    /// Whether a datagram that came from `address` at `now` is read.
    pub fn admit(&mut self, now: Instant, address: IpAddr) -> bool {
        if now >= self.since + SECOND {
            if self.dropped > 0 {
                tracing::warn!(dropped = self.dropped, "too many datagrams of strangers");
            }
            self.since = now;
            self.seen.clear();
            self.dropped = 0;
        }
        let known = self.seen.contains_key(&address);
        if known || self.seen.len() < MAX_STRANGERS {
            let count = self.seen.entry(address).or_default();
            if *count < self.rate {
                *count += 1;
                return true;
            }
        }
        self.dropped += 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_user_over_the_rate_is_told_once_a_second_and_served_again_later() {
        let mut now = Instant::now();
        let mut allowance = Allowance::new(10, 3);
        for _ in 0..3 {
            assert_eq!(allowance.judge(now), Verdict::Serve);
        }
        assert_eq!(allowance.judge(now), Verdict::Tell);
        for _ in 0..1000 {
            assert_eq!(allowance.judge(now), Verdict::Drop);
        }
        // What was thrown away did not count.
        now += Duration::from_millis(100);
        assert_eq!(allowance.judge(now), Verdict::Serve);
        assert_eq!(allowance.judge(now), Verdict::Drop);
        now += SECOND;
        for _ in 0..3 {
            assert_eq!(allowance.judge(now), Verdict::Serve);
        }
        assert_eq!(allowance.judge(now), Verdict::Tell);
    }

    #[test]
    fn a_flood_from_one_address_leaves_the_others_their_share() {
        let now = Instant::now();
        let mut strangers = Strangers::new(5, now);
        let address = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(n));
        let admitted = (0..1000)
            .filter(|_| strangers.admit(now, address(1)))
            .count();
        assert_eq!(admitted, 5);
        assert!(strangers.admit(now, address(2)));
        assert!(strangers.admit(now + SECOND, address(1)));
    }

    #[test]
    fn a_flood_of_forged_addresses_is_bounded() {
        let now = Instant::now();
        let mut strangers = Strangers::new(5, now);
        let admitted = (0..100_000)
            .filter(|&n| strangers.admit(now, Ipv4Addr::from_bits(n).into()))
            .count();
        assert_eq!(
            (admitted, strangers.seen.len()),
            (MAX_STRANGERS, MAX_STRANGERS)
        );
    }
}
