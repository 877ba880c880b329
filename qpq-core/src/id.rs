//! Names of things as newtypes: 16- or 32-byte values that cannot be mistaken for each other.

use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::base32;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The value as bytes.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = IdLengthError;

            fn try_from(bytes: &[u8]) -> Result<Self, IdLengthError> {
                bytes.try_into().map(Self).map_err(|_| IdLengthError { expected: $len })
            }
        }

        impl std::fmt::Debug for $name {
            /// Prints the short form: full ids do not belong in logs.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), base32::short(&self.0))
            }
        }
    };
}

id!(
    /// A person: the 32 bytes of an Ed25519 public key, which is also the iroh EndpointId (v1) and the
    /// BasicCredential (RFC 9420 §5.3).
    PeerId, 32
);
id!(
    /// A group for life (RFC 9420 §8.1 `group_id`): 16 random bytes.
    GroupId, 16
);
id!(
    /// One epoch of one branch: `MLS-Exporter("qpq epoch id v1", "", 16)` (RFC 9420 §8.5).
    EpochId, 16
);
id!(
    /// A Commit: SHA-256 of its MLSMessage bytes.
    CommitId, 32
);
id!(
    /// A member of a group: the first 16 bytes of SHA-256(leaf signature key). Never a leaf index.
    MemberId, 16
);
id!(
    /// One life of a member in a group: drawn whenever the member has no local state for the group.
    StreamId, 8
);
id!(
    /// A message: ULID layout, 48 bits of Unix milliseconds and 80 random bits, big-endian.
    MessageId, 16
);

id!(
    /// An invite by link, as its two ends call it: derived from the link's secret, tells nothing about it.
    LinkId, 8
);

/// A byte string has the wrong length for the id it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id of {expected} bytes was expected")]
pub struct IdLengthError {
    /// The length the id has.
    pub expected: usize,
}

/// A text is not the id it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id of {expected} base32 characters was expected")]
pub struct IdTextError {
    /// The number of characters the id has.
    pub expected: usize,
}

/// Reads an id of `N` bytes from exactly `chars` characters of base32.
fn from_base32<const N: usize>(text: &str, chars: usize) -> Result<[u8; N], IdTextError> {
    let refused = IdTextError { expected: chars };
    // The length first, so that hostile text of any size costs nothing.
    if text.len() != chars {
        return Err(refused);
    }
    base32::decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(refused)
}

impl PeerId {
    /// Full form: 52 characters of lower-case Crockford base32.
    pub fn to_text(&self) -> String {
        base32::encode(&self.0)
    }

    /// Short form for people: `7k2f-9qxm` (the first 40 bits).
    pub fn short(&self) -> String {
        base32::short(&self.0)
    }
}

impl FromStr for PeerId {
    type Err = IdTextError;

    /// Reads the full form, in any case. That the bytes are a key is not checked here.
    fn from_str(text: &str) -> Result<Self, IdTextError> {
        from_base32(text, 52).map(Self)
    }
}

impl MemberId {
    /// The member that signs with this leaf key (RFC 9420 §7.2 `signature_key`).
    pub fn of(leaf_key: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(leaf_key).into();
        let mut id = [0; 16];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(id)
    }
}

impl From<&PeerId> for MemberId {
    /// In version 1 the identity is the leaf key.
    fn from(peer: &PeerId) -> Self {
        Self::of(peer.as_bytes())
    }
}

impl GroupId {
    /// 26 characters of lower-case Crockford base32.
    pub fn to_text(&self) -> String {
        base32::encode(&self.0)
    }
}

impl FromStr for GroupId {
    type Err = IdTextError;

    /// Reads the text form, in any case.
    fn from_str(text: &str) -> Result<Self, IdTextError> {
        from_base32(text, 26).map(Self)
    }
}

impl LinkId {
    /// 13 characters of lower-case Crockford base32.
    pub fn to_text(&self) -> String {
        base32::encode(&self.0)
    }
}

impl FromStr for LinkId {
    type Err = IdTextError;

    /// Reads the text form, in any case.
    fn from_str(text: &str) -> Result<Self, IdTextError> {
        from_base32(text, 13).map(Self)
    }
}

impl MessageId {
    /// Makes an id from Unix milliseconds and 10 random bytes.
    pub fn new(unix_ms: i64, random: [u8; 10]) -> Self {
        let mut bytes = [0; 16];
        let (time, tail) = bytes.split_at_mut(6);
        time.copy_from_slice(&unix_ms.max(0).to_be_bytes()[2..]);
        tail.copy_from_slice(&random);
        Self(bytes)
    }

    /// The canonical ULID text: 26 upper-case characters.
    pub fn to_text(&self) -> String {
        base32::ulid(&self.0)
    }
}

impl FromStr for MessageId {
    type Err = IdTextError;

    /// Reads a ULID, in any case.
    fn from_str(text: &str) -> Result<Self, IdTextError> {
        base32::parse_ulid(text)
            .map(Self)
            .map_err(|_| IdTextError { expected: 26 })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::string_slice, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn text_forms_are_read_back_in_any_case() {
        let peer = PeerId([0xa7; 32]);
        assert_eq!(peer.to_text().len(), 52);
        assert_eq!(peer.to_text().parse(), Ok(peer));
        assert_eq!(peer.to_text().to_ascii_uppercase().parse(), Ok(peer));
        let group = GroupId([0xfe; 16]);
        assert_eq!(group.to_text().parse(), Ok(group));
        let message = MessageId([0x91; 16]);
        assert_eq!(message.to_text().parse(), Ok(message));
    }

    #[test]
    fn texts_of_another_length_or_alphabet_are_refused() {
        let text = PeerId([0xff; 32]).to_text();
        assert_eq!(text[1..].parse::<PeerId>(), Err(IdTextError { expected: 52 }));
        assert_eq!(
            format!("{text}0").parse::<PeerId>(),
            Err(IdTextError { expected: 52 })
        );
        // The last character carries one bit of the key; its other four must be zero.
        assert!(text.ends_with('g'));
        assert!(text.replace('g', "h").parse::<PeerId>().is_err());
        assert!(text.replacen('z', "u", 1).parse::<PeerId>().is_err());
        assert!(MessageId([0xff; 16]).to_text().parse::<PeerId>().is_err());
        assert!("8ZZZZZZZZZZZZZZZZZZZZZZZZZ".parse::<MessageId>().is_err());
    }

    #[test]
    fn message_id_carries_its_time_in_front() {
        let id = MessageId::new(1_469_918_176_385, [0; 10]);
        assert_eq!(id.to_text(), "01ARYZ6S410000000000000000");
        assert_eq!(MessageId::new(-1, [0; 10]).0, [0; 16]);
    }

    #[test]
    fn member_id_is_the_front_of_the_digest_of_the_leaf_key() {
        // SHA-256("abc") begins with these bytes (FIPS 180-4, appendix).
        let expected = [
            0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
        ];
        assert_eq!(MemberId::of(b"abc").0, expected);
        let peer = PeerId([3; 32]);
        assert_eq!(MemberId::from(&peer), MemberId::of(&[3; 32]));
    }

    #[test]
    fn debug_shows_the_short_form_only() {
        assert_eq!(format!("{:?}", PeerId([0xff; 32])), "PeerId(zzzz-zzzz)");
    }
}
