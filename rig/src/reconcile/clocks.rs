//! What the clock of one place shows beside that of another.

use std::time::Duration;

use super::sides::Sample;

/// The most pieces into which the comparison of two clocks is cut.
const MAX_PIECES: usize = 64;

/// How the clock of a capture stands to that of another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Clock {
    /// The capture that it was compared with, by its position.
    pub against: usize,
    /// How it was aligned.
    pub alignment: Alignment,
    /// How far from the truth the alignment may be; none where nothing bounds it.
    pub uncertainty: Option<Duration>,
    /// How many packets were compared.
    pub packets: usize,
}

/// What is taken off the times of a capture.
#[derive(Debug, Clone, PartialEq)]
pub enum Alignment {
    /// Nothing: it is the first capture, or its clock may be the same.
    Same,
    /// Nothing: it shares no packet with the others, so nothing is known.
    Unknown,
    /// This many nanoseconds, always.
    Offset(i128),
    /// What the clocks differ by changes: at these moments (by the clock itself) it is so many
    /// nanoseconds, and in between it changes evenly.
    Drift(Vec<(i128, i128)>),
}

impl Clock {
    /// The clock that all others are aligned to.
    pub(super) fn reference() -> Self {
        Self {
            against: 0,
            alignment: Alignment::Same,
            uncertainty: Some(Duration::ZERO),
            packets: 0,
        }
    }

    /// A clock of which nothing is known.
    pub(super) fn unknown() -> Self {
        Self {
            against: 0,
            alignment: Alignment::Unknown,
            uncertainty: None,
            packets: 0,
        }
    }

    /// Compares two clocks by samples in order of time. The offset lies between what the packets of
    /// both ways show: a packet cannot arrive before it was sent.
    pub(super) fn of(against: usize, samples: &[Sample]) -> Self {
        let whole = Bounds::of(samples);
        let (alignment, uncertainty) = match whole.middle() {
            _ if samples.is_empty() => return Self::unknown(),
            Some(_) if whole.allow(0) => (Alignment::Same, whole.around(0)),
            Some(offset) => (Alignment::Offset(offset), whole.around(offset)),
            // No single offset explains them all.
            None => drift(samples, &whole),
        };
        Self {
            against,
            alignment,
            uncertainty,
            packets: samples.len(),
        }
    }

    /// What the clock shows too much at a moment that it shows itself, in nanoseconds.
    pub(super) fn ahead_ns(&self, at_ns: i128) -> i128 {
        match &self.alignment {
            Alignment::Same | Alignment::Unknown => 0,
            Alignment::Offset(offset) => *offset,
            Alignment::Drift(points) => interpolate(points, at_ns),
        }
    }
}

/// Between what the offset of two clocks lies.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// The way back shows that it is no less.
    low: Option<i128>,
    /// The way there shows that it is no more.
    high: Option<i128>,
}

impl Bounds {
    fn of(samples: &[Sample]) -> Self {
        let those = |forward| {
            samples
                .iter()
                .filter(move |sample| sample.forward == Some(forward))
                .map(|sample| sample.later_ns)
        };
        // Where both ways take as long nothing tells which is which. One bounds the offset from below and the other from
        // above, so that it is none less than the least of both, nor more than the most.
        let unknown = || {
            let unknown = |sample: &&Sample| sample.forward.is_none() && sample.returned;
            samples.iter().filter(unknown).map(|sample| sample.later_ns)
        };
        Self {
            low: those(false).max().or_else(|| unknown().min()),
            high: those(true).min().or_else(|| unknown().max()),
        }
    }

    fn allow(&self, offset: i128) -> bool {
        self.low.is_none_or(|low| low <= offset) && self.high.is_none_or(|high| offset <= high)
    }

    /// The best guess; none where the bounds contradict each other. Bounds on one side only give
    /// the clock's agreement where they can, and the bound itself where not.
    fn middle(&self) -> Option<i128> {
        match (self.low, self.high) {
            (Some(low), Some(high)) if low <= high => Some(low + (high - low) / 2),
            (Some(_), Some(_)) => None,
            (Some(low), None) => Some(low.max(0)),
            (None, Some(high)) => Some(high.min(0)),
            (None, None) => Some(0),
        }
    }

    /// The middle of bounds that contradict each other.
    fn compromise(&self) -> (Alignment, Duration) {
        let (low, high) = (self.low.unwrap_or(0), self.high.unwrap_or(0));
        let doubt = duration((high - low).abs() / 2);
        (Alignment::Offset(low + (high - low) / 2), doubt)
    }

    fn around(&self, offset: i128) -> Option<Duration> {
        let far = (offset - self.low?).max(self.high? - offset);
        Some(duration(far))
    }
}

/// Cuts the samples into pieces, as few as explain them, each with an offset of its own.
fn drift(samples: &[Sample], whole: &Bounds) -> (Alignment, Option<Duration>) {
    let mut pieces = 2;
    loop {
        let chunk = samples.len().div_ceil(pieces).max(1);
        let bounds = || {
            samples
                .chunks(chunk)
                .map(|piece| (piece, Bounds::of(piece)))
        };
        let explained = bounds().all(|(_, bounds)| bounds.middle().is_some());
        if explained || pieces >= MAX_PIECES || chunk == 1 {
            let (alignment, doubt) = pieces_of(bounds()).unwrap_or_else(|| whole.compromise());
            return (alignment, Some(doubt));
        }
        pieces *= 2;
    }
}

fn pieces_of<'a>(
    pieces: impl Iterator<Item = (&'a [Sample], Bounds)>,
) -> Option<(Alignment, Duration)> {
    let mut points = Vec::new();
    let mut worst = Duration::ZERO;
    for (samples, bounds) in pieces {
        // A piece with packets of one way only says too little.
        let (Some(low), Some(high)) = (bounds.low, bounds.high) else {
            continue;
        };
        let Some((first, last)) = samples.first().zip(samples.last()) else {
            continue;
        };
        let offset = low + (high - low) / 2;
        let at = first.at_ns + (last.at_ns - first.at_ns) / 2;
        points.push((at + offset, offset));
        worst = worst.max(duration((high - low).abs() / 2));
    }
    (!points.is_empty()).then_some((Alignment::Drift(points), worst))
}

/// The offset at a moment, by the points beside it. Beyond the ends it goes on as between the nearest
/// two, for as long as they are apart: a clock that was set does not run away for ever.
fn interpolate(points: &[(i128, i128)], at_ns: i128) -> i128 {
    let (before, after) = match points {
        [] => return 0,
        [(_, offset)] => return *offset,
        points => {
            let right = points.partition_point(|(at, _)| *at < at_ns);
            let right = right.clamp(1, points.len() - 1);
            (points[right - 1], points[right])
        }
    };
    let span = after.0 - before.0;
    if span <= 0 {
        return after.1;
    }
    let at_ns = at_ns.clamp(before.0 - span, after.0 + span);
    before.1 + (after.1 - before.1).saturating_mul(at_ns - before.0) / span
}

fn duration(ns: i128) -> Duration {
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}
