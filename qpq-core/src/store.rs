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
mod outbox;
mod replace;

use std::{cell::RefCell, path::Path};

use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Params, Row, TransactionBehavior, config::DbConfig,
};

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
pub(crate) use mls::Provider;
pub(crate) use offers::Offer;
pub(crate) use outbox::Queued;

/// What each version of the schema adds to the one before, from version 1 on.
const SCHEMA: [&str; 2] = [
    include_str!("store/schema/1.sql"),
    include_str!("store/schema/2.sql"),
];
/// The schema this build writes.
const SCHEMA_VERSION: i64 = 2;
/// How long a statement waits for the other connection.
const BUSY_MS: u64 = 5_000;
/// Statements that stay prepared: more than there are. To parse one costs more than to run it.
const PREPARED: usize = 256;
/// The least that a database has: one page of SQLCipher's.
const PAGE: u64 = 4_096;

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
        self.run("RELEASE step")
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

fn open_checked(path: &Path, key: &Secret<32>, flags: OpenFlags) -> Result<Connection, StoreError> {
    match path.metadata() {
        // SQLite would take what is too short for a new database, and fill it.
        Ok(file) if file.len() < PAGE => return Err(StoreError::Unreadable),
        Ok(_) => {}
        Err(_) => return Err(StoreError::Missing),
    }
    let connection = connect(path, key, flags)?;
    check_version(&connection)?;
    Ok(connection)
}

/// Opens a database as a file that nobody changes: nothing is written beside it either. For disks that are full or
/// can only be read, where a log would lack.
fn open_still(path: &Path, key: &Secret<32>) -> Result<Connection, StoreError> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match plain(byte) {
            true => uri.push(char::from(*byte)),
            false => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    unlock(&connection, key)?;
    check_version(&connection)?;
    Ok(connection)
}

fn check_version(connection: &Connection) -> Result<(), StoreError> {
    match version(connection)? {
        SCHEMA_VERSION => Ok(()),
        newer if newer > SCHEMA_VERSION => Err(StoreError::Newer(newer)),
        older @ 1.. => Err(StoreError::Older(older)),
        _ => Err(StoreError::Unreadable),
    }
}

/// Whether a log was left beside the database, as by a process that was killed.
fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    Path::new(&log).metadata().is_ok_and(|log| log.len() > 0)
}

/// A log is taken into the database as it is, without a look: one of another database would destroy this one. So all
/// that is there with it is read before.
fn check(connection: &Connection) -> Result<(), StoreError> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        Ok(())
    } else {
        Err(StoreError::Unreadable)
    }
}

fn version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Takes the steps that the schema lacks, in one transaction.
fn migrate(connection: &mut Connection, steps: &[&str]) -> Result<(), StoreError> {
    // Cannot be changed inside of a transaction.
    connection.pragma_update(None, "foreign_keys", false)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Asked again: another process may have done it while this one waited for the lock.
    let done = usize::try_from(version(&transaction)?).unwrap_or(steps.len());
    let _at = At::point("schema.step");
    for step in steps.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    failpoint::hit("schema.version");
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    failpoint::hit("schema.commit");
    transaction.commit()?;
    failpoint::hit("schema.done");
    Ok(connection.pragma_update(None, "foreign_keys", true)?)
}

fn connect(path: &Path, key: &Secret<32>, flags: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    failpoint::watch(&connection);
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    // Whoever refuses a database, or only reads it, leaves it and its log as they are.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, has_log(path))?;
    unlock(&connection, key)?;
    connection.execute_batch(
        "PRAGMA cache_size = -8000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON",
    )?;
    Ok(connection)
}

/// Gives the key, and sees whether it is the right one.
fn unlock(connection: &Connection, key: &Secret<32>) -> Result<(), StoreError> {
    let hex = zeroize::Zeroizing::new(data_encoding::HEXUPPER.encode(key.expose()));
    let pragma = zeroize::Zeroizing::new(format!("PRAGMA key = \"x'{}'\"", hex.as_str()));
    connection.execute_batch(&pragma)?;
    // SQLCipher would print what it finds; that is told once, by whoever opens. It begins to with the first key.
    connection.execute_batch("PRAGMA cipher_log_level = NONE")?;
    // The first read tells whether key and file belong together.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
        row.get::<_, i64>(0)
    })?;
    Ok(())
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
