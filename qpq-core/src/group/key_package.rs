//! Own KeyPackages, durable before they leave, and those of others, checked before they are used.

use openmls::prelude::{
    tls_codec::{Deserialize as _, Serialize as _, Size as _},
    *,
};
use openmls_traits::{OpenMlsProvider, storage::StorageProvider as _};

use super::{CIPHERSUITE, GROUP_DATA, GroupError, capabilities, credential, mls, storage, unbounded};
use crate::{failpoint::At, id::PeerId, identity::Identity, store::Provider};

/// An X25519 key as it is encoded: its length in one byte, and 32 bytes.
const KEY: usize = 33;

/// Why somebody's KeyPackage was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyPackageError {
    /// Not an MLSMessage(KeyPackage), or its signature or contents are invalid (RFC 9420 §10.1).
    #[error("the KeyPackage is invalid")]
    Invalid,
    /// Its credential is not its leaf key, or it is another person's.
    #[error("the KeyPackage is not its sender's")]
    Identity,
    /// Another ciphersuite, or the group's extension is not among its capabilities.
    #[error("the KeyPackage does not support this protocol's groups")]
    Unsupported,
}

/// Makes a KeyPackage and stores its private part; returns its reference (RFC 9420 §5.2) and its MLSMessage.
pub(crate) fn new_key_package(
    provider: &Provider<'_>,
    identity: &Identity,
) -> Result<(Vec<u8>, Vec<u8>), GroupError> {
    let _at = At::point("mls.key_package");
    let bundle = KeyPackage::builder()
        .leaf_node_capabilities(capabilities())
        .key_package_lifetime(unbounded())
        .build(CIPHERSUITE, provider, identity, credential(identity))
        .map_err(mls)?;
    let reference = bundle.key_package().hash_ref(provider.crypto()).map_err(mls)?;
    let bytes = MlsMessageOut::from(bundle.into_key_package())
        .tls_serialize_detached()
        .map_err(mls)?;
    Ok((reference.tls_serialize_detached().map_err(mls)?, bytes))
}

/// Reads and checks the KeyPackage of the person it must belong to.
///
/// # Errors
/// [`KeyPackageError`].
pub(crate) fn read_key_package(
    provider: &Provider<'_>,
    bytes: &[u8],
    owner: &PeerId,
) -> Result<KeyPackage, KeyPackageError> {
    let package = validate_key_package(provider, bytes)?;
    match check_key_package(&package) {
        Ok(found) if found == *owner => Ok(package),
        Ok(_) => Err(KeyPackageError::Identity),
        Err(error) => Err(error),
    }
}

/// Reads a KeyPackage; whose it is, and whether it can be added, is still to be seen.
pub(super) fn validate_key_package(
    provider: &Provider<'_>,
    bytes: &[u8],
) -> Result<KeyPackage, KeyPackageError> {
    let message = MlsMessageIn::tls_deserialize_exact(bytes).map_err(|_| KeyPackageError::Invalid)?;
    let MlsMessageBodyIn::KeyPackage(unverified) = message.extract() else {
        return Err(KeyPackageError::Invalid);
    };
    unverified
        .validate(provider.crypto(), ProtocolVersion::Mls10)
        .map_err(|_| KeyPackageError::Invalid)
}

/// Whose KeyPackage this is. What a later Commit would fail on is found here, where its sender can be told.
pub(super) fn check_key_package(package: &KeyPackage) -> Result<PeerId, KeyPackageError> {
    let owner = check_leaf(package.leaf_node())?;
    if package.ciphersuite() != CIPHERSUITE {
        return Err(KeyPackageError::Unsupported);
    }
    Ok(owner)
}

/// Whose leaf this is, if it can be in a group of ours.
pub(super) fn check_leaf(leaf: &LeafNode) -> Result<PeerId, KeyPackageError> {
    let owner = super::owner(leaf.credential(), leaf.signature_key().as_slice());
    let owner = owner.ok_or(KeyPackageError::Identity)?;
    let able = leaf.capabilities();
    if !able.extensions().contains(&GROUP_DATA)
        || !able.credentials().contains(&CredentialType::Basic)
        || !able.ciphersuites().contains(&CIPHERSUITE.into())
        || !able.versions().contains(&ProtocolVersion::Mls10)
        || leaf.encryption_key().tls_serialized_len() != KEY
    {
        return Err(KeyPackageError::Unsupported);
    }
    Ok(owner)
}

/// Deletes the private part of a KeyPackage that will not be used any more.
pub(crate) fn delete_key_package(provider: &Provider<'_>, reference: &[u8]) -> Result<(), GroupError> {
    let _at = At::point("mls.key_package_delete");
    let reference = KeyPackageRef::tls_deserialize_exact(reference).map_err(mls)?;
    provider.storage().delete_key_package(&reference).map_err(storage)
}
