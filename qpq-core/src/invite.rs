//! Invites: by spoken code (`4-otter-violin`, said aloud, makes two strangers on one network contacts) and by
//! link (`QPQ:…`, sent or scanned, makes its holder somebody who may ask).

mod code;
mod link;
mod pake;

pub use code::{Code, CodeError, Nameplate, NameplateError};
pub use link::{Link, LinkError, LinkKeys, Prover, RelayAddress, RelayHint, RelayName};
pub use pake::{Ends, Inviter, Joiner, JoinerWaiting, PakeError};

use crate::{id::PeerId, labels};

/// Label of the TLS exporter (RFC 8446 §7.5) behind a `ChannelBinding`; its context is empty.
pub const CHANNEL_LABEL: &[u8] = labels::CODE_CHANNEL.as_bytes();

/// What only the two ends of one connection know: the TLS exporter with the label `CHANNEL_LABEL`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChannelBinding(pub [u8; 32]);

impl std::fmt::Debug for ChannelBinding {
    /// Shows nothing: to know it is to be an end of the connection.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChannelBinding(..)")
    }
}

/// Why a join ended without a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinFailure {
    /// The code is wrong, or somebody stands in the middle.
    #[error("the code does not match")]
    WrongCode,
    /// The invite is used, expired or cancelled.
    #[error("the other side refused the invite")]
    Refused,
    /// The three guesses of a code were spent on advertisers that did not know it.
    #[error("three advertisers did not know the code")]
    GuessesSpent,
    /// Whoever waits under this number is blocked, or held for the name, or claims to be this one.
    #[error("the inviter is blocked, or waits for your word")]
    Barred(PeerId),
    /// Somebody else used the link first.
    #[error("somebody else used this link before")]
    LinkUsed,
    /// The link's time is over.
    #[error("the link has expired")]
    LinkExpired,
    /// The inviter took the link back.
    #[error("the link was cancelled")]
    LinkCancelled,
    /// The inviter does not know the link, or not any more.
    #[error("the other side does not know this link any more")]
    LinkUnknown,
}
