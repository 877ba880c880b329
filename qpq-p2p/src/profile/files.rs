//! Files of this user alone: private from their first byte, and whole or not there at all.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::failpoint::hit;

/// A folder in which one process at a time replaces files.
#[derive(Debug)]
pub(crate) struct Replacing {
    path: PathBuf,
    folder: File,
}

impl Replacing {
    /// Waits for others who replace files in this folder; that takes them milliseconds.
    pub(crate) fn within(folder: &Path) -> io::Result<Self> {
        let opened = File::open(folder)?;
        // Some network file systems lock no folders. Two at once may then fail, and harm nothing.
        let _ = opened.lock();
        Ok(Self {
            path: folder.to_owned(),
            folder: opened,
        })
    }

    /// Puts a file in the place of another, or of none. Whenever this is interrupted, the name leads to all of the
    /// old file or all of the new one; when it returns, the new one is on disk.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let draft = self.path.join(draft_name(name));
        remove(&draft)?;
        let renamed = write(&draft, bytes).and_then(|()| {
            hit("file.rename");
            fs::rename(&draft, self.path.join(name))
        });
        if renamed.is_err() {
            // Best effort; the next one begins with it.
            let _ = fs::remove_file(&draft);
        }
        renamed?;
        hit("file.folder_sync");
        self.folder.sync_all()?;
        hit("file.whole");
        Ok(())
    }
}

impl Drop for Replacing {
    fn drop(&mut self) {
        // Not left to closing the folder: a child that was forked a moment ago may still hold a copy of it.
        let _ = self.folder.unlock();
    }
}

/// Removes what a killed process left of a file that it was to replace, unless one is at it just now.
pub(super) fn sweep(folder: &Path, name: &str) {
    let draft = folder.join(draft_name(name));
    if draft.symlink_metadata().is_err() {
        return;
    }
    if let Ok(opened) = File::open(folder)
        && opened.try_lock().is_ok()
    {
        let _ = fs::remove_file(draft);
        let _ = opened.unlock();
    }
}

fn draft_name(name: &str) -> String {
    format!("{name}.new")
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes a file that only this user reads, and brings it to the disk.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    hit("file.create");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    hit("file.fill");
    file.write_all(bytes)?;
    hit("file.sync");
    file.sync_all()
}

/// Brings a file, or the names in a folder, to the disk.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a folder that only this user enters; with `parents`, those above it as well, and what is there is fine.
pub(crate) fn make_folder(folder: &Path, parents: bool) -> io::Result<()> {
    DirBuilder::new().recursive(parents).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::os::unix::fs::{MetadataExt, symlink};

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_replaced_file_is_private_and_another_inode() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        let old = File::open(&path).unwrap();
        Replacing::within(folder.path())
            .unwrap()
            .replace("a", b"new")
            .unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o600);
        assert_ne!(metadata.ino(), old.metadata().unwrap().ino());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_lies_in_the_place_of_the_draft_is_not_followed() {
        let folder = TempDir::new().unwrap();
        let letter = folder.path().join("letter");
        fs::write(&letter, "dear to somebody").unwrap();
        symlink(&letter, folder.path().join("a.new")).unwrap();
        Replacing::within(folder.path())
            .unwrap()
            .replace("a", b"new")
            .unwrap();
        assert_eq!(fs::read(&letter).unwrap(), b"dear to somebody");
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"new");
    }

    #[test]
    fn a_replacement_that_fails_leaves_the_old_file_and_no_draft() {
        let folder = TempDir::new().unwrap();
        // A folder with something in it takes no file's place.
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        let replaced = Replacing::within(folder.path()).unwrap().replace("a", b"new");
        assert!(replaced.is_err());
        assert!(folder.path().join("a/b").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_abandoned_draft_is_swept_and_one_that_is_written_is_not() {
        let folder = TempDir::new().unwrap();
        let draft = folder.path().join("a.new");
        fs::write(&draft, "half").unwrap();
        let replacing = Replacing::within(folder.path()).unwrap();
        sweep(folder.path(), "a");
        assert!(draft.exists());
        drop(replacing);
        sweep(folder.path(), "a");
        assert!(!draft.exists());
    }
}
