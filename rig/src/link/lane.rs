//! One direction of a link: when a packet leaves it, if it does.

use std::collections::VecDeque;
use std::time::Duration;

use super::account::{Loss, What};
use super::random::{Draws, Random};
use super::settings::{Distribution, Queue, Settings};
use crate::units::Timestamp;

/// The most bytes of packets that a direction keeps while they are under way, what each costs
/// beside its bytes included.
pub const MAX_UNDER_WAY_BYTES: usize = 64 * 1024 * 1024;

/// What a packet under way costs beside its bytes.
const PACKET_COST_BYTES: usize = 128;

/// Where a normal distribution is cut, in standard deviations, and a Pareto distribution, in means.
const NORMAL_CUT: f64 = 3.0;
const PARETO_CUT: f64 = 20.0;

/// Shape of the Pareto distribution: its mean is finite, and so is its variance.
const PARETO_SHAPE: f64 = 3.0;

/// One direction.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) settings: Settings,
    random: Random,
    /// The last packet was lost, and the burst goes on.
    in_burst: bool,
    /// When the rate lets the next packet begin.
    free_at: Timestamp,
    /// When the last packet leaves that no other overtakes.
    last_due: Timestamp,
    /// Packets that the rate holds up: when each is through, and its length.
    queue: VecDeque<(Timestamp, u64)>,
    queue_bytes: u64,
    under_way_bytes: usize,
}

/// When a packet leaves, and what is changed about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Passage {
    pub(super) due: Timestamp,
    /// What is told of it.
    pub(super) deeds: Vec<What>,
    pub(super) twice: bool,
    pub(super) corrupt: bool,
}

impl Lane {
    pub(super) fn new(settings: Settings, seed: u64, direction: u8) -> Self {
        Self {
            settings,
            random: Random::new(seed, direction),
            in_burst: false,
            free_at: Timestamp::default(),
            last_due: Timestamp::default(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            under_way_bytes: 0,
        }
    }

    /// The numbers of the next packet.
    pub(super) fn draw(&mut self) -> Draws {
        self.random.next()
    }

    /// Whether a packet is lost at random.
    pub(super) fn loses(&mut self, draws: &Draws) -> bool {
        let Settings { loss, burst, .. } = self.settings;
        // Gilbert's model: a burst ends after each packet with the probability 1/burst, and begins
        // so often that the share of lost packets is as wanted. A burst of 1 makes it independent.
        let share = if burst <= 1.0 || loss >= 1.0 {
            loss
        } else if self.in_burst {
            1.0 - 1.0 / burst
        } else {
            loss / (burst * (1.0 - loss))
        };
        self.in_burst = draws.loss < share;
        self.in_burst
    }

    /// When a packet that arrives at a moment leaves. It counts as under way from then on.
    pub(super) fn pass(
        &mut self,
        at: Timestamp,
        len_bytes: usize,
        draws: &Draws,
    ) -> Result<Passage, Loss> {
        let cost = len_bytes + PACKET_COST_BYTES;
        if self.under_way_bytes + cost > MAX_UNDER_WAY_BYTES {
            return Err(Loss::QueueFull);
        }
        let through = self.through(at, len_bytes as u64)?;
        let delay = self.settings.delay;
        let mut deeds = Vec::new();
        let due = if draws.reorder < self.settings.reorder {
            deeds.push(What::Reordered);
            through
        } else {
            // Only those that are chosen overtake others.
            let due = later(through, self.delay(draws)).max(self.last_due);
            self.last_due = due;
            let by = due.since(at);
            if by != delay {
                deeds.push(What::Delayed {
                    by,
                    instead_of: delay,
                    rate: through > at,
                    jitter: due != later(through, delay),
                });
            }
            due
        };
        let twice = draws.duplicate < self.settings.duplicate;
        if twice {
            deeds.push(What::Duplicated);
        }
        self.under_way_bytes += cost;
        Ok(Passage {
            due,
            deeds,
            twice,
            corrupt: draws.corrupt < self.settings.corrupt,
        })
    }

    /// A packet has left.
    pub(super) fn left(&mut self, len_bytes: usize) {
        let cost = len_bytes + PACKET_COST_BYTES;
        self.under_way_bytes = self.under_way_bytes.saturating_sub(cost);
    }

    /// When the rate has let a packet through.
    fn through(&mut self, at: Timestamp, len_bytes: u64) -> Result<Timestamp, Loss> {
        const NS_A_SECOND: u128 = 1_000_000_000;
        let Some(rate_bps) = self.settings.rate_bps else {
            self.queue.clear();
            self.queue_bytes = 0;
            return Ok(at);
        };
        while let Some((_, len)) = self.queue.pop_front_if(|(through, _)| *through <= at) {
            self.queue_bytes -= len;
        }
        // The packet at the head is on the wire, and no longer in the queue.
        let waiting = self.queue.len().saturating_sub(1) as u64;
        let on_wire = self.queue.front().map_or(0, |(_, len)| *len);
        let is_full = match self.settings.queue {
            _ if self.queue.is_empty() => false,
            Queue::Packets(most) => waiting >= u64::from(most),
            Queue::Bytes(most) => self.queue_bytes - on_wire + len_bytes > most,
        };
        if is_full {
            return Err(Loss::QueueFull);
        }
        let takes = u128::from(len_bytes) * 8 * NS_A_SECOND / u128::from(rate_bps.max(1));
        let takes = Duration::from_nanos(u64::try_from(takes).unwrap_or(u64::MAX));
        self.free_at = later(self.free_at.max(at), takes);
        self.queue.push_back((self.free_at, len_bytes));
        self.queue_bytes += len_bytes;
        Ok(self.free_at)
    }

    /// The delay of one packet.
    fn delay(&self, draws: &Draws) -> Duration {
        let Settings {
            delay,
            jitter,
            distribution,
            ..
        } = self.settings;
        if jitter.is_zero() {
            return delay;
        }
        let [a, b] = draws.jitter;
        let jitters = match distribution {
            Distribution::Uniform => 2.0 * a - 1.0,
            Distribution::Normal => {
                // Box and Muller; 1 - a is never 0.
                let radius = (-2.0 * (1.0 - a).ln()).sqrt();
                let deviation = radius * (std::f64::consts::TAU * b).cos();
                deviation.clamp(-NORMAL_CUT, NORMAL_CUT)
            }
            Distribution::Pareto => {
                // With a smallest value of 1 the mean is shape / (shape - 1); less 1, it is this.
                let mean = 1.0 / (PARETO_SHAPE - 1.0);
                let value = (1.0 - a).powf(-1.0 / PARETO_SHAPE) - 1.0;
                (value / mean).min(PARETO_CUT)
            }
        };
        let seconds = delay.as_secs_f64() + jitters * jitter.as_secs_f64();
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
    Timestamp(at.0.saturating_add(by))
}
