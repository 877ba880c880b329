//! The one database of a profile: `qpq.db`, SQLite in SQLCipher, holding the history, the outbox and the MLS
//! state, so that one transaction covers whatever belongs together.
//!
//! `Store` is the engine's: it writes, in explicit transactions with a savepoint per step. [`read::Reader`]
//! is a second connection for screens. Every SQL write of the engine goes through `Store::write`, which names
//! the point, so that tests can crash the process at each of them.

pub mod read;

mod age;
mod contacts;
mod groups;
mod joins;
mod links;
mod messages;
mod mls;
mod offers;
mod open;
mod outbox;
mod replace;
mod rows;

use std::{cell::RefCell, path::Path};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Params, Row, config::DbConfig};

use crate::{
    failpoint::{self, At},
    secret::Secret,
};

pub(crate) use age::{Doubt, Lived, Low, PAUSE_MS};
pub(crate) use contacts::{Contact, NewContact};
pub(crate) use groups::GroupRow;
pub(crate) use joins::Request;
pub(crate) use links::{LinkRow, LinkState, NewRequest, PendingLink};
pub(crate) use messages::NewMessage;
pub use messages::Notice;
pub use mls::Primitives;
pub(crate) use mls::{Provider, system_primitives};
pub(crate) use offers::Offer;
use open::{SCHEMA, check, connect, has_log, migrate, open_checked, open_still};
pub(crate) use outbox::Queued;

/// Why the database cannot be used. A damaged or foreign file is named and never touched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no file.
    #[error("the database is missing")]
    Missing,
    /// A file stands where a new one should be made.
    #[error("a database exists already")]
    Exists,
    /// SQLCipher cannot read it with this key.
    #[error("the database is damaged or belongs to another profile")]
    Unreadable,
    /// A newer build wrote it.
    #[error("the database was written by a newer version (schema {0})")]
    Newer(i64),
    /// An older build wrote it, and may still be at work there: only [`upgrade`] and an engine bring it up to date.
    #[error("the database was written by an older version (schema {0}) and was not brought up to date")]
    Older(i64),
    /// SQLite failed: disk full, permissions, IO.
    #[error("the database failed")]
    Sqlite(#[source] rusqlite::Error),
    /// The tables of openmls could not be made.
    #[error("the MLS tables could not be made")]
    Migration(#[from] refinery_core::Error),
    /// A row has a value that this build never writes.
    #[error("the database holds an impossible value: {0}")]
    Corrupt(&'static str),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match error.sqlite_error_code() {
            Some(NotADatabase | DatabaseCorrupt) => Self::Unreadable,
            _ => Self::Sqlite(error),
        }
    }
}

impl StoreError {
    /// Whether the file is not, or not any more, what it should be.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Unreadable | Self::Missing | Self::Corrupt(_))
    }
}

/// The engine's connection.
pub(crate) struct Store {
    connection: Connection,
    crypto: mls::Crypto,
    /// Of openmls, until the commit.
    waiting: RefCell<mls::Waiting>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// Makes the database of a new profile.
///
/// # Errors
/// [`StoreError::Exists`], or what SQLite says.
pub fn create(path: &Path, key: &Secret<32>, own_name: &str, lan_key: &Secret<32>) -> Result<(), StoreError> {
    // An empty file is how the caller chooses the mode: SQLite gives its log the same.
    if path.metadata().is_ok_and(|file| file.len() > 0) {
        return Err(StoreError::Exists);
    }
    let mut connection = connect(
        path,
        key,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    )?;
    mls::migrate(&mut connection)?;
    migrate(&mut connection, &SCHEMA)?;
    let transaction = connection.transaction()?;
    let _at = At::point("create.meta");
    transaction.execute("INSERT INTO meta VALUES('name', ?1)", [own_name.as_bytes()])?;
    transaction.execute("INSERT INTO meta VALUES('lan_key', ?1)", [lan_key.expose()])?;
    failpoint::hit("create.commit");
    transaction.commit()?;
    failpoint::hit("create.checkpoint");
    // A database file alone, without a log beside it: a new profile is moved into place as whole files.
    connection.pragma_update(None, "wal_checkpoint", "TRUNCATE")?;
    connection.close().map_err(|(_, error)| StoreError::Sqlite(error))
}

/// Brings the database of an older build up to date, in one transaction: a crash leaves the old one. For whoever owns
/// the profile; nothing happens to one that is up to date.
///
/// # Errors
/// [`StoreError`]; the file is unchanged.
pub fn upgrade(path: &Path, key: &Secret<32>) -> Result<(), StoreError> {
    Store::open(path, key).map(drop)
}

impl Store {
    /// Opens the database for writing, and brings it up to date.
    ///
    /// # Errors
    /// [`StoreError`]; the file is unchanged.
    pub(crate) fn open(path: &Path, key: &Secret<32>) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let was_killed = has_log(path);
        let connection = match open_checked(path, key, flags) {
            Err(StoreError::Older(_)) => {
                let mut older = connect(path, key, flags)?;
                if was_killed {
                    check(&older)?;
                }
                migrate(&mut older, &SCHEMA)?;
                drop(older);
                open_checked(path, key, flags)?
            }
            opened => opened?,
        };
        if was_killed {
            check(&connection)?;
        }
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        Ok(Self {
            connection,
            crypto: mls::Crypto::default(),
            waiting: RefCell::default(),
        })
    }

    /// A new database that is on no disk, for tests. It alone may have a cryptography that is not the system's: what
    /// is seeded is no secret, and nothing of it may stay.
    pub(crate) fn dangerous_in_memory(crypto: Box<dyn Primitives>) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection = connect(Path::new(":memory:"), &Secret::new([0; 32]), flags)?;
        mls::migrate(&mut connection)?;
        migrate(&mut connection, &SCHEMA)?;
        Ok(Self {
            connection,
            crypto: mls::Crypto::dangerous(crypto),
            waiting: RefCell::default(),
        })
    }

    /// Begins the batch's transaction where none is open.
    pub(crate) fn begin(&self) -> Result<(), StoreError> {
        if self.connection.is_autocommit() {
            self.run("BEGIN IMMEDIATE")?;
        }
        Ok(())
    }

    /// Opens the savepoint of one step.
    pub(crate) fn savepoint(&self) -> Result<(), StoreError> {
        self.waiting.borrow_mut().savepoint();
        self.run("SAVEPOINT step")
    }

    /// Keeps the step.
    pub(crate) fn release(&self) -> Result<(), StoreError> {
        failpoint::hit("step.release");
        self.run("RELEASE step")?;
        self.waiting.borrow_mut().release();
        Ok(())
    }

    /// Takes the step back.
    pub(crate) fn undo(&self) -> Result<(), StoreError> {
        failpoint::hit("step.undo");
        self.waiting.borrow_mut().undo();
        self.run("ROLLBACK TO step")?;
        self.run("RELEASE step")
    }

    /// Makes the batch durable; without one there is nothing to do.
    pub(crate) fn commit(&self) -> Result<(), StoreError> {
        if !self.connection.is_autocommit() {
            self.write_back()?;
            failpoint::hit("commit.before");
            self.run("COMMIT")?;
            failpoint::hit("commit.after");
        }
        Ok(())
    }

    /// Takes the whole batch back.
    pub(crate) fn roll_back(&self) -> Result<(), StoreError> {
        self.waiting.borrow_mut().take();
        match self.connection.is_autocommit() {
            true => Ok(()),
            false => self.run("ROLLBACK"),
        }
    }

    /// Takes what was deleted out of the write-ahead log as well, as far as nobody reads there now.
    pub(crate) fn truncate_log(&self) -> Result<(), StoreError> {
        failpoint::hit("log.truncate");
        let done = |row: &Row<'_>| row.get::<_, i64>(0);
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], done)?;
        Ok(())
    }

    /// Whether SQLite itself ended the transaction (a full disk may do that): nothing of the batch is stored.
    pub(crate) fn lost_transaction(&self) -> bool {
        self.connection.is_autocommit()
    }

    /// The one way to write. `point` names the place for tests that crash there ([`failpoint::POINTS`]).
    fn write(&self, point: &'static str, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        tracing::trace!(point, "write");
        let _at = At::point(point);
        Ok(self.connection.prepare_cached(sql)?.execute(params)?)
    }

    /// A statement about the transaction itself.
    fn run(&self, sql: &'static str) -> Result<(), StoreError> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self
            .connection
            .prepare_cached(sql)?
            .query_row(params, read)
            .optional()?)
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// A row's blob as an id or key of `N` bytes.
fn blob<const N: usize>(row: &Row<'_>, at: usize) -> rusqlite::Result<[u8; N]> {
    row.get(at)
}

/// Numbers of ours are never above `i64::MAX`; those from outside are checked before they get here.
fn to_sql(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Corrupt("number over 2^63"))
}

fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests;
