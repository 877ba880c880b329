//! First contact by link while processes die: a request that left is on both disks in the end, once.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

#[path = "support/net.rs"]
mod net;

use net::Net;
use qpq_core::engine::{Command, CommandId, Input, Purpose};

/// Makes the link before anybody crashes: nothing is printed that is not on the disk.
fn ask(net: &mut Net, link: &str) {
    let link = link.parse().unwrap();
    let command = Command::JoinLink(link);
    net.input(
        1,
        Input::Command {
            id: CommandId(9_001),
            command,
        },
    );
    net.run();
    if net.peers[1].engine.is_some() && net.peers[0].engine.is_some() {
        net.dial_links(1);
    }
}

/// Commits of each side in an undisturbed join, those of the preparation left out.
fn commits() -> [(usize, usize); 2] {
    let mut net = Net::new(&["anna", "ben"]);
    let link = net.invite_by_link(0);
    let before = [0, 1].map(|at| net.peers[at].commits);
    ask(&mut net, &link);
    assert_eq!(net.reader(0).asking().unwrap().len(), 1);
    [0, 1].map(|at| (before[at], net.peers[at].commits))
}

/// Whatever commit a process dies at, before or after it reached the disk: who was asked is asked once, either by
/// the request that stayed on the joiner's disk or by the same link once more.
#[test]
fn a_crash_at_any_commit_leaves_one_request_on_both_disks() {
    let mut crashes = 0;
    for (victim, (first, last)) in commits().into_iter().enumerate() {
        for commit in first..last {
            for stored in [false, true] {
                crash(victim, commit, stored);
                crashes += 1;
            }
        }
    }
    assert!(crashes >= 16, "{crashes} crashes");
}

/// Ben's request to Anna, and her name once she has that.
fn pending(net: &Net) -> Option<Option<String>> {
    let asked = net.reader(1).asked().unwrap();
    asked.into_iter().next().map(|(_, name)| name)
}

fn crash(victim: usize, commit: usize, stored: bool) {
    let case = format!("peer {victim} at commit {commit}, stored {stored}");
    let mut net = Net::new(&["anna", "ben"]);
    let link = net.invite_by_link(0);
    net.peers[victim].crash_at = Some((commit, stored));
    ask(&mut net, &link);
    net.peers[victim].crash_at = None;
    for at in [0, 1] {
        net.restart(at);
    }
    let ben = net.id(1);
    // What the drivers do: the inviter dials whom it knows, the joiner whose link it recognises.
    if net.peers[0].directory.as_ref().unwrap().known.contains_key(&ben) {
        net.connect(0, 1, Purpose::Peer);
        net.run();
    }
    net.dial_links(1);
    if pending(&net).is_none() {
        assert!(net.reader(0).asking().unwrap().is_empty(), "{case}");
        net.join_by_link(1, &link).unwrap();
    }
    let requests = net.reader(0).asking().unwrap();
    assert_eq!(
        requests.iter().map(|row| row.peer).collect::<Vec<_>>(),
        [ben],
        "{case}"
    );
    assert_eq!(pending(&net), Some(Some("anna".into())), "{case}");
    let links = net.reader(0).links(net.now.unix_ms).unwrap();
    assert_eq!((links[0].used_by, links[0].refused), (Some(ben), 0), "{case}");
}

/// Both may be lost at once, after the request left and before it came.
#[test]
fn a_request_that_never_came_is_proved_again_after_a_restart() {
    let [(first, _), _] = commits();
    let mut net = Net::new(&["anna", "ben"]);
    let link = net.invite_by_link(0);
    // Anna: link up, start, proof, request. The last one is lost.
    net.peers[0].crash_at = Some((first + 3, false));
    ask(&mut net, &link);
    assert!(net.peers[0].engine.is_none());
    assert_eq!(pending(&net), Some(None));
    net.restart(1);
    net.start(0);
    assert!(net.reader(0).asking().unwrap().is_empty());
    net.dial_links(1);
    assert_eq!(net.reader(0).asking().unwrap().len(), 1);
    assert_eq!(pending(&net), Some(Some("anna".into())));
}
