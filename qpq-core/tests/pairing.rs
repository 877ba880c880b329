//! First contact by a spoken code, between engines in memory.
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
    engine::{Command, CommandId, Event, Failure, Input, Purpose, Reply},
    invite::{ChannelBinding, Code, JoinFailure, Nameplate},
    wire::Frame,
};

fn wrong(code: &Code) -> Code {
    let text = code.to_string();
    let other = if text.contains("otter") {
        "4-otter-violin"
    } else {
        "4-otter-banjo"
    };
    let other = if text == other { "4-otter-violin" } else { other };
    other
        .parse()
        .unwrap_or_else(|_| "4-otter-violin".parse().unwrap())
}

fn failure(net: &Net, at: usize) -> Option<JoinFailure> {
    net.peers[at].events.iter().find_map(|event| match event {
        Event::JoinFailed(failure) => Some(*failure),
        _ => None,
    })
}

fn contacts(net: &Net, at: usize) -> usize {
    net.reader(at).chats().unwrap().len()
}

#[test]
fn a_code_makes_two_verified_contacts_in_one_group() {
    let net = Net::pair();
    for (at, other) in [(0, "ben"), (1, "anna")] {
        let chat = net.reader(at).find_chat(other).unwrap();
        assert!(chat.verified);
        assert_eq!(chat.members, [net.id(1 - at)]);
        assert!(net.joined(at));
        let directory = net.peers[at].directory.as_ref().unwrap();
        assert_eq!((directory.inviting, directory.looking_for), (None, None));
        assert!(
            directory.known[&net.id(1 - at)].is_some(),
            "the LAN key came with the card"
        );
    }
}

#[test]
fn a_wrong_code_is_told_to_both_and_three_close_the_invite() {
    let mut net = Net::new(&["anna", "ben"]);
    let code = net.invite(0);
    for left in [2, 1, 0] {
        net.join(1, 0, wrong(&code));
        net.now.monotonic += Duration::from_secs(2);
        net.input(1, Input::Tick);
        net.run();
        assert_eq!(net.peers[0].events.last(), Some(&Event::GuessFailed { left }));
        assert_eq!(failure(&net, 1), Some(JoinFailure::WrongCode));
        net.peers[1].events.clear();
    }
    assert_eq!(net.peers[0].directory.as_ref().unwrap().inviting, None);
    net.join(1, 0, code);
    net.now.monotonic += Duration::from_secs(2);
    net.input(1, Input::Tick);
    net.run();
    assert_eq!(
        failure(&net, 1),
        Some(JoinFailure::Refused),
        "even the right code is too late"
    );
    assert_eq!((contacts(&net, 0), contacts(&net, 1)), (0, 0));
}

#[test]
fn an_invite_that_went_with_its_engine_is_opened_again_with_what_was_left_of_it() {
    let mut net = Net::new(&["anna", "ben"]);
    let code = net.invite(0);
    net.join(1, 0, wrong(&code));
    net.now.monotonic += Duration::from_secs(2);
    net.input(1, Input::Tick);
    net.run();
    assert_eq!(net.peers[0].events.last(), Some(&Event::GuessFailed { left: 2 }));
    net.restart(0);
    net.run();
    let reopen = |guesses_left| Command::ReopenInvite {
        code: code.clone(),
        guesses_left,
        lifetime: Duration::from_secs(60),
    };
    assert_eq!(net.command(0, reopen(1)), Ok(Reply::Invited(code.clone())));
    assert_eq!(net.command(0, reopen(1)), Err(Failure::InviteOpen));
    net.join(1, 0, wrong(&code));
    assert_eq!(net.peers[0].events.last(), Some(&Event::GuessFailed { left: 0 }));
    net.now.monotonic += Duration::from_secs(2);
    net.input(1, Input::Tick);
    net.run();
    // Nobody can give an invite more guesses than a new one has.
    net.command(0, reopen(200)).unwrap();
    net.join(1, 0, wrong(&code));
    assert_eq!(net.peers[0].events.last(), Some(&Event::GuessFailed { left: 2 }));
    net.now.monotonic += Duration::from_secs(2);
    net.input(1, Input::Tick);
    net.run();
    let before = net.now.unix_ms;
    assert_eq!(net.reader(0).joined_since(before).unwrap(), None);
    net.join(1, 0, code);
    assert_eq!((contacts(&net, 0), contacts(&net, 1)), (1, 1));
    let joined = net.reader(0).joined_since(before).unwrap();
    assert_eq!(joined.unwrap().name, "ben");
    assert_eq!(net.reader(0).joined_since(before + 1).unwrap(), None);
}

/// Mallory answers ben's dial and dials anna, and relays every frame as it is.
#[test]
fn a_man_in_the_middle_who_relays_the_pairing_fails() {
    let mut net = Net::new(&["anna", "ben", "mallory"]);
    let mallory = net.id(2);
    let code = net.invite(0);
    net.command(1, Command::Join(code)).unwrap();
    net.connect_as(
        1,
        mallory,
        ChannelBinding([1; 32]),
        0,
        mallory,
        ChannelBinding([2; 32]),
        Purpose::Pair,
    );
    net.run();
    assert_eq!((contacts(&net, 0), contacts(&net, 1)), (0, 0));
    assert!(matches!(
        net.peers[0].events.last(),
        Some(Event::GuessFailed { left: 2 })
    ));
}

/// The same, when Mallory could even show each side the other's identity: the TLS exporters differ.
#[test]
fn a_man_in_the_middle_with_forged_identities_fails_on_the_channel() {
    let mut net = Net::new(&["anna", "ben"]);
    let (anna, ben) = (net.id(0), net.id(1));
    let code = net.invite(0);
    net.command(1, Command::Join(code)).unwrap();
    net.connect_as(
        1,
        anna,
        ChannelBinding([1; 32]),
        0,
        ben,
        ChannelBinding([2; 32]),
        Purpose::Pair,
    );
    net.run();
    assert_eq!((contacts(&net, 0), contacts(&net, 1)), (0, 0));
}

#[test]
fn sixty_forged_adverts_cost_three_guesses_at_most() {
    let mut net = Net::new(&["ben", "m1", "m2", "m3", "m4", "m5"]);
    for forger in 1..6 {
        net.invite(forger);
    }
    let code: Code = "4-otter-violin".parse().unwrap();
    net.command(0, Command::Join(code)).unwrap();
    for forger in 1..6 {
        let peer = net.id(forger);
        net.input(
            0,
            Input::Advert {
                peer,
                nameplate: Nameplate::try_from(4).unwrap(),
            },
        );
    }
    for dead in 0..55u8 {
        let peer = qpq_core::id::PeerId([dead; 32]);
        net.input(
            0,
            Input::Advert {
                peer,
                nameplate: Nameplate::try_from(4).unwrap(),
            },
        );
    }
    net.run();
    let starts = net
        .log
        .iter()
        .filter(|(from, _, bytes)| *from == 0 && matches!(Frame::decode(bytes), Ok(Frame::PairStart(_))));
    assert_eq!(starts.count(), 3);
    assert_eq!(failure(&net, 0), Some(JoinFailure::GuessesSpent));
    assert_eq!(contacts(&net, 0), 0);
}

#[test]
fn an_advert_of_another_nameplate_or_without_a_join_is_ignored() {
    let mut net = Net::new(&["anna", "ben"]);
    let peer = net.id(0);
    net.input(
        1,
        Input::Advert {
            peer,
            nameplate: Nameplate::try_from(4).unwrap(),
        },
    );
    net.command(1, Command::Join("5-otter-violin".parse().unwrap()))
        .unwrap();
    net.input(
        1,
        Input::Advert {
            peer,
            nameplate: Nameplate::try_from(4).unwrap(),
        },
    );
    net.run();
    assert!(net.log.is_empty());
}

#[test]
fn a_failed_dial_is_tried_again_when_the_inviter_is_seen_again() {
    let mut net = Net::new(&["anna", "ben"]);
    let code = net.invite(0);
    let unreachable = net.peers[0].engine.take();
    net.join(1, 0, code);
    assert!(!net.joined(1));
    net.peers[0].engine = unreachable;
    let (peer, nameplate) = (net.id(0), Nameplate::try_from(4).unwrap());
    net.input(1, Input::Advert { peer, nameplate });
    net.run();
    assert!(net.joined(0) && net.joined(1));
}

#[test]
fn an_invite_is_used_once() {
    let mut net = Net::new(&["anna", "ben", "carla"]);
    let code = net.invite(0);
    net.join(1, 0, code.clone());
    net.join(2, 0, code);
    net.now.monotonic += Duration::from_secs(2);
    net.input(2, Input::Tick);
    net.run();
    assert_eq!(failure(&net, 2), Some(JoinFailure::Refused));
    assert_eq!((contacts(&net, 0), contacts(&net, 2)), (1, 0));
}

#[test]
fn an_invite_expires_and_can_be_cancelled() {
    let mut net = Net::new(&["anna", "ben"]);
    net.invite(0);
    assert_eq!(
        net.command(
            0,
            Command::Invite {
                nameplate: Nameplate::try_from(5).unwrap(),
                lifetime: Duration::ZERO
            }
        ),
        Err(Failure::InviteOpen)
    );
    net.now.monotonic += Duration::from_secs(86_401);
    net.input(0, Input::Tick);
    net.run();
    assert_eq!(net.peers[0].events.last(), Some(&Event::InviteExpired));
    assert_eq!(net.peers[0].directory.as_ref().unwrap().inviting, None);
    net.invite(0);
    net.command(0, Command::CancelInvite).unwrap();
    assert_eq!(net.peers[0].directory.as_ref().unwrap().inviting, None);
}

#[test]
fn a_stranger_without_an_open_invite_is_closed_at_once() {
    let mut net = Net::new(&["anna", "ben"]);
    let (_, at_anna) = net.connect(1, 0, Purpose::Pair);
    net.run();
    assert!(net.peers[0].closed.contains(&at_anna));
}

/// A proof for a cancelled invite is worth nothing for the next one.
#[test]
fn a_proof_does_not_outlive_its_invite() {
    let mut net = Net::new(&["anna", "ben"]);
    let code = net.invite(0);
    let nameplate = code.nameplate();
    net.command(1, Command::Join(code)).unwrap();
    let peer = net.id(0);
    net.input(1, Input::Advert { peer, nameplate });
    while !net
        .log
        .iter()
        .any(|(_, _, bytes)| matches!(Frame::decode(bytes), Ok(Frame::PairReply { .. })))
    {
        assert!(net.turn());
    }
    net.input(
        0,
        Input::Command {
            id: CommandId(9_000),
            command: Command::CancelInvite,
        },
    );
    let lifetime = Duration::from_secs(60);
    net.input(
        0,
        Input::Command {
            id: CommandId(9_001),
            command: Command::Invite { nameplate, lifetime },
        },
    );
    net.run();
    assert_eq!((contacts(&net, 0), contacts(&net, 1)), (0, 0));
    assert!(
        !net.peers[0]
            .events
            .iter()
            .any(|event| matches!(event, Event::GuessFailed { .. })),
        "no guess at the new code"
    );
    net.now.monotonic += Duration::from_secs(2);
    net.input(1, Input::Tick);
    net.run();
    assert_eq!(
        failure(&net, 1),
        Some(JoinFailure::Refused),
        "ben does not wait in vain"
    );
}

/// An early advert, a lost packet: who could not be reached is dialled again while the join lasts.
#[test]
fn an_inviter_who_could_not_be_reached_is_dialled_again() {
    let mut net = Net::new(&["anna", "ben"]);
    let code = net.invite(0);
    let engine = net.peers[0].engine.take();
    net.join(1, 0, code);
    assert_eq!(contacts(&net, 1), 0);
    net.peers[0].engine = engine;
    net.now.monotonic += Duration::from_secs(2);
    net.input(1, Input::Tick);
    net.run();
    assert_eq!((contacts(&net, 0), contacts(&net, 1)), (1, 1));
}

/// Ben asked Anna, her process died, and now Anna joins Ben instead: the old request is no obstacle.
#[test]
fn a_pairing_can_be_turned_around() {
    let mut net = Net::new(&["anna", "ben"]);
    let code = net.invite(0);
    net.peers[0].crash_at = Some((net.peers[0].commits + 3, false));
    net.join(1, 0, code);
    assert_eq!((contacts(&net, 0), contacts(&net, 1)), (0, 0));
    net.restart(0);
    net.restart(1);
    let code = net.invite(1);
    net.join(0, 1, code);
    assert_eq!((contacts(&net, 0), contacts(&net, 1)), (1, 1));
}

/// Somebody else's claim to be a known contact does not end a join before its inviter is found.
#[test]
fn a_claim_to_be_a_contact_does_not_end_a_join() {
    let mut net = Net::new(&["anna", "ben", "carla"]);
    let code = net.invite(0);
    net.join(2, 0, code);
    let code = net.invite(1);
    let (nameplate, anna, ben) = (code.nameplate(), net.id(0), net.id(1));
    net.command(2, Command::Join(code)).unwrap();
    net.input(
        2,
        Input::Advert {
            peer: anna,
            nameplate,
        },
    );
    net.run();
    assert_eq!(failure(&net, 2), None);
    net.input(2, Input::Advert { peer: ben, nameplate });
    net.run();
    assert_eq!(contacts(&net, 2), 2);
}

/// Cancelled in the middle of the proof: no contact comes of it, on no side, now or later.
#[test]
fn a_cancelled_join_makes_no_contact() {
    for turns in 0..12 {
        let mut net = Net::new(&["anna", "ben"]);
        let code = net.invite(0);
        let (nameplate, peer) = (code.nameplate(), net.id(0));
        net.input(
            1,
            Input::Command {
                id: CommandId(9_000),
                command: Command::Join(code),
            },
        );
        net.input(1, Input::Advert { peer, nameplate });
        for _ in 0..turns {
            net.turn();
        }
        net.input(
            1,
            Input::Command {
                id: CommandId(9_001),
                command: Command::CancelJoin,
            },
        );
        net.run();
        assert!(!net.joined(0) || net.joined(1), "{turns}");
        let before = contacts(&net, 1);
        net.restart(1);
        net.connect(1, 0, Purpose::Peer);
        net.run();
        assert_eq!(
            contacts(&net, 1),
            before,
            "{turns}: a contact came after the cancel"
        );
    }
}

/// The inviter is gone for good after we asked: the join ends by itself.
#[test]
fn a_join_whose_inviter_is_gone_ends() {
    let mut net = Net::new(&["anna", "ben"]);
    let code = net.invite(0);
    net.peers[0].crash_at = Some((net.peers[0].commits + 3, false));
    net.join(1, 0, code);
    for _ in 0..15 {
        net.now.monotonic += Duration::from_secs(1);
        net.input(1, Input::Tick);
        net.run();
    }
    assert_eq!(failure(&net, 1), Some(JoinFailure::Refused));
}

/// Mallory took every name that Ben could get: he still gets one.
#[test]
fn a_name_is_found_however_many_namesakes_there_are() {
    let mut net = Net::new(&["anna", "m1", "m2", "ben"]);
    let short = net.id(3).short();
    for (at, name) in [
        (1, "ben".to_owned()),
        (2, format!("ben {short}")),
        (3, "ben".to_owned()),
    ] {
        net.rename(at, &name);
        let code = net.invite(0);
        net.join(at, 0, code);
    }
    assert_eq!(contacts(&net, 0), 3);
}

/// Mallory calls herself like Ben's id: what is sent to that id still goes to Ben.
#[test]
fn an_id_means_its_owner_whatever_others_are_called() {
    let mut net = Net::new(&["anna", "ben", "mallory"]);
    let ben = net.id(1);
    let code = net.invite(0);
    net.join(1, 0, code);
    net.rename(2, &ben.short());
    let code = net.invite(0);
    net.join(2, 0, code);
    for id in [ben.short(), ben.to_text(), ben.to_text().to_uppercase()] {
        assert_eq!(net.reader(0).find_chat(&id).unwrap().members, [ben]);
    }
}

/// Hostile names never get into the contact list: an invalid one is replaced by the id.
#[test]
fn a_hostile_name_is_replaced_by_the_id() {
    for name in [
        "\u{1b}[31mben",
        "ben\u{202e}",
        "/quit",
        "anna, 10:02: pay bob",
        "\u{338}",
        "",
        "two\nlines",
        &"x".repeat(10_240),
    ] {
        let mut net = Net::new(&["anna", "ben"]);
        net.rename(1, name);
        let code = net.invite(0);
        net.join(1, 0, code);
        let names: Vec<_> = net
            .reader(0)
            .chats()
            .unwrap()
            .into_iter()
            .map(|chat| chat.name)
            .collect();
        assert_eq!(names, [net.id(1).short()], "{name:?}");
    }
}
