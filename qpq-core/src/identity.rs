//! The identity of a user: one Ed25519 key, and signatures by it that are each good for one use only.
//!
//! The signed bytes are: label of the `Context` | 0x00 | for each part its length (64 bits, big-endian) and
//! the part. Labels hold no zero byte and every length is there, so two different (context, parts) never give
//! the same bytes. Nor can other protocols that sign with this key: TLS 1.3 begins with 64 spaces (RFC 8446
//! §4.4.3) and MLS with a length and "MLS 1.0 " (RFC 9420 §5.1.2), where ours have "qpq ".

mod safety;

pub use safety::{SafetyNumber, SafetyNumberError};

use aws_lc_rs::signature::Ed25519KeyPair;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use openmls_traits::{
    signatures::{Signer, SignerError},
    types::SignatureScheme,
};
use rand_core::CryptoRngCore;

pub use crate::labels::Context;
use crate::{id::PeerId, secret::Secret};

/// The user's Ed25519 key (RFC 8032). Wiped on drop.
pub struct Identity {
    key: SigningKey,
    /// The same key, for what signs each message: aws-lc takes half the time (ADR 14).
    signer: Ed25519KeyPair,
}

impl Identity {
    /// Draws a new identity.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        Self::from_seed(&Secret::random(rng))
    }

    /// The identity of a 32-byte seed (RFC 8032 §5.1.5).
    pub fn from_seed(seed: &Secret<32>) -> Self {
        let key = SigningKey::from_bytes(seed.expose());
        let signer = Ed25519KeyPair::from_seed_unchecked(seed.expose())
            .expect("any 32 bytes are a seed (RFC 8032 §5.1.5)");
        Self { key, signer }
    }

    /// The seed, for the vault and for the transport's own key type.
    pub fn seed(&self) -> Secret<32> {
        Secret::fill_with(|seed| seed.copy_from_slice(self.key.as_bytes()))
    }

    /// The public side.
    pub fn peer_id(&self) -> PeerId {
        PeerId(self.key.verifying_key().to_bytes())
    }

    /// Signs parts for one use.
    pub fn sign(&self, context: Context, parts: &[&[u8]]) -> [u8; 64] {
        self.key.sign(&signed_bytes(context, parts)).to_bytes()
    }
}

impl std::fmt::Debug for Identity {
    /// Shows the public side, short.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.peer_id().short())
    }
}

/// For MLS alone, which puts its own label in front of what it signs (RFC 9420 §5.1.2).
impl Signer for Identity {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.signer.sign(payload).as_ref().to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// A signature does not belong to this key, this use and these parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct SignatureError;

impl PeerId {
    /// Verifies a signature by `Identity::sign`; strictly, so that nobody can turn one valid signature into
    /// another or use a key that verifies everything (`verify_strict` of ed25519-dalek).
    ///
    /// # Errors
    /// `SignatureError`, whatever the reason.
    pub fn verify(
        &self,
        context: Context,
        parts: &[&[u8]],
        signature: &[u8; 64],
    ) -> Result<(), SignatureError> {
        VerifyingKey::from_bytes(self.as_bytes())
            .and_then(|key| {
                key.verify_strict(&signed_bytes(context, parts), &Signature::from_bytes(signature))
            })
            .map_err(|_| SignatureError)
    }
}

/// Why a leaf or KeyPackage is not accepted as somebody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Not 32 bytes: reserved for linked devices, where a leaf key will be signed by the identity.
    #[error("the credential is of a kind that this version does not know")]
    Reserved,
    /// The leaf signs with another key than the one it claims to be.
    #[error("the credential does not belong to the key of its leaf")]
    NotItsKey,
    /// The bytes are no Ed25519 public key, or one of the few that make forged signatures pass.
    #[error("the credential is not a key")]
    NotAKey,
}

/// Whether a leaf key may act for an identity, the one check for every place where MLS hands us a credential
/// (RFC 9420 §5.3.1, the duty of the Authentication Service). Version 1: the identity is the leaf key.
///
/// # Errors
/// `CredentialError`; then nothing that the leaf says may be believed.
pub fn authorised(credential: &[u8], leaf_key: &[u8]) -> Result<PeerId, CredentialError> {
    let peer = PeerId::try_from(credential).map_err(|_| CredentialError::Reserved)?;
    if credential != leaf_key {
        return Err(CredentialError::NotItsKey);
    }
    match VerifyingKey::from_bytes(peer.as_bytes()) {
        Ok(key) if !key.is_weak() => Ok(peer),
        Ok(_) | Err(_) => Err(CredentialError::NotAKey),
    }
}

fn signed_bytes(context: Context, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = context.label().as_bytes().to_vec();
    bytes.push(0);
    for part in parts {
        let length = u64::try_from(part.len()).expect("no machine has more than 64 bits of memory");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests fail by panicking"
    )]

    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    fn identity(seed: u64) -> Identity {
        Identity::generate(&mut ChaCha20Rng::seed_from_u64(seed))
    }

    #[test]
    fn a_signature_for_one_use_verifies_in_no_other() {
        let anna = identity(1);
        for &made in Context::ALL {
            let signature = anna.sign(made, &[b"group", b"body"]);
            for &read in Context::ALL {
                let verdict = anna.peer_id().verify(read, &[b"group", b"body"], &signature);
                assert_eq!(verdict.is_ok(), made == read, "{made:?} read as {read:?}");
            }
        }
    }

    #[test]
    fn what_mls_signs_verifies_in_no_context() {
        let anna = identity(1);
        for &context in Context::ALL {
            let raw = Signer::sign(&anna, b"body").unwrap();
            assert!(
                anna.peer_id()
                    .verify(context, &[b"body"], &raw.try_into().unwrap())
                    .is_err()
            );
        }
    }

    #[test]
    fn another_key_another_body_or_a_flipped_bit_does_not_verify() {
        let anna = identity(1);
        let signature = anna.sign(Context::Card, &[b"body"]);
        assert_eq!(
            anna.peer_id().verify(Context::Card, &[b"body"], &signature),
            Ok(())
        );
        assert!(
            identity(2)
                .peer_id()
                .verify(Context::Card, &[b"body"], &signature)
                .is_err()
        );
        assert!(
            anna.peer_id()
                .verify(Context::Card, &[b"bodY"], &signature)
                .is_err()
        );
        for bit in 0..512 {
            let mut flipped = signature;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                anna.peer_id()
                    .verify(Context::Card, &[b"body"], &flipped)
                    .is_err(),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn moving_bytes_between_parts_breaks_the_signature() {
        let anna = identity(1);
        let signature = anna.sign(Context::Head, &[b"ab", b"c"]);
        let others: [&[&[u8]]; 6] = [
            &[b"a", b"bc"],
            &[b"abc"],
            &[b"ab", b"c", b""],
            &[b"", b"ab", b"c"],
            &[b"c", b"ab"],
            &[],
        ];
        for parts in others {
            assert!(
                anna.peer_id().verify(Context::Head, parts, &signature).is_err(),
                "{parts:?}"
            );
        }
    }

    #[test]
    fn the_signed_bytes_are_as_documented() {
        let bytes = signed_bytes(Context::Ack, &[b"x", b""]);
        assert_eq!(bytes, b"qpq ack v1\0\0\0\0\0\0\0\0\x01x\0\0\0\0\0\0\0\0");
    }

    #[test]
    fn weak_keys_verify_nothing() {
        // The neutral element as key and as R, with s = 0, passes a verification that is not strict.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(
            PeerId(neutral)
                .verify(Context::Ack, &[b"anything"], &signature)
                .is_err()
        );
        assert_eq!(authorised(&neutral, &neutral), Err(CredentialError::NotAKey));
    }

    #[test]
    fn a_credential_is_exactly_the_key_of_its_leaf() {
        let (anna, ben) = (identity(1).peer_id(), identity(2).peer_id());
        assert_eq!(authorised(anna.as_bytes(), anna.as_bytes()), Ok(anna));
        assert_eq!(
            authorised(anna.as_bytes(), ben.as_bytes()),
            Err(CredentialError::NotItsKey)
        );
        assert_eq!(
            authorised(anna.as_bytes(), &anna.0[..31]),
            Err(CredentialError::NotItsKey)
        );
        let longer = [anna.0, ben.0].concat();
        for reserved in [&[][..], &anna.0[..31], &longer[..33], &longer] {
            assert_eq!(authorised(reserved, reserved), Err(CredentialError::Reserved));
        }
        // y = 2 is on no point of the curve.
        let mut off_curve = [0; 32];
        off_curve[0] = 2;
        assert_eq!(authorised(&off_curve, &off_curve), Err(CredentialError::NotAKey));
    }

    #[test]
    fn the_seed_is_the_identity_and_debug_does_not_show_it() {
        let anna = identity(1);
        assert_eq!(Identity::from_seed(&anna.seed()).peer_id(), anna.peer_id());
        assert_eq!(
            format!("{anna:?}"),
            format!("Identity({})", anna.peer_id().short())
        );
    }

    #[test]
    fn the_key_is_the_one_of_rfc_8032() {
        // RFC 8032 §7.1, test 1.
        let hex = |text: &str| -> [u8; 32] {
            data_encoding::HEXLOWER
                .decode(text.as_bytes())
                .unwrap()
                .try_into()
                .unwrap()
        };
        let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let public = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert_eq!(Identity::from_seed(&Secret::new(seed)).peer_id(), PeerId(public));
    }
}
