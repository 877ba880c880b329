//! A member of a group without a peer around it, for the tests and benchmarks of this crate. *Danger*: its database
//! is on no disk, and its cryptography is whatever the caller gives, so that with a seeded one nothing is secret.
#![doc(hidden)]

use rusqlite::types::Value;

pub use super::GroupError;
use super::{Live, State};
pub use crate::store::{Primitives, StoreError};
use crate::{
    consensus::mls::{Change, Epoch, Judgement, Mls, Opened, Package, Staged},
    content::GroupData,
    id::{EpochId, GroupId, PeerId},
    identity::{Context, Identity},
    store::Store,
};

/// One member with one group. A transaction begins with the first call and ends with `commit` or `roll_back`.
pub struct Member {
    store: Store,
    identity: Identity,
    id: GroupId,
    live: Option<Live>,
}

/// The cryptography of a peer: nothing dangerous, for benchmarks.
pub fn of_a_peer() -> Box<dyn Primitives> {
    crate::store::system_primitives()
}

/// All rows of all tables of a database.
#[derive(Clone, PartialEq)]
pub struct Disk(pub Vec<(String, Vec<Vec<Value>>)>);

impl std::fmt::Debug for Disk {
    /// Rows are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Member {
    /// With a new database.
    ///
    /// # Errors
    /// The database could not be made.
    pub fn new(identity: Identity, id: GroupId, crypto: Box<dyn Primitives>) -> Result<Self, StoreError> {
        Ok(Self {
            store: Store::dangerous_in_memory(crypto)?,
            identity,
            id,
            live: None,
        })
    }

    /// With a new database that holds what another one held.
    ///
    /// # Errors
    /// The database could not be made.
    pub fn from_disk(
        identity: Identity,
        id: GroupId,
        crypto: Box<dyn Primitives>,
        disk: &Disk,
    ) -> Result<Self, GroupError> {
        let mut member = Self::new(identity, id, crypto)?;
        member.store.put_all_rows(&disk.0)?;
        member.live = State::load(&member.store, &member.identity, id)?.into_live();
        Ok(member)
    }

    /// All that was written, committed or not.
    ///
    /// # Errors
    /// The database failed.
    pub fn disk(&self) -> Result<Disk, StoreError> {
        Ok(Disk(self.store.all_rows()?))
    }

    /// Makes durable what was done.
    ///
    /// # Errors
    /// The database failed.
    pub fn commit(&self) -> Result<(), StoreError> {
        self.store.commit()
    }

    /// Takes back what was done since the last `commit`, and loads what is there then, as after a crash.
    ///
    /// # Errors
    /// The database failed.
    pub fn roll_back(&mut self) -> Result<(), GroupError> {
        self.live = None;
        self.store.roll_back()?;
        self.live = State::load(&self.store, &self.identity, self.id)?.into_live();
        Ok(())
    }

    /// Takes back what a step wrote, as the engine does with one that failed.
    ///
    /// # Errors
    /// That of the step, or the database failed.
    pub fn undo<T>(&mut self, step: impl FnOnce(&mut Self) -> T) -> Result<T, GroupError> {
        self.store.begin()?;
        self.store.savepoint()?;
        let answer = step(self);
        self.store.undo()?;
        self.live = State::load(&self.store, &self.identity, self.id)?.into_live();
        Ok(answer)
    }

    /// Keeps what a step wrote if it gives something, else takes it back.
    ///
    /// # Errors
    /// The database failed.
    pub fn attempt<T>(&mut self, step: impl FnOnce(&mut Self) -> Option<T>) -> Result<Option<T>, GroupError> {
        self.store.begin()?;
        self.store.savepoint()?;
        let answer = step(self);
        if answer.is_some() {
            self.store.release()?;
        } else {
            self.store.undo()?;
            self.live = State::load(&self.store, &self.identity, self.id)?.into_live();
        }
        Ok(answer)
    }

    /// The leaves that the pending Commit removes, in its order: openmls leaves that to the hash map of the moment.
    pub fn pending_removes(&self) -> Vec<u32> {
        let pending = self.live.as_ref().and_then(|live| live.group.pending_commit());
        let removes = pending.into_iter().flat_map(|staged| staged.remove_proposals());
        removes
            .map(|remove| remove.remove_proposal().removed().u32())
            .collect()
    }

    /// What all members of an epoch share, and nobody else has (RFC 9420 §8.7).
    pub fn epoch_authenticator(&self) -> Option<Vec<u8>> {
        let live = self.live.as_ref()?;
        Some(live.group.epoch_authenticator().as_slice().to_vec())
    }

    fn step<T>(
        &mut self,
        step: impl FnOnce(&mut State<'_>) -> Result<T, GroupError>,
    ) -> Result<T, GroupError> {
        self.store.begin()?;
        let mut state = State::resume(&self.store, &self.identity, self.id, self.live.take());
        let answer = step(&mut state);
        self.live = state.into_live();
        answer
    }
}

impl Mls for Member {
    type Error = GroupError;

    fn own(&self) -> PeerId {
        self.identity.peer_id()
    }

    fn epoch(&self) -> Option<&Epoch> {
        self.live.as_ref().map(|live| &live.epoch)
    }

    fn create(&mut self, data: &GroupData) -> Result<(), GroupError> {
        self.step(|state| state.create(data))
    }

    fn key_package(&mut self) -> Result<Vec<u8>, GroupError> {
        self.step(|state| state.key_package())
    }

    fn forget_key_package(&mut self, bytes: &[u8]) -> Result<(), GroupError> {
        self.step(|state| state.forget_key_package(bytes))
    }

    fn read_key_package(&self, bytes: &[u8]) -> Option<Package> {
        State::resume(&self.store, &self.identity, self.id, None).read_key_package(bytes)
    }

    fn stage(&mut self, change: &Change, aad: &[u8]) -> Result<Option<Staged>, GroupError> {
        self.step(|state| state.stage(change, aad))
    }

    fn merge_pending(&mut self) -> Result<(), GroupError> {
        self.step(|state| state.merge_pending())
    }

    fn judge(&mut self, parent: &EpochId, commit: &[u8]) -> Result<Judgement, GroupError> {
        self.step(|state| state.judge(parent, commit))
    }

    fn apply(&mut self, commit: &[u8]) -> Result<(), GroupError> {
        self.step(|state| state.apply(commit))
    }

    fn join(&mut self, welcome: &[u8], accept: &dyn Fn(&Epoch) -> bool) -> Result<bool, GroupError> {
        self.step(|state| state.join(welcome, accept))
    }

    fn abandon(&mut self) -> Result<(), GroupError> {
        self.step(|state| state.abandon())
    }

    fn snapshot(&mut self) -> Result<(), GroupError> {
        self.step(|state| state.snapshot())
    }

    fn restore(&mut self, epoch: &EpochId) -> Result<(), GroupError> {
        self.step(|state| state.restore(epoch))
    }

    fn forget(&mut self, epoch: &EpochId) -> Result<(), GroupError> {
        self.step(|state| state.forget(epoch))
    }

    fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, GroupError> {
        self.step(|state| state.seal(aad, plaintext))
    }

    fn open(&mut self, epoch: &EpochId, message: &[u8]) -> Result<Option<Opened>, GroupError> {
        self.step(|state| state.open(epoch, message))
    }

    fn sign(&self, context: Context, parts: &[&[u8]]) -> [u8; 64] {
        self.identity.sign(context, parts)
    }

    fn verify(&self, signer: &PeerId, context: Context, parts: &[&[u8]], signature: &[u8; 64]) -> bool {
        signer.verify(context, parts, signature).is_ok()
    }
}
