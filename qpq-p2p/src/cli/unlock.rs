//! Where a passphrase comes from: a file, an open descriptor, or somebody at the terminal. Never from an argument or
//! a variable, which others can see.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use qpq_core::passphrase::{Passphrase, PassphraseError};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use super::{Context, input, output::Hidden};
use crate::{
    config::SecretPlace,
    failure::{Failure, FailureCode},
    profile::{OpenError, Profile, SealedProfile, quoted},
};

/// So often a wrong passphrase may be typed.
const TRIES: u8 = 3;

/// More than a passphrase and one line end can have.
const READ_MAX: usize = Passphrase::MAX + 2;

/// Opens a profile, with its passphrase where it has one. Not `async`, so that whoever needs a profile need not be;
/// Ctrl+C ends it while somebody types.
pub(super) fn open(sealed: &SealedProfile, context: &Context) -> Result<Profile, Failure> {
    if !sealed.is_protected()? {
        return Ok(sealed.open(None)?);
    }
    let kept = lock(&context.passphrase).clone();
    if let Some(passphrase) = kept
        && let Ok(profile) = unseal(sealed, &passphrase)
    {
        return Ok(profile);
    }
    if let Some(passphrase) = given(&context.settings.passphrase, &CURRENT, context)? {
        return keep(sealed, passphrase, context);
    }
    if input::is_being_read() && context.settings.no_input != Some(true) {
        return Err(Failure::new(
            FailureCode::PassphraseNeeded,
            "the profile is locked again",
            "the qpq that had it open has ended, and this one cannot ask for the passphrase while it reads what you type",
            "start it again; what was accepted is kept",
        ));
    }
    let Some(terminal) = terminal(context) else {
        // Fails as one that needs a passphrase does.
        return Ok(sealed.open(None)?);
    };
    for _ in 1..TRIES {
        // What cannot be a passphrase is a wrong one.
        if let Ok(passphrase) = typed(&terminal, "Passphrase: ", context)? {
            match keep(sealed, passphrase, context) {
                Err(failure) if failure.code == FailureCode::WrongPassphrase => {}
                opened => return opened,
            }
        }
        context.output.note("wrong passphrase or damaged file: try again");
    }
    let last = typed(&terminal, "Passphrase: ", context)?.map_err(refused)?;
    keep(sealed, last, context)
}

/// Whether [`open`] asks somebody.
pub(super) fn asks(sealed: &SealedProfile, context: &Context) -> Result<bool, Failure> {
    let place = &context.settings.passphrase;
    let is_given = place.file.is_some() || place.fd.is_some() || lock(&context.passphrase).is_some();
    Ok(sealed.is_protected()? && !is_given && terminal(context).is_some())
}

/// Opens the profile, and keeps what opened it: a descriptor can be read once, and nobody types twice.
fn keep(sealed: &SealedProfile, passphrase: Passphrase, context: &Context) -> Result<Profile, Failure> {
    let profile = unseal(sealed, &passphrase)?;
    *lock(&context.passphrase) = Some(passphrase);
    Ok(profile)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The passphrase to be used from now on; asked for twice, so that nobody locks himself out by a slip.
pub(super) fn new_passphrase(context: &Context) -> Result<Passphrase, Failure> {
    if let Some(passphrase) = given(&context.settings.new_passphrase, &NEW, context)? {
        return Ok(passphrase);
    }
    let terminal = terminal(context).ok_or_else(|| {
        Failure::new(
            FailureCode::PassphraseNeeded,
            WHAT_NEW,
            "there is no new one, and nobody to ask for it",
            "run it on a terminal, or name a file that holds it: QPQ_NEW_PASSPHRASE_FILE, QPQ_NEW_PASSPHRASE_FD",
        )
    })?;
    let first = typed(&terminal, "New passphrase: ", context)?.map_err(refused)?;
    let second = typed(&terminal, "The same again: ", context)?.map_err(refused)?;
    if first != second {
        let why = "the two that were typed are not the same";
        return Err(Failure::usage(WHAT_NEW, why, "qpq passphrase set"));
    }
    Ok(first)
}

const WHAT_NEW: &str = "the passphrase was not changed";

/// Which passphrase, in messages.
struct Words {
    variable: &'static str,
    what: &'static str,
}

const CURRENT: Words = Words {
    variable: "QPQ_PASSPHRASE",
    what: "the profile cannot be opened",
};

const NEW: Words = Words {
    variable: "QPQ_NEW_PASSPHRASE",
    what: WHAT_NEW,
};

fn unseal(sealed: &SealedProfile, passphrase: &Passphrase) -> Result<Profile, OpenError> {
    sealed.open(Some(passphrase))
}

/// What a file or a descriptor holds, where one is named.
fn given(place: &SecretPlace, words: &Words, context: &Context) -> Result<Option<Passphrase>, Failure> {
    let variable = words.variable;
    let (path, is_private, name) = match (&place.file, place.fd) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(Failure::usage(
                words.what,
                format!("{variable}_FILE and {variable}_FD are both set"),
                "unset one of them",
            ));
        }
        (Some(file), None) => (file.clone(), true, format!("{variable}_FILE")),
        // Whoever opened it answers for it.
        (None, Some(fd)) => (
            PathBuf::from(format!("/dev/fd/{fd}")),
            false,
            format!("{variable}_FD"),
        ),
    };
    let from = path.clone();
    let read = interruptible(context, move || read_file(&from, is_private))?;
    let passphrase = read.and_then(|bytes| Ok(Passphrase::from_bytes(bytes)?));
    passphrase.map(Some).map_err(|error| {
        let why = format!("{name}, {}: {error}", path.display());
        Failure::new(error.code(), words.what, why, error.hint(&path))
    })
}

/// Why a file gave no passphrase.
#[derive(Debug, thiserror::Error)]
enum PlaceError {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("others on this machine can read it")]
    Exposed,
    #[error("it belongs to another user of this machine")]
    Foreign,
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
}

impl PlaceError {
    fn code(&self) -> FailureCode {
        match self {
            Self::Exposed | Self::Foreign => FailureCode::ProfileExposed,
            Self::Unreadable(_) => FailureCode::PassphraseNeeded,
            Self::Passphrase(_) => FailureCode::Usage,
        }
    }

    fn hint(&self, path: &Path) -> String {
        match self {
            Self::Exposed => format!("chmod u=rw,go= {}", quoted(path)),
            Self::Foreign => format!("chown \"$(id -u)\" {}", quoted(path)),
            Self::Unreadable(_) => "look whether it is there, and whether you may read it".to_owned(),
            Self::Passphrase(_) => "put the passphrase into it, and nothing else but one line end".to_owned(),
        }
    }
}

/// Bits of a mode that let others read or write.
const OTHERS: u32 = 0o077;

fn read_file(path: &Path, is_private: bool) -> Result<Zeroizing<Vec<u8>>, PlaceError> {
    let file = File::open(path)?;
    // Of what was opened, whatever the name leads to by now.
    let metadata = file.metadata()?;
    if is_private && metadata.mode() & OTHERS != 0 {
        return Err(PlaceError::Exposed);
    }
    // Root may have put it there, as systemd does with credentials.
    if is_private && ![0, rustix::process::geteuid().as_raw()].contains(&metadata.uid()) {
        return Err(PlaceError::Foreign);
    }
    // Behind a pipe there may be nobody who closes it.
    Ok(read_bounded(file, |bytes| !is_private && bytes.contains(&b'\n'))?)
}

/// Reads into memory that is never moved, so that one wipe wipes all of it.
fn read_bounded(mut file: impl Read, is_complete: impl Fn(&[u8]) -> bool) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; READ_MAX]);
    let mut length = 0;
    while let Some(room) = bytes.get_mut(length..).filter(|room| !room.is_empty()) {
        match file.read(room) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if bytes.get(..length).is_some_and(&is_complete) {
            break;
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Somebody to ask: whoever redirected only input or output is still there.
fn terminal(context: &Context) -> Option<Hidden> {
    // A line that somebody else reads might be taken for a message, and sent.
    if context.settings.no_input == Some(true) || input::is_being_read() {
        return None;
    }
    Hidden::open()
}

fn typed(
    terminal: &Hidden,
    prompt: &str,
    context: &Context,
) -> Result<Result<Passphrase, PassphraseError>, Failure> {
    let unreadable = |error: io::Error| Failure::unexpected(WHAT_READ, error);
    terminal.ask(prompt).map_err(unreadable)?;
    let input = terminal.input().map_err(unreadable)?;
    let line = interruptible(context, move || read_bounded(input, |line| line.ends_with(b"\n")));
    if !matches!(&line, Ok(Ok(line)) if !line.is_empty()) {
        terminal.leave();
    }
    let line = line?.map_err(unreadable)?;
    if line.is_empty() {
        let needed = FailureCode::PassphraseNeeded;
        return Err(Failure::new(needed, WHAT_READ, "the input ended", HINT_READ));
    }
    Ok(Passphrase::from_bytes(line))
}

const WHAT_READ: &str = "the passphrase was not read";
const HINT_READ: &str = "type it and press Enter; Ctrl+C ends";

fn refused(error: PassphraseError) -> Failure {
    Failure::usage(WHAT_READ, error.to_string(), HINT_READ)
}

/// Has a thread do what may take for ever. After Ctrl+C it is left to the end of the process.
fn interruptible<T: Send + 'static>(
    context: &Context,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let runtime = Handle::current();
    let wait = || {
        runtime.block_on(async {
            tokio::select! {
                done = tokio::task::spawn_blocking(work) => {
                    done.map_err(|error| Failure::unexpected(WHAT_READ, error))
                }
                () = context.output.stop() => Err(Failure::interrupted()),
            }
        })
    };
    // This thread carries RPC as well: the runtime does not let it wait, so another one does.
    let waited = std::thread::scope(|scope| scope.spawn(wait).join());
    waited.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_file_is_read_to_its_end_but_not_beyond_what_fits() {
        assert_eq!(*read_bounded(&b"a\nb"[..], |_| false).unwrap(), b"a\nb");
        assert_eq!(read_bounded(io::repeat(b'x'), |_| false).unwrap().len(), READ_MAX);
        let long = read_bounded(io::repeat(b'x'), |_| false).unwrap();
        assert_eq!(Passphrase::from_bytes(long), Err(PassphraseError::TooLong));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "secret\n").unwrap();
        for (mode, is_fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_file(file.path(), true).is_ok(), is_fine, "{mode:o}");
            assert!(read_file(file.path(), false).is_ok());
        }
    }
}
