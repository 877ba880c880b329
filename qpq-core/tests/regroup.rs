//! A side has lost the state of its group: a new one takes its place, whatever is lost, repeated or dies meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

#[path = "support/net.rs"]
mod net;

use net::Net;
use qpq_core::{
    delivery::Delivery,
    engine::Purpose,
    id::{GroupId, MemberId},
    identity::Context,
    wire::{Frame, Kind, NotMember},
};
use sha2::{Digest, Sha256};

fn count(net: &Net, at: usize, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    net.peers[at]
        .database()
        .query_row(&sql, [], |row| row.get(0))
        .unwrap()
}

/// Who lost the state, and who died when: what both had written arrives, once, in one chat.
fn lose_and_heal(victims: &[usize], prepare: impl FnOnce(&mut Net), case: &str) {
    let mut net = Net::pair();
    net.send(0, "ben", &["before a"]);
    net.send(1, "anna", &["before b"]);
    net.cut();
    net.run();
    net.send(0, "ben", &["waiting a1", "waiting a2"]);
    net.send(1, "anna", &["waiting b1", "waiting b2"]);
    for at in victims {
        net.lose_groups(*at);
    }
    // Also where there is no group at all.
    net.send(0, "ben", &["later a"]);
    net.send(1, "anna", &["later b"]);
    prepare(&mut net);
    for _ in 0..3 {
        for at in [0, 1] {
            net.peers[at].crash_at = None;
            if net.peers[at].engine.is_none() {
                net.start(at);
            }
        }
        net.reconnect();
    }
    net.send(0, "ben", &["after a"]);
    net.send(1, "anna", &["after b"]);
    for (from, to, who) in [(0, 1, "a"), (1, 0, "b")] {
        let expected = ["before", "waiting", "waiting", "later", "after"]
            .iter()
            .zip(["", "1", "2", "", ""]);
        let expected: Vec<_> = expected
            .map(|(word, number)| format!("{word} {who}{number}"))
            .collect();
        assert_eq!(net.texts(from, true), expected, "{case}");
        assert_eq!(net.texts(to, false), expected, "{case}");
        assert_eq!(net.new_groups(from), 1, "{case}: one line in the chat");
        assert!(net.reader(from).outbox(None).unwrap().is_empty(), "{case}");
        for table in ["offer", "openmls_key_packages"] {
            assert_eq!(
                count(&net, from, table),
                0,
                "{case}: a KeyPackage is left in {table}"
            );
        }
        for (table, rows) in [("grp", 1), ("member", 2)] {
            assert_eq!(count(&net, from, table), rows, "{case}: {table}");
        }
        let sql = "(SELECT DISTINCT group_id FROM openmls_group_data)";
        assert_eq!(
            count(&net, from, sql),
            1,
            "{case}: a dead group's secrets are left"
        );
    }
    assert!(!net.rolled_back(), "{case}");
    assert!(
        net.messages(0)
            .iter()
            .all(|message| message.seq == 0 || message.state != Some(Delivery::Here))
    );
}

const VICTIMS: [&[usize]; 3] = [&[0], &[1], &[0, 1]];

#[test]
fn lost_state_of_either_side_or_both_heals() {
    for victims in VICTIMS {
        lose_and_heal(victims, |_| {}, &format!("lost by {victims:?}"));
    }
}

/// The link breaks after any number of turns, and what was under way is lost.
#[test]
fn a_link_lost_at_any_moment_of_the_healing_only_delays_it() {
    for victims in VICTIMS {
        for turns in 0..12 {
            let cut = |net: &mut Net| {
                net.connect(0, 1, Purpose::Peer);
                for _ in 0..turns {
                    net.turn();
                }
                net.lose_links();
                net.run();
            };
            lose_and_heal(
                victims,
                cut,
                &format!("lost by {victims:?}, cut after {turns} turns"),
            );
        }
    }
}

/// Either side dies at any commit of the healing, before or after it reached the disk.
fn crash_at_any_commit(victims: &[usize]) {
    for dying in [0, 1] {
        for (commit, stored) in (0..8).flat_map(|commit| [(commit, false), (commit, true)]) {
            let crash = |net: &mut Net| {
                net.peers[dying].crash_at = Some((net.peers[dying].commits + commit, stored));
                net.reconnect();
            };
            let case = format!("lost by {victims:?}, {dying} dies at {commit}, stored {stored}");
            lose_and_heal(victims, crash, &case);
        }
    }
}

#[test]
fn a_crash_at_any_commit_only_delays_what_anna_lost() {
    crash_at_any_commit(VICTIMS[0]);
}

#[test]
fn a_crash_at_any_commit_only_delays_what_ben_lost() {
    crash_at_any_commit(VICTIMS[1]);
}

#[test]
fn a_crash_at_any_commit_only_delays_what_both_lost() {
    crash_at_any_commit(VICTIMS[2]);
}

/// Frames come twice: over an old link, and as a replay of its own by the peer.
#[test]
fn repeated_statements_and_welcomes_change_nothing() {
    for victims in VICTIMS {
        let repeat = |net: &mut Net| {
            net.log.clear();
            net.reconnect();
            let log = net.log.clone();
            let (at_anna, at_ben) = net.reconnect();
            for (from, _, bytes) in log {
                let kind = Frame::decode(&bytes).unwrap().kind();
                if matches!(kind, Kind::NotMember | Kind::Welcome | Kind::Head) {
                    let (to, session) = if from == 0 { (1, at_ben) } else { (0, at_anna) };
                    net.inject(to, session, bytes);
                }
            }
            net.run();
        };
        lose_and_heal(victims, repeat, &format!("lost by {victims:?}, repeated"));
    }
}

/// A statement as its member would sign it.
fn statement(net: &Net, from: usize, group: GroupId, key_package: Vec<u8>) -> NotMember {
    let member = MemberId::from(&net.id(from));
    let signed = [&group.0[..], &member.0, &Sha256::digest(&key_package)].concat();
    NotMember {
        group,
        member,
        key_package,
        signature: net.identity(from).sign(Context::NotMember, &[&signed]),
    }
}

/// Without a true signature, or without the sender's own KeyPackage, no statement kills a group; nor does a true
/// one about another group.
#[test]
fn false_statements_kill_no_group() {
    let mut net = Net::pair();
    net.send(0, "ben", &["x"]);
    let group = net.apps(0).pop().unwrap().group;
    for (from, to) in [(0, 1), (1, 0)] {
        // KeyPackages of the same two people, from another life.
        let key_packages = [0, 1].map(offered);
        let good = statement(&net, from, group, key_packages[from].clone());
        let old = statement(&net, from, GroupId([7; 16]), key_packages[from].clone());
        let refused = [
            NotMember {
                signature: old.signature,
                ..good.clone()
            },
            NotMember {
                key_package: key_packages[to].clone(),
                ..good.clone()
            },
            NotMember {
                member: MemberId::from(&net.id(to)),
                ..good.clone()
            },
            statement(&net, to, group, key_packages[to].clone()),
            statement(&net, from, group, key_packages[to].clone()),
            statement(&net, from, group, vec![1; 300]),
        ];
        for (at, statement) in refused.into_iter().chain([old]).enumerate() {
            let link = net.reconnect();
            let session = if to == 0 { link.0 } else { link.1 };
            net.inject(to, session, Frame::NotMember(statement).encode());
            net.run();
            assert_eq!(net.peers[to].closed.contains(&session), at < 6, "statement {at}");
        }
    }
    net.reconnect();
    net.send(0, "ben", &["still here"]);
    assert_eq!(net.texts(1, false), ["x", "still here"]);
    assert_eq!((net.new_groups(0), net.new_groups(1)), (0, 0));
}

/// A KeyPackage that a peer offers when it has lost its groups.
fn offered(at: usize) -> Vec<u8> {
    let mut net = Net::pair();
    net.log.clear();
    net.lose_groups(at);
    net.reconnect();
    match net.sent(at, Kind::NotMember).pop() {
        Some(Frame::NotMember(statement)) => statement.key_package,
        other => panic!("{other:?}"),
    }
}

/// A Head of another epoch is no word on this one: nothing is sent on it.
#[test]
fn a_head_of_another_epoch_begins_no_flow() {
    // The same keys and the same group id; only what openmls draws by itself differs.
    let (mut net, mut other) = (Net::pair(), Net::pair());
    let head = |net: &mut Net| {
        net.log.clear();
        net.reconnect();
        match net.sent(1, Kind::Head).pop() {
            Some(Frame::Head(head)) => head,
            _ => panic!("no Head"),
        }
    };
    let (right, wrong) = (head(&mut net), head(&mut other));
    assert_eq!(right.group, wrong.group);
    assert_ne!(right.epoch_id, wrong.epoch_id);
    net.cut();
    net.run();
    net.send(0, "ben", &["x"]);
    net.lossy = Box::new(|from, _, frame| from == 1 && matches!(Frame::decode(frame), Ok(Frame::Head(_))));
    let (at_anna, _) = net.reconnect();
    net.log.clear();
    net.inject(0, at_anna, Frame::Head(wrong).encode());
    net.run();
    assert!(net.log.is_empty());
    net.inject(0, at_anna, Frame::Head(right).encode());
    net.run();
    assert_eq!(net.texts(1, false), ["x"]);
}
