//! Why a verb ended without doing what was asked: what happened, why, and what to do about it.

use std::{error::Error, fmt, io, iter};

use rusqlite::ffi;
use serde::{Deserialize, Serialize};

/// Names every way to fail. The names and exit codes are a contract: they may be added to, never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum FailureCode {
    /// Nothing below fits: a fault of the program or of the machine.
    Unexpected,
    /// The engine could not write; nothing was changed.
    NotStored,
    /// The command line or its input makes no sense.
    Usage,
    /// A setting in `config.toml` or the environment makes no sense.
    Config,
    /// `init` found a profile where it was to make one.
    ProfileExists,
    /// There is no profile yet.
    NoProfile,
    /// Others on this machine can read the profile.
    ProfileExposed,
    /// The profile's files cannot be read, or are not what they should be.
    ProfileUnreadable,
    /// The profile needs a passphrase.
    PassphraseNeeded,
    /// The passphrase is wrong, or the vault damaged.
    WrongPassphrase,
    /// The profile was written by a newer version.
    ProfileTooNew,
    /// Nobody who knows the code was found, or nobody used it, in time.
    NobodyFound,
    /// `listen` was to wait for more messages than came in time.
    TooFewCame,
    /// The network could not be used at all.
    NoNetwork,
    /// The code is not the one of the invite.
    WrongCode,
    /// All guesses of a code were spent.
    GuessesSpent,
    /// The inviter is a contact already.
    AlreadyContact,
    /// Somebody with a new key has the name of a contact, and waits for the user's word.
    KeyChanged,
    /// The safety numbers differ.
    NumberMismatch,
    /// The user has blocked this person.
    Blocked,
    /// The name is somebody else's, or cannot be one.
    NameTaken,
    /// Nobody who is known has this name or id.
    UnknownContact,
    /// Several people have this name.
    AmbiguousContact,
    /// There is no open question about this person.
    NothingToDecide,
    /// No chat has this name.
    UnknownChat,
    /// No link of one's own has this id.
    UnknownLink,
    /// Several chats have this name.
    AmbiguousChat,
    /// Kept, but not delivered in time.
    NotDelivered,
    /// Another process owns the profile.
    ProfileInUse,
    /// The other side said no.
    Refused,
    /// The code was not used before its time was over.
    InviteExpired,
    /// Nobody reads the output any more: the way pipes end.
    OutputClosed,
    /// Ctrl+C or SIGTERM.
    Interrupted,
}

impl FailureCode {
    /// The name in JSON errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unexpected => "unexpected",
            Self::NotStored => "not_stored",
            Self::Usage => "usage",
            Self::Config => "config",
            Self::ProfileExists => "profile_exists",
            Self::NoProfile => "no_profile",
            Self::ProfileExposed => "profile_exposed",
            Self::ProfileUnreadable => "profile_unreadable",
            Self::PassphraseNeeded => "passphrase_needed",
            Self::WrongPassphrase => "wrong_passphrase",
            Self::ProfileTooNew => "profile_too_new",
            Self::NobodyFound => "nobody_found",
            Self::TooFewCame => "too_few_came",
            Self::NoNetwork => "no_network",
            Self::WrongCode => "wrong_code",
            Self::GuessesSpent => "guesses_spent",
            Self::AlreadyContact => "already_contact",
            Self::KeyChanged => "key_changed",
            Self::NumberMismatch => "number_mismatch",
            Self::Blocked => "blocked",
            Self::NameTaken => "name_taken",
            Self::UnknownContact => "unknown_contact",
            Self::AmbiguousContact => "ambiguous_contact",
            Self::NothingToDecide => "nothing_to_decide",
            Self::UnknownChat => "unknown_chat",
            Self::UnknownLink => "unknown_link",
            Self::AmbiguousChat => "ambiguous_chat",
            Self::NotDelivered => "not_delivered",
            Self::ProfileInUse => "profile_in_use",
            Self::Refused => "refused",
            Self::InviteExpired => "invite_expired",
            Self::OutputClosed => "output_closed",
            Self::Interrupted => "interrupted",
        }
    }

    /// The exit code of the program.
    pub fn exit(self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Unexpected | Self::NotStored => 1,
            Self::Usage
            | Self::Config
            | Self::ProfileExists
            | Self::AlreadyContact
            | Self::Blocked
            | Self::NameTaken => 2,
            Self::NoProfile
            | Self::ProfileExposed
            | Self::ProfileUnreadable
            | Self::PassphraseNeeded
            | Self::WrongPassphrase
            | Self::ProfileTooNew => 3,
            Self::NobodyFound | Self::TooFewCame | Self::NoNetwork => 4,
            Self::WrongCode | Self::GuessesSpent | Self::KeyChanged | Self::NumberMismatch => 5,
            Self::UnknownChat
            | Self::AmbiguousChat
            | Self::UnknownLink
            | Self::UnknownContact
            | Self::AmbiguousContact
            | Self::NothingToDecide => 6,
            Self::NotDelivered => 7,
            Self::ProfileInUse => 8,
            Self::Refused | Self::InviteExpired => 9,
            Self::Interrupted => 130,
        }
    }

    /// Whether there is nothing to tell: the user did it, or nobody listens.
    pub fn is_silent(self) -> bool {
        matches!(self, Self::OutputClosed | Self::Interrupted)
    }
}

/// One failed request in three lines. May quote hostile text: printing goes through `sanitize`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which.
    pub code: FailureCode,
    /// What happened.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do.
    pub hint: String,
}

impl Failure {
    /// Puts the three lines together.
    pub fn new(
        code: FailureCode,
        what: impl Into<String>,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code,
            what: what.into(),
            why: why.into(),
            hint: hint.into(),
        }
    }

    /// The command line or its input makes no sense.
    pub fn usage(what: impl Into<String>, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(FailureCode::Usage, what, why, hint)
    }

    /// Something that no user caused.
    pub fn unexpected(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::new(
            FailureCode::Unexpected,
            what,
            why.to_string(),
            "try again; `-vv` shows more of what happens",
        )
    }

    /// Ctrl+C or SIGTERM.
    pub fn interrupted() -> Self {
        Self::new(
            FailureCode::Interrupted,
            "interrupted",
            "a signal asked to stop",
            "run it again",
        )
    }
}

/// What to do about a full disk. What was to be written is in a transaction, or in a file that has no name yet.
const FULL_HINT: &str = "make room, then try again; nothing was lost";

/// An error with what caused it: `the database failed: disk I/O error`. A full disk is told without the detours.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    if is_disk_full(error) {
        return "no space left on this disk".to_owned();
    }
    let causes: Vec<_> = chain(error).map(ToString::to_string).collect();
    causes.join(": ")
}

/// What to do where the database cannot be opened, or not be written to. Readers have a file of their own beside it.
const CLOSED_HINT: &str =
    "look at the permissions of the folder: the database is written beside even when it is read";

/// What helps against an error: room, where that is what lacks, or a folder that can be written to.
pub(crate) fn hint_for(error: &(dyn Error + 'static), otherwise: &'static str) -> &'static str {
    if is_disk_full(error) {
        FULL_HINT
    } else if is_closed(error) {
        CLOSED_HINT
    } else {
        otherwise
    }
}

fn is_closed(error: &(dyn Error + 'static)) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, ReadOnly};
    chain(error)
        .filter_map(|error| error.downcast_ref::<rusqlite::Error>()?.sqlite_error_code())
        .any(|code| matches!(code, CannotOpen | ReadOnly))
}

fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| {
        let sqlite = error.downcast_ref::<rusqlite::Error>();
        let sqlite = sqlite.and_then(rusqlite::Error::sqlite_error);
        let system = error.downcast_ref::<io::Error>();
        // Where SQLite cannot make its shared memory larger, it does not tell why: room is the only thing it asks for.
        sqlite
            .is_some_and(|error| matches!(error.extended_code, ffi::SQLITE_FULL | ffi::SQLITE_IOERR_SHMSIZE))
            || system.is_some_and(|error| {
                matches!(
                    error.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                )
            })
    })
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error| Error::source(*error))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl Error for Failure {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use qpq_core::store::StoreError;

    use super::*;
    use crate::profile::CreateError;

    fn sqlite(code: i32) -> StoreError {
        let text = Some("disk I/O error".to_owned());
        StoreError::Sqlite(rusqlite::Error::SqliteFailure(ffi::Error::new(code), text))
    }

    #[test]
    fn a_full_disk_is_told_as_one() {
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE] {
            let failure = Failure::from(sqlite(code));
            assert_eq!(failure.why, "no space left on this disk");
            assert_eq!(failure.hint, FULL_HINT);
        }
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let unwritable = CreateError::Unwritable("/x".into(), kind.into());
            let failure = Failure::from(unwritable);
            assert_eq!(failure.why, "no space left on this disk");
            assert_eq!(failure.hint, FULL_HINT);
        }
    }

    #[test]
    fn a_failure_is_read_back_as_it_was() {
        for code in [
            FailureCode::Unexpected,
            FailureCode::NotStored,
            FailureCode::ProfileTooNew,
            FailureCode::TooFewCame,
            FailureCode::NoNetwork,
            FailureCode::ProfileInUse,
            FailureCode::OutputClosed,
        ] {
            let failure = Failure::new(code, "what", "why", "hint");
            let json = serde_json::to_string(&failure).unwrap();
            let name = code.name();
            assert_eq!(
                json,
                format!(r#"{{"code":"{name}","what":"what","why":"why","hint":"hint"}}"#)
            );
            assert_eq!(serde_json::from_str::<Failure>(&json).unwrap(), failure);
        }
    }

    #[test]
    fn another_fault_of_the_disk_is_told_with_its_causes() {
        for code in [ffi::SQLITE_IOERR_READ, ffi::SQLITE_CORRUPT] {
            let failure = Failure::from(sqlite(code));
            assert!(
                failure.why.starts_with("the database failed: disk I/O error"),
                "{failure}"
            );
            assert_ne!(failure.hint, FULL_HINT);
        }
        for code in [ffi::SQLITE_CANTOPEN, ffi::SQLITE_READONLY] {
            assert_eq!(Failure::from(sqlite(code)).hint, CLOSED_HINT);
        }
    }
}
