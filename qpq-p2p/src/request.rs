//! What can be asked of a profile: plain data, the same whether it is answered in this process or elsewhere.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use qpq_core::{
    id::{LinkId, MessageId, PeerId},
    invite::Code,
};
use serde::{Deserialize, Serialize};

use crate::{event::Spoken, failure::Failure, text_id};

/// Something to be done by the owner of a profile. Each variant names the events it answers with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Request {
    /// Needs neither the network nor the lock.
    Read(Read),
    /// Opens an invite by code, makes one by link, and waits until the code was used: `Invite`, `GuessFailed`s,
    /// `Request`s, `Joined`.
    Invite {
        /// How long code and link are valid.
        lifetime: Duration,
        /// How long to wait for somebody to use it, where that is shorter.
        patience: Option<Duration>,
        /// It was open under an owner that is gone.
        reopened: Option<Reopened>,
    },
    /// Makes an invite by link: `Invite`.
    InviteLink {
        /// How long it can be used.
        lifetime: Duration,
    },
    /// Takes a link back: `LinkCancelled`.
    CancelLink {
        /// Which.
        #[serde(with = "text_id")]
        id: LinkId,
    },
    /// Uses a link: `Asked`.
    JoinLink {
        /// A text with a link in it.
        link: Spoken,
        /// How long to look for whoever made it.
        patience: Duration,
    },
    /// Uses an invite: `Joined`.
    Join {
        /// What the other person told.
        #[serde(with = "spoken")]
        code: Code,
        /// How long to look for them.
        patience: Duration,
        /// An owner that is gone was at it.
        resumed: Option<Resumed>,
    },
    /// Stores texts: one `Sent` for each, in order, all of them `Here`. Asked again with the same ids, it stores
    /// nothing twice.
    Send {
        /// Name of the chat.
        chat: String,
        /// Each 1..=65,536 bytes.
        texts: Vec<Text>,
    },
    /// Decides about a person: the `Contact` after it, or as it was where nobody is left; the `Request` under its
    /// new name; `Refused`.
    Contact {
        /// Name or id.
        who: String,
        /// What.
        decision: Decision,
    },
    /// Compares the safety number that the other side sees: the `Contact` after it.
    Verify {
        /// Name or id.
        who: String,
        /// The other side's 60 digits.
        number: String,
    },
    /// Waits for own messages to be delivered: one `Sent` for each, as soon as it is, or when the time is over.
    Track {
        /// Name of the chat they are in.
        chat: String,
        /// Which.
        #[serde(with = "text_id::list")]
        ids: Vec<MessageId>,
        /// How long.
        patience: Duration,
    },
    /// Keeps the profile online until nobody wants that any more: `Ready`, once the network is up.
    Stay,
    /// Who is on this network: `Nearby`s as they are found, each once.
    Nearby {
        /// Shows the own name and id to everybody meanwhile.
        visible: bool,
        /// How long to look.
        patience: Duration,
    },
    /// `Message`s of others that were not read yet, then those that come, whoever else reads them; each is marked
    /// as read after the sink took it. Also `Held`s, and without a chat `Request`s: those that wait, then those that
    /// come.
    Listen {
        /// Only this chat.
        chat: Option<String>,
        /// End after so many.
        count: Option<u64>,
        /// End after this time.
        patience: Option<Duration>,
        /// The message that was shown last, under an owner that is gone.
        after: Option<Shown>,
    },
}

/// What a user can decide about a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decision {
    /// Take a request, or let a held newcomer have the name.
    Accept,
    /// Refuse either.
    Refuse,
    /// Show them under another name.
    Rename {
        /// The new one.
        name: String,
    },
    /// The new key under a known name is that person's.
    Replace,
    /// Have nothing to do with them, or have again.
    Block {
        /// Which of both.
        blocked: bool,
    },
    /// Forget them.
    Remove {
        /// The history as well.
        purge: bool,
    },
}

/// A text to be sent, under the id that its writer drew.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// Drawn once, and kept when the text is sent again.
    #[serde(with = "text_id")]
    pub id: MessageId,
    /// 1..=65,536 bytes.
    pub text: String,
}

impl Text {
    /// Draws an id.
    ///
    /// # Errors
    /// [`Failure`] when the system has no random bytes.
    pub fn new(text: String) -> Result<Self, Failure> {
        let mut random = [0; 10];
        getrandom::fill(&mut random).map_err(|error| Failure::unexpected("nothing was sent", error))?;
        let id = MessageId::new(Timestamp::now().as_millisecond(), random);
        Ok(Self { id, text })
    }
}

impl fmt::Debug for Text {
    /// Plaintext never gets into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A request that went on under another owner before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// When it began, Unix ms.
    pub since: i64,
    /// How much of its time is over.
    pub elapsed: Duration,
}

/// A message that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Its author.
    #[serde(with = "text_id")]
    pub from: PeerId,
    /// Its id.
    #[serde(with = "text_id")]
    pub id: MessageId,
}

/// An invite that was open under another owner before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reopened {
    /// The code that was told.
    #[serde(with = "spoken")]
    pub code: Code,
    /// The link that was told with it.
    #[serde(default, with = "text_id::option")]
    pub link: Option<LinkId>,
    /// Guesses that are left.
    pub guesses_left: u8,
    /// Since when.
    pub resumed: Resumed,
}

/// Something that is answered from the store alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Read {
    /// `Identity`.
    WhoAmI,
    /// `Link`s that can be used or were used, the newest first.
    Links,
    /// People: `Contact`s, and `Request`s and `Asked`s that are open.
    Contacts {
        /// Only this one: name or id.
        who: Option<String>,
        /// Removed ones, too.
        all: bool,
    },
    /// The `SafetyNumber` with somebody.
    SafetyNumber {
        /// Name or id.
        who: String,
    },
    /// `Status`; only an owner knows who can be reached.
    Status,
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

/// Codes as they are spoken.
mod spoken {
    use qpq_core::invite::Code;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(code)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Code, D::Error> {
        // The reason would quote what may be most of a secret.
        String::deserialize(deserializer)?
            .parse()
            .map_err(|_| D::Error::custom("this is no code"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_request_is_read_back_as_it_was_and_its_debug_form_tells_no_secret() {
        let resumed = Resumed {
            since: 5,
            elapsed: Duration::from_millis(1_500),
        };
        let code: Code = "4-otter-violin".parse().unwrap();
        let text = Text::new("dear ben".into()).unwrap();
        assert_ne!(text.id, Text::new("dear ben".into()).unwrap().id);
        for request in [
            Request::Read(Read::Chat { name: None }),
            Request::Invite {
                lifetime: Duration::from_secs(60),
                patience: None,
                reopened: Some(Reopened {
                    code: code.clone(),
                    link: Some(LinkId([7; 8])),
                    guesses_left: 2,
                    resumed,
                }),
            },
            Request::Join {
                code,
                patience: Duration::from_secs(30),
                resumed: Some(resumed),
            },
            Request::Send {
                chat: "ben".into(),
                texts: vec![text.clone()],
            },
            Request::Track {
                chat: "ben".into(),
                ids: vec![text.id],
                patience: Duration::ZERO,
            },
            Request::InviteLink {
                lifetime: Duration::from_secs(60),
            },
            Request::CancelLink { id: LinkId([7; 8]) },
            Request::JoinLink {
                link: Spoken("QPQ:4-otter-violin".into()),
                patience: Duration::from_secs(30),
            },
            Request::Stay,
        ] {
            let json = serde_json::to_string(&request).unwrap();
            let read: Request = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
            let debug = format!("{request:?}");
            assert!(!debug.contains("otter") && !debug.contains("dear ben"), "{debug}");
        }
    }

    #[test]
    fn a_code_that_is_none_is_not_quoted() {
        let json = r#"{"join":{"code":"4-otter-violine","patience":{"secs":1,"nanos":0},"resumed":null}}"#;
        let error = serde_json::from_str::<Request>(json).unwrap_err().to_string();
        assert!(error.contains("no code") && !error.contains("otter"), "{error}");
    }
}
