//! The age of the profile, as `meta` keeps it: numbers as text.

use rusqlite::Connection;

use super::{Store, StoreError};

/// The most that the time between two processes adds to the age, in milliseconds.
pub(crate) const PAUSE_MS: i64 = 7 * 24 * 60 * 60 * 1000;

const READ: &str = "SELECT key, CAST(CAST(value AS TEXT) AS INTEGER) FROM meta
    WHERE key IN ('lived', 'looked', 'epoch', 'doubt_lived', 'doubt_looked', 'doubt_since', 'doubt_shown',
                  'low_lived', 'low_looked')";

/// What is kept of the age, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lived {
    /// The age itself.
    pub(crate) age: i64,
    /// The latest Unix time at which it was counted.
    pub(crate) latest: i64,
    /// What the clock shows since it went back below that.
    pub(crate) low: Option<Low>,
    /// The pause that is not believed yet.
    pub(crate) doubt: Option<Doubt>,
    /// Unix time at age 0; `None` in the database of a version before.
    pub(crate) epoch: Option<i64>,
}

/// A clock that went back: either it is wrong now, or it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Low {
    /// So long it was lived with.
    pub(crate) lived: i64,
    /// The Unix milliseconds that it showed last.
    pub(crate) last: i64,
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
    /// The Unix milliseconds right after it.
    pub(crate) shown: i64,
}

impl Lived {
    /// The profile time at this Unix time, for somebody who reads beside the engine.
    pub(crate) fn profile_time(&self, unix_ms: i64) -> Option<i64> {
        let since = unix_ms.saturating_sub(self.latest).clamp(0, PAUSE_MS);
        let age = self.age.saturating_add(since);
        self.epoch.map(|epoch| epoch.saturating_add(age))
    }
}

impl Store {
    /// The age of the profile; `None`: nobody has looked after it.
    pub(crate) fn lived(&self) -> Result<Option<Lived>, StoreError> {
        lived(&self.connection)
    }

    pub(crate) fn put_lived(&self, lived: &Lived) -> Result<(), StoreError> {
        let (doubt, low) = (lived.doubt, lived.low);
        for (key, value) in [
            ("lived", Some(lived.age)),
            ("looked", Some(lived.latest)),
            ("epoch", lived.epoch),
            ("doubt_lived", doubt.map(|doubt| doubt.lived)),
            ("doubt_looked", doubt.map(|doubt| doubt.latest)),
            ("doubt_since", doubt.map(|doubt| doubt.since)),
            ("doubt_shown", doubt.map(|doubt| doubt.shown)),
            ("low_lived", low.map(|low| low.lived)),
            ("low_looked", low.map(|low| low.last)),
        ] {
            match value {
                Some(value) => self.write(
                    "meta.lived",
                    "INSERT OR REPLACE INTO meta VALUES(?1, CAST(CAST(?2 AS TEXT) AS BLOB))",
                    (key, value),
                )?,
                None => self.write("meta.believed", "DELETE FROM meta WHERE key = ?1", [key])?,
            };
        }
        Ok(())
    }
}

pub(super) fn lived(connection: &Connection) -> Result<Option<Lived>, StoreError> {
    let mut statement = connection.prepare_cached(READ)?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let of = |wanted: &str| {
        rows.iter()
            .find(|(key, _)| key == wanted)
            .map(|(_, value)| *value)
    };
    let doubt = || {
        Some(Doubt {
            lived: of("doubt_lived")?,
            latest: of("doubt_looked")?,
            since: of("doubt_since")?,
            // A version before did not keep it: the latest of all is no earlier.
            shown: of("doubt_shown").or_else(|| of("looked"))?,
        })
    };
    let low = || {
        Some(Low {
            lived: of("low_lived")?,
            last: of("low_looked")?,
        })
    };
    let lived = || {
        Some(Lived {
            age: of("lived")?,
            latest: of("looked")?,
            low: low(),
            doubt: doubt(),
            epoch: of("epoch"),
        })
    };
    Ok(lived())
}
