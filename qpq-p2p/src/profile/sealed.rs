//! A profile whose vault is closed: what can be told of it, opening it, and sealing it anew.

use std::{
    fs, io,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use qpq_core::{
    passphrase::Passphrase,
    vault::{self, Vault},
};
use rand_core::OsRng;

use super::{DATABASE, LOCK, OTHERS, OpenError, Profile, VAULT, VAULT_MAX, files};
use crate::failure::{Failure, FailureCode, hint_for, with_causes};

/// A profile that may need a passphrase.
#[derive(Debug)]
pub struct SealedProfile {
    folder: PathBuf,
    bytes: Vec<u8>,
}

/// Why the vault was not sealed anew. The file is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResealError {
    /// The new vault could not be made.
    #[error("the keys cannot be sealed")]
    Vault(#[source] vault::OpenError),
    /// It could not be written.
    #[error("{0} cannot be written")]
    Unwritable(PathBuf, #[source] io::Error),
}

impl SealedProfile {
    /// Reads the vault of the profile in a folder. Takes no lock: reading beside the owner is fine.
    ///
    /// # Errors
    /// [`OpenError`], also when anybody else could read one of its files.
    pub fn read(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join(VAULT);
        if !exists(folder)? || is_empty(folder) {
            return Err(OpenError::Missing(folder.to_owned()));
        }
        refuse_exposed(folder, fs::Metadata::is_dir)?;
        for file in [VAULT, DATABASE].map(|name| folder.join(name)) {
            if !exists(&file)? {
                return Err(OpenError::Incomplete(file));
            }
            refuse_exposed(&file, fs::Metadata::is_file)?;
        }
        let lock = folder.join(LOCK);
        if exists(&lock)? {
            refuse_exposed(&lock, fs::Metadata::is_file)?;
        }
        files::sweep(folder, VAULT);
        let bytes = read_at_most(&path, VAULT_MAX).map_err(|error| OpenError::Unreadable(path, error))?;
        Ok(Self {
            folder: folder.to_owned(),
            bytes,
        })
    }

    /// Whether opening it takes a passphrase.
    ///
    /// # Errors
    /// [`OpenError::Vault`], as far as the head of the file alone shows it.
    pub fn is_protected(&self) -> Result<bool, OpenError> {
        Vault::needs_passphrase(&self.bytes).map_err(|error| OpenError::Vault(self.vault(), error))
    }

    /// Opens the vault. With a passphrase this takes some tenths of a second, on purpose. A passphrase for a
    /// profile without one is not looked at.
    ///
    /// # Errors
    /// [`OpenError::Passphrase`] for a wrong one, else [`OpenError::Vault`].
    pub fn open(&self, passphrase: Option<&Passphrase>) -> Result<Profile, OpenError> {
        let is_protected = self.is_protected()?;
        let vault = Vault::open(&self.bytes, passphrase).map_err(|error| {
            if is_protected && error == vault::OpenError::WrongOrDamaged {
                OpenError::Passphrase(self.vault())
            } else {
                OpenError::Vault(self.vault(), error)
            }
        })?;
        Ok(Profile {
            folder: self.folder.clone(),
            vault,
        })
    }

    fn vault(&self) -> PathBuf {
        self.folder.join(VAULT)
    }
}

impl Profile {
    /// Seals the vault under another passphrase, or under none. The keys in it stay the same, so this needs no
    /// lock, and whoever has the profile open goes on with it. Of two at once the last one stays.
    ///
    /// # Errors
    /// [`ResealError`]; the file is then as it was.
    pub fn reseal(&self, passphrase: Option<&Passphrase>) -> Result<(), ResealError> {
        let bytes = self
            .vault
            .seal(passphrase, &mut OsRng)
            .map_err(ResealError::Vault)?;
        files::Replacing::within(&self.folder)
            .and_then(|folder| folder.replace(VAULT, &bytes))
            .map_err(|error| ResealError::Unwritable(self.folder.join(VAULT), error))
    }
}

fn exists(path: &Path) -> Result<bool, OpenError> {
    path.try_exists()
        .map_err(|error| OpenError::Unreadable(path.to_owned(), error))
}

/// Whether this is a folder that `init` would fill.
fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// Refuses what others can read, and what is not of the wanted kind: a pipe would be waited for, a device read
/// without end, and their modes are nobody's to change.
fn refuse_exposed(path: &Path, wanted: fn(&fs::Metadata) -> bool) -> Result<(), OpenError> {
    let unreadable = |error| OpenError::Unreadable(path.to_owned(), error);
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !wanted(&metadata) {
        return Err(unreadable(io::Error::other("it is no file")));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    if metadata.mode() & OTHERS != 0 {
        return Err(OpenError::Exposed(path.to_owned()));
    }
    Ok(())
}

fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
        Ok(bytes)
    } else {
        Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "far larger than a vault can be",
        ))
    }
}

impl From<ResealError> for Failure {
    fn from(error: ResealError) -> Self {
        const WHAT: &str = "the passphrase was not changed";
        let why = with_causes(&error);
        match &error {
            ResealError::Vault(_) => Self::unexpected(WHAT, why),
            ResealError::Unwritable(..) => Self::new(
                FailureCode::ProfileUnreadable,
                WHAT,
                why,
                hint_for(&error, "look at the permissions of the folder and of the disk"),
            ),
        }
    }
}
