//! Frames between two peers: types, limits, encoding, and who may send what (`schemas/peer.capnp`).
//!
//! A frame is one Cap'n Proto message in the standard stream framing with exactly one segment:
//! `u32 0 | u32 words | words * 8 bytes`, little-endian. Bytes from the network pass three gates before the
//! engine looks at them: [`body_len`] refuses a header before anything is allocated, [`Frame::decode`] bounds
//! what is read and checks every length, [`rights`] says whether this sender may send this kind at all.

mod frame;
mod read;
mod rights;
mod write;

pub use frame::*;
pub use read::link_frame;
pub(crate) use read::{fixed, open};
pub use rights::{Role, rights};

/// Bytes before the body of a frame.
pub const HEADER: usize = 8;

/// The largest body in words of 8 bytes: 272 KiB. The largest blob of a later mailbox and its padding fit.
pub const MAX_WORDS: u32 = 34_816;

/// How deep pointers may nest.
pub(crate) const NESTING: i32 = 16;

/// Versions of the peer protocol that this build speaks.
pub const VERSION: std::ops::RangeInclusive<u16> = 1..=1;

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// More than one segment, an empty body, or a body over [`MAX_WORDS`].
    #[error("frame header is out of bounds")]
    Header,
    /// The body is shorter or longer than the header says.
    #[error("frame body has another length than its header says")]
    Length,
    /// Cap'n Proto refused it: a pointer out of bounds, nesting, the traversal limit, text that is not UTF-8.
    #[error("frame is malformed")]
    Malformed(#[from] capnp::Error),
    /// The frame is of a later version of the schema.
    #[error("frame is of a kind this version does not know")]
    Unknown,
    /// A field has a length or a value that the schema forbids.
    #[error("frame field `{0}` is invalid")]
    Field(&'static str),
}

impl From<std::str::Utf8Error> for FrameError {
    fn from(_: std::str::Utf8Error) -> Self {
        Self::Field("text")
    }
}

impl From<capnp::NotInSchema> for FrameError {
    fn from(_: capnp::NotInSchema) -> Self {
        Self::Unknown
    }
}

/// Judges the 8 header bytes of a frame and returns the length of its body in bytes.
///
/// # Errors
/// [`FrameError::Header`] unless it announces exactly one segment of `1..=MAX_WORDS` words.
pub fn body_len(header: &[u8; HEADER]) -> Result<usize, FrameError> {
    let [s0, s1, s2, s3, w0, w1, w2, w3] = *header;
    let words = u32::from_le_bytes([w0, w1, w2, w3]);
    if u32::from_le_bytes([s0, s1, s2, s3]) != 0 || words == 0 || words > MAX_WORDS {
        return Err(FrameError::Header);
    }
    usize::try_from(words)
        .ok()
        .and_then(|words| words.checked_mul(8))
        .ok_or(FrameError::Header)
}

#[cfg(test)]
mod tests;
