//! A live engine with its database, before which hostile frames are put: those that are refused change nothing.

use std::cell::RefCell;

use qpq_core::{
    engine::{Fault, Purpose},
    id::MemberId,
    identity::Context,
    wire::{Frame, NotMember, Welcome},
};
use sha2::{Digest, Sha256};

use super::edited;
use crate::{
    bench::{Bench, Verdict},
    net::Net,
    scenes::{self, Scene, Talk},
};

/// A bench that is put back to its beginning whenever something was taken.
struct Stage<T> {
    scene: T,
    copy: Vec<u8>,
}

thread_local! {
    static TALK: RefCell<Option<Stage<Talk>>> = const { RefCell::new(None) };
    static NOT_MEMBER: RefCell<Option<Stage<Scene>>> = const { RefCell::new(None) };
    static ACCEPT: RefCell<Option<Stage<Scene>>> = const { RefCell::new(None) };
    static DOOR: RefCell<Option<Stage<Bench>>> = const { RefCell::new(None) };
}

/// What holds of every frame: whoever sent it is to blame or nobody, and what was refused is as if it had not come.
fn holds(verdict: &Verdict) {
    match verdict.fault {
        None => {}
        Some(Fault::Peer) => assert!(verdict.closed && !verdict.stored, "{verdict:?}"),
        Some(Fault::Nobody) => assert!(!verdict.closed && !verdict.stored, "{verdict:?}"),
        Some(fault) => panic!("{fault:?} of a frame: {verdict:?}"),
    }
}

/// Goes on with a bench as it was: with a new link, and with the old disk where something was stored.
fn restore(bench: &mut Bench, verdict: &Verdict, copy: &[u8]) {
    if verdict.stored {
        bench.put_back(copy);
    } else if verdict.closed {
        bench.connect();
    }
}

fn talk<R>(run: impl FnOnce(&mut Talk, &[u8]) -> R) -> R {
    TALK.with_borrow_mut(|stage| {
        let stage = stage.get_or_insert_with(|| {
            let mut scene = scenes::talk();
            let copy = scene.bench.copy();
            Stage { scene, copy }
        });
        run(&mut stage.scene, &stage.copy)
    })
}

/// An MLS message of a member: nothing but the one that it encrypted is opened.
pub(super) fn mls_message(input: &[u8]) {
    talk(|talk, copy| {
        let (raw, edits) = input.split_first().map_or((0, input), |(raw, rest)| (*raw, rest));
        let mut app = talk.app.clone();
        app.mls = if raw == 255 {
            edits.to_vec()
        } else {
            edited(&app.mls, edits)
        };
        let verdict = talk.bench.judge(&Frame::App(app.clone()).encode());
        holds(&verdict);
        if app == talk.app {
            assert!(verdict.error.is_none() && verdict.stored, "{verdict:?}");
        } else {
            assert!(verdict.error.is_some(), "{verdict:?}");
        }
        restore(&mut talk.bench, &verdict, copy);
    });
}

/// Any frame of a contact, in the first byte's choice of kinds; 255: any bytes.
pub(super) fn contact_frame(input: &[u8]) {
    let (choice, edits) = input
        .split_first()
        .map_or((0, input), |(choice, rest)| (*choice, rest));
    talk(|talk, copy| {
        let frames = [
            Frame::Head(talk.head.clone()),
            Frame::App(talk.app.clone()),
            Frame::AppAck(talk.ack.clone()),
            Frame::Want(talk.want.clone()),
            Frame::Card(talk.card.clone()),
        ];
        let frame = match choice {
            255 => edits.to_vec(),
            _ => edited(&frames[usize::from(choice) % frames.len()].encode(), edits),
        };
        let verdict = talk.bench.judge(&frame);
        holds(&verdict);
        restore(&mut talk.bench, &verdict, copy);
    });
}

/// The KeyPackage of a contact that needs a new group: its statement is signed, whatever the KeyPackage is.
pub(super) fn key_package(input: &[u8]) {
    NOT_MEMBER.with_borrow_mut(|stage| {
        let stage = stage.get_or_insert_with(|| staged(scenes::not_member()));
        let (bench, copy) = (&mut stage.scene.bench, &stage.copy);
        let Frame::NotMember(valid) = &stage.scene.valid else {
            panic!("a NotMember")
        };
        let (raw, edits) = input.split_first().map_or((0, input), |(raw, rest)| (*raw, rest));
        let key_package = if raw == 255 {
            edits.to_vec()
        } else {
            edited(&valid.key_package, edits)
        };
        let is_valid = key_package == valid.key_package;
        let member = MemberId::from(&bench.other);
        let signed = [&valid.group.0[..], &member.0, &Sha256::digest(&key_package)].concat();
        let statement = NotMember {
            signature: bench.net.identity(1).sign(Context::NotMember, &[&signed]),
            key_package,
            ..valid.clone()
        };
        let verdict = bench.judge(&Frame::NotMember(statement).encode());
        holds(&verdict);
        assert_eq!(verdict.error.is_none(), is_valid, "{verdict:?}");
        restore(bench, &verdict, copy);
    });
}

/// The Welcome of whoever was asked: nothing but the one that was made for us is entered.
pub(super) fn welcome(input: &[u8]) {
    ACCEPT.with_borrow_mut(|stage| {
        let stage = stage.get_or_insert_with(|| staged(scenes::contact_accept()));
        let (bench, copy) = (&mut stage.scene.bench, &stage.copy);
        let Frame::ContactAccept(valid) = &stage.scene.valid else {
            panic!("a ContactAccept")
        };
        let (raw, edits) = input.split_first().map_or((0, input), |(raw, rest)| (*raw, rest));
        let mut accept = valid.clone();
        accept.welcome = if raw == 255 {
            edits.to_vec()
        } else {
            edited(&valid.welcome, edits)
        };
        let is_valid = accept == *valid;
        let verdict = bench.judge(&Frame::ContactAccept(accept.clone()).encode());
        holds(&verdict);
        assert_eq!(verdict.error.is_none(), is_valid, "{verdict:?}");
        restore(bench, &verdict, copy);
        let (group, commit) = (accept.group, accept.commit);
        // Nobody waits for one of these.
        let unasked = Welcome {
            group,
            commit,
            welcome: accept.welcome,
        };
        let verdict = bench.judge(&Frame::Welcome(unasked).encode());
        holds(&verdict);
        assert!(verdict.error.is_some());
        restore(bench, &verdict, copy);
    });
}

fn staged(mut scene: Scene) -> Stage<Scene> {
    let copy = scene.bench.copy();
    Stage { scene, copy }
}

/// Up to eight frames of a stranger at an open invite: nothing of them is stored. Each begins with its kind and the
/// number of bytes that are its edits.
pub(super) fn stranger_frames(input: &[u8]) {
    DOOR.with_borrow_mut(|stage| {
        let stage = stage.get_or_insert_with(|| {
            let mut net = Net::new(&["anna", "mallory"]);
            net.invite_by_link(0);
            net.invite(0);
            let scene = Bench::new(net, 0, 1, Purpose::Pair, vec![]);
            Stage {
                scene,
                copy: Vec::new(),
            }
        });
        let bench = &mut stage.scene;
        let frames = golden();
        let (mut rest, mut closed) = (input, false);
        for _ in 0..8 {
            let Some(([kind, count], more)) = rest.split_first_chunk::<2>() else {
                break;
            };
            let (edits, more) = more.split_at(more.len().min(usize::from(*count)));
            rest = more;
            let frame = edited(frames[usize::from(*kind) % frames.len()], edits);
            let verdict = bench.judge(&frame);
            holds(&verdict);
            assert!(!verdict.stored, "{verdict:?}");
            closed |= verdict.closed;
            if closed {
                break;
            }
        }
        bench.connect();
    });
}

/// What strangers may say, and some of what they may not.
fn golden() -> [&'static [u8]; 9] {
    macro_rules! golden {
        ($($name:literal),*) => {
            [$(include_bytes!(concat!("../../qpq-core/test_vectors/frames/", $name, ".bin"))),*]
        };
    }
    golden!(
        "pair_start",
        "pair_start_link",
        "pair_reply",
        "pair_proof",
        "contact_request",
        "contact_request_link",
        "contact_accept",
        "pair_refused",
        "app"
    )
}
