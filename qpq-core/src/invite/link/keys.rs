//! What is derived from a link's secret, and the proofs of knowing it.
//!
//! ```text
//! id, proofKey, lanKey = HKDF-SHA-256(ikm = secret 16, salt none, info = label)        8, 32 and 32 bytes
//! PairProof  = HMAC-SHA-256(proofKey, role | 0x00 | inviter 32 | joiner 32 | channel 32)
//! request    = HMAC-SHA-256(proofKey, "qpq proof v1" | 0x00 | inviter 32 | joiner 32 | SHA-256 of each KeyPackage)
//! ```
//! Ids and channel of a PairProof are those that TLS shows on this connection: what a man in the middle relays
//! from one proves nothing on another. The proof in a request holds on any way that the request takes, and binds
//! it to the keys that it asks to be added. The secret has 128 bits: there is nothing to guess.

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::{
    card::LanKey,
    id::{LinkId, PeerId},
    invite::Ends,
    labels,
    secret::Secret,
};

/// Everything that a link's secret is good for.
#[derive(Debug)]
pub struct LinkKeys {
    /// What the two ends call the link.
    pub id: LinkId,
    /// By it the holder recognises the inviter's mDNS record.
    pub lan: LanKey,
    proof: Secret<32>,
}

/// Who proves on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prover {
    /// Who has the link; proves first.
    Joiner,
    /// Who made it.
    Inviter,
}

impl LinkKeys {
    /// Derives them.
    pub fn derive(secret: &Secret<16>) -> Self {
        let mut id = [0; LinkId::LEN];
        expand(secret, labels::LINK_ID, &mut id);
        let mut lan = LanKey([0; 32]);
        expand(secret, labels::LINK_LAN, &mut lan.0);
        Self {
            id: LinkId(id),
            lan,
            proof: Secret::fill_with(|key| expand(secret, labels::LINK_PROOF, key)),
        }
    }

    /// The proof of one side for one connection.
    pub fn proof(&self, prover: Prover, ends: &Ends) -> [u8; 32] {
        self.connection_mac(prover, ends).finalize().into_bytes().into()
    }

    /// Whether one side's proof holds on this connection; in constant time.
    pub fn holds(&self, prover: Prover, ends: &Ends, proof: &[u8; 32]) -> bool {
        self.connection_mac(prover, ends).verify_slice(proof).is_ok()
    }

    /// The proof that goes with a request to be a contact.
    pub fn request_proof(&self, inviter: &PeerId, joiner: &PeerId, key_packages: &[Vec<u8>]) -> [u8; 32] {
        let mac = self.request_mac(inviter, joiner, key_packages);
        mac.finalize().into_bytes().into()
    }

    /// Whether the proof of a request holds; in constant time.
    pub fn request_holds(
        &self,
        inviter: &PeerId,
        joiner: &PeerId,
        key_packages: &[Vec<u8>],
        proof: &[u8; 32],
    ) -> bool {
        let mac = self.request_mac(inviter, joiner, key_packages);
        mac.verify_slice(proof).is_ok()
    }

    fn connection_mac(&self, prover: Prover, ends: &Ends) -> Hmac<Sha256> {
        let role = match prover {
            Prover::Joiner => labels::LINK_JOINER,
            Prover::Inviter => labels::LINK_INVITER,
        };
        let mut mac = self.mac(role, &ends.inviter, &ends.joiner);
        mac.update(&ends.channel.0);
        mac
    }

    fn request_mac(&self, inviter: &PeerId, joiner: &PeerId, key_packages: &[Vec<u8>]) -> Hmac<Sha256> {
        let mut mac = self.mac(labels::REQUEST_PROOF, inviter, joiner);
        for package in key_packages {
            mac.update(&Sha256::digest(package));
        }
        mac
    }

    fn mac(&self, label: &str, inviter: &PeerId, joiner: &PeerId) -> Hmac<Sha256> {
        let mut mac = Hmac::new_from_slice(self.proof.expose()).expect("HMAC takes keys of any length");
        mac.update(label.as_bytes());
        mac.update(&[0]);
        mac.update(inviter.as_bytes());
        mac.update(joiner.as_bytes());
        mac
    }
}

fn expand(secret: &Secret<16>, label: &str, to: &mut [u8]) {
    Hkdf::<Sha256>::new(None, secret.expose())
        .expand(label.as_bytes(), to)
        .expect("HKDF gives 32 bytes");
}
