//! Kills at each point of each flow: what was accepted is there once, no key is used twice, and both go on.
#![cfg(debug_assertions)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking, and print what they did"
)]

#[path = "points/flows.rs"]
mod flows;
#[path = "support/net.rs"]
mod net;

use std::{collections::BTreeSet, time::Duration};

use flows::{FLOWS, Flow};
use net::Net;
use qpq_core::{
    delivery::Delivery,
    engine::{Event, Purpose},
    failpoint::{POINTS, UNNAMED},
};

/// The flows are killed in so many tests at once.
const PARTS: usize = 4;

/// Points that no engine hits: a new database is made before there is one, an older one is brought up to date at open.
fn is_of_files(point: &str) -> bool {
    point.starts_with("create.") || point.starts_with("schema.")
}

/// Points of the rule of groups, which the engine does not go through yet.
fn is_of_groups(point: &str) -> bool {
    let steps = [
        "mls.apply",
        "mls.copy",
        "mls.forget",
        "mls.judge",
        "mls.merge",
        "mls.restore",
        "mls.stage",
    ];
    steps.contains(&point)
}

/// All that a flow hits, for each peer in order.
fn undisturbed(flow: &Flow) -> Vec<Vec<&'static str>> {
    let mut net = (flow.prepare)();
    net.kill_at(0, None);
    (flow.act)(&mut net);
    let hits = net.peers.iter().map(|peer| peer.points.hits.clone()).collect();
    settle(&mut net);
    (flow.check)(&mut net);
    check(&net, flow.name);
    hits
}

/// Everybody runs, and is linked.
fn settle(net: &mut Net) {
    for at in 0..net.peers.len() {
        if net.peers[at].engine.is_none() {
            net.start(at);
        }
    }
    for other in 1..net.peers.len() {
        net.connect(0, other, Purpose::Peer);
    }
    net.pass(Duration::from_secs(10));
}

fn kill(flow: &Flow, victim: usize, hit: usize, point: &str) {
    let case = format!("{}: peer {victim} dies at hit {hit}, {point}", flow.name);
    // Printed with a failure.
    println!("{case}");
    let mut net = (flow.prepare)();
    net.kill_at(victim, Some(hit));
    (flow.act)(&mut net);
    assert_eq!(net.peers[victim].points.kill_at, None, "{case}: it lives");
    settle(&mut net);
    // What was not answered is asked for again.
    (flow.act)(&mut net);
    settle(&mut net);
    (flow.check)(&mut net);
    check(&net, &case);
}

/// What holds of any two who have talked. (That no key is used twice is checked as each ciphertext leaves.)
fn check(net: &Net, case: &str) {
    for (at, peer) in net.peers.iter().enumerate() {
        let sound: String = peer
            .database()
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(sound, "ok", "{case}");
        let all = net.messages(at);
        let ids: BTreeSet<_> = all.iter().map(|message| message.id).collect();
        assert_eq!(ids.len(), all.len(), "{case}: shown twice to {at}");
        assert!(
            !peer
                .events
                .iter()
                .any(|event| matches!(event, Event::RolledBack { .. })),
            "{case}"
        );
        let others: BTreeSet<_> = (0..net.peers.len())
            .filter(|other| *other != at)
            .flat_map(|other| net.messages(other))
            .map(|message| message.id)
            .collect();
        for message in all
            .iter()
            .filter(|message| message.state == Some(Delivery::Delivered))
        {
            assert!(others.contains(&message.id), "{case}: delivered, and not there");
        }
        let purged = peer.points.hits.contains(&"purge.messages");
        for id in peer.accepted.iter().filter(|_| !purged) {
            assert!(ids.contains(id), "{case}: accepted by {at}, and lost");
        }
    }
}

/// The first hit of each point, and the last of those at the ends of steps and transactions: within one transaction a
/// kill always leaves the disk of before it.
fn worth_killing(hits: &[&'static str]) -> BTreeSet<usize> {
    let mut chosen = BTreeSet::new();
    for (at, point) in hits.iter().enumerate() {
        let is_first = !hits[..at].contains(point);
        let is_end = point.starts_with("commit.") || point.starts_with("step.");
        if is_first || (is_end && !hits[at + 1..].contains(point)) {
            chosen.insert(at);
        }
    }
    chosen
}

/// Kills each peer at each point of some flows.
fn kill_everywhere(part: usize) {
    let mut kills = 0;
    for flow in FLOWS.iter().skip(part).step_by(PARTS) {
        for (victim, hits) in undisturbed(flow).into_iter().enumerate() {
            for hit in worth_killing(&hits) {
                kill(flow, victim, hit, hits[hit]);
                kills += 1;
            }
        }
    }
    println!("{kills} kills");
    assert!(kills > 50, "{kills} kills");
}

#[test]
fn a_kill_at_any_point_loses_nothing_first_part() {
    kill_everywhere(0);
}

#[test]
fn a_kill_at_any_point_loses_nothing_second_part() {
    kill_everywhere(1);
}

#[test]
fn a_kill_at_any_point_loses_nothing_third_part() {
    kill_everywhere(2);
}

#[test]
fn a_kill_at_any_point_loses_nothing_fourth_part() {
    kill_everywhere(3);
}

#[test]
fn every_point_is_hit_by_a_flow_and_nothing_is_written_without_one() {
    let mut hits = BTreeSet::new();
    for flow in &FLOWS {
        hits.extend(undisturbed(flow).concat());
    }
    assert!(!hits.contains(UNNAMED), "something is written past Store::write");
    let named: BTreeSet<_> = POINTS
        .into_iter()
        .filter(|point| !is_of_files(point) && !is_of_groups(point))
        .collect();
    let missing: Vec<_> = named.difference(&hits).collect();
    let unknown: Vec<_> = hits.difference(&named).collect();
    assert!(missing.is_empty(), "no flow hits {missing:?}");
    assert!(unknown.is_empty(), "not in the list: {unknown:?}");
}
