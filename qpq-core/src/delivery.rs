//! How far a message got, and which messages of a stream somebody has: sets of sequence numbers as ascending,
//! disjoint ranges.

/// The most ranges one statement carries; what lies above the last one is told later.
pub const MAX_RANGES: u32 = 64;

/// How far an own message got on its way to one recipient. Never backwards: here, on relay, delivered, read.
/// Expired and failed end that way, unless the recipient itself says that it has the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// On this disk only: it is sent when the recipient can be reached.
    Here,
    /// On the disk of the recipient's relay.
    OnRelay,
    /// On the recipient's disk.
    Delivered,
    /// The recipient's user has seen it, and lets us know.
    Read,
    /// It waited for 30 days and is not sent any more.
    Expired,
    /// It is not sent any more.
    Failed(FailedReason),
}

/// Why a message is not sent any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailedReason {
    /// The recipient was removed from the contacts before it was delivered.
    Removed,
}

impl Delivery {
    /// Whether it is still going to be sent.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::Here | Self::OnRelay)
    }

    /// The state of a whole message: what can be said of each of its recipients.
    pub fn least_advanced(states: impl IntoIterator<Item = Self>) -> Self {
        let states = states.into_iter();
        states.min_by_key(|state| state.rank()).unwrap_or(Self::Delivered)
    }

    /// Waiting comes before given up: as long as somebody may still get it, there is something to wait for.
    fn rank(self) -> u8 {
        match self {
            Self::Here => 0,
            Self::OnRelay => 1,
            Self::Failed(_) => 2,
            Self::Expired => 3,
            Self::Delivered => 4,
            Self::Read => 5,
        }
    }
}

/// Sequence numbers `first..=last`, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Smallest.
    pub first: u64,
    /// Largest.
    pub last: u64,
}

impl Range {
    /// How many numbers it holds.
    fn count(&self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
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

    /// What is missing below the largest number of the set.
    pub fn gaps(&self) -> Self {
        let mut next = 1u64;
        let mut gaps = Vec::new();
        for range in &self.0 {
            if next < range.first {
                let last = range.first.saturating_sub(1);
                gaps.push(Range { first: next, last });
            }
            next = range.last.saturating_add(1);
        }
        Self(gaps)
    }

    /// How many numbers are in the set.
    pub fn count(&self) -> u64 {
        let counts = self.0.iter().map(|range| range.count());
        counts.fold(0, u64::saturating_add)
    }

    /// The part of the set within `first..=last`.
    pub fn within(&self, first: u64, last: u64) -> Self {
        let cut = self.0.iter().map(|range| Range {
            first: range.first.max(first),
            last: range.last.min(last),
        });
        Self(cut.filter(|range| range.first <= range.last).collect())
    }

    /// The smallest `numbers` numbers of the set, in no more ranges than one statement can say.
    pub fn smallest(&self, numbers: u64) -> Self {
        let mut left = numbers;
        let mut ranges = self.truncated().0;
        ranges.retain_mut(|range| {
            let taken = range.count().min(left);
            left = left.saturating_sub(taken);
            range.last = range.first.saturating_add(taken).saturating_sub(1);
            taken > 0
        });
        Self(ranges)
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

    /// What is in this set or in the other.
    pub fn union(&self, other: &Self) -> Self {
        let mut all = [self.as_slice(), other.as_slice()].concat();
        all.sort_unstable_by_key(|range| range.first);
        let mut joined: Vec<Range> = Vec::new();
        for range in all {
            match joined.last_mut() {
                Some(below) if range.first <= below.last.saturating_add(1) => {
                    below.last = below.last.max(range.last);
                }
                _ => joined.push(range),
            }
        }
        Self(joined)
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
    #![allow(clippy::as_conversions, reason = "small numbers")]

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
            prop_assert_eq!(ranges.count(), set.len() as u64);
        }

        #[test]
        fn a_union_holds_what_either_holds(
            left in proptest::collection::btree_set(1u64..80, 0..60),
            right in proptest::collection::btree_set(1u64..80, 0..60),
        ) {
            let (mut a, mut b, mut both) = (Ranges::default(), Ranges::default(), Ranges::default());
            left.iter().for_each(|seq| _ = a.insert(*seq));
            right.iter().for_each(|seq| _ = b.insert(*seq));
            left.union(&right).for_each(|seq| _ = both.insert(*seq));
            prop_assert_eq!(a.union(&b), both);
        }

        #[test]
        fn gaps_are_what_is_missing_and_can_be_cut(
            numbers in proptest::collection::btree_set(1u64..150, 0..100), some in 0u64..100,
        ) {
            let mut ranges = Ranges::default();
            numbers.iter().for_each(|seq| _ = ranges.insert(*seq));
            let gaps = ranges.gaps();
            for seq in 0..152 {
                prop_assert_eq!(gaps.contains(seq), seq > 0 && seq < ranges.last() && !numbers.contains(&seq));
            }
            let few = gaps.smallest(some);
            prop_assert_eq!(few.count(), some.min(gaps.truncated().count()));
            prop_assert!(few.last() <= gaps.last());
            for cut in [gaps, few, ranges.within(20, 60)] {
                prop_assert_eq!(Ranges::new(cut.as_slice().to_vec()), Some(cut));
            }
            prop_assert_eq!(ranges.within(20, 60).count(), numbers.range(20..=60).count() as u64);
        }
    }

    #[test]
    fn a_message_is_as_far_as_the_recipient_who_is_last() {
        use Delivery::{Delivered, Expired, Failed, Here, OnRelay, Read};
        let failed = Failed(FailedReason::Removed);
        let order = [Here, OnRelay, failed, Expired, Delivered, Read];
        for (at, state) in order.into_iter().enumerate() {
            assert_eq!(Delivery::least_advanced(order.into_iter().skip(at)), state);
            assert_eq!(state.is_waiting(), at < 2);
        }
        assert_eq!(Delivery::least_advanced([]), Delivered);
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
