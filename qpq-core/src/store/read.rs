//! A second, read-only connection for screens, `log` and `listen`.

mod chats;
mod invites;
mod people;
mod progress;

pub(super) use chats::find_chat;
pub use chats::{Chat, FindError};
pub use invites::OpenLink;
pub use people::Relation;
pub use progress::{Recipient, Waiting};

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row, named_params};

pub use super::messages::Notice;
use super::{
    StoreError, blob, from_sql, has_log,
    messages::{KIND_NOTICE, KIND_TEXT},
    open_checked, open_still,
};
use crate::{
    delivery::Delivery,
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
    /// Later ones of its author came before it.
    pub late: bool,
    /// Of an own message: how far it got; the least advanced of its recipients.
    pub state: Option<Delivery>,
    /// Nobody wrote it: it says what happened to the chat, and `text` says so in words.
    pub notice: Option<Notice>,
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

/// The conditions of [`Query`]; `last` turns the order twice.
const MESSAGES: &str = "SELECT * FROM (
    SELECT message.id AS row, message.message_id, contact.name, message.sender, message.own, contact.trust,
           message.seq, message.kind, message.body, message.sent_at, message.stored_at, message.late
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
        let connection = match open_checked(path, key, OpenFlags::SQLITE_OPEN_READ_WRITE) {
            // Without a log nobody is at work there, and what is in the file is all there is.
            Err(StoreError::Sqlite(error)) if cannot_write(&error) && !has_log(path) => {
                open_still(path, key).map_err(|_| StoreError::Sqlite(error))?
            }
            opened => opened?,
        };
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
        let mut messages = messages.collect::<rusqlite::Result<Vec<_>>>()?;
        for message in &mut messages {
            if message.own && message.notice.is_none() {
                message.state = Some(self.state(message.row)?);
            }
        }
        Ok(messages)
    }

    /// The newest row of a message: its author may use the id once in each chat.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn row(&self, author: &PeerId, id: &MessageId) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT max(id) FROM message WHERE message_id = ?1 AND sender = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row((id.0, author.0), |row| row.get(0))?)
    }

    #[cfg(test)]
    pub(super) fn execute_for_test(&self, sql: &str) -> rusqlite::Result<usize> {
        self.connection.execute(sql, [])
    }
}

/// Whether the log or the shared memory could not be made. The latter fails as IO does.
fn cannot_write(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, DiskFull, ReadOnly, SystemIoFailure};
    let code = error.sqlite_error_code();
    matches!(code, Some(CannotOpen | DiskFull | ReadOnly | SystemIoFailure))
}

fn read_message(row: &Row<'_>, own_name: &str) -> rusqlite::Result<Message> {
    let (chat, own, kind): (String, bool, i64) = (row.get(2)?, row.get(4)?, row.get(7)?);
    let body: Vec<u8> = row.get(8)?;
    let notice = Notice::from_body(&body).filter(|_| kind == KIND_NOTICE);
    Ok(Message {
        row: row.get(0)?,
        id: MessageId(blob(row, 1)?),
        from: PeerId(blob(row, 3)?),
        from_name: if own && notice.is_none() {
            own_name.to_owned()
        } else {
            chat.clone()
        },
        chat,
        own,
        verified: own || row.get::<_, i64>(5)? > 0,
        seq: from_sql(row.get(6)?),
        text: match (kind, notice) {
            (KIND_TEXT, _) => String::from_utf8_lossy(&body).into_owned(),
            (_, Some(notice)) => notice.text().to_owned(),
            (_, None) => NEEDS_NEWER.to_owned(),
        },
        sent_at: row.get(9)?,
        stored_at: row.get(10)?,
        late: row.get(11)?,
        state: None,
        notice,
    })
}
