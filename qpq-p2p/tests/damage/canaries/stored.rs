//! What a database holds that must not be in a log.

use std::{collections::BTreeSet, path::Path};

use rusqlite::Connection;

use super::{Canary, canary};

pub(super) fn database(folder: &Path, key: &[u8; 32]) -> Connection {
    let connection = Connection::open(folder.join("qpq.db")).unwrap();
    let hex: String = key.iter().map(|byte| format!("{byte:02X}")).collect();
    connection
        .execute_batch(&format!("PRAGMA key = \"x'{hex}'\""))
        .unwrap();
    connection
}

/// Keys and ids from the database, the state of MLS with them.
pub(super) fn stored(folder: &Path, whose: &str, key: &[u8; 32]) -> Vec<Canary> {
    let connection = database(folder, key);
    let sql = "SELECT 'LAN key', value FROM meta WHERE key = 'lan_key'
               UNION ALL SELECT 'secret of a link', secret FROM link
               UNION ALL SELECT 'group id', group_id FROM grp
               UNION ALL SELECT 'epoch id', epoch_id FROM grp
               UNION ALL SELECT 'stream', stream FROM grp WHERE length(stream) > 7";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
    });
    let rows = rows.unwrap().map(Result::unwrap);
    let mut found: Vec<_> = rows
        .map(|(what, bytes)| canary(format!("{what} of {whose}"), &bytes, false))
        .collect();
    found.extend(
        MLS.iter()
            .flat_map(|(what, sql)| of_mls(&connection, what, sql, whose)),
    );
    found
}

/// Where openmls keeps what nobody else may know.
const MLS: [(&str, &str); 3] = [
    (
        "ratchet secret",
        "SELECT group_data FROM openmls_group_data WHERE data_type = 'message_secrets'",
    ),
    (
        "epoch secret",
        "SELECT group_data FROM openmls_group_data WHERE data_type = 'group_epoch_secrets'",
    ),
    ("HPKE key", "SELECT key_pairs FROM openmls_epoch_keys_pairs"),
];

/// Of a KeyPackage that waits for its answer, its private keys with it.
pub(super) const WAITING: (&str, &str) = ("KeyPackage key", "SELECT key_package FROM openmls_key_packages");

pub(super) fn of_mls(connection: &Connection, what: &str, sql: &str, whose: &str) -> Vec<Canary> {
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let mut secrets = BTreeSet::new();
    for row in rows {
        secrets_in(&serde_json::from_slice(&row.unwrap()).unwrap(), &mut secrets);
    }
    let secrets = secrets.into_iter();
    secrets
        .map(|bytes| canary(format!("{what} of {whose}"), &bytes, false))
        .collect()
}

/// All keys in what openmls wrote: lists of 16 or 32 bytes.
fn secrets_in(value: &serde_json::Value, found: &mut BTreeSet<Vec<u8>>) {
    match value {
        serde_json::Value::Array(items) => {
            let byte = |item: &serde_json::Value| u8::try_from(item.as_u64()?).ok();
            let bytes: Option<Vec<u8>> = items.iter().map(byte).collect();
            match bytes {
                Some(bytes) if [16, 32].contains(&bytes.len()) => _ = found.insert(bytes),
                _ => items.iter().for_each(|item| secrets_in(item, found)),
            }
        }
        serde_json::Value::Object(fields) => fields.values().for_each(|field| secrets_in(field, found)),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}
