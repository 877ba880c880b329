//! An invite as a text to send or a QR code to scan: who invites, a secret, and where to reach them.
//!
//! ```text
//! payload = version 1 (= 1) | inviter's PeerId 32 | secret 16 | kind 1 | [ relay ] | check 4
//! relay   = relay's key 32 | address | port 2 (big-endian, not 0)        absent where kind is 0
//! kind    = 0: none · 4: address is an IPv4 address, 4 · 6: an IPv6 address, 16 ·
//!           'n': a host name, all that is left: 1..=31
//! check   = first 4 bytes of SHA-256 of everything before
//! text    = "QPQ:" | the payload in upper-case base32, which a QR code stores in 5.5 bits a character
//! ```
//! At most 119 bytes, which fit QR version 6 at its lowest error correction. Each link has one payload and one
//! canonical text. There is no address of the inviter in it.

mod keys;
mod relay;

pub use keys::{LinkKeys, Prover};
pub use relay::{RelayAddress, RelayHint, RelayName};

use std::str::FromStr;

use rand_core::CryptoRngCore;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{
    base32,
    id::{LinkId, PeerId},
    secret::Secret,
};

const VERSION: u8 = 1;
const PREFIX: &str = "QPQ:";
const CHECK: usize = 4;
/// Bytes of the longest payload.
const MAX_LEN: usize = 119;
/// Characters of the longest payload in base32.
const MAX_CHARS: usize = 191;
/// Longer texts are not searched for a link.
const MAX_TEXT: usize = 64 * 1024;

/// An invite by link. Who sees it can pose as the joiner, never as the inviter.
#[derive(PartialEq, Eq)]
pub struct Link {
    inviter: PeerId,
    secret: Secret<16>,
    relay: Option<RelayHint>,
}

/// Why a text holds no link that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// There is no `QPQ:` in it.
    #[error("there is no link in this text")]
    Missing,
    /// Characters are missing, wrong or too many.
    #[error("the link is damaged: some of its characters are missing or wrong")]
    Damaged,
    /// A later version made it.
    #[error("the link was made by a newer qpq")]
    Newer,
}

impl Link {
    /// Makes a link that works on the local network.
    pub fn new(inviter: PeerId, rng: &mut impl CryptoRngCore) -> Self {
        Self {
            inviter,
            secret: Secret::random(rng),
            relay: None,
        }
    }

    /// Puts a link together from its parts.
    pub fn from_parts(inviter: PeerId, secret: Secret<16>, relay: Option<RelayHint>) -> Self {
        Self {
            inviter,
            secret,
            relay,
        }
    }

    /// Who made it: only the holder of this key is dialled.
    pub fn inviter(&self) -> PeerId {
        self.inviter
    }

    /// Where the inviter has a mailbox.
    pub fn relay(&self) -> Option<&RelayHint> {
        self.relay.as_ref()
    }

    /// What everything about the link is derived from.
    pub(crate) fn secret(&self) -> &Secret<16> {
        &self.secret
    }

    /// What the two ends call it.
    pub fn id(&self) -> LinkId {
        self.keys().id
    }

    /// What is derived from its secret.
    pub fn keys(&self) -> LinkKeys {
        LinkKeys::derive(&self.secret)
    }

    /// The bytes of the link.
    pub fn payload(&self) -> Zeroizing<Vec<u8>> {
        let mut payload = Zeroizing::new(Vec::with_capacity(MAX_LEN));
        payload.push(VERSION);
        payload.extend_from_slice(self.inviter.as_bytes());
        payload.extend_from_slice(self.secret.expose());
        match &self.relay {
            None => payload.push(relay::NONE),
            Some(relay) => relay.write(&mut payload),
        }
        let check = check(&payload);
        payload.extend_from_slice(&check);
        payload
    }

    /// Reads the bytes of a link.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn from_payload(payload: &[u8]) -> Result<Self, LinkError> {
        if payload.len() > MAX_LEN {
            return Err(LinkError::Damaged);
        }
        let (body, claimed) = payload.split_last_chunk::<CHECK>().ok_or(LinkError::Damaged)?;
        if check(body) != *claimed {
            return Err(LinkError::Damaged);
        }
        let (version, rest) = body.split_first().ok_or(LinkError::Damaged)?;
        if *version != VERSION {
            return Err(LinkError::Newer);
        }
        let (inviter, rest) = rest.split_first_chunk().ok_or(LinkError::Damaged)?;
        let (secret, rest) = rest.split_first_chunk::<16>().ok_or(LinkError::Damaged)?;
        let (kind, rest) = rest.split_first().ok_or(LinkError::Damaged)?;
        Ok(Self {
            inviter: PeerId(*inviter),
            secret: Secret::new(*secret),
            relay: relay::read(*kind, rest)?,
        })
    }

    /// The text to send: `QPQ:` and upper-case base32.
    pub fn to_text(&self) -> Zeroizing<String> {
        let digits = Zeroizing::new(base32::encode(&self.payload()));
        Zeroizing::new(format!("{PREFIX}{}", digits.to_ascii_uppercase()))
    }
}

impl FromStr for Link {
    type Err = LinkError;

    /// Finds a link in a text: in any case, with whatever stands around it, also where a mail program broke it
    /// over several lines.
    fn from_str(text: &str) -> Result<Self, LinkError> {
        if text.len() > MAX_TEXT {
            return Err(LinkError::Missing);
        }
        let upper = Zeroizing::new(text.to_ascii_uppercase());
        let mut error = LinkError::Missing;
        for (_, rest) in upper.match_indices(PREFIX).filter_map(|(at, _)| {
            let (before, link) = upper.split_at_checked(at)?;
            Some((before, link.strip_prefix(PREFIX)?))
        }) {
            match find(rest) {
                Ok(link) => return Ok(link),
                Err(worse) => error = error.max(worse),
            }
        }
        Err(error)
    }
}

impl std::fmt::Debug for Link {
    /// Shows who made it, and nothing of the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("inviter", &self.inviter)
            .finish_non_exhaustive()
    }
}

/// Reads what stands behind the prefix: its first run of letters and digits, or that and the next ones.
fn find(text: &str) -> Result<Link, LinkError> {
    let mut digits = Zeroizing::new(String::with_capacity(MAX_CHARS));
    let mut error = LinkError::Damaged;
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        // Not the whole word: where prefix follows upon prefix, each would be looked through to the end of the text.
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric());
        let (run, after) = end.map_or((rest, ""), |end| rest.split_at(end));
        if digits.len().saturating_add(run.len()) > MAX_CHARS {
            break;
        }
        digits.push_str(run);
        let payload = base32::decode(&digits).map(Zeroizing::new);
        match payload.map(|payload| Link::from_payload(&payload)) {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(worse)) => error = error.max(worse),
            Err(_) => {}
        }
        rest = after.trim_start();
        if rest.len() == after.len() {
            break;
        }
    }
    Err(error)
}

fn check(body: &[u8]) -> [u8; CHECK] {
    let digest: [u8; 32] = Sha256::digest(body).into();
    let mut check = [0; CHECK];
    check.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    check
}

#[cfg(test)]
mod tests;
