//! The age of the profile, as `meta` keeps it: numbers as text.

use rusqlite::Connection;

use super::{Store, StoreError};
use crate::engine::{Doubt, Lived};

const READ: &str = "SELECT key, CAST(CAST(value AS TEXT) AS INTEGER) FROM meta
    WHERE key IN ('lived', 'looked', 'epoch', 'doubt_lived', 'doubt_looked', 'doubt_since')";

impl Store {
    /// The age of the profile; `None`: nobody has looked after it.
    pub(crate) fn lived(&self) -> Result<Option<Lived>, StoreError> {
        lived(&self.connection)
    }

    pub(crate) fn put_lived(&self, lived: &Lived) -> Result<(), StoreError> {
        let doubt = lived.doubt;
        for (key, value) in [
            ("lived", Some(lived.age)),
            ("looked", Some(lived.latest)),
            ("epoch", lived.epoch),
            ("doubt_lived", doubt.map(|doubt| doubt.lived)),
            ("doubt_looked", doubt.map(|doubt| doubt.latest)),
            ("doubt_since", doubt.map(|doubt| doubt.since)),
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
        })
    };
    let lived = || {
        Some(Lived {
            age: of("lived")?,
            latest: of("looked")?,
            doubt: doubt(),
            epoch: of("epoch"),
        })
    };
    Ok(lived())
}
