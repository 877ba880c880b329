//! openmls's storage on the engine's connection: the same transaction as everything else.

mod copies;
mod crypto;
mod write_back;

use openmls_sqlite_storage::{Codec, SqliteStorageProvider};
use openmls_traits::{OpenMlsProvider, storage::CURRENT_VERSION};
use rusqlite::Connection;

use super::{Store, StoreError};
use crate::failpoint::At;
pub use crypto::Primitives;
pub(crate) use crypto::{Crypto, system_primitives};
pub(super) use write_back::Waiting;
use write_back::WriteBack;

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
    crypto: &'a Crypto,
    storage: WriteBack<'a>,
}

impl<'a> OpenMlsProvider for Provider<'a> {
    type CryptoProvider = Crypto;
    type RandProvider = Crypto;
    type StorageProvider = WriteBack<'a>;

    fn storage(&self) -> &Self::StorageProvider {
        &self.storage
    }

    fn crypto(&self) -> &Crypto {
        self.crypto
    }

    fn rand(&self) -> &Crypto {
        self.crypto
    }
}

impl Store {
    /// What openmls works with, inside the open transaction.
    pub(crate) fn provider(&self) -> Provider<'_> {
        Provider {
            crypto: &self.crypto,
            storage: WriteBack::new(&self.connection, &self.waiting),
        }
    }

    /// Writes what waited for the commit, each row in its place: a row that moves touches several pages.
    pub(super) fn write_back(&self) -> Result<(), StoreError> {
        for (key, secrets) in self.waiting.borrow_mut().take() {
            let Some(secrets) = secrets else {
                self.write(
                    "mls.secrets_delete",
                    "DELETE FROM openmls_group_data WHERE group_id = ?1 AND data_type = 'message_secrets'",
                    [key],
                )?;
                continue;
            };
            self.write(
                "mls.secrets",
                "INSERT INTO openmls_group_data(provider_version, group_id, data_type, group_data)
                 VALUES(?1, ?2, 'message_secrets', ?3) ON CONFLICT DO UPDATE
                 SET group_data = excluded.group_data, provider_version = excluded.provider_version",
                (CURRENT_VERSION, key, secrets.as_slice()),
            )?;
        }
        Ok(())
    }
}

/// Makes or updates openmls's own tables.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let _at = At::point("create.mls");
    Ok(SqliteStorageProvider::<Json, &mut Connection>::new(connection).run_migrations()?)
}
