//! Making a profile: all of it, durably, or nothing.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use qpq_core::{
    id::PeerId,
    identity::Identity,
    secret::Secret,
    store::{self, StoreError},
    vault::{self, Vault},
};
use rand_core::OsRng;

use super::{
    DATABASE, LOCK, OTHERS, VAULT,
    files::{self, make_folder, sync},
    lock::ProfileLock,
};
use crate::{
    failpoint::hit,
    failure::{Failure, FailureCode, hint_for, with_causes},
};

/// Why no profile was made. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// Something is there already.
    #[error("{0} exists")]
    Exists(PathBuf),
    /// A file or folder could not be made.
    #[error("{0} cannot be written")]
    Unwritable(PathBuf, #[source] io::Error),
    /// The vault could not be sealed.
    #[error("the keys cannot be sealed")]
    Vault(#[source] vault::OpenError),
    /// The database could not be made.
    #[error("the database cannot be made")]
    Store(#[from] StoreError),
}

/// Makes a profile with a new identity. It is complete and on disk before its folder gets its name.
///
/// # Errors
/// [`CreateError`]; an existing profile is never touched.
pub fn create(folder: &Path, own_name: &str) -> Result<PeerId, CreateError> {
    if is_taken(folder)? {
        return Err(CreateError::Exists(folder.to_owned()));
    }
    let parent = folder.parent().unwrap_or(Path::new("/"));
    let existing = parent.ancestors().find(|folder| folder.exists());
    hit("profile.folders");
    make_folder(parent, true).map_err(at(parent))?;
    sweep(folder, parent);
    let mut draft = Draft::new(folder, parent)?;
    let peer = fill(&draft.folder, own_name)?;
    hit("profile.rename");
    match fs::rename(&draft.folder, folder) {
        Ok(()) => draft.kept = true,
        // Somebody else was quicker: a folder with something in it is never replaced.
        Err(_) if is_taken(folder)? => return Err(CreateError::Exists(folder.to_owned())),
        Err(error) => return Err(CreateError::Unwritable(folder.to_owned(), error)),
    }
    hit("profile.named");
    sync(parent).map_err(at(parent))?;
    // The folders made above it are names in their parents too; those of others may refuse to be opened.
    for above in parent
        .ancestors()
        .take_while(|folder| Some(*folder) != existing)
        .filter_map(Path::parent)
    {
        let _ = sync(above);
    }
    hit("profile.whole");
    Ok(peer)
}

/// A folder that becomes the profile, or goes away again. Its lock tells it from one that was abandoned.
struct Draft {
    folder: PathBuf,
    kept: bool,
    _lock: ProfileLock,
}

impl Draft {
    fn new(folder: &Path, parent: &Path) -> Result<Self, CreateError> {
        let unwritable = |error| CreateError::Unwritable(parent.to_owned(), error);
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| unwritable(io::Error::other(error.to_string())))?;
        let path = parent.join(format!(
            "{}{:016x}",
            draft_prefix(folder),
            u64::from_ne_bytes(random)
        ));
        hit("profile.draft");
        make_folder(&path, false).map_err(at(&path))?;
        hit("profile.lock");
        let lock = ProfileLock::take(&path.join(LOCK));
        let lock = lock.map_err(|error| unwritable(io::Error::other(error)))?;
        Ok(Self {
            folder: path,
            kept: false,
            _lock: lock,
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            // Best effort; what stays is swept by the next `init`.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Profile names cannot begin with a dot: no draft is ever taken for a profile.
fn draft_prefix(folder: &Path) -> String {
    format!(
        ".{}.new-",
        folder.file_name().unwrap_or_default().to_string_lossy()
    )
}

/// Removes drafts of processes that were killed: they hold keys that nobody will use.
fn sweep(folder: &Path, parent: &Path) {
    let prefix = draft_prefix(folder);
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(&prefix) || !is_private_folder(&path) {
            continue;
        }
        if ProfileLock::take_existing(&path.join(LOCK)).is_ok() {
            let _ = fs::remove_dir_all(path);
        } else {
            // Killed before it had its lock, it is empty; one that is not, is in use.
            let _ = fs::remove_dir(path);
        }
    }
}

/// Whether this is a folder as [`Draft::new`] makes them. In a place where others may write, a link or a folder
/// of theirs may have the name of a draft, and lead the lock to a file that is dear to somebody.
fn is_private_folder(path: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    path.symlink_metadata()
        .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == own && metadata.mode() & OTHERS == 0)
}

fn fill(folder: &Path, own_name: &str) -> Result<PeerId, CreateError> {
    let unwritable = |error| CreateError::Unwritable(folder.to_owned(), error);
    let vault = Vault::generate(&mut OsRng);
    let sealed = vault.seal(None, &mut OsRng).map_err(CreateError::Vault)?;
    let vault_file = folder.join(VAULT);
    files::write(&vault_file, &sealed).map_err(at(&vault_file))?;
    let lan_key = Secret::random(&mut OsRng);
    // Nobody else can enter the folder while SQLite makes files with a mode of its own.
    store::create(&folder.join(DATABASE), &vault.database_key, own_name, &lan_key)?;
    hit("profile.modes");
    for entry in fs::read_dir(folder).map_err(unwritable)? {
        let path = entry.map_err(unwritable)?.path();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(unwritable)?;
        sync(&path).map_err(at(&path))?;
    }
    hit("profile.sync");
    sync(folder).map_err(at(folder))?;
    Ok(Identity::from_seed(&vault.identity_seed).peer_id())
}

fn is_taken(folder: &Path) -> Result<bool, CreateError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(folder.symlink_metadata().is_ok()),
        Err(error) => Err(CreateError::Unwritable(folder.to_owned(), error)),
    }
}

/// Names what could not be written.
fn at(path: &Path) -> impl FnOnce(io::Error) -> CreateError {
    |error| CreateError::Unwritable(path.to_owned(), error)
}

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Self {
        const WHAT: &str = "no profile was made";
        let why = with_causes(&error);
        let hint = |otherwise| hint_for(&error, otherwise);
        match &error {
            CreateError::Exists(_) => Self::new(
                FailureCode::ProfileExists,
                WHAT,
                format!("{why}; it was not changed"),
                "`qpq whoami` tells whose it is; another one: --profile NAME",
            ),
            CreateError::Unwritable(..) => Self::new(
                FailureCode::ProfileUnreadable,
                WHAT,
                why,
                hint("look at the permissions of the folder and of the disk, or take another: --home DIR"),
            ),
            CreateError::Vault(_) => Self::unexpected(WHAT, why),
            CreateError::Store(_) => Self::new(
                FailureCode::ProfileUnreadable,
                WHAT,
                why,
                hint("look at the disk, or take another folder: --home DIR"),
            ),
        }
    }
}
