//! Making a group and adding its first members in one Commit.

use openmls::prelude::{tls_codec::Serialize as _, *};

use super::{GroupError, KeyPackageError, commit_id, create_config, credential, mls, storage};
use crate::{
    content::GroupData,
    failpoint::At,
    id::{self, CommitId, MemberId},
    identity::Identity,
    store::Provider,
};

/// A group with its first members in it.
pub(crate) struct Created {
    pub(crate) group: MlsGroup,
    /// The Commit that added them; nobody else is there to receive it.
    pub(crate) commit: CommitId,
    /// MLSMessage(Welcome) for all of them.
    pub(crate) welcome: Vec<u8>,
}

/// Why no group was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A KeyPackage cannot be added.
    #[error(transparent)]
    KeyPackage(#[from] KeyPackageError),
    /// Our own side failed.
    #[error(transparent)]
    Own(#[from] GroupError),
}

/// Makes the group `id` with ourselves as its only admin, adds the owners of `packages` and merges.
///
/// Nobody else is in the group when the Commit is made, so it has no rival and is not sent.
///
/// # Errors
/// [`CreateError`]: whether a KeyPackage or our own side is to blame.
pub(crate) fn create(
    provider: &Provider<'_>,
    identity: &Identity,
    id: id::GroupId,
    packages: &[KeyPackage],
) -> Result<Created, CreateError> {
    let _at = At::point("mls.create");
    let data = GroupData {
        name: String::new(),
        admins: vec![MemberId::from(&identity.peer_id())],
        version: 1,
    };
    let mut group = MlsGroup::new_with_group_id(
        provider,
        identity,
        &create_config(&data)?,
        GroupId::from_slice(&id.0),
        credential(identity),
    )
    .map_err(mls)?;
    let (commit, welcome, _) = group.add_members(provider, identity, packages).map_err(|error| {
        if let AddMembersError::StorageError(error) = error {
            return CreateError::Own(storage(error));
        }
        // The group is ours and fresh: what does not fit is the KeyPackage, also one that passed our checks.
        CreateError::KeyPackage(KeyPackageError::Invalid)
    })?;
    group.merge_pending_commit(provider).map_err(mls)?;
    Ok(Created {
        group,
        commit: commit_id(&commit.tls_serialize_detached().map_err(mls)?),
        welcome: welcome.tls_serialize_detached().map_err(mls)?,
    })
}
