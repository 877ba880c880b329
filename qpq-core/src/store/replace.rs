//! One person in the place of another, and what goes with a person who is removed.

use super::{Store, StoreError, blob, outbox::Changed};
use crate::id::{MessageId, PeerId};

/// `recipient.reason` of a message whose recipient was removed.
const REMOVED: i64 = 1;

impl Store {
    /// Nothing waits for a person any more: what was not delivered has failed. Returns what changed.
    pub(crate) fn fail_waiting(&self, peer: &PeerId) -> Result<Vec<Changed>, StoreError> {
        let waiting = self.all(
            "SELECT message.id, message_id FROM recipient JOIN message ON message.id = recipient.message
             WHERE recipient.peer = ?1 AND state = 0 ORDER BY message.id",
            [peer.0],
            |row| Ok((row.get::<_, i64>(0)?, MessageId(blob(row, 1)?))),
        )?;
        self.write(
            "recipient.fail",
            "UPDATE recipient SET state = 5, reason = ?2 WHERE peer = ?1 AND state = 0",
            (peer.0, REMOVED),
        )?;
        self.write(
            "outbox.fail",
            "DELETE FROM outbox
             WHERE NOT EXISTS(SELECT 1 FROM recipient WHERE recipient.message = outbox.message AND state = 0)",
            [],
        )?;
        let changed = waiting.into_iter();
        changed.map(|(row, id)| Ok((id, self.state(row)?))).collect()
    }

    /// A chat goes on with another person: its history, and what waits in it.
    pub(crate) fn replace_person(&self, old: &PeerId, new: &PeerId) -> Result<(), StoreError> {
        // Of a time when the newcomer was a contact before.
        self.write(
            "chat.move_messages",
            "UPDATE message SET chat = (SELECT id FROM chat WHERE peer = ?1)
             WHERE chat = (SELECT id FROM chat WHERE peer = ?2)",
            (old.0, new.0),
        )?;
        self.write(
            "chat.move_group",
            "UPDATE grp SET chat = (SELECT id FROM chat WHERE peer = ?1)
             WHERE chat = (SELECT id FROM chat WHERE peer = ?2)",
            (old.0, new.0),
        )?;
        self.write("chat.drop", "DELETE FROM chat WHERE peer = ?1", [new.0])?;
        self.write(
            "chat.person",
            "UPDATE chat SET peer = ?2 WHERE peer = ?1",
            (old.0, new.0),
        )?;
        self.write(
            "recipient.person",
            "UPDATE recipient SET peer = ?2 WHERE peer = ?1 AND state = 0",
            (old.0, new.0),
        )?;
        Ok(())
    }

    /// Whether there is anything in the chat with a person.
    pub(crate) fn has_history(&self, peer: &PeerId) -> Result<bool, StoreError> {
        let sql =
            "SELECT EXISTS(SELECT 1 FROM message JOIN chat ON chat.id = message.chat WHERE chat.peer = ?1)";
        Ok(self.one(sql, [peer.0], |row| row.get(0))?.unwrap_or(false))
    }

    /// Deletes the history with a person.
    pub(crate) fn purge(&self, peer: &PeerId) -> Result<(), StoreError> {
        for (point, sql) in [
            (
                "purge.recipients",
                "DELETE FROM recipient WHERE message IN
                   (SELECT message.id FROM message JOIN chat ON chat.id = message.chat WHERE chat.peer = ?1)",
            ),
            (
                "purge.messages",
                "DELETE FROM message WHERE chat = (SELECT id FROM chat WHERE peer = ?1)",
            ),
            ("purge.chat", "DELETE FROM chat WHERE peer = ?1"),
        ] {
            self.write(point, sql, [peer.0])?;
        }
        Ok(())
    }
}
