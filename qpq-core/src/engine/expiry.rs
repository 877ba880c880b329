//! Nothing lasts for ever: messages, links and requests expire by an age that no jump of the system's clock makes.
//!
//! ```text
//! age of the profile:  the time it was looked after, and what the system's clock says of the time between processes
//! settled:             the same without the pause before this start, until a day was lived since
//! profile time:        Unix time at the first look ever, and the age since
//! ```
//! A clock that was far ahead at a start, and is set right later, is found out: it goes back below what it showed. What
//! it had added to the age is taken back then. What is deleted goes by the settled age, so that nothing is gone by then.
//! A clock that goes back is not believed for a day. Then pauses are counted by it: it was the one before that was wrong.

use std::time::Duration;

use super::Engine;
use crate::{
    store::{Doubt, Lived, Low, PAUSE_MS, StoreError},
    time::Now,
};

/// After so long a message is given up, in milliseconds.
const LIFETIME_MS: i64 = 30 * DAY_MS;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const YEAR_MS: i64 = 365 * DAY_MS;
/// Clocks are not expected to be more exact; a pause that is no longer is not doubted.
const SHORT_MS: i64 = 30 * 60 * 1000;
/// A start so long after the one that is doubted, by a clock that went on meanwhile, confirms what that showed. And the
/// most of a pause that counts for a clock which went back.
const CONFIRMED_MS: i64 = DAY_MS / 2;
/// Time from one look to the next.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);

/// The age of a profile in milliseconds: the time in which a process looked after it, by the monotonic clock, and
/// the time between processes, as far as the system's clock can be believed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Age {
    lived: i64,
    /// When `lived` was counted, by the monotonic clock.
    counted: Duration,
    /// The latest Unix milliseconds that the system's clock ever showed at a look. A clock below has been set back,
    /// or starts at 1970 as one without a battery does: it tells nothing before it was lived with.
    latest: i64,
    /// What a clock below that shows.
    low: Option<Low>,
    /// What nothing but one reading of the clock stands for.
    doubt: Option<Doubt>,
    /// Unix milliseconds at age 0, as the clock went when that was first counted.
    epoch: i64,
    /// By the monotonic clock.
    pub(super) next_look: Duration,
}

impl Age {
    /// Of a profile that nobody looked at before.
    pub(super) fn new(now: Now) -> Self {
        Self {
            lived: 0,
            counted: now.monotonic,
            latest: now.unix_ms,
            low: None,
            doubt: None,
            epoch: now.unix_ms,
            next_look: now.monotonic,
        }
    }

    /// As the last process left it.
    fn left(kept: &Lived, now: Now) -> Self {
        Self {
            lived: kept.age,
            latest: kept.latest,
            low: kept.low,
            doubt: kept.doubt,
            ..Self::new(now)
        }
    }

    /// Of a profile whose last process left it at this age.
    fn resumed(kept: &Lived, now: Now) -> Self {
        let mut age = Self::left(kept, now);
        age.heed_set_back(now);
        let shown = age.shown(now.unix_ms);
        age.doubt.take_if(|doubt| {
            let gone_on = now.unix_ms.saturating_sub(doubt.shown);
            now.unix_ms >= shown && gone_on >= CONFIRMED_MS
        });
        let pause = now.unix_ms.saturating_sub(shown).clamp(0, PAUSE_MS);
        let before = age.lived;
        age.lived = before.saturating_add(pause);
        if pause > SHORT_MS {
            let begun = age.doubt.unwrap_or(Doubt {
                lived: before,
                latest: shown,
                since: before,
                shown: now.unix_ms,
            });
            let since = begun.since.saturating_add(pause);
            age.doubt = Some(Doubt { since, ..begun });
        }
        age.note_clock(now.unix_ms, CONFIRMED_MS);
        let unix_at_birth = now.unix_ms.saturating_sub(age.lived);
        age.epoch = kept.epoch.unwrap_or(unix_at_birth);
        age
    }

    /// What the clock showed last, as far as that is to be compared with what it shows now.
    fn shown(&self, unix_ms: i64) -> i64 {
        match self.low {
            Some(low) if unix_ms < self.latest && low.lived >= DAY_MS => low.last,
            _ => self.latest,
        }
    }

    /// Keeps what the clock shows. Of the time since the last look, at most so much was lived with it.
    fn note_clock(&mut self, unix_ms: i64, most: i64) {
        if unix_ms >= self.latest {
            self.latest = unix_ms;
            self.low = None;
            return;
        }
        let went_on = self.low.map(|low| (low, unix_ms.saturating_sub(low.last)));
        self.low = Some(match went_on {
            Some((low, step)) if step > -SHORT_MS => Low {
                lived: low.lived.saturating_add(step.clamp(0, most)),
                last: low.last.max(unix_ms),
            },
            _ => Low {
                lived: 0,
                last: unix_ms,
            },
        });
    }

    /// A clock that goes back below what it showed after a pause, but not below what it showed before: it was ahead.
    fn heed_set_back(&mut self, now: Now) {
        let shown = self.shown(now.unix_ms);
        if let Some(doubt) = self.doubt
            && now.unix_ms < shown
            && now.unix_ms >= doubt.latest
        {
            let most = self.lived.saturating_sub(doubt.lived).max(0);
            let passed = now.unix_ms.saturating_sub(doubt.latest).clamp(0, most);
            self.lived = doubt.lived.saturating_add(passed);
            self.doubt = None;
            match &mut self.low {
                Some(low) if shown < self.latest => low.last = now.unix_ms,
                _ => self.latest = now.unix_ms,
            }
        }
    }

    fn passed(&self, now: Now) -> i64 {
        let passed = now.monotonic.saturating_sub(self.counted).as_millis();
        i64::try_from(passed).unwrap_or(i64::MAX)
    }

    /// Milliseconds. The system's clock has no say in it while the process lives.
    pub(super) fn at(&self, now: Now) -> i64 {
        self.lived.saturating_add(self.passed(now))
    }

    /// Unix milliseconds for a clock that was always right. Lifetimes begin and end by it.
    pub(super) fn profile_time(&self, now: Now) -> i64 {
        self.epoch.saturating_add(self.at(now))
    }

    /// The same as far as it is certain: what is over by it may be deleted.
    pub(super) fn settled_time(&self, now: Now) -> i64 {
        self.epoch.saturating_add(self.settled(now))
    }

    /// Unix milliseconds as the system's clock shows them, or would show them if it had not been set back.
    pub(super) fn wall_time(&self, now: Now) -> i64 {
        let low = self.low.map_or(0, |low| low.lived);
        let went_on = match self.shown(now.unix_ms) {
            latest if latest == self.latest => latest.saturating_add(low),
            shown => shown,
        };
        now.unix_ms.max(went_on.saturating_add(self.passed(now)))
    }

    fn settled(&self, now: Now) -> i64 {
        let age = self.at(now);
        match self.doubt {
            Some(doubt) if age.saturating_sub(doubt.since) < DAY_MS => {
                doubt.lived.saturating_add(age.saturating_sub(doubt.since))
            }
            _ => age,
        }
    }

    /// What the user is to be told of the clock, compared with the last look: nothing else shows it.
    fn complaint(&self, now: Now) -> Option<&'static str> {
        let gone_on = now.unix_ms.saturating_sub(self.shown(now.unix_ms));
        if gone_on < -SHORT_MS {
            Some(
                "the clock of this machine shows less than it did before: if it is wrong, times in chats are",
            )
        } else if gone_on > YEAR_MS {
            Some(
                "the clock of this machine has gone on by more than a year: if it is wrong, times in chats are",
            )
        } else {
            None
        }
    }

    fn kept(&self) -> Lived {
        Lived {
            age: self.lived,
            latest: self.latest,
            low: self.low,
            doubt: self.doubt,
            epoch: Some(self.epoch),
        }
    }
}

impl Engine {
    /// Takes up the age where the last process left it.
    pub(super) fn resume_age(&mut self, now: Now) -> Result<(), StoreError> {
        if let Some(kept) = self.store.lived()? {
            if let Some(complaint) = Age::left(&kept, now).complaint(now) {
                tracing::warn!("{complaint}");
            }
            self.age = Age::resumed(&kept, now);
        }
        self.look(now)
    }

    /// Counts the time since the last look, and gives up what is too old.
    pub(super) fn tick_age(&mut self, now: Now) -> Result<(), StoreError> {
        if now.monotonic < self.age.next_look {
            return Ok(());
        }
        if let Some(complaint) = self.age.complaint(now) {
            tracing::warn!("{complaint}");
        }
        self.look(now)
    }

    fn look(&mut self, now: Now) -> Result<(), StoreError> {
        let mut age = Age {
            lived: self.age.at(now),
            counted: now.monotonic,
            next_look: now.monotonic.saturating_add(LOOK_EVERY),
            ..self.age
        };
        age.heed_set_back(now);
        age.note_clock(now.unix_ms, self.age.passed(now));
        if age.settled(now) == age.lived {
            age.doubt = None;
        }
        self.age = age;
        self.links_due = now.monotonic;
        self.store.put_lived(&age.kept())?;
        let certain = self.age.settled(now);
        let expired = self.store.expire(certain.saturating_sub(LIFETIME_MS))?;
        self.progress(expired);
        Ok(())
    }
}
