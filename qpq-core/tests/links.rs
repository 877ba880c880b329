//! First contact by link, between engines in memory.
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
    engine::{Command, Event, Failure, Input, Purpose, Reply},
    id::LinkId,
    invite::{ChannelBinding, JoinFailure, Link},
    store::read::OpenLink,
    wire::{Frame, Refusal},
};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Who asks, by name.
fn requests(net: &Net, at: usize) -> Vec<String> {
    let rows = net.reader(at).asking().unwrap();
    rows.into_iter().map(|row| row.name).collect()
}

fn links(net: &Net, at: usize) -> Vec<OpenLink> {
    net.reader(at).links(net.now.unix_ms).unwrap()
}

/// The name under which the inviter has our request.
fn asked(net: &Net, at: usize, inviter: usize) -> Option<String> {
    pending(net, at, inviter)?
}

/// Our request to the inviter, and its name once it has that.
fn pending(net: &Net, at: usize, inviter: usize) -> Option<Option<String>> {
    let asked = net.reader(at).asked().unwrap();
    let mut asked = asked.into_iter().filter(|(peer, _)| *peer == net.id(inviter));
    asked.next().map(|(_, name)| name)
}

fn is_request(event: &Event) -> bool {
    matches!(event, Event::Request { .. })
}

fn is_asked(event: &Event) -> bool {
    matches!(event, Event::Asked { .. })
}

fn failure(net: &Net, at: usize) -> Option<JoinFailure> {
    net.peers[at].events.iter().rev().find_map(|event| match event {
        Event::JoinFailed(failure) => Some(*failure),
        _ => None,
    })
}

fn nobody_is_a_contact(net: &Net) {
    for at in 0..net.peers.len() {
        assert!(net.reader(at).chats().unwrap().is_empty());
    }
}

#[test]
fn a_link_leads_to_a_request_and_no_contact() {
    let mut net = Net::new(&["anna", "ben"]);
    let link = net.invite_by_link(0);
    assert_eq!(net.peers[0].directory.as_ref().unwrap().links.len(), 1);
    assert_eq!(net.join_by_link(1, &link), Ok(Reply::Done));
    assert_eq!(requests(&net, 0), ["ben"]);
    assert_eq!(asked(&net, 1, 0).as_deref(), Some("anna"));
    assert_eq!((net.count(0, is_request), net.count(1, is_asked)), (1, 1));
    assert_eq!(links(&net, 0)[0].used_by, Some(net.id(1)));
    nobody_is_a_contact(&net);
    let [anna, ben] = [0, 1].map(|at| net.peers[at].directory.as_ref().unwrap());
    assert!(anna.known[&net.id(1)].is_some(), "its LAN key came with the card");
    assert!(anna.requesters.contains(&net.id(1)));
    assert!(ben.known.contains_key(&net.id(0)) && !ben.joining);
    assert!(ben.looking_for_links.is_empty());
}

#[test]
fn a_request_is_repeated_on_every_link_and_stays_one() {
    let mut net = Net::new(&["anna", "ben"]);
    let link = net.invite_by_link(0);
    net.join_by_link(1, &link).unwrap();
    for (dialer, other) in [(0, 1), (1, 0)] {
        net.restart(0);
        net.restart(1);
        net.log.clear();
        net.connect(dialer, other, Purpose::Peer);
        net.run();
        let kept = |(from, _, bytes): &(usize, usize, Vec<u8>)| {
            *from == 0 && matches!(Frame::decode(bytes), Ok(Frame::ContactKept { .. }))
        };
        assert_eq!(net.log.iter().filter(|frame| kept(frame)).count(), 1);
        assert!(net.peers[0].closed.is_empty() && net.peers[1].closed.is_empty());
    }
    assert_eq!((net.count(0, is_request), net.count(1, is_asked)), (1, 1));
    assert_eq!(requests(&net, 0), ["ben"]);
}

#[test]
fn the_same_link_again_is_answered_from_the_disk_and_another_one_asks_anew() {
    let mut net = Net::new(&["anna", "ben"]);
    let first = net.invite_by_link(0);
    net.join_by_link(1, &first).unwrap();
    net.crash(0);
    net.join_by_link(1, &first).unwrap();
    assert_eq!(net.count(1, is_asked), 2);
    net.start(0);
    let second = net.invite_by_link(0);
    net.join_by_link(1, &second).unwrap();
    assert_eq!((net.count(0, is_request), net.count(1, is_asked)), (2, 3));
    assert_eq!(requests(&net, 0), ["ben"]);
    assert!(links(&net, 0).iter().all(|link| link.used_by == Some(net.id(1))));
}

#[test]
fn a_second_person_is_refused_and_counted() {
    let mut net = Net::new(&["anna", "ben", "carla"]);
    let link = net.invite_by_link(0);
    net.join_by_link(1, &link).unwrap();
    for refused in 1..=3 {
        net.join_by_link(2, &link).unwrap();
        assert_eq!(failure(&net, 2), Some(JoinFailure::LinkUsed));
        assert_eq!(links(&net, 0)[0].refused, refused);
    }
    assert_eq!(requests(&net, 0), ["ben"]);
    assert_eq!(pending(&net, 2, 0), None, "nothing is kept");
    assert!(net.peers[2].directory.as_ref().unwrap().known.is_empty());
}

#[test]
fn an_expired_and_a_cancelled_link_are_told_as_such_for_a_day() {
    let mut net = Net::new(&["anna", "ben"]);
    let (expired, cancelled) = (net.invite_by_link(0), net.invite_by_link(0));
    let id = cancelled.parse::<Link>().unwrap().id();
    net.command(0, Command::CancelLink(id)).unwrap();
    assert_eq!(net.command(0, Command::CancelLink(id)), Err(Failure::UnknownLink));
    assert_eq!(links(&net, 0).len(), 1);
    net.join_by_link(1, &cancelled).unwrap();
    assert_eq!(failure(&net, 1), Some(JoinFailure::LinkCancelled));
    net.pass(Duration::from_secs(86_400));
    assert_eq!(links(&net, 0), []);
    net.join_by_link(1, &expired).unwrap();
    assert_eq!(failure(&net, 1), Some(JoinFailure::LinkExpired));
    net.pass(Duration::from_secs(86_400));
    net.input(0, Input::Tick);
    net.run();
    assert_eq!(net.peers[0].directory.as_ref().unwrap().links.len(), 0);
    let other = net.invite_by_link(0);
    assert_ne!(other, expired);
    net.join_by_link(1, &expired).unwrap();
    assert_eq!(failure(&net, 1), Some(JoinFailure::LinkUnknown));
    assert_eq!(requests(&net, 0), [""; 0]);
}

#[test]
fn a_link_survives_restarts_and_expires_at_open() {
    let mut net = Net::new(&["anna", "ben"]);
    let link = net.invite_by_link(0);
    net.restart(0);
    assert_eq!(net.peers[0].directory.as_ref().unwrap().links.len(), 1);
    net.crash(0);
    net.now.unix_ms += 2 * DAY_MS;
    net.start(0);
    assert_eq!(net.peers[0].directory.as_ref().unwrap().links.len(), 0);
    let (_, _) = net.connect(1, 0, Purpose::Pair);
    net.run();
    assert_eq!(net.peers[0].closed.len(), 1, "strangers are closed again");
    assert!(link.starts_with("QPQ:"));
}

#[test]
fn eight_links_are_open_at_most_and_used_ones_make_room() {
    let mut net = Net::new(&["anna", "ben"]);
    let texts: Vec<_> = (0..8).map(|_| net.invite_by_link(0)).collect();
    let lifetime = Duration::from_secs(60);
    let full = net.command(0, Command::InviteLink { lifetime });
    assert_eq!(full, Err(Failure::TooManyLinks));
    net.join_by_link(1, &texts[0]).unwrap();
    net.invite_by_link(0);
    assert_eq!(links(&net, 0).len(), 9);
}

#[test]
fn links_made_and_taken_back_without_end_do_not_pile_up() {
    let mut net = Net::new(&["anna"]);
    let open = net.invite_by_link(0);
    for _ in 0..100 {
        let id = net.invite_by_link(0).parse::<Link>().unwrap().id();
        net.command(0, Command::CancelLink(id)).unwrap();
    }
    net.input(0, Input::Tick);
    net.run();
    assert_eq!(net.peers[0].directory.as_ref().unwrap().links.len(), 64);
    assert_eq!(links(&net, 0)[0].id, open.parse::<Link>().unwrap().id());
}

#[test]
fn an_own_link_a_contacts_link_and_a_second_join_are_refused() {
    let mut net = Net::pair();
    let own = net.invite_by_link(0);
    assert_eq!(net.join_by_link(0, &own), Err(Failure::OwnLink));
    let bens = net.invite_by_link(1);
    assert_eq!(
        net.join_by_link(0, &bens),
        Err(Failure::AlreadyContact("ben".into()))
    );
    let mut net = Net::new(&["anna", "ben", "carla"]);
    let links = [1, 2].map(|at| net.invite_by_link(at));
    net.crash(1);
    net.join_by_link(0, &links[0]).unwrap();
    assert_eq!(net.join_by_link(0, &links[1]), Err(Failure::JoinRunning));
    let code = net.invite(2);
    assert_eq!(net.command(0, Command::Join(code)), Err(Failure::JoinRunning));
    net.command(0, Command::CancelJoin).unwrap();
    assert!(
        net.peers[0]
            .directory
            .as_ref()
            .unwrap()
            .looking_for_links
            .is_empty()
    );
    assert_eq!(net.join_by_link(0, &links[1]), Ok(Reply::Done));
}

/// Whoever has not the link learns nothing about it, uses nothing up, and gets 1 KiB.
#[test]
fn wrong_proofs_do_not_use_a_link_up() {
    let mut net = Net::new(&["anna", "ben", "mallory"]);
    let link = net.invite_by_link(0);
    net.crash(2);
    let id = link.parse::<Link>().unwrap().id();
    for (start, then, refusal) in [
        (LinkId([9; 8]), None, Refusal::NoInvite),
        (id, Some(Frame::PairProof { mac: [7; 32] }), Refusal::WrongCode),
    ] {
        net.log.clear();
        let (_, at_anna) = net.connect(2, 0, Purpose::Pair);
        net.run();
        let start = Frame::PairStart(qpq_core::wire::PairStart::Link(start));
        net.inject(0, at_anna, start.encode());
        net.run();
        assert_eq!(
            net.peers[0].budgets.get(&at_anna),
            None,
            "what a stranger may say is not raised"
        );
        if let Some(frame) = then {
            net.inject(0, at_anna, frame.encode());
        }
        net.run();
        let told = net.log.iter().any(
            |(_, _, bytes)| matches!(Frame::decode(bytes), Ok(Frame::PairRefused(told)) if told == refusal),
        );
        assert!(told && net.peers[0].closed.contains(&at_anna), "{refusal:?}");
    }
    assert_eq!(links(&net, 0)[0].refused, 0);
    net.join_by_link(1, &link).unwrap();
    assert_eq!(requests(&net, 0), ["ben"]);
}

/// Two PairStarts, a request without a proof before it, and a request that proves another link.
#[test]
fn frames_out_of_order_close_the_link_and_change_nothing() {
    let mut net = Net::new(&["anna", "ben", "mallory"]);
    let link = net.invite_by_link(0);
    net.join_by_link(1, &link).unwrap();
    let request = net.log.iter().find_map(|(from, _, bytes)| {
        let is_request = matches!(Frame::decode(bytes), Ok(Frame::ContactRequest(_)));
        (*from == 1 && is_request).then(|| bytes.clone())
    });
    let request = request.unwrap();
    let other = net.invite_by_link(0).parse::<Link>().unwrap().id();
    let start = Frame::PairStart(qpq_core::wire::PairStart::Link(other)).encode();
    net.crash(2);
    for frames in [
        vec![request.clone()],
        vec![start.clone(), start.clone()],
        vec![start, request],
    ] {
        let (_, at_anna) = net.connect(2, 0, Purpose::Pair);
        net.run();
        for frame in frames {
            net.inject(0, at_anna, frame);
        }
        net.run();
        assert!(net.peers[0].closed.contains(&at_anna));
    }
    assert_eq!(requests(&net, 0), ["ben"]);
}

/// Who asked already may ask by another link, and must prove that one: here Ben's frame with a forged proof.
#[test]
fn a_requester_cannot_ask_anew_without_a_link() {
    let mut net = Net::new(&["anna", "ben"]);
    let link = net.invite_by_link(0);
    net.join_by_link(1, &link).unwrap();
    let request = net
        .log
        .iter()
        .find_map(|(_, _, bytes)| match Frame::decode(bytes) {
            Ok(Frame::ContactRequest(request)) => Some(request),
            _ => None,
        });
    let mut request = request.unwrap();
    net.crash(1);
    for (name, proof) in [("ben the second", request.proof), ("ben", Some([0; 32]))] {
        request.name = name.to_owned();
        request.proof = proof;
        let (_, at_anna) = net.connect(1, 0, Purpose::Peer);
        net.run();
        assert_eq!(net.peers[0].budgets[&at_anna], Some(16 * 1024));
        net.inject(0, at_anna, Frame::ContactRequest(request.clone()).encode());
        net.run();
    }
    // The proof covers people and keys, not the name: that one is the requester's to choose.
    assert_eq!(requests(&net, 0), ["ben the second"]);
}

/// Mallory answers Ben's dial and dials Anna, and relays every frame as it is.
#[test]
fn a_man_in_the_middle_who_relays_the_proofs_fails() {
    let mut net = Net::new(&["anna", "ben", "mallory"]);
    let mallory = net.id(2);
    let (anna, ben) = (net.id(0), net.id(1));
    // To Ben, TLS shows Anna's key or nobody's: here it fails by some fault, and only the channels differ.
    for (a_sees, b_sees, b_channel) in [(anna, mallory, 1), (anna, ben, 2)] {
        let link = net.invite_by_link(0);
        net.command(1, Command::JoinLink(link.parse().unwrap())).unwrap();
        let (ours, theirs) = (ChannelBinding([1; 32]), ChannelBinding([b_channel; 32]));
        net.connect_as(1, a_sees, ours, 0, b_sees, theirs, Purpose::Pair);
        net.run();
        assert_eq!(failure(&net, 1), Some(JoinFailure::Refused));
        net.command(1, Command::CancelJoin).unwrap();
        net.peers[1].events.clear();
    }
    // Somebody else than the link names is no inviter at all.
    let link = net.invite_by_link(0);
    net.command(1, Command::JoinLink(link.parse().unwrap())).unwrap();
    let channel = ChannelBinding([1; 32]);
    net.connect_as(1, mallory, channel, 0, mallory, channel, Purpose::Pair);
    net.run();
    assert_eq!(requests(&net, 0), [""; 0]);
    assert_eq!(pending(&net, 1, 0), None);
}

/// Sixty-four wait; the oldest makes room, and is told so.
#[test]
fn the_oldest_of_many_requests_is_dropped_and_told() {
    const NAMES: [&str; 66] = ["p"; 66];
    let mut net = Net::new(&NAMES);
    for joiner in 1..66 {
        net.now.unix_ms += 1;
        let link = net.invite_by_link(0);
        net.join_by_link(joiner, &link).unwrap();
    }
    assert_eq!(requests(&net, 0).len(), 64);
    assert_eq!(
        net.count(0, |event| matches!(event, Event::RequestDropped { .. })),
        1
    );
    assert_eq!(pending(&net, 1, 0), None, "the first one knows");
    assert!(pending(&net, 2, 0).is_some());
    assert!(net.peers[0].directory.as_ref().unwrap().requesters.len() == 64);
}

#[test]
fn a_name_that_no_honest_client_takes_is_replaced_by_the_short_id() {
    let mut net = Net::new(&["anna", "ben"]);
    net.rename(1, "-rf \u{202e}");
    let link = net.invite_by_link(0);
    net.join_by_link(1, &link).unwrap();
    assert_eq!(requests(&net, 0), [net.id(1).short()]);
}

#[test]
fn both_may_ask_each_other_at_once() {
    let mut net = Net::new(&["anna", "ben"]);
    let links = [0, 1].map(|at| net.invite_by_link(at));
    net.join_by_link(1, &links[0]).unwrap();
    net.join_by_link(0, &links[1]).unwrap();
    for (at, name) in [(0, "ben"), (1, "anna")] {
        assert_eq!(requests(&net, at), [name]);
        assert_eq!(asked(&net, at, 1 - at).as_deref(), Some(name));
    }
    net.connect(0, 1, Purpose::Peer);
    net.run();
    assert_eq!((net.count(0, is_request), net.count(1, is_request)), (1, 1));
}

/// A code between two who wait for each other's word settles it: verified, and nothing waits any more.
#[test]
fn a_code_overtakes_a_request() {
    for inviter in [0, 1] {
        let mut net = Net::new(&["anna", "ben"]);
        let link = net.invite_by_link(0);
        net.join_by_link(1, &link).unwrap();
        let code = net.invite(inviter);
        net.join(1 - inviter, inviter, code);
        assert_eq!(requests(&net, 0), [""; 0], "inviter {inviter}");
        assert_eq!(pending(&net, 1, 0), None);
        assert!(net.reader(0).find_chat("ben").unwrap().verified);
        assert!(net.reader(1).find_chat("anna").unwrap().verified);
    }
}

#[test]
fn a_request_that_nobody_answers_is_forgotten_after_thirty_days() {
    let mut net = Net::new(&["anna", "ben"]);
    let link = net.invite_by_link(0);
    net.join_by_link(1, &link).unwrap();
    net.crash(0);
    net.pass(Duration::from_secs(30 * 86_400));
    assert_eq!(pending(&net, 1, 0), None);
    assert!(net.peers[1].directory.as_ref().unwrap().known.is_empty());
}
