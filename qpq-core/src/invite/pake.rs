//! Proving to each other that both know a code, without telling it to anybody else: SPAKE2 and confirmation.
//!
//! ```text
//! joiner                                   inviter
//!   Joiner::start      -- PairStart  -->   Inviter::reply        SPAKE2 message 33 B
//!   Joiner::reply      <-- PairReply --                          SPAKE2 message 33 B
//!                      -- PairProof  -->   Inviter::confirm      MAC 32 B: the joiner spends its guess first
//!   JoinerWaiting::confirm <-- PairProof --                      MAC 32 B: only to one who knows the code
//!
//! password = HKDF-SHA-256(ikm = "4-otter-violin", salt none, info "qpq code v1", 32 bytes)
//! K        = SPAKE2(Ed25519, password, idA = inviter's PeerId, idB = joiner's PeerId)
//! MAC      = HMAC-SHA-256(K, role | 0x00 | inviter 32 | joiner 32 | nameplate 2 (big-endian)
//!                            | inviter's SPAKE2 message 33 | joiner's SPAKE2 message 33 | channel 32)
//! role     = "qpq code joiner v1" or "qpq code inviter v1"
//! ```
//!
//! Ids and channel are those that TLS shows on *this* connection: a man in the middle has two connections, and
//! what he relays from one proves nothing on the other. Whoever does not know the code has one guess among
//! 65,536 per run, and learns only whether it was right. States are consumed by each step: no run can be asked
//! twice. The spake2 crate does not wipe its copy of the password; a code is good once and for a day.

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand_core::CryptoRngCore;
use sha2::Sha256;
use spake2::{Ed25519Group, Identity as SpakeId, Password, Spake2};
use zeroize::Zeroizing;

use crate::{
    id::PeerId,
    invite::{ChannelBinding, Code, Nameplate},
    labels,
};

/// The connection that a run is bound to, as TLS shows it to the one who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Who made the code.
    pub inviter: PeerId,
    /// Who typed it.
    pub joiner: PeerId,
    /// What only the two ends know.
    pub channel: ChannelBinding,
}

/// Why a run failed. Either way the other side has not shown that it knows the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PakeError {
    /// Not a SPAKE2 message of the other role.
    #[error("the message is not a pairing message of the other side")]
    Malformed,
    /// Another code, or somebody in the middle.
    #[error("the other side does not know the code")]
    Mismatch,
}

/// A joiner that waits for the inviter's SPAKE2 message.
pub struct Joiner {
    spake: Spake2<Ed25519Group>,
    message: Vec<u8>,
    ends: Ends,
    nameplate: Nameplate,
}

/// A joiner that has proved itself and waits for the inviter's proof.
pub struct JoinerWaiting(Confirmation);

/// An inviter that waits for the joiner's proof.
pub struct Inviter(Confirmation);

impl Joiner {
    /// Begins a run; gives the SPAKE2 message for the inviter.
    pub fn start(code: &Code, ends: Ends, rng: &mut impl CryptoRngCore) -> (Self, Vec<u8>) {
        let [id_a, id_b] = spake_ids(&ends);
        let (spake, message) = Spake2::start_b_with_rng(&password(code), &id_a, &id_b, rng);
        (
            Self {
                spake,
                message: message.clone(),
                ends,
                nameplate: code.nameplate(),
            },
            message,
        )
    }

    /// Takes the inviter's SPAKE2 message; gives the proof for the inviter.
    ///
    /// # Errors
    /// `PakeError::Malformed`.
    pub fn reply(self, inviter_message: &[u8]) -> Result<(JoinerWaiting, [u8; 32]), PakeError> {
        let key = finish(self.spake, inviter_message)?;
        let confirmation = Confirmation::new(key, self.nameplate, &self.ends, inviter_message, &self.message);
        let proof = confirmation.proof(Role::Joiner);
        Ok((JoinerWaiting(confirmation), proof))
    }
}

impl JoinerWaiting {
    /// Checks the inviter's proof, in constant time. Only now may anything of the inviter be believed or shown.
    ///
    /// # Errors
    /// `PakeError::Mismatch`.
    pub fn confirm(self, inviter_proof: &[u8]) -> Result<(), PakeError> {
        self.0.check(Role::Inviter, inviter_proof)
    }
}

impl Inviter {
    /// Takes the joiner's SPAKE2 message; gives the one for the joiner.
    ///
    /// # Errors
    /// `PakeError::Malformed`.
    pub fn reply(
        code: &Code,
        ends: Ends,
        joiner_message: &[u8],
        rng: &mut impl CryptoRngCore,
    ) -> Result<(Self, Vec<u8>), PakeError> {
        let [id_a, id_b] = spake_ids(&ends);
        let (spake, message) = Spake2::start_a_with_rng(&password(code), &id_a, &id_b, rng);
        let key = finish(spake, joiner_message)?;
        let confirmation = Confirmation::new(key, code.nameplate(), &ends, &message, joiner_message);
        Ok((Self(confirmation), message))
    }

    /// Checks the joiner's proof, in constant time; only if it holds, gives the own one.
    ///
    /// # Errors
    /// `PakeError::Mismatch`: a guess is spent.
    pub fn confirm(self, joiner_proof: &[u8]) -> Result<[u8; 32], PakeError> {
        self.0.check(Role::Joiner, joiner_proof)?;
        Ok(self.0.proof(Role::Inviter))
    }
}

macro_rules! opaque {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            /// Shows nothing of the run.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}
opaque!(Joiner, JoinerWaiting, Inviter);

#[derive(Clone, Copy)]
enum Role {
    Joiner,
    Inviter,
}

/// The shared key and what both must have seen alike. That they did is not known yet.
struct Confirmation {
    key: Zeroizing<Vec<u8>>,
    transcript: Vec<u8>,
}

impl Confirmation {
    /// Every part has a fixed length (a message of another length does not get here): no two runs have the
    /// same transcript.
    fn new(
        key: Zeroizing<Vec<u8>>,
        nameplate: Nameplate,
        ends: &Ends,
        inviter: &[u8],
        joiner: &[u8],
    ) -> Self {
        let number = nameplate.number().to_be_bytes();
        let parts = [
            ends.inviter.as_bytes(),
            ends.joiner.as_bytes(),
            &number[..],
            inviter,
            joiner,
            &ends.channel.0,
        ];
        Self {
            key,
            transcript: parts.concat(),
        }
    }

    fn mac(&self, role: Role) -> Hmac<Sha256> {
        let label = match role {
            Role::Joiner => labels::CODE_JOINER,
            Role::Inviter => labels::CODE_INVITER,
        };
        let mut mac = Hmac::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(label.as_bytes());
        mac.update(&[0]);
        mac.update(&self.transcript);
        mac
    }

    fn proof(&self, role: Role) -> [u8; 32] {
        self.mac(role).finalize().into_bytes().into()
    }

    fn check(&self, role: Role, proof: &[u8]) -> Result<(), PakeError> {
        self.mac(role)
            .verify_slice(proof)
            .map_err(|_| PakeError::Mismatch)
    }
}

fn password(code: &Code) -> Password {
    let mut password = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, code.canonical().as_bytes())
        .expand(labels::CODE_PASSWORD.as_bytes(), password.as_mut_slice())
        .expect("HKDF gives 32 bytes");
    Password::new(password.as_slice())
}

fn spake_ids(ends: &Ends) -> [SpakeId; 2] {
    [ends.inviter, ends.joiner].map(|peer| SpakeId::new(peer.as_bytes()))
}

fn finish(spake: Spake2<Ed25519Group>, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, PakeError> {
    spake
        .finish(message)
        .map(Zeroizing::new)
        .map_err(|_| PakeError::Malformed)
}

#[cfg(test)]
mod tests;
