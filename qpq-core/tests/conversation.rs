//! Messages between two engines in memory: everything once, in order, whatever dies when.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

#[path = "support/net.rs"]
mod net;

use net::{Net, message_id};
use qpq_core::{
    delivery::{Delivery, Range, Ranges},
    engine::{Command, Event, Failure, Purpose, Reply},
    id::MessageId,
    store::read::Query,
    wire::Frame,
};

fn lines(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{prefix} {at}")).collect()
}

fn send_all(net: &mut Net, at: usize, chat: &str, texts: &[String]) {
    for text in texts {
        net.send(at, chat, &[text]);
    }
}

#[test]
fn texts_flow_both_ways_and_are_acknowledged() {
    let mut net = Net::pair();
    net.send(0, "ben", &["hi", "there"]);
    net.send(1, "anna", &["hello"]);
    assert_eq!(net.texts(1, false), ["hi", "there"]);
    assert_eq!(net.texts(0, false), ["hello"]);
    for at in [0, 1] {
        assert!(
            net.messages(at)
                .iter()
                .filter(|message| message.own)
                .all(|message| message.state == Some(Delivery::Delivered))
        );
        assert_eq!(net.reader(at).waiting(None).unwrap(), 0);
    }
}

#[test]
fn a_message_to_somebody_away_waits_and_arrives_once_in_order() {
    let mut net = Net::pair();
    net.restart(1);
    net.run();
    let texts = lines("later", 600);
    for chunk in texts.chunks(50) {
        let chunk: Vec<_> = chunk.iter().map(String::as_str).collect();
        net.send(0, "ben", &chunk);
    }
    assert_eq!(net.reader(0).waiting(None).unwrap(), 600);
    assert!(net.texts(1, false).is_empty());
    net.restart(0);
    net.connect(0, 1, Purpose::Peer);
    net.run();
    assert_eq!(net.texts(1, false), texts);
    assert_eq!(net.reader(0).waiting(None).unwrap(), 0);
}

#[test]
fn nothing_is_encrypted_before_a_head_was_compared() {
    let mut net = Net::pair();
    net.restart(0);
    net.restart(1);
    net.log.clear();
    net.send(0, "ben", &["early"]);
    let (at_anna, _) = net.connect(0, 1, Purpose::Peer);
    while net.log.is_empty() {
        net.turn();
    }
    let app = |log: &[(usize, usize, Vec<u8>)]| {
        log.iter()
            .any(|(from, _, bytes)| *from == 0 && matches!(Frame::decode(bytes), Ok(Frame::App(_))))
    };
    assert!(!app(&net.log), "only Heads are on the way");
    net.run();
    assert!(app(&net.log));
    assert_eq!(net.texts(1, false), ["early"]);
    let _ = at_anna;
}

#[test]
fn the_same_ciphertext_is_sent_again_and_shown_once() {
    let mut net = Net::pair();
    net.log.clear();
    net.send(0, "ben", &["once"]);
    let apps = |net: &Net| -> Vec<Vec<u8>> {
        let decoded = net
            .log
            .iter()
            .filter(|(_, _, bytes)| matches!(Frame::decode(bytes), Ok(Frame::App(_))));
        decoded.map(|(_, _, bytes)| bytes.clone()).collect()
    };
    let first = apps(&net).pop().unwrap();
    let (_, at_ben) = net.connect(0, 1, Purpose::Peer);
    net.run();
    net.log.clear();
    net.inject(1, at_ben, first.clone());
    net.inject(1, at_ben, first);
    net.run();
    assert_eq!(net.texts(1, false), ["once"]);
    let acks = net
        .log
        .iter()
        .filter(|(from, _, bytes)| *from == 1 && matches!(Frame::decode(bytes), Ok(Frame::AppAck(_))));
    assert_eq!(
        acks.count(),
        1,
        "whoever sends again did not see the acknowledgement, and one will do"
    );
}

/// A contact who repeats his Head does not make us send everything again.
#[test]
fn a_repeated_head_begins_nothing_anew() {
    let mut net = Net::pair();
    for at in [0, 1] {
        net.restart(at);
    }
    let texts: Vec<_> = lines("text", 50);
    net.send(0, "ben", &texts.iter().map(String::as_str).collect::<Vec<_>>());
    net.log.clear();
    let (at_anna, _) = net.connect(0, 1, Purpose::Peer);
    let head = loop {
        assert!(net.turn());
        let mut heads = net
            .log
            .iter()
            .filter(|(from, _, bytes)| *from == 1 && matches!(Frame::decode(bytes), Ok(Frame::Head(_))));
        if let Some((_, _, bytes)) = heads.next_back() {
            break bytes.clone();
        }
    };
    for _ in 0..20 {
        net.inject(0, at_anna, head.clone());
    }
    net.run();
    let sent = net
        .log
        .iter()
        .filter(|(from, _, bytes)| *from == 0 && matches!(Frame::decode(bytes), Ok(Frame::App(_))));
    assert_eq!(sent.count(), 50);
    assert_eq!(net.texts(1, false), texts);
}

#[test]
fn a_damaged_message_changes_nothing_and_is_asked_for_again() {
    let mut net = Net::pair();
    net.crash(1);
    net.send(0, "ben", &["true"]);
    net.restart(1);
    let (_, at_ben) = net.connect(0, 1, Purpose::Peer);
    let (bytes, app) = loop {
        assert!(net.turn());
        if let Some(bytes) = net.intercept(1) {
            match Frame::decode(&bytes) {
                Ok(Frame::App(app)) => break (bytes, app),
                _ => net.inject(1, at_ben, bytes),
            }
        }
    };
    for at in [0, app.mls.len() / 2, app.mls.len() - 1] {
        let mut damaged = app.clone();
        damaged.mls[at] ^= 1;
        net.inject(1, at_ben, Frame::App(damaged).encode());
    }
    net.log.clear();
    for _ in 0..3 {
        assert!(net.turn());
        assert!(net.texts(1, false).is_empty());
    }
    net.run();
    let wants = net
        .log
        .iter()
        .filter(|(from, _, bytes)| *from == 1 && matches!(Frame::decode(bytes), Ok(Frame::Want(_))));
    assert_eq!(wants.count(), 1, "three times unreadable, asked for once");
    assert_eq!(net.texts(1, false), ["true"]);
    net.inject(1, at_ben, bytes);
    net.run();
    assert_eq!(net.texts(1, false), ["true"]);
    assert_eq!(net.reader(0).waiting(None).unwrap(), 0);
}

/// A member whose record goes beyond what we ever sent proves that our database is old, by an
/// acknowledgement as well as by a Head; an acknowledgement for what was only queued is not believed.
#[test]
fn an_acknowledgement_of_what_was_never_sent_is_not_believed() {
    let mut net = Net::pair();
    net.send(0, "ben", &["one"]);
    net.log.clear();
    net.send(0, "ben", &["two"]);
    let ack = net
        .log
        .iter()
        .find_map(|(from, _, bytes)| match Frame::decode(bytes) {
            Ok(Frame::AppAck(ack)) if *from == 1 => Some(ack),
            _ => None,
        });
    let mut ack = ack.unwrap();
    ack.stream.ranges = Ranges::new(vec![Range {
        first: 1,
        last: u64::MAX,
    }])
    .unwrap();
    let (at_anna, _) = net.connect(0, 1, Purpose::Peer);
    net.run();
    net.crash(1);
    net.send(0, "ben", &["three"]);
    // Not signed for these ranges: refused. (Ben himself could sign it; see `RolledBack`.)
    net.inject(0, at_anna, Frame::AppAck(ack).encode());
    net.run();
    assert_eq!(net.reader(0).waiting(None).unwrap(), 1);
}

#[test]
fn commands_on_unknown_chats_and_wrong_texts_are_refused() {
    let mut net = Net::pair();
    let send = |chat: &str, text: String| Command::Send {
        chat: chat.to_owned(),
        texts: vec![(message_id(), "ok".into()), (message_id(), text)],
    };
    assert_eq!(
        net.command(0, send("carla", "x".into())),
        Err(Failure::UnknownChat)
    );
    assert_eq!(
        net.command(0, send("ben", String::new())),
        Err(Failure::TextLength)
    );
    assert_eq!(
        net.command(0, send("ben", "x".repeat(65_537))),
        Err(Failure::TextLength)
    );
    assert!(net.messages(0).is_empty());
    assert!(net.command(0, send("BEN", "x".repeat(65_536))).is_ok());
    assert_eq!(net.texts(1, false).len(), 2);
}

#[test]
fn unread_is_per_chat_and_survives() {
    let mut net = Net::pair();
    net.send(0, "ben", &["one", "two"]);
    let unread = Query {
        unread: true,
        ..Query::default()
    };
    let rows: Vec<_> = net
        .reader(1)
        .messages(&unread)
        .unwrap()
        .iter()
        .map(|message| message.row)
        .collect();
    assert_eq!(rows.len(), 2);
    net.command(1, Command::MarkRead { row: rows[0] }).unwrap();
    net.restart(1);
    let left: Vec<_> = net
        .reader(1)
        .messages(&unread)
        .unwrap()
        .into_iter()
        .map(|message| message.text)
        .collect();
    assert_eq!(left, ["two"]);
}

#[test]
fn queries_page_limit_and_search() {
    let mut net = Net::pair();
    send_all(&mut net, 0, "ben", &lines("Line", 9));
    let reader = net.reader(1);
    let texts = |query: &Query| -> Vec<String> {
        reader
            .messages(query)
            .unwrap()
            .into_iter()
            .map(|message| message.text)
            .collect()
    };
    assert_eq!(
        texts(&Query {
            last: Some(2),
            ..Query::default()
        }),
        ["Line 7", "Line 8"]
    );
    assert_eq!(
        texts(&Query {
            limit: Some(2),
            ..Query::default()
        }),
        ["Line 0", "Line 1"]
    );
    assert_eq!(
        texts(&Query {
            grep: Some("LINE 3".into()),
            ..Query::default()
        }),
        ["Line 3"]
    );
    assert_eq!(
        texts(&Query {
            last: Some(0),
            ..Query::default()
        }),
        Vec::<String>::new()
    );
    assert_eq!(
        texts(&Query {
            since: Some(i64::MAX),
            ..Query::default()
        }),
        Vec::<String>::new()
    );
}

/// Both send while one of them dies at any commit, before or after it reached the disk: both logs end equal to
/// what was sent, in order, nothing twice.
#[test]
fn a_crash_at_any_commit_loses_and_doubles_nothing() {
    let total = {
        let mut net = Net::pair();
        let before = net.peers[1].commits;
        traffic(&mut net);
        net.peers[1].commits - before
    };
    assert!(total >= 10);
    for (commit, stored) in (0..total).flat_map(|commit| [(commit, false), (commit, true)]) {
        {
            let mut net = Net::pair();
            net.peers[1].crash_at = Some((net.peers[1].commits + commit, stored));
            let sent = traffic(&mut net);
            net.peers[1].crash_at = None;
            net.restart(1);
            net.connect(0, 1, Purpose::Peer);
            net.run();
            let case = format!("commit {commit}, stored {stored}");
            assert_eq!(net.texts(1, false), sent.0, "{case}");
            assert_eq!(net.texts(0, false), net.texts(1, true), "{case}");
            assert!(net.texts(1, true).len() >= sent.1.min(3), "{case}");
            assert_eq!(
                net.reader(0).waiting(None).unwrap() + net.reader(1).waiting(None).unwrap(),
                0,
                "{case}"
            );
            assert!(!net.peers.iter().any(|peer| {
                peer.events
                    .iter()
                    .any(|event| matches!(event, Event::RolledBack { .. }))
            }));
        }
    }
}

#[test]
fn a_message_that_is_sent_again_under_its_id_is_stored_and_arrives_once() {
    let mut net = Net::pair();
    let (one, two, three) = (message_id(), message_id(), message_id());
    let send = |net: &mut Net, texts: &[(MessageId, &str)]| {
        let texts = texts.iter().map(|(id, text)| (*id, (*text).to_owned())).collect();
        net.command(
            0,
            Command::Send {
                chat: "ben".into(),
                texts,
            },
        )
    };
    let stored = |ids: &[MessageId]| Ok(Reply::Stored { ids: ids.to_vec() });
    assert_eq!(send(&mut net, &[(one, "one"), (two, "two")]), stored(&[one, two]));
    // The reply to the first was lost with the engine.
    net.restart(0);
    assert_eq!(
        send(&mut net, &[(one, "one"), (two, "two"), (three, "three")]),
        stored(&[one, two, three])
    );
    net.connect(0, 1, Purpose::Peer);
    net.run();
    assert_eq!(send(&mut net, &[(three, "three")]), stored(&[three]));
    assert_eq!(net.texts(0, true), ["one", "two", "three"]);
    assert_eq!(net.texts(1, false), ["one", "two", "three"]);
    assert_eq!(net.reader(0).waiting(None).unwrap(), 0);
    // Another text under an old id is a mistake, and stores nothing of its batch.
    let mistaken = send(&mut net, &[(message_id(), "four"), (one, "other")]);
    assert_eq!(mistaken, Err(Failure::IdTaken));
    assert_eq!(net.messages(0).len(), 3);
}

/// Anna sends four, Ben three, interleaved; Ben may be dead for some of his. Returns what must arrive.
fn traffic(net: &mut Net) -> (Vec<String>, usize) {
    let mut accepted = 0;
    for at in 0..4 {
        net.send(0, "ben", &[&format!("a{at}")]);
        if net.peers[1].engine.is_some() && at < 3 {
            let command = Command::Send {
                chat: "anna".into(),
                texts: vec![(message_id(), format!("b{at}"))],
            };
            net.input(
                1,
                qpq_core::engine::Input::Command {
                    id: qpq_core::engine::CommandId(7_000 + at),
                    command,
                },
            );
            net.run();
            accepted += usize::from(matches!(net.peers[1].replies.get(&(7_000 + at)), Some(Ok(_))));
        }
    }
    ((0..4).map(|at| format!("a{at}")).collect(), accepted)
}

/// A restored copy of the database is found out by the first Head, and nothing is encrypted with its ratchets: what
/// waits goes by a new group.
#[test]
fn a_rolled_back_database_sends_nothing_in_its_old_group() {
    let mut net = Net::pair();
    let old = net.group(0);
    net.crash(0);
    let copy = std::fs::read(&net.peers[0].path).unwrap();
    net.start(0);
    net.connect(0, 1, Purpose::Peer);
    net.run();
    net.send(0, "ben", &["before"]);
    net.crash(0);
    std::fs::write(&net.peers[0].path, copy).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", net.peers[0].path.display()));
    }
    net.start(0);
    net.send(0, "ben", &["after"]);
    net.log.clear();
    net.connect(0, 1, Purpose::Peer);
    net.run();
    let sent = |net: &Net| {
        net.log.iter().any(|(from, _, bytes)| {
            *from == 0 && matches!(Frame::decode(bytes), Ok(Frame::App(app)) if app.group == old)
        })
    };
    assert!(!sent(&net), "a ratchet step was used twice");
    assert_ne!(net.group(0), old);
    assert_eq!(net.group(0), net.group(1));
    assert_eq!(net.reader(0).waiting(None).unwrap(), 0);
    assert!(
        net.peers[0]
            .events
            .iter()
            .any(|event| matches!(event, Event::RolledBack { .. }))
    );
    assert_eq!(net.texts(1, false), ["before", "after"]);
}
