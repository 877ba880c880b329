//! What can be asked of a profile: plain data, the same whether it is answered in this process or elsewhere.

use std::time::Duration;

use qpq_core::{id::MessageId, invite::Code};

/// Something to be done by the owner of a profile. Each variant names the events it answers with.
#[derive(Debug)]
#[non_exhaustive]
pub enum Request {
    /// Needs neither the network nor the lock.
    Read(Read),
    /// Opens an invite and waits until it was used: `Invite`, `GuessFailed`s, `Joined`.
    Invite {
        /// How long the code is valid.
        lifetime: Duration,
        /// How long to wait for somebody to use it, where that is shorter.
        patience: Option<Duration>,
    },
    /// Uses an invite: `Joined`.
    Join {
        /// What the other person told.
        code: Code,
        /// How long to look for them.
        patience: Duration,
    },
    /// Stores texts: one `Sent` for each, in order, all of them `Here`.
    Send {
        /// Name of the chat.
        chat: String,
        /// Each 1..=65,536 bytes.
        texts: Vec<String>,
    },
    /// Waits for own messages to be delivered: one `Sent` for each, as soon as it is, or when the time is over.
    Track {
        /// Name of the chat they are in.
        chat: String,
        /// Which.
        ids: Vec<MessageId>,
        /// How long.
        patience: Duration,
    },
    /// `Message`s of others that were not read yet, then those that come; each is marked as read after the
    /// sink took it.
    Listen {
        /// Only this chat.
        chat: Option<String>,
        /// End after so many.
        count: Option<u64>,
        /// End after this time.
        patience: Option<Duration>,
    },
}

/// Something that is answered from the store alone.
#[derive(Debug)]
#[non_exhaustive]
pub enum Read {
    /// `Identity`.
    WhoAmI,
    /// Looks a chat up: `Chat`. Without a name: the one with the newest message, or the only one.
    Chat {
        /// Name or id.
        name: Option<String>,
    },
    /// `Message`s, oldest first.
    Log {
        /// Only this chat.
        chat: Option<String>,
        /// Only the newest so many.
        last: Option<u32>,
        /// Only what came at or after this time, Unix ms.
        since: Option<i64>,
        /// Only texts which contain this, ASCII case ignored.
        grep: Option<String>,
    },
    /// The newest `Message`s of a chat that `Listen` will not bring, oldest first.
    Seen {
        /// Name or id.
        chat: String,
        /// At most so many.
        last: u32,
    },
}
