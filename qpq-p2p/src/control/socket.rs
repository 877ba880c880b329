//! Where the socket of a profile is, and who may be at its ends: processes of the same user, nobody else.

use std::{
    fs, io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixStream};

use crate::{
    failure::{Failure, FailureCode},
    profile::quoted,
};

/// Systems take 104 to 108 bytes.
const PATH_MAX: usize = 100;

/// The name of a socket within the folder of its profile.
const IN_PROFILE: &str = "socket";

/// Bits of a mode that let others in.
const OTHERS: u32 = 0o077;

/// Where the socket of a profile is.
#[derive(Debug, Clone)]
pub struct SocketPlace {
    /// The profile's folder.
    folder: PathBuf,
    /// `$XDG_RUNTIME_DIR`, where that is to be used.
    runtime: Option<PathBuf>,
}

/// Why there is no socket to be had. Nothing was touched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The folder of the profile is not there.
    #[error("{0} does not exist")]
    NoProfile(PathBuf),
    /// The path has more than 100 bytes.
    #[error("{0} is longer than the 100 bytes that the path of a socket may have")]
    TooLong(PathBuf),
    /// Something else is where the socket should be.
    #[error("{0} is not a socket of this profile")]
    Foreign(PathBuf),
    /// Others may enter the folder of the socket, or own it.
    #[error("{0} is not a folder of yours alone")]
    Exposed(PathBuf),
    /// Another user is at the other end.
    #[error("another user of this machine is at the other end of {0}")]
    OtherUser(PathBuf),
    /// The system says no.
    #[error("{0}: {1}")]
    Unusable(PathBuf, #[source] io::Error),
}

impl SocketPlace {
    /// In `$XDG_RUNTIME_DIR/qpq`, where there is such a folder and no home of its own was named for qpq; else in
    /// the folder of the profile.
    pub fn new(folder: PathBuf, has_own_home: bool) -> Self {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|runtime| !has_own_home && runtime.is_absolute() && runtime.is_dir());
        Self { folder, runtime }
    }

    /// Where the socket is, or will be.
    pub(super) fn path(&self) -> Result<PathBuf, SocketError> {
        let missing = |_| SocketError::NoProfile(self.folder.clone());
        let folder = fs::metadata(&self.folder).map_err(missing)?;
        let path = match (&self.runtime, self.folder.file_name()) {
            (Some(runtime), Some(name)) => {
                // By the folder's own number: profiles of one name in two homes are two.
                let number = format!("-{:x}-{:x}.sock", folder.dev(), folder.ino());
                let mut name = name.to_owned();
                name.push(number);
                runtime.join("qpq").join(name)
            }
            _ => self.folder.join(IN_PROFILE),
        };
        if path.as_os_str().as_bytes().len() > PATH_MAX {
            return Err(SocketError::TooLong(path));
        }
        Ok(path)
    }

    /// Takes the socket's place, and that of one that a dead owner left. Only whoever holds the profile's lock may.
    pub(super) fn bind(&self) -> Result<Bound, SocketError> {
        let path = self.path()?;
        let unusable = |error| SocketError::Unusable(path.clone(), error);
        if let Some(runtime) = &self.runtime {
            private_folder(&runtime.join("qpq"))?;
        }
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unusable(error)),
            Ok(found) if found.file_type().is_socket() && found.uid() == own_uid() => {
                fs::remove_file(&path).map_err(unusable)?;
            }
            Ok(_) => return Err(SocketError::Foreign(path)),
        }
        crate::failpoint::hit("socket.bind");
        let listener = std::os::unix::net::UnixListener::bind(&path).map_err(unusable)?;
        let bound = Bound {
            listener: Some(listener),
            path: path.clone(),
        };
        // Nobody else may enter its folder anyway.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(unusable)?;
        Ok(bound)
    }
}

/// A socket that this process listens on; its name goes with it.
#[derive(Debug)]
pub(super) struct Bound {
    listener: Option<std::os::unix::net::UnixListener>,
    path: PathBuf,
}

impl Bound {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// For the runtime that this is called in.
    pub(super) fn listener(&mut self) -> io::Result<UnixListener> {
        let listener = self.listener.take().ok_or(io::ErrorKind::NotConnected)?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Where this fails the next owner takes its place.
        let _ = fs::remove_file(&self.path);
    }
}

/// A connection to whoever listens there; `None`: nobody does.
pub(super) async fn connect(path: &Path) -> Result<Option<UnixStream>, SocketError> {
    match UnixStream::connect(path).await {
        Ok(stream) => {
            check_peer(&stream, path)?;
            Ok(Some(stream))
        }
        Err(error) if is_nobody(error.kind()) => Ok(None),
        Err(error) => Err(SocketError::Unusable(path.to_owned(), error)),
    }
}

/// No owner is there, or not any more, or its queue is full: then it is asked again.
fn is_nobody(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
    )
}

/// Refuses whoever is another user.
pub(super) fn check_peer(stream: &UnixStream, path: &Path) -> Result<(), SocketError> {
    let peer = stream
        .peer_cred()
        .map_err(|error| SocketError::Unusable(path.to_owned(), error))?;
    check_uid(peer.uid(), path)
}

fn check_uid(uid: u32, path: &Path) -> Result<(), SocketError> {
    if uid == own_uid() {
        Ok(())
    } else {
        Err(SocketError::OtherUser(path.to_owned()))
    }
}

/// Makes a folder for the sockets of this user, or makes sure that it is one.
fn private_folder(path: &Path) -> Result<(), SocketError> {
    let unusable = |error| SocketError::Unusable(path.to_owned(), error);
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unusable(error)),
        Ok(()) | Err(_) => {}
    }
    let found = fs::symlink_metadata(path).map_err(unusable)?;
    if found.is_dir() && found.uid() == own_uid() && found.mode() & OTHERS == 0 {
        Ok(())
    } else {
        Err(SocketError::Exposed(path.to_owned()))
    }
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

impl From<SocketError> for Failure {
    fn from(error: SocketError) -> Self {
        const WHAT: &str = "the profile cannot be shared";
        let why = error.to_string();
        let (code, hint) = match error {
            SocketError::NoProfile(_) => {
                return Self::new(
                    FailureCode::NoProfile,
                    "there is no profile yet",
                    why,
                    "qpq init NAME",
                );
            }
            SocketError::TooLong(_) => (
                FailureCode::ProfileUnreadable,
                "take a folder with a shorter path: --home DIR, or set XDG_RUNTIME_DIR".to_owned(),
            ),
            SocketError::Foreign(path) => (
                FailureCode::ProfileUnreadable,
                format!(
                    "it was left as it is; move it away: mv -i {0} {0}.old",
                    quoted(&path)
                ),
            ),
            SocketError::Exposed(path) => (
                FailureCode::ProfileExposed,
                format!("if it is yours: chmod u=rwx,go= {}", quoted(&path)),
            ),
            SocketError::OtherUser(_) => (
                FailureCode::ProfileUnreadable,
                "somebody may be listening in: look at who made that socket".to_owned(),
            ),
            SocketError::Unusable(..) => (
                FailureCode::ProfileUnreadable,
                "look at the permissions of the folder and of the disk".to_owned(),
            ),
        };
        Self::new(code, WHAT, why, hint)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn place(home: &TempDir, runtime: Option<&Path>) -> SocketPlace {
        let folder = home.path().join("default");
        fs::create_dir_all(&folder).unwrap();
        SocketPlace {
            folder,
            runtime: runtime.map(Path::to_owned),
        }
    }

    #[test]
    fn profiles_of_one_name_in_two_homes_have_two_sockets() {
        let (runtime, one, two) = (
            TempDir::new().unwrap(),
            TempDir::new().unwrap(),
            TempDir::new().unwrap(),
        );
        let paths = [&one, &two].map(|home| place(home, Some(runtime.path())).path().unwrap());
        assert_ne!(paths[0], paths[1]);
        let again = place(&one, Some(runtime.path())).path().unwrap();
        assert_eq!(paths[0], again);
        assert!(again.starts_with(runtime.path().join("qpq")));
        let own = place(&one, None).path().unwrap();
        assert_eq!(own, one.path().join("default/socket"));
    }

    #[tokio::test]
    async fn the_socket_and_its_folder_are_for_their_user_alone_and_go_with_their_owner() {
        let (home, runtime) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let place = place(&home, Some(runtime.path()));
        let mut bound = place.bind().unwrap();
        let _listener = bound.listener().unwrap();
        let path = place.path().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(connect(&path).await.unwrap().is_some());
        drop(bound);
        assert!(!path.exists());
        assert!(connect(&path).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_socket_that_a_dead_owner_left_is_replaced() {
        let home = TempDir::new().unwrap();
        let place = place(&home, None);
        let path = place.path().unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists() && connect(&path).await.unwrap().is_none());
        let mut bound = place.bind().unwrap();
        let _listener = bound.listener().unwrap();
        assert!(connect(&path).await.unwrap().is_some());
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let (home, runtime) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let own = place(&home, None);
        let path = own.path().unwrap();
        fs::write(&path, "dear").unwrap();
        assert!(matches!(own.bind(), Err(SocketError::Foreign(_))));
        assert_eq!(fs::read(&path).unwrap(), b"dear");
        fs::remove_file(&path).unwrap();
        let letter = home.path().join("letter");
        fs::write(&letter, "dear").unwrap();
        symlink(&letter, &path).unwrap();
        assert!(matches!(own.bind(), Err(SocketError::Foreign(_))));
        assert_eq!(fs::read(&letter).unwrap(), b"dear");

        let shared = place(&home, Some(runtime.path()));
        let folder = runtime.path().join("qpq");
        symlink(home.path(), &folder).unwrap();
        assert!(matches!(shared.bind(), Err(SocketError::Exposed(_))));
        fs::remove_file(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(shared.bind(), Err(SocketError::Exposed(_))));
    }

    #[test]
    fn a_hint_can_be_pasted_whatever_the_path() {
        let hint = |error: SocketError| Failure::from(error).hint;
        assert_eq!(
            hint(SocketError::Exposed("/run/$(id) 7/qpq".into())),
            "if it is yours: chmod u=rwx,go= '/run/$(id) 7/qpq'"
        );
        assert_eq!(
            hint(SocketError::Foreign("/home/o'neil/socket".into())),
            r"it was left as it is; move it away: mv -i '/home/o'\''neil/socket' '/home/o'\''neil/socket'.old"
        );
    }

    #[test]
    fn a_path_that_no_system_takes_is_refused_with_a_hint() {
        let home = TempDir::new().unwrap();
        let mut place = place(&home, None);
        place.folder = home.path().join("x".repeat(90));
        fs::create_dir(&place.folder).unwrap();
        let failure = Failure::from(place.bind().unwrap_err());
        assert!(failure.why.contains("100 bytes") && failure.hint.contains("--home"));
    }

    #[test]
    fn another_user_is_refused() {
        check_uid(own_uid(), Path::new("/x")).unwrap();
        let other = check_uid(own_uid().wrapping_add(1), Path::new("/x"));
        assert!(matches!(other, Err(SocketError::OtherUser(_))));
    }
}
