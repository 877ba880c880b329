//! Opening: what is no database of this profile is named and left as it is.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod upgrade;

use super::{
    open::SCHEMA_VERSION,
    read::{Reader, Relation},
    *,
};

fn made() -> (tempfile::TempDir, std::path::PathBuf, Secret<32>) {
    let dir = tempfile::tempdir().unwrap();
    let (path, key) = (dir.path().join("qpq.db"), Secret::new([1; 32]));
    create(&path, &key, "anna", &Secret::new([2; 32])).unwrap();
    (dir, path, key)
}

#[test]
fn a_new_database_is_one_file_that_opens_with_its_key() {
    let (dir, path, key) = made();
    let names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["qpq.db"]);
    assert_eq!(Store::open(&path, &key).unwrap().own_name().unwrap(), "anna");
    assert_eq!(Reader::open(&path, &key).unwrap().own_name().unwrap(), "anna");
}

#[test]
fn an_existing_database_is_not_made_again() {
    let (_dir, path, key) = made();
    let before = std::fs::read(&path).unwrap();
    let again = create(&path, &key, "mallory", &Secret::new([3; 32]));
    assert!(matches!(again, Err(StoreError::Exists)));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_missing_foreign_truncated_or_damaged_file_is_named_and_unchanged() {
    let (dir, path, key) = made();
    let missing = dir.path().join("missing.db");
    assert!(matches!(Store::open(&missing, &key), Err(StoreError::Missing)));
    assert!(!missing.exists());
    let good = std::fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[100] ^= 1;
    let damaged = [
        flipped,
        good[..good.len() / 2].to_vec(),
        good[..100].to_vec(),
        vec![7; 8192],
        Vec::new(),
    ];
    for (at, bytes) in damaged.into_iter().enumerate() {
        std::fs::write(&path, &bytes).unwrap();
        let refused = Store::open(&path, &key).and_then(|store| store.contacts().map(|_| ()));
        assert!(refused.is_err(), "case {at}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "case {at}");
    }
    std::fs::write(&path, &good).unwrap();
    assert!(matches!(
        Store::open(&path, &Secret::new([9; 32])),
        Err(StoreError::Unreadable)
    ));
    assert_eq!(std::fs::read(&path).unwrap(), good);
}

#[test]
fn a_newer_schema_is_refused_untouched() {
    let (_dir, path, key) = made();
    let store = Store::open(&path, &key).unwrap();
    store
        .connection
        .pragma_update(None, "user_version", SCHEMA_VERSION + 1)
        .unwrap();
    drop(store);
    let before = std::fs::read(&path).unwrap();
    let newer = SCHEMA_VERSION + 1;
    assert!(matches!(Store::open(&path, &key), Err(StoreError::Newer(found)) if found == newer));
    assert!(matches!(Reader::open(&path, &key), Err(StoreError::Newer(found)) if found == newer));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// No plaintext, name or key is on the disk: not in the database, not in its log.
#[test]
fn the_files_hold_no_plaintext() {
    let (dir, path, key) = made();
    let store = Store::open(&path, &key).unwrap();
    store.begin().unwrap();
    store
        .write(
            "test",
            "INSERT INTO meta VALUES('canary', ?1)",
            [b"canary-canary-canary".to_vec()],
        )
        .unwrap();
    store.commit().unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!has(b"canary") && !has(b"anna") && !has(b"SQLite format"));
        seen += bytes.len();
    }
    assert!(seen > 4096, "the log with the canary is among the files");
}

#[test]
fn a_reader_cannot_write() {
    let (_dir, path, key) = made();
    let reader = Reader::open(&path, &key).unwrap();
    assert!(reader.execute_for_test("DELETE FROM meta").is_err());
}

#[test]
fn a_reader_tells_what_everybody_is() {
    let (_dir, path, key) = made();
    let store = Store::open(&path, &key).unwrap();
    let person = |n: u8, state: i64, blocked: i64| {
        let columns = "peer, name, claimed, trust, state, blocked, endpoint, lan_key, card_version, card, \
                       card_signature, added_at";
        let sql =
            format!("INSERT INTO contact({columns}) VALUES(?1, ?2, ?2, 0, ?3, ?4, ?1, ?1, 1, x'', x'', 0)");
        let row = ([n; 32], format!("p{n}"), state, blocked);
        store.connection.execute(&sql, row).unwrap();
    };
    for (n, state, blocked) in [(1, 0, 0), (2, 0, 1), (3, 1, 0), (4, 2, 0), (5, 1, 1)] {
        person(n, state, blocked);
    }
    let relations = Reader::open(&path, &key).unwrap().relations().unwrap();
    let expected = [
        (1, Relation::Contact),
        (2, Relation::Blocked),
        (3, Relation::Held),
        (4, Relation::Removed),
        (5, Relation::Blocked),
    ];
    let expected = expected.map(|(n, relation)| (crate::id::PeerId([n; 32]), relation));
    assert_eq!(relations.into_iter().collect::<Vec<_>>(), expected);
}

#[cfg(debug_assertions)]
#[test]
fn a_write_that_nobody_named_is_told_as_one() {
    use std::cell::RefCell;

    use crate::failpoint::{UNNAMED, arm};

    thread_local! {
        static TOLD: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    }
    arm(|point| TOLD.with_borrow_mut(|told| told.push(point)));
    let (_dir, path, key) = made();
    let store = Store::open(&path, &key).unwrap();
    TOLD.take();
    store.write("test.one", "DELETE FROM outbox", []).unwrap();
    store
        .connection
        .execute("UPDATE meta SET value = value", [])
        .unwrap();
    store
        .connection
        .execute("WITH x AS (SELECT 1) DELETE FROM chat", [])
        .unwrap();
    store.own_name().unwrap();
    assert_eq!(TOLD.take(), ["test.one", UNNAMED, UNNAMED]);
}
