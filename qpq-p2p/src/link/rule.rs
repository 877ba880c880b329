//! Which of two links to one peer stays: decided alike by both ends, without asking each other.

use std::time::Duration;

/// Two dials that cross meet within this time. Links that are further apart are no crossing: the older one
/// is then the dead one, whatever this end still believes of it.
pub(crate) const CROSSING: Duration = Duration::from_secs(3);

/// What the rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The peer with the smaller id dialled it.
    pub(crate) dialed_by_smaller: bool,
    /// The clock when both Hellos were there.
    pub(crate) greeted: Duration,
    /// From the peer's Hello: another value is another process.
    pub(crate) session: [u8; 8],
}

/// The outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The link that was there first.
    Old,
    /// The link that came now.
    New,
}

/// Judges two links to one peer. Where dials crossed, the one by the smaller id stays; else the newer wins.
pub(crate) fn keep(old: &Candidate, new: &Candidate) -> Keep {
    let crossed = old.dialed_by_smaller != new.dialed_by_smaller
        && old.session == new.session
        && new.greeted.saturating_sub(old.greeted) <= CROSSING;
    if crossed && old.dialed_by_smaller {
        Keep::Old
    } else {
        Keep::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(dialed_by_smaller: bool, greeted_ms: u64, process: u8) -> Candidate {
        Candidate {
            dialed_by_smaller,
            greeted: Duration::from_millis(greeted_ms),
            session: [process; 8],
        }
    }

    #[test]
    fn the_table_of_the_rule() {
        for (old, new, expected, why) in [
            (
                link(true, 0, 1),
                link(false, 10, 1),
                Keep::Old,
                "crossed, the smaller's came first",
            ),
            (
                link(false, 0, 1),
                link(true, 10, 1),
                Keep::New,
                "crossed, the smaller's came second",
            ),
            (
                link(true, 0, 1),
                link(false, 3_000, 1),
                Keep::Old,
                "just within the time",
            ),
            (
                link(true, 0, 1),
                link(false, 3_001, 1),
                Keep::New,
                "too far apart to have crossed",
            ),
            (
                link(true, 0, 1),
                link(false, 10, 2),
                Keep::New,
                "the peer restarted",
            ),
            (
                link(true, 0, 1),
                link(true, 10, 1),
                Keep::New,
                "the smaller dialled again",
            ),
            (
                link(false, 0, 1),
                link(false, 10, 1),
                Keep::New,
                "the larger dialled again",
            ),
        ] {
            assert_eq!(keep(&old, &new), expected, "{why}");
        }
    }

    #[test]
    fn both_ends_keep_the_same_link_in_whatever_order_they_saw_them() {
        let (by_smaller, by_larger) = (link(true, 0, 1), link(false, 0, 1));
        assert_eq!(keep(&by_smaller, &by_larger), Keep::Old);
        assert_eq!(keep(&by_larger, &by_smaller), Keep::New);
    }
}
