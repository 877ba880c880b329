//! A second, read-only connection for screens, `log` and `listen`.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, named_params};

use super::{StoreError, blob, from_sql, messages::KIND_TEXT, open_checked};
use crate::{
    id::{MessageId, PeerId},
    secret::Secret,
};

/// Reads what the engine committed, also while another process owns the profile.
pub struct Reader {
    connection: Connection,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

/// One conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// Its row.
    pub id: i64,
    /// Name as shown; hostile text, valid by `name::validate`.
    pub name: String,
    /// Its members, the profile's owner left out.
    pub members: Vec<PeerId>,
    /// All members' keys were verified by a code.
    pub verified: bool,
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

/// One message of the history.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Its row: the order of arrival.
    pub row: i64,
    /// ULID.
    pub id: MessageId,
    /// Name of the chat.
    pub chat: String,
    /// Author.
    pub from: PeerId,
    /// The author's name, the own one for own messages.
    pub from_name: String,
    /// Written by the profile's owner.
    pub own: bool,
    /// The author's key was verified (own messages: true).
    pub verified: bool,
    /// Position in its stream, from 1.
    pub seq: u64,
    /// As stored: hostile.
    pub text: String,
    /// Author's clock, Unix ms.
    pub sent_at: i64,
    /// Own clock at arrival, Unix ms.
    pub stored_at: i64,
    /// All recipients have it (own messages only).
    pub delivered: bool,
}

impl std::fmt::Debug for Message {
    /// Plaintext never gets into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

/// Which messages to read; all conditions hold together, the result is oldest first.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only this chat.
    pub chat: Option<i64>,
    /// Only rows above this one.
    pub after_row: i64,
    /// Only messages of others which were not marked read.
    pub unread: bool,
    /// Stored at or after, Unix ms.
    pub since: Option<i64>,
    /// Contains this text, ASCII case ignored.
    pub grep: Option<String>,
    /// Only the newest n of what is left.
    pub last: Option<u32>,
    /// At most so many, from the oldest (for paging with `after_row`).
    pub limit: Option<u32>,
}

/// Shown in place of content of a later version; the content itself is kept.
const NEEDS_NEWER: &str = "(this message needs a newer qpq)";

const CHATS: &str = "SELECT chat.id, contact.name, contact.peer, contact.trust
    FROM chat JOIN contact USING(peer) ORDER BY contact.name";

/// The conditions of [`Query`]; `last` turns the order twice.
const MESSAGES: &str = "SELECT * FROM (
    SELECT message.id AS row, message.message_id, contact.name, message.sender, message.own, contact.trust,
           message.seq, message.kind, CAST(message.body AS TEXT) AS text, message.sent_at, message.stored_at,
           EXISTS(SELECT 1 FROM outbox WHERE outbox.message = message.id)
    FROM message JOIN chat ON chat.id = message.chat JOIN contact ON contact.peer = chat.peer
    WHERE message.id > :after AND (:chat IS NULL OR message.chat = :chat)
      AND (NOT :unread OR (message.id > chat.read_to AND NOT message.own))
      AND (:since IS NULL OR message.stored_at >= :since)
      AND (:grep IS NULL OR (message.kind = 0 AND instr(lower(CAST(message.body AS TEXT)), lower(:grep))))
    ORDER BY CASE WHEN :last < 0 THEN message.id ELSE -message.id END
    LIMIT CASE WHEN :last < 0 THEN :limit ELSE :last END)
    ORDER BY row LIMIT :limit";

impl Reader {
    /// Opens the database for reading only.
    ///
    /// # Errors
    /// [`StoreError`]; the file is unchanged.
    pub fn open(path: &Path, key: &Secret<32>) -> Result<Self, StoreError> {
        let connection = open_checked(path, key, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(Self { connection })
    }

    /// The display name of the profile's owner.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn own_name(&self) -> Result<String, StoreError> {
        let name: Vec<u8> =
            self.connection
                .query_row("SELECT value FROM meta WHERE key = 'name'", [], |row| row.get(0))?;
        String::from_utf8(name).map_err(|_| StoreError::Corrupt("own name"))
    }

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

    /// Messages, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn messages(&self, query: &Query) -> Result<Vec<Message>, StoreError> {
        let own_name = self.own_name()?;
        let mut statement = self.connection.prepare_cached(MESSAGES)?;
        let messages = statement.query_map(
            named_params! {
                ":after": query.after_row,
                ":chat": query.chat,
                ":unread": query.unread,
                ":since": query.since,
                ":grep": query.grep,
                ":last": query.last.map_or(-1, i64::from),
                ":limit": query.limit.map_or(-1, i64::from),
            },
            |row| read_message(row, &own_name),
        )?;
        Ok(messages.collect::<rusqlite::Result<_>>()?)
    }

    /// Of an own message: have all recipients got it? `None`: there is no such message.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn delivered(&self, id: &MessageId) -> Result<Option<bool>, StoreError> {
        let sql = "SELECT NOT EXISTS(SELECT 1 FROM outbox WHERE outbox.message = message.id)
                   FROM message WHERE message_id = ?1 AND own";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row([id.0], |row| row.get(0)).optional()?)
    }

    #[cfg(test)]
    pub(super) fn execute_for_test(&self, sql: &str) -> rusqlite::Result<usize> {
        self.connection.execute(sql, [])
    }

    /// How many own messages still wait for a recipient, in one chat or in all.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn waiting(&self, chat: Option<i64>) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM outbox JOIN message ON message.id = outbox.message
                   WHERE ?1 IS NULL OR message.chat = ?1";
        Ok(from_sql(
            self.connection
                .prepare_cached(sql)?
                .query_row([chat], |row| row.get(0))?,
        ))
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
        })
    })?;
    Ok(chats.collect::<rusqlite::Result<_>>()?)
}

/// The one meaning of a chat's name, for the engine and for screens.
pub(super) fn find_chat(connection: &Connection, wanted: &str) -> Result<Chat, FindError> {
    let chats = chats(connection)?;
    // Ids first: whoever calls himself like somebody else's id does not get that person's messages.
    let folded = wanted.to_lowercase();
    let id_matches = |peer: &PeerId| peer.to_text() == folded || peer.short() == folded;
    let by_id = |chat: &&Chat| chat.members.iter().any(id_matches);
    let by_name = |chat: &&Chat| chat.name == wanted;
    let by_folded_name = |chat: &&Chat| chat.name.to_lowercase() == folded;
    let mut found: Vec<Chat> = chats.iter().filter(by_id).cloned().collect();
    if found.is_empty() {
        found = chats.iter().filter(by_name).cloned().collect();
    }
    if found.is_empty() {
        found = chats.iter().filter(by_folded_name).cloned().collect();
    }
    match (found.pop(), found.as_slice()) {
        (None, _) => Err(FindError::Unknown),
        (Some(chat), []) => Ok(chat),
        (Some(chat), others) => Err(FindError::Ambiguous(
            others.iter().chain([&chat]).map(Chat::line).collect(),
        )),
    }
}

fn read_message(row: &Row<'_>, own_name: &str) -> rusqlite::Result<Message> {
    let (chat, own, kind): (String, bool, i64) = (row.get(2)?, row.get(4)?, row.get(7)?);
    Ok(Message {
        row: row.get(0)?,
        id: MessageId(blob(row, 1)?),
        from: PeerId(blob(row, 3)?),
        from_name: if own { own_name.to_owned() } else { chat.clone() },
        chat,
        own,
        verified: own || row.get::<_, i64>(5)? > 0,
        seq: from_sql(row.get(6)?),
        text: if kind == KIND_TEXT {
            row.get(8)?
        } else {
            NEEDS_NEWER.to_owned()
        },
        sent_at: row.get(9)?,
        stored_at: row.get(10)?,
        delivered: own && !row.get::<_, bool>(11)?,
    })
}
