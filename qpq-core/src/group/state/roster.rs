//! What is read off a state: its epoch, and messages in it.

use openmls::prelude::*;

use super::{
    super::{GROUP_DATA_TYPE, GroupError, epoch_id, required_capabilities},
    checked, commit,
};
use crate::{
    consensus::mls::{Epoch, Leaf, Opened},
    content::GroupData,
    store::{Provider, StoreError},
};

/// The epoch that a state stands in.
pub(super) fn epoch(provider: &Provider<'_>, group: &MlsGroup) -> Result<Epoch, GroupError> {
    let roster = group.members().map(|member| leaf(&member));
    let roster = roster.collect::<Option<_>>();
    let data = group_data(group.extensions());
    Ok(Epoch {
        id: epoch_id(provider, group)?,
        number: group.epoch().as_u64(),
        roster: roster.ok_or(StoreError::Corrupt("leaf that is nobody's"))?,
        data: data.ok_or(StoreError::Corrupt("group without its data"))?,
    })
}

/// Whether a group is as ours are made, so that all its members read the same from it, and our database can count
/// its epochs.
pub(super) fn is_ours(context: &GroupContext) -> bool {
    group_data(context.extensions()).is_some() && i64::try_from(context.epoch().as_u64()).is_ok()
}

/// The group's data, if that and the capabilities it takes are all that the extensions say.
pub(super) fn group_data(extensions: &Extensions<GroupContext>) -> Option<GroupData> {
    let required = extensions.required_capabilities()?;
    if extensions.iter().count() != 2 || *required != required_capabilities() {
        return None;
    }
    GroupData::decode(&extensions.unknown(GROUP_DATA_TYPE)?.0).ok()
}

/// A member's leaf, if it is as ours are.
pub(super) fn leaf(member: &Member) -> Option<Leaf> {
    let (id, _) = super::super::leaf(member)?;
    Some(Leaf {
        member: id,
        key: member.encryption_key.as_slice().try_into().ok()?,
    })
}

/// Opens an application message. What else is encrypted is left alone: it would use up a key that judging it takes.
pub(super) fn open(
    provider: &Provider<'_>,
    group: &mut MlsGroup,
    bytes: &[u8],
) -> Result<Option<Opened>, GroupError> {
    let Some(message) = commit::private_message(bytes, ContentType::Application) else {
        return Ok(None);
    };
    let Ok(processed) = group.process_message(provider, message) else {
        return checked(provider).map(|()| None);
    };
    checked(provider)?;
    let sender = commit::sender(group, &processed);
    let aad = processed.aad().to_vec();
    let ProcessedMessageContent::ApplicationMessage(message) = processed.into_content() else {
        return Ok(None);
    };
    Ok(sender.map(|sender| Opened {
        sender,
        aad,
        plaintext: message.into_bytes(),
    }))
}
