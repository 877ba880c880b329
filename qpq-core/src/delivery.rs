//! Which messages of a stream somebody has: sets of sequence numbers as ascending, disjoint ranges.

/// The most ranges one statement carries; what lies above the last one is told later.
pub const MAX_RANGES: u32 = 64;

/// Sequence numbers `first..=last`, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Smallest.
    pub first: u64,
    /// Largest.
    pub last: u64,
}

/// A set of sequence numbers: ranges that ascend, neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range>);

impl Ranges {
    /// Takes ranges that came from outside; `None` unless they ascend with gaps between and begin at 1 or later.
    pub fn new(ranges: Vec<Range>) -> Option<Self> {
        let mut above = 0u64;
        for range in &ranges {
            // `above + 1` would touch the range before: the canonical form joins them.
            let lowest = if above == 0 { 1 } else { above.checked_add(2)? };
            if range.first < lowest || range.last < range.first {
                return None;
            }
            above = range.last;
        }
        Some(Self(ranges))
    }

    /// The ranges, ascending.
    pub fn as_slice(&self) -> &[Range] {
        &self.0
    }

    /// Whether a number is in the set.
    pub fn contains(&self, seq: u64) -> bool {
        self.0
            .iter()
            .any(|range| (range.first..=range.last).contains(&seq))
    }

    /// Whether the set, with this number added, can still be told in one statement.
    pub fn has_room_for(&self, seq: u64) -> bool {
        let mut with = self.clone();
        with.insert(seq);
        u32::try_from(with.0.len()).is_ok_and(|len| len <= MAX_RANGES)
    }

    /// The largest number of the set, 0 when it is empty.
    pub fn last(&self) -> u64 {
        self.0.last().map_or(0, |range| range.last)
    }

    /// The first `MAX_RANGES` ranges: what one statement can say.
    pub fn truncated(&self) -> Self {
        Self(
            self.0
                .iter()
                .take(usize::try_from(MAX_RANGES).unwrap_or(usize::MAX))
                .copied()
                .collect(),
        )
    }

    /// Adds one number and returns the range it is part of now, or `None` when it was there already.
    pub fn insert(&mut self, seq: u64) -> Option<Range> {
        if seq == 0 || self.contains(seq) {
            return None;
        }
        let below = self
            .0
            .iter()
            .rposition(|range| range.last.checked_add(1) == Some(seq));
        let above = self
            .0
            .iter()
            .position(|range| seq.checked_add(1) == Some(range.first));
        let first = below
            .and_then(|at| self.0.get(at))
            .map_or(seq, |range| range.first);
        let last = above
            .and_then(|at| self.0.get(at))
            .map_or(seq, |range| range.last);
        self.0.retain(|range| range.last < first || range.first > last);
        let at = self.0.partition_point(|range| range.last < first);
        self.0.insert(at, Range { first, last });
        Some(Range { first, last })
    }

    /// The bytes a signature covers: each range as two big-endian u64.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0
            .iter()
            .flat_map(|range| [range.first.to_be_bytes(), range.last.to_be_bytes()])
            .flatten()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set_and_stays_canonical(numbers in proptest::collection::vec(1u64..200, 0..300)) {
            let mut ranges = Ranges::default();
            let mut set = BTreeSet::new();
            for seq in numbers {
                prop_assert_eq!(ranges.insert(seq).is_some(), set.insert(seq));
            }
            for seq in 0..202 {
                prop_assert_eq!(ranges.contains(seq), set.contains(&seq));
            }
            prop_assert_eq!(Ranges::new(ranges.as_slice().to_vec()), Some(ranges.clone()));
            prop_assert_eq!(ranges.last(), set.last().copied().unwrap_or(0));
        }
    }

    #[test]
    fn ranges_from_outside_must_be_canonical() {
        let range = |first, last| Range { first, last };
        assert!(Ranges::new(vec![]).is_some());
        assert!(Ranges::new(vec![range(1, 1), range(3, u64::MAX)]).is_some());
        for bad in [
            vec![range(0, 1)],
            vec![range(2, 1)],
            vec![range(1, 2), range(3, 4)],
            vec![range(1, 5), range(4, 6)],
            vec![range(5, 6), range(1, 2)],
            vec![range(1, u64::MAX), range(3, 4)],
        ] {
            assert!(Ranges::new(bad.clone()).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn the_largest_number_does_not_overflow() {
        let mut ranges = Ranges::default();
        assert_eq!(
            ranges.insert(u64::MAX),
            Some(Range {
                first: u64::MAX,
                last: u64::MAX
            })
        );
        assert_eq!(
            ranges.insert(u64::MAX - 1),
            Some(Range {
                first: u64::MAX - 1,
                last: u64::MAX
            })
        );
        assert_eq!(ranges.insert(0), None);
    }
}
