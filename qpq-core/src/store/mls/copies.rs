//! Copies of a group's rows of openmls, by epoch, and states of a group that are thrown away after use.
//!
//! Only what is kept under the id of the group is copied: KeyPackages, PSKs and signature keys are not, and what was
//! consumed of them never comes back with an older state.

use openmls::group::GroupId as MlsGroupId;
use openmls_traits::storage::CURRENT_VERSION;

use super::write_back;
use crate::{
    id::{EpochId, GroupId},
    store::{Store, StoreError},
};

/// Each table, with the columns of its key beside the group's, and of its value.
const COPY: &str = "INSERT INTO mls_copy(group_id, epoch_id, source, name, leaf, provider_version, value)
    SELECT ?1, ?2, 0, data_type, 0, provider_version, group_data FROM openmls_group_data WHERE group_id = ?3
    UNION ALL SELECT ?1, ?2, 1, epoch_id, leaf_index, provider_version, key_pairs
      FROM openmls_epoch_keys_pairs WHERE group_id = ?3
    UNION ALL SELECT ?1, ?2, 2, id, 0, provider_version, leaf_node FROM openmls_own_leaf_nodes WHERE group_id = ?3
    UNION ALL SELECT ?1, ?2, 3, proposal_ref, 0, provider_version, proposal
      FROM openmls_proposals WHERE group_id = ?3";
const PUT_BACK: [&str; 4] = [
    "INSERT INTO openmls_group_data(provider_version, group_id, data_type, group_data)
       SELECT provider_version, ?3, name, value FROM mls_copy WHERE group_id = ?1 AND epoch_id = ?2 AND source = 0",
    "INSERT INTO openmls_epoch_keys_pairs(provider_version, group_id, epoch_id, leaf_index, key_pairs)
       SELECT provider_version, ?3, name, leaf, value FROM mls_copy
       WHERE group_id = ?1 AND epoch_id = ?2 AND source = 1",
    "INSERT INTO openmls_own_leaf_nodes(provider_version, group_id, leaf_node)
       SELECT provider_version, ?3, value FROM mls_copy WHERE group_id = ?1 AND epoch_id = ?2 AND source = 2
       ORDER BY name",
    "INSERT INTO openmls_proposals(provider_version, group_id, proposal_ref, proposal)
       SELECT provider_version, ?3, name, value FROM mls_copy WHERE group_id = ?1 AND epoch_id = ?2 AND source = 3",
];
const DELETE: [&str; 4] = [
    "DELETE FROM openmls_group_data WHERE group_id = ?1",
    "DELETE FROM openmls_epoch_keys_pairs WHERE group_id = ?1",
    "DELETE FROM openmls_own_leaf_nodes WHERE group_id = ?1",
    "DELETE FROM openmls_proposals WHERE group_id = ?1",
];

impl Store {
    /// Copies a group's rows under the name of the epoch they stand in, in place of an earlier copy.
    pub(crate) fn copy_mls(&self, group: &GroupId, epoch: &EpochId) -> Result<(), StoreError> {
        self.drop_mls_copy(group, epoch)?;
        let key = key(group)?;
        self.write("mls.copy", COPY, (group.0, epoch.0, &key))?;
        // What waits for the commit is newer than its row.
        match self.waiting.borrow().waiting(&key) {
            None => {}
            Some(None) => {
                let sql = "DELETE FROM mls_copy
                           WHERE group_id = ?1 AND epoch_id = ?2 AND source = 0 AND name = 'message_secrets'";
                self.write("mls.copy", sql, (group.0, epoch.0))?;
            }
            Some(Some(secrets)) => {
                let sql = "INSERT INTO mls_copy VALUES(?1, ?2, 0, 'message_secrets', 0, ?3, ?4)
                           ON CONFLICT DO UPDATE SET value = excluded.value";
                let row = (group.0, epoch.0, CURRENT_VERSION, secrets.as_slice());
                self.write("mls.copy", sql, row)?;
            }
        }
        Ok(())
    }

    /// Puts the copy of an epoch in the place of a group's rows, and keeps the copy; `false`: there is none, and
    /// nothing changed.
    pub(crate) fn put_mls_back(&self, group: &GroupId, epoch: &EpochId) -> Result<bool, StoreError> {
        if !self.has_mls_copy(group, epoch)? {
            return Ok(false);
        }
        self.drop_mls(group)?;
        let key = key(group)?;
        for sql in PUT_BACK {
            self.write("mls.restore", sql, (group.0, epoch.0, &key))?;
        }
        self.waiting.borrow_mut().forget(key);
        Ok(true)
    }

    /// Deletes the copy of an epoch.
    pub(crate) fn drop_mls_copy(&self, group: &GroupId, epoch: &EpochId) -> Result<(), StoreError> {
        let sql = "DELETE FROM mls_copy WHERE group_id = ?1 AND epoch_id = ?2";
        self.write("mls.forget", sql, (group.0, epoch.0))?;
        Ok(())
    }

    /// Deletes the copies of all epochs of a group.
    pub(crate) fn drop_mls_copies(&self, group: &GroupId) -> Result<(), StoreError> {
        self.write(
            "mls.delete",
            "DELETE FROM mls_copy WHERE group_id = ?1",
            [group.0],
        )?;
        Ok(())
    }

    /// Deletes a group's rows: whatever epoch and leaf they are of, which openmls does not when one state of a group
    /// replaces another.
    pub(crate) fn drop_mls(&self, group: &GroupId) -> Result<(), StoreError> {
        let key = key(group)?;
        for sql in DELETE {
            self.write("mls.delete", sql, [&key])?;
        }
        self.waiting.borrow_mut().forget(key);
        Ok(())
    }

    /// Runs what reads a state by changing it, and takes back whatever it wrote.
    pub(crate) fn on_scratch<T, E: From<StoreError>>(
        &self,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        self.open_scratch()?;
        let answer = read();
        self.undo_scratch()?;
        answer
    }

    /// Runs what may come to nothing: `None` and an error take back whatever it wrote.
    pub(crate) fn attempt<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        self.open_scratch()?;
        let answer = work();
        if let Ok(Some(_)) = answer {
            self.run("RELEASE scratch")?;
            self.waiting.borrow_mut().release();
        } else {
            self.undo_scratch()?;
        }
        answer
    }

    fn open_scratch(&self) -> Result<(), StoreError> {
        self.run("SAVEPOINT scratch")?;
        self.waiting.borrow_mut().savepoint();
        Ok(())
    }

    fn undo_scratch(&self) -> Result<(), StoreError> {
        self.waiting.borrow_mut().undo();
        self.run("ROLLBACK TO scratch")?;
        self.run("RELEASE scratch")
    }

    fn has_mls_copy(&self, group: &GroupId, epoch: &EpochId) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS(SELECT 1 FROM mls_copy WHERE group_id = ?1 AND epoch_id = ?2)";
        Ok(self.one(sql, (group.0, epoch.0), |row| row.get(0))? == Some(true))
    }
}

/// The group's key in openmls's tables.
fn key(group: &GroupId) -> Result<Vec<u8>, StoreError> {
    Ok(write_back::bytes(&MlsGroupId::from_slice(&group.0))?)
}
