//! Messages are not sent for ever: after 30 days they expire, by an age that no jump of the system's clock makes.

use std::time::Duration;

use super::Engine;
use crate::{store::StoreError, time::Now};

/// After so long a message is given up, in milliseconds.
const LIFETIME_MS: i64 = 30 * DAY_MS;
/// The most that the time between two processes adds to the age, in milliseconds.
const PAUSE_MS: i64 = 7 * DAY_MS;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
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
            next_look: now.monotonic,
        }
    }

    /// Of a profile whose last process left it at this age.
    fn resumed(lived: i64, latest: i64, now: Now) -> Self {
        let pause = now.unix_ms.saturating_sub(latest).clamp(0, PAUSE_MS);
        Self {
            lived: lived.saturating_add(pause),
            latest,
            ..Self::new(now)
        }
    }

    /// Milliseconds. The system's clock has no say in it while the process lives.
    pub(super) fn at(&self, now: Now) -> i64 {
        let passed = now.monotonic.saturating_sub(self.counted).as_millis();
        self.lived
            .saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }
}

impl Engine {
    /// Takes up the age where the last process left it.
    pub(super) fn resume_age(&mut self, now: Now) -> Result<(), StoreError> {
        if let Some((lived, latest)) = self.store.lived()? {
            self.age = Age::resumed(lived, latest, now);
        }
        self.look(now)
    }

    /// Counts the time since the last look, and gives up what is too old.
    pub(super) fn tick_age(&mut self, now: Now) -> Result<(), StoreError> {
        if now.monotonic < self.age.next_look {
            return Ok(());
        }
        self.look(now)
    }

    fn look(&mut self, now: Now) -> Result<(), StoreError> {
        self.age = Age {
            lived: self.age.at(now),
            counted: now.monotonic,
            latest: self.age.latest.max(now.unix_ms),
            next_look: now.monotonic.saturating_add(LOOK_EVERY),
        };
        self.store.put_lived(self.age.lived, self.age.latest)?;
        let expired = self.store.expire(self.age.lived.saturating_sub(LIFETIME_MS))?;
        self.progress(expired);
        Ok(())
    }
}
