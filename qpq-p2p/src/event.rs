//! What a request answers: the objects of the JSON contract, version 1. Fields may be added, never renamed.

use std::fmt;

use jiff::Timestamp;
use qpq_core::id::{LinkId, MessageId, PeerId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

pub use self::{
    line::{EventLine, FailureLine, WarningLine},
    message::{DeliveryState, Message, Recipient},
    reason::Reason,
    status::{Nearby, Path, PeerStatus, Queued, Status, Waiting},
};
use crate::text_id;

mod line;
mod message;
mod reason;
mod status;

/// The version which every line of JSON carries as `v`.
pub const CONTRACT: u8 = 1;

/// One line of an answer. All names and texts in it are as stored: hostile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The owner of the profile.
    Identity {
        /// Display name.
        name: String,
        /// Full id: 52 characters.
        #[serde(with = "text_id")]
        #[cfg_attr(test, schemars(schema_with = "schema::peer"))]
        id: PeerId,
    },
    /// An invite is open.
    Invite {
        /// To be told to the other person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<Spoken>,
        /// To be sent to the other person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<Spoken>,
        /// When it ends.
        expires: Time,
    },
    /// A link of one's own.
    Link {
        /// What to call it.
        #[serde(with = "text_id")]
        #[cfg_attr(test, schemars(schema_with = "schema::link"))]
        id: LinkId,
        /// When it ends.
        expires: Time,
        /// Who used it.
        #[serde(default, with = "text_id::option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(test, schemars(schema_with = "schema::peer"))]
        used_by: Option<PeerId>,
        /// Their name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        used_by_name: Option<String>,
        /// How often others came with it after that.
        refused: u64,
    },
    /// A link was taken back.
    LinkCancelled {
        /// Which.
        #[serde(with = "text_id")]
        #[cfg_attr(test, schemars(schema_with = "schema::link"))]
        id: LinkId,
    },
    /// So many ask to be contacts that the oldest request was dropped.
    RequestDropped {
        /// Their display name.
        name: String,
        /// Their id.
        #[serde(with = "text_id")]
        #[cfg_attr(test, schemars(schema_with = "schema::peer"))]
        id: PeerId,
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
        #[serde(with = "text_id")]
        #[cfg_attr(test, schemars(schema_with = "schema::peer"))]
        id: PeerId,
        /// By a code or by comparing numbers.
        verified: bool,
    },
    /// Somebody asks to be a contact, by a link: `qpq contact accept`.
    Request {
        /// Their display name, marked where a contact has it.
        name: String,
        /// Their id.
        #[serde(with = "text_id")]
        #[cfg_attr(test, schemars(schema_with = "schema::peer"))]
        id: PeerId,
    },
    /// Somebody was asked, by a link, to be a contact, and has not answered: that is up to them.
    Asked {
        /// Their display name, or short id where it is not known.
        name: String,
        /// Their id.
        #[serde(with = "text_id")]
        #[cfg_attr(test, schemars(schema_with = "schema::peer"))]
        id: PeerId,
    },
    /// Somebody who was asked to be a contact said no.
    Declined {
        /// Their display name, or short id where it is not known.
        name: String,
        /// Their id.
        #[serde(with = "text_id")]
        #[cfg_attr(test, schemars(schema_with = "schema::peer"))]
        id: PeerId,
    },
    /// The user refused somebody who asked, or who was held.
    Refused {
        /// As they were shown.
        name: String,
        /// Their id.
        #[serde(with = "text_id")]
        #[cfg_attr(test, schemars(schema_with = "schema::peer"))]
        id: PeerId,
    },
    /// Somebody with a new key calls himself like a contact: `qpq contact replace`, or another name.
    Held {
        /// As shown: `ben (new key)`.
        name: String,
        /// Their id.
        #[serde(with = "text_id")]
        #[cfg_attr(test, schemars(schema_with = "schema::peer"))]
        id: PeerId,
    },
    /// A person.
    Contact {
        /// As shown: their own name, or the one that the user gave them.
        name: String,
        /// As they call themselves.
        display_name: String,
        /// Their id.
        #[serde(with = "text_id")]
        #[cfg_attr(test, schemars(schema_with = "schema::peer"))]
        id: PeerId,
        /// How their key came to be believed.
        trust: Trust,
        /// The user wants nothing from them.
        blocked: bool,
        /// How the link to them runs at this moment.
        path: Path,
        /// Was a contact: only the history is left, if that was not deleted as well.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        removed: bool,
        /// When a link to them last stood.
        #[serde(skip_serializing_if = "Option::is_none")]
        last_seen: Option<Time>,
    },
    /// What two people compare to know that nobody stands between them.
    SafetyNumber {
        /// Display name.
        name: String,
        /// Their id.
        #[serde(with = "text_id")]
        #[cfg_attr(test, schemars(schema_with = "schema::peer"))]
        id: PeerId,
        /// 60 digits.
        number: String,
        /// The key is verified already.
        verified: bool,
    },
    /// How far an own message got.
    Sent {
        /// ULID.
        #[serde(with = "text_id")]
        #[cfg_attr(test, schemars(schema_with = "schema::message_id"))]
        id: MessageId,
        /// Name of the chat.
        chat: String,
        /// The least advanced state of `recipients`.
        state: DeliveryState,
        /// Everybody it is for.
        recipients: Vec<Recipient>,
    },
    /// The state of the profile.
    Status(Status),
    /// Somebody on this network.
    Nearby(Nearby),
    /// A message of the history.
    Message(Message),
    /// Messages of a chat did not come, though later ones did; they may come yet.
    Missing {
        /// Name of the chat.
        chat: String,
        /// How many.
        count: u64,
    },
    /// A contact proved that this profile is an older copy of itself: the chat is set up again before anything is sent.
    RolledBack {
        /// Name of the chat.
        chat: String,
    },
    /// The profile is open and the network is up.
    Ready {
        /// Whose profile it is.
        #[serde(with = "text_id")]
        #[cfg_attr(test, schemars(schema_with = "schema::peer"))]
        id: PeerId,
        /// The process that owns the profile.
        pid: u32,
        /// What it is to its user.
        owner: OwnerKind,
    },
    /// A chat that was looked up.
    Chat {
        /// Its name.
        name: String,
        /// All members' keys are verified.
        verified: bool,
    },
    /// Whether the profile opens with a passphrase only.
    Passphrase {
        /// It does.
        protected: bool,
    },
    /// A setting as it holds for this call.
    Setting {
        /// Its key in `config.toml`.
        key: String,
        /// Empty where there is none.
        value: String,
        /// `--flag`, `QPQ_VARIABLE`, `config.toml:LINE` or `default`.
        origin: String,
    },
    /// Where settings are.
    ConfigPath {
        /// Of `config.toml`.
        path: String,
    },
}

/// How a key came to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Trust {
    /// By a link that others may have seen.
    Link,
    /// By a spoken code.
    Code,
    /// By comparing the safety number.
    Number,
    /// Not at all: a new key under a known name.
    Held,
}

impl Trust {
    /// As it stands for a person.
    pub fn of(person: &qpq_core::contact::Person) -> Self {
        if person.standing == qpq_core::contact::Standing::Held {
            return Self::Held;
        }
        match person.trust {
            qpq_core::contact::Trust::Code => Self::Code,
            qpq_core::contact::Trust::Number => Self::Number,
            // What a later version of the store knows is believed least.
            qpq_core::contact::Trust::Link | _ => Self::Link,
        }
    }
}

/// A code as it is told. `Debug` hides it; `Display` is for the one person who must say it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Spoken(pub String);

impl From<&str> for Spoken {
    fn from(code: &str) -> Self {
        Self(code.to_owned())
    }
}

impl fmt::Debug for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spoken(..)")
    }
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the owner of a profile is to its user, and so how long it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OwnerKind {
    /// Somebody chats: it stays until they end it.
    Chat,
    /// It stays until it is told to end.
    Daemon,
    /// It does one thing; it lets go of the profile when another asks for it.
    Brief,
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

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: Timestamp = text.parse().map_err(D::Error::custom)?;
        Ok(Self(time.as_millisecond()))
    }
}

#[cfg(test)]
mod schema;

#[cfg(test)]
mod tests;
