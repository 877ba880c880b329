//! Own messages until every recipient has acknowledged them.

use super::{GroupRow, Store, StoreError, blob, from_sql, to_sql};
use crate::{
    delivery::Ranges,
    id::{GroupId, MemberId, MessageId},
};

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
    /// Queues an own message for its recipients.
    pub(crate) fn queue(
        &self,
        row: i64,
        group: &GroupId,
        seq: u64,
        recipients: &[MemberId],
    ) -> Result<(), StoreError> {
        self.write(
            "outbox.put",
            "INSERT INTO outbox(message, group_id, seq) VALUES(?1, ?2, ?3)",
            (row, group.0, to_sql(seq)?),
        )?;
        for member in recipients {
            self.write(
                "outbox.need",
                "INSERT INTO outbox_need(message, member_id) VALUES(?1, ?2)",
                (row, member.0),
            )?;
        }
        Ok(())
    }

    /// What a member lacks beyond `after`, in order, at most `limit`.
    pub(crate) fn queued_for(
        &self,
        group: &GroupId,
        member: &MemberId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Queued>, StoreError> {
        self.all(
            "SELECT outbox.message, outbox.seq, message.message_id, outbox.frame IS NOT NULL
             FROM outbox JOIN outbox_need USING(message) JOIN message ON message.id = outbox.message
             WHERE outbox.group_id = ?1 AND outbox_need.member_id = ?2 AND outbox.seq > ?3
             ORDER BY outbox.seq LIMIT ?4",
            (
                group.0,
                member.0,
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
        Ok(())
    }

    /// A member has these of our own stream. Returns the messages whose state changed, and whether all have them.
    pub(crate) fn acknowledge(
        &self,
        group: &GroupId,
        member: &MemberId,
        ranges: &Ranges,
    ) -> Result<Vec<(MessageId, bool)>, StoreError> {
        let mut changed = Vec::new();
        for range in ranges.as_slice() {
            // Numbers beyond SQLite's were never issued.
            let (Ok(first), last) = (to_sql(range.first), to_sql(range.last).unwrap_or(i64::MAX)) else {
                continue;
            };
            let rows = self.all(
                "SELECT outbox.message, message.message_id
                 FROM outbox JOIN outbox_need USING(message) JOIN message ON message.id = outbox.message
                 WHERE outbox.group_id = ?1 AND outbox.seq BETWEEN ?2 AND ?3 AND outbox_need.member_id = ?4
                 ORDER BY outbox.seq",
                (group.0, first, last, member.0),
                |row| Ok((row.get::<_, i64>(0)?, MessageId(blob(row, 1)?))),
            )?;
            for (row, id) in rows {
                changed.push((id, self.acknowledge_one(row, member)?));
            }
        }
        Ok(changed)
    }

    /// Returns whether that was the last recipient.
    fn acknowledge_one(&self, row: i64, member: &MemberId) -> Result<bool, StoreError> {
        self.write(
            "outbox.ack",
            "DELETE FROM outbox_need WHERE message = ?1 AND member_id = ?2",
            (row, member.0),
        )?;
        let done = self.write(
            "outbox.done",
            "DELETE FROM outbox WHERE message = ?1 AND NOT EXISTS(SELECT 1 FROM outbox_need WHERE message = ?1)",
            [row],
        )?;
        Ok(done > 0)
    }
}
