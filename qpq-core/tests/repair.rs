//! What cannot be read is asked for and encrypted once more.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

#[path = "support/net.rs"]
mod net;

use std::time::Duration;

use net::Net;
use qpq_core::{
    delivery::{Range, Ranges},
    engine::{Event, Purpose},
    id::MemberId,
    identity::Context,
    wire::{App, AppAck, Frame, Kind, StreamRanges, Want},
};

/// Loses the Apps of peer 0 as long as the function says so, by their count.
fn lose_apps(net: &mut Net, mut lost: impl FnMut(usize) -> bool + 'static) {
    let mut count = 0;
    net.lossy = Box::new(move |from, _, frame| {
        let app = from == 0 && matches!(Frame::decode(frame), Ok(Frame::App(_)));
        count += usize::from(app);
        app && lost(count)
    });
}

/// The place, the id and the text stay; the key does not: each ciphertext opens to the same text.
#[test]
fn a_repair_is_the_same_message_under_another_key() {
    let mut net = Net::pair();
    net.crash(1);
    let copy = std::fs::read(&net.peers[1].path).unwrap();
    net.start(1);
    net.reconnect();
    lose_apps(&mut net, |count| count == 1);
    net.log.clear();
    net.send(0, "ben", &["lost once"]);
    net.send(0, "ben", &["reveals the gap"]);
    assert_eq!(net.texts(1, false), ["reveals the gap", "lost once"]);
    let first: Vec<App> = net.apps(0).into_iter().filter(|app| app.seq == 1).collect();
    let [original, repair] = first.as_slice() else {
        panic!("{} ciphertexts", first.len());
    };
    assert_eq!(
        (original.stream, original.message),
        (repair.stream, repair.message)
    );
    let generations = [original, repair].map(|app| net.generation(0, app));
    assert_ne!(generations[0], generations[1]);
    net.crash(0);
    for app in [original, repair] {
        net.crash(1);
        std::fs::write(&net.peers[1].path, &copy).unwrap();
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", net.peers[1].path.display()));
        }
        net.start(1);
        let (_, at_ben) = net.connect(0, 1, Purpose::Peer);
        net.inject(1, at_ben, Frame::App(app.clone()).encode());
        net.run();
        assert_eq!(net.texts(1, false), ["lost once"]);
    }
}

#[test]
fn a_repair_of_what_is_there_is_only_acknowledged() {
    let mut net = Net::pair();
    net.send(0, "ben", &["once"]);
    let app = net.apps(0).pop().unwrap();
    let (at_anna, _) = net.reconnect();
    net.log.clear();
    net.inject(0, at_anna, want(&app, 1, 1));
    net.run();
    assert_eq!(
        (net.sent(0, Kind::App).len(), net.sent(1, Kind::AppAck).len()),
        (1, 1)
    );
    assert_eq!(net.texts(1, false), ["once"]);
}

fn want(app: &App, first: u64, last: u64) -> Vec<u8> {
    let ranges = Ranges::new(vec![Range { first, last }]).unwrap();
    let stream = StreamRanges {
        member: app.member,
        stream: app.stream,
        ranges,
    };
    let group = app.group;
    Frame::Want(Want { group, stream }).encode()
}

/// A contact who asks for everything all the time costs no more than one that asks honestly.
#[test]
fn wants_are_bounded() {
    let mut net = Net::pair();
    for _ in 0..6 {
        net.send(0, "ben", &["x"; 100]);
    }
    let app = net.apps(0).pop().unwrap();
    let (at_anna, _) = net.reconnect();
    net.log.clear();
    for _ in 0..20 {
        net.inject(0, at_anna, want(&app, 1, u64::MAX));
    }
    while net.turn() {}
    assert_eq!(net.sent(0, Kind::App).len(), 256);
    net.pass(Duration::from_secs(1));
    net.log.clear();
    let mut foreign = app.clone();
    foreign.stream.0[0] ^= 1;
    net.inject(0, at_anna, want(&foreign, 1, 5));
    foreign = app.clone();
    std::mem::swap(&mut foreign.member.0[0], &mut foreign.stream.0[0]);
    net.inject(0, at_anna, want(&foreign, 1, 5));
    net.inject(0, at_anna, want(&app, 601, u64::MAX));
    net.run();
    assert!(
        net.sent(0, Kind::App).is_empty(),
        "another stream, another author, never written"
    );
    assert_eq!(net.texts(1, false).len(), 600);
    assert!(!net.peers[0].closed.contains(&at_anna));
}

/// Nonsense in many places costs neither memory nor many questions.
#[test]
fn unreadable_messages_of_many_streams_are_asked_for_in_few() {
    let mut net = Net::pair();
    net.send(0, "ben", &["x"]);
    let mut app = net.apps(0).pop().unwrap();
    app.mls.reverse();
    let (_, at_ben) = net.reconnect();
    net.log.clear();
    for stream in 0..200 {
        app.stream.0[0] = stream;
        for seq in 1..4 {
            app.seq = seq;
            net.inject(1, at_ben, Frame::App(app.clone()).encode());
        }
    }
    while net.turn() {}
    assert_eq!(net.sent(1, Kind::Want).len(), 16);
    assert_eq!(net.texts(1, false), ["x"]);
    assert!(!net.peers[1].closed.contains(&at_ben));
}

/// When nothing arrives for so long that no key would be accepted any more, a new group begins in time.
#[test]
fn a_ratchet_that_ran_away_is_replaced() {
    let mut net = Net::pair();
    let texts = vec!["x"; 200];
    net.crash(1);
    net.cut();
    net.send(0, "ben", &texts);
    net.start(1);
    // One arrives and shows the gap; then nothing does until 1,024 repairs are lost.
    lose_apps(&mut net, move |count| count != 200 && count <= 200 + 1_024);
    net.reconnect();
    for _ in 0..10 {
        net.pass(Duration::from_secs(1_300));
    }
    assert_eq!(net.texts(1, false).len(), 200);
    assert_eq!((net.new_groups(0), net.new_groups(1)), (1, 1));
    assert_eq!(net.reader(0).waiting(None).unwrap(), 0);
    assert!(!net.rolled_back());
}

/// The receiver's disk is an older copy: what it had of this group is sent once more as soon as it shows.
#[test]
fn a_receiver_that_was_put_back_gets_what_it_lost() {
    let mut net = Net::pair();
    net.crash(1);
    let copy = std::fs::read(&net.peers[1].path).unwrap();
    net.start(1);
    net.reconnect();
    net.send(0, "ben", &["one", "two"]);
    net.crash(1);
    std::fs::write(&net.peers[1].path, copy).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", net.peers[1].path.display()));
    }
    net.start(1);
    net.reconnect();
    net.send(0, "ben", &["three"]);
    net.pass(Duration::from_secs(5));
    let mut texts = net.texts(1, false);
    texts.sort();
    assert_eq!(texts, ["one", "three", "two"]);
    let late: Vec<bool> = net.messages(1).iter().map(|message| message.late).collect();
    assert_eq!(late, [false, true, true]);
}

/// Repairs use keys without using numbers: a copy from before them is found out by what was opened.
#[test]
fn a_sender_that_was_put_back_after_repairs_is_found_out() {
    let mut net = Net::pair();
    let (mut apps_sent, mut wants) = (0, 0);
    net.lossy = Box::new(move |_, _, frame| match Frame::decode(frame) {
        Ok(Frame::App(_)) => {
            apps_sent += 1;
            apps_sent != 3 && apps_sent <= 5
        }
        Ok(Frame::Want(_)) => {
            wants += 1;
            wants == 1
        }
        _ => false,
    });
    net.send(0, "ben", &["one", "two", "three"]);
    let copy = net.copy_disk(0);
    // Sent again as they are, the two are lost on this link as well; then they are encrypted once more.
    net.reconnect();
    net.pass(Duration::from_secs(5));
    assert_eq!(net.texts(1, false).len(), 3);
    assert_eq!(net.apps(0).len(), 3 + 2 + 2);
    net.put_back(0, &copy);
    let old = net.group(0);
    net.send(0, "ben", &["four"]);
    net.log.clear();
    net.reconnect();
    net.pass(Duration::from_secs(5));
    assert!(
        net.apps(0).iter().all(|app| app.group != old),
        "a key would be used twice"
    );
    assert!(net.rolled_back());
    // Two acknowledgements were lost with the disk: those messages went again, by new keys, and were known.
    assert_eq!(net.reader(0).waiting(None).unwrap(), 0);
    assert_eq!(net.texts(1, false), ["three", "one", "two", "four"]);
}

/// Both sides count alike, over restarts and repairs: nobody is taken for an older copy.
#[test]
fn repairs_of_an_honest_disk_are_no_reason_for_doubt() {
    let mut net = Net::pair();
    for round in 0..3 {
        lose_apps(&mut net, |count| count < 3);
        net.send(0, "ben", &["a", "b", "c"]);
        net.pass(Duration::from_secs(5));
        for at in [round % 2, 0, 1] {
            net.restart(at);
            net.reconnect();
        }
    }
    assert_eq!(net.texts(1, false).len(), 9);
    assert!(!net.rolled_back());
    assert_eq!(net.reader(0).waiting(None).unwrap(), 0);
}

/// The count is under the signature: a Head whose count somebody changed is forged.
#[test]
fn the_count_of_opened_messages_is_signed() {
    let mut net = Net::pair();
    net.send(0, "ben", &["one"]);
    net.log.clear();
    let (at_anna, _) = net.reconnect();
    let head = net.sent(1, Kind::Head).pop();
    let Some(Frame::Head(mut head)) = head else {
        panic!("no Head");
    };
    assert_eq!(
        head.opened.iter().map(|(_, count)| *count).collect::<Vec<_>>(),
        [1]
    );
    head.opened[0].1 = 2;
    net.inject(0, at_anna, Frame::Head(head).encode());
    net.run();
    assert!(!net.rolled_back());
    assert!(net.peers[0].closed.contains(&at_anna));
}

/// Whoever invents messages of ours is told of once on a link, and believed in nothing more.
#[test]
fn who_invents_our_messages_is_told_of_once_on_a_link() {
    let mut net = Net::pair();
    net.send(0, "ben", &["one"]);
    let ben = net.identity(1);
    let ack = |app: &App, last: u64| {
        let ranges = Ranges::new(vec![Range { first: 1, last }]).unwrap();
        let (group, member) = (app.group, MemberId::from(&ben.peer_id()));
        let stream = StreamRanges {
            member: app.member,
            stream: app.stream,
            ranges,
        };
        let signed = [
            &group.0[..],
            &member.0,
            &app.member.0,
            &app.stream.0,
            &1u64.to_be_bytes(),
            &1u64.to_be_bytes(),
            &last.to_be_bytes(),
        ]
        .concat();
        let signature = ben.sign(Context::AppAck, &[&signed]);
        Frame::AppAck(AppAck {
            group,
            member,
            stream,
            signature,
        })
        .encode()
    };
    for _ in 0..2 {
        let app = net.apps(0).pop().unwrap();
        let (at_anna, _) = net.reconnect();
        for last in 2..22 {
            net.inject(0, at_anna, ack(&app, 1 << last));
        }
        net.inject(0, at_anna, ack(&app, 1));
        net.run();
        // What was doubted goes on in a new group, of which he may invent as much: that is not believed again.
        net.send(0, "ben", &["next"]);
        let app = net.apps(0).pop().unwrap();
        for last in 2..22 {
            net.inject(0, at_anna, ack(&app, 1 << last));
        }
        net.run();
        let sent = net.apps(0).len();
        net.send(0, "ben", &["held back"]);
        assert_eq!(net.apps(0).len(), sent, "nothing more on this link");
        net.reconnect();
        assert_eq!(net.reader(0).waiting(None).unwrap(), 0);
    }
    let told = net.peers[0].events.iter();
    let told = told.filter(|event| matches!(event, Event::RolledBack { .. }));
    assert_eq!(told.count(), 2, "two links");
    let peer = net.id(1);
    let held = net.peers[0].events.iter();
    let held = held.filter(|event| matches!(event, Event::HeldBack { peer: by, .. } if *by == peer));
    assert_eq!(held.count(), 2, "and that nothing more is sent, on each");
}

/// Asking for ever for what is there, and acknowledging it each time, makes us encrypt ever more seldom.
#[test]
fn who_asks_for_what_is_there_is_answered_less_and_less() {
    let mut net = Net::pair();
    net.send(0, "ben", &["x"; 20]);
    let app = net.apps(0).pop().unwrap();
    let (at_anna, _) = net.reconnect();
    net.log.clear();
    for _ in 0..1_200 {
        net.inject(0, at_anna, want(&app, 1, u64::MAX));
        net.pass(Duration::from_millis(500));
    }
    let repairs = net.apps(0).len();
    assert!((60..=220).contains(&repairs), "{repairs} repairs in ten minutes");
    // What is new goes its way.
    net.send(0, "ben", &["new"]);
    assert_eq!(net.texts(1, false).len(), 21);
    assert!(!net.peers[0].closed.contains(&at_anna));
}

/// Who lost much on its disk asks for one part after the other, and no doubt slows that down.
#[test]
fn much_that_was_lost_is_repaired_within_seconds() {
    let mut net = Net::pair();
    let copy = net.copy_disk(1);
    net.reconnect();
    for _ in 0..10 {
        net.send(0, "ben", &["x"; 100]);
    }
    net.put_back(1, &copy);
    net.reconnect();
    net.send(0, "ben", &["shows it"]);
    net.pass(Duration::from_secs(15));
    assert_eq!(net.texts(1, false).len(), 1_001);
}
