//! Against enemies: the real program on loopback, and on the same loopback whoever forges, floods, guesses,
//! stands in the middle, or sends what a terminal would obey.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/people.rs"]
mod people;

#[path = "hostile/codes.rs"]
mod codes;
#[path = "hostile/enemy.rs"]
mod enemy;
#[path = "hostile/flood.rs"]
mod flood;
#[path = "hostile/middle.rs"]
mod middle;
#[path = "hostile/records.rs"]
mod records;
#[path = "hostile/screens.rs"]
mod screens;
#[path = "hostile/strangers.rs"]
mod strangers;

use std::{path::PathBuf, time::Duration};

use people::{Person, object, text};
use qpq_core::{
    id::PeerId,
    store::read::{Chat, Reader},
    vault::Vault,
};

/// More than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what must come.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    outcome.unwrap_or_else(|_| panic!("{what}: nothing came of it in {PATIENCE:?}"))
}

/// A file of somebody's profile.
fn file(person: &Person, name: &str) -> PathBuf {
    person.home.path().join("default").join(name)
}

fn vault(person: &Person) -> Vault {
    Vault::open(&std::fs::read(file(person, "qpq-state.bin")).unwrap(), None).unwrap()
}

fn chats(person: &Person) -> Vec<Chat> {
    let reader = Reader::open(&file(person, "qpq.db"), &vault(person).database_key).unwrap();
    reader.chats().unwrap()
}

fn id(person: &Person) -> PeerId {
    let who = object(&text(person.run(&["whoami", "--json"]), 0));
    let bytes = qpq_core::base32::decode(who["id"].as_str().unwrap()).unwrap();
    PeerId::try_from(bytes.as_slice()).unwrap()
}

/// There is no contact, whatever it may be called: not in the store, and not for the person.
#[track_caller]
fn assert_knows_nobody(person: &Person) {
    assert!(chats(person).is_empty());
    for name in ["anna", "ben"] {
        for arguments in [&["send", name, "hi"][..], &["log", name]] {
            let output = person.run(arguments);
            let stderr = String::from_utf8(output.stderr.clone()).unwrap();
            assert!(stderr.contains("meet somebody first"), "{stderr}");
            text(output, 6);
        }
    }
    assert_eq!(text(person.run(&["log"]), 0), "");
    text(person.run(&["whoami"]), 0);
}
