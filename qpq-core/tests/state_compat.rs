//! Files written by earlier versions still open: stored formats never change in silence.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use qpq_core::{
    passphrase::Passphrase,
    vault::{OpenError, Vault},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

const PASSPHRASE: &str = "correct horse 4 otters";
const PLAIN: &[u8] = include_bytes!("state_compat/v1.plain.bin");
const PROTECTED: &[u8] = include_bytes!("state_compat/v1.passphrase.bin");

fn passphrase(text: &str) -> Passphrase {
    Passphrase::from_bytes(Vec::from(text).into()).unwrap()
}

/// The vault inside of both files.
fn vault() -> Vault {
    Vault::generate(&mut ChaCha20Rng::seed_from_u64(20))
}

#[test]
fn v1_without_a_passphrase_opens() {
    assert_eq!(Vault::open(PLAIN, None).unwrap(), vault());
}

#[test]
fn v1_with_a_passphrase_opens() {
    assert_eq!(
        Vault::open(PROTECTED, Some(&passphrase(PASSPHRASE))).unwrap(),
        vault()
    );
    assert_eq!(
        Vault::open(PROTECTED, Some(&passphrase("wrong"))),
        Err(OpenError::WrongOrDamaged)
    );
}

#[test]
fn v1_is_still_written_byte_for_byte() {
    assert_eq!(
        vault().seal(None, &mut ChaCha20Rng::seed_from_u64(21)).unwrap(),
        PLAIN
    );
    assert_eq!(
        vault()
            .seal(Some(&passphrase(PASSPHRASE)), &mut ChaCha20Rng::seed_from_u64(22))
            .unwrap(),
        PROTECTED
    );
}

#[test]
fn every_truncation_and_every_changed_byte_of_v1_is_refused() {
    for length in 0..PLAIN.len() {
        assert!(Vault::open(&PLAIN[..length], None).is_err(), "{length} bytes");
    }
    for at in 0..PLAIN.len() {
        for change in 1..=255 {
            let mut changed = PLAIN.to_vec();
            changed[at] ^= change;
            assert!(Vault::open(&changed, None).is_err(), "byte {at} ^ {change}");
        }
    }
}

/// Writes the files anew. Only for a new version, under new names: `cargo test -- --ignored write_golden`.
#[test]
#[ignore = "writes into the source tree"]
fn write_golden_files() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/state_compat");
    let plain = vault().seal(None, &mut ChaCha20Rng::seed_from_u64(21)).unwrap();
    let protected = vault()
        .seal(Some(&passphrase(PASSPHRASE)), &mut ChaCha20Rng::seed_from_u64(22))
        .unwrap();
    std::fs::write(folder.join("v1.plain.bin"), plain).unwrap();
    std::fs::write(folder.join("v1.passphrase.bin"), protected).unwrap();
}
