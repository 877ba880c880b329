//! A profile: one person's keys and history in one folder, readable by nobody else, owned by one process.
//!
//! The folder (0700) holds `qpq-state.bin` (the vault), `qpq.db` (the database) and `lock` (0600 each).

mod create;
mod files;
mod folders;
mod lock;
mod sealed;

use std::{
    io,
    path::{Path, PathBuf},
};

use qpq_core::{
    id::PeerId,
    identity::Identity,
    store::{self, StoreError, read::Reader},
    vault::{self, Vault},
};

pub use create::{CreateError, create};
pub use folders::{Folders, FoldersError, ProfileName, ProfileNameError};
pub use lock::{LockError, Note, ProfileLock};
pub use sealed::{ResealError, SealedProfile};

pub(crate) use files::{Replacing, make_folder};

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
    /// The passphrase is not the one of this vault, or the vault is damaged: one cannot be told from the other.
    #[error("{0}: wrong passphrase or damaged file")]
    Passphrase(PathBuf),
    /// The vault cannot be opened.
    #[error("{0} cannot be opened")]
    Vault(PathBuf, #[source] vault::OpenError),
}

impl Profile {
    /// Opens the profile in a folder, where that takes no passphrase; see [`SealedProfile`] for one that does.
    ///
    /// # Errors
    /// [`OpenError`], also when anybody else could read one of its files.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        SealedProfile::read(folder)?.open(None)
    }

    /// Who the profile belongs to.
    pub fn peer_id(&self) -> PeerId {
        self.identity().peer_id()
    }

    /// The key of who it belongs to.
    pub fn identity(&self) -> Identity {
        Identity::from_seed(&self.vault.identity_seed)
    }

    /// Opens the history for reading. One of an older version is brought up to date first, if nobody owns the profile.
    ///
    /// # Errors
    /// [`StoreError`] when the database is damaged or of a newer version, or of an older one whose owner still runs.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        match self.read() {
            Err(StoreError::Older(version)) => {
                let lock = self.lock().map_err(|_| StoreError::Older(version))?;
                self.upgrade(&lock)?;
                self.read()
            }
            opened => opened,
        }
    }

    /// Brings the database of an older version up to date. Whatever else is wrong with it is told by who opens it.
    pub(crate) fn upgrade(&self, _owned: &ProfileLock) -> Result<(), StoreError> {
        match self.read() {
            Err(StoreError::Older(_)) => store::upgrade(&self.database(), &self.vault.database_key),
            _ => Ok(()),
        }
    }

    fn read(&self) -> Result<Reader, StoreError> {
        Reader::open(&self.database(), &self.vault.database_key)
    }

    /// Makes this process the owner of the profile.
    ///
    /// # Errors
    /// [`LockError`], at once, when another process is.
    pub fn lock(&self) -> Result<ProfileLock, LockError> {
        lock(&self.folder)
    }

    /// The folder it is in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.join(DATABASE)
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }
}

/// Makes this process the owner of the profile in this folder.
///
/// # Errors
/// [`LockError`], at once, when another process is.
pub fn lock(folder: &Path) -> Result<ProfileLock, LockError> {
    ProfileLock::take(&folder.join(LOCK))
}

/// What the owner of the profile in this folder says of itself.
pub fn owner_note(folder: &Path) -> Note {
    Note::read(&folder.join(LOCK))
}

/// A path as one word of a shell command that may be pasted.
pub(crate) fn quoted(path: &Path) -> String {
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
            OpenError::Passphrase(_) => Self::new(
                FailureCode::WrongPassphrase,
                WHAT,
                why,
                "try again; nothing was changed. Without its passphrase nobody can open it",
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
            format!("{path} is protected by a passphrase, and there is nobody to ask for it"),
            "run it on a terminal, or name a file that holds it: QPQ_PASSPHRASE_FILE, QPQ_PASSPHRASE_FD",
        ),
        vault::OpenError::NewerVersion => (
            FailureCode::ProfileTooNew,
            format!("{path} was written by a newer version"),
            "use a newer qpq; nothing was changed",
        ),
        vault::OpenError::OutOfMemory => (
            FailureCode::ProfileUnreadable,
            error.to_string(),
            "64 MiB of memory do: end other programs, or raise the limit",
        ),
        vault::OpenError::NotAVault | vault::OpenError::WrongOrDamaged | vault::OpenError::Parameters | _ => {
            (
                FailureCode::ProfileUnreadable,
                format!("{path}: {error}"),
                "put the file back from a copy; nothing was changed",
            )
        }
    };
    Failure::new(code, "the profile cannot be opened", why, hint)
}

#[cfg(test)]
mod tests;
