//! Golden bytes of every frame, hostile bytes, and the walk over the table of rights.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "small numbers of tests"
)]

use proptest::prelude::*;

use super::*;
use crate::{
    card::UnverifiedCard,
    delivery::{Range, Ranges},
    engine::Purpose,
    id::{CommitId, EpochId, GroupId, LinkId, MemberId, MessageId, PeerId, StreamId},
    invite::Nameplate,
};

/// One frame of every kind, every field filled.
fn samples() -> Vec<(&'static str, Frame)> {
    let mut samples = pairing_samples();
    samples.extend(group_samples());
    samples
}

fn pairing_samples() -> Vec<(&'static str, Frame)> {
    let card = UnverifiedCard {
        body: vec![5; 11],
        signature: [6; 64],
    };
    let hello = Hello {
        min: 1,
        max: 2,
        features: 3,
        session: [7; 8],
        purpose: Purpose::Pair,
    };
    let request = ContactRequest {
        identity: PeerId([8; 32]),
        name: "ben ü".to_owned(),
        card: card.clone(),
        key_packages: vec![vec![9; 5], vec![10; 3]],
        proof: None,
    };
    let done = ContactAccept {
        name: "anna".to_owned(),
        card,
        group: GroupId([11; 16]),
        commit: CommitId([12; 32]),
        welcome: vec![13; 100],
    };
    let start = PairStart::Code {
        nameplate: Nameplate::try_from(4).unwrap(),
        spake: vec![30; 33],
    };
    let by_link = ContactRequest {
        proof: Some([44; 32]),
        ..request.clone()
    };
    let update = CardUpdate {
        card: Some(request.card.clone()),
        seen: 45,
    };
    vec![
        ("hello", Frame::Hello(hello)),
        ("bye", Frame::Bye(Bye::Shutdown)),
        ("ping", Frame::Ping(31)),
        ("pong", Frame::Pong(32)),
        ("pair_start", Frame::PairStart(start)),
        ("pair_reply", Frame::PairReply { spake: vec![33; 33] }),
        ("pair_proof", Frame::PairProof { mac: [34; 32] }),
        ("contact_request", Frame::ContactRequest(request)),
        ("contact_accept", Frame::ContactAccept(done)),
        ("pair_refused", Frame::PairRefused(Refusal::Used)),
        ("contact_refuse", Frame::ContactRefuse),
        (
            "contact_kept",
            Frame::ContactKept {
                name: "anna".to_owned(),
            },
        ),
        ("card", Frame::Card(update)),
        (
            "pair_start_link",
            Frame::PairStart(PairStart::Link(LinkId([46; 8]))),
        ),
        ("contact_request_link", Frame::ContactRequest(by_link)),
        ("card_seen", Frame::Card(CardUpdate { card: None, seen: 47 })),
    ]
}

fn group_samples() -> Vec<(&'static str, Frame)> {
    let ranges = Ranges::new(vec![Range { first: 1, last: 4 }, Range { first: 6, last: 6 }]).unwrap();
    let stream = StreamRanges {
        member: MemberId([3; 16]),
        stream: StreamId([4; 8]),
        ranges,
    };
    let app = App {
        group: GroupId([14; 16]),
        epoch_id: EpochId([15; 16]),
        epoch: 16,
        member: MemberId([17; 16]),
        stream: StreamId([18; 8]),
        seq: 19,
        message: MessageId([20; 16]),
        mls: vec![21; 70],
    };
    let ack = AppAck {
        group: GroupId([22; 16]),
        member: MemberId([23; 16]),
        stream: stream.clone(),
        signature: [24; 64],
    };
    let head = Head {
        group: GroupId([25; 16]),
        epoch_id: EpochId([26; 16]),
        epoch: 27,
        member: MemberId([28; 16]),
        streams: vec![
            stream.clone(),
            StreamRanges {
                ranges: Ranges::default(),
                ..stream
            },
        ],
        opened: Vec::new(),
        signature: [29; 64],
    };
    let opened = Head {
        opened: vec![(MemberId([48; 16]), 49), (MemberId([50; 16]), 51)],
        ..head.clone()
    };
    let statement = NotMember {
        group: GroupId([35; 16]),
        member: MemberId([36; 16]),
        key_package: vec![37; 40],
        signature: [38; 64],
    };
    let welcome = Welcome {
        group: GroupId([39; 16]),
        commit: CommitId([40; 32]),
        welcome: vec![41; 50],
    };
    let want = Want {
        group: GroupId([43; 16]),
        stream: ack.stream.clone(),
    };
    vec![
        ("app", Frame::App(app)),
        ("app_ack", Frame::AppAck(ack)),
        ("head", Frame::Head(head)),
        ("head_opened", Frame::Head(opened)),
        ("want", Frame::Want(want)),
        ("not_member", Frame::NotMember(statement)),
        ("welcome", Frame::Welcome(welcome)),
    ]
}

/// The files are the wire format: a frame that no longer encodes to its file, or a file that no longer decodes
/// to its frame, breaks every peer out there. `QPQ_WRITE_GOLDEN=1` writes those of new frames. What an older
/// build made of the same frame, before a field was added, is kept as `name.1.bin` and still decodes to it.
#[test]
fn every_frame_equals_its_golden_file() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("test_vectors/frames");
    for (name, frame) in samples() {
        let path = folder.join(format!("{name}.bin"));
        if std::env::var_os("QPQ_WRITE_GOLDEN").is_some() && !path.exists() {
            std::fs::write(&path, frame.encode()).unwrap();
        }
        let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(frame.encode(), golden, "{name} encodes differently");
        assert_eq!(
            Frame::decode(&golden).unwrap(),
            frame,
            "{name} decodes differently"
        );
        if let Ok(older) = std::fs::read(folder.join(format!("{name}.1.bin"))) {
            assert_eq!(
                Frame::decode(&older).unwrap(),
                frame,
                "an older {name} decodes differently"
            );
        }
        assert_eq!(
            body_len(golden.first_chunk().unwrap()).unwrap() + HEADER,
            golden.len()
        );
    }
}

#[test]
fn link_frames_are_told_from_the_engines() {
    for (name, frame) in samples() {
        let link = link_frame(&frame.encode()).unwrap();
        match frame {
            Frame::Hello(hello) => assert_eq!(link, LinkFrame::Hello(hello)),
            Frame::Bye(bye) => assert_eq!(link, LinkFrame::Bye(bye)),
            Frame::Ping(nonce) => assert_eq!(link, LinkFrame::Ping(nonce)),
            Frame::Pong(nonce) => assert_eq!(link, LinkFrame::Pong(nonce)),
            _ => assert_eq!(link, LinkFrame::Other, "{name}"),
        }
    }
}

#[test]
fn a_header_out_of_bounds_is_refused() {
    let header = |segments: u32, words: u32| {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&segments.to_le_bytes());
        bytes[4..].copy_from_slice(&words.to_le_bytes());
        body_len(&bytes)
    };
    assert_eq!(header(0, 1).unwrap(), 8);
    assert_eq!(header(0, MAX_WORDS).unwrap(), 278_528);
    for (segments, words) in [
        (0, 0),
        (0, MAX_WORDS + 1),
        (0, 8 * 1024 * 1024),
        (0, u32::MAX),
        (1, 1),
        (u32::MAX, 1),
    ] {
        assert!(header(segments, words).is_err(), "{segments} {words}");
    }
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    for (name, frame) in samples() {
        let bytes = frame.encode();
        for cut in 0..bytes.len() {
            assert!(Frame::decode(&bytes[..cut]).is_err(), "{name} cut at {cut}");
        }
        assert!(
            Frame::decode(&[&bytes[..], &[0; 8]].concat()).is_err(),
            "{name} extended"
        );
    }
}

#[test]
fn fields_of_wrong_length_or_value_are_refused() {
    let bad: Vec<(&str, Frame)> = samples()
        .into_iter()
        .filter_map(|(name, frame)| match frame {
            Frame::Hello(hello) => Some((
                name,
                Frame::Hello(Hello {
                    min: 3,
                    max: 2,
                    ..hello
                }),
            )),
            Frame::ContactRequest(request) => {
                let key_packages = vec![vec![1]; 3];
                Some((
                    name,
                    Frame::ContactRequest(ContactRequest {
                        key_packages,
                        ..request
                    }),
                ))
            }
            Frame::App(app) => Some((name, Frame::App(App { seq: 1 << 63, ..app }))),
            Frame::Head(head) if !head.opened.is_empty() => {
                let opened = vec![head.opened[0]; 513];
                Some((name, Frame::Head(Head { opened, ..head })))
            }
            Frame::Head(head) => {
                let streams = vec![head.streams[0].clone(); 513];
                Some((name, Frame::Head(Head { streams, ..head })))
            }
            _ => None,
        })
        .collect();
    assert_eq!(bad.len(), 6);
    for (name, frame) in bad {
        assert!(
            matches!(Frame::decode(&frame.encode()), Err(FrameError::Field(_))),
            "{name}"
        );
    }
}

/// A list of 2^29 - 1 empty structs fits into one word: it must be counted before it is walked.
#[test]
fn a_list_that_claims_millions_of_elements_is_refused_quickly() {
    let Some((_, frame)) = samples().into_iter().find(|(name, _)| *name == "head") else {
        panic!()
    };
    let bytes = frame.encode();
    for at in (HEADER..bytes.len()).step_by(8) {
        let mut bytes = bytes.clone();
        // A list pointer (tag 1) to zero-sized elements with the largest count, at every word.
        bytes[at..at + 8].copy_from_slice(&[1, 0, 0, 0, 0xF8, 0xFF, 0xFF, 0xFF]);
        let _ = Frame::decode(&bytes);
        bytes[at..at + 8].copy_from_slice(&[1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
        let _ = Frame::decode(&bytes);
    }
}

/// Both KeyPackages of a request are the first one's bytes, which are as many as both had: what is copied is no more
/// than what came.
#[test]
fn pointers_that_share_what_they_point_at_make_nobody_copy_more_than_came() {
    let Some((_, Frame::ContactRequest(request))) =
        samples().into_iter().find(|(name, _)| *name == "contact_request")
    else {
        panic!()
    };
    let key_packages = vec![vec![1; 800], vec![2; 800]];
    let mut bytes = Frame::ContactRequest(ContactRequest {
        key_packages,
        ..request
    })
    .encode();
    assert!(Frame::decode(&bytes).is_ok());
    let is_list =
        |at: &usize| bytes[*at] & 3 == 1 && bytes[at + 4..at + 8] == (800_u32 << 3 | 2).to_le_bytes();
    let pointers: Vec<usize> = (HEADER..bytes.len()).step_by(8).filter(is_list).collect();
    let [first, second] = pointers[..] else {
        panic!("{pointers:?}")
    };
    let shared = i32::from_le_bytes(bytes[first..first + 4].try_into().unwrap()) - (1 << 2);
    bytes[second..second + 4].copy_from_slice(&shared.to_le_bytes());
    // Twice the 800 bytes that are there for it.
    assert!(Frame::decode(&bytes).is_ok(), "as many as came");
    bytes.drain(bytes.len() - 800..);
    let words = u32::try_from((bytes.len() - HEADER) / 8).unwrap();
    bytes[4..HEADER].copy_from_slice(&words.to_le_bytes());
    assert!(matches!(Frame::decode(&bytes), Err(FrameError::Malformed(_))));
}

proptest! {
    #[test]
    fn no_bytes_panic(sample in 0usize..23, flips in proptest::collection::vec((0usize..4096, any::<u8>()), 1..6)) {
        let mut bytes = samples().swap_remove(sample).1.encode();
        for (at, value) in flips {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        if let Ok(frame) = Frame::decode(&bytes) {
            prop_assert_eq!(Frame::decode(&frame.encode()).unwrap(), frame);
        }
        let _ = link_frame(&bytes);
    }

    #[test]
    fn random_bytes_are_not_frames(body in proptest::collection::vec(any::<u8>(), 8..512)) {
        let words = body.len() / 8;
        let mut bytes = [0, 0, 0, 0].to_vec();
        bytes.extend(u32::try_from(words).unwrap().to_le_bytes());
        bytes.extend(&body[..words * 8]);
        let _ = Frame::decode(&bytes);
    }
}

/// The table of peer.md, spelled out once more by hand: every kind for every role.
#[test]
fn rights_are_exactly_these() {
    let allowed = |name: &str| -> &[Role] {
        match name {
            "pair_start" | "pair_start_link" => &[Role::Stranger, Role::Requester, Role::Contact],
            "pair_reply" => &[Role::Stranger, Role::Requester, Role::Pending, Role::Contact],
            "pair_proof" => &[Role::Stranger, Role::Requester, Role::Pending, Role::Contact],
            "contact_request" | "contact_request_link" => {
                &[Role::Proven, Role::Requester, Role::Pending, Role::Contact]
            }
            "contact_kept" | "contact_refuse" => &[Role::Pending],
            "contact_accept" => &[Role::Pending, Role::Contact],
            "pair_refused" => &Role::ALL,
            "app" | "app_ack" | "head" | "head_opened" | "card" | "card_seen" | "want" | "not_member"
            | "welcome" => &[Role::Contact],
            _ => &[],
        }
    };
    for (name, frame) in samples() {
        for role in Role::ALL {
            assert_eq!(
                rights(frame.kind(), role),
                allowed(name).contains(&role),
                "{name} from {role:?}"
            );
        }
    }
}
