//! What other users of this machine see of the process and its files: nothing.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::Path,
    process::{Command, Stdio},
};

use qpq_core::{passphrase::Passphrase, vault::Vault};
use rustix::process::geteuid;

use crate::{
    owners::daemon,
    people::{Person, Running, by, free_port, program::without_settings, text},
};

const PASSPHRASE: &str = "four violins beneath the otters";

fn private(person: &Person, name: &str, content: &str) -> std::path::PathBuf {
    let path = person.home.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A person whose profile has a passphrase, and the file that holds it.
fn protected() -> (Person, std::path::PathBuf) {
    let anna = Person::new("anna", free_port());
    let file = private(&anna, "passphrase", PASSPHRASE);
    let mut set = anna.command(&["passphrase", "set"]);
    text(set.env("QPQ_NEW_PASSPHRASE_FILE", &file).output().unwrap(), 0);
    (anna, file)
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn a_running_qpq_dumps_no_core_and_shows_no_secret_in_its_arguments_or_environment() {
    let (anna, file) = protected();
    let vault = fs::read(anna.home.path().join("default/qpq-state.bin")).unwrap();
    let passphrase = Passphrase::from_bytes(Vec::from(PASSPHRASE).into()).unwrap();
    let vault = Vault::open(&vault, Some(&passphrase)).unwrap();
    let by_file = {
        let mut command = anna.command(&["daemon", "--json"]);
        command.env("QPQ_PASSPHRASE_FILE", &file);
        command
    };
    let by_descriptor = {
        let script = format!("exec \"$@\" 3<\"{}\"", file.display());
        let mut command = by("sh", &["-c", &script, "sh"], &anna.command(&["daemon", "--json"]));
        command.env("QPQ_PASSPHRASE_FD", "3");
        command
    };
    for mut command in [by_file, by_descriptor] {
        let mut running = Running::spawn(&mut command);
        assert!(running.line().contains("ready"));
        let proc = |name: &str| format!("/proc/{}/{name}", running.child.id());
        let limits = fs::read_to_string(proc("limits")).unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        let columns: Vec<_> = core.split_whitespace().collect();
        assert_eq!(columns[4..6], ["0", "0"], "{core}");
        for name in ["cmdline", "environ"] {
            let shown = fs::read(proc(name)).unwrap();
            assert!(!shown.is_empty(), "{name} can be looked at");
            for secret in [
                PASSPHRASE.as_bytes(),
                vault.identity_seed.expose(),
                vault.database_key.expose(),
            ] {
                assert!(!holds(&shown, secret), "{name}");
            }
        }
        running.kill();
    }
}

/// Files of a process that may not be dumped belong to root, so that no other process of the same user opens its
/// memory. Root himself may, so the program is run by somebody else.
#[test]
fn a_running_qpq_is_not_dumpable() {
    let home = tempfile::TempDir::new().unwrap();
    let program = home.path().join("qpq");
    fs::copy(env!("CARGO_BIN_EXE_qpq"), &program).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let as_somebody = |arguments: &[&str]| {
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(&program);
            command
        } else {
            Command::new(&program)
        };
        without_settings(&mut command);
        command
            .args(arguments)
            .env("QPQ_HOME", home.path().join("home"))
            .env("QPQ_INTERFACES", "lo")
            .env("QPQ_MDNS_PORT", free_port().to_string())
            .stdin(Stdio::null());
        command
    };
    let made = as_somebody(&["init", "anna"]).output();
    assert!(made.unwrap().status.success());
    let mut running = Running::spawn(&mut as_somebody(&["daemon", "--json"]));
    assert!(running.line().contains("ready"));
    let owner = |pid: u32| fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid();
    assert_eq!(owner(running.child.id()), 0, "it is dumpable");
    // The control: any other process of theirs belongs to them.
    let mut sleep = Command::new("sleep");
    if geteuid().is_root() {
        sleep = Command::new("setpriv");
        sleep.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sleep"]);
    }
    let mut sleep = Running::spawn(sleep.arg("60"));
    let comm = format!("/proc/{}/comm", sleep.child.id());
    while fs::read_to_string(&comm).unwrap().trim() != "sleep" {
        assert!(sleep.child.try_wait().unwrap().is_none());
    }
    let theirs = if geteuid().is_root() {
        65_534
    } else {
        geteuid().as_raw()
    };
    assert_eq!(owner(sleep.child.id()), theirs);
    sleep.kill();
    running.kill();
}

fn modes(folder: &Path, check: &mut impl FnMut(&Path, u32)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        check(&path, metadata.mode() & 0o777);
        if metadata.is_dir() {
            modes(&path, check);
        }
    }
}

#[test]
fn no_umask_opens_a_file_a_folder_or_a_socket_to_others() {
    let anna = Person::new("anna", free_port());
    let new = private(&anna, "new", PASSPHRASE);
    let open = |arguments: &[&str]| {
        by(
            "sh",
            &["-c", "umask 000; exec \"$@\"", "sh"],
            &anna.command(arguments),
        )
    };
    let deeper = anna.home.path().join("made/by/init");
    text(
        open(&["init", "anna", "--home", deeper.to_str().unwrap()])
            .output()
            .unwrap(),
        0,
    );
    text(open(&["init", "anna", "-p", "second"]).output().unwrap(), 0);
    text(
        open(&["config", "set", "timeout", "20s", "-p", "second"])
            .output()
            .unwrap(),
        0,
    );
    let mut set = open(&["passphrase", "set", "-p", "second"]);
    text(set.env("QPQ_NEW_PASSPHRASE_FILE", &new).output().unwrap(), 0);
    let mut owner = Running::spawn(&mut open(&["daemon", "--json"]));
    assert!(owner.line().contains("ready"));
    text(open(&["invite", "--link"]).output().unwrap(), 0);
    let mut sockets = 0;
    modes(anna.home.path(), &mut |path, mode| {
        assert_eq!(mode & 0o077, 0, "{} {mode:o}", path.display());
        sockets += usize::from(path.symlink_metadata().unwrap().file_type().is_socket());
    });
    assert_eq!(sockets, 1, "the owner's socket was looked at");
    owner.kill();
    daemon(&anna).kill();
}
