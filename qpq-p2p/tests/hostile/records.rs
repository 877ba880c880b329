//! Forged mDNS records: hints whom to dial where, and nothing else.

use std::{
    fs::{self, File},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use qpq_core::{base32, store::read::Reader};

use crate::{
    chats,
    enemy::{Forger, Stranger},
    file, id,
    people::{Person, Running, anna_and_ben, meet, object, text},
    screens::assert_clean,
    vault,
};

const ESCAPES: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}";

/// Counts who tries to connect to somebody else here.
async fn count_dials(impostor: Stranger, dials: Arc<AtomicUsize>) {
    while let Some(incoming) = impostor.endpoint.accept().await {
        dials.fetch_add(1, Ordering::SeqCst);
        // Whoever dialled wants another key, and does not find it.
        assert!(incoming.await.is_err());
    }
}

/// What a profile knows, as others cannot change it.
fn known(person: &Person) -> (String, Vec<String>, Vec<u8>) {
    let reader = Reader::open(&file(person, "qpq.db"), &vault(person).database_key).unwrap();
    let chats = chats(person).into_iter().map(|chat| format!("{chat:?}"));
    let vault = fs::read(file(person, "qpq-state.bin")).unwrap();
    (reader.own_name().unwrap(), chats.collect(), vault)
}

/// Somebody replays tokens (more often than a table keeps for one contact), invents others, and claims to be
/// everybody, under names that are no names.
fn forge(forger: &Forger, tokens: &[String], impostor: &Stranger, people: &[&Person]) {
    let port = impostor.port();
    let name = || ("name", ESCAPES.to_owned());
    for n in 0..12 {
        for (whose, token) in tokens.iter().enumerate() {
            let txt = [("t", token.clone()), name()];
            forger.announce(&format!("{ESCAPES}{whose} {n}"), port, &txt);
        }
        let invented = base32::encode(&[n; 16]);
        forger.announce(&format!("invented {n}"), port, &[("t", invented), name()]);
    }
    let ids = people.iter().map(|person| id(person)).chain([impostor.id]);
    for (n, peer) in ids.enumerate() {
        let claim = [("n", "4".to_owned()), ("id", peer.to_text()), name()];
        forger.announce(&format!("claim {n}"), port, &claim);
    }
    let nonsense = ["n", "id", "t", "p6"].map(|key| (key, ESCAPES.to_owned()));
    forger.announce("nonsense", port, &nonsense);
}

/// What somebody who runs `qpq listen` shows to his contacts.
async fn token_of(forger: &Forger, known: &[String]) -> String {
    let token = |service: &mdns_sd::ResolvedService| service.get_property_val_str("t").map(str::to_owned);
    let record = forger
        .find(|service| token(service).is_some_and(|token| !known.contains(&token)))
        .await;
    token(&record).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_records_change_nothing_and_contacts_talk_on() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let carla = Person::new("carla", anna.mdns_port);
    let before = [&anna, &ben, &carla].map(known);

    let log = ben.home.path().join("log");
    let mut listen = ben.command(&["listen", "--json", "--timeout", "90s", "-vvv"]);
    let mut listen = Running::spawn(listen.stderr(File::create(&log).unwrap()));
    let forger = Forger::on(anna.mdns_port);
    let mut tokens = vec![token_of(&forger, &[]).await];
    let online = anna.start(&["listen", "--timeout", "90s"]);
    tokens.push(token_of(&forger, &tokens).await);
    online.kill();
    let (impostor, dials) = (Stranger::new().await, Arc::new(AtomicUsize::new(0)));
    tokio::spawn(count_dials(impostor.clone(), Arc::clone(&dials)));
    forge(&forger, &tokens, &impostor, &[&anna, &ben, &carla]);

    // Until a forged record was believed so far that it was dialled: then it did its worst.
    let mut sent = 0;
    while sent < 3 || dials.load(Ordering::SeqCst) == 0 {
        assert!(sent < 30, "nobody ever dialled a replayed record");
        let message = format!("message {sent}");
        let output = anna.run(&["send", "ben", &message, "--json", "--timeout", "30s", "-vvv"]);
        assert_clean(&output.stderr);
        assert_eq!(object(&text(output, 0))["state"], "delivered");
        let heard = object(&listen.line());
        assert_eq!(
            (&heard["from"], &heard["text"]),
            (&"anna".into(), &message.as_str().into())
        );
        assert_eq!(heard["verified"], true);
        sent += 1;
    }
    // Somebody without contacts makes none of it either.
    let output = carla.run(&["listen", "--timeout", "1s", "-vvv"]);
    assert_clean(&output.stderr);
    assert_eq!(text(output, 0), "");

    listen.kill();
    assert_clean(&fs::read(&log).unwrap());
    assert_eq!([&anna, &ben, &carla].map(known), before);
}
