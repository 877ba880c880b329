//! K12: a disk that was put back to an older copy of itself, as real files, at either side or both.
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
    engine::{Event, Purpose},
    store::read::Notice,
    wire::{Frame, Kind},
};

fn is_rolled_back(event: &Event) -> bool {
    matches!(event, Event::RolledBack { .. })
}

/// Both write, in turns.
fn chat(net: &mut Net, round: &str, messages: usize) {
    for n in 0..messages {
        net.send(0, "ben", &[&format!("a {round} {n}")]);
        net.send(1, "anna", &[&format!("b {round} {n}")]);
    }
}

/// A disk of anna's is put back after so many messages each way; what ben wrote meanwhile comes again, what she wrote
/// is with him, and both go on. That no key is used twice, the network in memory checks with each frame.
fn put_back_and_go_on(victim: usize, lost: usize) {
    let case = format!("victim {victim}, {lost} lost");
    let mut net = Net::pair();
    chat(&mut net, "before", 3);
    let copy = net.copy_disk(victim);
    net.reconnect();
    chat(&mut net, "lost", lost);
    let other = 1 - victim;
    net.put_back(victim, &copy);
    let old = net.group(victim);
    let to = ["ben", "anna"][victim];
    net.send(victim, to, &["written on the copy"]);
    net.log.clear();
    net.reconnect();
    net.pass(Duration::from_secs(30));
    assert_eq!(net.count(victim, is_rolled_back), usize::from(lost > 0), "{case}");
    assert_eq!(net.count(other, is_rolled_back), 0, "{case}");
    let apps = net.sent(victim, Kind::App).into_iter();
    let in_old = apps.filter(|frame| matches!(frame, Frame::App(app) if app.group == old));
    assert_eq!(
        in_old.count() > 0,
        lost == 0,
        "{case}: a ciphertext of the old ratchet"
    );
    // All that the other one wrote is there again.
    assert_eq!(net.texts(victim, false).len(), 3 + lost, "{case}");
    assert_eq!(net.texts(other, false).len(), 3 + lost + 1, "{case}");
    net.send(victim, to, &["after"]);
    let from = ["anna", "ben"][victim];
    net.send(other, from, &["answer"]);
    assert_eq!(net.texts(other, false).last().unwrap(), "after", "{case}");
    assert_eq!(net.texts(victim, false).last().unwrap(), "answer", "{case}");
    for at in [0, 1] {
        assert_eq!(net.reader(at).waiting(None).unwrap(), 0, "{case}");
        let notices = net
            .messages(at)
            .into_iter()
            .filter(|message| message.notice == Some(Notice::NewGroup));
        assert_eq!(notices.count(), usize::from(lost > 0), "{case}");
    }
    // And from now on without a word about it.
    net.restart(victim);
    net.reconnect();
    chat(&mut net, "later", 2);
    assert_eq!(net.count(victim, is_rolled_back), usize::from(lost > 0), "{case}");
}

#[test]
fn an_older_copy_gets_back_what_it_lacks_and_goes_on_with_fresh_keys() {
    for victim in [0, 1] {
        for lost in [0, 1, 20, 300] {
            put_back_and_go_on(victim, lost);
        }
    }
}

/// The link breaks, or a process dies, after any number of turns of the healing.
#[test]
fn an_older_copy_that_is_interrupted_while_it_heals_heals_on_the_next_link() {
    for victim in [0, 1] {
        for (turns, kill) in (0..24)
            .step_by(2)
            .flat_map(|turns| [(turns, None), (turns, Some(0)), (turns, Some(1))])
        {
            let case = format!("victim {victim}, {turns} turns, kill {kill:?}");
            let mut net = Net::pair();
            chat(&mut net, "before", 1);
            let copy = net.copy_disk(victim);
            net.reconnect();
            chat(&mut net, "lost", 3);
            net.put_back(victim, &copy);
            net.send(victim, ["ben", "anna"][victim], &["written on the copy"]);
            net.connect(0, 1, Purpose::Peer);
            for _ in 0..turns {
                net.turn();
            }
            match kill {
                Some(at) => net.restart(at),
                None => net.lose_links(),
            }
            for _ in 0..2 {
                net.reconnect();
                net.pass(Duration::from_secs(30));
            }
            net.send(victim, ["ben", "anna"][victim], &["after"]);
            let read = net.texts(1 - victim, false);
            assert_eq!(
                &read[read.len() - 2..],
                ["written on the copy", "after"],
                "{case}"
            );
            assert_eq!(read.len(), 1 + 3 + 2, "{case}");
            assert_eq!(net.reader(victim).waiting(None).unwrap(), 0, "{case}");
        }
    }
}

/// One who has what he says, and never answers: after ten seconds the group is given up all the same.
#[test]
fn what_never_comes_is_not_waited_for_for_ever() {
    let mut net = Net::pair();
    let copy = net.copy_disk(0);
    net.reconnect();
    chat(&mut net, "lost", 3);
    net.put_back(0, &copy);
    net.send(0, "ben", &["written on the copy"]);
    net.lossy = Box::new(|from, _, frame| from == 0 && matches!(Frame::decode(frame), Ok(Frame::Want(_))));
    net.reconnect();
    net.pass(Duration::from_secs(9));
    assert_eq!(net.texts(1, false).len(), 3, "nothing is encrypted meanwhile");
    net.pass(Duration::from_secs(3));
    assert_eq!(net.texts(1, false).last().unwrap(), "written on the copy");
}

/// Nothing of his own contradicts the copy, and the author has no reason to send anything by himself.
#[test]
fn what_only_came_after_the_copy_is_asked_for_although_nobody_writes_again() {
    for lost in [1, 20, 300] {
        let mut net = Net::pair();
        chat(&mut net, "before", 3);
        let copy = net.copy_disk(1);
        net.reconnect();
        let texts: Vec<_> = (0..lost).map(|n| n.to_string()).collect();
        net.send(0, "ben", &texts.iter().map(String::as_str).collect::<Vec<_>>());
        net.put_back(1, &copy);
        net.reconnect();
        net.pass(Duration::from_secs(10));
        assert_eq!(net.texts(1, false).len(), 3 + lost, "{lost}");
        assert_eq!(net.count(1, is_rolled_back), 0);
    }
}

#[test]
fn what_is_on_its_way_by_itself_is_not_asked_for() {
    let mut net = Net::pair();
    chat(&mut net, "before", 3);
    net.cut();
    net.run();
    net.send(0, "ben", &["x"; 600]);
    net.log.clear();
    net.reconnect();
    net.pass(Duration::from_secs(10));
    assert_eq!(net.texts(1, false).len(), 603);
    assert_eq!(net.sent(1, Kind::Want).len(), 0);
    assert_eq!(net.sent(0, Kind::App).len(), 600);
}

#[test]
fn what_is_given_up_with_the_group_is_told() {
    let mut net = Net::pair();
    let copy = net.copy_disk(0);
    net.reconnect();
    chat(&mut net, "lost", 3);
    net.put_back(0, &copy);
    net.lossy = Box::new(|from, _, frame| from == 0 && matches!(Frame::decode(frame), Ok(Frame::Want(_))));
    net.reconnect();
    net.pass(Duration::from_secs(30));
    let missing = net.peers[0].events.iter().filter_map(|event| match event {
        Event::Missing { count, .. } => Some(*count),
        _ => None,
    });
    assert_eq!(missing.collect::<Vec<_>>(), [3]);
}

/// The other side gives the group up for a reason of its own, on the same link: the new one is none of an older copy.
#[test]
fn a_group_that_the_other_replaces_meanwhile_flows_on_the_same_link() {
    for victim in [0, 1] {
        let mut net = Net::pair();
        let copy = net.copy_disk(victim);
        net.reconnect();
        chat(&mut net, "lost", 3);
        net.put_back(victim, &copy);
        let (to, from) = [("ben", "anna"), ("anna", "ben")][victim];
        net.send(victim, to, &["written on the copy"]);
        // He answers no Want any more.
        let ahead = "UPDATE grp SET ahead = 1024";
        net.peers[1 - victim].database().execute(ahead, []).unwrap();
        net.reconnect();
        net.pass(Duration::from_secs(5));
        assert_eq!(net.count(victim, is_rolled_back), 1);
        net.send(victim, to, &["after"]);
        net.send(1 - victim, from, &["answer"]);
        let read = net.texts(1 - victim, false);
        assert_eq!(
            &read[read.len() - 2..],
            ["written on the copy", "after"],
            "{victim}"
        );
        assert_eq!(net.texts(victim, false).last().unwrap(), "answer", "{victim}");
    }
}
