//! One process owns a profile. The kernel frees the lock with the process, however that ends.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use crate::failure::{Failure, FailureCode};

/// Holds the lock of a profile for as long as it lives.
#[derive(Debug)]
pub struct ProfileLock(File);

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process has it; its process id, where that could be read.
    #[error("another qpq process uses the profile")]
    Held(Option<u32>),
    /// The file cannot be opened or locked.
    #[error("{0} cannot be locked")]
    Unusable(PathBuf, #[source] io::Error),
}

/// A note is a process id and a path of a socket, which is far shorter.
const NOTE_MAX: u64 = 4096;

/// What the owner of a profile says of itself in the lock file: a courtesy, the lock alone is the truth.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// Its process id.
    pub pid: Option<u32>,
    /// Where it answers other processes.
    pub socket: Option<PathBuf>,
}

impl ProfileLock {
    /// Takes the lock or fails at once, and leaves the own process id in the file for others to name.
    pub(super) fn take(path: &Path) -> Result<Self, LockError> {
        Self::open(path, true)
    }

    /// The same for a file that is there already.
    pub(super) fn take_existing(path: &Path) -> Result<Self, LockError> {
        Self::open(path, false)
    }

    fn open(path: &Path, create: bool) -> Result<Self, LockError> {
        let unusable = |error| LockError::Unusable(path.to_owned(), error);
        // What is locked is also emptied and written to: never whatever a link leads to.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held(Note::of(&file).pid)),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        // Only a courtesy to others: on a full disk the lock is good without it.
        let _ = leave_note(&mut file, std::process::id().to_string().as_bytes());
        Ok(Self(file))
    }

    /// Tells others where the owner answers them.
    pub(crate) fn tell_socket(&mut self, socket: &Path) {
        let pid = std::process::id().to_string();
        let note = [pid.as_bytes(), b"\n", socket.as_os_str().as_bytes(), b"\n"].concat();
        // They look where it should be, too.
        let _ = leave_note(&mut self.0, &note);
    }
}

impl Note {
    /// What stands in a lock file; nothing where there is none.
    pub(super) fn read(path: &Path) -> Self {
        File::open(path).map(|file| Self::of(&file)).unwrap_or_default()
    }

    fn of(file: &File) -> Self {
        let mut bytes = Vec::new();
        if file.take(NOTE_MAX).read_to_end(&mut bytes).is_err() {
            return Self::default();
        }
        let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let pid = lines
            .next()
            .and_then(|line| std::str::from_utf8(line).ok()?.parse().ok());
        let socket = lines.next().map(|line| PathBuf::from(OsStr::from_bytes(line)));
        Self { pid, socket }
    }
}

impl Drop for ProfileLock {
    fn drop(&mut self) {
        // A note left behind would name a stranger in the moment before the next owner writes its own.
        let _ = leave_note(&mut self.0, b"");
        // Not left to closing the file: a child that was forked a moment ago may still hold a copy of it.
        let _ = self.0.unlock();
    }
}

fn leave_note(file: &mut File, note: &[u8]) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(note)
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held(pid) => Self::new(
                FailureCode::ProfileInUse,
                "the profile is in use",
                match pid {
                    Some(pid) => format!("the qpq with process id {pid} owns it"),
                    None => "another qpq owns it".to_owned(),
                },
                "end that one first, or use another profile: --profile NAME",
            ),
            LockError::Unusable(path, source) => Self::new(
                FailureCode::ProfileUnreadable,
                "the profile cannot be locked",
                format!("{}: {source}", path.display()),
                "look at the permissions of the folder and of the disk",
            ),
        }
    }
}
