//! What a user can ask of the engine, and what comes back.

use std::time::Duration;

use crate::{
    id::MessageId,
    invite::{Code, Nameplate},
};

/// A wish of the user.
#[non_exhaustive]
pub enum Command {
    /// Open an invite by spoken code; it lives in memory only.
    Invite {
        /// A number nobody else on this network advertises.
        nameplate: Nameplate,
        /// How long it stays open.
        lifetime: Duration,
    },
    /// Close the open invite.
    CancelInvite,
    /// Look for the inviter of a code; ends in `Event::Joined` or `Event::JoinFailed`.
    Join(Code),
    /// Stop looking.
    CancelJoin,
    /// Store texts for a chat and send them when its members can be reached.
    Send {
        /// Name of the chat as the user typed it.
        chat: String,
        /// Each 1..=65,536 bytes.
        texts: Vec<String>,
    },
    /// The user has seen everything up to this row.
    MarkRead {
        /// Row of a message.
        row: i64,
    },
}

impl std::fmt::Debug for Command {
    /// The kind alone: codes and texts never get into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Invite { .. } => "Invite",
            Self::CancelInvite => "CancelInvite",
            Self::Join(_) => "Join",
            Self::CancelJoin => "CancelJoin",
            Self::Send { .. } => "Send",
            Self::MarkRead { .. } => "MarkRead",
        })
    }
}

/// The outcome of a command that was carried out.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// Nothing to tell.
    Done,
    /// The code to tell to the other person.
    Invited(Code),
    /// The texts are on disk, under these ids, in order.
    Stored {
        /// One id per text.
        ids: Vec<MessageId>,
    },
}

/// Why a command was not carried out. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No chat has this name.
    #[error("there is no chat with this name")]
    UnknownChat,
    /// Several chats answer to this name.
    #[error("several chats answer to this name")]
    AmbiguousChat(Vec<String>),
    /// Text is empty or longer than 65,536 bytes.
    #[error("a text has 1 to 65,536 bytes")]
    TextLength,
    /// An invite is open already.
    #[error("an invite is open already")]
    InviteOpen,
    /// A join is going on already.
    #[error("a join is going on already")]
    JoinRunning,
    /// The transaction could not be written.
    #[error("not stored")]
    NotStored,
}
