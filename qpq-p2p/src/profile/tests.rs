//! Folders, modes and the lock, on a real disk.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use qpq_core::passphrase::Passphrase;

use tempfile::TempDir;

use super::*;

fn made() -> (TempDir, PathBuf) {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("a/b/default");
    create(&folder, "anna").unwrap();
    (home, folder)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_new_profile_is_private_and_opens_as_who_it_was_made_for() {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("a/b/default");
    let peer = create(&folder, "anna").unwrap();
    for made in ["a", "a/b", "a/b/default"] {
        assert_eq!(mode(&home.path().join(made)), 0o700, "{made}");
    }
    for name in names(&folder) {
        assert_eq!(mode(&folder.join(&name)), 0o600, "{name}");
    }
    assert_eq!(names(folder.parent().unwrap()), ["default"]);
    let profile = Profile::open(&folder).unwrap();
    assert_eq!(profile.peer_id(), peer);
    assert_eq!(profile.reader().unwrap().own_name().unwrap(), "anna");
}

#[test]
fn an_existing_profile_is_never_replaced() {
    let (_home, folder) = made();
    let before = fs::read(folder.join(VAULT)).unwrap();
    assert!(matches!(create(&folder, "ben"), Err(CreateError::Exists(_))));
    assert_eq!(fs::read(folder.join(VAULT)).unwrap(), before);
    assert_eq!(names(folder.parent().unwrap()), ["default"]);
}

#[test]
fn a_file_in_the_place_of_the_folder_is_not_replaced() {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("default");
    fs::write(&folder, "x").unwrap();
    assert!(matches!(create(&folder, "ben"), Err(CreateError::Exists(_))));
    assert_eq!(fs::read(&folder).unwrap(), b"x");
}

#[test]
fn drafts_of_killed_processes_are_swept_and_living_ones_kept() {
    let home = TempDir::new().unwrap();
    let abandoned = home.path().join(".default.new-1");
    let living = home.path().join(".default.new-2");
    for draft in [&abandoned, &living] {
        fs::create_dir(draft).unwrap();
        set_mode(draft, 0o700);
        fs::write(draft.join(LOCK), "").unwrap();
        fs::write(draft.join(VAULT), "secret").unwrap();
    }
    let held = ProfileLock::take(&living.join(LOCK)).unwrap();
    create(&home.path().join("default"), "anna").unwrap();
    assert_eq!(names(home.path()), [".default.new-2", "default"]);
    drop(held);
}

#[test]
fn a_failed_creation_leaves_nothing() {
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("file"), "").unwrap();
    let folder = home.path().join("file/default");
    assert!(matches!(
        create(&folder, "anna"),
        Err(CreateError::Unwritable(..))
    ));
    assert_eq!(names(home.path()), ["file"]);
}

#[test]
fn a_missing_profile_is_told_from_an_unreadable_one() {
    let home = TempDir::new().unwrap();
    assert!(matches!(
        Profile::open(&home.path().join("default")),
        Err(OpenError::Missing(_))
    ));
    let empty = home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(matches!(Profile::open(&empty), Err(OpenError::Missing(_))));
    let (_home, folder) = made();
    fs::remove_file(folder.join(VAULT)).unwrap();
    fs::create_dir(folder.join(VAULT)).unwrap();
    set_mode(&folder.join(VAULT), 0o700);
    assert!(matches!(Profile::open(&folder), Err(OpenError::Unreadable(..))));
}

#[test]
fn a_profile_that_others_can_read_is_refused_with_the_command_that_helps() {
    for name in ["", VAULT, DATABASE, LOCK] {
        let (_home, folder) = made();
        let path = if name.is_empty() {
            folder.clone()
        } else {
            folder.join(name)
        };
        for bits in [0o040, 0o020, 0o010, 0o004, 0o002, 0o001] {
            set_mode(&path, 0o700 | bits);
            let failure = Failure::from(Profile::open(&folder).unwrap_err());
            assert_eq!(failure.code, FailureCode::ProfileExposed);
            let (command, rest) = failure.hint.split_once(' ').unwrap();
            assert_eq!(command, "chmod");
            let (change, named) = rest.split_once(' ').unwrap();
            assert_eq!(Path::new(named), path);
            let done = std::process::Command::new("chmod")
                .arg(change)
                .arg(named)
                .status()
                .unwrap();
            assert!(done.success());
            assert!(Profile::open(&folder).is_ok(), "{name} {bits:o}");
        }
    }
}

#[test]
fn a_vault_that_is_none_is_refused_untouched() {
    for bytes in [vec![], vec![0; 10], vec![0xff; 100_000]] {
        let (_home, folder) = made();
        fs::write(folder.join(VAULT), &bytes).unwrap();
        let failure = Failure::from(Profile::open(&folder).unwrap_err());
        assert_eq!(failure.code, FailureCode::ProfileUnreadable);
        assert_eq!(fs::read(folder.join(VAULT)).unwrap(), bytes);
    }
}

#[test]
fn a_second_owner_is_told_who_the_first_is() {
    let (_home, folder) = made();
    let profile = Profile::open(&folder).unwrap();
    let first = profile.lock().unwrap();
    let error = profile.lock().unwrap_err();
    assert!(
        matches!(error, LockError::Held(Some(pid)) if pid == std::process::id()),
        "{error:?}"
    );
    let failure = Failure::from(error);
    assert_eq!(failure.code.exit(), 8);
    assert!(failure.why.contains(&std::process::id().to_string()));
    drop(first);
    profile.lock().unwrap();
}

#[test]
fn a_lock_that_is_a_link_is_refused_and_its_target_left_alone() {
    let (home, folder) = made();
    let target = home.path().join("letter");
    fs::write(&target, "dear to somebody").unwrap();
    set_mode(&target, 0o600);
    fs::remove_file(folder.join(LOCK)).unwrap();
    std::os::unix::fs::symlink(&target, folder.join(LOCK)).unwrap();
    let error = Profile::open(&folder).unwrap().lock().unwrap_err();
    assert!(matches!(error, LockError::Unusable(..)), "{error:?}");
    assert_eq!(fs::read(&target).unwrap(), b"dear to somebody");
}

#[test]
fn a_lock_file_full_of_nonsense_is_no_obstacle() {
    let (_home, folder) = made();
    fs::write(folder.join(LOCK), [0xff; 1000]).unwrap();
    let profile = Profile::open(&folder).unwrap();
    let held = profile.lock().unwrap();
    assert_eq!(
        fs::read_to_string(folder.join(LOCK)).unwrap(),
        std::process::id().to_string()
    );
    drop(held);
    assert_eq!(fs::read_to_string(folder.join(LOCK)).unwrap(), "");
}

#[test]
fn paths_in_hints_can_be_pasted() {
    assert_eq!(quoted(Path::new("/a/b-c.d")), "/a/b-c.d");
    assert_eq!(quoted(Path::new("/a b/$(x)'y")), r"'/a b/$(x)'\''y'");
}

/// A draft that others, or a link, might have put beside a profile that is to be made.
fn draft_beside(folder: &Path) -> PathBuf {
    let draft = folder.with_file_name(".default.new-0123456789abcdef");
    fs::create_dir_all(&draft).unwrap();
    set_mode(&draft, 0o700);
    draft
}

#[test]
fn a_sweep_follows_no_link_out_of_a_draft() {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("default");
    let target = home.path().join("letter");
    fs::write(&target, "dear to somebody").unwrap();
    let draft = draft_beside(&folder);
    std::os::unix::fs::symlink(&target, draft.join(LOCK)).unwrap();
    create(&folder, "anna").unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"dear to somebody");
}

#[test]
fn a_sweep_follows_no_link_that_is_named_like_a_draft() {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("default");
    let draft = draft_beside(&home.path().join("elsewhere/default"));
    fs::write(draft.join(LOCK), "dear to somebody").unwrap();
    std::os::unix::fs::symlink(&draft, home.path().join(".default.new-fedcba9876543210")).unwrap();
    create(&folder, "anna").unwrap();
    assert_eq!(fs::read(draft.join(LOCK)).unwrap(), b"dear to somebody");
}

#[test]
fn a_sweep_removes_only_folders_as_private_as_drafts_are() {
    for mode in [0o755, 0o777, 0o701] {
        let home = TempDir::new().unwrap();
        let folder = home.path().join("default");
        let draft = draft_beside(&folder);
        fs::write(draft.join(LOCK), "").unwrap();
        set_mode(&draft, mode);
        create(&folder, "anna").unwrap();
        assert!(draft.exists(), "{mode:o}");
    }
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::from_bytes(Vec::from(text).into()).unwrap()
}

#[test]
fn a_passphrase_can_be_set_changed_and_removed_and_the_keys_stay_the_same() {
    let (_home, folder) = made();
    let peer = Profile::open(&folder).unwrap().peer_id();
    let steps = [Some("one"), Some("two"), None];
    let mut current = None;
    for next in steps.map(|text| text.map(passphrase)) {
        let opened = SealedProfile::read(&folder).unwrap();
        let profile = opened.open(current.as_ref()).unwrap();
        profile.reseal(next.as_ref()).unwrap();
        let sealed = SealedProfile::read(&folder).unwrap();
        assert_eq!(sealed.is_protected().unwrap(), next.is_some());
        let opened = sealed.open(next.as_ref()).unwrap();
        assert_eq!(opened.peer_id(), peer);
        assert_eq!(opened.reader().unwrap().own_name().unwrap(), "anna");
        assert_eq!(names(&folder), [LOCK, VAULT, DATABASE]);
        assert_eq!(mode(&folder.join(VAULT)), 0o600);
        current = next;
    }
}

#[test]
fn a_wrong_passphrase_is_told_as_one_and_changes_nothing() {
    let (_home, folder) = made();
    let profile = Profile::open(&folder).unwrap();
    profile.reseal(Some(&passphrase("right"))).unwrap();
    let before = fs::read(folder.join(VAULT)).unwrap();
    let sealed = SealedProfile::read(&folder).unwrap();
    let wrong = Failure::from(sealed.open(Some(&passphrase("wrong"))).unwrap_err());
    assert_eq!((wrong.code, wrong.code.exit()), (FailureCode::WrongPassphrase, 3));
    assert!(wrong.why.ends_with("wrong passphrase or damaged file"), "{wrong}");
    let none = Failure::from(Profile::open(&folder).unwrap_err());
    assert_eq!((none.code, none.code.exit()), (FailureCode::PassphraseNeeded, 3));
    assert!(none.hint.contains("QPQ_PASSPHRASE_FILE"), "{}", none.hint);
    assert_eq!(fs::read(folder.join(VAULT)).unwrap(), before);
}

#[test]
fn what_a_killed_passphrase_change_left_is_swept() {
    let (_home, folder) = made();
    let draft = folder.join(format!("{VAULT}.new"));
    fs::write(&draft, "half").unwrap();
    Profile::open(&folder).unwrap();
    assert!(!draft.exists());
}

/// Whoever only reads brings an older database up to date, unless its owner still runs: that one is named.
#[test]
fn an_older_database_is_brought_up_to_date_where_nobody_owns_it() {
    let (_home, folder) = made();
    let profile = Profile::open(&folder).unwrap();
    let version_1 = |profile: &Profile| {
        let key = profile.vault().database_key.expose();
        let key: String = key.iter().map(|byte| format!("{byte:02X}")).collect();
        let connection = rusqlite::Connection::open(profile.database()).unwrap();
        let drop_all =
            "SELECT 'DROP TABLE ' || name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'
                        AND name NOT LIKE '%openmls%' AND name NOT LIKE 'refinery%'";
        connection
            .execute_batch(&format!("PRAGMA key = \"x'{key}'\"; PRAGMA foreign_keys = OFF"))
            .unwrap();
        let mut drops = connection.prepare(drop_all).unwrap();
        let drops: Vec<String> = drops
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for sql in drops {
            connection.execute_batch(&sql).unwrap();
        }
        let schema = include_str!("../../../qpq-core/src/store/schema/1.sql");
        connection.execute_batch(schema).unwrap();
        connection
            .execute_batch("INSERT INTO meta VALUES('name', CAST('old' AS BLOB)); PRAGMA user_version = 1")
            .unwrap();
    };
    version_1(&profile);
    let lock = profile.lock().unwrap();
    let failure = Failure::from(profile.reader().unwrap_err());
    assert_eq!(failure.code, FailureCode::ProfileInUse);
    drop(lock);
    assert_eq!(profile.reader().unwrap().own_name().unwrap(), "old");
    version_1(&profile);
    let lock = profile.lock().unwrap();
    profile.upgrade(&lock).unwrap();
    assert_eq!(profile.reader().unwrap().own_name().unwrap(), "old");
}
