//! Clocks that are wrong: nothing is over too early, nothing is lost for ever, and order does not heed them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

#[path = "support/net.rs"]
mod net;

use std::time::Duration;

use net::{Net, message_id};
use qpq_core::{
    delivery::Delivery,
    engine::{Command, Event, Input},
    invite::JoinFailure,
};

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
const DAY: Duration = Duration::from_secs(86_400);

/// K7: a year and an hour too late, ninety days and ten years too early.
const JUMPS: [i64; 4] = [-365 * DAY_MS, -HOUR_MS, 90 * DAY_MS, 3_650 * DAY_MS];

/// How somebody's clock gets wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    Running,
    AtStart,
}

const WHEN: [When; 2] = [When::Running, When::AtStart];

fn jump(net: &mut Net, at: usize, jump: i64, when: When) {
    if when == When::AtStart {
        net.crash(at);
    }
    net.now.unix_ms += jump;
    match when {
        When::AtStart => net.start(at),
        When::Running => net.input(at, Input::Tick),
    }
    net.run();
}

fn failure(net: &Net, at: usize) -> Option<JoinFailure> {
    net.peers[at].events.iter().find_map(|event| match event {
        Event::JoinFailed(failure) => Some(*failure),
        _ => None,
    })
}

/// Makes a link that is good for so long.
fn link(net: &mut Net, lifetime: Duration) -> String {
    match net.command(0, Command::InviteLink { lifetime }).unwrap() {
        qpq_core::engine::Reply::Link { link, .. } => link.to_text().to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_link_outlives_a_clock_that_was_wrong_for_a_while_and_ends_when_its_time_is_over() {
    for (wrong, when) in JUMPS.into_iter().flat_map(|wrong| WHEN.map(|when| (wrong, when))) {
        let case = format!("{wrong} {when:?}");
        let mut net = Net::new(&["anna", "ben"]);
        let (good, late) = (link(&mut net, DAY), link(&mut net, DAY));
        jump(&mut net, 0, wrong, when);
        net.pass(Duration::from_secs(2 * 3_600));
        assert_eq!(
            net.reader(0).links(net.now.unix_ms).unwrap().len(),
            if when == When::AtStart && wrong > 0 { 0 } else { 2 },
            "{case}"
        );
        jump(&mut net, 0, -wrong, when);
        assert_eq!(net.reader(0).links(net.now.unix_ms).unwrap().len(), 2, "{case}");
        net.join_by_link(1, &good).unwrap();
        assert_eq!(net.reader(0).asking().unwrap().len(), 1, "{case}");
        // What was used is no one else's; what was not is over after its day, and not a year later.
        net.pass(DAY);
        net.join_by_link(1, &late).unwrap();
        assert_eq!(failure(&net, 1), Some(JoinFailure::LinkExpired), "{case}");
    }
}

#[test]
fn a_clock_that_is_turned_back_brings_no_expired_link_back() {
    for when in WHEN {
        let mut net = Net::new(&["anna", "ben"]);
        let old = link(&mut net, DAY);
        net.pass(DAY + Duration::from_secs(60));
        jump(&mut net, 0, -2 * DAY_MS, when);
        net.join_by_link(1, &old).unwrap();
        assert_eq!(failure(&net, 1), Some(JoinFailure::LinkExpired), "{when:?}");
        assert_eq!(net.reader(0).links(net.now.unix_ms).unwrap(), [], "{when:?}");
    }
}

#[test]
fn a_link_that_was_made_while_the_clock_was_wrong_is_good_for_its_time() {
    for wrong in JUMPS {
        let mut net = Net::new(&["anna", "ben"]);
        jump(&mut net, 0, wrong, When::AtStart);
        let link = link(&mut net, DAY);
        let shown = net.reader(0).links(net.now.unix_ms).unwrap();
        assert_eq!(shown[0].expires_at, net.now.unix_ms + DAY_MS, "as people see it");
        jump(&mut net, 0, -wrong, When::AtStart);
        net.pass(Duration::from_secs(20 * 3_600));
        net.join_by_link(1, &link).unwrap();
        assert_eq!(net.reader(0).asking().unwrap().len(), 1, "{wrong}");
    }
}

/// The secrets of a KeyPackage go with the request: one that was deleted too early could not be answered any more.
#[test]
fn a_request_outlives_a_clock_that_was_wrong_for_a_while() {
    for (wrong, when) in JUMPS.into_iter().flat_map(|wrong| WHEN.map(|when| (wrong, when))) {
        let case = format!("{wrong} {when:?}");
        let mut net = Net::new(&["anna", "ben"]);
        let link = net.invite_by_link(0);
        net.join_by_link(1, &link).unwrap();
        for wrong in [wrong, -wrong] {
            jump(&mut net, 1, wrong, when);
            net.pass(Duration::from_secs(2 * 3_600));
            assert_eq!(net.reader(1).asked().unwrap().len(), 1, "{case}");
        }
        let peer = net.id(1);
        let change = qpq_core::engine::ContactChange::Accept;
        net.command(0, Command::Contact { peer, change }).unwrap();
        net.connect(1, 0, qpq_core::engine::Purpose::Peer);
        net.run();
        assert!(net.joined(1), "{case}");
    }
}

/// Whoever starts qpq for a moment each day forgets a request as well as somebody who leaves it running.
#[test]
fn a_request_is_over_after_its_time_however_that_was_spent() {
    let mut net = Net::new(&["anna", "ben"]);
    let link = net.invite_by_link(0);
    net.join_by_link(1, &link).unwrap();
    net.crash(0);
    for day in 0..30 {
        assert_eq!(net.reader(1).asked().unwrap().len(), 1, "day {day}");
        jump(&mut net, 1, DAY_MS, When::AtStart);
    }
    // The last pause counts once a day was lived after it.
    net.pass(DAY + Duration::from_secs(3_700));
    assert_eq!(net.reader(1).asked().unwrap().len(), 0);
}

#[test]
fn messages_keep_their_order_and_their_place_in_the_outbox_whatever_the_clock_shows() {
    for (wrong, when) in JUMPS.into_iter().flat_map(|wrong| WHEN.map(|when| (wrong, when))) {
        let case = format!("{wrong} {when:?}");
        let mut net = Net::pair();
        net.send(0, "ben", &["one"]);
        net.cut();
        net.run();
        let id = message_id();
        let texts = vec![(id, "two".to_owned())];
        let chat = "ben".to_owned();
        net.command(0, Command::Send { chat, texts }).unwrap();
        jump(&mut net, 0, wrong, when);
        net.send(0, "ben", &["three"]);
        net.pass(Duration::from_secs(3_700));
        jump(&mut net, 0, -wrong, when);
        net.send(0, "ben", &["four"]);
        let state = net.reader(0).recipients(&id).unwrap().unwrap()[0].state;
        assert_eq!(state, Delivery::Here, "{case}");
        net.connect(0, 1, qpq_core::engine::Purpose::Peer);
        net.run();
        assert_eq!(net.texts(1, false), ["one", "two", "three", "four"], "{case}");
        assert_eq!(net.texts(0, true), ["one", "two", "three", "four"], "{case}");
        assert_eq!(net.reader(0).waiting(None).unwrap(), 0, "{case}");
    }
}
