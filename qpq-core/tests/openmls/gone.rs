//! What must be gone is looked for by its bytes, in every row of every table.
//!
//! The rows are what SQLCipher deciphers. The file itself holds nothing to look for: it is ciphertext
//! (`store::tests::the_files_hold_no_plaintext`). What a deleted row leaves in a page of it is zeros, by
//! `secure_delete`, and what it leaves in the log goes with the checkpoint (`Store::truncate_log`).

use std::collections::BTreeSet;

use qpq_core::consensus::{danger::Disk, mls::Mls as _};
use rusqlite::types::Value;

use crate::openmls_world::*;

/// A secret is at least so long.
const SECRET: usize = 16;

/// All secrets of the live state: of the epoch, of its messages, and private keys.
fn live_secrets(disk: &Disk) -> BTreeSet<Vec<u8>> {
    let mut secrets = BTreeSet::new();
    for (table, rows) in &disk.0 {
        for row in rows {
            let kind = row.get(2).and_then(text).unwrap_or_default();
            let is_secret = table == "openmls_epoch_keys_pairs"
                || table == "openmls_group_data"
                    && ["group_epoch_secrets", "message_secrets"].contains(&kind.as_str());
            if is_secret {
                collect(&json(row.last().unwrap()), &mut secrets);
            }
        }
    }
    secrets
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Null | Value::Integer(_) | Value::Real(_) | Value::Blob(_) => None,
    }
}

fn json(value: &Value) -> serde_json::Value {
    let Value::Blob(bytes) = value else {
        panic!("a row of openmls")
    };
    serde_json::from_slice(bytes).unwrap()
}

/// All strings of bytes in a row, but for those that are public.
fn collect(json: &serde_json::Value, secrets: &mut BTreeSet<Vec<u8>>) {
    match json {
        serde_json::Value::Array(items) => {
            let byte = |item: &serde_json::Value| item.as_u64().and_then(|number| u8::try_from(number).ok());
            match items.iter().map(byte).collect::<Option<Vec<u8>>>() {
                Some(bytes) if bytes.len() >= SECRET => {
                    secrets.insert(bytes);
                }
                _ => items.iter().for_each(|item| collect(item, secrets)),
            }
        }
        serde_json::Value::Object(fields) => {
            let is_public = |name: &str| name.contains("public") || name.contains("context");
            let secret = fields.iter().filter(|(name, _)| !is_public(name));
            secret.for_each(|(_, value)| collect(value, secrets));
        }
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

/// How many of them are somewhere in a database, as bytes or as openmls writes them.
fn found(disk: &Disk, secrets: &BTreeSet<Vec<u8>>) -> usize {
    let blobs: Vec<&Vec<u8>> = disk
        .0
        .iter()
        .flat_map(|(_, rows)| rows.iter().flatten())
        .filter_map(|value| match value {
            Value::Blob(bytes) => Some(bytes),
            Value::Null | Value::Integer(_) | Value::Real(_) | Value::Text(_) => None,
        })
        .collect();
    let is_in = |secret: &Vec<u8>| {
        let written = serde_json::to_vec(secret).unwrap();
        let has = |blob: &[u8], what: &[u8]| blob.windows(what.len()).any(|part| part == what);
        let inner = &written[1..written.len() - 1];
        blobs.iter().any(|blob| has(blob, secret) || has(blob, inner))
    };
    secrets.iter().filter(|secret| is_in(secret)).count()
}

#[test]
fn of_an_epoch_that_was_left_and_forgotten_no_secret_is_in_the_database() {
    let mut world = World::new(31);
    let mut members = world.group(4);
    let (anna, ben) = (0, 1);
    let base = epoch_id(&members[anna]);
    // Some keys of the epoch are derived, and some of them skipped.
    let sealed: Vec<_> = (0..5).map(|_| members[ben].seal(b"", b"x").unwrap()).collect();
    members[anna].open(&base, &sealed[4]).unwrap().unwrap();
    members[anna].seal(b"", b"x").unwrap();
    members[anna].commit().unwrap();
    let secrets = live_secrets(&members[anna].disk().unwrap());
    // Five of the epoch, three of its messages, the tree of their keys, and our leaf with its path.
    assert!(secrets.len() > 15, "{} secrets", secrets.len());
    assert_eq!(found(&members[anna].disk().unwrap(), &secrets), secrets.len());
    let own = members[anna].stage(&update(), b"").unwrap().unwrap();
    members[anna].snapshot().unwrap();
    members[anna].merge_pending().unwrap();
    members[ben].apply(&own.commit).unwrap();
    // What a message of each side leaves behind in the epoch that follows is not of the one before.
    members[anna].seal(b"", b"x").unwrap();
    members[anna].commit().unwrap();
    let kept = found(&members[anna].disk().unwrap(), &secrets);
    assert_eq!(
        kept,
        secrets.len() - 1,
        "the copy has all but what encrypted the Commit"
    );
    members[anna].forget(&base).unwrap();
    members[anna].commit().unwrap();
    assert_eq!(found(&members[anna].disk().unwrap(), &secrets), 0);
}

/// The pending Commit of an epoch holds the secrets of the next one.
#[test]
fn of_an_own_commit_that_lost_no_secret_is_in_the_database() {
    let mut world = World::new(32);
    let mut members = world.group(3);
    let base = epoch_id(&members[0]);
    members[0].stage(&update(), b"").unwrap().unwrap();
    members[0].snapshot().unwrap();
    members[0].merge_pending().unwrap();
    let (lost, id) = (live_secrets(&members[0].disk().unwrap()), epoch_id(&members[0]));
    members[0].snapshot().unwrap();
    let winner = enter_own(&mut members[1], &update()).commit;
    members[0].restore(&base).unwrap();
    members[0].snapshot().unwrap();
    members[0].apply(&winner).unwrap();
    assert!(
        found(&members[0].disk().unwrap(), &lost) > 0,
        "both copies have them"
    );
    members[0].forget(&base).unwrap();
    members[0].forget(&id).unwrap();
    assert_eq!(found(&members[0].disk().unwrap(), &lost), 0);
}

#[test]
fn of_a_group_that_removed_us_or_that_we_abandoned_no_secret_is_in_the_database() {
    let mut world = World::new(33);
    let mut members = world.group(3);
    let removal = enter_own(&mut members[0], &remove(2)).commit;
    for at in [1, 2] {
        let secrets = live_secrets(&members[at].disk().unwrap());
        assert!(secrets.len() > 9, "{} secrets", secrets.len());
        match at {
            1 => members[at].abandon().unwrap(),
            _ => members[at].apply(&removal).unwrap(),
        }
        assert!(members[at].epoch().is_none());
        assert_eq!(found(&members[at].disk().unwrap(), &secrets), 0, "member {at}");
    }
}

/// Neither the KeyPackage that was used, nor the state that the Welcome replaced.
#[test]
fn after_joining_again_no_secret_of_the_old_state_is_in_the_database() {
    let mut world = World::new(34);
    let mut members = world.group(4);
    let package = members[2].key_package().unwrap();
    let mut again = add(&[package]);
    again.removes = vec![member_id(1), member_id(2)];
    let old = members[2].disk().unwrap();
    let secrets = live_secrets(&old);
    let welcome = enter_own(&mut members[0], &again).welcome.unwrap();
    assert!(members[2].join(&welcome, &|_| true).unwrap());
    let disk = members[2].disk().unwrap();
    assert_eq!(found(&disk, &secrets), 0);
    let packages = disk
        .0
        .iter()
        .find(|(name, _)| name == "openmls_key_packages")
        .unwrap();
    assert!(packages.1.is_empty());
}
