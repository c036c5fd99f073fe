//! Which data numbers were sent.

/// The most ranges that are remembered of a side. Data that goes several ways comes in another order than it was
/// numbered in, in a few ranges at a time.
const MAX_RANGES: usize = 256;

/// Positions that were seen: ranges in order, with gaps between them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ranges {
    ranges: Vec<(u64, u64)>,
    /// How many positions they hold.
    len: u64,
}

impl Ranges {
    /// How many positions were seen.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How many positions from `start` to `end` were seen.
    pub(super) fn count_within(&self, start: u64, end: u64) -> u64 {
        if start >= end {
            return 0;
        }
        let first = self.ranges.partition_point(|(_, to)| *to <= start);
        let within = self.ranges[first..]
            .iter()
            .take_while(|(from, _)| *from < end);
        within
            .map(|(from, to)| to.min(&end) - from.max(&start))
            .sum()
    }

    /// Adds the positions from `start` to `end`.
    pub(super) fn insert(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        self.len += (end - start) - self.count_within(start, end);
        let first = self.ranges.partition_point(|(_, to)| *to < start);
        let after = self.ranges.partition_point(|(from, _)| *from <= end);
        let joined = self.ranges[first..after]
            .iter()
            .fold((start, end), |(from, to), range| {
                (from.min(range.0), to.max(range.1))
            });
        self.ranges.splice(first..after, [joined]);
        if self.ranges.len() > MAX_RANGES {
            // The oldest gap is the one that is least likely to be filled; its bytes were not seen all the same.
            let (_, to) = self.ranges.remove(1);
            self.ranges[0].1 = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_a_set_of_positions(
            inserted in prop::collection::vec((0..200_u64, 0..20_u64), 0..60),
            asked in (0..200_u64, 0..50_u64),
        ) {
            let mut ranges = Ranges::default();
            let mut set = BTreeSet::new();
            for (start, len) in inserted {
                ranges.insert(start, start + len);
                set.extend(start..start + len);
                prop_assert_eq!(ranges.len(), set.len() as u64);
            }
            let (start, len) = asked;
            let within = set.range(start..start + len).count();
            prop_assert_eq!(ranges.count_within(start, start + len), within as u64);
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut ranges = Ranges::default();
        for n in 0..10 * MAX_RANGES as u64 {
            ranges.insert(n * 10, n * 10 + 3);
        }
        assert!(ranges.ranges.len() <= MAX_RANGES);
        assert_eq!(ranges.len(), 30 * MAX_RANGES as u64);
    }
}
