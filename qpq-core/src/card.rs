//! How a member is reached: the signed address card, and the key that recognises its owner on a local network.

mod signed;

pub use signed::{Card, CardError, UnverifiedCard};

use hmac::{Hmac, Mac};
use rand_core::CryptoRngCore;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Recognises its owner's mDNS token. Contacts have it, strangers see random bytes that change.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct LanKey(pub [u8; 32]);

impl LanKey {
    /// Draws a new key.
    pub fn random(rng: &mut impl CryptoRngCore) -> Self {
        let mut key = Self([0; 32]);
        rng.fill_bytes(&mut key.0);
        key
    }

    /// The token to advertise: nonce 8 | HMAC-SHA-256(key, nonce)\[..8\].
    pub fn token(&self, nonce: [u8; 8]) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(&nonce);
        let mut token = [0; 16];
        let bytes = nonce.into_iter().chain(mac.finalize().into_bytes());
        token.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        token
    }

    /// Whether a token was made with this key. In constant time.
    pub fn recognises(&self, token: &[u8; 16]) -> bool {
        let mut nonce = [0; 8];
        nonce.iter_mut().zip(token).for_each(|(to, from)| *to = *from);
        self.token(nonce).ct_eq(token).into()
    }
}

impl PartialEq for LanKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for LanKey {}

impl std::fmt::Debug for LanKey {
    /// Shows nothing of the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LanKey(..)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_token_is_recognised_by_its_key_alone() {
        let key = LanKey([7; 32]);
        let token = key.token(*b"nonce 01");
        assert!(token.starts_with(b"nonce 01"));
        assert!(key.recognises(&token));
        assert!(!LanKey([8; 32]).recognises(&token));
        for bit in 0..128 {
            let mut flipped = token;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.recognises(&flipped), "bit {bit}");
        }
    }

    #[test]
    fn tokens_of_two_nonces_have_nothing_in_common() {
        let key = LanKey([7; 32]);
        assert_ne!(key.token([0; 8])[8..], key.token([1; 8])[8..]);
    }

    #[test]
    fn debug_shows_nothing_and_equality_is_by_content() {
        assert_eq!(format!("{:?}", LanKey([0x41; 32])), "LanKey(..)");
        assert_eq!(LanKey([1; 32]), LanKey([1; 32]));
        assert_ne!(LanKey([1; 32]), LanKey([2; 32]));
    }
}
