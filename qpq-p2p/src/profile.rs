//! A profile: one person's keys and history in one folder, readable by nobody else, owned by one process.
//!
//! The folder (0700) holds `qpq-state.bin` (the vault), `qpq.db` (the database) and `lock` (0600 each).

mod create;
mod folders;
mod lock;

use std::{
    fs, io,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use qpq_core::{
    id::PeerId,
    identity::Identity,
    store::{StoreError, read::Reader},
    vault::{self, Vault},
};

pub use create::{CreateError, create};
pub use folders::{Folders, FoldersError, ProfileName, ProfileNameError};
pub use lock::{LockError, ProfileLock};

use crate::failure::{Failure, FailureCode};

const VAULT: &str = "qpq-state.bin";
const DATABASE: &str = "qpq.db";
const LOCK: &str = "lock";

/// Nothing but what is ours and small is read: a vault has some hundred bytes.
const VAULT_MAX: u64 = 64 * 1024;

/// Bits of a mode that let others read, write or enter.
const OTHERS: u32 = 0o077;

/// A profile whose vault is open.
pub struct Profile {
    folder: PathBuf,
    vault: Vault,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// Why a profile was not opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is none in this folder.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// There is one, but not all of it.
    #[error("{0} is missing")]
    Incomplete(PathBuf),
    /// Others can read it.
    #[error("others on this machine can read {0}")]
    Exposed(PathBuf),
    /// It belongs to another user.
    #[error("{0} belongs to another user of this machine")]
    Foreign(PathBuf),
    /// A file cannot be read.
    #[error("{0} cannot be read")]
    Unreadable(PathBuf, #[source] io::Error),
    /// The vault cannot be opened.
    #[error("{0} cannot be opened")]
    Vault(PathBuf, #[source] vault::OpenError),
}

impl Profile {
    /// Opens the profile in a folder. Takes no lock: reading beside the owner is fine.
    ///
    /// # Errors
    /// [`OpenError`], also when anybody else could read one of its files.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join(VAULT);
        if !exists(folder)? || is_empty(folder) {
            return Err(OpenError::Missing(folder.to_owned()));
        }
        refuse_exposed(folder)?;
        for file in [VAULT, DATABASE].map(|name| folder.join(name)) {
            if !exists(&file)? {
                return Err(OpenError::Incomplete(file));
            }
            refuse_exposed(&file)?;
        }
        let lock = folder.join(LOCK);
        if exists(&lock)? {
            refuse_exposed(&lock)?;
        }
        let bytes =
            read_at_most(&path, VAULT_MAX).map_err(|error| OpenError::Unreadable(path.clone(), error))?;
        let vault = Vault::open(&bytes, None).map_err(|error| OpenError::Vault(path, error))?;
        Ok(Self {
            folder: folder.to_owned(),
            vault,
        })
    }

    /// Who the profile belongs to.
    pub fn peer_id(&self) -> PeerId {
        self.identity().peer_id()
    }

    /// The key of who it belongs to.
    pub fn identity(&self) -> Identity {
        Identity::from_seed(&self.vault.identity_seed)
    }

    /// Opens the history for reading.
    ///
    /// # Errors
    /// [`StoreError`] when the database is damaged or of a newer version.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        Reader::open(&self.database(), &self.vault.database_key)
    }

    /// Makes this process the owner of the profile.
    ///
    /// # Errors
    /// [`LockError`], at once, when another process is.
    pub fn lock(&self) -> Result<ProfileLock, LockError> {
        ProfileLock::take(&self.folder.join(LOCK))
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.join(DATABASE)
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
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

fn refuse_exposed(path: &Path) -> Result<(), OpenError> {
    let metadata = fs::metadata(path).map_err(|error| OpenError::Unreadable(path.to_owned(), error))?;
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

/// A path as one word of a shell command that may be pasted.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        const WHAT: &str = "the profile cannot be opened";
        let why = error.to_string();
        match error {
            OpenError::Missing(_) => Self::new(
                FailureCode::NoProfile,
                "there is no profile yet",
                why,
                "qpq init NAME",
            ),
            OpenError::Incomplete(_) => Self::new(
                FailureCode::ProfileUnreadable,
                WHAT,
                why,
                "put it back from a copy, or use another profile: --profile NAME",
            ),
            OpenError::Exposed(path) => {
                let mode = if path.is_dir() { "u=rwx,go=" } else { "u=rw,go=" };
                let hint = format!("chmod {mode} {}", quoted(&path));
                Self::new(FailureCode::ProfileExposed, WHAT, why, hint)
            }
            OpenError::Foreign(_) => Self::new(
                FailureCode::ProfileUnreadable,
                WHAT,
                why,
                "run qpq as that user, or take another folder: --home DIR",
            ),
            OpenError::Unreadable(_, source) => Self::new(
                FailureCode::ProfileUnreadable,
                WHAT,
                format!("{why}: {source}"),
                "look at the permissions of the folder and of the disk",
            ),
            OpenError::Vault(path, source) => vault_failure(&path, &source),
        }
    }
}

fn vault_failure(path: &Path, error: &vault::OpenError) -> Failure {
    let path = path.display();
    let (code, why, hint) = match error {
        vault::OpenError::PassphraseNeeded => (
            FailureCode::PassphraseNeeded,
            format!("{path} is protected by a passphrase, which this version cannot ask for"),
            "use the version of qpq that protected it",
        ),
        vault::OpenError::NewerVersion => (
            FailureCode::ProfileTooNew,
            format!("{path} was written by a newer version"),
            "use a newer qpq; nothing was changed",
        ),
        vault::OpenError::NotAVault
        | vault::OpenError::WrongOrDamaged
        | vault::OpenError::Parameters
        | vault::OpenError::OutOfMemory
        | _ => (
            FailureCode::ProfileUnreadable,
            format!("{path}: {error}"),
            "put the file back from a copy; nothing was changed",
        ),
    };
    Failure::new(code, "the profile cannot be opened", why, hint)
}

#[cfg(test)]
mod tests;
