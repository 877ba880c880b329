//! Joining a group by its Welcome (RFC 9420 §12.4.3.1), every leaf checked before the group exists for us.

use std::collections::BTreeSet;

use openmls::prelude::{tls_codec::Deserialize as _, *};

use super::{CIPHERSUITE, GROUP_DATA, GROUP_DATA_TYPE, GroupError, join_config, leaf, mls, owner, storage};
use crate::{
    content::GroupData,
    failpoint::At,
    id::{self, MemberId, PeerId},
    store::Provider,
};

/// Why a Welcome was refused. The KeyPackage it consumed comes back with the savepoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WelcomeError {
    /// Not an MLSMessage(Welcome), or openmls refuses it.
    #[error("the Welcome is invalid")]
    Invalid,
    /// It leads to another group than announced, or with other settings.
    #[error("the Welcome leads to another group than announced")]
    Group,
    /// A credential is not its leaf key, the roster is not the one expected, or the adder is not.
    #[error("the Welcome's members are not the ones expected")]
    Members,
    /// Our own side failed.
    #[error(transparent)]
    Own(#[from] GroupError),
}

/// Joins the group `id`, added by `adder`, if its roster is exactly `members`.
///
/// # Errors
/// [`WelcomeError`].
pub(crate) fn join(
    provider: &Provider<'_>,
    bytes: &[u8],
    id: &id::GroupId,
    adder: &PeerId,
    members: &BTreeSet<PeerId>,
) -> Result<MlsGroup, WelcomeError> {
    let _at = At::point("mls.join");
    let message = MlsMessageIn::tls_deserialize_exact(bytes).map_err(|_| WelcomeError::Invalid)?;
    let MlsMessageBodyIn::Welcome(welcome) = message.extract() else {
        return Err(WelcomeError::Invalid);
    };
    let processed = ProcessedWelcome::new_from_welcome(provider, &join_config(), welcome).map_err(blame)?;
    let info = processed.unverified_group_info();
    if info.group_id().as_slice() != id.0 || info.ciphersuite() != CIPHERSUITE {
        return Err(WelcomeError::Group);
    }
    let staged = JoinBuilder::new(provider, processed)
        .skip_lifetime_validation()
        .build()
        .map_err(blame)?;
    let sender = staged.welcome_sender().map_err(|_| WelcomeError::Invalid)?;
    if owner(sender.credential(), sender.signature_key().as_slice()).as_ref() != Some(adder) {
        return Err(WelcomeError::Members);
    }
    let leaves = staged
        .members()
        .map(|member| leaf(&member))
        .collect::<Option<Vec<_>>>();
    let leaves = leaves.ok_or(WelcomeError::Members)?;
    let peers: BTreeSet<PeerId> = leaves.iter().map(|(_, peer)| *peer).collect();
    if peers != *members || leaves.len() != members.len() {
        return Err(WelcomeError::Members);
    }
    if !is_ours(staged.group_context(), adder) {
        return Err(WelcomeError::Group);
    }
    Ok(staged.into_group(provider).map_err(mls)?)
}

/// Whether a group is as [`super::create`] makes it: our extension required and as it begins, and an epoch that
/// our database can count.
fn is_ours(context: &GroupContext, adder: &PeerId) -> bool {
    let begins = GroupData {
        name: String::new(),
        admins: vec![MemberId::from(adder)],
        version: 1,
    };
    let data = context.extensions().unknown(GROUP_DATA_TYPE);
    let required = context.extensions().required_capabilities();
    i64::try_from(context.epoch().as_u64()).is_ok()
        && data.is_some_and(|content| GroupData::decode(&content.0).is_ok_and(|data| data == begins))
        && required.is_some_and(|required| required.extension_types().contains(&GROUP_DATA))
}

/// Tells our database's errors from a bad Welcome.
fn blame(error: openmls::prelude::WelcomeError<rusqlite::Error>) -> WelcomeError {
    if let openmls::prelude::WelcomeError::StorageError(error) = error {
        return WelcomeError::Own(storage(error));
    }
    WelcomeError::Invalid
}
