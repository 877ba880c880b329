//! Chats, groups and their members.

use super::{Store, StoreError, blob, from_sql, to_sql};
use crate::id::{EpochId, GroupId, MemberId, PeerId, StreamId};

/// A group's row.
#[derive(Debug, Clone)]
pub(crate) struct GroupRow {
    pub(crate) id: GroupId,
    pub(crate) chat: i64,
    pub(crate) epoch_id: EpochId,
    pub(crate) epoch: u64,
    pub(crate) stream: StreamId,
    pub(crate) next_seq: u64,
}

const COLUMNS: &str = "SELECT group_id, chat, epoch_id, epoch, stream, next_seq FROM grp";

impl Store {
    /// The chat of a conversation of two, made where there is none yet.
    pub(crate) fn direct_chat(&self, peer: &PeerId) -> Result<i64, StoreError> {
        self.write(
            "chat.add",
            "INSERT OR IGNORE INTO chat(peer) VALUES(?1)",
            [peer.0],
        )?;
        self.one("SELECT id FROM chat WHERE peer = ?1", [peer.0], |row| row.get(0))?
            .ok_or(StoreError::Corrupt("chat"))
    }

    pub(crate) fn add_group(
        &self,
        group: &GroupRow,
        members: &[(MemberId, PeerId)],
    ) -> Result<(), StoreError> {
        self.write(
            "group.add",
            "INSERT INTO grp(group_id, chat, epoch_id, epoch, stream, next_seq) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
            (
                group.id.0,
                group.chat,
                group.epoch_id.0,
                to_sql(group.epoch)?,
                group.stream.0,
                to_sql(group.next_seq)?,
            ),
        )?;
        for (member, peer) in members {
            self.write(
                "member.add",
                "INSERT INTO member(group_id, member_id, peer) VALUES(?1, ?2, ?3)",
                (group.id.0, member.0, peer.0),
            )?;
        }
        Ok(())
    }

    /// Takes a group's rows away; its queued messages wait for `new`, to be encrypted there.
    pub(crate) fn replace_group(&self, old: &GroupId, new: &GroupId) -> Result<(), StoreError> {
        self.write(
            "group.move_outbox",
            "UPDATE outbox SET group_id = ?2, frame = NULL WHERE group_id = ?1",
            (old.0, new.0),
        )?;
        for (point, sql) in [
            ("group.drop_seen", "DELETE FROM seen WHERE group_id = ?1"),
            ("group.drop_members", "DELETE FROM member WHERE group_id = ?1"),
            ("group.drop", "DELETE FROM grp WHERE group_id = ?1"),
        ] {
            self.write(point, sql, [old.0])?;
        }
        Ok(())
    }

    pub(crate) fn group(&self, id: &GroupId) -> Result<Option<GroupRow>, StoreError> {
        self.one(&format!("{COLUMNS} WHERE group_id = ?1"), [id.0], read_group)
    }

    /// The live group of a chat.
    pub(crate) fn group_of_chat(&self, chat: i64) -> Result<Option<GroupRow>, StoreError> {
        self.one(&format!("{COLUMNS} WHERE chat = ?1"), [chat], read_group)
    }

    /// The groups a peer is a member of.
    pub(crate) fn groups_with(&self, peer: &PeerId) -> Result<Vec<GroupRow>, StoreError> {
        let sql = format!(
            "{COLUMNS} WHERE group_id IN (SELECT group_id FROM member WHERE peer = ?1) ORDER BY group_id"
        );
        self.all(&sql, [peer.0], read_group)
    }

    /// The roster as (member, peer), ourselves included.
    pub(crate) fn members(&self, group: &GroupId) -> Result<Vec<(MemberId, PeerId)>, StoreError> {
        self.all(
            "SELECT member_id, peer FROM member WHERE group_id = ?1",
            [group.0],
            |row| Ok((MemberId(blob(row, 0)?), PeerId(blob(row, 1)?))),
        )
    }

    /// Who a member is, or `None` when there is no such member.
    pub(crate) fn member(&self, group: &GroupId, member: &MemberId) -> Result<Option<PeerId>, StoreError> {
        let sql = "SELECT peer FROM member WHERE group_id = ?1 AND member_id = ?2";
        self.one(sql, (group.0, member.0), |row| blob(row, 0).map(PeerId))
    }

    /// Takes the next number of our own stream.
    pub(crate) fn take_seq(&self, group: &GroupId) -> Result<u64, StoreError> {
        let sql = "SELECT next_seq FROM grp WHERE group_id = ?1";
        let seq = self
            .one(sql, [group.0], |row| row.get::<_, i64>(0))?
            .ok_or(StoreError::Corrupt("group"))?;
        self.write(
            "group.seq",
            "UPDATE grp SET next_seq = next_seq + 1 WHERE group_id = ?1",
            [group.0],
        )?;
        Ok(from_sql(seq))
    }
}

fn read_group(row: &rusqlite::Row<'_>) -> rusqlite::Result<GroupRow> {
    Ok(GroupRow {
        id: GroupId(blob(row, 0)?),
        chat: row.get(1)?,
        epoch_id: EpochId(blob(row, 2)?),
        epoch: from_sql(row.get(3)?),
        stream: StreamId(blob(row, 4)?),
        next_seq: from_sql(row.get(5)?),
    })
}
