//! A database of version 1 becomes one of this version: all of it, or nothing.

use super::{open::version, *};
use crate::{
    contact::{Standing, Trust},
    delivery::Delivery,
    id::{GroupId, MemberId, MessageId, PeerId},
};

const BEN: [u8; 32] = [7; 32];

/// What version 1 left of a contact, one delivered and two waiting messages, of which one was encrypted, and one
/// that came.
const ROWS: &str = "
    INSERT INTO meta VALUES('name', CAST('anna' AS BLOB)), ('lan_key', zeroblob(32));
    INSERT INTO contact VALUES(x'BEN', 'ben', 1, zeroblob(32), zeroblob(32), 1, x'c0', zeroblob(64), 5);
    INSERT INTO pending_join VALUES(zeroblob(32), x'aa', x'bb', 99);
    INSERT INTO accepted_join VALUES(x'BEN', zeroblob(32), x'dd');
    INSERT INTO chat VALUES(1, x'BEN', 4);
    INSERT INTO grp VALUES(zeroblob(16), 1, zeroblob(16), 1, x'0101010101010101', 4);
    INSERT INTO member VALUES(zeroblob(16), zeroblob(16), x'BEN');
    INSERT INTO message VALUES(1, 1, x'01000000000000000000000000000000', zeroblob(32), x'0101010101010101', 1, 1, 1, 1, 0, CAST('a' AS BLOB));
    INSERT INTO message VALUES(2, 1, x'02000000000000000000000000000000', zeroblob(32), x'0101010101010101', 2, 2, 2, 1, 0, CAST('b' AS BLOB));
    INSERT INTO message VALUES(3, 1, x'03000000000000000000000000000000', zeroblob(32), x'0101010101010101', 3, 3, 3, 1, 0, CAST('c' AS BLOB));
    INSERT INTO message VALUES(4, 1, x'04000000000000000000000000000000', x'BEN', x'0202020202020202', 1, 4, 4, 0, 0, CAST('d' AS BLOB));
    INSERT INTO outbox VALUES(2, zeroblob(16), 2, x'ee');
    INSERT INTO outbox VALUES(3, zeroblob(16), 3, NULL);
    INSERT INTO outbox_need VALUES(2, zeroblob(16)), (3, zeroblob(16));
    INSERT INTO seen VALUES(zeroblob(16), zeroblob(16), x'0202020202020202', 1, 1);";

/// The file as version 1 made it.
fn version_1() -> (tempfile::TempDir, std::path::PathBuf, Secret<32>) {
    let dir = tempfile::tempdir().unwrap();
    let (path, key) = (dir.path().join("qpq.db"), Secret::new([1; 32]));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = connect(&path, &key, flags).unwrap();
    mls::migrate(&mut connection).unwrap();
    connection.execute_batch(SCHEMA[0]).unwrap();
    let rows = ROWS.replace("BEN", &data_encoding::HEXLOWER.encode(&BEN));
    connection.execute_batch(&rows).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    (dir, path, key)
}

/// All numbers that a statement yields.
fn integers(store: &Store, sql: &str) -> Vec<i64> {
    let read = |row: &Row<'_>| (0..row.as_ref().column_count()).map(|at| row.get(at)).collect();
    let rows: Vec<Vec<i64>> = store.all(sql, [], read).unwrap();
    rows.concat()
}

/// Nothing is lost, nothing refers to what is not there, and each message is as far as it was.
fn check(store: &Store) {
    assert_eq!(version(&store.connection).unwrap(), SCHEMA_VERSION);
    assert_eq!(
        integers(store, "SELECT count(*) FROM pragma_foreign_key_check"),
        [0]
    );
    assert_eq!(integers(store, "PRAGMA foreign_keys"), [1]);
    let states = integers(
        store,
        "SELECT message, state, reason, sealed FROM recipient ORDER BY message",
    );
    assert_eq!(states, [1, 2, 0, 1, 2, 0, 0, 1, 3, 0, 0, 0]);
    assert_eq!(
        integers(store, "SELECT message, queued_at FROM outbox"),
        [2, 0, 3, 0]
    );
    let contact = store.contact(&PeerId(BEN)).unwrap().unwrap();
    assert_eq!((contact.name.as_str(), contact.claimed.as_str()), ("ben", "ben"));
    assert_eq!(
        (contact.trust, contact.standing, contact.blocked),
        (Trust::Code, Standing::Known, false)
    );
    assert_eq!(
        integers(store, "SELECT card_version, card_seen, added_at FROM contact"),
        [1, 1, 5]
    );
    let group = store.direct_group(&PeerId(BEN)).unwrap().unwrap();
    assert_eq!((group.next_seq, group.dead, group.unconfirmed), (4, false, false));
    assert_eq!(
        store.sealed(&group.id).unwrap(),
        2,
        "one waits without a ciphertext"
    );
    assert_eq!(store.first_unsent(&group).unwrap(), 3);
    assert_eq!(
        store.members(&group.id).unwrap(),
        [(MemberId([0; 16]), PeerId(BEN))]
    );
    assert_eq!(store.pending_joins(0).unwrap().len(), 1);
    assert_eq!(store.accepted_join(&PeerId(BEN)).unwrap().unwrap().done, [0xdd]);
    assert_eq!(integers(store, "SELECT id, read_to FROM chat"), [1, 4]);
    assert_eq!(
        integers(store, "SELECT id, late FROM message"),
        [1, 0, 2, 0, 3, 0, 4, 0]
    );
}

#[test]
fn a_database_of_version_1_is_brought_up_to_date_once() {
    let (_dir, path, key) = version_1();
    check(&Store::open(&path, &key).unwrap());
    check(&Store::open(&path, &key).unwrap());
    upgrade(&path, &key).unwrap();
    let store = Store::open(&path, &key).unwrap();
    check(&store);
    // The next messages go on where version 1 stopped.
    assert_eq!(store.take_seq(&GroupId([0; 16])).unwrap(), 4);
    let reader = Reader::open(&path, &key).unwrap();
    let states = [1, 2, 3].map(|n| reader.recipients(&id(n)).unwrap().unwrap()[0].state);
    assert_eq!(states, [Delivery::Delivered, Delivery::Here, Delivery::Here]);
}

fn id(n: u8) -> MessageId {
    let mut id = [0; 16];
    id[0] = n;
    MessageId(id)
}

/// The process dies, or the disk is full, when the last step is almost done.
#[test]
fn an_upgrade_that_does_not_end_leaves_version_1() {
    let (_dir, path, key) = version_1();
    let broken = [SCHEMA[1], "INSERT INTO no_such_table VALUES(1)"].concat();
    let mut connection = connect(&path, &key, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    assert!(migrate(&mut connection, &[SCHEMA[0], &broken]).is_err());
    drop(connection);
    let connection = connect(&path, &key, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    assert_eq!(version(&connection).unwrap(), 1);
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM outbox_need"), 2);
    assert_eq!(
        count("SELECT count(*) FROM sqlite_schema WHERE name = 'recipient'"),
        0
    );
    drop(connection);
    check(&Store::open(&path, &key).unwrap());
}

/// Its owner may still run, and would find another database under its hands.
#[test]
fn a_reader_brings_nothing_up_to_date() {
    let (_dir, path, key) = version_1();
    assert!(matches!(Reader::open(&path, &key), Err(StoreError::Older(1))));
    let connection = connect(&path, &key, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    assert_eq!(version(&connection).unwrap(), 1);
}
