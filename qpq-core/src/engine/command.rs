//! What a user can ask of the engine, and what comes back.

use std::time::Duration;

use crate::{
    id::{LinkId, MessageId, PeerId},
    invite::{Code, Link, Nameplate},
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
    /// Open an invite again that went with its engine: the same code, what is left of its time and its guesses.
    ReopenInvite {
        /// The code that was told.
        code: Code,
        /// Wrong proofs that close it, 1..=3: never more than a new invite has.
        guesses_left: u8,
        /// How long it stays open.
        lifetime: Duration,
    },
    /// Close the open invite.
    CancelInvite,
    /// Look for the inviter of a code; ends in `Event::Joined` or `Event::JoinFailed`.
    Join(Code),
    /// Stop looking. A request by link that has left stays, and is repeated.
    CancelJoin,
    /// Make an invite by link; it is stored, and works once.
    InviteLink {
        /// How long it can be used.
        lifetime: Duration,
    },
    /// Take a link back; whoever comes with it is told.
    CancelLink(LinkId),
    /// Forget a link that nobody used, as if it had never been made.
    ForgetLink(LinkId),
    /// Look for the inviter of a link, and ask to be a contact; ends in `Event::Asked` or `Event::JoinFailed`.
    JoinLink(Link),
    /// Store texts for a chat and send them when its members can be reached. Whoever did not get the reply may
    /// say the same again: what is stored already is not stored twice.
    Send {
        /// Name of the chat as the user typed it.
        chat: String,
        /// Each under an id that the caller drew, 1..=65,536 bytes long.
        texts: Vec<(MessageId, String)>,
    },
    /// Decide about a person.
    Contact {
        /// Who.
        peer: PeerId,
        /// What.
        change: ContactChange,
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
            Self::ReopenInvite { .. } => "ReopenInvite",
            Self::CancelInvite => "CancelInvite",
            Self::Join(_) => "Join",
            Self::CancelJoin => "CancelJoin",
            Self::InviteLink { .. } => "InviteLink",
            Self::CancelLink(_) => "CancelLink",
            Self::ForgetLink(_) => "ForgetLink",
            Self::JoinLink(_) => "JoinLink",
            Self::Send { .. } => "Send",
            Self::Contact { .. } => "Contact",
            Self::MarkRead { .. } => "MarkRead",
        })
    }
}

/// What a user can decide about a person.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContactChange {
    /// Take a request to be a contact.
    Accept,
    /// Refuse it.
    Refuse,
    /// Show them under another name; whoever was held under it is not any more.
    Rename(String),
    /// The new key under a known name is that person's: it takes the old one's place.
    Replace,
    /// Have nothing to do with them, or have again.
    Block(bool),
    /// Forget them; the history stays unless it is purged.
    Remove {
        /// Delete the history as well.
        purge: bool,
    },
    /// The user compared the safety number, and it is the same.
    Verified,
}

/// The outcome of a command that was carried out.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// Nothing to tell.
    Done,
    /// The code to tell to the other person.
    Invited(Code),
    /// The link to send to the other person.
    Link {
        /// Whoever sees it first may use it.
        link: Link,
        /// When it expires, Unix ms.
        expires: i64,
    },
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
    /// An id was used for another message of this chat.
    #[error("this id is that of another message")]
    IdTaken,
    /// An invite is open already.
    #[error("an invite is open already")]
    InviteOpen,
    /// A join is going on already.
    #[error("a join is going on already")]
    JoinRunning,
    /// As many links are open as can be announced.
    #[error("8 links are open already")]
    TooManyLinks,
    /// No open link has this id.
    #[error("there is no link with this id")]
    UnknownLink,
    /// The user's own link.
    #[error("this link is your own")]
    OwnLink,
    /// Whoever made the link is a contact already, under this name.
    #[error("whoever made this link is a contact already")]
    AlreadyContact(String),
    /// Nobody who is known, asks or is held has this id.
    #[error("this person is not known")]
    UnknownContact,
    /// There is no open question about this person: no request, no new key.
    #[error("there is nothing to decide about this person")]
    NothingToDecide,
    /// The name is somebody else's, or not one.
    #[error("the name is taken or not valid")]
    Name,
    /// A new key under this name waits for the user's word.
    #[error("somebody with a new key has this name")]
    KeyQuestion,
    /// The user blocked this person.
    #[error("this person is blocked")]
    Blocked,
    /// The transaction could not be written.
    #[error("not stored")]
    NotStored,
    /// The database is damaged: there is nothing to be had of it.
    #[error("the database is damaged")]
    Damaged,
}
