//! Well-formed frames whose claims do not hold: of another group, epoch, number or person, or said before.

use qpq_core::{
    delivery::{Range, Ranges},
    engine::Fault,
    id::{CommitId, EpochId, GroupId, MemberId, MessageId, PeerId, StreamId},
    wire::{App, ContactAccept, Frame, Want, Welcome},
};

use super::{Closed, Expected, Idle, Kept, expect};
use crate::scenes::{self, Scene, Talk};

/// MLS into a live group under a frame that says something else of it.
#[test]
fn a_message_whose_frame_lies_about_it_opens_nothing() {
    let Talk { mut bench, app, .. } = scenes::talk();
    let anna = MemberId::from(&bench.net.id(0));
    let mismatch = Kept("the message is not what its frame says");
    let author = Closed("the peer's author does not hold");
    let number = Closed("frame field `seq` is invalid");
    let mut case = |name: &str, expected: Expected, change: &dyn Fn(&mut App)| {
        let mut app = app.clone();
        change(&mut app);
        expect(&mut bench, name, &Frame::App(app).encode(), expected);
    };
    let (group, epoch) = (
        Kept("nothing waits for this frame"),
        Kept("the message is of another epoch"),
    );
    case("another group", group, &|app| app.group = GroupId([9; 16]));
    case("another epoch", epoch, &|app| app.epoch_id = EpochId([9; 16]));
    case("no member", author, &|app| app.member = MemberId([9; 16]));
    case("the reader as author", author, &|app| app.member = anna);
    case("another stream", mismatch, &|app| app.stream = StreamId([9; 8]));
    case("another number", mismatch, &|app| app.seq = 2);
    case("number 0", number, &|app| app.seq = 0);
    case("number 2^63", number, &|app| app.seq = 1 << 63);
    case("another id", mismatch, &|app| app.message = MessageId([9; 16]));
}

/// A body that is no MLS message, another's, changed in any byte; then the valid one, and a replay.
#[test]
fn a_message_that_is_not_as_it_was_encrypted_opens_nothing() {
    let Talk { mut bench, app, .. } = scenes::talk();
    let unreadable = Kept("the message is malformed");
    let with = |change: &dyn Fn(&mut App)| {
        let mut app = app.clone();
        change(&mut app);
        Frame::App(app).encode()
    };
    for (name, frame) in [
        ("no MLS", with(&|app| app.mls.clear())),
        ("MLS cut short", with(&|app| _ = app.mls.pop())),
        ("MLS with a byte more", with(&|app| app.mls.push(0))),
        ("MLS of another version", with(&|app| app.mls[1] = 9)),
        ("MLS of another wire format", with(&|app| app.mls[3] = 9)),
    ] {
        expect(&mut bench, name, &frame, unreadable);
    }
    // Every byte of the ciphertext, and of all before it.
    for at in 4..app.mls.len() {
        let verdict = bench.judge(&with(&|app| app.mls[at] ^= 1));
        assert!(
            verdict.error.is_some() && verdict.fault == Some(Fault::Nobody),
            "byte {at}: {verdict:?}"
        );
        assert!(!verdict.stored && !verdict.closed, "byte {at}: {verdict:?}");
    }
    let verdict = bench.judge(&Frame::App(app.clone()).encode());
    assert!(verdict.error.is_none() && verdict.stored, "{verdict:?}");
    expect(&mut bench, "a replay", &Frame::App(app).encode(), Idle);
    assert_eq!(bench.net.texts(0, false), ["to anna"]);
}

/// The KeyPackage, the Welcome and the PublicMessage of MLS are no PrivateMessage.
#[test]
fn other_mls_messages_are_no_message() {
    let Scene { valid, .. } = scenes::not_member();
    let Frame::NotMember(statement) = valid else {
        panic!()
    };
    let Scene { valid, .. } = scenes::contact_accept();
    let Frame::ContactAccept(accept) = valid else {
        panic!()
    };
    let Talk { mut bench, app, .. } = scenes::talk();
    for (name, mls) in [
        ("a KeyPackage", statement.key_package),
        ("a Welcome", accept.welcome),
    ] {
        let frame = Frame::App(App { mls, ..app.clone() }).encode();
        expect(&mut bench, name, &frame, Kept("the message is malformed"));
    }
}

#[test]
fn what_is_wanted_of_another_or_of_no_stream_is_not_answered() {
    let Talk { mut bench, want, .. } = scenes::talk();
    let ben = MemberId::from(&bench.other);
    let with = |change: &dyn Fn(&mut Want)| {
        let mut want = want.clone();
        change(&mut want);
        Frame::Want(want).encode()
    };
    let stale = Kept("nothing waits for this frame");
    for (name, frame) in [
        ("another group", with(&|want| want.group = GroupId([9; 16]))),
        ("their own stream", with(&|want| want.stream.member = ben)),
        (
            "another stream",
            with(&|want| want.stream.stream = StreamId([9; 8])),
        ),
    ] {
        expect(&mut bench, name, &frame, stale);
    }
    let huge = Ranges::new(vec![Range {
        first: 1,
        last: u64::MAX,
    }])
    .unwrap();
    let verdict = bench.judge(&with(&|want| want.stream.ranges = huge.clone()));
    assert_eq!(
        (verdict.error, verdict.closed, verdict.sent),
        (None, false, 1),
        "one is there"
    );
    let again = bench.judge(&Frame::Want(want.clone()).encode());
    assert!(again.sent == 0 && !again.stored, "not again so soon: {again:?}");
}

/// An answer is for one request, from whom it was asked of, into a group of these two.
#[test]
fn an_answer_to_another_request_enters_no_group() {
    let Scene { mut bench, valid } = scenes::contact_accept();
    let Frame::ContactAccept(accept) = &valid else {
        panic!()
    };
    let Scene { valid: other, .. } = scenes::contact_accept();
    let Frame::ContactAccept(other) = other else {
        panic!()
    };
    let with = |change: &dyn Fn(&mut ContactAccept)| {
        let mut accept = accept.clone();
        change(&mut accept);
        Frame::ContactAccept(accept).encode()
    };
    let stale = "nothing waits for this frame";
    let group = "the Welcome leads to another group than announced";
    for (name, frame, expected) in [
        (
            "another group",
            with(&|accept| accept.group = GroupId([9; 16])),
            Closed(group),
        ),
        ("no Welcome", with(&|accept| accept.welcome.clear()), Kept(stale)),
        (
            "a Welcome cut short",
            with(&|accept| _ = accept.welcome.pop()),
            Kept(stale),
        ),
        (
            "a Welcome with a byte more",
            with(&|accept| accept.welcome.push(0)),
            Kept(stale),
        ),
        (
            "a Welcome for another KeyPackage",
            with(&|accept| accept.welcome.clone_from(&other.welcome)),
            Kept(stale),
        ),
        (
            "a card with a flipped signature",
            with(&|accept| accept.card.signature[0] ^= 1),
            Closed("the card's signature does not hold"),
        ),
        (
            "a card with another body",
            with(&|accept| accept.card.body[20] ^= 1),
            Closed("the card's signature does not hold"),
        ),
    ] {
        expect(&mut bench, name, &frame, expected);
    }
    let taken = bench.judge(&valid.encode());
    assert!(taken.error.is_none() && taken.stored, "{taken:?}");
    // It was used up: once more it says nothing new.
    expect(&mut bench, "a replay", &valid.encode(), Idle);
}

#[test]
fn a_welcome_that_nobody_waits_for_is_left_alone() {
    let Scene { mut bench, valid } = scenes::welcome();
    let Frame::Welcome(welcome) = &valid else { panic!() };
    let group = Frame::Welcome(Welcome {
        group: GroupId([9; 16]),
        ..welcome.clone()
    })
    .encode();
    expect(
        &mut bench,
        "another group",
        &group,
        Closed("the Welcome leads to another group than announced"),
    );
    let taken = bench.judge(&valid.encode());
    assert!(taken.error.is_none() && taken.stored, "{taken:?}");
    for (name, frame) in [
        ("a replay", valid.encode()),
        (
            "another commit",
            Frame::Welcome(Welcome {
                commit: CommitId([9; 32]),
                ..welcome.clone()
            })
            .encode(),
        ),
        ("another group", group),
    ] {
        expect(&mut bench, name, &frame, Kept("nothing waits for this frame"));
    }
}

/// A request by link is for one inviter, from one joiner, with the keys that its proof covers.
#[test]
fn a_request_that_is_not_what_its_proof_covers_is_not_kept() {
    let Scene { mut bench, valid } = scenes::contact_request();
    let Frame::ContactRequest(request) = &valid else {
        panic!()
    };
    let Scene { valid: other, .. } = scenes::contact_request();
    let Frame::ContactRequest(other) = other else {
        panic!()
    };
    let mut cases = Vec::new();
    let mut case = |name: &'static str, expected, change: &dyn Fn(&mut qpq_core::wire::ContactRequest)| {
        let mut request = request.clone();
        change(&mut request);
        cases.push((name, Frame::ContactRequest(request).encode(), expected));
    };
    let proof = Closed("the peer's proof does not hold");
    case(
        "another identity",
        Closed("the peer's identity does not hold"),
        &|it| it.identity = PeerId([9; 32]),
    );
    case("a flipped proof", proof, &|it| it.proof.as_mut().unwrap()[0] ^= 1);
    case("the proof of another link", proof, &|it| it.proof = other.proof);
    case("another KeyPackage", proof, &|it| {
        it.key_packages.clone_from(&other.key_packages)
    });
    case("a second KeyPackage", proof, &|it| {
        it.key_packages.push(other.key_packages[0].clone())
    });
    case("a KeyPackage cut short", proof, &|it| {
        _ = it.key_packages[0].pop()
    });
    case(
        "no KeyPackage",
        Closed("frame field `keyPackages` is invalid"),
        &|it| it.key_packages.clear(),
    );
    case(
        "three KeyPackages",
        Closed("frame field `keyPackages` is invalid"),
        &|it| {
            it.key_packages = vec![it.key_packages[0].clone(); 3];
        },
    );
    case(
        "a flipped card",
        Closed("the card's signature does not hold"),
        &|it| it.card.signature[0] ^= 1,
    );
    for (name, frame, expected) in cases {
        expect(&mut bench, name, &frame, expected);
    }
    let taken = bench.judge(&valid.encode());
    assert!(taken.error.is_none() && taken.stored, "{taken:?}");
    let replayed = bench.judge(&valid.encode());
    assert!(replayed.error.is_none() && !replayed.stored, "{replayed:?}");
}
