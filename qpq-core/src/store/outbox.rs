//! Own messages until every recipient has acknowledged them.

use rusqlite::Row;

use super::{GroupRow, Store, StoreError, blob, from_sql, to_sql};
use crate::{
    delivery::{Delivery, FailedReason, Ranges},
    id::{GroupId, MessageId, PeerId},
};

/// An own message whose state changed, and how far it got.
pub(crate) type Changed = (MessageId, Delivery);

/// An own message on its way.
#[derive(Debug)]
pub(crate) struct Queued {
    /// Row of the message.
    pub(crate) row: i64,
    pub(crate) seq: u64,
    pub(crate) id: MessageId,
    /// Whether it was encrypted: then [`Store::frame`] has the bytes, and they are sent again as they are.
    pub(crate) sealed: bool,
}

impl Store {
    /// Queues an own message for its recipients, at this age of the profile (see [`Store::expire`]).
    pub(crate) fn queue(
        &self,
        row: i64,
        group: &GroupId,
        seq: u64,
        recipients: &[PeerId],
        lived: i64,
    ) -> Result<(), StoreError> {
        self.write(
            "outbox.put",
            "INSERT INTO outbox(message, group_id, seq, queued_at) VALUES(?1, ?2, ?3, ?4)",
            (row, group.0, to_sql(seq)?, lived),
        )?;
        for peer in recipients {
            self.write(
                "recipient.add",
                "INSERT INTO recipient(message, peer, state) VALUES(?1, ?2, 0)",
                (row, peer.0),
            )?;
        }
        Ok(())
    }

    /// What a member lacks beyond `after`, in order, at most `limit`.
    pub(crate) fn queued_for(
        &self,
        group: &GroupId,
        peer: &PeerId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Queued>, StoreError> {
        self.all(
            "SELECT outbox.message, outbox.seq, message.message_id, outbox.frame IS NOT NULL
             FROM outbox JOIN recipient USING(message) JOIN message ON message.id = outbox.message
             WHERE outbox.group_id = ?1 AND recipient.peer = ?2 AND recipient.state = 0 AND outbox.seq > ?3
             ORDER BY outbox.seq LIMIT ?4",
            (
                group.0,
                peer.0,
                to_sql(after)?,
                i64::try_from(limit).unwrap_or(i64::MAX),
            ),
            |row| {
                Ok(Queued {
                    row: row.get(0)?,
                    seq: from_sql(row.get(1)?),
                    id: MessageId(blob(row, 2)?),
                    sealed: row.get(3)?,
                })
            },
        )
    }

    /// The lowest number of our stream that was never encrypted: whoever knows it knows more than this database.
    pub(crate) fn first_unsent(&self, group: &GroupRow) -> Result<u64, StoreError> {
        let sql = "SELECT min(seq) FROM outbox WHERE group_id = ?1 AND frame IS NULL";
        let queued = self
            .one(sql, [group.id.0], |row| row.get::<_, Option<i64>>(0))?
            .flatten();
        Ok(queued.map_or(group.next_seq, from_sql))
    }

    /// The App frame of an own message that was encrypted.
    pub(crate) fn frame(&self, row: i64) -> Result<Vec<u8>, StoreError> {
        self.one("SELECT frame FROM outbox WHERE message = ?1", [row], |row| {
            row.get::<_, Option<Vec<u8>>>(0)
        })?
        .flatten()
        .ok_or(StoreError::Corrupt("outbox without frame"))
    }

    /// Text and time of an own message that is about to be encrypted.
    pub(crate) fn own_text(&self, row: i64) -> Result<(String, i64), StoreError> {
        let sql = "SELECT CAST(body AS TEXT), sent_at FROM message WHERE id = ?1";
        self.one(sql, [row], |row| Ok((row.get(0)?, row.get(1)?)))?
            .ok_or(StoreError::Corrupt("outbox without message"))
    }

    /// Keeps the ciphertext: it must not be made twice.
    pub(crate) fn put_frame(&self, row: i64, frame: &[u8]) -> Result<(), StoreError> {
        self.write(
            "outbox.frame",
            "UPDATE outbox SET frame = ?2 WHERE message = ?1",
            (row, frame),
        )?;
        self.write(
            "recipient.seal",
            "UPDATE recipient SET sealed = 1 WHERE message = ?1 AND NOT sealed",
            [row],
        )?;
        Ok(())
    }

    /// Messages of our own stream which a member may ask for again, in order, at most `limit`: those that were sent
    /// to it on this link, and delivered ones that it lost. What expired or failed is not sent any more.
    pub(crate) fn repairable(
        &self,
        group: &GroupRow,
        own: &PeerId,
        peer: &PeerId,
        ranges: &Ranges,
        sent_to: u64,
        limit: usize,
    ) -> Result<Vec<Queued>, StoreError> {
        let mut found = Vec::new();
        for range in ranges.as_slice() {
            let left = limit.saturating_sub(found.len());
            found.extend(self.all(
                "SELECT message.id, seq, message_id
                 FROM message JOIN recipient ON recipient.message = message.id AND recipient.peer = ?2
                 WHERE chat = ?1 AND sender = ?8 AND stream = ?3 AND seq BETWEEN ?4 AND ?5
                   AND (state IN (2, 3) OR (state < 2 AND seq <= ?6))
                 ORDER BY seq LIMIT ?7",
                (
                    group.chat,
                    peer.0,
                    group.stream.0,
                    i64::try_from(range.first).unwrap_or(i64::MAX),
                    i64::try_from(range.last).unwrap_or(i64::MAX),
                    to_sql(sent_to)?,
                    i64::try_from(left).unwrap_or(i64::MAX),
                    own.0,
                ),
                |row| {
                    Ok(Queued {
                        row: row.get(0)?,
                        seq: from_sql(row.get(1)?),
                        id: MessageId(blob(row, 2)?),
                        sealed: false,
                    })
                },
            )?);
        }
        Ok(found)
    }

    /// Numbers what waits in the chat of a new group anew, for the group's stream, in the order it was written.
    /// Returns the next free number.
    pub(crate) fn requeue(&self, group: &GroupRow) -> Result<u64, StoreError> {
        let moved = self.write(
            "outbox.move",
            "UPDATE outbox SET group_id = ?2, seq = waiting.at, frame = NULL
             FROM (SELECT outbox.message AS row, row_number() OVER (ORDER BY outbox.message) AS at
                   FROM outbox JOIN message ON message.id = outbox.message WHERE chat = ?1) AS waiting
             WHERE outbox.message = waiting.row",
            (group.chat, group.id.0),
        )?;
        self.write(
            "message.move",
            "UPDATE message SET stream = ?2, seq = outbox.seq FROM outbox
             WHERE outbox.message = message.id AND outbox.group_id = ?1",
            (group.id.0, group.stream.0),
        )?;
        self.write(
            "recipient.move",
            "UPDATE recipient SET sealed = 0 WHERE message IN (SELECT message FROM outbox WHERE group_id = ?1)",
            [group.id.0],
        )?;
        Ok(u64::try_from(moved).unwrap_or(u64::MAX).saturating_add(1))
    }

    /// A member has these of our own stream: also one that was given up before, if it was ever encrypted in this
    /// stream. Returns what changed.
    pub(crate) fn acknowledge(
        &self,
        group: &GroupRow,
        peer: &PeerId,
        ranges: &Ranges,
    ) -> Result<Vec<Changed>, StoreError> {
        let mut had = self.given_up(group, peer)?;
        had.retain(|(_, _, seq)| ranges.contains(*seq));
        for range in ranges.as_slice() {
            // Numbers beyond SQLite's were never issued.
            let (Ok(first), last) = (to_sql(range.first), to_sql(range.last).unwrap_or(i64::MAX)) else {
                continue;
            };
            had.extend(self.all(
                "SELECT outbox.message, message.message_id, outbox.seq
                 FROM outbox JOIN recipient USING(message) JOIN message ON message.id = outbox.message
                 WHERE outbox.group_id = ?1 AND outbox.seq BETWEEN ?2 AND ?3
                   AND recipient.peer = ?4 AND recipient.state = 0
                 ORDER BY outbox.seq",
                (group.id.0, first, last, peer.0),
                read_place,
            )?);
        }
        let changed = had.into_iter();
        changed
            .map(|(row, id, _)| Ok((id, self.acknowledge_one(row, peer)?)))
            .collect()
    }

    /// What a member may still turn out to have: given up after it was encrypted in this stream. By the index of
    /// just those, first: few messages end like that, and every acknowledgement looks here.
    fn given_up(&self, group: &GroupRow, peer: &PeerId) -> Result<Vec<(i64, MessageId, u64)>, StoreError> {
        self.all(
            "SELECT message.id, message_id, seq FROM recipient CROSS JOIN message ON message.id = recipient.message
             WHERE recipient.peer = ?1 AND recipient.state > 3 AND recipient.sealed
               AND own AND chat = ?2 AND stream = ?3
             ORDER BY seq",
            (peer.0, group.chat, group.stream.0),
            read_place,
        )
    }

    fn acknowledge_one(&self, row: i64, peer: &PeerId) -> Result<Delivery, StoreError> {
        self.write(
            "recipient.ack",
            "UPDATE recipient SET state = 2, reason = 0 WHERE message = ?1 AND peer = ?2 AND state NOT IN (2, 3)",
            (row, peer.0),
        )?;
        self.write(
            "outbox.done",
            "DELETE FROM outbox WHERE message = ?1
               AND NOT EXISTS(SELECT 1 FROM recipient WHERE message = ?1 AND state < 2)",
            [row],
        )?;
        self.state(row)
    }

    /// Gives up what was queued at this age of the profile or before. Returns what changed.
    pub(crate) fn expire(&self, queued_to: i64) -> Result<Vec<Changed>, StoreError> {
        let old = self.all(
            "SELECT message, message_id FROM outbox JOIN message ON message.id = message
             WHERE queued_at <= ?1 ORDER BY message",
            [queued_to],
            |row| Ok((row.get::<_, i64>(0)?, MessageId(blob(row, 1)?))),
        )?;
        let mut changed = Vec::new();
        for (row, id) in old {
            self.write(
                "recipient.expire",
                "UPDATE recipient SET state = 4 WHERE message = ?1 AND state < 2",
                [row],
            )?;
            self.write("outbox.expire", "DELETE FROM outbox WHERE message = ?1", [row])?;
            changed.push((id, self.state(row)?));
        }
        Ok(changed)
    }

    /// How far an own message got.
    pub(super) fn state(&self, row: i64) -> Result<Delivery, StoreError> {
        let sql = "SELECT state, reason FROM recipient WHERE message = ?1";
        Ok(Delivery::least_advanced(
            self.all(sql, [row], |row| read_state(row, 0, 1))?,
        ))
    }
}

/// Row, id and number of an own message.
fn read_place(row: &Row<'_>) -> rusqlite::Result<(i64, MessageId, u64)> {
    Ok((row.get(0)?, MessageId(blob(row, 1)?), from_sql(row.get(2)?)))
}

/// A recipient's state from its two columns.
pub(super) fn read_state(row: &Row<'_>, state: usize, reason: usize) -> rusqlite::Result<Delivery> {
    let (state, reason): (i64, i64) = (row.get(state)?, row.get(reason)?);
    Ok(match (state, reason) {
        (0, _) => Delivery::Here,
        (1, _) => Delivery::OnRelay,
        (2, _) => Delivery::Delivered,
        (3, _) => Delivery::Read,
        (4, _) => Delivery::Expired,
        // There is one reason yet; a database with others is refused as newer before this is read.
        _ => Delivery::Failed(FailedReason::Removed),
    })
}
