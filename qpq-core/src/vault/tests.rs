//! Opening, refusing and damaging vaults.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use proptest::prelude::*;
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::*;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::from_bytes(Vec::from(text).into()).unwrap()
}

fn plain() -> (Vault, Vec<u8>) {
    let vault = Vault::generate(&mut rng());
    let file = vault.seal(None, &mut rng()).unwrap();
    (vault, file)
}

#[test]
fn without_a_passphrase_it_opens_with_any() {
    let (vault, file) = plain();
    assert_eq!(file.len(), HEADER_LEN + 64 + 16);
    assert_eq!(Vault::open(&file, None).unwrap(), vault);
    assert_eq!(Vault::open(&file, Some(&passphrase("unneeded"))).unwrap(), vault);
    assert_eq!(Vault::needs_passphrase(&file), Ok(false));
}

#[test]
fn with_a_passphrase_it_opens_with_that_one_in_any_unicode_form() {
    let vault = Vault::generate(&mut rng());
    let mut other_rng = ChaCha20Rng::seed_from_u64(2);
    let file = vault
        .seal(Some(&passphrase("caf\u{e9} noir")), &mut other_rng)
        .unwrap();
    assert_eq!(Vault::needs_passphrase(&file), Ok(true));
    assert_eq!(
        Vault::open(&file, Some(&passphrase("cafe\u{301} noir"))).unwrap(),
        vault
    );
    assert_eq!(
        Vault::open(&file, Some(&passphrase("cafe noir"))),
        Err(OpenError::WrongOrDamaged)
    );
    assert_eq!(Vault::open(&file, None), Err(OpenError::PassphraseNeeded));
    for secret in [vault.identity_seed.expose(), vault.database_key.expose()] {
        assert!(!file.windows(32).any(|window| window == secret));
    }
}

#[test]
fn two_files_of_one_vault_share_no_salt_and_no_nonce() {
    let (vault, _) = plain();
    let mut rng = rng();
    let [a, b] = [(); 2].map(|()| vault.seal(None, &mut rng).unwrap());
    assert_ne!(a[22..38], b[22..38]);
    assert_ne!(a[38..62], b[38..62]);
}

#[test]
fn every_truncation_is_refused() {
    let (_, file) = plain();
    for length in 0..file.len() {
        let expected = if length < 8 {
            OpenError::NotAVault
        } else {
            OpenError::WrongOrDamaged
        };
        assert_eq!(
            Vault::open(&file[..length], None),
            Err(expected),
            "{length} bytes"
        );
    }
    assert_eq!(
        Vault::open(&[&file[..], &[0]].concat(), None),
        Err(OpenError::WrongOrDamaged)
    );
}

#[test]
fn every_flip_of_a_bit_is_refused() {
    let (_, file) = plain();
    for bit in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let verdict = Vault::open(&flipped, None);
        match bit / 8 {
            0..8 => assert_eq!(verdict, Err(OpenError::NotAVault), "bit {bit}"),
            8 if flipped[8] > 1 => assert_eq!(verdict, Err(OpenError::NewerVersion), "bit {bit}"),
            9..22 => assert_eq!(verdict, Err(OpenError::Parameters), "bit {bit}"),
            _ => assert_eq!(verdict, Err(OpenError::WrongOrDamaged), "bit {bit}"),
        }
    }
}

/// Changes of one to eight bytes anywhere. `cargo test` prints the number of the first that was taken.
#[test]
fn ten_thousand_random_changes_are_refused() {
    let (_, file) = plain();
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    for round in 0..10_000 {
        let mut changed = file.clone();
        for _ in 0..=rng.next_u32() % 8 {
            let at = usize::try_from(rng.next_u32()).unwrap() % file.len();
            changed[at] ^= u8::try_from(1 + rng.next_u32() % 255).unwrap();
        }
        // Changes that undo each other are none.
        assert_eq!(
            Vault::open(&changed, None).is_ok(),
            changed == file,
            "round {round}"
        );
    }
}

/// Every other value of every byte of a protected file's header: most are refused before anything is derived; what
/// derives a key does so within the limits. A few of those are tried, and a few of the rest of the file.
#[test]
fn every_byte_of_a_protected_header_is_refused() {
    let (vault, _) = plain();
    let mut rng = ChaCha20Rng::seed_from_u64(6);
    let file = vault.seal(Some(&passphrase("otters")), &mut rng).unwrap();
    let mut derived = Vec::new();
    for at in 0..HEADER_LEN {
        for change in 1..=255 {
            let mut changed = file.clone();
            changed[at] ^= change;
            match Header::parse(&changed) {
                Err(error) => assert_eq!(Vault::open(&changed, Some(&passphrase("otters"))), Err(error)),
                Ok(Header { kdf: Kdf::None, .. }) => assert!(Vault::open(&changed, None).is_err()),
                Ok(Header {
                    kdf:
                        Kdf::Argon2id {
                            memory_kib,
                            passes,
                            lanes,
                        },
                    ..
                }) => {
                    assert!(memory_kib <= 1_048_576 && passes <= 16 && lanes <= 16);
                    if memory_kib <= 65_536 && passes <= 3 {
                        derived.push(changed);
                    }
                }
            }
        }
    }
    let step = derived.len() / 3;
    let behind_header = [HEADER_LEN, file.len() - 1].map(|at| {
        let mut changed = file.clone();
        changed[at] ^= 1;
        changed
    });
    for changed in derived.iter().step_by(step).chain(&behind_header) {
        let opened = Vault::open(changed, Some(&passphrase("otters")));
        assert_eq!(opened, Err(OpenError::WrongOrDamaged));
    }
}

#[test]
fn greedy_and_feeble_parameters_are_refused_before_work() {
    let (_, mut file) = plain();
    file[9] = 1;
    let limits = [
        [8_191, 3, 4],
        [1_048_577, 3, 4],
        [u32::MAX, 3, 4],
        [65_536, 0, 4],
        [65_536, 17, 4],
        [65_536, 3, 0],
        [65_536, 3, 17],
    ];
    for numbers in limits {
        file.splice(
            10..22,
            numbers.iter().flat_map(|number| u32::to_be_bytes(*number)),
        );
        assert_eq!(
            Vault::open(&file, Some(&passphrase("x"))),
            Err(OpenError::Parameters),
            "{numbers:?}"
        );
    }
}

#[test]
fn debug_shows_no_key() {
    assert_eq!(
        format!("{:?}", plain().0),
        "Vault { identity_seed: Secret<32>(..), database_key: Secret<32>(..) }"
    );
}

proptest! {
    #[test]
    fn hostile_bytes_are_refused(tail: Vec<u8>) {
        prop_assert!(Vault::open(&tail, None).is_err());
        prop_assert!(Vault::open(&[&MAGIC[..], &[VERSION, 0], &tail].concat(), None).is_err());
    }
}
