//! The random numbers of one direction of a link.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng as _, SeedableRng as _};

/// Numbers for one packet. Each packet takes all of them, whatever the settings are, so that a
/// change of one setting changes nothing about the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Draws {
    /// From 0 to 1, 1 excluded, as are the others but `bit`.
    pub(super) loss: f64,
    pub(super) jitter: [f64; 2],
    pub(super) duplicate: f64,
    pub(super) reorder: f64,
    pub(super) corrupt: f64,
    pub(super) bit: u64,
}

/// The numbers of one direction, in order.
#[derive(Debug)]
pub(super) struct Random(Pcg64Mcg);

impl Random {
    /// The numbers that belong to a seed and a direction.
    pub(super) fn new(seed: u64, direction: u8) -> Self {
        let of_direction = seed.rotate_left(1) ^ u64::from(direction);
        Self(Pcg64Mcg::seed_from_u64(of_direction))
    }

    /// The numbers for the next packet.
    pub(super) fn next(&mut self) -> Draws {
        Draws {
            loss: self.share(),
            jitter: [self.share(), self.share()],
            duplicate: self.share(),
            reorder: self.share(),
            corrupt: self.share(),
            bit: self.0.next_u64(),
        }
    }

    /// 53 bits, as many as a double holds.
    fn share(&mut self) -> f64 {
        const STEPS: f64 = 9_007_199_254_740_992.0;
        let bits = self.0.next_u64() >> 11;
        #[expect(clippy::cast_precision_loss, reason = "53 bits are held exactly")]
        let number = bits as f64;
        number / STEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_directions_differ() {
        let take = |seed, direction| {
            let mut random = Random::new(seed, direction);
            [random.next(), random.next()]
        };
        assert_eq!(take(7, 0), take(7, 0));
        assert_ne!(take(7, 0), take(7, 1));
        assert_ne!(take(7, 0), take(8, 0));
        // Fixed for ever: a matrix says what the n-th packet meets.
        assert_eq!(Random::new(7, 0).next().bit, 4_419_764_220_884_661_421);
    }
}
