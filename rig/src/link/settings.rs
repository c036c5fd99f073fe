//! What one direction of a link does, and how a matrix file writes it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::quantity::{self, QuantityError};
use crate::units::{parse_duration, written_duration};

/// The longest delay, jitter included.
pub const MAX_DELAY: Duration = Duration::from_mins(1);

/// The packet sizes that a link may be limited to: from the smallest that each network must carry
/// (RFC 791, 3.2) to what networks of the rig carry.
const MTU_BYTES: std::ops::RangeInclusive<u16> = 68..=1500;

/// The longest mean burst, in packets.
const MAX_BURST: f64 = 10_000.0;

/// What a direction that says nothing else may let wait for its rate, as Linux has it for an
/// Ethernet interface.
const DEFAULT_QUEUE: Queue = Queue::Packets(1000);

/// What one direction of a link does to packets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Time between a packet's arrival at the link and its leaving, without what follows.
    pub delay: Duration,
    /// How much the delay differs from packet to packet, see [`Distribution`].
    pub jitter: Duration,
    /// How the jitter is distributed.
    pub distribution: Distribution,
    /// Share of packets that are lost at random, from 0 to 1.
    pub loss: f64,
    /// Mean number of packets that are lost one after another; 1 where each is lost for itself.
    pub burst: f64,
    /// Share of packets that are sent twice.
    pub duplicate: f64,
    /// Share of packets that are sent without the delay, and so overtake others.
    pub reorder: f64,
    /// Share of packets of which one bit is changed.
    pub corrupt: f64,
    /// Bits a second; any number without it.
    pub rate_bps: Option<u64>,
    /// What may wait for the rate.
    pub queue: Queue,
    /// Largest IP packet, in bytes.
    pub mtu_bytes: Option<u16>,
    /// Nothing passes.
    pub cut: bool,
}

impl Default for Settings {
    /// A link that does nothing.
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            distribution: Distribution::Uniform,
            loss: 0.0,
            burst: 1.0,
            duplicate: 0.0,
            reorder: 0.0,
            corrupt: 0.0,
            rate_bps: None,
            queue: DEFAULT_QUEUE,
            mtu_bytes: None,
            cut: false,
        }
    }
}

/// How jitter is distributed around the delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Evenly, from the delay less the jitter to the delay and the jitter.
    Uniform,
    /// Normally, the jitter being the standard deviation; cut at three of them.
    Normal,
    /// On top of the delay, seldom much: a Pareto distribution (shape 3) whose mean is the jitter;
    /// cut at 20 times the jitter.
    Pareto,
}

/// How long a queue may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Queue {
    /// In packets.
    Packets(u32),
    /// In bytes of IP packets.
    Bytes(u64),
}

/// A setting by its name in a matrix file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields of `Settings` tell what each is")]
pub enum Key {
    Delay,
    Jitter,
    Distribution,
    Loss,
    Burst,
    Duplicate,
    Reorder,
    Corrupt,
    Rate,
    Queue,
    Mtu,
    Cut,
}

impl Key {
    /// Every key, in the order in which messages list them.
    pub const ALL: [Self; 12] = [
        Self::Delay,
        Self::Jitter,
        Self::Distribution,
        Self::Loss,
        Self::Burst,
        Self::Duplicate,
        Self::Reorder,
        Self::Corrupt,
        Self::Rate,
        Self::Queue,
        Self::Mtu,
        Self::Cut,
    ];

    /// How a matrix file writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Jitter => "jitter",
            Self::Distribution => "distribution",
            Self::Loss => "loss",
            Self::Burst => "burst",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Corrupt => "corrupt",
            Self::Rate => "rate",
            Self::Queue => "queue",
            Self::Mtu => "mtu",
            Self::Cut => "cut",
        }
    }
}

/// One setting with its value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the fields of `Settings` tell what each is")]
pub enum Setting {
    Delay(Duration),
    Jitter(Duration),
    Distribution(Distribution),
    Loss(f64),
    Burst(f64),
    Duplicate(f64),
    Reorder(f64),
    Corrupt(f64),
    /// `None` is `none`: no limit.
    Rate(Option<u64>),
    Queue(Queue),
    /// `None` is `none`: no limit.
    Mtu(Option<u16>),
    Cut(bool),
}

impl Setting {
    /// Reads the value of a setting.
    ///
    /// # Errors
    /// What is wrong with it, and what could be written instead.
    pub fn read(key: Key, text: &str) -> Result<Self, QuantityError> {
        Ok(match key {
            Key::Delay => Self::Delay(delay(text)?),
            Key::Jitter => Self::Jitter(delay(text)?),
            Key::Distribution => Self::Distribution(distribution(text)?),
            Key::Loss => Self::Loss(quantity::share(text)?),
            Key::Burst => Self::Burst(burst(text)?),
            Key::Duplicate => Self::Duplicate(quantity::share(text)?),
            Key::Reorder => Self::Reorder(quantity::share(text)?),
            Key::Corrupt => Self::Corrupt(quantity::share(text)?),
            Key::Rate if text == NONE => Self::Rate(None),
            Key::Rate => Self::Rate(Some(quantity::rate_bps(text)?)),
            Key::Queue => Self::Queue(quantity::queue(text)?),
            Key::Mtu if text == NONE => Self::Mtu(None),
            Key::Mtu => Self::Mtu(Some(mtu_bytes(text)?)),
            Key::Cut => Self::Cut(cut(text)?),
        })
    }
}

/// As a matrix file writes it: `delay 25ms`.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share =
            |f: &mut fmt::Formatter<'_>, word, share: f64| write!(f, "{word} {}%", percent(share));
        match self {
            Self::Delay(delay) => write!(f, "delay {}", written_duration(*delay)),
            Self::Jitter(jitter) => write!(f, "jitter {}", written_duration(*jitter)),
            Self::Distribution(Distribution::Uniform) => f.write_str("distribution uniform"),
            Self::Distribution(Distribution::Normal) => f.write_str("distribution normal"),
            Self::Distribution(Distribution::Pareto) => f.write_str("distribution pareto"),
            Self::Loss(loss) => share(f, "loss", *loss),
            Self::Burst(packets) => write!(f, "burst {packets}"),
            Self::Duplicate(duplicate) => share(f, "duplicate", *duplicate),
            Self::Reorder(reorder) => share(f, "reorder", *reorder),
            Self::Corrupt(corrupt) => share(f, "corrupt", *corrupt),
            Self::Rate(None) => f.write_str("rate none"),
            Self::Rate(Some(bps)) => write!(f, "rate {bps}bit"),
            Self::Queue(Queue::Packets(packets)) => write!(f, "queue {packets}"),
            Self::Queue(Queue::Bytes(bytes)) => write!(f, "queue {bytes}B"),
            Self::Mtu(None) => f.write_str("mtu none"),
            Self::Mtu(Some(bytes)) => write!(f, "mtu {bytes}"),
            Self::Cut(cut) => write!(f, "cut {cut}"),
        }
    }
}

/// A share in percent, as it was written and not as its fraction in binary.
pub(super) fn percent(share: f64) -> f64 {
    (share * 1e8).round() / 1e6
}

/// The word that takes a limit away.
const NONE: &str = "none";

fn delay(text: &str) -> Result<Duration, QuantityError> {
    let hint = "write a number with its unit, such as 500us, 25ms or 1s";
    let duration = parse_duration(text)
        .map_err(|_| QuantityError::new(format!("`{text}` is not a duration"), hint))?;
    if duration > MAX_DELAY {
        let message = format!("`{text}` is more than {}", written_duration(MAX_DELAY));
        return Err(QuantityError::new(message, hint));
    }
    Ok(duration)
}

fn distribution(text: &str) -> Result<Distribution, QuantityError> {
    match text {
        "uniform" => Ok(Distribution::Uniform),
        "normal" => Ok(Distribution::Normal),
        "pareto" => Ok(Distribution::Pareto),
        _ => Err(QuantityError::new(
            format!("`{text}` is not a distribution"),
            "distributions are: uniform, normal, pareto",
        )),
    }
}

fn burst(text: &str) -> Result<f64, QuantityError> {
    let number = text.trim().parse::<f64>().ok();
    let number = number.filter(|mean| (1.0..=MAX_BURST).contains(mean));
    number.ok_or_else(|| {
        QuantityError::new(
            format!("`{text}` is not the mean length of a burst in packets"),
            "write a number from 1 to 10000, such as 4 or 2.5",
        )
    })
}

fn mtu_bytes(text: &str) -> Result<u16, QuantityError> {
    let bytes = text.parse().ok().filter(|bytes| MTU_BYTES.contains(bytes));
    bytes.ok_or_else(|| {
        QuantityError::new(
            format!("`{text}` is not an MTU"),
            "write bytes from 68 to 1500, or none",
        )
    })
}

fn cut(text: &str) -> Result<bool, QuantityError> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(QuantityError::new(
            format!("`{text}` does not tell whether the link is cut"),
            "write true or false",
        )),
    }
}

impl Settings {
    /// Changes one setting.
    pub fn apply(&mut self, setting: Setting) {
        match setting {
            Setting::Delay(delay) => self.delay = delay,
            Setting::Jitter(jitter) => self.jitter = jitter,
            Setting::Distribution(distribution) => self.distribution = distribution,
            Setting::Loss(loss) => self.loss = loss,
            Setting::Burst(burst) => self.burst = burst,
            Setting::Duplicate(share) => self.duplicate = share,
            Setting::Reorder(share) => self.reorder = share,
            Setting::Corrupt(share) => self.corrupt = share,
            Setting::Rate(bps) => self.rate_bps = bps,
            Setting::Queue(queue) => self.queue = queue,
            Setting::Mtu(bytes) => self.mtu_bytes = bytes,
            Setting::Cut(cut) => self.cut = cut,
        }
    }

    /// The first setting that cannot be meant beside the others.
    #[must_use]
    pub fn clash(&self) -> Option<Clash> {
        let (delay, jitter) = (written_duration(self.delay), written_duration(self.jitter));
        if self.jitter > self.delay && self.distribution != Distribution::Pareto {
            let message = format!("a jitter of {jitter} is more than the delay of {delay}");
            let hint = "give a longer `delay`, or `distribution: pareto`";
            return Some(Clash::new(Key::Jitter, message, hint));
        }
        if self.reorder > 0.0 && self.delay.is_zero() {
            let message = "no packet can overtake another: there is no delay".to_owned();
            let hint = "give a `delay`";
            return Some(Clash::new(Key::Reorder, message, hint));
        }
        if self.burst > 1.0 && self.loss > self.burst / (self.burst + 1.0) {
            let (loss, burst) = (percent(self.loss), self.burst);
            let message = format!("a loss of {loss} % needs bursts longer than {burst} packets");
            let hint = "give a longer `burst`, or less `loss`";
            return Some(Clash::new(Key::Burst, message, hint));
        }
        None
    }
}

/// A setting that cannot be meant beside others.
#[derive(Debug, PartialEq, Eq)]
pub struct Clash {
    /// The setting.
    pub key: Key,
    /// Why it cannot be meant.
    pub message: String,
    /// What could be meant.
    pub hint: &'static str,
}

impl Clash {
    fn new(key: Key, message: String, hint: &'static str) -> Self {
        Self { key, message, hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(changes: &[(Key, &str)]) -> Settings {
        let mut settings = Settings::default();
        for (key, text) in changes {
            settings.apply(Setting::read(*key, text).unwrap());
        }
        settings
    }

    #[test]
    fn settings_are_read_by_their_keys() {
        let settings = with(&[
            (Key::Delay, "25ms"),
            (Key::Jitter, "5ms"),
            (Key::Distribution, "normal"),
            (Key::Loss, "1%"),
            (Key::Burst, "2.5"),
            (Key::Rate, "10Mbit"),
            (Key::Queue, "64KiB"),
            (Key::Mtu, "1400"),
        ]);
        assert!(settings.clash().is_none());
        assert_eq!(settings.rate_bps, Some(10_000_000));
        for (key, wrong) in [
            (Key::Delay, "25"),
            (Key::Delay, "61s"),
            (Key::Distribution, "gauss"),
            (Key::Burst, "0.5"),
            (Key::Mtu, "67"),
            (Key::Mtu, "9000"),
            (Key::Cut, "yes"),
        ] {
            assert!(Setting::read(key, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_that_contradict_each_other_are_told() {
        for (changes, clash) in [
            (&[(Key::Jitter, "1ms")][..], Some(Key::Jitter)),
            (&[(Key::Jitter, "1ms"), (Key::Distribution, "pareto")], None),
            (&[(Key::Reorder, "1%")], Some(Key::Reorder)),
            (&[(Key::Reorder, "1%"), (Key::Delay, "1ms")], None),
            (&[(Key::Loss, "80%"), (Key::Burst, "2")], Some(Key::Burst)),
            (&[(Key::Loss, "100%")], None),
        ] {
            let found = with(changes).clash().map(|clash| clash.key);
            assert_eq!(found, clash, "{changes:?}");
        }
    }
}
