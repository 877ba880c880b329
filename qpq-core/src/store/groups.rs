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
    /// Its MLS state is gone on one side at least: messages wait for the group that takes its place.
    pub(crate) dead: bool,
    /// The Welcome that we made was not confirmed by the other's Head.
    pub(crate) unconfirmed: bool,
    /// Repairs that were encrypted since one of them was acknowledged.
    pub(crate) ahead: u64,
}

const COLUMNS: &str =
    "SELECT group_id, chat, epoch_id, epoch, stream, next_seq, dead, welcome IS NOT NULL, ahead
    FROM grp";

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
            "INSERT INTO grp(group_id, chat, epoch_id, epoch, stream, next_seq, dead)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (
                group.id.0,
                group.chat,
                group.epoch_id.0,
                to_sql(group.epoch)?,
                group.stream.0,
                to_sql(group.next_seq)?,
                group.dead,
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

    /// Takes a group's rows away; what waits in its chat is for [`Store::requeue`].
    pub(crate) fn drop_group(&self, id: &GroupId) -> Result<(), StoreError> {
        for (point, sql) in [
            ("group.drop_seen", "DELETE FROM seen WHERE group_id = ?1"),
            ("group.drop_gaps", "DELETE FROM gap WHERE group_id = ?1"),
            ("group.drop_members", "DELETE FROM member WHERE group_id = ?1"),
            ("group.drop", "DELETE FROM grp WHERE group_id = ?1"),
        ] {
            self.write(point, sql, [id.0])?;
        }
        Ok(())
    }

    /// Notes that a group has no MLS state any more, so that its ciphertexts are of no use either.
    pub(crate) fn mark_dead(&self, id: &GroupId) -> Result<(), StoreError> {
        self.write(
            "group.dead",
            "UPDATE grp SET dead = 1, welcome = NULL WHERE group_id = ?1",
            [id.0],
        )?;
        self.write(
            "group.unseal",
            "UPDATE outbox SET frame = NULL WHERE group_id = ?1",
            [id.0],
        )?;
        Ok(())
    }

    /// Keeps the Welcome frame to a group until the other one is in it.
    pub(crate) fn put_welcome(&self, id: &GroupId, frame: &[u8]) -> Result<(), StoreError> {
        self.write(
            "group.welcome",
            "UPDATE grp SET welcome = ?2 WHERE group_id = ?1",
            (id.0, frame),
        )?;
        Ok(())
    }

    pub(crate) fn welcome(&self, id: &GroupId) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT welcome FROM grp WHERE group_id = ?1";
        Ok(self.one(sql, [id.0], |row| row.get(0))?.flatten())
    }

    /// The other one is in the group.
    pub(crate) fn end_welcome(&self, id: &GroupId) -> Result<(), StoreError> {
        self.write(
            "group.confirmed",
            "UPDATE grp SET welcome = NULL WHERE group_id = ?1",
            [id.0],
        )?;
        Ok(())
    }

    pub(crate) fn put_ahead(&self, id: &GroupId, ahead: u64) -> Result<(), StoreError> {
        self.write(
            "group.ahead",
            "UPDATE grp SET ahead = ?2 WHERE group_id = ?1",
            (id.0, to_sql(ahead)?),
        )?;
        Ok(())
    }

    /// Counts one more of our messages in the group's epoch as encrypted: goes with the ratchet that moves.
    pub(crate) fn count_seal(&self, id: &GroupId) -> Result<u64, StoreError> {
        self.write(
            "group.seal",
            "UPDATE grp SET sealed = sealed + 1 WHERE group_id = ?1",
            [id.0],
        )?;
        self.sealed(id)
    }

    /// How many of our messages were encrypted in the group's epoch.
    pub(crate) fn sealed(&self, id: &GroupId) -> Result<u64, StoreError> {
        let sql = "SELECT sealed FROM grp WHERE group_id = ?1";
        self.one(sql, [id.0], |row| row.get(0).map(from_sql))?
            .ok_or(StoreError::Corrupt("group"))
    }

    /// A message of a member was opened, which says how many it had encrypted in this epoch.
    pub(crate) fn note_opened(
        &self,
        group: &GroupId,
        member: &MemberId,
        sealed: u64,
    ) -> Result<(), StoreError> {
        self.write(
            "member.opened",
            "UPDATE member SET opened = ?3 WHERE group_id = ?1 AND member_id = ?2 AND opened < ?3",
            // What is more was never counted by anybody.
            (group.0, member.0, i64::try_from(sealed).unwrap_or(0)),
        )?;
        Ok(())
    }

    /// The highest such numbers, of members who told one.
    pub(crate) fn opened(&self, group: &GroupId) -> Result<Vec<(MemberId, u64)>, StoreError> {
        let sql = "SELECT member_id, opened FROM member WHERE group_id = ?1 AND opened > 0";
        self.all(sql, [group.0], |row| {
            Ok((MemberId(blob(row, 0)?), from_sql(row.get(1)?)))
        })
    }

    pub(crate) fn group(&self, id: &GroupId) -> Result<Option<GroupRow>, StoreError> {
        self.one(&format!("{COLUMNS} WHERE group_id = ?1"), [id.0], read_group)
    }

    /// The group of a chat, dead or alive.
    pub(crate) fn group_of_chat(&self, chat: i64) -> Result<Option<GroupRow>, StoreError> {
        self.one(&format!("{COLUMNS} WHERE chat = ?1"), [chat], read_group)
    }

    /// The group of the conversation with a contact, dead or alive.
    pub(crate) fn direct_group(&self, peer: &PeerId) -> Result<Option<GroupRow>, StoreError> {
        let sql = format!("{COLUMNS} WHERE chat = (SELECT id FROM chat WHERE peer = ?1)");
        self.one(&sql, [peer.0], read_group)
    }

    /// The live groups a peer is a member of.
    pub(crate) fn groups_with(&self, peer: &PeerId) -> Result<Vec<GroupRow>, StoreError> {
        let sql = format!(
            "{COLUMNS} WHERE NOT dead AND group_id IN (SELECT group_id FROM member WHERE peer = ?1) ORDER BY group_id"
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

    /// The next number of our own stream, where messages were moved into it.
    pub(crate) fn set_next_seq(&self, group: &GroupId, next: u64) -> Result<(), StoreError> {
        self.write(
            "group.next_seq",
            "UPDATE grp SET next_seq = ?2 WHERE group_id = ?1",
            (group.0, to_sql(next)?),
        )?;
        Ok(())
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
        dead: row.get(6)?,
        unconfirmed: row.get(7)?,
        ahead: from_sql(row.get(8)?),
    })
}
