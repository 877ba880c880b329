//! Why an input was refused, and whose fault that is.

use crate::{
    card::CardError,
    engine::Failure,
    group::{CreateError, GroupError, KeyPackageError, MessageError, WelcomeError},
    store::{StoreError, read::FindError},
    wire::FrameError,
};

/// Who is to blame, and so what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The other side sent something it must not: its link is closed.
    Peer,
    /// Nothing to blame: the frame is of no use now and is left alone.
    Nobody,
    /// The user asked for something that cannot be done.
    Caller,
    /// The database failed: the engine must be reopened.
    Disk,
}

/// Why `handle` refused an input. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandleError {
    /// The bytes are not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The sender may not send this kind of frame, or not now.
    #[error("the peer may not send this frame now")]
    Rights,
    /// Nothing on this link waits for this frame any more.
    #[error("nothing waits for this frame")]
    Stale,
    /// A signature, an identity or a claim does not hold.
    #[error("the peer's {0} does not hold")]
    Forged(&'static str),
    /// The card was refused.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The KeyPackage was refused.
    #[error(transparent)]
    KeyPackage(#[from] KeyPackageError),
    /// The Welcome was refused.
    #[error(transparent)]
    Welcome(#[from] WelcomeError),
    /// The message was not opened.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The link is not, or no longer, known.
    #[error("the link is not known")]
    UnknownSession,
    /// The group is not known here.
    #[error("the group is not known")]
    UnknownGroup,
    /// The command cannot be carried out.
    #[error(transparent)]
    Command(#[from] Failure),
    /// openmls failed on our own request.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CreateError> for HandleError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::KeyPackage(error) => Self::KeyPackage(error),
            CreateError::Own(error) => Self::Group(error),
        }
    }
}

impl From<FindError> for HandleError {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Unknown => Self::Command(Failure::UnknownChat),
            FindError::Ambiguous(lines) => Self::Command(Failure::AmbiguousChat(lines)),
            FindError::Store(error) => Self::Store(error),
        }
    }
}

impl HandleError {
    /// Whether it is the database itself that is damaged.
    pub fn is_damage(&self) -> bool {
        if let Self::Store(error) = self {
            return error.is_damage();
        }
        matches!(
            self,
            Self::Group(error) | Self::Message(MessageError::Own(error)) | Self::Welcome(WelcomeError::Own(error))
                if error.is_damage()
        )
    }

    /// Who is to blame.
    pub fn fault(&self) -> Fault {
        match self {
            // A frame of a later version is skipped: the sender may be newer than we are.
            Self::Frame(FrameError::Unknown) => Fault::Nobody,
            Self::Frame(_)
            | Self::Rights
            | Self::Forged(_)
            | Self::Card(_)
            | Self::KeyPackage(_)
            | Self::Welcome(WelcomeError::Invalid | WelcomeError::Group | WelcomeError::Members) => {
                Fault::Peer
            }
            // An old epoch or a replay may come from an honest peer.
            Self::Message(
                MessageError::Malformed
                | MessageError::OtherEpoch
                | MessageError::Unreadable(_)
                | MessageError::Mismatch,
            )
            | Self::Stale
            | Self::UnknownSession
            | Self::UnknownGroup => Fault::Nobody,
            Self::Command(_) => Fault::Caller,
            Self::Message(MessageError::Own(_))
            | Self::Welcome(WelcomeError::Own(_))
            | Self::Group(_)
            | Self::Store(_) => Fault::Disk,
        }
    }
}

/// The engine's transaction failed, or its database could not be opened: drop it and open it again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The database failed or refused to open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// State of openmls could not be brought up to date.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A step before failed in a way that leaves memory and disk apart.
    #[error("an earlier step of this batch failed")]
    Poisoned,
}

impl EngineError {
    /// Whether it is the database itself that is damaged.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Store(error) => error.is_damage(),
            Self::Group(error) => error.is_damage(),
            Self::Poisoned => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_peer_sends_is_left_alone_and_nonsense_is_not() {
        assert_eq!(HandleError::from(FrameError::Unknown).fault(), Fault::Nobody);
        assert_eq!(HandleError::from(FrameError::Header).fault(), Fault::Peer);
    }
}
