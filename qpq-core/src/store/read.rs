//! A second, read-only connection for screens, `log` and `listen`.

mod invites;
mod progress;

pub use invites::OpenLink;

use std::{collections::BTreeMap, path::Path};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, named_params};

pub use super::messages::Notice;
use super::{
    StoreError, age, blob,
    contacts::{open_questions, standing_from_sql, trust_from_sql},
    from_sql, has_log,
    messages::{KIND_NOTICE, KIND_TEXT},
    open_checked, open_still,
};
use crate::{
    contact::{Asking, Person},
    delivery::Delivery,
    id::{MessageId, PeerId},
    secret::Secret,
};
pub use progress::{Recipient, Waiting};

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
    /// All members' keys were verified.
    pub verified: bool,
    /// Something can be written to it: its person was not removed.
    pub live: bool,
}

/// What somebody is to the profile's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Either may write to the other.
    Contact,
    /// The user blocked them.
    Blocked,
    /// A new key under a known name, about which the user has not decided.
    Held,
    /// The user removed them; the history is left.
    Removed,
    /// They were asked to be a contact, and have not answered.
    Asked,
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

const CHATS: &str = "SELECT chat.id, contact.name, contact.peer, contact.trust, contact.state <> 2
    FROM chat JOIN contact USING(peer) ORDER BY contact.name";

const PEOPLE: &str = "SELECT peer, name, claimed, trust, state, blocked, last_seen FROM contact
    ORDER BY name, peer";

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

    /// All chats, by name.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn chats(&self) -> Result<Vec<Chat>, StoreError> {
        chats(&self.connection)
    }

    /// Everybody who is or was a contact, by name.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn people(&self) -> Result<Vec<Person>, StoreError> {
        let mut statement = self.connection.prepare_cached(PEOPLE)?;
        let people = statement.query_map([], |row| {
            Ok(Person {
                peer: PeerId(blob(row, 0)?),
                name: row.get(1)?,
                claimed: row.get(2)?,
                trust: trust_from_sql(row.get(3)?),
                standing: standing_from_sql(row.get(4)?),
                blocked: row.get(5)?,
                last_seen: row.get(6)?,
            })
        })?;
        Ok(people.collect::<rusqlite::Result<_>>()?)
    }

    /// Who asks to be a contact, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn asking(&self) -> Result<Vec<Asking>, StoreError> {
        let sql =
            "SELECT peer, name, claimed, stored_at FROM request WHERE NOT refused ORDER BY stored_at, peer";
        let mut statement = self.connection.prepare_cached(sql)?;
        let asking = statement.query_map([], |row| {
            Ok(Asking {
                peer: PeerId(blob(row, 0)?),
                name: row.get(1)?,
                claimed: row.get(2)?,
                stored_at: row.get(3)?,
            })
        })?;
        Ok(asking.collect::<rusqlite::Result<_>>()?)
    }

    /// Who was asked to be a contact and has not answered: id, and the name where it is known.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn asked(&self) -> Result<Vec<(PeerId, Option<String>)>, StoreError> {
        let sql = "SELECT peer, inviter FROM pending_join
                   WHERE (link IS NOT NULL OR inviter IS NOT NULL) AND expires_at > ?1 ORDER BY peer";
        let mut statement = self.connection.prepare_cached(sql)?;
        let asked = statement.query_map([self.last_look()?], |row| {
            Ok((PeerId(blob(row, 0)?), row.get(1)?))
        })?;
        Ok(asked.collect::<rusqlite::Result<_>>()?)
    }

    /// The profile time when its owner's process last counted it: by it requests are over.
    fn last_look(&self) -> Result<i64, StoreError> {
        let lived = age::lived(&self.connection)?;
        let time = lived.and_then(|lived| lived.profile_time(lived.latest));
        Ok(time.unwrap_or(i64::MIN))
    }

    /// What everybody is to the profile's owner.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn relations(&self) -> Result<BTreeMap<PeerId, Relation>, StoreError> {
        let sql = "SELECT peer, 0, 0, 1 FROM pending_join
                     WHERE peer NOT IN (SELECT peer FROM contact) AND expires_at > ?1
                   UNION ALL SELECT peer, state, blocked, 0 FROM contact";
        let mut statement = self.connection.prepare_cached(sql)?;
        let relations = statement.query_map([self.last_look()?], |row| {
            let (state, blocked, asked): (i64, bool, bool) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let relation = match (asked, blocked, state) {
                (true, _, _) => Relation::Asked,
                (false, true, _) => Relation::Blocked,
                (false, false, 1) => Relation::Held,
                (false, false, 2) => Relation::Removed,
                (false, false, _) => Relation::Contact,
            };
            Ok((PeerId(blob(row, 0)?), relation))
        })?;
        let mut relations: BTreeMap<PeerId, Relation> = relations.collect::<rusqlite::Result<_>>()?;
        let questions = open_questions(&self.connection)?;
        for person in self.people()? {
            // What is for them waits for the same answer.
            if relations.get(&person.peer) == Some(&Relation::Contact)
                && questions.contains(&person.name.to_lowercase())
            {
                relations.insert(person.peer, Relation::Held);
            }
        }
        Ok(relations)
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
pub(super) fn find_chat(connection: &Connection, wanted: &str) -> Result<Chat, FindError> {
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
