//! Chats, and the one meaning of a chat's name.

use rusqlite::{Connection, OptionalExtension};

use super::Reader;
use crate::{
    id::PeerId,
    store::{StoreError, blob},
};

/// One conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// Its row.
    pub id: i64,
    /// Name as shown; hostile text, valid by `name::validate`.
    pub name: String,
    /// Its members, the profile's owner left out.
    pub members: Vec<PeerId>,
    /// All members' keys were verified.
    pub verified: bool,
    /// Something can be written to it: its person was not removed.
    pub live: bool,
}

/// Why no chat was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// None.
    #[error("there is no chat with this name")]
    Unknown,
    /// Several; a line for each.
    #[error("several chats answer to this name")]
    Ambiguous(Vec<String>),
    /// The database could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

const CHATS: &str = "SELECT chat.id, contact.name, contact.peer, contact.trust, contact.state <> 2
    FROM chat JOIN contact USING(peer) ORDER BY contact.name";

impl Reader {
    /// All chats, by name.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn chats(&self) -> Result<Vec<Chat>, StoreError> {
        chats(&self.connection)
    }

    /// Finds a chat by name (case matters only where it must), or by the full or short id of its contact.
    ///
    /// # Errors
    /// [`FindError`].
    pub fn find_chat(&self, wanted: &str) -> Result<Chat, FindError> {
        find_chat(&self.connection, wanted)
    }

    /// The newest of those who became contacts at or after this time (Unix ms) and know it: for whoever may have
    /// missed that event.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn joined_since(&self, unix_ms: i64) -> Result<Option<Chat>, StoreError> {
        let sql = "SELECT chat.id FROM chat JOIN contact USING(peer) WHERE contact.added_at >= ?1
                   AND NOT EXISTS(SELECT 1 FROM accepted_join WHERE accepted_join.peer = contact.peer)
                   ORDER BY contact.added_at DESC LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let id: Option<i64> = statement.query_row([unix_ms], |row| row.get(0)).optional()?;
        let mut chats = self.chats()?;
        chats.retain(|chat| Some(chat.id) == id);
        Ok(chats.pop())
    }
}

impl Chat {
    /// `ben · 7k2f-9qxm`: enough to tell it from its namesakes.
    pub fn line(&self) -> String {
        let ids = self.members.iter().map(PeerId::short).collect::<Vec<_>>();
        format!("{} · {}", self.name, ids.join(" "))
    }
}

fn chats(connection: &Connection) -> Result<Vec<Chat>, StoreError> {
    let mut statement = connection.prepare_cached(CHATS)?;
    let chats = statement.query_map([], |row| {
        Ok(Chat {
            id: row.get(0)?,
            name: row.get(1)?,
            members: vec![PeerId(blob(row, 2)?)],
            verified: row.get::<_, i64>(3)? > 0,
            live: row.get(4)?,
        })
    })?;
    Ok(chats.collect::<rusqlite::Result<_>>()?)
}

/// The one meaning of a chat's name, for the engine and for screens.
pub(in crate::store) fn find_chat(connection: &Connection, wanted: &str) -> Result<Chat, FindError> {
    let chats = chats(connection)?;
    // Ids first: whoever calls himself like somebody else's id does not get that person's messages.
    let folded = wanted.to_lowercase();
    let id_matches = |peer: &PeerId| peer.to_text() == folded || peer.short() == folded;
    let by_id = |chat: &&Chat| chat.members.iter().any(id_matches);
    let by_name = |chat: &&Chat| chat.name == wanted;
    let by_folded_name = |chat: &&Chat| chat.name.to_lowercase() == folded;
    let mut found: Vec<Chat> = chats.iter().filter(by_id).cloned().collect();
    // A removed person's chat is found by its name as long as that is nobody else's.
    for live in [true, false] {
        let all = || chats.iter().filter(|chat| chat.live == live);
        if found.is_empty() {
            found = all().filter(by_name).cloned().collect();
        }
        if found.is_empty() {
            found = all().filter(by_folded_name).cloned().collect();
        }
    }
    match (found.pop(), found.as_slice()) {
        (None, _) => Err(FindError::Unknown),
        (Some(chat), []) => Ok(chat),
        (Some(chat), others) => Err(FindError::Ambiguous(
            others.iter().chain([&chat]).map(Chat::line).collect(),
        )),
    }
}
