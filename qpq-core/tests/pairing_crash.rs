//! First contact by a spoken code while processes die: what was decided holds, what was not can be done again.
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
    engine::{Command, CommandId, Input, Purpose, Reply},
    invite::Nameplate,
};

fn contacts(net: &Net, at: usize) -> usize {
    net.reader(at).chats().unwrap().len()
}

/// The KeyPackage's secrets and the request are on disk before they leave, so that a Welcome for them
/// is worth something after a kill, without another code.
#[test]
fn a_joiner_killed_after_asking_joins_when_he_is_back() {
    for cycle in 0..20 {
        let mut net = Net::new(&["anna", "ben"]);
        let code = net.invite(0);
        net.peers[1].crash_at = Some((net.peers[1].commits + 5, false));
        net.join(1, 0, code);
        assert_eq!((contacts(&net, 0), contacts(&net, 1)), (1, 0), "cycle {cycle}");
        assert!(!net.joined(0), "nobody is told before the joiner confirmed");
        net.start(1);
        net.connect(0, 1, Purpose::Peer);
        net.run();
        assert_eq!(contacts(&net, 1), 1, "cycle {cycle}");
        assert!(net.joined(0) && net.joined(1));
        net.send(0, "ben", &["welcome back"]);
        assert_eq!(net.texts(1, false), ["welcome back"]);
    }
}

/// Ben's request died with his disk's copy of it, Anna's answer was never read: another code makes it good, and
/// what Anna wrote meanwhile arrives.
#[test]
fn a_contact_who_never_joined_can_be_invited_again() {
    let mut net = Net::new(&["anna", "ben"]);
    let code = net.invite(0);
    net.peers[1].crash_at = Some((net.peers[1].commits + 5, false));
    net.join(1, 0, code);
    assert_eq!((contacts(&net, 0), contacts(&net, 1)), (1, 0));
    net.send(0, "ben", &["are you there?"]);
    net.now.unix_ms += 25 * 60 * 60 * 1000;
    net.restart(0);
    net.start(1);
    let code = net.invite(0);
    net.join(1, 0, code);
    assert_eq!((contacts(&net, 0), contacts(&net, 1)), (1, 1));
    net.send(1, "anna", &["now I am"]);
    assert_eq!(net.texts(1, false), ["are you there?"]);
    assert_eq!(net.texts(0, false), ["now I am"]);
    assert_eq!(net.reader(0).waiting(None).unwrap(), 0);
}

/// Whatever commit a process dies at, before or after it reached the disk: in the end the two talk, after one
/// reconnect where both had decided, or after another invite where they had not.
#[test]
fn a_crash_at_any_commit_of_the_pairing_leaves_both_able_to_talk() {
    let commits = [0, 1].map(|at| Net::pair().peers[at].commits);
    for (victim, total) in commits.into_iter().enumerate() {
        for commit in 0..total {
            for stored in [false, true] {
                crash_while_pairing(victim, commit, stored);
            }
        }
    }
}

fn crash_while_pairing(victim: usize, commit: usize, stored: bool) {
    let case = format!("peer {victim} at commit {commit}, stored {stored}");
    let mut net = Net::new(&["anna", "ben"]);
    net.peers[victim].crash_at = Some((commit, stored));
    let _ = try_pair(&mut net);
    net.peers[victim].crash_at = None;
    for at in [0, 1] {
        net.restart(at);
    }
    net.connect(1, 0, Purpose::Peer);
    net.run();
    if contacts(&net, 0) == 0 || contacts(&net, 1) == 0 {
        let code = net.invite(0);
        net.join(1, 0, code);
    }
    assert_eq!((contacts(&net, 0), contacts(&net, 1)), (1, 1), "{case}");
    net.send(0, "ben", &["to ben"]);
    net.send(1, "anna", &["to anna"]);
    assert_eq!(
        (net.texts(1, false), net.texts(0, false)),
        (vec!["to ben".into()], vec!["to anna".into()]),
        "{case}"
    );
}

/// A pairing whose commands may get lost in a crash.
fn try_pair(net: &mut Net) -> Option<()> {
    let nameplate = Nameplate::try_from(4).unwrap();
    let lifetime = Duration::from_secs(60);
    net.input(
        0,
        Input::Command {
            id: CommandId(9_000),
            command: Command::Invite { nameplate, lifetime },
        },
    );
    net.run();
    let code = match net.peers[0].replies.remove(&9_000)? {
        Ok(Reply::Invited(code)) => code,
        other => panic!("{other:?}"),
    };
    net.input(
        1,
        Input::Command {
            id: CommandId(9_001),
            command: Command::Join(code),
        },
    );
    net.run();
    let peer = net.id(0);
    net.input(1, Input::Advert { peer, nameplate });
    net.run();
    Some(())
}
