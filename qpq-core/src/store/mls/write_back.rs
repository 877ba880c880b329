//! What openmls rewrites for every message, the secrets of its group, goes to the database once per commit.
//!
//! openmls stores the message secrets (RFC 9420 §9) after each message it seals or opens, under the same key. All
//! that happens in one transaction, of which only the last state can ever be read again: so it waits here, as bytes,
//! and is written right before the commit. What a savepoint takes back is taken back here as well.

use std::{cell::RefCell, collections::BTreeMap};

use openmls_sqlite_storage::{Codec as _, SqliteStorageProvider};
use openmls_traits::storage::{CURRENT_VERSION, StorageProvider, traits};
use rusqlite::Connection;
use zeroize::Zeroizing;

use super::Json;
use crate::store::StoreError;

/// Message secrets as they are stored; `None`: deleted.
type Secrets = Option<Zeroizing<Vec<u8>>>;

/// What one savepoint replaced, the first state of each; `None`: nothing waited.
type Replaced = BTreeMap<Vec<u8>, Option<Secrets>>;

/// The resumption PSKs (RFC 9420 §8.6) of a group that keeps none, as openmls writes them.
const NO_RESUMPTION_PSKS: &[u8] = br#"{"max_number_of_secrets":0,"resumption_psk":[],"cursor":0}"#;

/// What waits for the commit, by the key of the group.
#[derive(Default)]
pub(in crate::store) struct Waiting {
    secrets: BTreeMap<Vec<u8>, Secrets>,
    /// One for each savepoint that is open, the innermost last.
    replaced: Vec<Replaced>,
}

impl Waiting {
    /// A savepoint opens.
    pub(in crate::store) fn savepoint(&mut self) {
        self.replaced.push(Replaced::new());
    }

    /// The innermost savepoint is released: what it replaced, the one around it did.
    pub(in crate::store) fn release(&mut self) {
        let inner = self.replaced.pop().unwrap_or_default();
        if let Some(outer) = self.replaced.last_mut() {
            for (key, before) in inner {
                outer.entry(key).or_insert(before);
            }
        }
    }

    /// The innermost savepoint is taken back.
    pub(in crate::store) fn undo(&mut self) {
        for (key, before) in self.replaced.pop().unwrap_or_default() {
            match before {
                Some(secrets) => self.secrets.insert(key, secrets),
                None => self.secrets.remove(&key),
            };
        }
    }

    /// What is to be written before the commit.
    pub(in crate::store) fn take(&mut self) -> BTreeMap<Vec<u8>, Secrets> {
        self.replaced.clear();
        std::mem::take(&mut self.secrets)
    }

    /// What waits for one group; `None`: nothing, its row is as new as can be.
    pub(in crate::store) fn waiting(&self, key: &[u8]) -> Option<&Secrets> {
        self.secrets.get(key)
    }

    /// The row was written past this, or deleted: nothing waits for it any more.
    pub(in crate::store) fn forget(&mut self, key: Vec<u8>) {
        let before = self.secrets.remove(&key);
        self.note(key, before);
    }

    fn put(&mut self, key: Vec<u8>, secrets: Secrets) {
        let before = self.secrets.insert(key.clone(), secrets);
        self.note(key, before);
    }

    fn note(&mut self, key: Vec<u8>, before: Option<Secrets>) {
        if let Some(replaced) = self.replaced.last_mut() {
            replaced.entry(key).or_insert(before);
        }
    }
}

/// openmls's tables, and what waits to get into them.
pub(crate) struct WriteBack<'a> {
    rows: SqliteStorageProvider<Json, &'a Connection>,
    waiting: &'a RefCell<Waiting>,
    /// openmls passes on some errors of its storage as if the message were to blame.
    failure: RefCell<Option<StoreError>>,
}

impl<'a> WriteBack<'a> {
    pub(in crate::store) fn new(connection: &'a Connection, waiting: &'a RefCell<Waiting>) -> Self {
        Self {
            rows: SqliteStorageProvider::new(connection),
            waiting,
            failure: RefCell::default(),
        }
    }

    /// What failed first since this was made: then nothing that openmls says of a message counts.
    pub(crate) fn failure(&self) -> Option<StoreError> {
        self.failure.take()
    }

    fn note<T>(&self, answer: Result<T, rusqlite::Error>) -> Result<T, rusqlite::Error> {
        if let Err(error) = &answer {
            let failure = error
                .sqlite_error()
                .map_or(StoreError::Corrupt("row of openmls"), |code| {
                    rusqlite::Error::SqliteFailure(*code, None).into()
                });
            self.failure.borrow_mut().get_or_insert(failure);
        }
        answer
    }
}

/// Functions that are those of the tables.
macro_rules! pass_on {
    ($(fn $name:ident<$($kind:ident),*>($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        fn $name<$($kind: traits::$kind<CURRENT_VERSION>),*>(
            &self,
            $($argument: $type),*
        ) -> Result<$answer, Self::Error> {
            self.note(self.rows.$name::<$($kind),*>($($argument),*))
        }
    )*};
}

impl StorageProvider<CURRENT_VERSION> for WriteBack<'_> {
    type Error = rusqlite::Error;

    fn write_message_secrets<
        GroupId: traits::GroupId<CURRENT_VERSION>,
        MessageSecrets: traits::MessageSecrets<CURRENT_VERSION>,
    >(
        &self,
        group_id: &GroupId,
        message_secrets: &MessageSecrets,
    ) -> Result<(), Self::Error> {
        let secrets = Zeroizing::new(bytes(message_secrets)?);
        self.waiting.borrow_mut().put(bytes(group_id)?, Some(secrets));
        Ok(())
    }

    fn message_secrets<
        GroupId: traits::GroupId<CURRENT_VERSION>,
        MessageSecrets: traits::MessageSecrets<CURRENT_VERSION>,
    >(
        &self,
        group_id: &GroupId,
    ) -> Result<Option<MessageSecrets>, Self::Error> {
        match self.waiting.borrow().secrets.get(&bytes(group_id)?) {
            Some(Some(secrets)) => self.note(Json::from_slice(secrets).map(Some).map_err(not_json)),
            Some(None) => Ok(None),
            None => self.note(self.rows.message_secrets(group_id)),
        }
    }

    fn delete_message_secrets<GroupId: traits::GroupId<CURRENT_VERSION>>(
        &self,
        group_id: &GroupId,
    ) -> Result<(), Self::Error> {
        self.waiting.borrow_mut().put(bytes(group_id)?, None);
        Ok(())
    }

    /// Nothing of ours resumes a group, and each of these secrets is of an epoch that may be gone. openmls keeps the
    /// last 32 for whoever made the group, whatever its settings say.
    fn write_resumption_psk_store<
        GroupId: traits::GroupId<CURRENT_VERSION>,
        ResumptionPskStore: traits::ResumptionPskStore<CURRENT_VERSION>,
    >(
        &self,
        group_id: &GroupId,
        _: &ResumptionPskStore,
    ) -> Result<(), Self::Error> {
        let none: Result<ResumptionPskStore, _> = Json::from_slice(NO_RESUMPTION_PSKS).map_err(not_json);
        let written = none.and_then(|none| self.rows.write_resumption_psk_store(group_id, &none));
        self.note(written)
    }

    pass_on! {
        fn write_mls_join_config<GroupId, MlsGroupJoinConfig>(group_id: &GroupId, config: &MlsGroupJoinConfig) -> ();
        fn append_own_leaf_node<GroupId, LeafNode>(group_id: &GroupId, leaf_node: &LeafNode) -> ();
        fn queue_proposal<GroupId, ProposalRef, QueuedProposal>(group_id: &GroupId, proposal_ref: &ProposalRef, proposal: &QueuedProposal) -> ();
        fn write_tree<GroupId, TreeSync>(group_id: &GroupId, tree: &TreeSync) -> ();
        fn write_interim_transcript_hash<GroupId, InterimTranscriptHash>(group_id: &GroupId, interim_transcript_hash: &InterimTranscriptHash) -> ();
        fn write_context<GroupId, GroupContext>(group_id: &GroupId, group_context: &GroupContext) -> ();
        fn write_confirmation_tag<GroupId, ConfirmationTag>(group_id: &GroupId, confirmation_tag: &ConfirmationTag) -> ();
        fn write_group_state<GroupState, GroupId>(group_id: &GroupId, group_state: &GroupState) -> ();
        fn write_own_leaf_index<GroupId, LeafNodeIndex>(group_id: &GroupId, own_leaf_index: &LeafNodeIndex) -> ();
        fn write_group_epoch_secrets<GroupId, GroupEpochSecrets>(group_id: &GroupId, group_epoch_secrets: &GroupEpochSecrets) -> ();
        fn write_signature_key_pair<SignaturePublicKey, SignatureKeyPair>(public_key: &SignaturePublicKey, signature_key_pair: &SignatureKeyPair) -> ();
        fn write_encryption_key_pair<EncryptionKey, HpkeKeyPair>(public_key: &EncryptionKey, key_pair: &HpkeKeyPair) -> ();
        fn write_encryption_epoch_key_pairs<GroupId, EpochKey, HpkeKeyPair>(group_id: &GroupId, epoch: &EpochKey, leaf_index: u32, key_pairs: &[HpkeKeyPair]) -> ();
        fn write_key_package<HashReference, KeyPackage>(hash_ref: &HashReference, key_package: &KeyPackage) -> ();
        fn write_psk<PskId, PskBundle>(psk_id: &PskId, psk: &PskBundle) -> ();
        fn mls_group_join_config<GroupId, MlsGroupJoinConfig>(group_id: &GroupId) -> Option<MlsGroupJoinConfig>;
        fn own_leaf_nodes<GroupId, LeafNode>(group_id: &GroupId) -> Vec<LeafNode>;
        fn queued_proposal_refs<GroupId, ProposalRef>(group_id: &GroupId) -> Vec<ProposalRef>;
        fn queued_proposals<GroupId, ProposalRef, QueuedProposal>(group_id: &GroupId) -> Vec<(ProposalRef, QueuedProposal)>;
        fn tree<GroupId, TreeSync>(group_id: &GroupId) -> Option<TreeSync>;
        fn group_context<GroupId, GroupContext>(group_id: &GroupId) -> Option<GroupContext>;
        fn interim_transcript_hash<GroupId, InterimTranscriptHash>(group_id: &GroupId) -> Option<InterimTranscriptHash>;
        fn confirmation_tag<GroupId, ConfirmationTag>(group_id: &GroupId) -> Option<ConfirmationTag>;
        fn group_state<GroupState, GroupId>(group_id: &GroupId) -> Option<GroupState>;
        fn resumption_psk_store<GroupId, ResumptionPskStore>(group_id: &GroupId) -> Option<ResumptionPskStore>;
        fn own_leaf_index<GroupId, LeafNodeIndex>(group_id: &GroupId) -> Option<LeafNodeIndex>;
        fn group_epoch_secrets<GroupId, GroupEpochSecrets>(group_id: &GroupId) -> Option<GroupEpochSecrets>;
        fn signature_key_pair<SignaturePublicKey, SignatureKeyPair>(public_key: &SignaturePublicKey) -> Option<SignatureKeyPair>;
        fn encryption_key_pair<HpkeKeyPair, EncryptionKey>(public_key: &EncryptionKey) -> Option<HpkeKeyPair>;
        fn encryption_epoch_key_pairs<GroupId, EpochKey, HpkeKeyPair>(group_id: &GroupId, epoch: &EpochKey, leaf_index: u32) -> Vec<HpkeKeyPair>;
        fn key_package<HashReference, KeyPackage>(hash_ref: &HashReference) -> Option<KeyPackage>;
        fn psk<PskBundle, PskId>(psk_id: &PskId) -> Option<PskBundle>;
        fn remove_proposal<GroupId, ProposalRef>(group_id: &GroupId, proposal_ref: &ProposalRef) -> ();
        fn delete_own_leaf_nodes<GroupId>(group_id: &GroupId) -> ();
        fn delete_group_config<GroupId>(group_id: &GroupId) -> ();
        fn delete_tree<GroupId>(group_id: &GroupId) -> ();
        fn delete_confirmation_tag<GroupId>(group_id: &GroupId) -> ();
        fn delete_group_state<GroupId>(group_id: &GroupId) -> ();
        fn delete_context<GroupId>(group_id: &GroupId) -> ();
        fn delete_interim_transcript_hash<GroupId>(group_id: &GroupId) -> ();
        fn delete_all_resumption_psk_secrets<GroupId>(group_id: &GroupId) -> ();
        fn delete_own_leaf_index<GroupId>(group_id: &GroupId) -> ();
        fn delete_group_epoch_secrets<GroupId>(group_id: &GroupId) -> ();
        fn clear_proposal_queue<GroupId, ProposalRef>(group_id: &GroupId) -> ();
        fn delete_signature_key_pair<SignaturePublicKey>(public_key: &SignaturePublicKey) -> ();
        fn delete_encryption_key_pair<EncryptionKey>(public_key: &EncryptionKey) -> ();
        fn delete_encryption_epoch_key_pairs<GroupId, EpochKey>(group_id: &GroupId, epoch: &EpochKey, leaf_index: u32) -> ();
        fn delete_key_package<HashReference>(hash_ref: &HashReference) -> ();
        fn delete_psk<PskId>(psk_id: &PskId) -> ();
    }
}

/// As openmls_sqlite_storage writes it.
pub(super) fn bytes<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, rusqlite::Error> {
    Json::to_vec(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn not_json(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, error.into())
}
