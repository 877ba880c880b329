//! MLS groups (RFC 9420) by openmls: one file per operation, one place for the settings that all members share.
//!
//! Nothing here knows a link, a frame or a clock. Every function runs inside the engine's savepoint: when it
//! fails, whatever openmls wrote or consumed (a KeyPackage, a ratchet step) comes back with the rollback.

mod create;
pub mod danger;
mod key_package;
mod message;
mod state;
mod welcome;

pub(crate) use create::{CreateError, create};
pub(crate) use key_package::{KeyPackageError, delete_key_package, new_key_package, read_key_package};
pub(crate) use message::{Header, MessageError, open_message, seal_message};
pub(crate) use state::{Live, State};
pub(crate) use welcome::{WelcomeError, join};

use openmls::prelude::*;
use openmls_traits::OpenMlsProvider;
use sha2::{Digest, Sha256};

use crate::{
    content::GroupData,
    failpoint::At,
    id::{CommitId, EpochId, MemberId, PeerId},
    identity::{Identity, authorised},
    labels,
    store::{Provider, Store, StoreError},
};

/// The one ciphersuite: RFC 9420 §17.1, value 0x0001.
pub(crate) const CIPHERSUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// GroupContext extension with [`GroupData`]: of the private-use range 0xF000..0xFFFF (RFC 9420 §17.3).
const GROUP_DATA_TYPE: u16 = 0xF071;
const GROUP_DATA: ExtensionType = ExtensionType::Unknown(GROUP_DATA_TYPE);

/// Ciphertext lengths fall in steps of this many bytes.
const PADDING: usize = 64;
/// Generations of a sender that may still come out of order.
const OUT_OF_ORDER: u32 = 64;
/// Generations of a sender that may be skipped ahead.
const FORWARD: u32 = 2_000;

/// What an openmls call can end in, with the database's errors kept apart from the peer's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The group's state could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// openmls refused our own request: a bug, or state that it never wrote.
    #[error("openmls: {0}")]
    Mls(String),
}

impl GroupError {
    /// Whether it is the database itself that is damaged.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_damage())
    }
}

/// Leaf capabilities: exactly what every member lists, from the first KeyPackage on. last_resort (0x000A) is
/// there because openmls demands it for its own last-resort KeyPackages; a default type must not be listed.
fn capabilities() -> Capabilities {
    Capabilities::builder()
        .versions(vec![ProtocolVersion::Mls10])
        .ciphersuites(vec![CIPHERSUITE])
        .extensions(vec![ExtensionType::LastResort, GROUP_DATA])
        .credentials(vec![CredentialType::Basic])
        .build()
}

/// What each member must be able to do.
fn required_capabilities() -> RequiredCapabilitiesExtension {
    RequiredCapabilitiesExtension::new(&[GROUP_DATA], &[], &[CredentialType::Basic])
}

/// The extensions of a group with this data.
fn group_extensions(data: &GroupData) -> Result<Extensions<GroupContext>, GroupError> {
    Extensions::from_vec(vec![
        Extension::RequiredCapabilities(required_capabilities()),
        Extension::Unknown(GROUP_DATA_TYPE, UnknownExtension(data.encode())),
    ])
    .map_err(mls)
}

/// Settings of a new group. They must equal [`join_config`], or two members judge messages differently.
fn create_config(data: &GroupData) -> Result<MlsGroupCreateConfig, GroupError> {
    Ok(MlsGroupCreateConfig::builder()
        .ciphersuite(CIPHERSUITE)
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .use_ratchet_tree_extension(true)
        .max_past_epochs(0)
        .padding_size(PADDING)
        .sender_ratchet_configuration(SenderRatchetConfiguration::new(OUT_OF_ORDER, FORWARD))
        .lifetime(unbounded())
        .capabilities(capabilities())
        .with_group_context_extensions(group_extensions(data)?)
        .build())
}

/// Settings of a joined group.
fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .use_ratchet_tree_extension(true)
        .max_past_epochs(0)
        .padding_size(PADDING)
        .sender_ratchet_configuration(SenderRatchetConfiguration::new(OUT_OF_ORDER, FORWARD))
        .build()
}

/// openmls judges lifetimes by the local clock wherever it meets a leaf, replays included, so a bounded one
/// would make validity differ between members. Our own maximum is the taker's duty (ADR 7).
fn unbounded() -> Lifetime {
    Lifetime::init(0, u64::MAX)
}

/// `MLS-Exporter("qpq epoch id v1", "", 16)`: unique per branch.
pub(crate) fn epoch_id(provider: &Provider<'_>, group: &MlsGroup) -> Result<EpochId, GroupError> {
    let bytes = group
        .export_secret(provider.crypto(), labels::EPOCH_ID, b"", EpochId::LEN)
        .map_err(mls)?;
    EpochId::try_from(bytes.as_slice()).map_err(mls)
}

/// A member's leaf, its credential checked.
fn leaf(member: &Member) -> Option<(MemberId, PeerId)> {
    let peer = owner(&member.credential, &member.signature_key)?;
    Some((MemberId::from(&peer), peer))
}

/// Whose leaf this is; `None` when the credential does not bind the key (RFC 9420 §5.3.1: the Authentication
/// Service's duty, which openmls leaves to us).
fn owner(credential: &Credential, signature_key: &[u8]) -> Option<PeerId> {
    if credential.credential_type() != CredentialType::Basic {
        return None;
    }
    authorised(credential.serialized_content(), signature_key).ok()
}

/// SHA-256 of the MLSMessage bytes.
fn commit_id(bytes: &[u8]) -> CommitId {
    CommitId(Sha256::digest(bytes).into())
}

/// Loads a group's state.
pub(crate) fn load(provider: &Provider<'_>, id: &crate::id::GroupId) -> Result<MlsGroup, GroupError> {
    MlsGroup::load(provider.storage(), &GroupId::from_slice(&id.0))
        .map_err(storage)?
        .ok_or(GroupError::Store(StoreError::Corrupt("group without MLS state")))
}

/// Deletes a group's state and all copies of it, their secrets included.
pub(crate) fn delete(store: &Store, id: &crate::id::GroupId, mut group: MlsGroup) -> Result<(), GroupError> {
    let _at = At::point("mls.delete");
    group.delete(store.provider().storage()).map_err(storage)?;
    Ok(store.drop_mls_copies(id)?)
}

fn credential(identity: &Identity) -> CredentialWithKey {
    let peer = identity.peer_id();
    CredentialWithKey {
        credential: BasicCredential::new(peer.0.to_vec()).into(),
        signature_key: peer.0.to_vec().into(),
    }
}

/// openmls's storage is our database.
fn storage(error: rusqlite::Error) -> GroupError {
    GroupError::Store(error.into())
}

fn mls(error: impl std::fmt::Display) -> GroupError {
    GroupError::Mls(error.to_string())
}

#[cfg(test)]
mod tests;
