//! What an application message carries inside MLS, and the group's shared data (`schemas/content.capnp`).

use capnp::message::{Builder, HeapAllocator};

use crate::{
    content_capnp as schema,
    id::MemberId,
    wire::{self, FrameError},
};

/// The longest text in bytes.
pub const MAX_TEXT: usize = 65_536;
/// The longest display name in bytes; also of a group.
pub(crate) const MAX_NAME: usize = 64;
/// The most admins a group may have: as many as members.
const MAX_ADMINS: u32 = 256;

/// Plaintext of one application message.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// Unix milliseconds by the sender's clock.
    pub sent_at: i64,
    /// How many messages its author says to have encrypted in the epoch, this one included; 0: not told.
    pub sealed: u64,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// 1..=65,536 bytes; hostile.
    Text(String),
    /// Of a later version: the whole encoded `Content`, kept for when it can be read.
    Later(Vec<u8>),
}

impl std::fmt::Debug for Content {
    /// Plaintext never gets into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content")
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Body {
    /// Lengths only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Later(bytes) => write!(f, "Later({} bytes)", bytes.len()),
        }
    }
}

/// Encodes a text in stream framing.
pub fn encode_text(sent_at: i64, sealed: u64, text: &str) -> Vec<u8> {
    let words = u32::try_from(text.len() / 8)
        .unwrap_or(u32::MAX / 2)
        .saturating_add(16);
    let mut message = Builder::new(HeapAllocator::new().first_segment_words(words));
    let mut to: schema::content::Builder<'_> = message.init_root();
    to.set_sent_at(sent_at);
    to.set_sealed(sealed);
    to.init_body().set_text(text);
    capnp::serialize::write_message_to_words(&message)
}

impl Content {
    /// Decodes what a member wrote.
    ///
    /// # Errors
    /// [`FrameError`], also for an empty text and one over [`MAX_TEXT`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let message = wire::open(bytes)?;
        let from: schema::content::Reader<'_> = message.get_root()?;
        let body = match from.get_body().which() {
            Ok(schema::content::body::Which::Text(text)) => {
                let text = text?.to_str()?;
                if text.is_empty() || text.len() > MAX_TEXT {
                    return Err(FrameError::Field("text"));
                }
                Body::Text(text.to_owned())
            }
            Ok(schema::content::body::Which::Unused(())) | Err(_) => Body::Later(bytes.to_vec()),
        };
        Ok(Self {
            sent_at: from.get_sent_at(),
            sealed: from.get_sealed(),
            body,
        })
    }
}

/// GroupContext extension `0xF071`: what all members agree on beside the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupData {
    /// Empty in a conversation of two.
    pub name: String,
    /// Who may add, remove and rename.
    pub admins: Vec<MemberId>,
    /// Counts changes.
    pub version: u64,
}

impl GroupData {
    /// Encodes it in stream framing.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Builder::new_default();
        let mut to: schema::group_data::Builder<'_> = message.init_root();
        to.set_name(&self.name);
        to.set_version(self.version);
        let mut admins = to.init_admins(u32::try_from(self.admins.len()).unwrap_or(u32::MAX));
        for (at, admin) in (0..).zip(&self.admins) {
            admins.set(at, &admin.0);
        }
        capnp::serialize::write_message_to_words(&message)
    }

    /// Whether its other readers would take it.
    pub(crate) fn is_readable(&self) -> bool {
        Self::decode(&self.encode()).is_ok_and(|read| read == *self)
    }

    /// Decodes the extension's content.
    ///
    /// # Errors
    /// [`FrameError`], also for a name over 64 bytes and more than 256 admins.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let message = wire::open(bytes)?;
        let from: schema::group_data::Reader<'_> = message.get_root()?;
        let name = from.get_name()?.to_str()?;
        let admins = from.get_admins()?;
        if name.len() > MAX_NAME || admins.len() > MAX_ADMINS {
            return Err(FrameError::Field("group data"));
        }
        Ok(Self {
            name: name.to_owned(),
            admins: admins
                .iter()
                .map(|admin| wire::fixed(admin?, "admin").map(MemberId))
                .collect::<Result<_, _>>()?,
            version: from.get_version(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "tests fail by panicking"
    )]
    use super::*;

    #[test]
    fn a_text_survives_the_round_trip_at_both_ends_of_its_length() {
        for text in ["x".to_owned(), "ü".repeat(MAX_TEXT / 2)] {
            let content = Content::decode(&encode_text(-1, 3, &text)).unwrap();
            assert_eq!(
                content,
                Content {
                    sent_at: -1,
                    sealed: 3,
                    body: Body::Text(text)
                }
            );
        }
    }

    #[test]
    fn empty_and_oversized_texts_and_garbage_are_refused() {
        for text in [String::new(), "x".repeat(MAX_TEXT + 1)] {
            assert!(Content::decode(&encode_text(0, 1, &text)).is_err());
        }
        assert!(Content::decode(b"garbage").is_err());
    }

    #[test]
    fn content_of_a_later_version_is_kept_whole() {
        let mut bytes = encode_text(7, 1, "x");
        // The union tag: the third 16-bit field of the data section, behind header and root pointer.
        let tag = wire::HEADER + 8 + 8;
        bytes[tag] = 9;
        let content = Content::decode(&bytes).unwrap();
        assert_eq!(
            content,
            Content {
                sent_at: 7,
                sealed: 1,
                body: Body::Later(bytes)
            }
        );
    }

    #[test]
    fn debug_shows_no_plaintext() {
        let content = Content {
            sent_at: 0,
            sealed: 0,
            body: Body::Text("canary".to_owned()),
        };
        assert!(!format!("{content:?}").contains("canary"));
    }

    #[test]
    fn group_data_survives_the_round_trip() {
        let data = GroupData {
            name: String::new(),
            admins: vec![MemberId([1; 16]), MemberId([2; 16])],
            version: 7,
        };
        assert_eq!(GroupData::decode(&data.encode()).unwrap(), data);
        let long = GroupData {
            name: "n".repeat(65),
            ..data
        };
        assert!(GroupData::decode(&long.encode()).is_err());
    }
}
