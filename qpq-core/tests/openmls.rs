//! What the rule asks of MLS, held against openmls: states can be left, put back and thrown away.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests fail by panicking"
)]

#[path = "openmls/gone.rs"]
mod gone;
#[path = "support/openmls_world.rs"]
mod openmls_world;
#[path = "openmls/refused.rs"]
mod refused;

use openmls_world::*;
use qpq_core::consensus::{
    danger::{Disk, Member},
    mls::{Change, Mls as _, Opened},
};
use rusqlite::types::Value;

/// All members of one epoch, and nobody else, have this.
fn authenticators(members: &[Member]) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = members
        .iter()
        .map(|member| member.epoch_authenticator().unwrap())
        .collect();
    all.dedup();
    all
}

fn text(opened: Option<Opened>) -> Option<Vec<u8>> {
    opened.map(|opened| opened.plaintext)
}

#[test]
fn all_members_read_the_same_epoch() {
    let mut world = World::new(1);
    let members = world.group(5);
    for member in &members {
        assert_eq!(epoch(member), epoch(&members[0]));
    }
    assert_eq!(authenticators(&members).len(), 1);
    let roster: Vec<_> = epoch(&members[0]).members().collect();
    assert_eq!(
        roster,
        (0..5).map(member_id).collect::<Vec<_>>(),
        "in the order of their leaves"
    );
}

#[test]
fn an_own_commit_is_entered_again_from_its_copy() {
    let mut world = World::new(2);
    let mut members = world.group(3);
    let [anna, ben, _] = &mut members[..] else {
        panic!()
    };
    let base = epoch_id(anna);
    let own = anna.stage(&update(), b"aad").unwrap().unwrap();
    anna.snapshot().unwrap();
    anna.merge_pending().unwrap();
    let (first, shared) = (epoch(anna).clone(), anna.epoch_authenticator());
    // A rival wins for a while.
    let rival = enter_own(ben, &update());
    anna.restore(&base).unwrap();
    anna.snapshot().unwrap();
    anna.apply(&rival.commit).unwrap();
    assert_eq!(epoch(anna), epoch(ben));
    anna.restore(&base).unwrap();
    anna.merge_pending().unwrap();
    assert_eq!(*epoch(anna), first);
    assert_eq!(anna.epoch_authenticator(), shared);
    assert!(anna.judge(&first.id, &own.commit).unwrap().proposed().is_none());
}

#[test]
fn whoever_entered_a_losing_commit_goes_back_and_enters_the_winner() {
    let mut world = World::new(3);
    let mut members = world.group(3);
    let base = epoch_id(&members[0]);
    for member in &mut members {
        member.snapshot().unwrap();
    }
    let loser = enter_own(&mut members[0], &update());
    let winner = enter_own(&mut members[1], &update());
    members[2].apply(&loser.commit).unwrap();
    for at in [0, 2] {
        members[at].restore(&base).unwrap();
        assert!(
            members[at]
                .judge(&base, &winner.commit)
                .unwrap()
                .proposed()
                .is_some()
        );
        members[at].apply(&winner.commit).unwrap();
    }
    assert_eq!(authenticators(&members).len(), 1);
    let sealed = members[2].seal(b"h", b"hello").unwrap();
    let now = epoch_id(&members[2]);
    assert_eq!(text(members[0].open(&now, &sealed).unwrap()).unwrap(), b"hello");
}

#[test]
fn a_late_message_is_opened_from_the_copy_of_its_epoch_and_the_live_ratchet_stays() {
    let mut world = World::new(4);
    let mut members = world.group(2);
    let [anna, ben] = &mut members[..] else { panic!() };
    let before = epoch_id(anna);
    let late = anna.seal(b"1", b"late").unwrap();
    ben.snapshot().unwrap();
    let commit = enter_own(anna, &update()).commit;
    ben.apply(&commit).unwrap();
    let (now, next) = (epoch_id(ben), anna.seal(b"2", b"next").unwrap());
    ben.commit().unwrap();
    let disk = ben.disk().unwrap();
    let opened = ben.open(&before, &late).unwrap().unwrap();
    assert_eq!(
        (opened.sender, &opened.aad[..], &opened.plaintext[..]),
        (member_id(0), &b"1"[..], &b"late"[..])
    );
    assert!(ben.open(&before, &next).unwrap().is_none());
    assert!(ben.disk().unwrap() == disk);
    assert_eq!(text(ben.open(&now, &next).unwrap()).unwrap(), b"next");
    assert!(ben.open(&now, &next).unwrap().is_none(), "its key is used up");
    assert!(ben.disk().unwrap() != disk);
    assert!(
        ben.open(&member_epoch(), &late).is_err(),
        "there is no state of that epoch"
    );
}

/// An epoch of nobody's.
fn member_epoch() -> qpq_core::id::EpochId {
    qpq_core::id::EpochId([9; 16])
}

#[test]
fn to_judge_changes_neither_the_live_state_nor_the_copy() {
    let mut world = World::new(5);
    let mut members = world.group(3);
    let [anna, ben, carla] = &mut members[..] else {
        panic!()
    };
    let base = epoch_id(carla);
    // Carla has a pending Commit of her own, and something that waits for the commit of her transaction.
    carla.stage(&update(), b"").unwrap().unwrap();
    carla.commit().unwrap();
    let sealed = anna.seal(b"", b"hello").unwrap();
    assert!(carla.open(&base, &sealed).unwrap().is_some());
    let (first, second) = (enter_own(anna, &update()), enter_own(ben, &remove(0)));
    carla.commit().unwrap();
    let disk = carla.disk().unwrap();
    for _ in 0..2 {
        let proposed = carla.judge(&base, &first.commit).unwrap().proposed().unwrap();
        assert_eq!((proposed.author, &proposed.aad[..]), (member_id(0), &b"aad"[..]));
        let proposed = carla.judge(&base, &second.commit).unwrap().proposed().unwrap();
        assert_eq!(
            (proposed.author, proposed.removes),
            (member_id(1), vec![member_id(0)])
        );
    }
    assert!(carla.disk().unwrap() == disk);
    carla.snapshot().unwrap();
    carla.merge_pending().unwrap();
    let disk = carla.disk().unwrap();
    assert!(carla.judge(&base, &first.commit).unwrap().proposed().is_some());
    assert!(carla.judge(&base, &second.commit).unwrap().proposed().is_some());
    assert!(carla.disk().unwrap() == disk);
    // The pending Commit is still there, and so is the other's key: it was used on scratch alone.
    carla.restore(&base).unwrap();
    carla.merge_pending().unwrap();
}

#[test]
fn a_removed_member_has_no_state_and_goes_back_by_its_copy() {
    let mut world = World::new(8);
    let mut members = world.group(3);
    let [anna, ben, carla] = &mut members[..] else {
        panic!()
    };
    let base = epoch_id(carla);
    carla.snapshot().unwrap();
    let removal = enter_own(anna, &remove(2)).commit;
    let proposed = carla.judge(&base, &removal).unwrap().proposed().unwrap();
    assert_eq!(
        (proposed.author, proposed.removes),
        (member_id(0), vec![member_id(2)])
    );
    carla.apply(&removal).unwrap();
    assert!(carla.epoch().is_none() && carla.seal(b"", b"x").is_err() && carla.snapshot().is_err());
    let live =
        |disk: &Disk| rows(disk, "openmls_group_data").len() + rows(disk, "openmls_epoch_keys_pairs").len();
    assert_eq!(live(&carla.disk().unwrap()), 0);
    carla.restore(&base).unwrap();
    let rival = enter_own(ben, &update()).commit;
    carla.apply(&rival).unwrap();
    assert_eq!(epoch(carla), epoch(ben));
}

#[test]
fn a_member_that_lost_its_disk_is_added_again_in_one_commit() {
    let mut world = World::new(9);
    let mut members = world.group(3);
    let old_key = epoch(&members[0]).leaf(&member_id(2)).unwrap().key;
    members[2] = world.lose_disk(2);
    let [anna, ben, carla] = &mut members[..] else {
        panic!()
    };
    let base = epoch_id(ben);
    let package = carla.key_package().unwrap();
    let named = anna.read_key_package(&package).unwrap();
    let again = Change {
        adds: vec![package],
        ..remove(2)
    };
    let staged = enter_own(anna, &again);
    let proposed = ben.judge(&base, &staged.commit).unwrap().proposed().unwrap();
    assert_eq!(
        (proposed.adds, proposed.removes),
        (vec![named], vec![member_id(2)])
    );
    ben.apply(&staged.commit).unwrap();
    assert!(carla.join(&staged.welcome.unwrap(), &|_| true).unwrap());
    assert_eq!(authenticators(&members).len(), 1);
    assert_ne!(epoch(&members[0]).leaf(&member_id(2)).unwrap().key, old_key);
}

/// With its old state there: the Welcome replaces it, rows of another leaf or epoch included.
#[test]
fn a_member_with_a_state_joins_again_and_nothing_of_the_old_one_stays() {
    let mut world = World::new(10);
    let mut members = world.group(4);
    let again = {
        let package = members[3].key_package().unwrap();
        Change {
            adds: vec![package],
            removes: vec![member_id(1), member_id(3)],
            data: None,
        }
    };
    // Somebody at another leaf leaves in the same Commit, so that the one who comes back gets that leaf.
    let staged = enter_own(&mut members[0], &again);
    assert!(members[3].join(&staged.welcome.unwrap(), &|_| true).unwrap());
    assert_eq!(epoch(&members[3]), epoch(&members[0]));
    let keys = rows(&members[3].disk().unwrap(), "openmls_epoch_keys_pairs").len();
    assert_eq!(keys, 1, "the keys of one epoch and one leaf");
}

#[test]
fn the_groups_data_is_the_same_whoever_made_the_commit() {
    let mut world = World::new(11);
    let mut members = world.group(3);
    let base = epoch_id(&members[1]);
    let change = Change {
        data: Some(data("boat", 2)),
        ..Change::default()
    };
    let commit = enter_own(&mut members[0], &change).commit;
    let proposed = members[1].judge(&base, &commit).unwrap().proposed().unwrap();
    assert_eq!(proposed.data, Some(data("boat", 2)));
    members[1].apply(&commit).unwrap();
    members[2].apply(&commit).unwrap();
    for member in &members {
        assert_eq!(epoch(member).data, data("boat", 2));
    }
    assert_eq!(authenticators(&members).len(), 1);
}

#[test]
fn the_later_of_two_staged_commits_is_the_pending_one() {
    let mut world = World::new(13);
    let mut members = world.group(2);
    let [anna, ben] = &mut members[..] else { panic!() };
    let base = epoch_id(ben);
    let first = anna.stage(&update(), b"1").unwrap().unwrap();
    let second = anna.stage(&update(), b"2").unwrap().unwrap();
    anna.merge_pending().unwrap();
    assert!(ben.judge(&base, &first.commit).unwrap().proposed().is_some());
    ben.apply(&second.commit).unwrap();
    assert_eq!(epoch(anna), epoch(ben));
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = |seed: u64| {
        let mut world = World::new(seed);
        let mut members = world.group(8);
        let mut bytes = Vec::new();
        let mut newcomer = world.member(8);
        let adds = add(&[newcomer.key_package().unwrap()]);
        for change in [update(), remove(3), adds] {
            let staged = enter_own(&mut members[1], &change);
            bytes.push(staged.commit);
            bytes.extend(staged.welcome);
            bytes.push(members[1].seal(b"h", b"hello").unwrap());
        }
        (bytes, epoch(&members[1]).clone(), world.oracle.keys())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn an_older_copy_of_the_disk_uses_keys_twice_and_the_oracle_sees_it() {
    let mut world = World::new(17);
    let mut members = world.group(3);
    members[0].commit().unwrap();
    let older = members[0].disk().unwrap();
    members[0].seal(b"", b"one").unwrap();
    members[0].stage(&update(), b"").unwrap().unwrap();
    assert_eq!(world.oracle.keys_used_twice(), 0);
    let mut again = world.put_back(0, &older);
    again.seal(b"", b"two").unwrap();
    assert_eq!(world.oracle.keys_used_twice(), 1);
    again.stage(&update(), b"").unwrap().unwrap();
    assert_eq!(world.oracle.keys_used_twice(), 2);
    assert_eq!(
        world.oracle.nonces_used_twice(),
        0,
        "the reuse guard made them differ"
    );
}

/// The rows of one table.
fn rows(disk: &Disk, table: &str) -> Vec<Vec<Value>> {
    let (_, rows) = disk.0.iter().find(|(name, _)| name == table).unwrap();
    rows.clone()
}
