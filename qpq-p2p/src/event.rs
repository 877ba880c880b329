//! What a request answers: the objects of the JSON contract, version 1. Fields may be added, never renamed.

use jiff::Timestamp;
use qpq_core::id::{MessageId, PeerId};
use serde::{Serialize, Serializer};

use crate::failure::Failure;

/// The version which every line of JSON carries as `v`.
pub const CONTRACT: u8 = 1;

/// One line of an answer. All names and texts in it are as stored: hostile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The owner of the profile.
    Identity {
        /// Display name.
        name: String,
        /// Full id: 52 characters.
        #[serde(serialize_with = "peer")]
        id: PeerId,
    },
    /// An invite is open.
    Invite {
        /// To be told to the other person.
        code: String,
        /// When it ends.
        expires: Time,
    },
    /// Somebody tried a wrong code.
    GuessFailed {
        /// Guesses left before the invite is closed.
        left: u8,
    },
    /// Somebody is a contact now.
    Joined {
        /// Their display name.
        name: String,
        /// Their id.
        #[serde(serialize_with = "peer")]
        id: PeerId,
        /// By a code or by comparing numbers.
        verified: bool,
    },
    /// How far an own message got.
    Sent {
        /// ULID.
        #[serde(serialize_with = "message_id")]
        id: MessageId,
        /// Name of the chat.
        chat: String,
        /// The least advanced state of `recipients`.
        state: DeliveryState,
        /// Everybody it is for.
        recipients: Vec<Recipient>,
    },
    /// A message of the history.
    Message(Message),
    /// A contact proved that this profile is an older copy of itself: nothing more is sent in this chat.
    RolledBack {
        /// Name of the chat.
        chat: String,
    },
    /// A chat that was looked up.
    Chat {
        /// Its name.
        name: String,
        /// All members' keys are verified.
        verified: bool,
    },
}

/// How far a message got; ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeliveryState {
    /// On this disk only.
    Here,
    /// On the disk of the recipient.
    Delivered,
}

/// One person that a message is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipient {
    /// Display name.
    pub name: String,
    /// Their id.
    #[serde(serialize_with = "peer")]
    pub id: PeerId,
    /// How far the message got.
    pub state: DeliveryState,
    /// Why not further.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// ULID, drawn by the author.
    #[serde(serialize_with = "message_id")]
    pub id: MessageId,
    /// Name of the chat.
    pub chat: String,
    /// Name of the author.
    pub from: String,
    /// Id of the author.
    #[serde(serialize_with = "peer")]
    pub from_id: PeerId,
    /// The author's key is verified.
    pub verified: bool,
    /// When it was written; when it came, where the author's clock is more than 10 minutes off.
    pub time: Time,
    /// Position in the author's stream, from 1.
    pub seq: u64,
    /// As written.
    pub text: String,
    /// Written by the owner of the profile.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
    /// `time` is the time of arrival: people see it with a `~`.
    #[serde(skip)]
    pub arrival_time: bool,
}

/// The author's clock is believed when it is no further than this from the time of arrival.
const CLOCK_TOLERANCE_MS: u64 = 10 * 60 * 1_000;

impl From<qpq_core::store::read::Message> for Message {
    fn from(stored: qpq_core::store::read::Message) -> Self {
        let arrival_time = stored.sent_at.abs_diff(stored.stored_at) > CLOCK_TOLERANCE_MS;
        Self {
            id: stored.id,
            chat: stored.chat,
            from: stored.from_name,
            from_id: stored.from,
            verified: stored.verified,
            time: Time(if arrival_time {
                stored.stored_at
            } else {
                stored.sent_at
            }),
            seq: stored.seq,
            text: stored.text,
            own: stored.own,
            arrival_time,
        }
    }
}

/// A point in time, Unix milliseconds; RFC 3339 UTC with milliseconds in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Time {
    /// For the calendar. A time beyond the years -9999..=9999 becomes the nearest one within.
    pub fn timestamp(self) -> Timestamp {
        let nearest = if self.0 < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        };
        Timestamp::from_millisecond(self.0).unwrap_or(nearest)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}", self.timestamp()))
    }
}

fn peer<S: Serializer>(id: &PeerId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&id.to_text())
}

fn message_id<S: Serializer>(id: &MessageId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&id.to_text())
}

/// An event as one line of the contract: `{"v":1,"type":…}`.
#[derive(Debug, Serialize)]
pub struct EventLine<'a> {
    v: u8,
    #[serde(flatten)]
    event: &'a Event,
}

impl<'a> From<&'a Event> for EventLine<'a> {
    fn from(event: &'a Event) -> Self {
        Self { v: CONTRACT, event }
    }
}

/// A failure as one line of the contract.
#[derive(Debug, Serialize)]
pub struct FailureLine<'a> {
    v: u8,
    r#type: &'static str,
    code: &'static str,
    exit: u8,
    what: &'a str,
    why: &'a str,
    hint: &'a str,
}

impl<'a> From<&'a Failure> for FailureLine<'a> {
    fn from(failure: &'a Failure) -> Self {
        Self {
            v: CONTRACT,
            r#type: "error",
            code: failure.code.name(),
            exit: failure.code.exit(),
            what: &failure.what,
            why: &failure.why,
            hint: &failure.hint,
        }
    }
}

/// Something odd that did not keep a verb from its work, as one line of the contract.
#[derive(Debug, Serialize)]
pub struct WarningLine<'a> {
    v: u8,
    r#type: &'static str,
    what: &'a str,
}

impl<'a> From<&'a str> for WarningLine<'a> {
    fn from(what: &'a str) -> Self {
        Self {
            v: CONTRACT,
            r#type: "warning",
            what,
        }
    }
}

#[cfg(test)]
mod tests;
