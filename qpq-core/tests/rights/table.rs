//! Every union member of the schema from every kind of peer, walked from a table of its own: not the code's.

use qpq_core::{
    engine::{Command, ContactChange, Fault, Purpose},
    invite::{ChannelBinding, Code, Ends, Joiner, Link, Nameplate, Prover},
    wire::{CardUpdate, Frame, PairStart, Refusal},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::golden;
use crate::{
    bench::{Bench, Verdict},
    net::Net,
    scenes::{self, Scene, Talk},
};

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// Nobody known, at an open invite.
    Stranger,
    /// Has proved to have a link of ours, on this connection.
    Proven,
    /// Has asked by a link; a person is to decide.
    Requester,
    /// Was asked by us.
    Pending,
    /// A contact, and a member of no group that the frame is of.
    Contact,
    /// A contact, and the other member of a group.
    Member,
}

const PEERS: [Peer; 6] = [
    Peer::Stranger,
    Peer::Proven,
    Peer::Requester,
    Peer::Pending,
    Peer::Contact,
    Peer::Member,
];

/// Who may say what, by docs/src/protocol/frames.md, in the order of `PEERS`: `+` it is judged by what is in it,
/// `.` the kind alone closes the link. Hello, Bye, Ping and Pong end before the engine, whoever sends them. Of whoever
/// is blocked, held or removed nothing is read (`whoever_is_shut_out`).
const TABLE: [(&str, &str); 19] = [
    ("hello", "......"),
    ("bye", "......"),
    ("ping", "......"),
    ("pong", "......"),
    // A first contact may cross another one, or be done once more by those who know each other.
    ("pairStart", "+.+.++"),
    ("pairReply", "+.++++"),
    ("pairProof", "+.++++"),
    ("contactRequest", ".+++++"),
    ("contactAccept", "...+++"),
    ("pairRefused", "++++++"),
    ("app", "....++"),
    ("appAck", "....++"),
    ("head", "....++"),
    ("contactRefuse", "...+.."),
    ("contactKept", "...+.."),
    ("card", "....++"),
    ("want", "....++"),
    ("notMember", "....++"),
    ("welcome", "....++"),
];

const FORBIDDEN: &str = "the peer may not send this frame now";

/// A bench with this peer at the other end, and nothing said that it is not by being there.
fn bench(peer: Peer) -> Bench {
    match peer {
        Peer::Stranger => {
            let mut net = Net::new(&["anna", "mallory"]);
            net.invite(0);
            net.invite_by_link(0);
            Bench::new(net, 0, 1, Purpose::Pair, vec![])
        }
        Peer::Proven => scenes::contact_request().bench,
        Peer::Requester => {
            let mut net = Net::new(&["anna", "ben"]);
            let link = net.invite_by_link(0);
            net.join_by_link(1, &link).unwrap();
            Bench::new(net, 0, 1, Purpose::Peer, vec![])
        }
        Peer::Pending => scenes::contact_accept().bench,
        Peer::Contact => scenes::not_member().bench,
        Peer::Member => scenes::talk().bench,
    }
}

/// Golden frames of a union member: those that it has a form for each.
fn forms(member: &str) -> Vec<Vec<u8>> {
    let mut file = String::new();
    for c in member.chars() {
        if c.is_uppercase() {
            file.push('_');
        }
        file.extend(c.to_lowercase());
    }
    let more: &[&str] = match member {
        "pairStart" => &["pair_start_link"],
        "contactRequest" => &["contact_request_link"],
        "card" => &["card_seen"],
        "head" => &["head_opened"],
        _ => &[],
    };
    let names = [file.as_str()].into_iter().chain(more.iter().copied());
    names.map(golden).collect()
}

#[test]
fn every_union_member_from_every_peer_is_judged_as_the_table_says() {
    for peer in PEERS {
        for (column, (member, row)) in TABLE.iter().enumerate() {
            let allowed = row.as_bytes()[PEERS.iter().position(|one| *one == peer).unwrap()] == b'+';
            for frame in forms(member) {
                // What is allowed may change what the peer is.
                let mut bench = bench(peer);
                let verdict = bench.judge(&frame);
                let context = format!("{column}: {member} from {peer:?}: {verdict:?}");
                if allowed {
                    let forbidden = verdict.error.as_deref() == Some(FORBIDDEN);
                    // A contact's group frames of a group that is another's are refused as such.
                    assert!(!forbidden, "{context}");
                } else {
                    assert_eq!(verdict.error.as_deref(), Some(FORBIDDEN), "{context}");
                    assert_eq!(
                        (verdict.fault, verdict.closed),
                        (Some(Fault::Peer), true),
                        "{context}"
                    );
                    assert!(!verdict.stored && verdict.sent == 0, "{context}");
                }
            }
        }
    }
}

/// The schema is the one list of frames.
#[test]
fn the_table_has_every_union_member_of_the_schema() {
    let schema = include_str!("../../../schemas/peer.capnp");
    let (_, frame) = schema.split_once("struct Frame {").unwrap();
    let (_, union) = frame.split_once("union {").unwrap();
    let (union, _) = union.split_once('}').unwrap();
    let lines = union.lines().filter(|line| line.contains('@'));
    let members: Vec<_> = lines
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(members, TABLE.map(|(member, _)| member));
    for (member, row) in TABLE {
        assert_eq!(row.len(), PEERS.len(), "{member}");
        for frame in forms(member) {
            let kind = format!("{:?}", Frame::decode(&frame).unwrap().kind());
            assert_eq!(kind.to_lowercase(), member.to_lowercase());
        }
    }
}

/// What is documented is what is tested: a *yes* for each `+`.
#[test]
fn the_table_is_the_documented_one() {
    let page = include_str!("../../../docs/src/protocol/frames.md");
    for (member, row) in TABLE {
        let line = page.lines().find(|line| {
            let first = line.trim_start_matches("| ").split(" |").next().unwrap();
            first.eq_ignore_ascii_case(member)
        });
        let cells = line
            .unwrap_or_else(|| panic!("{member} is not documented"))
            .split('|')
            .skip(2);
        let told: String = cells
            .map(|cell| if cell.trim() == "yes" { '+' } else { '.' })
            .take(5)
            .collect();
        assert_eq!(told, row[..5], "{member}");
        // A member is a contact.
        assert_eq!(row[4..5], row[5..], "{member}");
    }
}

/// What is taken, from whom, and what comes of it: stored or not, so many frames sent, the link kept or closed.
#[track_caller]
fn takes(bench: &mut Bench, what: &str, frame: &Frame, stored: bool, sent: usize, closed: bool) {
    let verdict = bench.judge(&frame.encode());
    let expected = Verdict {
        error: None,
        fault: None,
        closed,
        stored,
        sent,
    };
    assert_eq!(verdict, expected, "{what}");
}

#[test]
fn a_stranger_with_the_code_gets_as_far_as_a_request_and_one_without_nowhere() {
    let mut net = Net::new(&["anna", "ben"]);
    let code = net.invite(0);
    let ends = Ends {
        inviter: net.id(0),
        joiner: net.id(1),
        channel: ChannelBinding([9; 32]),
    };
    let mut bench = Bench::new(net, 0, 1, Purpose::Pair, vec![]);
    let start = |code: &Code| {
        let (_, spake) = Joiner::start(code, ends, &mut ChaCha20Rng::seed_from_u64(5));
        Frame::PairStart(PairStart::Code {
            nameplate: code.nameplate(),
            spake,
        })
    };
    takes(&mut bench, "the right nameplate", &start(&code), false, 1, false);
    takes(
        &mut bench,
        "a wrong proof",
        &Frame::PairProof { mac: [0; 32] },
        false,
        1,
        true,
    );
    bench.connect();
    let other = Code::generate(
        Nameplate::try_from(5).unwrap(),
        &mut ChaCha20Rng::seed_from_u64(6),
    );
    takes(&mut bench, "another nameplate", &start(&other), false, 1, true);
    bench.connect();
    takes(
        &mut bench,
        "a refusal of nothing",
        &Frame::PairRefused(Refusal::Used),
        false,
        0,
        true,
    );
}

#[test]
fn a_stranger_with_a_link_proves_it_and_asks_once() {
    let Scene { mut bench, valid } = scenes::contact_request();
    takes(&mut bench, "the request", &valid, true, 1, false);
    takes(&mut bench, "the request once more", &valid, false, 1, false);
    let Frame::ContactRequest(request) = &valid else {
        panic!()
    };
    let mut named = request.clone();
    named.name = "eve".to_owned();
    // By the same link, from the same person: it takes the place of the one before.
    takes(
        &mut bench,
        "another name",
        &Frame::ContactRequest(named),
        true,
        1,
        false,
    );
    let asking = bench.net.reader(0).asking().unwrap();
    assert_eq!((asking.len(), asking[0].name.as_str()), (1, "eve"));
}

#[test]
fn a_stranger_with_another_link_is_told_no_and_nothing_is_kept() {
    let mut net = Net::new(&["anna", "ben"]);
    let text = net.invite_by_link(0);
    let ends = Ends {
        inviter: net.id(0),
        joiner: net.id(1),
        channel: ChannelBinding([9; 32]),
    };
    let link: Link = text.parse().unwrap();
    let mut bench = Bench::new(net, 0, 1, Purpose::Pair, vec![]);
    let other = Link::new(bench.net.id(0), &mut ChaCha20Rng::seed_from_u64(7));
    takes(
        &mut bench,
        "no link of ours",
        &Frame::PairStart(PairStart::Link(other.id())),
        false,
        1,
        true,
    );
    bench.connect();
    takes(
        &mut bench,
        "our link",
        &Frame::PairStart(PairStart::Link(link.id())),
        false,
        1,
        false,
    );
    let mac = other.keys().proof(Prover::Joiner, &ends);
    takes(
        &mut bench,
        "the proof of another",
        &Frame::PairProof { mac },
        false,
        1,
        true,
    );
}

#[test]
fn whoever_was_asked_says_yes_or_no_once() {
    let Scene { mut bench, valid } = scenes::contact_accept();
    takes(
        &mut bench,
        "kept",
        &Frame::ContactKept {
            name: "anna".to_owned(),
        },
        true,
        0,
        false,
    );
    takes(
        &mut bench,
        "kept once more",
        &Frame::ContactKept {
            name: "eve".to_owned(),
        },
        false,
        0,
        false,
    );
    let verdict = bench.judge(&valid.encode());
    assert!(
        verdict.error.is_none() && verdict.stored && !verdict.closed,
        "{verdict:?}"
    );
    assert_eq!(bench.net.reader(1).people().unwrap()[0].name, "anna");
    for no in [Frame::ContactRefuse, Frame::PairRefused(Refusal::Cancelled)] {
        let Scene { mut bench, valid } = scenes::contact_accept();
        takes(&mut bench, "no", &no, true, 0, true);
        let now = bench.net.reader(1).asked().unwrap();
        assert!(now.is_empty() && bench.net.reader(1).people().unwrap().is_empty());
        drop(valid);
    }
}

#[test]
fn a_member_moves_what_is_its_own() {
    let Talk {
        mut bench,
        head,
        app,
        ack,
        want,
        card,
    } = scenes::talk();
    takes(&mut bench, "a Head", &Frame::Head(head), false, 0, false);
    let verdict = bench.judge(&Frame::Want(want).encode());
    assert!(
        verdict.error.is_none() && verdict.sent == 1,
        "what it lacks is sent once more: {verdict:?}"
    );
    takes(
        &mut bench,
        "an acknowledgement",
        &Frame::AppAck(ack),
        true,
        0,
        false,
    );
    takes(&mut bench, "a message", &Frame::App(app), true, 0, false);
    takes(&mut bench, "a card", &Frame::Card(card), true, 1, false);
    let seen = CardUpdate { card: None, seen: 1 };
    takes(
        &mut bench,
        "what it has of ours",
        &Frame::Card(seen),
        false,
        0,
        false,
    );
    assert_eq!(bench.net.texts(0, false), ["to anna"]);
}

#[test]
fn a_contact_without_its_group_gets_another() {
    let Scene { mut bench, valid } = scenes::not_member();
    let verdict = bench.judge(&valid.encode());
    assert!(
        verdict.error.is_none() && verdict.stored && verdict.sent > 0,
        "{verdict:?}"
    );
    let Scene { mut bench, valid } = scenes::welcome();
    let verdict = bench.judge(&valid.encode());
    assert!(
        verdict.error.is_none() && verdict.stored && verdict.sent == 1,
        "{verdict:?}"
    );
}

/// Of somebody blocked in the middle of a talk nothing more is taken, not on the old link and not on a new one.
#[test]
fn what_a_member_says_after_it_was_blocked_is_not_read() {
    let Talk { mut bench, app, .. } = scenes::talk();
    let peer = bench.other;
    let block = Command::Contact {
        peer,
        change: ContactChange::Block(true),
    };
    bench.net.command(0, block).unwrap();
    let verdict = bench.judge(&Frame::App(app).encode());
    assert_eq!(verdict.error.as_deref(), Some("the link is not known"));
    assert!(!verdict.stored, "{verdict:?}");
}
