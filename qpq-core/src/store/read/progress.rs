//! How far own messages got, and what still waits for whom.

use rusqlite::Row;

use super::Reader;
use crate::{
    delivery::Delivery,
    id::{MessageId, PeerId},
    store::{StoreError, blob, from_sql, outbox::read_state},
};

/// One person that an own message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Who.
    pub peer: PeerId,
    /// As shown; empty for somebody who is not known any more.
    pub name: String,
    /// How far the message got.
    pub state: Delivery,
}

/// An own message that somebody still waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// ULID.
    pub id: MessageId,
    /// Row of the chat.
    pub chat_id: i64,
    /// Its name.
    pub chat: String,
    /// When it was written, Unix ms.
    pub stored_at: i64,
    /// Those who still get it.
    pub waiting: Vec<Recipient>,
}

const RECIPIENTS: &str = "SELECT recipient.peer, coalesce(contact.name, ''), recipient.state, reason
    FROM recipient LEFT JOIN contact USING(peer) WHERE message = ?1 ORDER BY 2, 1";

impl Reader {
    /// Of an own message: whom it is for, and how far it got. `None`: there is no such message.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn recipients(&self, id: &MessageId) -> Result<Option<Vec<Recipient>>, StoreError> {
        let sql = "SELECT id FROM message WHERE message_id = ?1 AND own AND kind = 0";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query_map([id.0], |row| row.get(0))?;
        let row = rows.next().transpose()?;
        row.map(|row| self.recipients_of(row)).transpose()
    }

    /// Own messages that still wait for somebody, in one chat or in all, in the order they were written.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn outbox(&self, chat: Option<i64>) -> Result<Vec<Waiting>, StoreError> {
        let sql = "SELECT message.id, message.message_id, contact.name, message.stored_at, message.chat
                   FROM outbox JOIN message ON message.id = outbox.message JOIN chat ON chat.id = message.chat
                     JOIN contact ON contact.peer = chat.peer
                   WHERE ?1 IS NULL OR message.chat = ?1 ORDER BY message.id";
        let mut statement = self.connection.prepare_cached(sql)?;
        let waiting = statement.query_map([chat], |row| {
            let waiting = Waiting {
                id: MessageId(blob(row, 1)?),
                chat_id: row.get(4)?,
                chat: row.get(2)?,
                stored_at: row.get(3)?,
                waiting: Vec::new(),
            };
            Ok((row.get(0)?, waiting))
        })?;
        let mut outbox = Vec::new();
        for each in waiting {
            let (row, mut waiting) = each?;
            waiting.waiting = self.recipients_of(row)?;
            waiting.waiting.retain(|recipient| recipient.state.is_waiting());
            outbox.push(waiting);
        }
        Ok(outbox)
    }

    /// How many own messages still wait for a recipient, in one chat or in all.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub fn waiting(&self, chat: Option<i64>) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM outbox JOIN message ON message.id = outbox.message
                   WHERE ?1 IS NULL OR message.chat = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(from_sql(statement.query_row([chat], |row| row.get(0))?))
    }

    pub(super) fn state(&self, row: i64) -> Result<Delivery, StoreError> {
        let recipients = self.recipients_of(row)?;
        Ok(Delivery::least_advanced(
            recipients.into_iter().map(|recipient| recipient.state),
        ))
    }

    fn recipients_of(&self, row: i64) -> Result<Vec<Recipient>, StoreError> {
        let mut statement = self.connection.prepare_cached(RECIPIENTS)?;
        let recipients = statement.query_map([row], read_recipient)?;
        Ok(recipients.collect::<rusqlite::Result<_>>()?)
    }
}

fn read_recipient(row: &Row<'_>) -> rusqlite::Result<Recipient> {
    Ok(Recipient {
        peer: PeerId(blob(row, 0)?),
        name: row.get(1)?,
        state: read_state(row, 2, 3)?,
    })
}
