//! Every kind of frame from every kind of peer: what the table of rights forbids closes the link and changes
//! nothing (`wire::rights`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

#[path = "support/bench.rs"]
mod bench;
#[path = "support/net.rs"]
mod net;
#[path = "support/scenes.rs"]
mod scenes;
#[path = "rights/table.rs"]
mod table;

use net::Net;
use qpq_core::{
    engine::{Command, ContactChange, Purpose, SessionId},
    wire::{Frame, Role, rights},
};

const KINDS: [&str; 22] = [
    "hello",
    "bye",
    "ping",
    "pong",
    "pair_start",
    "pair_reply",
    "pair_proof",
    "contact_request",
    "contact_accept",
    "pair_refused",
    "app",
    "app_ack",
    "head",
    "contact_refuse",
    "contact_kept",
    "card",
    "want",
    "not_member",
    "welcome",
    "pair_start_link",
    "contact_request_link",
    "card_seen",
];

fn golden(kind: &str) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("test_vectors/frames");
    std::fs::read(folder.join(format!("{kind}.bin"))).unwrap()
}

/// All that a peer could change, but for when it was seen.
fn state(net: &Net, at: usize) -> String {
    let reader = net.reader(at);
    let mut people = reader.people().unwrap();
    people.iter_mut().for_each(|person| person.last_seen = None);
    let met = (people, reader.asking().unwrap(), reader.asked().unwrap());
    let open = (
        reader.links(net.now.unix_ms).unwrap(),
        reader.outbox(None).unwrap(),
    );
    format!(
        "{met:?} {open:?} {:?} {:?}",
        reader.chats().unwrap(),
        net.texts(at, false)
    )
}

/// Injects a frame at peer 0 and tells whether its link was closed for it.
fn closes(net: &mut Net, session: SessionId, frame: Vec<u8>) -> bool {
    let before = state(net, 0);
    net.peers[0].closed.clear();
    net.inject(0, session, frame);
    net.run();
    assert_eq!(state(net, 0), before);
    net.peers[0].closed.contains(&session)
}

/// Peer 1 is silent: its frames are the test's.
fn silent(names: &[&'static str]) -> Net {
    let mut net = Net::new(names);
    net.crash(1);
    net
}

#[test]
fn a_stranger_at_an_open_invite() {
    for kind in KINDS {
        let mut net = silent(&["anna", "mallory"]);
        net.invite(0);
        let (_, at_anna) = net.connect(1, 0, Purpose::Pair);
        net.run();
        let frame = golden(kind);
        let allowed = rights(Frame::decode(&frame).unwrap().kind(), Role::Stranger);
        let closed = closes(&mut net, at_anna, frame);
        // The golden PairStart and PairProof are nonsense: allowed, judged, and refused for that.
        assert!(
            closed || allowed,
            "{kind} from a stranger was left without an answer"
        );
        assert!(
            net.peers[0].directory.as_ref().unwrap().inviting.is_some(),
            "{kind} closed the invite"
        );
    }
}

#[test]
fn a_contact_speaks_of_a_group_that_is_not() {
    for kind in KINDS {
        let mut net = Net::pair();
        net.crash(1);
        net.run();
        let (_, at_anna) = net.connect(1, 0, Purpose::Peer);
        net.run();
        let frame = golden(kind);
        let allowed = rights(Frame::decode(&frame).unwrap().kind(), Role::Contact);
        let closed = closes(&mut net, at_anna, frame);
        assert!(closed || allowed, "{kind} from a contact was let through");
        if matches!(kind, "app" | "app_ack" | "head") {
            assert!(
                !closed,
                "{kind} of an unknown group is no offence: it may be on its way"
            );
        }
    }
}

/// Carla is a contact of Anna's, and no member of Anna's group with Ben.
#[test]
fn a_contact_speaks_of_a_group_that_is_not_hers() {
    let mut net = Net::new(&["anna", "ben", "carla"]);
    for joiner in [1, 2] {
        let code = net.invite(0);
        net.join(joiner, 0, code);
    }
    net.log.clear();
    net.connect(1, 0, Purpose::Peer);
    net.run();
    net.send(1, "anna", &["for anna"]);
    let frames: Vec<Vec<u8>> = net
        .log
        .iter()
        .filter(|(from, to, bytes)| {
            let group_frame = matches!(Frame::decode(bytes), Ok(Frame::App(_) | Frame::Head(_)));
            (*from, *to) == (1, 0) && group_frame
        })
        .map(|(_, _, bytes)| bytes.clone())
        .collect();
    assert!(frames.len() >= 2, "a Head and a message were overheard");
    for frame in frames {
        let (_, at_anna) = net.connect(2, 0, Purpose::Peer);
        net.run();
        assert!(
            closes(&mut net, at_anna, frame),
            "Ben's frames from Carla close her link"
        );
    }
    assert_eq!(net.texts(0, false), ["for anna"]);
}

/// A frame of a later version is skipped, so that newer peers can talk to this one.
#[test]
fn a_frame_of_a_later_version_is_skipped() {
    let mut net = Net::pair();
    net.crash(1);
    net.run();
    let (_, at_anna) = net.connect(1, 0, Purpose::Peer);
    net.run();
    let mut frame = golden("ping");
    // The union tag: first data word of the root struct, behind header and root pointer.
    frame[16..18].copy_from_slice(&999_u16.to_le_bytes());
    assert!(!closes(&mut net, at_anna, frame));
}

/// Bytes that are no frame close the link, whoever sends them.
#[test]
fn garbage_closes_the_link() {
    for len in [0, 7, 8, 9, 64, 4096] {
        let mut net = Net::pair();
        net.crash(1);
        net.run();
        let (_, at_anna) = net.connect(1, 0, Purpose::Peer);
        net.run();
        assert!(closes(&mut net, at_anna, vec![0xA5; len]), "{len} bytes");
    }
}

/// Frames that a peer in this role may send, and that change something.
fn walk(mut net: impl FnMut() -> Net, role: Role, effects: &[&str]) {
    for kind in KINDS.into_iter().filter(|kind| !effects.contains(kind)) {
        let mut net = net();
        let (_, at_anna) = net.connect(1, 0, Purpose::Peer);
        net.run();
        assert!(!net.peers[0].closed.contains(&at_anna), "{role:?} is let in");
        let frame = golden(kind);
        let allowed = rights(Frame::decode(&frame).unwrap().kind(), role);
        let closed = closes(&mut net, at_anna, frame);
        assert!(closed || allowed, "{kind} from {role:?} was let through");
    }
}

/// Asked by a link, and waits for a person's word.
#[test]
fn a_requester() {
    let net = || {
        let mut net = Net::new(&["anna", "ben"]);
        let link = net.invite_by_link(0);
        net.join_by_link(1, &link).unwrap();
        net.crash(1);
        net.run();
        net
    };
    walk(net, Role::Requester, &[]);
}

/// Was asked by a link, and may say kept or refused: that says all there is to say.
#[test]
fn whoever_was_asked() {
    let net = || {
        let mut net = Net::new(&["anna", "ben"]);
        let link = net.invite_by_link(1);
        net.join_by_link(0, &link).unwrap();
        net.crash(1);
        net.run();
        net
    };
    walk(
        net,
        Role::Pending,
        &["contact_kept", "contact_refuse", "pair_refused"],
    );
}

/// Blocked, held and removed people are closed before a word of theirs is read.
#[test]
fn whoever_is_shut_out() {
    let change = |net: &mut Net, change: ContactChange| {
        let peer = net.id(1);
        net.command(0, Command::Contact { peer, change }).unwrap();
    };
    for case in ["blocked", "removed", "held"] {
        let mut net = match case {
            "held" => {
                let mut net = Net::new(&["anna", "ben", "ben"]);
                for joiner in [2, 1] {
                    let code = net.invite(0);
                    net.join(joiner, 0, code);
                }
                net
            }
            _ => Net::pair(),
        };
        match case {
            "blocked" => change(&mut net, ContactChange::Block(true)),
            "removed" => change(&mut net, ContactChange::Remove { purge: false }),
            _ => {}
        }
        net.crash(1);
        net.run();
        for kind in KINDS {
            let before = state(&net, 0);
            let (_, at_anna) = net.connect(1, 0, Purpose::Peer);
            net.inject(0, at_anna, golden(kind));
            net.run();
            assert!(
                net.peers[0].closed.contains(&at_anna),
                "{kind} from somebody {case}"
            );
            assert_eq!(state(&net, 0), before, "{kind} from somebody {case}");
        }
    }
}
