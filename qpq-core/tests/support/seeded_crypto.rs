//! Cryptography that draws everything from a seed, and writes down what is encrypted under which key.
//!
//! HPKE (RFC 9180) draws its ephemeral key inside of the implementation, so sealing is done here. openmls seals to the
//! members in parallel: the ephemeral key is therefore made of the seed and of what is sealed, and of no counter.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use hkdf::Hkdf;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::{
    crypto::OpenMlsCrypto,
    types::{
        AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeAeadType, HpkeCiphertext,
        HpkeConfig, HpkeKdfType, HpkeKemType, HpkeKeyPair, KemOutput, SignatureScheme,
    },
};
use qpq_core::consensus::danger::Primitives;
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};
use sha2::{Digest as _, Sha256};
use tls_codec::SecretVLBytes;

/// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM: the one that groups use.
pub(crate) const HPKE: HpkeConfig = HpkeConfig(
    HpkeKemType::DhKem25519,
    HpkeKdfType::HkdfSha256,
    HpkeAeadType::AesGcm128,
);

/// Everything that was encrypted by those who share it: hash of key and nonce, and of what they were used for.
#[derive(Debug, Default)]
pub(crate) struct Oracle(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    keys: BTreeMap<[u8; 32], [u8; 32]>,
    nonces: BTreeMap<[u8; 32], [u8; 32]>,
    keys_used_twice: usize,
    nonces_used_twice: usize,
    /// What was encrypted since somebody began what may be taken back.
    held: Option<Vec<Used>>,
}

#[derive(Debug)]
struct Used {
    key: [u8; 32],
    nonce: [u8; 32],
    used_for: [u8; 32],
}

impl Seen {
    fn count(&mut self, used: &Used) {
        let key_before = self.keys.insert(used.key, used.used_for);
        let nonce_before = self.nonces.insert(used.nonce, used.used_for);
        self.keys_used_twice += usize::from(key_before.is_some_and(|before| before != used.used_for));
        self.nonces_used_twice += usize::from(nonce_before.is_some_and(|before| before != used.used_for));
    }
}

impl Oracle {
    fn note(&self, key: &[u8], nonce: &[u8], plaintext: &[u8], aad: &[u8]) {
        let used = Used {
            key: hash(&[key]),
            nonce: hash(&[key, nonce]),
            used_for: hash(&[plaintext, aad]),
        };
        let mut seen = self.0.lock().unwrap();
        match &mut seen.held {
            Some(held) => held.push(used),
            None => seen.count(&used),
        }
    }

    /// What is encrypted from now on may never have been.
    pub(crate) fn hold(&self) {
        self.0.lock().unwrap().held = Some(Vec::new());
    }

    /// What was encrypted since `hold` was, or it was not: then nobody has seen it.
    pub(crate) fn decide(&self, was: bool) {
        let mut seen = self.0.lock().unwrap();
        let held = seen.held.take().unwrap_or_default();
        held.iter().filter(|_| was).for_each(|used| seen.count(used));
    }

    /// How often a key was used for two plaintexts. MLS has each key for one message: the reuse guard (RFC 9420
    /// §6.3.1), which makes nonces differ all the same, is the last resort and no excuse.
    pub(crate) fn keys_used_twice(&self) -> usize {
        self.0.lock().unwrap().keys_used_twice
    }

    /// How often a key and a nonce were used for two plaintexts: then both can be read.
    pub(crate) fn nonces_used_twice(&self) -> usize {
        self.0.lock().unwrap().nonces_used_twice
    }

    /// How many keys were used.
    pub(crate) fn keys(&self) -> usize {
        self.0.lock().unwrap().keys.len()
    }
}

/// RustCrypto with a seed.
pub(crate) struct SeededCrypto {
    rust_crypto: RustCrypto,
    rng: Arc<Mutex<ChaCha20Rng>>,
    seed: u64,
    oracle: Arc<Oracle>,
}

impl SeededCrypto {
    pub(crate) fn new(seed: u64, oracle: Arc<Oracle>) -> Self {
        Self {
            rust_crypto: RustCrypto::default(),
            rng: Arc::new(Mutex::new(ChaCha20Rng::seed_from_u64(seed))),
            seed,
            oracle,
        }
    }

    /// What it draws from, to have the same drawn again.
    pub(crate) fn rng(&self) -> Arc<Mutex<ChaCha20Rng>> {
        Arc::clone(&self.rng)
    }
}

impl Primitives for SeededCrypto {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), CryptoError> {
        self.rng.lock().unwrap().fill_bytes(bytes);
        Ok(())
    }
}

macro_rules! pass_on {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        fn $name(&self, $($argument: $type),*) -> $answer {
            self.rust_crypto.$name($($argument),*)
        }
    )*};
}

impl OpenMlsCrypto for SeededCrypto {
    fn aead_encrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        data: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.oracle.note(key, nonce, data, aad);
        self.rust_crypto.aead_encrypt(alg, key, data, nonce, aad)
    }

    fn hpke_seal(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        aad: &[u8],
        ptxt: &[u8],
    ) -> Result<HpkeCiphertext, CryptoError> {
        let is_ours = matches!(
            config,
            HpkeConfig(
                HpkeKemType::DhKem25519,
                HpkeKdfType::HkdfSha256,
                HpkeAeadType::AesGcm128
            )
        );
        assert!(is_ours, "another ciphersuite");
        let ikm = hash(&[b"ephemeral", &self.seed.to_be_bytes(), pk_r, info, aad, ptxt]);
        seal_with(&self.rust_crypto, &ikm, pk_r, info, aad, ptxt)
    }

    fn signature_key_gen(&self, _: SignatureScheme) -> Result<(Vec<u8>, Vec<u8>), CryptoError> {
        unreachable!("keys of signatures are identities")
    }

    fn hpke_setup_sender_and_export(
        &self,
        _: HpkeConfig,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: usize,
    ) -> Result<(KemOutput, ExporterSecret), CryptoError> {
        unreachable!("of external Commits, which groups do not have")
    }

    pass_on! {
        fn supports(ciphersuite: Ciphersuite) -> Result<(), CryptoError>;
        fn supported_ciphersuites() -> Vec<Ciphersuite>;
        fn hkdf_extract(hash_type: HashType, salt: &[u8], ikm: &[u8]) -> Result<SecretVLBytes, CryptoError>;
        fn hmac(hash_type: HashType, key: &[u8], message: &[u8]) -> Result<SecretVLBytes, CryptoError>;
        fn hkdf_expand(hash_type: HashType, prk: &[u8], info: &[u8], okm_len: usize) -> Result<SecretVLBytes, CryptoError>;
        fn hash(hash_type: HashType, data: &[u8]) -> Result<Vec<u8>, CryptoError>;
        fn aead_decrypt(alg: AeadType, key: &[u8], ct_tag: &[u8], nonce: &[u8], aad: &[u8]) -> Result<Vec<u8>, CryptoError>;
        fn verify_signature(alg: SignatureScheme, data: &[u8], pk: &[u8], signature: &[u8]) -> Result<(), CryptoError>;
        fn sign(alg: SignatureScheme, data: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError>;
        fn hpke_open(config: HpkeConfig, input: &HpkeCiphertext, sk_r: &[u8], info: &[u8], aad: &[u8]) -> Result<Vec<u8>, CryptoError>;
        fn hpke_setup_receiver_and_export(config: HpkeConfig, enc: &[u8], sk_r: &[u8], info: &[u8], exporter_context: &[u8], exporter_length: usize) -> Result<ExporterSecret, CryptoError>;
        fn derive_hpke_keypair(config: HpkeConfig, ikm: &[u8]) -> Result<HpkeKeyPair, CryptoError>;
    }
}

/// SealBase (RFC 9180 §6.1), its ephemeral key derived from `ikm` (§7.1.3).
pub(crate) fn seal_with(
    crypto: &RustCrypto,
    ikm: &[u8],
    pk_r: &[u8],
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<HpkeCiphertext, CryptoError> {
    let ephemeral = crypto.derive_hpke_keypair(HPKE, ikm)?;
    let to = pk_r.try_into().map_err(|_| CryptoError::InvalidLength)?;
    let secret: &[u8; 32] = ephemeral.private[..]
        .try_into()
        .map_err(|_| CryptoError::InvalidLength)?;
    let dh = x25519_dalek::x25519(*secret, to);
    let shared = encapsulated(&dh, &ephemeral.public, pk_r);
    let (key, nonce) = key_schedule(&shared, info);
    // The first message of a context: its sequence number 0 leaves the nonce as it is.
    let sealed = crypto.aead_encrypt(AeadType::Aes128Gcm, &key, plaintext, &nonce, aad)?;
    Ok(HpkeCiphertext {
        kem_output: ephemeral.public.into(),
        ciphertext: sealed.into(),
    })
}

/// ExtractAndExpand (RFC 9180 §4.1).
fn encapsulated(dh: &[u8], enc: &[u8], pk_r: &[u8]) -> [u8; 32] {
    const SUITE: &[u8] = b"KEM\x00\x20";
    let prk = labeled_extract(SUITE, &[], b"eae_prk", dh);
    labeled_expand(SUITE, &prk, b"shared_secret", &[enc, pk_r].concat())
}

/// KeySchedule for mode_base (RFC 9180 §5.1): key and base nonce.
fn key_schedule(shared: &[u8], info: &[u8]) -> ([u8; 16], [u8; 12]) {
    const SUITE: &[u8] = b"HPKE\x00\x20\x00\x01\x00\x01";
    const MODE_BASE: &[u8] = &[0];
    let psk_id_hash = labeled_extract(SUITE, &[], b"psk_id_hash", &[]);
    let info_hash = labeled_extract(SUITE, &[], b"info_hash", info);
    let context = [MODE_BASE, &psk_id_hash, &info_hash].concat();
    let secret = labeled_extract(SUITE, shared, b"secret", &[]);
    (
        labeled_expand(SUITE, &secret, b"key", &context),
        labeled_expand(SUITE, &secret, b"base_nonce", &context),
    )
}

fn labeled_extract(suite: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]) -> [u8; 32] {
    let ikm = [b"HPKE-v1", suite, label, ikm].concat();
    Hkdf::<Sha256>::extract(Some(salt), &ikm).0.into()
}

fn labeled_expand<const N: usize>(suite: &[u8], prk: &[u8], label: &[u8], info: &[u8]) -> [u8; N] {
    let length = u16::try_from(N).unwrap().to_be_bytes();
    let info = [&length[..], b"HPKE-v1", suite, label, info].concat();
    let mut out = [0; N];
    let hkdf = Hkdf::<Sha256>::from_prk(prk).unwrap();
    hkdf.expand(&info, &mut out).unwrap();
    out
}

/// SHA-256 over parts with their lengths.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
