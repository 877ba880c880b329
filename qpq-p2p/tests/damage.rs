//! Damaged, foreign and missing files of a profile: named in three lines, and left exactly as they are.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking, and print what was skipped"
)]
#![cfg(target_os = "linux")]

#[path = "support/mortal.rs"]
mod mortal;
#[path = "support/owners.rs"]
mod owners;
#[path = "support/people.rs"]
mod people;

#[path = "damage/canaries.rs"]
mod canaries;
#[path = "damage/clocks.rs"]
mod clocks;
#[path = "damage/disks.rs"]
mod disks;
#[path = "damage/older_copy.rs"]
mod older_copy;
#[path = "damage/processes.rs"]
mod processes;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use owners::daemon;
use people::{anna_and_ben, meet, text};
use tempfile::TempDir;

const VAULT: &str = "qpq-state.bin";
const DATABASE: &str = "qpq.db";
const WAL: &str = "qpq.db-wal";
const PAGE: usize = 4_096;

/// Anna's folder as a kill left it, with a log beside the database, and another one of hers of before.
struct Specimen {
    home: TempDir,
    other: TempDir,
}

/// Made once: the cases work on copies.
fn specimen() -> &'static Specimen {
    static SPECIMEN: OnceLock<Specimen> = OnceLock::new();
    SPECIMEN.get_or_init(|| {
        let (anna, ben) = anna_and_ben();
        meet(&anna, &ben);
        let lines = (0..400)
            .map(|n| format!("message {n} {}\n", "x".repeat(200)))
            .collect::<String>();
        let file = anna.home.path().join("lines");
        fs::write(&file, lines).unwrap();
        let mut send = anna.command(&["send", "ben", "--lines", "--timeout", "1ms"]);
        text(send.stdin(fs::File::open(file).unwrap()).output().unwrap(), 7);
        let owner = daemon(&anna);
        text(anna.run(&["send", "ben", "in the log", "--timeout", "1ms"]), 7);
        owner.kill();
        let folder = anna.home.path().join("default");
        fs::remove_file(folder.join("socket")).unwrap();
        assert!(folder.join(WAL).metadata().unwrap().len() > 0, "a log is left");
        assert!(fs::read(folder.join(DATABASE)).unwrap().len() > 40 * PAGE);
        Specimen {
            home: anna.home,
            other: ben.home,
        }
    })
}

/// A copy of anna's folder to be damaged.
struct Case {
    home: TempDir,
}

impl Case {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        copy(
            &specimen().home.path().join("default"),
            &home.path().join("default"),
        );
        Self { home }
    }

    /// The same without a log: what was in it is in the database.
    fn without_log() -> Self {
        let case = Self::new();
        text(case.run(&["listen", "--timeout", "1ms"]), 0);
        let log = case.path(WAL);
        assert!(!log.exists() || log.metadata().unwrap().len() == 0);
        let _ = fs::remove_file(log);
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("default").join(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = people::program::qpq();
        command
            .env("QPQ_HOME", self.home.path())
            .env("QPQ_INTERFACES", "lo")
            .env("QPQ_MDNS_PORT", people::free_port().to_string())
            .args(arguments)
            .stdin(std::process::Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What is in the folder, the shared memory and the lock aside: they hold nothing.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(self.home.path().join("default")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let kept = paths.filter(|path| !path.ends_with("qpq.db-shm") && !path.ends_with("lock"));
        kept.map(|path| (path.clone(), content(&path))).collect()
    }

    /// Every verb says in three lines what is wrong, ends with 3, and changes nothing.
    #[track_caller]
    fn refused(&self, what: &str) -> Vec<String> {
        self.refused_by(&[&["log"], &["send", "ben", "hi", "--timeout", "1ms"]], what)
    }

    #[track_caller]
    fn refused_by(&self, verbs: &[&[&str]], what: &str) -> Vec<String> {
        let before = self.files();
        let mut told = Vec::new();
        for verb in verbs {
            let ended = self.run(verb);
            let stderr = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(3), "{what}: {verb:?}: {stderr}");
            assert_eq!(ended.stdout, b"", "{what}: {verb:?}");
            let lines: Vec<_> = stderr.lines().collect();
            assert!(
                lines.len() == 3 && lines[2].starts_with("hint: "),
                "{what}: {verb:?}: {stderr}"
            );
            told.push(stderr);
            for (path, bytes) in &before {
                assert!(content(path) == *bytes, "{what}: {verb:?} changed {path:?}");
            }
            assert_eq!(
                self.files().len(),
                before.len(),
                "{what}: {verb:?} made or removed a file"
            );
        }
        told
    }
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(done.unwrap().success());
}

/// What a file holds, or where a link leads: that may be a device without end.
fn content(path: &Path) -> Vec<u8> {
    match fs::read_link(path) {
        Ok(leads_to) => leads_to.into_os_string().into_encoded_bytes(),
        Err(_) => fs::read(path).unwrap_or_default(),
    }
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[at] ^= 0x40;
    flipped
}

#[test]
fn what_is_whole_is_read_with_its_log() {
    let case = Case::new();
    let log = text(case.run(&["log", "-n", "0"]), 0);
    assert_eq!(log.lines().count(), 401);
    assert!(log.contains("in the log"));
}

#[test]
fn a_damaged_vault_is_named_and_never_written_over() {
    let case = Case::new();
    let good = case.bytes(VAULT);
    let lengths = [0, 1, 7, 8, 9, 21, 22, 61, 62, 100, good.len() - 1];
    for length in lengths {
        case.put(VAULT, &good[..length]);
        case.refused(&format!("{length} bytes of the vault"));
    }
    for at in (0..good.len()).step_by(9) {
        case.put(VAULT, &flipped(&good, at));
        let told = case.refused(&format!("byte {at} of the vault"));
        assert!(told.iter().all(|told| told.contains(VAULT)), "{told:?}");
    }
    case.put(VAULT, &[good.clone(), vec![0; 100_000]].concat());
    case.refused("a vault that is too long");
    case.put(VAULT, &good);
    text(case.run(&["whoami"]), 0);
}

#[test]
fn a_database_that_is_damaged_where_it_is_opened_is_named_and_never_made_anew() {
    let case = Case::without_log();
    let good = case.bytes(DATABASE);
    for at in [
        0, 1, 15, 16, 17, 18, 20, 24, 28, 40, 60, 96, 100, 512, 2_048, 4_000, 4_090, 4_095,
    ] {
        case.put(DATABASE, &flipped(&good, at));
        case.refused(&format!("byte {at} of the database"));
    }
    for length in [0, 1, 16, 100, 1_024, 4_095] {
        case.put(DATABASE, &good[..length]);
        case.refused(&format!("{length} bytes of the database"));
    }
    case.put(DATABASE, &vec![0; good.len()]);
    case.refused("nothing but zeros");
    case.put(DATABASE, b"SQLite format 3\0 and nothing that follows");
    case.refused("a database of somebody else");
    case.put(DATABASE, &good);
    text(case.run(&["log"]), 0);
}

/// A page of the history that is damaged is met when somebody looks there.
#[test]
fn damage_that_is_met_later_is_told_by_whoever_meets_it() {
    let case = Case::without_log();
    let good = case.bytes(DATABASE);
    let pages = good.len() / PAGE;
    let mut met = 0;
    for page in (1..pages).step_by(pages / 24).chain([pages - 1]) {
        case.put(DATABASE, &flipped(&good, page * PAGE + 1_000));
        let before = case.files();
        for verb in [
            &["log", "-n", "0"][..],
            &["whoami"],
            &["contact", "list"],
            &["status"],
        ] {
            let ended = case.run(verb);
            let stderr = String::from_utf8(ended.stderr).unwrap();
            match ended.status.code() {
                Some(0) => assert_eq!(stderr, "", "page {page}: {verb:?}"),
                Some(3) => {
                    met += 1;
                    assert_eq!(stderr.lines().count(), 3, "page {page}: {verb:?}: {stderr}");
                    assert!(stderr.contains("damaged"), "page {page}: {verb:?}: {stderr}");
                }
                other => panic!("page {page}: {verb:?}: {other:?}: {stderr}"),
            }
            assert!(case.files() == before, "page {page}: {verb:?} changed a file");
        }
        // Whoever writes says so as well, and does not end in a panic; what is damaged stays that.
        let ended = case.run(&["send", "ben", "hi", "--timeout", "1ms"]);
        let stderr = String::from_utf8(ended.stderr).unwrap();
        let exit = ended.status.code().unwrap();
        assert!([1, 3, 7].contains(&exit), "page {page}: {exit}: {stderr}");
        assert!(
            !stderr.contains("panic") && !stderr.contains("fault of qpq"),
            "page {page}: {stderr}"
        );
        if exit != 7 {
            assert!(stderr.contains("damaged"), "page {page}: {stderr}");
        }
        let after = case.bytes(DATABASE);
        let place = page * PAGE..(page + 1) * PAGE;
        let damaged = flipped(&good, page * PAGE + 1_000);
        assert!(
            after[place.clone()] == damaged[place],
            "page {page} was written over, exit {exit}"
        );
        let _ = fs::remove_file(case.path(WAL));
    }
    assert!(met > 20, "only {met} were met");
    case.put(DATABASE, &good[..good.len() - PAGE]);
    case.refused_by(&[&["log", "-n", "0"]], "without the last page");
    case.put(DATABASE, &good[..good.len() / 2 / PAGE * PAGE]);
    case.refused_by(&[&["log", "-n", "0"]], "half of the pages");
}

#[test]
fn a_log_of_another_database_or_one_that_was_changed_with_its_sums_is_no_log_of_this_one() {
    let case = Case::new();
    let good = case.bytes(DATABASE);
    // Of ben's profile: whole, its sums are right, and its pages are under another key.
    let other = Case {
        home: TempDir::new().unwrap(),
    };
    copy(
        &specimen().other.path().join("default"),
        &other.home.path().join("default"),
    );
    let owner = other.command(&["daemon", "--json"]);
    let mut owner = owner;
    let mut running = people::Running::spawn(&mut owner);
    running.line();
    text(other.run(&["contact", "rename", "anna", "annabel"]), 0);
    running.kill();
    case.put(WAL, &other.bytes(WAL));
    case.refused("the log of another database");
    assert_eq!(case.bytes(DATABASE), good);
}

#[test]
fn files_of_another_profile_are_refused() {
    let theirs = specimen().other.path().join("default");
    for name in [VAULT, DATABASE] {
        let case = Case::without_log();
        case.put(name, &fs::read(theirs.join(name)).unwrap());
        let told = case.refused(&format!("{name} of another profile"));
        assert!(told[0].contains("belongs to another profile"), "{told:?}");
    }
}

#[test]
fn what_is_no_file_is_refused() {
    for name in [VAULT, DATABASE] {
        let case = Case::without_log();
        let path = case.path(name);
        let kept = case.home.path().join("kept");
        fs::rename(&path, &kept).unwrap();
        let told = case.refused(&format!("{name} is missing"));
        assert!(told[0].contains(&format!("{name} is missing")), "{told:?}");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        case.refused(&format!("{name} is a folder"));
        fs::remove_dir(&path).unwrap();
        symlink("/dev/zero", &path).unwrap();
        let told = case.refused(&format!("{name} leads to a device"));
        assert!(!told[0].contains("chmod"), "the device's modes: {told:?}");
        fs::remove_file(&path).unwrap();
        // Nobody writes into it: who opened it would wait for ever.
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        let ended = case.run(&["log"]);
        assert_eq!(ended.status.code(), Some(3), "{name} is a pipe: {ended:?}");
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(
            told.contains("it is no file") && !told.contains("chmod"),
            "{told}"
        );
        fs::remove_file(&path).unwrap();
        symlink("nowhere", &path).unwrap();
        case.refused(&format!("{name} leads nowhere"));
        fs::remove_file(&path).unwrap();
        // To a file of one's own that is private: somebody wants it there.
        symlink(&kept, &path).unwrap();
        text(case.run(&["log"]), 0);
    }
}

#[test]
fn a_file_that_must_not_be_read_is_named() {
    let case = Case::without_log();
    for (name, mode) in [(VAULT, 0o644), (DATABASE, 0o640), (DATABASE, 0o604), ("", 0o755)] {
        let path = if name.is_empty() {
            case.home.path().join("default")
        } else {
            case.path(name)
        };
        let before = path.metadata().unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let told = case.refused(&format!("{name} {mode:o}"));
        assert!(told[0].contains("hint: chmod"), "{told:?}");
        fs::set_permissions(&path, before).unwrap();
    }
    if rustix::process::geteuid().is_root() {
        return;
    }
    for name in [VAULT, DATABASE] {
        fs::set_permissions(case.path(name), fs::Permissions::from_mode(0o000)).unwrap();
        let ended = case.run(&["log"]);
        assert_eq!(ended.status.code(), Some(3), "{name}: {ended:?}");
        fs::set_permissions(case.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
}
