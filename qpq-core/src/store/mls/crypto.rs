//! Cryptography as openmls wants it: RustCrypto's, but for the signature that every message carries.
//!
//! To verify it takes most of the time of opening a message; aws-lc, which QUIC brings along, is a third faster
//! (ADR 14). What either calls a valid signature under a key that `identity::authorised` let in is the same, but for
//! signatures that only the owner of the key can make.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use openmls_rust_crypto::RustCrypto;
use openmls_traits::{
    crypto::OpenMlsCrypto,
    random::OpenMlsRand,
    types::{
        AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeCiphertext, HpkeConfig,
        HpkeKeyPair, KemOutput, SignatureScheme,
    },
};
use tls_codec::SecretVLBytes;
use zeroize::Zeroizing;

/// All that openmls computes with and draws. Tests have one that is seeded and watches what is encrypted; a peer has
/// the system's and no way to be given another.
#[doc(hidden)]
pub trait Primitives: OpenMlsCrypto {
    /// Fills a buffer with random bytes.
    ///
    /// # Errors
    /// There are none to be had.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), CryptoError>;
}

/// What openmls computes with.
pub(crate) struct Crypto(Box<dyn Primitives>);

impl Default for Crypto {
    fn default() -> Self {
        Self(system_primitives())
    }
}

/// Those of the system, which every peer has.
pub(crate) fn system_primitives() -> Box<dyn Primitives> {
    Box::new(System::default())
}

impl Crypto {
    /// Not the system's. With a seeded one nothing is secret.
    pub(in crate::store) fn dangerous(primitives: Box<dyn Primitives>) -> Self {
        Self(primitives)
    }
}

impl OpenMlsRand for Crypto {
    type Error = CryptoError;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], CryptoError> {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn random_vec(&self, len: usize) -> Result<Vec<u8>, CryptoError> {
        let mut bytes = vec![0; len];
        self.0.fill(&mut bytes)?;
        Ok(bytes)
    }
}

/// RustCrypto and aws-lc.
#[derive(Default)]
struct System {
    rust_crypto: RustCrypto,
}

impl Primitives for System {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), CryptoError> {
        let drawn = self.rust_crypto.random_vec(bytes.len()).map(Zeroizing::new);
        bytes.copy_from_slice(&drawn.map_err(|_| CryptoError::InsufficientRandomness)?);
        Ok(())
    }
}

/// Functions that are those of a field.
macro_rules! pass_on {
    ($field:tt: $(fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        fn $name(&self, $($argument: $type),*) -> $answer {
            self.$field.$name($($argument),*)
        }
    )*};
}

/// All functions but the one for signatures.
macro_rules! pass_on_all_but_signatures {
    ($field:tt) => { pass_on! { $field:
        fn supports(ciphersuite: Ciphersuite) -> Result<(), CryptoError>;
        fn supported_ciphersuites() -> Vec<Ciphersuite>;
        fn hkdf_extract(hash_type: HashType, salt: &[u8], ikm: &[u8]) -> Result<SecretVLBytes, CryptoError>;
        fn hmac(hash_type: HashType, key: &[u8], message: &[u8]) -> Result<SecretVLBytes, CryptoError>;
        fn hkdf_expand(
            hash_type: HashType,
            prk: &[u8],
            info: &[u8],
            okm_len: usize
        ) -> Result<SecretVLBytes, CryptoError>;
        fn hash(hash_type: HashType, data: &[u8]) -> Result<Vec<u8>, CryptoError>;
        fn aead_encrypt(
            alg: AeadType,
            key: &[u8],
            data: &[u8],
            nonce: &[u8],
            aad: &[u8]
        ) -> Result<Vec<u8>, CryptoError>;
        fn aead_decrypt(
            alg: AeadType,
            key: &[u8],
            ct_tag: &[u8],
            nonce: &[u8],
            aad: &[u8]
        ) -> Result<Vec<u8>, CryptoError>;
        fn signature_key_gen(alg: SignatureScheme) -> Result<(Vec<u8>, Vec<u8>), CryptoError>;
        fn sign(alg: SignatureScheme, data: &[u8], key: &[u8]) -> Result<Vec<u8>, CryptoError>;
        fn hpke_seal(
            config: HpkeConfig,
            pk_r: &[u8],
            info: &[u8],
            aad: &[u8],
            ptxt: &[u8]
        ) -> Result<HpkeCiphertext, CryptoError>;
        fn hpke_open(
            config: HpkeConfig,
            input: &HpkeCiphertext,
            sk_r: &[u8],
            info: &[u8],
            aad: &[u8]
        ) -> Result<Vec<u8>, CryptoError>;
        fn hpke_setup_sender_and_export(
            config: HpkeConfig,
            pk_r: &[u8],
            info: &[u8],
            exporter_context: &[u8],
            exporter_length: usize
        ) -> Result<(KemOutput, ExporterSecret), CryptoError>;
        fn hpke_setup_receiver_and_export(
            config: HpkeConfig,
            enc: &[u8],
            sk_r: &[u8],
            info: &[u8],
            exporter_context: &[u8],
            exporter_length: usize
        ) -> Result<ExporterSecret, CryptoError>;
        fn derive_hpke_keypair(config: HpkeConfig, ikm: &[u8]) -> Result<HpkeKeyPair, CryptoError>;
    } };
}

impl OpenMlsCrypto for Crypto {
    pass_on! { 0:
        fn verify_signature(
            alg: SignatureScheme,
            data: &[u8],
            pk: &[u8],
            signature: &[u8]
        ) -> Result<(), CryptoError>;
    }
    pass_on_all_but_signatures!(0);
}

impl OpenMlsCrypto for System {
    fn verify_signature(
        &self,
        alg: SignatureScheme,
        data: &[u8],
        pk: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        if alg != SignatureScheme::ED25519 {
            // Of ciphersuites that are not ours.
            return self.rust_crypto.verify_signature(alg, data, pk, signature);
        }
        UnparsedPublicKey::new(&ED25519, pk)
            .verify(data, signature)
            .map_err(|_| CryptoError::InvalidSignature)
    }

    pass_on_all_but_signatures!(rust_crypto);
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "tests fail by panicking"
    )]

    use openmls_traits::signatures::Signer as _;

    use super::*;
    use crate::{identity::Identity, secret::Secret};

    /// The order of the group (RFC 8032 §5.1), little-endian.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];

    /// The same signature with another number that is equal modulo the order: who accepts it can be shown two.
    fn with_order_added(signature: &[u8]) -> Vec<u8> {
        let mut changed = signature.to_vec();
        let mut carry = 0;
        for (byte, order) in changed[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            [*byte, _] = sum.to_le_bytes();
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        changed
    }

    #[test]
    fn both_implementations_judge_a_signature_alike() {
        let (crypto, identity) = (System::default(), Identity::from_seed(&Secret::new([9; 32])));
        let (data, key) = (b"what MLS signs".as_slice(), identity.peer_id());
        let signature = openmls_traits::signatures::Signer::sign(&identity, data).unwrap();
        assert_eq!(identity.signature_scheme(), SignatureScheme::ED25519);
        let judge = |data: &[u8], key: &[u8], signature: &[u8]| {
            let scheme = SignatureScheme::ED25519;
            let ours = crypto.verify_signature(scheme, data, key, signature).is_ok();
            let theirs = crypto
                .rust_crypto
                .verify_signature(scheme, data, key, signature)
                .is_ok();
            assert_eq!(ours, theirs);
            ours
        };
        assert!(judge(data, key.as_bytes(), &signature));
        for bit in 0..512 {
            let mut changed = signature.clone();
            if let Some(byte) = changed.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            assert!(!judge(data, key.as_bytes(), &changed), "bit {bit}");
        }
        assert!(!judge(data, key.as_bytes(), &with_order_added(&signature)));
        assert!(!judge(b"something else", key.as_bytes(), &signature));
        assert!(!judge(data, &[7; 32], &signature));
        assert!(!judge(data, key.as_bytes(), &signature[..63]));
        assert!(!judge(data, &key.as_bytes()[..31], &signature));
    }
}
