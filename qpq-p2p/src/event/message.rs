//! Messages, and how far own ones got.

use qpq_core::{
    delivery::Delivery,
    id::{MessageId, PeerId},
};
use serde::{Deserialize, Serialize};

use super::{Reason, Time};
use crate::text_id;

/// How far a message got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeliveryState {
    /// On this disk only.
    Here,
    /// On the disk of the recipient's relay.
    OnRelay,
    /// On the disk of the recipient.
    Delivered,
    /// The recipient's user has seen it, and lets us know.
    Read,
    /// It waited for 30 days and is not sent any more.
    Expired,
    /// It is not sent any more.
    Failed,
}

impl DeliveryState {
    /// Whether it is still on its way.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::Here | Self::OnRelay)
    }

    /// Whether the recipient has it.
    pub fn has_arrived(self) -> bool {
        matches!(self, Self::Delivered | Self::Read)
    }

    /// The lowest is the state of a message for several recipients.
    pub(crate) fn progress(self) -> u8 {
        match self {
            Self::Here => 0,
            Self::OnRelay => 1,
            Self::Failed => 2,
            Self::Expired => 3,
            Self::Delivered => 4,
            Self::Read => 5,
        }
    }
}

impl From<Delivery> for DeliveryState {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Here => Self::Here,
            Delivery::OnRelay => Self::OnRelay,
            Delivery::Delivered => Self::Delivered,
            Delivery::Read => Self::Read,
            Delivery::Expired => Self::Expired,
            // What a later version of the store knows is not sent by this one.
            Delivery::Failed(_) | _ => Self::Failed,
        }
    }
}

/// One person that a message is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Recipient {
    /// Display name.
    pub name: String,
    /// Their id.
    #[serde(with = "text_id")]
    #[cfg_attr(test, schemars(schema_with = "super::schema::peer"))]
    pub id: PeerId,
    /// How far the message got.
    pub state: DeliveryState,
    /// Why not further.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<Reason>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Message {
    /// ULID, drawn by the author.
    #[serde(with = "text_id")]
    #[cfg_attr(test, schemars(schema_with = "super::schema::message_id"))]
    pub id: MessageId,
    /// Name of the chat.
    pub chat: String,
    /// Name of the author.
    pub from: String,
    /// Id of the author.
    #[serde(with = "text_id")]
    #[cfg_attr(test, schemars(schema_with = "super::schema::peer"))]
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
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
    /// Later ones of its author came before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// Nobody wrote it: `text` says what happened to the chat.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notice: bool,
    /// `time` is the time of arrival: people see it with a `~`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
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
            late: stored.late,
            notice: stored.notice.is_some(),
            arrival_time,
        }
    }
}
