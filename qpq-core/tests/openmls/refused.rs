//! What is refused, what fails halfway, and what is taken back: nothing of it is left.

use qpq_core::consensus::mls::{Change, Mls as _};
use rusqlite::types::Value;

use crate::{openmls_world::*, rows};

#[test]
fn a_join_that_is_refused_consumes_nothing() {
    let mut world = World::new(6);
    let mut members = world.group(2);
    let mut carla = world.member(2);
    let package = carla.key_package().unwrap();
    carla.commit().unwrap();
    let welcome = enter_own(&mut members[0], &add(&[package])).welcome.unwrap();
    let disk = carla.disk().unwrap();
    assert!(!carla.join(&welcome, &|_| false).unwrap());
    assert!(!carla.join(&welcome[..welcome.len() - 1], &|_| true).unwrap());
    let mut flipped = welcome.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(!carla.join(&flipped, &|_| true).unwrap());
    assert!(carla.epoch().is_none());
    assert!(carla.disk().unwrap() == disk);
    assert!(carla.join(&welcome, &|epoch| epoch.roster.len() == 3).unwrap());
    assert!(
        !carla.join(&welcome, &|_| true).unwrap(),
        "the KeyPackage is used up"
    );
    assert_eq!(epoch(&carla), epoch(&members[0]));
}

/// A live state is not lost to a Welcome that comes to nothing.
#[test]
fn a_refused_welcome_leaves_the_live_state() {
    let mut world = World::new(7);
    let mut members = world.group(3);
    let [anna, ben, _] = &mut members[..] else {
        panic!()
    };
    let again = Change {
        adds: vec![ben.key_package().unwrap()],
        ..remove(1)
    };
    let welcome = enter_own(anna, &again).welcome.unwrap();
    let (before, disk) = (epoch(ben).clone(), ben.disk().unwrap());
    assert!(!ben.join(&welcome, &|_| false).unwrap());
    assert_eq!(*epoch(ben), before);
    assert!(ben.disk().unwrap() == disk);
    ben.seal(b"", b"still here").unwrap();
}

#[test]
fn a_commit_that_cannot_be_made_changes_nothing() {
    let mut world = World::new(12);
    let mut members = world.group(2);
    let [anna, ben] = &mut members[..] else { panic!() };
    anna.stage(&update(), b"").unwrap().unwrap();
    anna.commit().unwrap();
    let disk = anna.disk().unwrap();
    let too_long = Change {
        data: Some(data(&"n".repeat(65), 2)),
        ..Change::default()
    };
    let there = add(&[ben.key_package().unwrap()]);
    for change in [there, remove(0), remove(7), add(&[b"garbage".to_vec()]), too_long] {
        assert!(anna.stage(&change, b"").unwrap().is_none(), "{change:?}");
    }
    assert!(anna.disk().unwrap() == disk);
    anna.merge_pending().unwrap();
    assert!(anna.merge_pending().is_err(), "nothing is pending");
}

#[test]
fn garbage_and_messages_of_another_kind_are_no_commit_and_no_message() {
    let mut world = World::new(14);
    let mut members = world.group(2);
    let [anna, ben] = &mut members[..] else { panic!() };
    let base = epoch_id(ben);
    let message = anna.seal(b"", b"hello").unwrap();
    let commit = anna.stage(&update(), b"").unwrap().unwrap().commit;
    ben.commit().unwrap();
    let disk = ben.disk().unwrap();
    for bytes in [&b""[..], b"garbage", &message, &commit[..commit.len() - 1]] {
        assert!(ben.judge(&base, bytes).unwrap().proposed().is_none());
    }
    for at in (0..commit.len()).step_by(7) {
        let mut flipped = commit.clone();
        flipped[at] ^= 1;
        assert!(
            ben.judge(&base, &flipped).unwrap().proposed().is_none(),
            "byte {at}"
        );
    }
    assert!(ben.open(&base, &commit).unwrap().is_none());
    assert!(ben.open(&base, b"garbage").unwrap().is_none());
    assert!(anna.open(&base, &message).unwrap().is_none(), "her own");
    assert!(ben.disk().unwrap() == disk);
    assert!(
        ben.judge(&base, &commit).unwrap().proposed().is_some(),
        "nothing of it was used up"
    );
}

/// openmls calls a Commit invalid when it cannot read its own keys: that is no judgement.
#[test]
fn a_damaged_database_is_an_error_and_no_judgement() {
    let mut world = World::new(15);
    let mut members = world.group(2);
    let [anna, ben] = &mut members[..] else { panic!() };
    let base = epoch_id(ben);
    let commit = enter_own(anna, &update()).commit;
    ben.commit().unwrap();
    let mut disk = ben.disk().unwrap();
    for (name, rows) in &mut disk.0 {
        if name == "openmls_epoch_keys_pairs" {
            *rows[0].last_mut().unwrap() = Value::Blob(b"no JSON".to_vec());
        }
    }
    let mut damaged = world.put_back(1, &disk);
    assert!(damaged.judge(&base, &commit).is_err());
    assert!(damaged.apply(&commit).is_err());
}

#[test]
fn a_step_that_fails_halfway_leaves_everything_as_it_was() {
    let mut world = World::new(16);
    let mut members = world.group(3);
    let [anna, ben, carla] = &mut members[..] else {
        panic!()
    };
    let base = epoch_id(carla);
    let waiting = anna.seal(b"", b"waits").unwrap();
    let commit = enter_own(ben, &update()).commit;
    // Within the same transaction, before the step: message secrets that are in no row yet.
    carla.commit().unwrap();
    assert!(carla.open(&base, &waiting).unwrap().is_some());
    carla
        .undo(|carla| {
            carla.seal(b"", b"x").unwrap();
            carla.snapshot().unwrap();
            carla.judge(&base, &commit).unwrap().proposed().unwrap();
            carla.apply(&commit).unwrap();
            carla.restore(&base).unwrap();
            carla.stage(&update(), b"").unwrap().unwrap();
            carla.merge_pending().unwrap();
            carla.abandon().unwrap();
        })
        .unwrap();
    assert_eq!(epoch_id(carla), base);
    assert!(
        carla.open(&base, &waiting).unwrap().is_none(),
        "it was opened before the step"
    );
    let disk = carla.disk().unwrap();
    assert!(rows(&disk, "mls_copy").is_empty());
    // The whole transaction goes, and the message can be opened again.
    carla.roll_back().unwrap();
    assert!(carla.open(&base, &waiting).unwrap().is_some());
    carla.apply(&commit).unwrap();
    assert_eq!(epoch(carla), epoch(ben));
}
