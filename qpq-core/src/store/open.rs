//! Opening the file: the key, the schema's version and the steps to it, and what is done with a log that was left.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};

use super::StoreError;
use crate::{
    failpoint::{self, At},
    secret::Secret,
};

/// What each version of the schema adds to the one before, from version 1 on.
pub(super) const SCHEMA: [&str; 3] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
];
/// The schema this build writes.
pub(super) const SCHEMA_VERSION: i64 = 3;
/// How long a statement waits for the other connection.
const BUSY_MS: u64 = 5_000;
/// Statements that stay prepared: more than there are. To parse one costs more than to run it.
const PREPARED: usize = 256;
/// The least that a database has: one page of SQLCipher's.
const PAGE: u64 = 4_096;

pub(super) fn open_checked(
    path: &Path,
    key: &Secret<32>,
    flags: OpenFlags,
) -> Result<Connection, StoreError> {
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
pub(super) fn open_still(path: &Path, key: &Secret<32>) -> Result<Connection, StoreError> {
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
pub(super) fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    Path::new(&log).metadata().is_ok_and(|log| log.len() > 0)
}

/// A log is taken into the database as it is, without a look: one of another database would destroy this one. So all
/// that is there with it is read before.
pub(super) fn check(connection: &Connection) -> Result<(), StoreError> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        Ok(())
    } else {
        Err(StoreError::Unreadable)
    }
}

pub(super) fn version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Takes the steps that the schema lacks, in one transaction.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str]) -> Result<(), StoreError> {
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

pub(super) fn connect(path: &Path, key: &Secret<32>, flags: OpenFlags) -> Result<Connection, StoreError> {
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
