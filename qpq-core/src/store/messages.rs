//! The history, and which messages of each stream we have.

use super::{Store, StoreError, blob, from_sql, to_sql};
use crate::{
    content::Body,
    delivery::{Range, Ranges},
    id::{GroupId, MemberId, MessageId, PeerId, StreamId},
    wire::StreamRanges,
};

/// `message.kind` of a text.
pub(super) const KIND_TEXT: i64 = 0;
/// `message.kind` of content of a later version.
const KIND_LATER: i64 = 1;

/// A message about to be stored.
pub(crate) struct NewMessage<'a> {
    pub(crate) chat: i64,
    pub(crate) id: MessageId,
    pub(crate) sender: PeerId,
    pub(crate) stream: StreamId,
    pub(crate) seq: u64,
    pub(crate) sent_at: i64,
    pub(crate) stored_at: i64,
    pub(crate) own: bool,
    pub(crate) body: &'a Body,
}

impl Store {
    /// Appends a message and returns its row, or `None` when its author used the id or the number before.
    pub(crate) fn add_message(&self, message: &NewMessage<'_>) -> Result<Option<i64>, StoreError> {
        let (kind, body) = match message.body {
            Body::Text(text) => (KIND_TEXT, text.as_bytes()),
            Body::Later(bytes) => (KIND_LATER, bytes.as_slice()),
        };
        let added = self.write(
            "message.add",
            "INSERT INTO message(chat, message_id, sender, stream, seq, sent_at, stored_at, own, kind, body)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
            (
                message.chat,
                message.id.0,
                message.sender.0,
                message.stream.0,
                to_sql(message.seq)?,
                message.sent_at,
                message.stored_at,
                message.own,
                kind,
                body,
            ),
        )?;
        Ok((added > 0).then(|| self.connection.last_insert_rowid()))
    }

    /// What we have of one stream.
    pub(crate) fn seen(
        &self,
        group: &GroupId,
        member: &MemberId,
        stream: &StreamId,
    ) -> Result<Ranges, StoreError> {
        let ranges = self.all(
            "SELECT first, last FROM seen WHERE group_id = ?1 AND member_id = ?2 AND stream = ?3 ORDER BY first",
            (group.0, member.0, stream.0),
            |row| Ok(Range { first: from_sql(row.get(0)?), last: from_sql(row.get(1)?) }),
        )?;
        Ranges::new(ranges).ok_or(StoreError::Corrupt("seen"))
    }

    /// How many streams of a member we know.
    pub(crate) fn stream_count(&self, group: &GroupId, member: &MemberId) -> Result<i64, StoreError> {
        let sql = "SELECT count(DISTINCT stream) FROM seen WHERE group_id = ?1 AND member_id = ?2";
        Ok(self.one(sql, (group.0, member.0), |row| row.get(0))?.unwrap_or(0))
    }

    /// What we have of every stream of a group.
    pub(crate) fn all_seen(&self, group: &GroupId) -> Result<Vec<StreamRanges>, StoreError> {
        let streams = self.all(
            "SELECT DISTINCT member_id, stream FROM seen WHERE group_id = ?1 ORDER BY member_id, stream",
            [group.0],
            |row| Ok((MemberId(blob(row, 0)?), StreamId(blob(row, 1)?))),
        )?;
        let each = |(member, stream)| {
            Ok(StreamRanges {
                member,
                stream,
                ranges: self.seen(group, &member, &stream)?.truncated(),
            })
        };
        streams.into_iter().map(each).collect()
    }

    /// Stores the range that a number of a stream became part of; it takes the place of those within it.
    pub(crate) fn mark_seen(
        &self,
        group: &GroupId,
        member: &MemberId,
        stream: &StreamId,
        range: Range,
    ) -> Result<(), StoreError> {
        self.write(
            "seen.join",
            "DELETE FROM seen WHERE group_id = ?1 AND member_id = ?2 AND stream = ?3 AND first > ?4 AND last <= ?5",
            (group.0, member.0, stream.0, to_sql(range.first)?, to_sql(range.last)?),
        )?;
        self.write(
            "seen.put",
            "INSERT INTO seen(group_id, member_id, stream, first, last) VALUES(?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET last = excluded.last",
            (
                group.0,
                member.0,
                stream.0,
                to_sql(range.first)?,
                to_sql(range.last)?,
            ),
        )?;
        Ok(())
    }

    /// Remembers how far the user has read in the chat of this message.
    pub(crate) fn mark_read(&self, row: i64) -> Result<(), StoreError> {
        self.write(
            "read.mark",
            "UPDATE chat SET read_to = max(read_to, ?1) WHERE id = (SELECT chat FROM message WHERE id = ?1)",
            [row],
        )?;
        Ok(())
    }
}
