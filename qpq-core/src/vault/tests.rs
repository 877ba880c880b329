//! Opening, refusing and damaging vaults.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

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
