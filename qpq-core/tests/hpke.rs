//! The seeded HPKE of the simulator is HPKE: it makes what RFC 9180 says, and everybody else's opens it.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "support/openmls_world.rs"]
mod openmls_world;

use std::sync::Arc;

use data_encoding::HEXLOWER;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_world::seeded_crypto::{HPKE, SeededCrypto, seal_with};

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// RFC 9180 A.1.1: base mode, sequence number 0.
#[test]
fn what_is_sealed_is_the_vector_of_the_rfc() {
    let ikm_e = hex("7268600d403fce431561aef583ee1613527cff655c1343f29812e66706df3234");
    let pk_r = hex("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d");
    let info = hex("4f6465206f6e2061204772656369616e2055726e");
    let (aad, plaintext) = (hex("436f756e742d30"), b"Beauty is truth, truth beauty");
    let sealed = seal_with(&RustCrypto::default(), &ikm_e, &pk_r, &info, &aad, plaintext).unwrap();
    assert_eq!(
        HEXLOWER.encode(sealed.kem_output.as_slice()),
        "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"
    );
    assert_eq!(
        HEXLOWER.encode(sealed.ciphertext.as_slice()),
        "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"
    );
}

#[test]
fn what_is_sealed_opens_and_is_the_same_for_the_same_seed_alone() {
    let usual = RustCrypto::default();
    let pair = usual.derive_hpke_keypair(HPKE, &[5; 32]).unwrap();
    let seal = |seed: u64, text: &[u8]| {
        let crypto = SeededCrypto::new(seed, Arc::default());
        crypto
            .hpke_seal(HPKE, &pair.public, b"info", b"aad", text)
            .unwrap()
    };
    let sealed = seal(1, b"hello");
    let opened = usual.hpke_open(HPKE, &sealed, &pair.private, b"info", b"aad");
    assert_eq!(opened.unwrap(), b"hello");
    assert_eq!(seal(1, b"hello"), sealed);
    assert_ne!(seal(2, b"hello").kem_output, sealed.kem_output);
    assert_ne!(seal(1, b"hullo").kem_output, sealed.kem_output);
}
