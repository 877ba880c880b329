//! openmls's storage on the engine's connection: the same transaction as everything else.

use openmls_rust_crypto::RustCrypto;
use openmls_sqlite_storage::{Codec, SqliteStorageProvider};
use openmls_traits::OpenMlsProvider;
use rusqlite::Connection;

use super::{Store, StoreError};
use crate::failpoint::At;

/// Rows of openmls are JSON: its types need a self-describing format (bincode writes them and cannot load them).
#[derive(Debug, Default)]
pub(crate) struct Json;

impl Codec for Json {
    type Error = serde_json::Error;

    fn to_vec<T: serde::Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Self::Error> {
        serde_json::to_vec(value)
    }

    fn from_slice<T: serde::de::DeserializeOwned>(slice: &[u8]) -> Result<T, Self::Error> {
        serde_json::from_slice(slice)
    }
}

/// Crypto, randomness and storage as openmls wants them, borrowed for one call.
pub(crate) struct Provider<'a> {
    crypto: &'a RustCrypto,
    storage: SqliteStorageProvider<Json, &'a Connection>,
}

impl<'a> OpenMlsProvider for Provider<'a> {
    type CryptoProvider = RustCrypto;
    type RandProvider = RustCrypto;
    type StorageProvider = SqliteStorageProvider<Json, &'a Connection>;

    fn storage(&self) -> &Self::StorageProvider {
        &self.storage
    }

    fn crypto(&self) -> &RustCrypto {
        self.crypto
    }

    fn rand(&self) -> &RustCrypto {
        self.crypto
    }
}

impl Store {
    /// What openmls works with, inside the open transaction.
    pub(crate) fn provider(&self) -> Provider<'_> {
        Provider {
            crypto: &self.crypto,
            storage: SqliteStorageProvider::new(&self.connection),
        }
    }
}

/// Makes or updates openmls's own tables.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let _at = At::point("create.mls");
    Ok(SqliteStorageProvider::<Json, &mut Connection>::new(connection).run_migrations()?)
}
