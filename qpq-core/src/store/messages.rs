//! The history, and which messages of each stream we have.

use super::{Store, StoreError, blob, from_sql, to_sql};
use crate::{
    content::Body,
    delivery::{Range, Ranges},
    id::{GroupId, MemberId, MessageId, PeerId, StreamId},
    time::Now,
    wire::StreamRanges,
};

/// `message.kind` of a text.
pub(super) const KIND_TEXT: i64 = 0;
/// `message.kind` of content of a later version.
const KIND_LATER: i64 = 1;
/// `message.kind` of a line of our own about the chat; its body is [`Notice::code`].
pub(super) const KIND_NOTICE: i64 = 2;

/// A line in a chat that nobody wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A new group took the place of one whose state was lost.
    NewGroup,
    /// The other one has a new key, which the user took for theirs.
    NewKey,
}

impl Notice {
    const ALL: [Self; 2] = [Self::NewGroup, Self::NewKey];

    /// As people read it.
    pub fn text(self) -> &'static str {
        match self {
            Self::NewGroup => "conversation set up again",
            Self::NewKey => "new key, taken for the same person",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::NewGroup => 1,
            Self::NewKey => 2,
        }
    }

    /// `None`: of a later version.
    pub(super) fn from_body(body: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|notice| body == [notice.code()])
    }
}

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
            "INSERT INTO message(chat, message_id, sender, stream, seq, sent_at, stored_at, own, kind, body, late)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,
                    EXISTS(SELECT 1 FROM message WHERE chat = ?1 AND sender = ?3 AND stream = ?4 AND seq > ?5))
             ON CONFLICT DO NOTHING",
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

    /// What an own message of a chat says, if there is one under this id.
    pub(crate) fn own_body(&self, chat: i64, id: &MessageId) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT body FROM message WHERE message_id = ?1 AND chat = ?2 AND own";
        self.one(sql, (id.0, chat), |row| row.get(0))
    }

    /// Appends a line of our own to a chat and returns its row.
    pub(crate) fn add_notice(&self, chat: i64, notice: Notice, now: Now) -> Result<i64, StoreError> {
        let random = self.one("SELECT randomblob(10)", [], |row| blob(row, 0))?;
        let id = MessageId::new(now.unix_ms, random.unwrap_or_default());
        // No member's stream has a number 0 or a name of this length.
        self.write(
            "message.notice",
            "INSERT INTO message(chat, message_id, sender, stream, seq, sent_at, stored_at, own, kind, body)
             VALUES(?1, ?2, (SELECT peer FROM chat WHERE id = ?1), ?2, 0, ?3, ?3, 1, ?4, ?5)",
            (chat, id.0, now.unix_ms, KIND_NOTICE, [notice.code()]),
        )?;
        Ok(self.connection.last_insert_rowid())
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

    /// Streams of which something is missing below what we have.
    pub(crate) fn torn_streams(&self) -> Result<Vec<(GroupId, MemberId, StreamId)>, StoreError> {
        self.all(
            "SELECT group_id, member_id, stream FROM seen GROUP BY group_id, member_id, stream
             HAVING count(*) > 1 OR min(first) > 1",
            [],
            |row| {
                Ok((
                    GroupId(blob(row, 0)?),
                    MemberId(blob(row, 1)?),
                    StreamId(blob(row, 2)?),
                ))
            },
        )
    }

    /// Gaps of a stream below this number were told to the user.
    pub(crate) fn told_to(
        &self,
        group: &GroupId,
        member: &MemberId,
        stream: &StreamId,
    ) -> Result<u64, StoreError> {
        let sql = "SELECT told_to FROM gap WHERE group_id = ?1 AND member_id = ?2 AND stream = ?3";
        let told = self.one(sql, (group.0, member.0, stream.0), |row| row.get(0))?;
        Ok(told.map_or(0, from_sql))
    }

    pub(crate) fn put_told_to(
        &self,
        group: &GroupId,
        member: &MemberId,
        stream: &StreamId,
        told_to: u64,
    ) -> Result<(), StoreError> {
        self.write(
            "gap.told",
            "INSERT INTO gap(group_id, member_id, stream, told_to) VALUES(?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET told_to = max(told_to, excluded.told_to)",
            (group.0, member.0, stream.0, to_sql(told_to)?),
        )?;
        Ok(())
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
