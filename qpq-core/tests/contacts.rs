//! What people become to each other: met again, crossed, held, replaced, blocked, removed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

#[path = "contacts/names.rs"]
mod names;
#[path = "support/net.rs"]
mod net;

use net::Net;
use qpq_core::{
    contact::{Person, Standing, Trust},
    delivery::{Delivery, FailedReason},
    engine::{Command, CommandId, ContactChange, Event, Failure, Input, Purpose, Reply},
    id::PeerId,
    invite::{Code, JoinFailure},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

fn change(net: &mut Net, at: usize, peer: PeerId, change: ContactChange) -> Result<Reply, Failure> {
    net.command(at, Command::Contact { peer, change })
}

fn person(net: &Net, at: usize, of: usize) -> Option<Person> {
    let people = net.reader(at).people().unwrap();
    people.into_iter().find(|person| person.peer == net.id(of))
}

fn names_of(net: &Net, at: usize) -> Vec<String> {
    let people = net.reader(at).people().unwrap();
    people.into_iter().map(|person| person.name).collect()
}

fn try_send(net: &mut Net, at: usize, chat: &str, text: &str) -> Result<Reply, Failure> {
    let (chat, texts) = (chat.to_owned(), vec![(net::message_id(), text.to_owned())]);
    net.command(at, Command::Send { chat, texts })
}

fn held(net: &Net, at: usize) -> Option<String> {
    net.peers[at].events.iter().find_map(|event| match event {
        Event::Held { name, .. } => Some(name.clone()),
        _ => None,
    })
}

/// Both are contacts, linked, and each reads what the other sends from now on, once.
fn talk(net: &mut Net, a: usize, to_b: &str, b: usize, to_a: &str) {
    let before = (net.texts(b, false), net.texts(a, false));
    net.send(a, to_b, &["from a"]);
    net.send(b, to_a, &["from b"]);
    net.run();
    assert_eq!(
        net.texts(b, false),
        [before.0, vec!["from a".to_owned()]].concat()
    );
    assert_eq!(
        net.texts(a, false),
        [before.1, vec!["from b".to_owned()]].concat()
    );
}

/// Anna knows ben; another ben was invited and is held.
fn two_bens() -> Net {
    let mut net = Net::new(&["anna", "ben", "ben"]);
    for joiner in [1, 2] {
        let code = net.invite(0);
        net.join(joiner, 0, code);
    }
    net
}

#[test]
fn a_contact_that_joins_again_goes_on_in_a_new_group() {
    let mut net = Net::pair();
    net.send(0, "ben", &["before"]);
    net.crash(1);
    net.run();
    net.send(0, "ben", &["waiting 1", "waiting 2"]);
    net.start(1);
    let code = net.invite(0);
    net.join(1, 0, code);
    assert_eq!(net.texts(1, false), ["before", "waiting 1", "waiting 2"]);
    talk(&mut net, 0, "ben", 1, "anna");
    assert_eq!(names_of(&net, 0), ["ben"]);
}

/// Same key, empty database: the one who lost everything is a contact again, and gets what waited, nothing older.
#[test]
fn a_contact_that_lost_its_database_pairs_again() {
    for loser in [0, 1] {
        let mut net = Net::pair();
        net.send(1 - loser, ["anna", "ben"][loser], &["old"]);
        net.crash(loser);
        net.run();
        net.send(1 - loser, ["anna", "ben"][loser], &["waits"]);
        net.rename(loser, ["anna", "ben"][loser]);
        let code = net.invite(0);
        net.join(1, 0, code);
        assert_eq!(net.texts(loser, false), ["waits"], "loser {loser}");
        talk(&mut net, 0, "ben", 1, "anna");
    }
}

/// Each types the code of the other: whatever the order, one group is left, and both can write.
#[test]
fn crossed_invites_leave_one_group() {
    for seed in 0_usize..40 {
        let mut net = Net::new(&["anna", "ben"]);
        let codes = [net.invite(0), net.invite(1)];
        for at in [0, 1] {
            let (code, peer) = (codes[1 - at].clone(), net.id(1 - at));
            let nameplate = code.nameplate();
            net.command(at, Command::Join(code)).unwrap();
            net.input(at, Input::Advert { peer, nameplate });
            // The other side begins at another point each time.
            for _ in 0..seed % 13 {
                net.turn();
            }
        }
        net.run();
        net.connect(seed % 2, 1 - seed % 2, Purpose::Peer);
        net.run();
        talk(&mut net, 0, "ben", 1, "anna");
        for at in [0, 1] {
            assert_eq!(net.reader(at).people().unwrap().len(), 1, "seed {seed}");
            assert_eq!(net.reader(at).asked().unwrap(), [], "seed {seed}");
        }
    }
}

#[test]
fn replacing_a_contact_moves_what_waits_and_shuts_the_old_key_out() {
    let mut net = two_bens();
    net.connect(1, 0, Purpose::Peer);
    net.run();
    let (old, new) = (net.id(1), net.id(2));
    // Accepting is not enough while the name is another's.
    assert_eq!(
        change(&mut net, 0, new, ContactChange::Accept),
        Err(Failure::Name)
    );
    net.crash(1);
    change(&mut net, 0, new, ContactChange::Replace).unwrap();
    assert_eq!(person(&net, 0, 1).unwrap().standing, Standing::Removed);
    let person = person(&net, 0, 2).unwrap();
    assert_eq!((person.name.as_str(), person.standing), ("ben", Standing::Known));
    net.connect(2, 0, Purpose::Peer);
    net.run();
    assert!(net.joined(2));
    talk(&mut net, 0, "ben", 2, "anna");
    net.start(1);
    let (_, at_anna) = net.connect(1, 0, Purpose::Peer);
    net.run();
    assert!(net.peers[0].closed.contains(&at_anna));
    assert_eq!(
        change(&mut net, 0, old, ContactChange::Replace),
        Err(Failure::NothingToDecide)
    );
}

/// What waited for the old key goes to the new one, for the user said that they are one person.
#[test]
fn a_replaced_contact_gets_what_waited_and_nothing_older() {
    let mut net = Net::new(&["anna", "ben", "ben"]);
    let code = net.invite(0);
    net.join(1, 0, code);
    net.send(0, "ben", &["read by the old key"]);
    net.crash(1);
    net.run();
    net.send(0, "ben", &["waits"]);
    let code = net.invite(0);
    net.join(2, 0, code);
    let new = net.id(2);
    change(&mut net, 0, new, ContactChange::Replace).unwrap();
    net.connect(2, 0, Purpose::Peer);
    net.run();
    assert_eq!(net.texts(2, false), ["waits"]);
    // One history, under one name.
    assert_eq!(net.texts(0, true), ["read by the old key", "waits"]);
    assert_eq!(
        net.messages(0)
            .iter()
            .filter(|message| message.chat == "ben")
            .count(),
        3
    );
}

#[test]
fn a_blocked_contact_is_shut_out_and_the_others_learn_the_new_key() {
    let mut net = Net::new(&["anna", "ben", "carla"]);
    for joiner in [1, 2] {
        let code = net.invite(0);
        net.join(joiner, 0, code);
    }
    let ben = net.id(1);
    let key = |net: &Net| net.peers[0].directory.as_ref().unwrap().own_lan_key.clone();
    let before = key(&net);
    let (anna, carla) = (net.id(0), net.id(2));
    net.connect(2, 0, Purpose::Peer);
    net.run();
    change(&mut net, 0, ben, ContactChange::Block(true)).unwrap();
    assert_ne!(before, key(&net));
    assert_eq!(
        net.peers[2].directory.as_ref().unwrap().known[&anna],
        Some(key(&net))
    );
    let known = &net.peers[0].directory.as_ref().unwrap().known;
    assert!(known.contains_key(&carla) && !known.contains_key(&ben));
    // Not as a contact, not with a code.
    for purpose in [Purpose::Peer, Purpose::Pair] {
        net.invite(0);
        let (_, at_anna) = net.connect(1, 0, purpose);
        net.run();
        assert!(net.peers[0].closed.contains(&at_anna));
        net.command(0, Command::CancelInvite).unwrap();
    }
    net.send(1, "anna", &["unheard"]);
    assert_eq!(net.texts(0, false), Vec::<String>::new());
    assert_eq!(try_send(&mut net, 0, "ben", "hi"), Err(Failure::Blocked));
    change(&mut net, 0, ben, ContactChange::Block(false)).unwrap();
    net.connect(1, 0, Purpose::Peer);
    net.run();
    assert_eq!(net.texts(0, false), ["unheard"]);
    // Who was away while it changed learns it at the next link, and it rides no more after that.
    assert_eq!(
        net.peers[1].directory.as_ref().unwrap().known[&anna],
        Some(key(&net))
    );
    net.log.clear();
    net.connect(1, 0, Purpose::Peer);
    net.run();
    let cards = net.log.iter().filter(|(_, _, bytes)| {
        matches!(
            qpq_core::wire::Frame::decode(bytes),
            Ok(qpq_core::wire::Frame::Card(_))
        )
    });
    assert_eq!(cards.count(), 0);
}

#[test]
fn a_removed_contact_is_shut_out_and_its_history_stays_unless_purged() {
    for purge in [false, true] {
        let mut net = Net::pair();
        net.send(0, "ben", &["read"]);
        net.crash(1);
        net.run();
        net.send(0, "ben", &["never read"]);
        let (ben, waiting) = (net.id(1), net.messages(0)[1].id);
        net.peers[0].events.clear();
        change(&mut net, 0, ben, ContactChange::Remove { purge }).unwrap();
        let failed = net.peers[0].events.iter().filter_map(|event| match event {
            Event::Progress { id, state } => Some((*id, *state)),
            _ => None,
        });
        let removed = Delivery::Failed(FailedReason::Removed);
        assert_eq!(
            failed.collect::<Vec<_>>(),
            [(waiting, removed)],
            "whoever waits is told"
        );
        assert_eq!(net.reader(0).waiting(None).unwrap(), 0);
        let texts = if purge { vec![] } else { vec!["read", "never read"] };
        assert_eq!(net.texts(0, true), texts);
        assert_eq!(person(&net, 0, 1).is_some(), !purge);
        assert_eq!(
            try_send(&mut net, 0, "ben", "hi"),
            Err(if purge {
                Failure::UnknownChat
            } else {
                Failure::UnknownContact
            })
        );
        net.start(1);
        let (_, at_anna) = net.connect(1, 0, Purpose::Peer);
        net.run();
        assert!(net.peers[0].closed.contains(&at_anna));
        // The name is free, and the same person may come again.
        let code = net.invite(0);
        net.join(1, 0, code);
        assert_eq!(person(&net, 0, 1).unwrap().name, "ben");
        talk(&mut net, 0, "ben", 1, "anna");
    }
}

/// Deleted is deleted: neither the database nor its log holds what was purged.
#[test]
fn a_purged_name_frees_the_log() {
    let mut net = Net::pair();
    net.send(0, "ben", &["canary"]);
    let ben = net.id(1);
    change(&mut net, 0, ben, ContactChange::Remove { purge: true }).unwrap();
    let log = std::fs::metadata(format!("{}-wal", net.peers[0].path.display()));
    assert_eq!(log.map_or(0, |log| log.len()), 0);
}

#[test]
fn comparing_the_safety_number_verifies() {
    let mut net = Net::pair();
    let ben = net.id(1);
    assert_eq!(person(&net, 0, 1).unwrap().trust, Trust::Code);
    change(&mut net, 0, ben, ContactChange::Verified).unwrap();
    assert_eq!(person(&net, 0, 1).unwrap().trust, Trust::Number);
    assert_eq!(
        change(&mut net, 0, PeerId([9; 32]), ContactChange::Verified),
        Err(Failure::UnknownContact)
    );
}

/// A crash before or after any commit of either side, while a contact joins again: nothing waits for ever.
#[test]
fn a_crash_anywhere_in_a_second_pairing_heals() {
    for victim in [0, 1] {
        for at in 0..40 {
            for stored in [false, true] {
                let mut net = Net::pair();
                net.crash(1);
                net.run();
                net.send(0, "ben", &["waits"]);
                net.start(1);
                let code = net.invite(0);
                let (nameplate, peer) = (code.nameplate(), net.id(0));
                net.peers[victim].crash_at = Some((net.peers[victim].commits + at, stored));
                let (id, command) = (CommandId(9_000), Command::Join(code));
                net.input(1, Input::Command { id, command });
                net.input(1, Input::Advert { peer, nameplate });
                net.run();
                for peer in [0, 1] {
                    net.peers[peer].crash_at = None;
                    if net.peers[peer].engine.is_none() {
                        net.start(peer);
                    }
                }
                net.connect(1, 0, Purpose::Peer);
                net.run();
                net.connect(0, 1, Purpose::Peer);
                net.run();
                assert_eq!(
                    net.texts(1, false),
                    ["waits"],
                    "victim {victim}, commit {at}, {stored}"
                );
                talk(&mut net, 0, "ben", 1, "anna");
            }
        }
    }
}

#[test]
fn a_refused_requester_cannot_ask_with_the_same_link_again() {
    let mut net = Net::new(&["anna", "ben"]);
    let link = net.invite_by_link(0);
    net.join_by_link(1, &link).unwrap();
    net.crash(1);
    net.run();
    let ben = net.id(1);
    change(&mut net, 0, ben, ContactChange::Refuse).unwrap();
    net.rename(1, "mallory");
    let _ = net.join_by_link(1, &link);
    assert_eq!(net.reader(0).asking().unwrap(), []);
}

/// Accepted while away, and everything lost meanwhile: another link brings them in.
#[test]
fn who_lost_its_request_comes_in_by_another_link() {
    let mut net = Net::new(&["anna", "ben"]);
    let link = net.invite_by_link(0);
    net.join_by_link(1, &link).unwrap();
    net.crash(1);
    net.run();
    let ben = net.id(1);
    change(&mut net, 0, ben, ContactChange::Accept).unwrap();
    net.rename(1, "ben");
    let link = net.invite_by_link(0);
    let _ = net.join_by_link(1, &link);
    net.run();
    assert!(net.joined(1));
    talk(&mut net, 0, "ben", 1, "anna");
}

#[test]
fn whom_we_asked_and_do_not_know_cannot_be_blocked() {
    let mut net = Net::new(&["anna", "ben"]);
    let link = net.invite_by_link(0);
    net.join_by_link(1, &link).unwrap();
    let anna = net.id(0);
    assert_eq!(
        change(&mut net, 1, anna, ContactChange::Block(true)),
        Err(Failure::NothingToDecide)
    );
}

#[test]
fn last_seen_is_when_the_link_ended() {
    let mut net = Net::pair();
    net.now.unix_ms += 9 * 3_600_000;
    net.crash(1);
    net.run();
    assert_eq!(person(&net, 0, 1).unwrap().last_seen, Some(net.now.unix_ms));
}

/// Whoever is a contact already and mistypes a word is told so, as a stranger is.
#[test]
fn a_wrong_code_of_a_contact_is_told_as_one() {
    let mut net = Net::pair();
    let code = net.invite(0);
    let wrong = Code::generate(code.nameplate(), &mut ChaCha20Rng::seed_from_u64(7));
    assert_ne!(wrong.to_string(), code.to_string());
    net.join(1, 0, wrong);
    net.now.monotonic += std::time::Duration::from_secs(4);
    net.input(1, Input::Tick);
    net.run();
    let failed = Event::JoinFailed(JoinFailure::WrongCode);
    assert!(net.peers[1].events.contains(&failed), "{:?}", net.peers[1].events);
}
