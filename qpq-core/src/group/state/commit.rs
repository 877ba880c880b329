//! Commits: ours as they are staged, others' as everybody reads them (RFC 9420 §12.4).
//!
//! A Commit is judged by openmls, and by what all our members agree on beside that:
//! 1. It is a PrivateMessage of a member, and has a path.
//! 2. Its proposals are in it: Adds, Removes and GroupContextExtensions, nothing else.
//! 3. Who is added, and the committer's new leaf, are whom their credential names, with our capabilities.
//! 4. The committer stays who they were.
//! 5. Of the extensions only the group's data changes.
//! 6. A KeyPackage has no end of life: openmls compares one with the clock of whoever reads the Commit.

use openmls::prelude::{
    tls_codec::{Deserialize as _, Serialize as _},
    *,
};
use sha2::{Digest as _, Sha256};

use super::{
    super::{
        GroupError, group_extensions,
        key_package::{check_key_package, check_leaf, validate_key_package},
        leaf, mls, storage, unbounded,
    },
    blame, checked, roster,
};
use crate::{
    consensus::mls::{Change, Package, Proposed, Staged},
    id::{MemberId, PeerId},
    identity::Identity,
    store::Provider,
};

/// What openmls alone makes of a Commit on a state.
pub(super) enum Processed {
    Valid(Found),
    /// It is none, or not valid.
    Invalid,
    /// It says that its sender is our leaf.
    Own,
}

/// Somebody else's Commit on a state.
pub(super) struct Found {
    author: PeerId,
    aad: Vec<u8>,
    pub(super) staged: StagedCommit,
}

/// Makes a Commit and has it wait in the group, in place of any other; `None`: openmls does not allow it.
pub(super) fn stage(
    provider: &Provider<'_>,
    signer: &Identity,
    group: &mut MlsGroup,
    change: &Change,
    aad: &[u8],
) -> Result<Option<Staged>, GroupError> {
    let Some((adds, removes)) = parties(provider, group, change) else {
        return Ok(None);
    };
    if change.data.as_ref().is_some_and(|data| !data.is_readable()) {
        return Ok(None);
    }
    group.set_aad(aad.to_vec());
    let mut builder = group
        .commit_builder()
        .consume_proposal_store(false)
        .force_self_update(true)
        .propose_removals(removes)
        .propose_adds(adds);
    if let Some(data) = &change.data {
        let proposed = builder.propose_group_context_extensions(group_extensions(data)?);
        builder = proposed.map_err(mls)?;
    }
    let built = builder
        .load_psks(provider.storage())
        .and_then(|builder| builder.build(provider.rand(), provider.crypto(), signer, |_| true));
    let built = match built {
        Ok(built) => built,
        Err(error) => {
            tracing::debug!(%error, "openmls makes no such Commit");
            return checked(provider).map(|()| None);
        }
    };
    let staged = built.stage_commit(provider);
    let staged = staged.map_err(|error| blame(provider, error))?;
    let (commit, welcome, _) = staged.into_messages();
    let welcome = welcome.map(|welcome| welcome.tls_serialize_detached());
    Ok(Some(Staged {
        commit: commit.tls_serialize_detached().map_err(mls)?,
        welcome: welcome.transpose().map_err(mls)?,
    }))
}

/// Whom a change adds and which leaves it removes; `None`: somebody cannot be added, or is not there.
fn parties(
    provider: &Provider<'_>,
    group: &MlsGroup,
    change: &Change,
) -> Option<(Vec<KeyPackage>, Vec<LeafNodeIndex>)> {
    let add = |bytes: &Vec<u8>| {
        let package = validate_key_package(provider, bytes).ok()?;
        read_package(provider, &package)?;
        Some(package)
    };
    let remove = |wanted: &MemberId| {
        let of = |member: &Member| leaf(member).is_some_and(|(id, _)| id == *wanted);
        group.members().find(of).map(|member| member.index)
    };
    let adds = change.adds.iter().map(add).collect::<Option<_>>()?;
    let removes = change.removes.iter().map(remove).collect::<Option<_>>()?;
    Some((adds, removes))
}

/// Processes a Commit on a state, whose own pending one is dropped.
pub(super) fn process(
    provider: &Provider<'_>,
    group: &mut MlsGroup,
    bytes: &[u8],
) -> Result<Processed, GroupError> {
    let Some(message) = private_message(bytes, ContentType::Commit) else {
        return Ok(Processed::Invalid);
    };
    group.clear_pending_commit(provider.storage()).map_err(storage)?;
    let Ok(processed) = group.process_message(provider, message) else {
        return checked(provider).map(|()| Processed::Invalid);
    };
    checked(provider)?;
    let (author, aad) = (sender_peer(group, &processed), processed.aad().to_vec());
    let content = processed.into_content();
    if matches!(content, ProcessedMessageContent::OwnPrivateMessage) {
        return Ok(Processed::Own);
    }
    let (Some(author), ProcessedMessageContent::StagedCommitMessage(staged)) = (author, content) else {
        return Ok(Processed::Invalid);
    };
    Ok(Processed::Valid(Found {
        author,
        aad,
        staged: *staged,
    }))
}

/// What a Commit proposes in the state it was processed on; `None`: it is not as ours are.
pub(super) fn read(provider: &Provider<'_>, group: &MlsGroup, found: &Found) -> Option<Proposed> {
    let path = found.staged.update_path_leaf_node()?;
    if check_leaf(path).ok()? != found.author {
        return None;
    }
    let mut proposed = Proposed {
        author: MemberId::from(&found.author),
        adds: Vec::new(),
        removes: Vec::new(),
        data: None,
        aad: found.aad.clone(),
    };
    for queued in found.staged.queued_proposals() {
        if queued.proposal_or_ref_type() != ProposalOrRefType::Proposal {
            return None;
        }
        if let Proposal::Add(add) = queued.proposal() {
            proposed.adds.push(read_package(provider, add.key_package())?);
        } else if let Proposal::Remove(remove) = queued.proposal() {
            let (member, _) = leaf(&group.member_at(remove.removed())?)?;
            proposed.removes.push(member);
        } else if let Proposal::GroupContextExtensions(change) = queued.proposal() {
            proposed.data = Some(roster::group_data(change.extensions())?);
        } else {
            return None;
        }
    }
    Some(proposed)
}

/// Whose KeyPackage this is, if it can be added, and can be at any time.
pub(super) fn read_package(provider: &Provider<'_>, package: &KeyPackage) -> Option<Package> {
    let owner = check_key_package(package).ok()?;
    if *package.life_time() != unbounded() {
        return None;
    }
    let reference = package.hash_ref(provider.crypto()).ok()?;
    Some(Package {
        member: MemberId::from(&owner),
        reference: Sha256::digest(reference.as_slice()).into(),
    })
}

/// A PrivateMessage that says it carries this.
pub(super) fn private_message(bytes: &[u8], content: ContentType) -> Option<ProtocolMessage> {
    let message = MlsMessageIn::tls_deserialize_exact(bytes).ok()?;
    let message = message.try_into_protocol_message().ok()?;
    let is_private = message.wire_format() == WireFormat::PrivateMessage;
    (is_private && message.content_type() == content).then_some(message)
}

/// Who sent a message in a state.
pub(super) fn sender(group: &MlsGroup, processed: &ProcessedMessage) -> Option<MemberId> {
    sender_peer(group, processed).as_ref().map(MemberId::from)
}

fn sender_peer(group: &MlsGroup, processed: &ProcessedMessage) -> Option<PeerId> {
    let Sender::Member(index) = *processed.sender() else {
        return None;
    };
    let (_, peer) = leaf(&group.member_at(index)?)?;
    Some(peer)
}
