//! A signature for one use verifies in no other: every use of the identity's key against every place where one is
//! verified, by real objects where there are some. Only the diagonal passes.
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

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use bench::Bench;
use ed25519_dalek::{Signature as Ed25519, VerifyingKey};
use openmls_traits::signatures::Signer;
use qpq_core::{
    consensus::{
        self as group, Group, Limits, Step, What,
        danger::{Member, of_a_peer},
        mls::Mls as _,
    },
    id::{EpochId, GroupId, MemberId, StreamId},
    identity::{Context, Identity},
    invite::{ChannelBinding, Ends, Link, Prover},
    secret::Secret,
    time::Now,
    wire::{AppAck, CardUpdate, Frame, Head, NotMember, Signature},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use scenes::{Scene, stream_bytes};
use sha2::{Digest, Sha256};

/// What the identity's key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Ours(Context),
    /// RFC 8446 §4.4.3: `server` or `client`.
    Tls(&'static str),
    /// RFC 9420 §5.1.2: the label behind "MLS 1.0 ".
    Mls(&'static str),
}

fn uses() -> Vec<Use> {
    let ours = Context::ALL.iter().map(|context| Use::Ours(*context));
    let tls = ["server", "client"].map(Use::Tls);
    // Those of RFC 9420 that a member of our groups signs.
    let mls = ["LeafNodeTBS", "KeyPackageTBS", "FramedContentTBS", "GroupInfoTBS"].map(Use::Mls);
    ours.chain(tls).chain(mls).collect()
}

/// The signature of these parts for a use, as the two standards and our own rule make it.
fn sign(signer: &Identity, used: Use, parts: &[Vec<u8>]) -> Signature {
    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    match used {
        Use::Ours(context) => signer.sign(context, &slices),
        Use::Tls(side) => raw(signer, &tls_content(side, parts)),
        Use::Mls(label) => {
            let content = parts.concat();
            let label = format!("MLS 1.0 {label}");
            raw(signer, &[vector(label.as_bytes()), vector(&content)].concat())
        }
    }
}

fn raw(signer: &Identity, bytes: &[u8]) -> Signature {
    Signer::sign(signer, bytes).unwrap().try_into().unwrap()
}

fn tls_content(side: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    let label = format!("TLS 1.3, {side} CertificateVerify\0");
    [&[b' '; 64][..], label.as_bytes(), &Sha256::digest(parts.concat())].concat()
}

/// `opaque<V>` (RFC 9420 §2.1.2).
fn vector(bytes: &[u8]) -> Vec<u8> {
    let len = match bytes.len() {
        len @ 0..64 => vec![u8::try_from(len).unwrap()],
        len => (u16::try_from(len).unwrap() | 0x4000).to_be_bytes().to_vec(),
    };
    [&len[..], bytes].concat()
}

/// A place where a signature is verified.
struct Door {
    used: Use,
    /// What is signed for it.
    parts: Vec<Vec<u8>>,
    /// Whether the object goes through with this signature in it.
    passes: Passes,
}

type Passes = Box<dyn FnMut(&Signature) -> bool>;
type Passage = (Vec<Vec<u8>>, Passes);

fn ben() -> Identity {
    // Peer 1 of every network.
    Identity::from_seed(&Secret::new([52; 32]))
}

/// The door of each use; `None`: MLS verifies it below its encryption, where nobody else can put a signature.
fn door(used: Use) -> Option<Door> {
    let (parts, passes): Passage = match used {
        Use::Ours(Context::Head) => head(),
        Use::Ours(Context::AppAck) => acknowledgement(),
        Use::Ours(Context::Card) => card(),
        Use::Ours(Context::NotMember) => statement(),
        Use::Ours(Context::Ack) => ack(),
        Use::Ours(Context::Leave) => leave(),
        Use::Ours(Context::Rejoin) => rejoin(),
        Use::Mls("KeyPackageTBS") => key_package(),
        Use::Mls("LeafNodeTBS") => leaf(),
        Use::Mls("FramedContentTBS" | "GroupInfoTBS") => return None,
        Use::Tls(side) => tls(side),
        Use::Ours(context) => {
            assert!(
                RESERVED.contains(&context),
                "{context:?} has no place in the matrix"
            );
            reserved(context)
        }
        Use::Mls(label) => panic!("{label} has no place in the matrix"),
    };
    Some(Door { used, parts, passes })
}

/// Contexts that nothing is signed for yet. Whatever is, needs a door of its own.
const RESERVED: [Context; 3] = [Context::Invite, Context::Mail, Context::KeyPackage];

/// A group of Anna, its admin, and Ben, as Anna's rule has it.
struct Pair {
    mls: Member,
    group: Group,
    package: Vec<u8>,
    clock: u64,
}

impl Pair {
    fn new() -> Self {
        let identity = |seed| Identity::from_seed(&Secret::new([seed; 32]));
        let member = |identity| Member::new(identity, GROUP, of_a_peer()).unwrap();
        let (anna, mut his) = (member(identity(51)), member(ben()));
        let package = his.key_package().unwrap();
        let group = Group::new(GROUP, &anna.own(), StreamId([1; 8]), Limits::default());
        let mut pair = Self {
            group,
            package: his.key_package().unwrap(),
            clock: 1,
            mls: anna,
        };
        pair.step(|step| step.create("pair").unwrap());
        pair.step(|step| step.want(What::Add(him())).unwrap().unwrap());
        pair.step(|step| step.package(package).unwrap());
        pair
    }

    fn step<T>(&mut self, act: impl FnOnce(&mut Step<'_, Member>) -> T) -> T {
        self.clock += 10_000;
        let now = Now {
            monotonic: Duration::from_millis(self.clock),
            unix_ms: 1_700_000_000_000 + i64::try_from(self.clock).unwrap(),
        };
        act(&mut self.group.step(&mut self.mls, now))
    }

    fn epoch(&self) -> EpochId {
        self.mls.epoch().unwrap().id
    }

    /// Whether Anna acts on what Ben sent.
    fn acts_on(&mut self, frame: group::Frame) -> bool {
        let before = self.epoch();
        self.step(|step| step.receive(him(), frame).unwrap());
        self.step(|step| step.tick().unwrap());
        self.epoch() != before
    }
}

fn him() -> MemberId {
    MemberId::from(&ben().peer_id())
}

const GROUP: GroupId = GroupId([9; 16]);

fn ack() -> Passage {
    let mut pair = Pair::new();
    let last = pair.group.log().last().unwrap().clone();
    let ack = group::Ack {
        parent: last.parent,
        commit: last.commit,
        signer: ben().peer_id(),
        stream: StreamId([2; 8]),
        number: 1,
        sent: 0,
        signature: [0; 64],
    };
    let parts = vec![
        GROUP.0.to_vec(),
        ack.parent.0.to_vec(),
        ack.commit.0.to_vec(),
        ack.stream.0.to_vec(),
        ack.number.to_be_bytes().to_vec(),
        ack.sent.to_be_bytes().to_vec(),
    ];
    let passes = move |signature: &Signature| {
        let signature = *signature;
        let frame = group::Frame::Ack(group::Ack { signature, ..ack });
        pair.step(|step| step.receive(him(), frame).unwrap());
        pair.group.evidence().has_acked(&ack.parent, &ack.commit, &him())
    };
    (parts, Box::new(passes))
}

fn leave() -> Passage {
    let mut pair = Pair::new();
    let leaf = pair.mls.epoch().unwrap().leaf(&him()).unwrap().key;
    let parts = vec![GROUP.0.to_vec(), leaf.to_vec(), Vec::new()];
    let passes = move |signature: &Signature| {
        pair.acts_on(group::Frame::Leave(group::Leave {
            signer: ben().peer_id(),
            leaves: vec![leaf],
            successor: None,
            signature: *signature,
        }))
    };
    (parts, Box::new(passes))
}

fn rejoin() -> Passage {
    let mut pair = Pair::new();
    let package = pair.mls.read_key_package(&pair.package).unwrap().reference;
    let answered = pair.epoch();
    let parts = vec![GROUP.0.to_vec(), answered.0.to_vec(), package.to_vec()];
    let passes = move |signature: &Signature| {
        let rejoin = group::Rejoin {
            signer: ben().peer_id(),
            answered,
            package,
            signature: *signature,
        };
        let bytes = pair.package.clone();
        pair.acts_on(group::Frame::Rejoin(Box::new(rejoin), bytes))
    };
    (parts, Box::new(passes))
}

fn goes_through(bench: &mut Bench, frame: &Frame) -> bool {
    let verdict = bench.judge(&frame.encode());
    if verdict.closed {
        bench.connect();
    }
    assert!(verdict.error.is_none() || !verdict.stored, "{verdict:?}");
    verdict.error.is_none()
}

fn head() -> Passage {
    let mut talk = scenes::talk();
    let parts = scenes::head_bytes(&talk.head);
    let passes = move |signature: &Signature| {
        let head = Head {
            signature: *signature,
            ..talk.head.clone()
        };
        goes_through(&mut talk.bench, &Frame::Head(head))
    };
    (parts, Box::new(passes))
}

fn acknowledgement() -> Passage {
    let mut talk = scenes::talk();
    let ack = talk.ack.clone();
    let parts = vec![[&ack.group.0[..], &ack.member.0, &stream_bytes(&ack.stream)].concat()];
    let passes = move |signature: &Signature| {
        let ack = AppAck {
            signature: *signature,
            ..ack.clone()
        };
        goes_through(&mut talk.bench, &Frame::AppAck(ack))
    };
    (parts, Box::new(passes))
}

fn card() -> Passage {
    let mut talk = scenes::talk();
    let card = talk.card.card.clone().unwrap();
    let parts = vec![card.body.clone()];
    let passes = move |signature: &Signature| {
        let mut card = card.clone();
        card.signature = *signature;
        let update = CardUpdate {
            card: Some(card),
            seen: 1,
        };
        goes_through(&mut talk.bench, &Frame::Card(update))
    };
    (parts, Box::new(passes))
}

fn not_member() -> (Bench, NotMember) {
    let Scene { bench, valid } = scenes::not_member();
    match valid {
        Frame::NotMember(statement) => (bench, statement),
        other => panic!("{other:?}"),
    }
}

fn statement_bytes(statement: &NotMember) -> Vec<u8> {
    let hash = Sha256::digest(&statement.key_package);
    [&statement.group.0[..], &statement.member.0, &hash].concat()
}

fn statement() -> Passage {
    let (mut bench, statement) = not_member();
    let parts = vec![statement_bytes(&statement)];
    let passes = move |signature: &Signature| {
        let statement = NotMember {
            signature: *signature,
            ..statement.clone()
        };
        goes_through(&mut bench, &Frame::NotMember(statement))
    };
    (parts, Box::new(passes))
}

/// Behind version and wire format of the MLSMessage; the last of it is `opaque signature<V>` of 64 bytes.
const MESSAGE_HEADER: usize = 4;
const SIGNATURE: usize = 2 + 64;

/// The statement with another KeyPackage, signed anew.
fn offers(bench: &mut Bench, statement: &NotMember, key_package: Vec<u8>) -> bool {
    let mut statement = NotMember {
        key_package,
        ..statement.clone()
    };
    assert_eq!(statement.member, MemberId::from(&bench.other));
    statement.signature = ben().sign(Context::NotMember, &[&statement_bytes(&statement)]);
    goes_through(bench, &Frame::NotMember(statement))
}

fn key_package() -> Passage {
    let (mut bench, statement) = not_member();
    let valid = statement.key_package.clone();
    let signed = valid[MESSAGE_HEADER..valid.len() - SIGNATURE].to_vec();
    let passes = move |signature: &Signature| {
        let kept = &valid[..valid.len() - 64];
        offers(&mut bench, &statement, [kept, signature].concat())
    };
    (vec![signed], Box::new(passes))
}

fn leaf() -> Passage {
    let (mut bench, statement) = not_member();
    let valid = statement.key_package.clone();
    // Version 2, ciphersuite 2, init key 1 + 32; the leaf; no extensions, so one byte; the signature.
    let (begin, end) = (MESSAGE_HEADER + 2 + 2 + 33, valid.len() - SIGNATURE - 1);
    assert_eq!(valid[end], 0, "there are no extensions");
    let signed = valid[begin..end - SIGNATURE].to_vec();
    let passes = move |signature: &Signature| {
        let package = [&valid[MESSAGE_HEADER..end - 64], &signature[..], &[0]].concat();
        let outer = sign(&ben(), Use::Mls("KeyPackageTBS"), std::slice::from_ref(&package));
        let package = [&valid[..MESSAGE_HEADER], &package, &vector(&outer)].concat();
        offers(&mut bench, &statement, package)
    };
    (vec![signed], Box::new(passes))
}

/// What iroh verifies of the other side (RFC 8446 §4.4.3): its stack takes no signature from us, so this is its rule.
fn tls(side: &'static str) -> Passage {
    let parts = vec![b"a transcript".to_vec()];
    let content = tls_content(side, &parts);
    let key = VerifyingKey::from_bytes(ben().peer_id().as_bytes()).unwrap();
    let passes = move |signature: &Signature| {
        key.verify_strict(&content, &Ed25519::from_bytes(signature))
            .is_ok()
    };
    (parts, Box::new(passes))
}

fn reserved(context: Context) -> Passage {
    let parts = vec![b"some body".to_vec()];
    let passes = move |signature: &Signature| {
        ben()
            .peer_id()
            .verify(context, &[b"some body"], signature)
            .is_ok()
    };
    (parts, Box::new(passes))
}

/// What one door takes, signed for every use: that of the door alone passes.
#[test]
fn what_is_signed_for_one_use_passes_at_no_other_door() {
    let mut cells = 0;
    for mut door in uses().into_iter().filter_map(door) {
        // Its own comes last: some doors close behind it.
        let others = uses().into_iter().filter(|made| *made != door.used);
        for made in others.chain([door.used]).collect::<Vec<_>>() {
            let signature = sign(&ben(), made, &door.parts);
            assert_eq!(
                (door.passes)(&signature),
                made == door.used,
                "{made:?} at {:?}",
                door.used
            );
            cells += 1;
        }
    }
    assert_eq!(cells, 16 * 14);
}

/// The signature of one object in every other object.
#[test]
fn the_signature_of_one_object_passes_in_no_other() {
    let mut doors: Vec<Door> = uses().into_iter().filter_map(door).collect();
    let signatures: Vec<_> = doors
        .iter()
        .map(|door| (door.used, sign(&ben(), door.used, &door.parts)))
        .collect();
    for door in &mut doors {
        for (made, signature) in signatures.iter().filter(|(made, _)| *made != door.used) {
            assert!(!(door.passes)(signature), "{made:?} in {:?}", door.used);
        }
    }
}

/// Whoever begins to use a context has to build its door.
#[test]
fn nothing_is_signed_for_the_contexts_that_have_no_object() {
    let used: BTreeSet<String> = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .iter()
        .flat_map(|source| {
            let code = source.split("#[cfg(test)]\nmod ").next().unwrap();
            code.split("Context::")
                .skip(1)
                .map(|rest| {
                    let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
                    rest[..end].to_owned()
                })
                .collect::<Vec<_>>()
        })
        .collect();
    let with_doors = Context::ALL.iter().filter(|context| !RESERVED.contains(context));
    for context in with_doors {
        assert!(
            used.contains(&format!("{context:?}")),
            "{context:?} is not used: {used:?}"
        );
    }
    for context in RESERVED {
        assert!(
            !used.contains(&format!("{context:?}")),
            "{context:?} is used and has no door"
        );
    }
}

fn sources(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(sources(&path));
        } else if !path.ends_with("tests.rs") && path.extension().is_some_and(|x| x == "rs") {
            all.push(fs::read_to_string(path).unwrap());
        }
    }
    all
}

/// The three MACs under the key of one link.
#[test]
fn a_proof_of_a_link_holds_in_its_place_alone() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let [anna, joiner] = [51, 52].map(|seed| Identity::from_seed(&Secret::new([seed; 32])).peer_id());
    let keys = Link::new(anna, &mut rng).keys();
    let package = b"a KeyPackage".to_vec();
    let ends = Ends {
        inviter: anna,
        joiner,
        // The most that somebody could choose: what the other MAC would have in this place.
        channel: ChannelBinding(Sha256::digest(&package).into()),
    };
    let packages = [package];
    let made = [
        keys.proof(Prover::Joiner, &ends),
        keys.proof(Prover::Inviter, &ends),
        keys.request_proof(&anna, &joiner, &packages),
    ];
    for (at, proof) in made.iter().enumerate() {
        let holds = [
            keys.holds(Prover::Joiner, &ends, proof),
            keys.holds(Prover::Inviter, &ends, proof),
            keys.request_holds(&anna, &joiner, &packages, proof),
        ];
        for (place, holds) in holds.into_iter().enumerate() {
            assert_eq!(holds, place == at, "proof {at} in place {place}");
        }
    }
}
