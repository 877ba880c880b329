//! How far messages get, and what is said about it: truthful, never backwards, whatever the clocks say.
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
    delivery::{Delivery, Range, Ranges},
    engine::{Command, CommandId, Event, Input, Purpose, Reply},
    id::MessageId,
    identity::Context,
    wire::{Frame, Kind},
};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn send(net: &mut Net, at: usize, chat: &str, texts: &[&str]) -> Vec<MessageId> {
    let (chat, texts) = (
        chat.to_owned(),
        texts
            .iter()
            .map(|text| (net::message_id(), (*text).to_owned()))
            .collect(),
    );
    match net.command(at, Command::Send { chat, texts }).unwrap() {
        Reply::Stored { ids } => ids,
        other => panic!("{other:?}"),
    }
}

/// Sends a text, and lets nothing happen yet.
fn queue(net: &mut Net, text: &str) -> MessageId {
    let message = net::message_id();
    let (chat, texts) = ("ben".to_owned(), vec![(message, text.to_owned())]);
    let (id, command) = (CommandId(77), Command::Send { chat, texts });
    net.input(0, Input::Command { id, command });
    message
}

fn state(net: &Net, at: usize, id: MessageId) -> Delivery {
    let recipients = net.reader(at).recipients(&id).unwrap().unwrap();
    assert_eq!(recipients.len(), 1);
    recipients[0].state
}

fn progress(net: &Net, at: usize, id: MessageId) -> Vec<Delivery> {
    let states = net.peers[at].events.iter().filter_map(|event| match event {
        Event::Progress { id: of, state } if *of == id => Some(*state),
        _ => None,
    });
    states.collect()
}

#[test]
fn recipients_and_outbox_say_who_lacks_what() {
    let mut net = Net::pair();
    net.crash(1);
    net.cut();
    let ids = send(&mut net, 0, "ben", &["one", "two"]);
    let outbox = net.reader(0).outbox(None).unwrap();
    assert_eq!(outbox.iter().map(|waiting| waiting.id).collect::<Vec<_>>(), ids);
    assert!(
        outbox
            .iter()
            .all(|waiting| waiting.chat == "ben" && waiting.stored_at == net.now.unix_ms)
    );
    let ben = &outbox[1].waiting[0];
    assert_eq!(
        (ben.peer, ben.name.as_str(), ben.state),
        (net.id(1), "ben", Delivery::Here)
    );
    let chat = net.reader(0).find_chat("ben").unwrap().id;
    assert_eq!(net.reader(0).outbox(Some(chat)).unwrap(), outbox);
    assert!(net.reader(0).outbox(Some(chat + 1)).unwrap().is_empty());
    assert!(
        net.messages(0)
            .iter()
            .all(|message| message.state == Some(Delivery::Here))
    );
    assert_eq!(net.reader(0).recipients(&MessageId([9; 16])).unwrap(), None);

    net.start(1);
    net.connect(0, 1, Purpose::Peer);
    net.run();
    for id in ids {
        assert_eq!(state(&net, 0, id), Delivery::Delivered);
        assert_eq!(progress(&net, 0, id), [Delivery::Delivered], "told once");
        assert_eq!(
            net.reader(1).recipients(&id).unwrap(),
            None,
            "of own messages only"
        );
    }
    assert!(net.reader(0).outbox(None).unwrap().is_empty());
    assert!(net.messages(1).iter().all(|message| message.state.is_none()));
}

/// Whatever statement somebody writes one day: the database itself takes no state back.
#[test]
fn no_sql_takes_a_state_back() {
    let mut net = Net::pair();
    send(&mut net, 0, "ben", &["x"]);
    net.crash(0);
    let database = net.peers[0].database();
    let allowed = |from: i64, to: i64| match from {
        0 | 1 => to >= from,
        2 => to == 2 || to == 3,
        3 => to == 3,
        _ => to == from || to == 2 || to == 3,
    };
    for (from, to) in (0..6).flat_map(|from| (0..6).map(move |to| (from, to))) {
        database
            .execute_batch(&format!(
                "CREATE TEMP TABLE kept AS SELECT * FROM recipient; DELETE FROM recipient;
                 INSERT INTO recipient SELECT message, peer, {from}, 0, 1 FROM kept; DROP TABLE kept"
            ))
            .unwrap();
        let update = database.execute("UPDATE recipient SET state = ?1", [to]);
        assert_eq!(update.is_ok(), allowed(from, to), "{from} -> {to}");
        let is: i64 = database
            .query_row("SELECT state FROM recipient", [], |row| row.get(0))
            .unwrap();
        assert_eq!(is, if allowed(from, to) { to } else { from });
    }
}

/// One statement for what came within 50 ms; without a word when the link ends before, for the next Head says it.
#[test]
fn acknowledgements_wait_for_each_other_and_none_is_lost() {
    let mut net = Net::pair();
    net.log.clear();
    let ids = send(&mut net, 0, "ben", &["x"; 10]);
    assert_eq!(net.sent(1, Kind::AppAck).len(), 1);
    assert_eq!(state(&net, 0, ids[9]), Delivery::Delivered);

    let id = queue(&mut net, "y");
    while net.turn() {}
    assert_eq!(
        (net.texts(1, false).len(), state(&net, 0, id)),
        (11, Delivery::Here)
    );
    net.lose_links();
    net.run();
    assert_eq!(state(&net, 0, id), Delivery::Here);
    net.log.clear();
    net.connect(0, 1, Purpose::Peer);
    net.run();
    assert_eq!(state(&net, 0, id), Delivery::Delivered);
    assert!(net.sent(0, Kind::App).is_empty(), "it was there");
}

/// Whoever is about to end does not take an acknowledgement with him.
#[test]
fn a_process_that_ends_acknowledges_first() {
    let mut net = Net::pair();
    queue(&mut net, "x");
    while net.turn() {}
    assert_eq!(
        (net.texts(1, false).len(), net.reader(0).waiting(None).unwrap()),
        (1, 1)
    );
    net.input(1, Input::Ending);
    while net.turn() {}
    assert_eq!(net.reader(0).waiting(None).unwrap(), 0, "no time passed");
}

/// The window of the sender is full long before 50 ms are over: the receiver answers at a quarter of it.
#[test]
fn a_stream_never_waits_for_the_clock() {
    for (count, text) in [(1_000, "x".to_owned()), (60, "x".repeat(65_536))] {
        let mut net = Net::pair();
        net.crash(1);
        net.cut();
        let texts = vec![text.as_str(); 20];
        for _ in 0..count / 20 {
            send(&mut net, 0, "ben", &texts);
        }
        net.start(1);
        net.connect(0, 1, Purpose::Peer);
        net.log.clear();
        while net.turn() {}
        assert_eq!(net.texts(1, false).len(), count, "no time passed");
        let acks = net.sent(1, Kind::AppAck).len();
        assert!(acks <= count / 3, "{acks} acknowledgements of {count}");
        net.run();
        assert_eq!(net.reader(0).waiting(None).unwrap(), 0);
    }
}

#[test]
fn a_message_expires_after_thirty_days_and_not_before() {
    let mut net = Net::pair();
    net.crash(1);
    net.cut();
    let old = send(&mut net, 0, "ben", &["old"])[0];
    net.pass(Duration::from_secs(86_400 * 10));
    let young = send(&mut net, 0, "ben", &["young"])[0];
    net.pass(Duration::from_secs(86_400 * 20 - 7_200));
    assert_eq!(state(&net, 0, old), Delivery::Here);
    net.pass(Duration::from_secs(10_800));
    assert_eq!(
        (state(&net, 0, old), state(&net, 0, young)),
        (Delivery::Expired, Delivery::Here)
    );
    assert_eq!(progress(&net, 0, old), [Delivery::Expired]);
    assert_eq!(net.reader(0).outbox(None).unwrap().len(), 1);
    assert_eq!(net.messages(0)[0].state, Some(Delivery::Expired));
    net.start(1);
    net.connect(0, 1, Purpose::Peer);
    net.pass(Duration::from_secs(4_000));
    assert_eq!(
        net.texts(1, false),
        ["young"],
        "nobody sends what he was told is over"
    );
    assert_eq!(state(&net, 0, old), Delivery::Expired);
}

/// K7: neither a jump of the clock nor a walk of it back and forth makes a message old.
#[test]
fn no_jump_of_the_clock_expires_anything_early() {
    for jump in [90 * DAY_MS, 3_650 * DAY_MS, -3_650 * DAY_MS] {
        let mut net = Net::pair();
        net.crash(1);
        net.cut();
        let id = send(&mut net, 0, "ben", &["x"])[0];
        net.now.unix_ms += jump;
        net.pass(Duration::from_secs(3_700));
        assert_eq!(state(&net, 0, id), Delivery::Here, "{jump} while running");
        net.now.unix_ms -= jump;
        net.restart(0);
        net.pass(Duration::from_secs(3_700));
        net.now.unix_ms += jump;
        net.restart(0);
        net.pass(Duration::from_secs(3_700));
        assert_eq!(state(&net, 0, id), Delivery::Here, "{jump} across a restart");
        // Time that is really spent counts, also by a wrong clock.
        net.pass(Duration::from_secs(86_400 * 31));
        assert_eq!(state(&net, 0, id), Delivery::Expired, "{jump}");
    }
}

/// Rows of version 1 have no age: theirs begins with the first look.
#[test]
fn time_between_two_looks_counts_up_to_a_week() {
    let mut net = Net::pair();
    net.crash(1);
    net.cut();
    let id = send(&mut net, 0, "ben", &["x"])[0];
    net.crash(0);
    let database = net.peers[0].database();
    database
        .execute_batch("DELETE FROM meta WHERE key IN ('lived', 'looked'); UPDATE outbox SET queued_at = 0")
        .unwrap();
    drop(database);
    for weeks in 0..5 {
        assert_eq!(state(&net, 0, id), Delivery::Here, "week {weeks}");
        net.crash(0);
        net.now.unix_ms += 8 * DAY_MS;
        net.start(0);
    }
    // The first look began at 0; then four times 7 of 8 days were believed.
    net.restart(0);
    net.now.unix_ms += 3 * DAY_MS;
    net.restart(0);
    assert_eq!(state(&net, 0, id), Delivery::Here, "one reading of the clock");
    net.pass(Duration::from_secs(86_400 + 3_600));
    assert_eq!(state(&net, 0, id), Delivery::Expired);
}

/// A machine without a battery for its clock: every boot begins in 1970, and the network sets the time soon after.
#[test]
fn boots_in_1970_make_nothing_old() {
    let mut net = Net::pair();
    net.crash(1);
    net.cut();
    let id = send(&mut net, 0, "ben", &["x"])[0];
    for boot in 1..=6 {
        let right = net.now.unix_ms;
        net.crash(0);
        net.now.unix_ms = 30_000;
        net.start(0);
        net.pass(Duration::from_secs(5_000));
        net.now.unix_ms = right + 20_000_000;
        net.pass(Duration::from_secs(10_000));
        assert_eq!(state(&net, 0, id), Delivery::Here, "boot {boot}");
    }
    // Time that is looked after counts: of those boots it was 25 hours.
    net.pass(Duration::from_secs(86_400 * 28));
    assert_eq!(state(&net, 0, id), Delivery::Here);
    net.pass(Duration::from_secs(86_400));
    assert_eq!(state(&net, 0, id), Delivery::Expired);
}

/// It had arrived, the acknowledgement had not: what the recipient says is the truth.
#[test]
fn an_expired_message_that_had_arrived_is_delivered() {
    let mut net = Net::pair();
    net.lossy = Box::new(|from, _, frame| from == 1 && matches!(Frame::decode(frame), Ok(Frame::AppAck(_))));
    let id = send(&mut net, 0, "ben", &["x"])[0];
    net.lose_links();
    net.pass(Duration::from_secs(86_400 * 31));
    assert_eq!(state(&net, 0, id), Delivery::Expired);
    net.connect(0, 1, Purpose::Peer);
    net.run();
    assert_eq!(state(&net, 0, id), Delivery::Delivered);
    assert_eq!(progress(&net, 0, id), [Delivery::Expired, Delivery::Delivered]);
    assert_eq!(net.texts(1, false), ["x"]);
}

/// What never left is not there, whatever a recipient says: it expired before there was a link to encrypt it for.
#[test]
fn an_expired_message_that_was_never_encrypted_is_never_delivered() {
    let mut net = Net::pair();
    net.crash(1);
    net.cut();
    let never = send(&mut net, 0, "ben", &["never"])[0];
    net.pass(Duration::from_secs(86_400 * 31));
    assert_eq!(state(&net, 0, never), Delivery::Expired);
    net.start(1);
    net.connect(0, 1, Purpose::Peer);
    net.run();
    let sent = send(&mut net, 0, "ben", &["sent"])[0];
    let ack = net.sent(1, Kind::AppAck).pop();
    let Some(Frame::AppAck(mut ack)) = ack else {
        panic!("no acknowledgement");
    };
    // The range of "sent" begins one too low.
    ack.stream.ranges = Ranges::new(vec![Range { first: 1, last: 2 }]).unwrap();
    let numbers = [1u64, 1, 2].map(u64::to_be_bytes).concat();
    let stream = [&ack.stream.member.0[..], &ack.stream.stream.0, &numbers].concat();
    let signed = [&ack.group.0[..], &ack.member.0, &stream].concat();
    ack.signature = net.identity(1).sign(Context::AppAck, &[&signed]);
    let (at_anna, _) = net.connect(0, 1, Purpose::Peer);
    net.run();
    net.inject(0, at_anna, Frame::AppAck(ack).encode());
    net.run();
    assert!(!net.peers[0].closed.contains(&at_anna), "the signature is right");
    assert_eq!(
        (state(&net, 0, never), state(&net, 0, sent)),
        (Delivery::Expired, Delivery::Delivered)
    );
}

/// Rows are in the order of arrival, whatever the authors' clocks say; what fills a hole later is marked.
#[test]
fn a_chat_is_in_the_order_of_arrival_and_late_fills_are_marked() {
    let mut net = Net::pair();
    let year = 365 * DAY_MS;
    net.now.unix_ms += year;
    send(&mut net, 0, "ben", &["first"]);
    net.now.unix_ms -= 2 * year;
    let mut lost = 0;
    net.lossy = Box::new(move |from, _, frame| {
        let app = from == 0 && matches!(Frame::decode(frame), Ok(Frame::App(_)));
        lost += usize::from(app);
        app && lost <= 2
    });
    send(&mut net, 0, "ben", &["second", "third", "fourth"]);
    net.now.unix_ms += year;
    send(&mut net, 1, "anna", &["answer"]);
    let messages = net.messages(1);
    let rows: Vec<_> = messages
        .iter()
        .map(|message| (message.text.as_str(), message.late))
        .collect();
    assert_eq!(
        rows,
        [
            ("first", false),
            ("fourth", false),
            ("second", true),
            ("third", true),
            ("answer", false)
        ]
    );
    assert!(messages.is_sorted_by_key(|message| message.row));
    assert!(
        !messages.is_sorted_by_key(|message| message.sent_at),
        "clocks were a year off"
    );
    assert!(net.messages(0).iter().all(|message| !message.late));
    assert_eq!(net.reader(0).waiting(None).unwrap(), 0);
}

/// D4: what stays missing for a minute is told, once; it is asked for less and less often.
#[test]
fn a_gap_that_stays_is_told_once() {
    let mut net = Net::pair();
    net.crash(1);
    net.cut();
    send(&mut net, 0, "ben", &["gone", "gone too"]);
    net.pass(Duration::from_secs(86_400 * 31));
    send(&mut net, 0, "ben", &["here"]);
    net.start(1);
    net.connect(0, 1, Purpose::Peer);
    net.log.clear();
    let missing = |net: &Net| {
        let missing = net.peers[1].events.iter().filter_map(|event| match event {
            Event::Missing { count, .. } => Some(*count),
            _ => None,
        });
        missing.collect::<Vec<_>>()
    };
    net.pass(Duration::from_secs(59));
    assert!(missing(&net).is_empty());
    net.pass(Duration::from_secs(2));
    assert_eq!(missing(&net), [2]);
    net.restart(1);
    net.connect(0, 1, Purpose::Peer);
    net.pass(Duration::from_secs(600));
    net.restart(1);
    net.connect(0, 1, Purpose::Peer);
    net.pass(Duration::from_secs(600));
    assert_eq!(missing(&net), [2]);
    let wants = net.sent(1, Kind::Want).len();
    assert!((3..30).contains(&wants), "{wants} times in 20 minutes");
    assert_eq!(net.texts(1, false), ["here"]);
}

/// A gap whose minute is not over when the process ends is told by the next one, unless it was filled.
#[test]
fn a_gap_is_watched_across_restarts() {
    for filled in [false, true] {
        let mut net = Net::pair();
        let mut first = true;
        net.lossy = Box::new(move |_, _, frame| match Frame::decode(frame) {
            Ok(Frame::App(_)) => std::mem::take(&mut first),
            Ok(Frame::Want(_)) => true,
            _ => false,
        });
        send(&mut net, 0, "ben", &["one", "two"]);
        assert_eq!(net.texts(1, false), ["two"]);
        net.restart(1);
        if filled {
            net.lossy = Box::new(|_, _, _| false);
            net.connect(0, 1, Purpose::Peer);
        }
        net.pass(Duration::from_secs(61));
        let missing = |event: &Event| matches!(event, Event::Missing { count: 1, .. });
        assert_eq!(net.peers[1].events.iter().any(missing), !filled);
        assert_eq!(net.texts(1, false).len(), 1 + usize::from(filled));
    }
}
