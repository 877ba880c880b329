//! Own KeyPackages, durable before they leave, and those of others, checked before they are used.

use openmls::prelude::{
    tls_codec::{Deserialize as _, Serialize as _},
    *,
};
use openmls_traits::{OpenMlsProvider, storage::StorageProvider as _};

use super::{CIPHERSUITE, GROUP_DATA, GroupError, capabilities, credential, mls, storage, unbounded};
use crate::{failpoint::At, id::PeerId, identity::Identity, store::Provider};

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
    let message = MlsMessageIn::tls_deserialize_exact(bytes).map_err(|_| KeyPackageError::Invalid)?;
    let MlsMessageBodyIn::KeyPackage(unverified) = message.extract() else {
        return Err(KeyPackageError::Invalid);
    };
    let package = unverified
        .validate(provider.crypto(), ProtocolVersion::Mls10)
        .map_err(|_| KeyPackageError::Invalid)?;
    let leaf = package.leaf_node();
    if super::owner(leaf.credential(), leaf.signature_key().as_slice()).as_ref() != Some(owner) {
        return Err(KeyPackageError::Identity);
    }
    // What a later Commit would fail on must be found here, where its sender can be told.
    let able = leaf.capabilities();
    if package.ciphersuite() != CIPHERSUITE
        || !able.extensions().contains(&GROUP_DATA)
        || !able.credentials().contains(&CredentialType::Basic)
        || !able.ciphersuites().contains(&CIPHERSUITE.into())
        || !able.versions().contains(&ProtocolVersion::Mls10)
    {
        return Err(KeyPackageError::Unsupported);
    }
    Ok(package)
}

/// Deletes the private part of a KeyPackage that will not be used any more.
pub(crate) fn delete_key_package(provider: &Provider<'_>, reference: &[u8]) -> Result<(), GroupError> {
    let _at = At::point("mls.key_package_delete");
    let reference = KeyPackageRef::tls_deserialize_exact(reference).map_err(mls)?;
    provider.storage().delete_key_package(&reference).map_err(storage)
}
