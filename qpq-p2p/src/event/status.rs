//! What `status` and `nearby` tell.

use std::net::SocketAddr;

use qpq_core::id::{MessageId, PeerId};
use serde::{Deserialize, Serialize};

use super::Reason;
use crate::{node::ways::PathKind, text_id};

/// The state of a profile at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status {
    /// Some qpq runs here, and a network is up.
    pub ready: bool,
    /// The process that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Whose profile it is.
    #[serde(with = "text_id")]
    #[cfg_attr(test, schemars(schema_with = "super::schema::peer"))]
    pub id: PeerId,
    /// Always empty: there are no relays yet.
    pub relays: [(); 0],
    /// Everybody one has a conversation with, by name.
    pub peers: Vec<PeerStatus>,
    /// Own messages that somebody lacks, oldest first.
    pub outbox: Vec<Queued>,
}

/// The way to one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PeerStatus {
    /// Their name.
    pub name: String,
    /// Their id.
    #[serde(with = "text_id")]
    #[cfg_attr(test, schemars(schema_with = "super::schema::peer"))]
    pub id: PeerId,
    /// How the link runs.
    pub path: Path,
    /// Round trip in milliseconds, rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<u64>,
    /// Why there is no link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<Reason>,
}

/// A way to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Path {
    /// Straight, within one network.
    Lan,
    /// Straight, over other networks.
    Direct,
    /// By way of a relay.
    Relayed,
    /// There is no link.
    None,
}

impl From<PathKind> for Path {
    fn from(kind: PathKind) -> Self {
        match kind {
            PathKind::Lan => Self::Lan,
            PathKind::Direct => Self::Direct,
            PathKind::Relayed => Self::Relayed,
        }
    }
}

/// An own message that somebody lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Queued {
    /// ULID.
    #[serde(with = "text_id")]
    #[cfg_attr(test, schemars(schema_with = "super::schema::message_id"))]
    pub id: MessageId,
    /// Name of the chat.
    pub chat: String,
    /// Who lacks it.
    pub waiting: Vec<Waiting>,
}

/// Somebody who lacks a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Waiting {
    /// Their name.
    pub name: String,
    /// Their id.
    #[serde(with = "text_id")]
    #[cfg_attr(test, schemars(schema_with = "super::schema::peer"))]
    pub id: PeerId,
    /// Why.
    pub reason: String,
    /// The same for programs.
    pub reason_code: Reason,
}

/// Somebody on this network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Nearby {
    /// A contact's name, or what somebody calls himself, which proves nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The id that goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text_id::option")]
    #[cfg_attr(test, schemars(schema_with = "super::schema::peer"))]
    pub id: Option<PeerId>,
    /// Recognised as a contact.
    pub contact: bool,
    /// Where, as far as this host can reach it.
    pub addresses: Vec<SocketAddr>,
}
