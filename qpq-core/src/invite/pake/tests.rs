//! Honest runs, wrong codes, and people in the middle.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::*;

const INVITER: PeerId = PeerId([1; 32]);
const JOINER: PeerId = PeerId([2; 32]);
const MALLORY: PeerId = PeerId([3; 32]);

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn code(text: &str) -> Code {
    text.parse().unwrap()
}

fn ends(inviter: PeerId, joiner: PeerId, channel: u8) -> Ends {
    Ends {
        inviter,
        joiner,
        channel: ChannelBinding([channel; 32]),
    }
}

/// What came of a run for the inviter and for the joiner, every message handed over unchanged. A joiner
/// that the inviter refused is given the best forgery there is: nothing the inviter said.
type Outcome = (Result<(), PakeError>, Result<(), PakeError>);

fn run(inviter: (&str, Ends), joiner: (&str, Ends)) -> Outcome {
    let (joining, start) = Joiner::start(&code(joiner.0), joiner.1, &mut rng(1));
    let (inviting, reply) = Inviter::reply(&code(inviter.0), inviter.1, &start, &mut rng(2)).unwrap();
    let (waiting, proof) = joining.reply(&reply).unwrap();
    // Even if the inviter's answer were to leak before the check, the joiner must refuse it.
    let leaked = inviting.0.proof(Role::Inviter);
    let confirmed = inviting.confirm(&proof);
    (confirmed.map(|_| ()), waiting.confirm(&leaked))
}

const REFUSED: Outcome = (Err(PakeError::Mismatch), Err(PakeError::Mismatch));

#[test]
fn the_same_code_on_one_connection_succeeds() {
    let ends = ends(INVITER, JOINER, 9);
    assert_eq!(
        run(("4-otter-violin", ends), ("4-OTTER-violin", ends)),
        (Ok(()), Ok(()))
    );
}

#[test]
fn another_code_fails_on_both_sides() {
    let ends = ends(INVITER, JOINER, 9);
    for wrong in ["4-otter-piano", "4-badger-violin", "5-otter-violin"] {
        assert_eq!(run(("4-otter-violin", ends), (wrong, ends)), REFUSED, "{wrong}");
    }
}

#[test]
fn a_man_in_the_middle_who_relays_everything_fails_on_both_sides() {
    // To the inviter he is the joiner, to the joiner the inviter: two connections with two exporters.
    let to_inviter = ends(INVITER, MALLORY, 7);
    let to_joiner = ends(MALLORY, JOINER, 8);
    assert_eq!(
        run(("4-otter-violin", to_inviter), ("4-otter-violin", to_joiner)),
        REFUSED
    );
}

#[test]
fn each_end_and_the_channel_bind_by_themselves() {
    let seen = ends(INVITER, JOINER, 9);
    for other in [
        ends(MALLORY, JOINER, 9),
        ends(INVITER, MALLORY, 9),
        ends(INVITER, JOINER, 8),
    ] {
        assert_eq!(
            run(("4-otter-violin", seen), ("4-otter-violin", other)),
            REFUSED,
            "{other:?}"
        );
    }
}

#[test]
fn swapped_roles_fail() {
    let seen = ends(INVITER, JOINER, 9);
    let swapped = ends(JOINER, INVITER, 9);
    assert_eq!(
        run(("4-otter-violin", seen), ("4-otter-violin", swapped)),
        REFUSED
    );
}

#[test]
fn reflected_messages_are_refused() {
    let (code, ends) = (code("4-otter-violin"), ends(INVITER, JOINER, 9));
    let (joining, start) = Joiner::start(&code, ends, &mut rng(1));
    assert_eq!(joining.reply(&start).unwrap_err(), PakeError::Malformed);

    let (joining, start) = Joiner::start(&code, ends, &mut rng(1));
    let (inviting, reply) = Inviter::reply(&code, ends, &start, &mut rng(2)).unwrap();
    assert_eq!(
        Inviter::reply(&code, ends, &reply, &mut rng(3)).unwrap_err(),
        PakeError::Malformed
    );
    let (waiting, proof) = joining.reply(&reply).unwrap();
    assert_eq!(waiting.confirm(&proof), Err(PakeError::Mismatch), "its own proof");
    let own = inviting.0.proof(Role::Inviter);
    assert_eq!(inviting.confirm(&own), Err(PakeError::Mismatch));
}

#[test]
fn an_earlier_run_proves_nothing_in_a_later_one() {
    let (code, ends) = (code("4-otter-violin"), ends(INVITER, JOINER, 9));
    let (joining, start) = Joiner::start(&code, ends, &mut rng(1));
    let (_, first) = Inviter::reply(&code, ends, &start, &mut rng(2)).unwrap();
    let (_, proof) = joining.reply(&first).unwrap();
    let (second, _) = Inviter::reply(&code, ends, &start, &mut rng(3)).unwrap();
    assert_eq!(second.confirm(&proof), Err(PakeError::Mismatch));
}

#[test]
fn cut_long_and_foreign_messages_are_refused() {
    let (code, ends) = (code("4-otter-violin"), ends(INVITER, JOINER, 9));
    let (_, start) = Joiner::start(&code, ends, &mut rng(1));
    assert_eq!(start.len(), 33);
    let (_, reply) = Inviter::reply(&code, ends, &start, &mut rng(2)).unwrap();
    assert_eq!(reply.len(), 33);
    let off_curve = |message: &[u8]| [&message[..1], &[2], &[0; 31]].concat();
    let symmetric = |message: &[u8]| [b"S", &message[1..]].concat();
    let bad = |message: &[u8]| {
        let cut = (0..33).map(|length| message[..length].to_vec());
        cut.chain([[message, &[0]].concat(), off_curve(message), symmetric(message)])
            .collect::<Vec<_>>()
    };
    for message in bad(&start) {
        let verdict = Inviter::reply(&code, ends, &message, &mut rng(2));
        assert_eq!(verdict.unwrap_err(), PakeError::Malformed, "{message:?}");
    }
    for message in bad(&reply) {
        let (joining, _) = Joiner::start(&code, ends, &mut rng(1));
        assert_eq!(
            joining.reply(&message).unwrap_err(),
            PakeError::Malformed,
            "{message:?}"
        );
    }
}

#[test]
fn cut_and_changed_proofs_are_refused() {
    let (code, ends) = (code("4-otter-violin"), ends(INVITER, JOINER, 9));
    let honest = || {
        let (joining, start) = Joiner::start(&code, ends, &mut rng(1));
        let (inviting, reply) = Inviter::reply(&code, ends, &start, &mut rng(2)).unwrap();
        (inviting, joining.reply(&reply).unwrap())
    };
    for length in 0..32 {
        let (inviting, (_, proof)) = honest();
        assert_eq!(
            inviting.confirm(&proof[..length]),
            Err(PakeError::Mismatch),
            "{length} bytes"
        );
    }
    for bit in 0..256 {
        let (inviting, (waiting, proof)) = honest();
        let mut own = inviting.0.proof(Role::Inviter);
        let mut changed = proof;
        changed[bit / 8] ^= 1 << (bit % 8);
        own[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(inviting.confirm(&changed), Err(PakeError::Mismatch), "bit {bit}");
        assert_eq!(waiting.confirm(&own), Err(PakeError::Mismatch), "bit {bit}");
    }
}

#[test]
fn debug_shows_nothing() {
    let (joining, _) = Joiner::start(&code("4-otter-violin"), ends(INVITER, JOINER, 9), &mut rng(1));
    assert_eq!(format!("{joining:?}"), "Joiner(..)");
}
