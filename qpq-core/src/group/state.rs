//! A group as the rule of [`crate::consensus`] needs it: its live state in openmls's tables, copies of it by epoch.
//!
//! Everything happens in the transaction that is open on the engine's connection. What may come to nothing, and what
//! reads a state by changing it, has a savepoint of its own.

mod commit;
mod roster;

use commit::Processed;
use openmls::prelude::{
    tls_codec::{Deserialize as _, Serialize as _},
    *,
};

use super::{
    CIPHERSUITE, GroupError, create_config, credential, join_config, key_package, load, mls, new_key_package,
    storage,
};
use crate::{
    consensus::mls::{Change, Epoch, Judgement, Mls, Opened, Package, Staged},
    content::GroupData,
    failpoint::At,
    id::{EpochId, GroupId, PeerId},
    identity::{Context, Identity},
    store::{Provider, Store, StoreError},
};

/// One member's view of one group, borrowed for one step of the engine.
pub(crate) struct State<'a> {
    store: &'a Store,
    identity: &'a Identity,
    id: GroupId,
    live: Option<Live>,
}

/// The live state in memory, as its rows have it: whoever rolls the transaction back must drop it.
pub(crate) struct Live {
    pub(super) group: MlsGroup,
    pub(super) epoch: Epoch,
}

impl<'a> State<'a> {
    /// Reads the live state.
    pub(crate) fn load(store: &'a Store, identity: &'a Identity, id: GroupId) -> Result<Self, GroupError> {
        let mut state = Self::resume(store, identity, id, None);
        let found = MlsGroup::load(state.provider().storage(), &state.mls_id()).map_err(storage)?;
        state.live = found.map(|group| state.live(group)).transpose()?;
        Ok(state)
    }

    /// Goes on with a live state that [`Self::into_live`] gave; nothing may have been rolled back since.
    pub(crate) fn resume(store: &'a Store, identity: &'a Identity, id: GroupId, live: Option<Live>) -> Self {
        Self {
            store,
            identity,
            id,
            live,
        }
    }

    /// The live state, to spare the next step the reading.
    pub(crate) fn into_live(self) -> Option<Live> {
        self.live
    }

    fn provider(&self) -> Provider<'a> {
        self.store.provider()
    }

    fn mls_id(&self) -> openmls::group::GroupId {
        openmls::group::GroupId::from_slice(&self.id.0)
    }

    fn live(&self, group: MlsGroup) -> Result<Live, GroupError> {
        let epoch = roster::epoch(&self.provider(), &group)?;
        Ok(Live { group, epoch })
    }

    fn take_live(&mut self) -> Result<MlsGroup, GroupError> {
        let live = self.live.take().ok_or_else(no_group)?;
        Ok(live.group)
    }

    /// Another instance of the state of an epoch, for use on scratch: what happens to it and to the rows is undone.
    fn scratch_of(&self, epoch: &EpochId) -> Result<MlsGroup, GroupError> {
        let is_live = self.epoch().is_some_and(|live| live.id == *epoch);
        if !is_live && !self.store.put_mls_back(&self.id, epoch)? {
            return Err(no_copy());
        }
        load(&self.provider(), &self.id)
    }

    /// Joins if all is as it should be; `None`: what was consumed comes back with the savepoint.
    fn try_join(&self, bytes: &[u8], accept: &dyn Fn(&Epoch) -> bool) -> Result<Option<Live>, GroupError> {
        let _at = At::point("mls.join");
        let provider = self.provider();
        // `replace_old_group` leaves the old group's keys of other epochs and leaves behind.
        self.store.drop_mls(&self.id)?;
        let Some(staged) = stage_welcome(&provider, self.mls_id(), bytes) else {
            return checked(&provider).map(|()| None);
        };
        let is_whole = staged.members().all(|member| roster::leaf(&member).is_some())
            && roster::is_ours(staged.group_context());
        let Some(group) = is_whole.then(|| staged.into_group(&provider).ok()).flatten() else {
            return checked(&provider).map(|()| None);
        };
        let live = self.live(group)?;
        Ok(accept(&live.epoch).then_some(live))
    }
}

impl Mls for State<'_> {
    type Error = GroupError;

    fn own(&self) -> PeerId {
        self.identity.peer_id()
    }

    fn epoch(&self) -> Option<&Epoch> {
        self.live.as_ref().map(|live| &live.epoch)
    }

    fn create(&mut self, data: &GroupData) -> Result<(), GroupError> {
        let _at = At::point("mls.create");
        self.store.drop_mls(&self.id)?;
        let (provider, config) = (self.provider(), create_config(data)?);
        let own = credential(self.identity);
        let group = MlsGroup::new_with_group_id(&provider, self.identity, &config, self.mls_id(), own);
        let group = group.map_err(|error| blame(&provider, error))?;
        self.live = Some(self.live(group)?);
        Ok(())
    }

    fn key_package(&mut self) -> Result<Vec<u8>, GroupError> {
        Ok(new_key_package(&self.provider(), self.identity)?.1)
    }

    fn forget_key_package(&mut self, bytes: &[u8]) -> Result<(), GroupError> {
        let provider = self.provider();
        let Ok(package) = key_package::validate_key_package(&provider, bytes) else {
            return Ok(());
        };
        let reference = package.hash_ref(provider.crypto()).map_err(mls)?;
        super::delete_key_package(&provider, &reference.tls_serialize_detached().map_err(mls)?)
    }

    fn read_key_package(&self, bytes: &[u8]) -> Option<Package> {
        let provider = self.provider();
        let package = key_package::validate_key_package(&provider, bytes).ok()?;
        commit::read_package(&provider, &package)
    }

    fn stage(&mut self, change: &Change, aad: &[u8]) -> Result<Option<Staged>, GroupError> {
        let _at = At::point("mls.stage");
        let (provider, signer) = (self.provider(), self.identity);
        let live = self.live.as_mut().ok_or_else(no_group)?;
        self.store
            .attempt(|| commit::stage(&provider, signer, &mut live.group, change, aad))
    }

    fn merge_pending(&mut self) -> Result<(), GroupError> {
        let _at = At::point("mls.merge");
        let mut group = self.take_live()?;
        if group.pending_commit().is_none() {
            return Err(mls("no Commit is pending"));
        }
        let provider = self.provider();
        let merged = group.merge_pending_commit(&provider);
        merged.map_err(|error| blame(&provider, error))?;
        self.live = Some(self.live(group)?);
        Ok(())
    }

    /// [`Judgement::Own`] is all that the sender data says (RFC 9420 §6.3.2): any member of the epoch can have written
    /// it. openmls looks no further, because the ratchet of our own leaf only encrypts. The rule never asks for a
    /// Commit that it knows to have made, so one of these is of a life whose disk is gone, or a forgery.
    fn judge(&mut self, parent: &EpochId, commit: &[u8]) -> Result<Judgement, GroupError> {
        let _at = At::point("mls.judge");
        self.store.on_scratch(|| {
            let provider = self.provider();
            let mut group = self.scratch_of(parent)?;
            Ok(match commit::process(&provider, &mut group, commit)? {
                Processed::Valid(found) => {
                    commit::read(&provider, &group, &found).map_or(Judgement::Invalid, Judgement::Valid)
                }
                Processed::Invalid => Judgement::Invalid,
                Processed::Own => Judgement::Own,
            })
        })
    }

    fn apply(&mut self, commit: &[u8]) -> Result<(), GroupError> {
        let _at = At::point("mls.apply");
        let provider = self.provider();
        let mut group = self.take_live()?;
        let Processed::Valid(found) = commit::process(&provider, &mut group, commit)? else {
            return Err(mls("a Commit that was not judged to be valid"));
        };
        if found.staged.self_removed() {
            // openmls would keep the secrets of the epoch that we were removed from.
            return Ok(self.store.drop_mls(&self.id)?);
        }
        let merged = group.merge_staged_commit(&provider, found.staged);
        merged.map_err(|error| blame(&provider, error))?;
        self.live = Some(self.live(group)?);
        Ok(())
    }

    fn join(&mut self, welcome: &[u8], accept: &dyn Fn(&Epoch) -> bool) -> Result<bool, GroupError> {
        let joined = self.store.attempt(|| self.try_join(welcome, accept))?;
        let is_joined = joined.is_some();
        if is_joined {
            self.live = joined;
        }
        Ok(is_joined)
    }

    fn abandon(&mut self) -> Result<(), GroupError> {
        self.live = None;
        Ok(self.store.drop_mls(&self.id)?)
    }

    fn snapshot(&mut self) -> Result<(), GroupError> {
        let epoch = self.epoch().ok_or_else(no_group)?.id;
        Ok(self.store.copy_mls(&self.id, &epoch)?)
    }

    fn restore(&mut self, epoch: &EpochId) -> Result<(), GroupError> {
        self.live = None;
        if !self.store.put_mls_back(&self.id, epoch)? {
            return Err(no_copy());
        }
        self.store.drop_mls_copy(&self.id, epoch)?;
        let live = self.live(load(&self.provider(), &self.id)?)?;
        if live.epoch.id != *epoch {
            return Err(StoreError::Corrupt("copy of an epoch under the name of another").into());
        }
        self.live = Some(live);
        Ok(())
    }

    fn forget(&mut self, epoch: &EpochId) -> Result<(), GroupError> {
        Ok(self.store.drop_mls_copy(&self.id, epoch)?)
    }

    fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, GroupError> {
        let (provider, signer) = (self.provider(), self.identity);
        let live = self.live.as_mut().ok_or_else(no_group)?;
        live.group.set_aad(aad.to_vec());
        let message = live.group.create_message(&provider, signer, plaintext);
        let message = message.map_err(|error| blame(&provider, error))?;
        message.tls_serialize_detached().map_err(mls)
    }

    fn open(&mut self, epoch: &EpochId, message: &[u8]) -> Result<Option<Opened>, GroupError> {
        let provider = self.provider();
        if let Some(live) = self.live.as_mut().filter(|live| live.epoch.id == *epoch) {
            return roster::open(&provider, &mut live.group, message);
        }
        self.store.on_scratch(|| {
            let mut group = self.scratch_of(epoch)?;
            roster::open(&provider, &mut group, message)
        })
    }

    fn sign(&self, context: Context, parts: &[&[u8]]) -> [u8; 64] {
        self.identity.sign(context, parts)
    }

    fn verify(&self, signer: &PeerId, context: Context, parts: &[&[u8]], signature: &[u8; 64]) -> bool {
        signer.verify(context, parts, signature).is_ok()
    }
}

/// A Welcome into this group that openmls has no objection to.
fn stage_welcome(
    provider: &Provider<'_>,
    id: openmls::group::GroupId,
    bytes: &[u8],
) -> Option<StagedWelcome> {
    let message = MlsMessageIn::tls_deserialize_exact(bytes).ok()?;
    let MlsMessageBodyIn::Welcome(welcome) = message.extract() else {
        return None;
    };
    let processed = ProcessedWelcome::new_from_welcome(provider, &join_config(), welcome).ok()?;
    let info = processed.unverified_group_info();
    if *info.group_id() != id || info.ciphersuite() != CIPHERSUITE {
        return None;
    }
    JoinBuilder::new(provider, processed)
        .replace_old_group()
        .skip_lifetime_validation()
        .build()
        .ok()
}

/// What openmls refused was no good, unless it was our own storage that failed.
fn checked(provider: &Provider<'_>) -> Result<(), GroupError> {
    provider
        .storage()
        .failure()
        .map_or(Ok(()), |failure| Err(failure.into()))
}

/// Why openmls refused what must not be refused.
fn blame(provider: &Provider<'_>, error: impl std::fmt::Display) -> GroupError {
    checked(provider).err().unwrap_or_else(|| mls(error))
}

fn no_group() -> GroupError {
    mls("there is no live state")
}

fn no_copy() -> GroupError {
    StoreError::Corrupt("no copy of this epoch").into()
}

#[cfg(test)]
mod tests;
