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
            // The clock that people see is past what was printed.
            if wrong > 0 { 0 } else { 2 },
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

/// The machine is off: all clocks go on.
fn off(net: &mut Net, at: usize, time: i64) {
    jump(net, at, time, When::AtStart);
}

#[test]
fn a_link_is_over_when_its_printed_time_is_also_after_a_machine_was_off_for_long() {
    let mut net = Net::new(&["anna", "ben"]);
    let old = link(&mut net, 30 * DAY);
    let printed = net.reader(0).links(net.now.unix_ms).unwrap()[0].expires_at;
    off(&mut net, 0, 20 * DAY_MS);
    let shown = net.reader(0).links(net.now.unix_ms).unwrap();
    assert_eq!(shown[0].expires_at, printed, "as it was printed");
    off(&mut net, 0, 40 * DAY_MS);
    assert_eq!(net.reader(0).links(net.now.unix_ms).unwrap(), []);
    net.join_by_link(1, &old).unwrap();
    assert_eq!(failure(&net, 1), Some(JoinFailure::LinkExpired));
    // It was refused, and is not gone: a clock that was far ahead all the time gives it back.
    net.now.unix_ms -= 50 * DAY_MS;
    net.peers[1].events.clear();
    net.join_by_link(1, &old).unwrap();
    assert_eq!(net.reader(0).asking().unwrap().len(), 1);
}

#[test]
fn a_clock_that_was_wrong_for_more_than_a_day_gives_links_back_and_counts_again_when_it_is_right() {
    for when in WHEN {
        let mut net = Net::new(&["anna", "ben"]);
        let good = link(&mut net, 30 * DAY);
        jump(&mut net, 0, 3_650 * DAY_MS, when);
        net.pass(3 * DAY);
        assert_eq!(net.reader(0).links(net.now.unix_ms).unwrap(), [], "{when:?}");
        jump(&mut net, 0, -3_650 * DAY_MS, when);
        assert_eq!(net.reader(0).links(net.now.unix_ms).unwrap().len(), 1, "{when:?}");
        net.pass(2 * DAY);
        let late = link(&mut net, 3 * DAY);
        off(&mut net, 0, 2 * DAY_MS);
        assert_eq!(
            looked(&net, 0, "low_looked"),
            Some(net.now.unix_ms),
            "no complaint"
        );
        off(&mut net, 0, 36 * HOUR_MS);
        net.join_by_link(1, &late).unwrap();
        assert_eq!(failure(&net, 1), Some(JoinFailure::LinkExpired), "{when:?}");
        net.join_by_link(1, &good).unwrap();
        assert_eq!(net.reader(0).asking().unwrap().len(), 1, "{when:?}");
    }
}

/// What is kept of the age of a profile.
fn looked(net: &Net, at: usize, key: &str) -> Option<i64> {
    let sql = "SELECT CAST(CAST(value AS TEXT) AS INTEGER) FROM meta WHERE key = ?1";
    net.peers[at]
        .database()
        .query_row(sql, [key], |row| row.get(0))
        .ok()
}

#[test]
fn a_profile_that_was_made_while_the_clock_was_ahead_counts_pauses_once_that_is_right() {
    // One who leaves it running, and one who starts it for a moment each day.
    for runs in [true, false] {
        let mut net = Net::new(&["anna", "ben"]);
        net.crash(0);
        net.now.unix_ms += 3_650 * DAY_MS;
        net.rename(0, "anna");
        jump(&mut net, 0, -3_650 * DAY_MS, When::AtStart);
        let days = if runs {
            net.pass(2 * DAY);
            0
        } else {
            for _ in 0..4 {
                off(&mut net, 0, DAY_MS);
            }
            4
        };
        let before = looked(&net, 0, "lived").unwrap();
        assert!(before < (days + 3) * DAY_MS);
        off(&mut net, 0, 5 * DAY_MS);
        assert_eq!(looked(&net, 0, "lived").unwrap() - before, 5 * DAY_MS, "{runs}");
        // A clock that is ahead again is found out as ever.
        off(&mut net, 0, 90 * DAY_MS);
        off(&mut net, 0, -90 * DAY_MS);
        assert!(looked(&net, 0, "lived").unwrap() - before <= 5 * DAY_MS, "{runs}");
    }
}

/// K7: nothing is over too early.
#[test]
fn messages_that_are_almost_old_outlive_a_clock_that_was_wrong_for_a_while() {
    for (wrong, when) in JUMPS.into_iter().flat_map(|wrong| WHEN.map(|when| (wrong, when))) {
        let mut net = Net::pair();
        net.cut();
        net.run();
        let id = message_id();
        let texts = vec![(id, "old".to_owned())];
        let chat = "ben".to_owned();
        net.command(0, Command::Send { chat, texts }).unwrap();
        net.pass(25 * DAY);
        jump(&mut net, 0, wrong, when);
        net.pass(Duration::from_secs(2 * 3_600));
        jump(&mut net, 0, -wrong, when);
        net.pass(4 * DAY);
        let state = |net: &Net| net.reader(0).recipients(&id).unwrap().unwrap()[0].state;
        assert_eq!(state(&net), Delivery::Here, "{wrong} {when:?}");
        net.pass(2 * DAY);
        assert_eq!(state(&net), Delivery::Expired, "{wrong} {when:?}");
    }
}

/// Whoever starts qpq for a moment each day lives no day with it.
#[test]
fn a_request_is_not_shown_when_it_is_over_and_deleted_by_the_next_start() {
    let mut net = Net::new(&["anna", "ben"]);
    let link = net.invite_by_link(0);
    net.join_by_link(1, &link).unwrap();
    net.crash(0);
    let kept = |net: &Net| {
        let sql = "SELECT count(*) FROM pending_join";
        let count: i64 = net.peers[1]
            .database()
            .query_row(sql, [], |row| row.get(0))
            .unwrap();
        count
    };
    for _ in 0..31 {
        jump(&mut net, 1, DAY_MS, When::AtStart);
    }
    assert_eq!(net.reader(1).asked().unwrap(), [], "over");
    assert!(net.reader(1).relations().unwrap().is_empty());
    let directory = net.peers[1].directory.as_ref().unwrap();
    assert!(directory.known.is_empty() && directory.looking_for_links.is_empty());
    jump(&mut net, 1, DAY_MS, When::AtStart);
    assert_eq!(kept(&net), 0, "deleted");
}

/// Its last pause was made up, and it is shown again when the clock is right.
#[test]
fn a_request_that_was_over_by_a_wrong_clock_alone_is_not_deleted() {
    let mut net = Net::new(&["anna", "ben"]);
    let link = net.invite_by_link(0);
    net.join_by_link(1, &link).unwrap();
    net.pass(25 * DAY);
    jump(&mut net, 1, 90 * DAY_MS, When::AtStart);
    assert_eq!(net.reader(1).asked().unwrap(), [], "as it seems");
    net.pass(Duration::from_secs(2 * 3_600));
    jump(&mut net, 1, -90 * DAY_MS, When::AtStart);
    assert_eq!(net.reader(1).asked().unwrap().len(), 1);
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
