//! What is signed: by another key, for another use, over another content, cut, replayed.

use qpq_core::{
    card::{Card, LanKey},
    delivery::{Range, Ranges},
    id::{EpochId, GroupId, MemberId, PeerId, StreamId},
    identity::{Context, Identity},
    wire::{AppAck, CardUpdate, Frame, Head, NotMember, Signature},
};
use sha2::{Digest, Sha256};

use super::{Closed, Expected, Idle, Kept, expect};
use crate::{
    bench::Bench,
    scenes::{self, Scene, Talk, stream_bytes},
};

const MALLORY: u8 = 200;

fn mallory() -> Identity {
    Identity::from_seed(&qpq_core::secret::Secret::new([MALLORY; 32]))
}

/// Signatures over the same bytes that are not the one that counts: by name.
fn bad_signatures(
    valid: Signature,
    ben: &Identity,
    context: Context,
    parts: &[&[u8]],
) -> Vec<(String, Signature)> {
    let mut all = vec![
        (
            "a key of somebody else".to_owned(),
            mallory().sign(context, parts),
        ),
        ("no signature".to_owned(), [0; 64]),
    ];
    for (name, at) in [("R", 0), ("s", 32), ("the last byte", 63)] {
        let mut flipped = valid;
        flipped[at] ^= 1;
        all.push((format!("a flipped bit in {name}"), flipped));
    }
    for &other in Context::ALL.iter().filter(|other| **other != context) {
        all.push((format!("the context {other:?}"), ben.sign(other, parts)));
    }
    all
}

#[test]
fn a_head_counts_as_its_member_signed_it() {
    let Talk { mut bench, head, .. } = scenes::talk();
    let ben = bench.net.identity(1);
    let forged = Closed("the peer's head does not hold");
    let signed = scenes::head_bytes(&head);
    let parts: Vec<&[u8]> = signed.iter().map(Vec::as_slice).collect();
    assert_eq!(
        ben.sign(Context::Head, &parts),
        head.signature,
        "these are the bytes"
    );
    for (name, signature) in bad_signatures(head.signature, &ben, Context::Head, &parts) {
        let frame = Frame::Head(Head {
            signature,
            ..head.clone()
        })
        .encode();
        expect(&mut bench, &name, &frame, forged);
    }
    let mut unsigned: Vec<(&str, Expected, Head)> = Vec::new();
    let mut case = |name, expected, change: &dyn Fn(&mut Head)| {
        let mut head = head.clone();
        change(&mut head);
        unsigned.push((name, expected, head));
    };
    case("another group", Kept("nothing waits for this frame"), &|head| {
        head.group = GroupId([9; 16])
    });
    case("another epoch", forged, &|head| head.epoch_id = EpochId([9; 16]));
    case("another member", forged, &|head| head.member = MemberId([9; 16]));
    case("a stream less", forged, &|head| _ = head.streams.pop());
    case("a stream twice", forged, &|head| {
        head.streams.push(head.streams[0].clone())
    });
    case("another range", forged, &|head| {
        head.streams[0].ranges = Ranges::new(vec![Range { first: 1, last: 9 }]).unwrap();
    });
    case("more opened", forged, &|head| head.opened.push((head.member, 1)));
    case(
        "too many streams",
        Closed("frame field `streams` is invalid"),
        &|head| {
            head.streams = vec![head.streams[0].clone(); 513];
        },
    );
    // A hint that nobody reads.
    case("another number of the epoch", Idle, &|head| head.epoch = 99);
    for (name, expected, head) in unsigned {
        expect(&mut bench, name, &Frame::Head(head).encode(), expected);
    }
    expect(&mut bench, "a replay", &Frame::Head(head).encode(), Idle);
}

#[test]
fn an_acknowledgement_counts_as_its_member_signed_it() {
    let Talk { mut bench, ack, .. } = scenes::talk();
    let ben = bench.net.identity(1);
    let forged = Closed("the peer's acknowledgement does not hold");
    let bytes = |ack: &AppAck| [&ack.group.0[..], &ack.member.0, &stream_bytes(&ack.stream)].concat();
    let signed = bytes(&ack);
    assert_eq!(
        ben.sign(Context::AppAck, &[&signed]),
        ack.signature,
        "these are the bytes"
    );
    for (name, signature) in bad_signatures(ack.signature, &ben, Context::AppAck, &[&signed]) {
        let frame = Frame::AppAck(AppAck {
            signature,
            ..ack.clone()
        })
        .encode();
        expect(&mut bench, &name, &frame, forged);
    }
    let anna = MemberId::from(&bench.net.id(0));
    let nine = Ranges::new(vec![Range { first: 1, last: 9 }]).unwrap();
    let with = |change: &dyn Fn(&mut AppAck)| {
        let mut ack = ack.clone();
        change(&mut ack);
        ack
    };
    for (name, expected, ack) in [
        (
            "another group",
            Kept("the group is not known"),
            with(&|ack| ack.group = GroupId([9; 16])),
        ),
        ("another member", forged, with(&|ack| ack.member = anna)),
        (
            "another stream",
            forged,
            with(&|ack| ack.stream.stream = StreamId([9; 8])),
        ),
        (
            "another range",
            forged,
            with(&|ack| ack.stream.ranges = nine.clone()),
        ),
    ] {
        expect(&mut bench, name, &Frame::AppAck(ack).encode(), expected);
    }
    // Signed, and about what nobody sent: this database may be an older copy of itself. Nothing counts as delivered, and
    // the group is given up.
    let mut more = with(&|ack| ack.stream.ranges = nine.clone());
    more.signature = ben.sign(Context::AppAck, &[&bytes(&more)]);
    let states = |bench: &Bench| -> Vec<_> {
        let messages = bench.net.messages(0).into_iter();
        messages.map(|message| message.state).collect()
    };
    let before = states(&bench);
    let verdict = bench.judge(&Frame::AppAck(more).encode());
    assert_eq!((verdict.error.as_deref(), verdict.closed), (None, false));
    assert!(verdict.stored, "the group is not given up");
    assert_eq!(states(&bench), before);
    let database = bench.net.peers[0].database();
    let dead: i64 = database
        .query_row("SELECT count(*) FROM grp WHERE dead", [], |row| row.get(0))
        .unwrap();
    assert_eq!(dead, 1);
}

#[test]
fn a_card_counts_as_its_owner_signed_it_for_its_reader() {
    let Talk {
        mut bench,
        card: update,
        ..
    } = scenes::talk();
    let (anna, ben) = (bench.net.id(0), bench.net.identity(1));
    let valid = update.card.clone().unwrap();
    let signature = Closed("the card's signature does not hold");
    let parties = Closed("the card is not from its sender or not for its reader");
    for (name, signature_of) in bad_signatures(valid.signature, &ben, Context::Card, &[&valid.body]) {
        let mut card = valid.clone();
        card.signature = signature_of;
        expect(
            &mut bench,
            &name,
            &Frame::Card(CardUpdate {
                card: Some(card),
                seen: 1,
            })
            .encode(),
            signature,
        );
    }
    let card = |member: PeerId, audience: PeerId, version: u64| Card {
        member,
        audience,
        version,
        endpoint: ben.peer_id(),
        lan_key: LanKey([1; 32]),
    };
    let own = mallory().peer_id();
    for (name, card, expected) in [
        (
            "for another reader",
            card(ben.peer_id(), own, 9).sign(&ben),
            parties,
        ),
        ("of another member", card(own, anna, 9).sign(&ben), parties),
        (
            "of another member, signed by it",
            card(own, anna, 9).sign(&mallory()),
            signature,
        ),
        (
            "of a version over SQLite's",
            card(ben.peer_id(), anna, 1 << 63).sign(&ben),
            parties,
        ),
        (
            "of an older version",
            card(ben.peer_id(), anna, 0).sign(&ben),
            Idle,
        ),
    ] {
        expect(
            &mut bench,
            name,
            &Frame::Card(CardUpdate {
                card: Some(card),
                seen: 1,
            })
            .encode(),
            expected,
        );
    }
    let taken = bench.judge(&Frame::Card(update.clone()).encode());
    assert!(taken.error.is_none() && taken.stored, "{taken:?}");
    expect(&mut bench, "a replay", &Frame::Card(update).encode(), Idle);
}

#[test]
fn a_statement_counts_as_its_member_signed_it() {
    let Scene { mut bench, valid } = scenes::not_member();
    let Frame::NotMember(statement) = &valid else {
        panic!()
    };
    let ben = bench.net.identity(1);
    let forged = Closed("the peer's statement does not hold");
    let bytes = |statement: &NotMember| {
        let hash = Sha256::digest(&statement.key_package);
        [&statement.group.0[..], &statement.member.0, &hash].concat()
    };
    let signed = bytes(statement);
    assert_eq!(
        ben.sign(Context::NotMember, &[&signed]),
        statement.signature,
        "these are the bytes"
    );
    for (name, signature) in bad_signatures(statement.signature, &ben, Context::NotMember, &[&signed]) {
        let frame = Frame::NotMember(NotMember {
            signature,
            ..statement.clone()
        })
        .encode();
        expect(&mut bench, &name, &frame, forged);
    }
    let resigned = |change: &dyn Fn(&mut NotMember)| {
        let mut statement = statement.clone();
        change(&mut statement);
        statement.signature = ben.sign(Context::NotMember, &[&bytes(&statement)]);
        Frame::NotMember(statement).encode()
    };
    let invalid = Closed("the KeyPackage is invalid");
    for (name, frame, expected) in [
        (
            "another member",
            resigned(&|it| it.member = MemberId([9; 16])),
            forged,
        ),
        ("no KeyPackage", resigned(&|it| it.key_package.clear()), invalid),
        (
            "a KeyPackage cut short",
            resigned(&|it| _ = it.key_package.pop()),
            invalid,
        ),
        (
            "a KeyPackage with a byte more",
            resigned(&|it| it.key_package.push(0)),
            invalid,
        ),
        (
            "a KeyPackage with a flipped signature",
            resigned(&|it| *it.key_package.last_mut().unwrap() ^= 1),
            invalid,
        ),
        (
            "another group",
            resigned(&|it| it.group = GroupId([9; 16])),
            Kept("nothing waits for this frame"),
        ),
    ] {
        expect(&mut bench, name, &frame, expected);
    }
    let Scene { valid: others, .. } = scenes::not_member();
    let Frame::NotMember(other) = others else { panic!() };
    // Another KeyPackage of the same person under the old signature.
    let swapped = NotMember {
        key_package: other.key_package,
        ..statement.clone()
    };
    expect(
        &mut bench,
        "a KeyPackage that was swapped",
        &Frame::NotMember(swapped).encode(),
        forged,
    );
    let taken = bench.judge(&valid.encode());
    assert!(taken.error.is_none() && taken.stored, "{taken:?}");
}
