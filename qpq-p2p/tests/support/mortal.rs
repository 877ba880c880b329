//! Programs that are told where to die, and what they passed on the way there.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared by several test files, each of which uses a part; tests fail by panicking"
)]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitStatus},
};

use qpq_core::{secret::Secret, vault::Vault};
use rusqlite::Connection;

/// SIGKILL.
pub(crate) const KILLED: Option<i32> = Some(9);

/// Runs a command to its end, and tells each point that it hit, in order.
pub(crate) fn points(command: &mut Command, note: &Path) -> Vec<String> {
    let _ = fs::remove_file(note);
    let ended = command.env("CRASH_POINTS", note).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let noted = fs::read_to_string(note).unwrap();
    noted.lines().map(str::to_owned).collect()
}

/// The first and the last hit of each point: (point, which).
pub(crate) fn ends(points: &[String]) -> Vec<(String, usize)> {
    let names: BTreeSet<&String> = points.iter().collect();
    let mut chosen = Vec::new();
    for name in names {
        let count = points.iter().filter(|point| *point == name).count();
        chosen.push((name.clone(), 1));
        if count > 1 {
            chosen.push((name.clone(), count));
        }
    }
    chosen
}

/// The same command, killed at a point.
pub(crate) fn killed_at<'a>(command: &'a mut Command, point: &str, hit: usize) -> &'a mut Command {
    command.env("CRASH_AT", format!("{point}:{hit}"))
}

#[track_caller]
pub(crate) fn assert_killed(status: ExitStatus, case: &str) {
    assert_eq!(status.signal(), KILLED, "{case}: it lives");
}

/// The key of a profile without a passphrase.
pub(crate) fn database_key(folder: &Path) -> Secret<32> {
    let vault = Vault::open(&fs::read(folder.join("qpq-state.bin")).unwrap(), None).unwrap();
    vault.database_key
}

/// Its database, past the program.
pub(crate) fn database(folder: &Path) -> Connection {
    database_with(folder, database_key(folder).expose())
}

/// The same with its key: for a profile with a passphrase.
pub(crate) fn database_with(folder: &Path, key: &[u8; 32]) -> Connection {
    let key: String = key.iter().map(|byte| format!("{byte:02X}")).collect();
    let connection = Connection::open(folder.join("qpq.db")).unwrap();
    connection
        .execute_batch(&format!("PRAGMA key = \"x'{key}'\""))
        .unwrap();
    connection
}
