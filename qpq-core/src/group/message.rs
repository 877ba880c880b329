//! Application messages: sealing ours, opening others'.

use openmls::prelude::{
    tls_codec::{Deserialize as _, Serialize as _},
    *,
};

use super::{GroupError, leaf, mls, storage};
use crate::{
    failpoint::At,
    id::{MemberId, MessageId, PeerId, StreamId},
    identity::Identity,
    store::Provider,
};

/// What a message's `authenticated_data` says (RFC 9420 §6.3): its place in the sender's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) stream: StreamId,
    pub(crate) seq: u64,
    pub(crate) message: MessageId,
}

impl Header {
    /// `stream 8 | seq 8, big-endian | message id 16`.
    fn to_bytes(self) -> Vec<u8> {
        [&self.stream.0[..], &self.seq.to_be_bytes(), &self.message.0].concat()
    }
}

/// Why a message was not opened; the ratchet is where it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Not an MLSMessage(PrivateMessage).
    #[error("the message is malformed")]
    Malformed,
    /// It was encrypted in an epoch that is not ours.
    #[error("the message is of another epoch")]
    OtherEpoch,
    /// openmls cannot open it: another epoch, a generation already used or too far ahead, a forgery.
    #[error("the message cannot be opened: {0}")]
    Unreadable(String),
    /// Our own side failed.
    #[error(transparent)]
    Own(#[from] GroupError),
    /// It carries a Commit or a Proposal, or its header lies, or its sender's credential does.
    #[error("the message is not what its frame says")]
    Mismatch,
}

/// Encrypts for the group's epoch and advances our ratchet.
pub(crate) fn seal_message(
    provider: &Provider<'_>,
    identity: &Identity,
    group: &mut MlsGroup,
    header: Header,
    plaintext: &[u8],
) -> Result<Vec<u8>, GroupError> {
    let _at = At::point("mls.seal");
    group.set_aad(header.to_bytes());
    let message = group.create_message(provider, identity, plaintext).map_err(mls)?;
    message.tls_serialize_detached().map_err(mls)
}

/// Decrypts and returns the sender and the plaintext.
///
/// # Errors
/// [`MessageError`]; the caller must roll back, and drop `group`, which is then ahead of the disk.
pub(crate) fn open_message(
    provider: &Provider<'_>,
    group: &mut MlsGroup,
    header: Header,
    bytes: &[u8],
) -> Result<(MemberId, PeerId, Vec<u8>), MessageError> {
    let _at = At::point("mls.open");
    let message = MlsMessageIn::tls_deserialize_exact(bytes)
        .ok()
        .and_then(|message| message.try_into_protocol_message().ok())
        .ok_or(MessageError::Malformed)?;
    let processed = group.process_message(provider, message).map_err(|error| {
        if let ProcessMessageError::StorageError(error) = error {
            return MessageError::Own(storage(error));
        }
        MessageError::Unreadable(error.to_string())
    })?;
    let Sender::Member(index) = *processed.sender() else {
        return Err(MessageError::Mismatch);
    };
    if processed.aad() != header.to_bytes() {
        return Err(MessageError::Mismatch);
    }
    let (member, peer) = group
        .member_at(index)
        .and_then(|member| leaf(&member))
        .ok_or(MessageError::Mismatch)?;
    let ProcessedMessageContent::ApplicationMessage(message) = processed.into_content() else {
        return Err(MessageError::Mismatch);
    };
    Ok((member, peer, message.into_bytes()))
}
