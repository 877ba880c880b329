//! When a contact without a link is dialled (again). Pure: time and jitter are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// Wait after the first failure; doubles with each.
const FIRST: Duration = Duration::from_millis(250);

/// The longest wait while the contact's record is there.
const LONGEST: Duration = Duration::from_secs(5);

/// Wait after a peer closed us as a stranger, which doubles with each time: it has not yet stored us,
const REFUSED_FIRST: Duration = Duration::from_secs(1);

/// or it has removed us, and is to be left alone.
const REFUSED_LONGEST: Duration = Duration::from_secs(60);

/// Wait after a Bye: the peer is leaving, or another link is coming.
const AFTER_BYE: Duration = Duration::from_secs(1);

/// Least time between two dials, whatever records arrive.
const GAP: Duration = Duration::from_millis(250);

/// The same for a peer that refused us, or for a hint that no token proves.
pub(crate) const UNPROVEN_GAP: Duration = Duration::from_secs(1);

/// A link that lived shorter was no success: what ends it at once would do so again.
const SETTLED: Duration = Duration::from_secs(5);

/// Dials under way at once: a fresh record is not kept waiting by a dial to a dead address.
const AT_ONCE: u8 = 3;

/// The state of one contact.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redial {
    failures: u32,
    refusals: u32,
    under_way: u8,
    last: Option<Instant>,
    next: Option<Instant>,
}

impl Redial {
    /// A record of the contact appeared or changed.
    pub(crate) fn fresh(&mut self, now: Instant) {
        self.failures = 0;
        if self.under_way < AT_ONCE {
            let gap = if self.refusals > 0 { UNPROVEN_GAP } else { GAP };
            self.next = Some(self.last.map_or(now, |last| now.max(last + gap)));
        }
    }

    /// A record of the contact appeared or changed while a link stands: it may have begun anew, and the link be
    /// dead.
    pub(crate) fn seen(&mut self) {
        self.failures = 0;
    }

    /// A link ended by itself after so long.
    pub(crate) fn lost(&mut self, now: Instant, lived: Duration, jitter: f64) {
        let wait = self.wait_after(lived, jitter);
        self.next = Some(now + wait);
    }

    /// A link ended by a Bye after so long.
    pub(crate) fn left(&mut self, now: Instant, lived: Duration, jitter: f64) {
        let wait = self.wait_after(lived, jitter);
        self.next = Some(now + wait.max(AFTER_BYE));
    }

    /// The peer does not know us, whether it said so at the door or by the end of a link.
    pub(crate) fn refused(&mut self, now: Instant, jitter: f64) {
        let wait = doubled(REFUSED_FIRST, self.refusals, REFUSED_LONGEST);
        self.refusals = self.refusals.saturating_add(1);
        self.next = Some(now + shortened(wait, jitter));
    }

    /// A dial failed. `jitter` (0..=1) spreads the dials of many: it takes up to a quarter off the wait.
    pub(crate) fn failed(&mut self, now: Instant, jitter: f64) {
        if self.under_way == 0 && self.next.is_none() {
            self.next = Some(now + self.back_off(jitter));
        }
    }

    /// A link stands, whoever dialled it; how it ends is told by the others.
    pub(crate) fn connected(&mut self) {
        self.next = None;
    }

    /// Nobody knows any more where the contact is, until its next record.
    pub(crate) fn rest(&mut self) {
        self.next = None;
    }

    /// When the next dial is due; `None`: only a new event leads to one.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// A dial begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.next = None;
        self.last = Some(now);
        self.under_way = self.under_way.saturating_add(1);
    }

    /// A dial ended, however; what came of it is told next.
    pub(crate) fn ended_dial(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    fn wait_after(&mut self, lived: Duration, jitter: f64) -> Duration {
        self.refusals = 0;
        if lived < SETTLED {
            return self.back_off(jitter);
        }
        self.failures = 0;
        Duration::ZERO
    }

    fn back_off(&mut self, jitter: f64) -> Duration {
        let wait = doubled(FIRST, self.failures, LONGEST);
        self.failures = self.failures.saturating_add(1);
        shortened(wait, jitter)
    }
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(10)).min(longest)
}

fn shortened(wait: Duration, jitter: f64) -> Duration {
    wait.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(start: Instant, ms: u64) -> Option<Instant> {
        Some(start + Duration::from_millis(ms))
    }

    #[test]
    fn failures_are_waited_out_twice_as_long_up_to_five_seconds() {
        let start = Instant::now();
        let mut redial = Redial::default();
        redial.fresh(start);
        assert_eq!(redial.next(), Some(start));
        for wait in [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000] {
            redial.begin(start);
            assert_eq!(redial.next(), None);
            redial.ended_dial();
            redial.failed(start, 0.0);
            assert_eq!(redial.next(), ms(start, wait));
        }
        redial.begin(start);
        redial.ended_dial();
        redial.failed(start, 1.0);
        assert_eq!(redial.next(), ms(start, 3_750), "jitter takes a quarter off");
    }

    #[test]
    fn a_fresh_record_is_dialled_at_once_but_not_faster_than_the_gap() {
        let start = Instant::now();
        let mut redial = Redial::default();
        redial.begin(start);
        redial.ended_dial();
        redial.failed(start, 0.0);
        redial.fresh(start + Duration::from_millis(10));
        assert_eq!(redial.next(), ms(start, 250));
        redial.begin(start + Duration::from_millis(250));
        redial.fresh(start + Duration::from_secs(2));
        assert_eq!(
            redial.next(),
            ms(start, 2_000),
            "beside the dial that is under way"
        );
        redial.begin(start + Duration::from_secs(2));
        redial.fresh(start + Duration::from_secs(3));
        redial.begin(start + Duration::from_secs(3));
        redial.fresh(start + Duration::from_secs(4));
        assert_eq!(redial.next(), None, "three at once are enough");
    }

    #[test]
    fn a_peer_that_calls_us_a_stranger_is_left_alone() {
        let start = Instant::now();
        let mut redial = Redial::default();
        redial.begin(start);
        redial.ended_dial();
        for wait in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            redial.refused(start, 0.0);
            assert_eq!(redial.next(), ms(start, wait));
            // It lets us in, to close the link at once.
            redial.connected();
        }
        redial.fresh(start);
        assert_eq!(
            redial.next(),
            ms(start, 1_000),
            "a new record is a new chance, once a second"
        );
        redial.refused(start, 0.0);
        assert_eq!(redial.next(), ms(start, 60_000), "and no reason to begin anew");
        redial.lost(start, SETTLED, 0.0);
        redial.refused(start, 0.0);
        assert_eq!(redial.next(), ms(start, 1_000), "a link that stood is");
    }

    #[test]
    fn a_lost_link_is_dialled_at_once_and_a_bye_is_respected() {
        let start = Instant::now();
        let mut redial = Redial::default();
        redial.lost(start, SETTLED, 0.0);
        assert_eq!(redial.next(), Some(start));
        redial.left(start, SETTLED, 0.0);
        assert_eq!(redial.next(), ms(start, 1_000));
        redial.connected();
        assert_eq!(redial.next(), None);
    }

    #[test]
    fn links_that_end_as_soon_as_they_stand_are_waited_out_like_failures() {
        let (start, moment) = (Instant::now(), Duration::from_millis(4_999));
        let mut redial = Redial::default();
        for wait in [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000] {
            redial.begin(start);
            redial.ended_dial();
            redial.connected();
            redial.lost(start, moment, 0.0);
            assert_eq!(redial.next(), ms(start, wait));
        }
        redial.left(start, moment, 0.0);
        assert_eq!(redial.next(), ms(start, 5_000), "a Bye does not shorten the wait");
        redial.lost(start, SETTLED, 0.0);
        redial.lost(start, moment, 0.0);
        assert_eq!(redial.next(), ms(start, 250), "a link that lived settles it");
        redial.lost(start, moment, 0.0);
        redial.seen();
        redial.lost(start, moment, 0.0);
        assert_eq!(redial.next(), ms(start, 250), "a new record is a new chance");
    }

    #[test]
    fn a_link_that_comes_and_goes_does_not_uncount_the_dials_under_way() {
        let start = Instant::now();
        let mut redial = Redial::default();
        for _ in 0..AT_ONCE {
            redial.begin(start);
        }
        redial.connected();
        redial.lost(start, Duration::ZERO, 0.0);
        redial.rest();
        redial.fresh(start + Duration::from_secs(1));
        assert_eq!(redial.next(), None);
        redial.ended_dial();
        redial.fresh(start + Duration::from_secs(1));
        assert_eq!(redial.next(), ms(start, 1_000));
    }
}
