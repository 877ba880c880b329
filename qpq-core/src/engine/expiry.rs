//! Nothing lasts for ever: messages, links and requests expire by an age that no jump of the system's clock makes.
//!
//! ```text
//! age of the profile:  the time it was looked after, and what the system's clock says of the time between processes
//! settled:             the same without the pause before this start, until a day was lived since
//! profile time:        Unix time at the first look ever, and the age since
//! ```
//! A clock that was far ahead at a start, and is set right later, is found out: it goes back below what it showed. What
//! it had added to the age is taken back then. What is deleted goes by the settled age, so that nothing is gone by then.

use std::time::Duration;

use super::Engine;
use crate::{store::StoreError, time::Now};

/// After so long a message is given up, in milliseconds.
const LIFETIME_MS: i64 = 30 * DAY_MS;
/// The most that the time between two processes adds to the age, in milliseconds.
const PAUSE_MS: i64 = 7 * DAY_MS;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const YEAR_MS: i64 = 365 * DAY_MS;
/// Clocks are not expected to be more exact; a pause that is no longer is not doubted.
const SHORT_MS: i64 = 30 * 60 * 1000;
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
    /// or starts at 1970 as one without a battery does: it tells nothing, also not when it is set right again.
    latest: i64,
    /// What nothing but one reading of the clock stands for.
    doubt: Option<Doubt>,
    /// Unix milliseconds at age 0, as the clock went when that was first counted.
    epoch: i64,
    /// By the monotonic clock.
    pub(super) next_look: Duration,
}

/// A pause between processes that the clock may have made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// The age before it.
    pub(crate) lived: i64,
    /// The latest Unix milliseconds before it.
    pub(crate) latest: i64,
    /// The age right after it.
    pub(crate) since: i64,
}

/// What is kept of the age, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lived {
    /// The age itself.
    pub(crate) age: i64,
    /// The latest Unix time at which it was counted.
    pub(crate) latest: i64,
    /// The pause that is not believed yet.
    pub(crate) doubt: Option<Doubt>,
    /// Unix time at age 0; `None` in the database of a version before.
    pub(crate) epoch: Option<i64>,
}

impl Lived {
    /// The profile time at this Unix time, for somebody who reads beside the engine.
    pub(crate) fn profile_time(&self, unix_ms: i64) -> Option<i64> {
        let since = unix_ms.saturating_sub(self.latest).clamp(0, PAUSE_MS);
        let age = self.age.saturating_add(since);
        self.epoch.map(|epoch| epoch.saturating_add(age))
    }
}

impl Age {
    /// Of a profile that nobody looked at before.
    pub(super) fn new(now: Now) -> Self {
        Self {
            lived: 0,
            counted: now.monotonic,
            latest: now.unix_ms,
            doubt: None,
            epoch: now.unix_ms,
            next_look: now.monotonic,
        }
    }

    /// Of a profile whose last process left it at this age.
    fn resumed(kept: Lived, now: Now) -> Self {
        let mut age = Self {
            lived: kept.age,
            latest: kept.latest,
            doubt: kept.doubt,
            ..Self::new(now)
        };
        age.heed_set_back(now);
        let pause = now.unix_ms.saturating_sub(age.latest).clamp(0, PAUSE_MS);
        let since = age.lived.saturating_add(pause);
        if pause > SHORT_MS {
            let begun = age.doubt.unwrap_or(Doubt {
                lived: age.lived,
                latest: age.latest,
                since: age.lived,
            });
            let since = begun.since.saturating_add(pause);
            age.doubt = Some(Doubt { since, ..begun });
        }
        age.lived = since;
        let unix_at_birth = now.unix_ms.saturating_sub(age.lived);
        age.epoch = kept.epoch.unwrap_or(unix_at_birth);
        age
    }

    /// A clock that goes back below what it showed after a pause, but not below what it showed before: it was ahead.
    fn heed_set_back(&mut self, now: Now) {
        if let Some(doubt) = self.doubt
            && now.unix_ms < self.latest
            && now.unix_ms >= doubt.latest
        {
            let most = self.lived.saturating_sub(doubt.lived).max(0);
            let passed = now.unix_ms.saturating_sub(doubt.latest).clamp(0, most);
            self.lived = doubt.lived.saturating_add(passed);
            self.latest = now.unix_ms;
            self.doubt = None;
        }
    }

    /// Milliseconds. The system's clock has no say in it while the process lives.
    pub(super) fn at(&self, now: Now) -> i64 {
        let passed = now.monotonic.saturating_sub(self.counted).as_millis();
        self.lived
            .saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }

    /// Unix milliseconds for a clock that was always right. Lifetimes begin and end by it.
    pub(super) fn profile_time(&self, now: Now) -> i64 {
        self.epoch.saturating_add(self.at(now))
    }

    /// The same as far as it is certain: what is over by it may be deleted.
    pub(super) fn settled_time(&self, now: Now) -> i64 {
        self.epoch.saturating_add(self.settled(now))
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
        let shown = now.unix_ms.saturating_sub(self.latest);
        if shown < -SHORT_MS {
            Some(
                "the clock of this machine shows less than it did before: if it is wrong, times in chats are",
            )
        } else if shown > YEAR_MS {
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
            doubt: self.doubt,
            epoch: Some(self.epoch),
        }
    }
}

impl Engine {
    /// Takes up the age where the last process left it.
    pub(super) fn resume_age(&mut self, now: Now) -> Result<(), StoreError> {
        if let Some(kept) = self.store.lived()? {
            let before = Age {
                latest: kept.latest,
                ..self.age
            };
            if let Some(complaint) = before.complaint(now) {
                tracing::warn!("{complaint}");
            }
            self.age = Age::resumed(kept, now);
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
        age.latest = age.latest.max(now.unix_ms);
        if age.settled(now) == age.lived {
            age.doubt = None;
        }
        self.age = age;
        self.store.put_lived(&age.kept())?;
        let expired = self.store.expire(self.age.lived.saturating_sub(LIFETIME_MS))?;
        self.progress(expired);
        Ok(())
    }
}
