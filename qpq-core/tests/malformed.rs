//! Everything that a frame can have wrong with it, before an engine with a database: each is refused for exactly what is
//! wrong, nothing of it is stored, and its link is closed or kept as is documented. Then the valid one is taken.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

#[path = "support/bench.rs"]
mod bench;
#[path = "malformed/claims.rs"]
mod claims;
#[path = "support/malformed.rs"]
mod malformed;
#[path = "support/net.rs"]
mod net;
#[path = "support/scenes.rs"]
mod scenes;
#[path = "malformed/signed.rs"]
mod signed;

use bench::{Bench, Verdict};
use malformed::{Malformed, Refused, variants};
use net::Net;
use qpq_core::{
    engine::{Fault, HandleError, Purpose},
    wire::{Frame, FrameError},
};
use scenes::{Scene, Talk};

/// What is to become of a frame.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// Refused for this, and its link is closed.
    Closed(&'static str),
    /// Refused for this, and its link is kept: an honest peer may send it.
    Kept(&'static str),
    /// Taken for what it is, and nothing comes of it.
    Idle,
}
use Expected::{Closed, Idle, Kept};

/// Puts a frame before the engine and compares. The next one has a link again.
#[track_caller]
fn expect(bench: &mut Bench, name: &str, frame: &[u8], expected: Expected) {
    let verdict = bench.judge(frame);
    let (error, fault, closed) = match expected {
        Closed(error) => (Some(error), Some(Fault::Peer), true),
        Kept(error) => (Some(error), Some(Fault::Nobody), false),
        Idle => (None, None, false),
    };
    assert_eq!(verdict.error.as_deref(), error, "{name}");
    assert_eq!((verdict.fault, verdict.closed), (fault, closed), "{name}");
    assert!(!verdict.stored, "{name}: something was stored");
    if closed {
        bench.connect();
    }
}

/// All variants of what cannot be read, and then the valid frame, which is taken.
fn every_variant(bench: &mut Bench, valid: &Frame) {
    for Malformed { name, bytes, refused } in variants(&valid.encode()) {
        match (refused, Frame::decode(&bytes)) {
            (Refused::As(malformed::UNKNOWN), _) => expect(bench, &name, &bytes, Kept(malformed::UNKNOWN)),
            (Refused::As(error), _) => expect(bench, &name, &bytes, Closed(error)),
            (Refused::Somehow, Ok(read)) => {
                if says_the_same(&read, valid) {
                    continue;
                }
                let verdict = bench.judge(&bytes);
                assert!(verdict.error.is_some() || is_meant(&read), "{name}: {verdict:?}");
                assert!(!verdict.stored, "{name}: something was stored");
                if verdict.closed {
                    bench.connect();
                }
            }
            (Refused::Somehow, Err(error)) => {
                let verdict = bench.judge(&bytes);
                assert_eq!(verdict.error, Some(error.to_string()), "{name}");
                assert!(verdict.closed && !verdict.stored, "{name}");
                bench.connect();
            }
        }
    }
    let verdict = bench.judge(&valid.encode());
    assert!(verdict.error.is_none(), "the valid one: {verdict:?}");
}

/// An empty list may be absent, and a name is whatever its owner says.
fn says_the_same(read: &Frame, valid: &Frame) -> bool {
    let mut read = read.clone();
    match (&mut read, valid) {
        (Frame::ContactAccept(read), Frame::ContactAccept(valid)) => read.name.clone_from(&valid.name),
        (Frame::ContactRequest(read), Frame::ContactRequest(valid)) => read.name.clone_from(&valid.name),
        _ => {}
    }
    read == *valid
}

/// A field that may be absent, or of any length, and whose frame then says less or something else, and no harm.
fn is_meant(read: &Frame) -> bool {
    match read {
        // No card: only which of ours was seen.
        Frame::Card(update) => update.card.is_none(),
        // By code, of which none was proved: that is told.
        Frame::ContactRequest(request) => request.proof.is_none(),
        // Nothing is wanted.
        Frame::Want(want) => want.stream.ranges.as_slice().is_empty(),
        _ => false,
    }
}

fn golden() -> Vec<(String, Vec<u8>)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("test_vectors/frames");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut all: Vec<_> = files
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    all.sort();
    all
}

/// Of every kind, before anybody looks at who sent it.
#[test]
fn decoding_refuses_every_variant_of_every_frame_for_what_is_wrong_with_it() {
    let mut refused = 0;
    for (kind, valid) in golden() {
        let frame = Frame::decode(&valid).unwrap();
        for variant in variants(&valid) {
            let name = format!("{kind}: {}", variant.name);
            match (variant.refused, Frame::decode(&variant.bytes)) {
                (Refused::As(expected), Err(error)) => assert_eq!(error.to_string(), expected, "{name}"),
                (Refused::Somehow, Err(error)) => {
                    let known = matches!(error, FrameError::Field(_) | FrameError::Malformed(_));
                    assert!(known, "{name}: {error}");
                }
                // A field that may be absent or of any length: what is in it is judged where it is used.
                (Refused::Somehow, Ok(other)) => {
                    assert_eq!(other.kind(), frame.kind(), "{name}");
                    continue;
                }
                (Refused::As(expected), Ok(_)) => panic!("{name}: {expected}"),
            }
            refused += 1;
        }
    }
    assert!(refused > 1_000, "{refused}");
}

#[test]
fn every_malformed_head_is_refused() {
    let Talk { mut bench, head, .. } = scenes::talk();
    every_variant(&mut bench, &Frame::Head(head));
}

#[test]
fn every_malformed_message_is_refused() {
    let Talk { mut bench, app, .. } = scenes::talk();
    every_variant(&mut bench, &Frame::App(app));
    assert_eq!(bench.net.texts(0, false), ["to anna"]);
}

#[test]
fn every_malformed_acknowledgement_is_refused() {
    let Talk { mut bench, ack, .. } = scenes::talk();
    every_variant(&mut bench, &Frame::AppAck(ack));
    assert!(
        bench.net.reader(0).outbox(None).unwrap().is_empty(),
        "the valid one counts"
    );
}

#[test]
fn every_malformed_want_is_refused() {
    let Talk { mut bench, want, .. } = scenes::talk();
    every_variant(&mut bench, &Frame::Want(want));
}

#[test]
fn every_malformed_card_is_refused() {
    let Talk { mut bench, card, .. } = scenes::talk();
    every_variant(&mut bench, &Frame::Card(card));
}

#[test]
fn every_malformed_statement_is_refused() {
    let Scene { mut bench, valid } = scenes::not_member();
    every_variant(&mut bench, &valid);
}

#[test]
fn every_malformed_request_is_refused() {
    let Scene { mut bench, valid } = scenes::contact_request();
    every_variant(&mut bench, &valid);
    assert_eq!(bench.net.reader(0).asking().unwrap().len(), 1);
}

#[test]
fn every_malformed_answer_is_refused() {
    let Scene { mut bench, valid } = scenes::contact_accept();
    every_variant(&mut bench, &valid);
    assert_eq!(bench.net.reader(1).people().unwrap().len(), 1);
}

/// The errors of this file are those of the engine: one that is renamed or split must be told here.
#[test]
fn blame_follows_the_error() {
    assert_eq!(HandleError::Rights.fault(), Fault::Peer);
    assert_eq!(HandleError::Stale.fault(), Fault::Nobody);
    let mut net = Net::new(&["anna", "ben"]);
    net.invite(0);
    let mut bench = Bench::new(net, 0, 1, Purpose::Pair, vec![]);
    let Verdict {
        fault,
        closed,
        stored,
        ..
    } = bench.judge(b"garbage");
    assert_eq!((fault, closed, stored), (Some(Fault::Peer), true, false));
}
