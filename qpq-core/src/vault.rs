//! `qpq-state.bin`: the two keys that everything else on disk hangs on, under the user's passphrase.
//!
//! ```text
//! offset  bytes
//!      0      8  magic "qpqstate"
//!      8      1  version: 1
//!      9      1  key derivation: 0 none, 1 Argon2id (RFC 9106)
//!     10      4  Argon2 memory in KiB    big-endian; all three are 0 without a passphrase
//!     14      4  Argon2 passes
//!     18      4  Argon2 lanes
//!     22     16  salt
//!     38     24  nonce
//!     62     80  XChaCha20-Poly1305 of (identity seed 32, database key 32), the header as associated data
//! ```
//!
//! **Without a passphrase the file keeps no secret.** Its key follows from the salt that stands beside it, so
//! whoever reads the file has both keys: file permissions are then the only protection, and the tag finds
//! damage but no tampering. With a passphrase, its strength is what protects a stolen file.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hkdf::Hkdf;
use rand_core::CryptoRngCore;
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::{
    codec::{self, VaultRecord},
    labels,
    passphrase::Passphrase,
    secret::Secret,
};

const MAGIC: &[u8; 8] = b"qpqstate";
const VERSION: u8 = 1;
const SALT_LEN: usize = 16;
const NONCE_LEN: usize = 24;
const HEADER_LEN: usize = 62;

/// What `qpq-state.bin` protects.
#[derive(Debug, PartialEq, Eq)]
pub struct Vault {
    /// Seed of the identity's Ed25519 key.
    pub identity_seed: Secret<32>,
    /// Raw key of the database.
    pub database_key: Secret<32>,
}

/// Why a vault was not opened. The file must stay as it is, whatever the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file does not begin like a vault.
    #[error("this is not a qpq identity file")]
    NotAVault,
    /// Written by a version after this one.
    #[error("the identity file was written by a newer qpq")]
    NewerVersion,
    /// It is protected, and no passphrase was given.
    #[error("a passphrase is needed")]
    PassphraseNeeded,
    /// One cannot be told from the other.
    #[error("wrong passphrase or damaged file")]
    WrongOrDamaged,
    /// The file asks for a key derivation that no version would write; nothing was allocated for it.
    #[error("the identity file asks for a key derivation outside of the accepted limits")]
    Parameters,
    /// Argon2 needs more memory than this machine gives.
    #[error("not enough memory to derive the key from the passphrase")]
    OutOfMemory,
}

impl Vault {
    /// Draws the keys of a new profile.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        Self {
            identity_seed: Secret::random(rng),
            database_key: Secret::random(rng),
        }
    }

    /// The bytes of the file. `None` keeps no secret: see the head of this module.
    ///
    /// # Errors
    /// `OpenError::OutOfMemory` alone.
    pub fn seal(
        &self,
        passphrase: Option<&Passphrase>,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Vec<u8>, OpenError> {
        let mut header = Header {
            kdf: if passphrase.is_some() {
                Kdf::STANDARD
            } else {
                Kdf::None
            },
            salt: [0; SALT_LEN],
            nonce: [0; NONCE_LEN],
        };
        rng.fill_bytes(&mut header.salt);
        rng.fill_bytes(&mut header.nonce);
        let record = VaultRecord {
            identity_seed: *self.identity_seed.expose(),
            database_key: *self.database_key.expose(),
        };
        let mut file = header.to_bytes();
        let plain = codec::encode(&record);
        let sealed = header
            .cipher(passphrase)?
            .encrypt(
                XNonce::from_slice(&header.nonce),
                Payload {
                    msg: &plain,
                    aad: &file,
                },
            )
            .expect("the cipher takes 64 bytes");
        file.extend_from_slice(&sealed);
        Ok(file)
    }

    /// Opens the bytes of a file. A passphrase given for a file without one is not looked at.
    ///
    /// # Errors
    /// `OpenError`.
    pub fn open(file: &[u8], passphrase: Option<&Passphrase>) -> Result<Self, OpenError> {
        let header = Header::parse(file)?;
        let (aad, sealed) = file
            .split_at_checked(HEADER_LEN)
            .ok_or(OpenError::WrongOrDamaged)?;
        let plain = header
            .cipher(passphrase)?
            .decrypt(XNonce::from_slice(&header.nonce), Payload { msg: sealed, aad })
            .map(Zeroizing::new)
            .map_err(|_| OpenError::WrongOrDamaged)?;
        let record = codec::decode(&plain).map_err(|_| OpenError::WrongOrDamaged)?;
        Ok(Self {
            identity_seed: Secret::fill_with(|to| to.copy_from_slice(&record.identity_seed)),
            database_key: Secret::fill_with(|to| to.copy_from_slice(&record.database_key)),
        })
    }

    /// Whether opening these bytes takes a passphrase, to ask for it only then.
    ///
    /// # Errors
    /// `OpenError`, as far as the header alone shows it.
    pub fn needs_passphrase(file: &[u8]) -> Result<bool, OpenError> {
        Header::parse(file).map(|header| header.kdf != Kdf::None)
    }
}

/// How the key comes from the passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kdf {
    None,
    Argon2id {
        memory_kib: u32,
        passes: u32,
        lanes: u32,
    },
}

impl Kdf {
    /// 64 MiB, 3 passes, 4 lanes: the second recommendation of RFC 9106 §4.
    const STANDARD: Self = Self::Argon2id {
        memory_kib: 65_536,
        passes: 3,
        lanes: 4,
    };

    fn to_numbers(self) -> (u8, [u32; 3]) {
        match self {
            Self::None => (0, [0; 3]),
            Self::Argon2id {
                memory_kib,
                passes,
                lanes,
            } => (1, [memory_kib, passes, lanes]),
        }
    }

    /// Refuses what would make a damaged or planted file eat the machine, before anything is allocated; and
    /// less than 8 MiB, which no version writes.
    fn from_numbers(kind: u8, numbers: [u32; 3]) -> Result<Self, OpenError> {
        match (kind, numbers) {
            (0, [0, 0, 0]) => Ok(Self::None),
            (1, [memory_kib @ 8_192..=1_048_576, passes @ 1..=16, lanes @ 1..=16]) => Ok(Self::Argon2id {
                memory_kib,
                passes,
                lanes,
            }),
            _ => Err(OpenError::Parameters),
        }
    }
}

struct Header {
    kdf: Kdf,
    salt: [u8; SALT_LEN],
    nonce: [u8; NONCE_LEN],
}

impl Header {
    fn to_bytes(&self) -> Vec<u8> {
        let (kind, numbers) = self.kdf.to_numbers();
        let mut bytes = MAGIC.to_vec();
        bytes.extend([VERSION, kind]);
        bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        bytes.extend(self.salt);
        bytes.extend(self.nonce);
        bytes
    }

    fn parse(file: &[u8]) -> Result<Self, OpenError> {
        let mut rest = file.strip_prefix(MAGIC).ok_or(OpenError::NotAVault)?;
        let [version] = take(&mut rest)?;
        match version {
            VERSION => {}
            0 => return Err(OpenError::WrongOrDamaged),
            _ => return Err(OpenError::NewerVersion),
        }
        let [kind] = take(&mut rest)?;
        let numbers = [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?].map(u32::from_be_bytes);
        let (salt, nonce) = (take(&mut rest)?, take(&mut rest)?);
        Ok(Self {
            kdf: Kdf::from_numbers(kind, numbers)?,
            salt,
            nonce,
        })
    }

    fn cipher(&self, passphrase: Option<&Passphrase>) -> Result<XChaCha20Poly1305, OpenError> {
        let mut key = Zeroizing::new([0; 32]);
        match self.kdf {
            Kdf::None => Hkdf::<Sha256>::new(None, &self.salt)
                .expand(labels::VAULT_OPEN_KEY.as_bytes(), key.as_mut_slice())
                .expect("HKDF gives 32 bytes"),
            Kdf::Argon2id {
                memory_kib,
                passes,
                lanes,
            } => {
                let passphrase = passphrase.ok_or(OpenError::PassphraseNeeded)?;
                let params =
                    Params::new(memory_kib, passes, lanes, Some(32)).map_err(|_| OpenError::Parameters)?;
                self.argon2(params, passphrase, &mut key)?;
            }
        }
        Ok(XChaCha20Poly1305::new(key.as_ref().into()))
    }

    fn argon2(&self, params: Params, passphrase: &Passphrase, key: &mut [u8; 32]) -> Result<(), OpenError> {
        // One passphrase has one form, whatever keyboard it was typed on (RFC 8265 §4.2.2). NFC is at most
        // three times as long, so the string never moves and leaves no copy.
        let passphrase = passphrase.expose();
        let mut normal = Zeroizing::new(String::with_capacity(passphrase.len().saturating_mul(3)));
        normal.extend(passphrase.nfc());
        let mut memory = Zeroizing::new(Vec::<Block>::new());
        memory
            .try_reserve_exact(params.block_count())
            .map_err(|_| OpenError::OutOfMemory)?;
        memory.resize(params.block_count(), Block::default());
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(normal.as_bytes(), &self.salt, key, memory.as_mut_slice())
            .map_err(|_| OpenError::Parameters)
    }
}

/// Takes the next `N` bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], OpenError> {
    let (head, tail) = rest.split_first_chunk().ok_or(OpenError::WrongOrDamaged)?;
    *rest = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests;
