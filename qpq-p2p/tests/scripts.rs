//! `scripts/setup` and `scripts/demo-lan`, for people who have not everything yet: what they ask for and tell.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use tempfile::TempDir;

/// What `scripts/setup` itself uses, and no machine is without.
const ALWAYS: [&str; 4] = ["bash", "dirname", "sed", "sort"];

/// A machine that has only these programs, of which none does anything.
fn machine(user: u32, programs: &[&str]) -> TempDir {
    let machine = TempDir::new().unwrap();
    for name in ALWAYS {
        let paths = std::env::var_os("PATH").unwrap();
        let found = std::env::split_paths(&paths)
            .map(|folder| folder.join(name))
            .find(|path| path.exists());
        symlink(found.unwrap(), machine.path().join(name)).unwrap();
    }
    program(machine.path(), "id", &format!("echo {user}"));
    for name in programs {
        program(machine.path(), name, "exit 0");
    }
    machine
}

fn program(folder: &Path, name: &str, does: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What `scripts/setup` says on standard error, and whether all is there.
fn setup(machine: &TempDir, arguments: &[&str], qpq: Option<&str>) -> (String, bool) {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/setup");
    let mut command = Command::new("/bin/bash");
    command.arg(setup).args(arguments).env_clear();
    command.env("PATH", machine.path()).env("HOME", machine.path());
    command.envs(qpq.map(|qpq| ("QPQ_BIN", qpq)));
    let output = command.output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.success())
}

#[test]
fn a_demo_of_a_program_that_is_there_needs_python_alone() {
    let machine = machine(1000, &["python3"]);
    let (told, good) = setup(&machine, &["--run"], Some("/usr/bin/qpq"));
    assert_eq!((told.as_str(), good), ("", true));
}

#[test]
fn a_demo_that_builds_needs_what_builds() {
    let machine = machine(1000, &["python3", "cargo", "perl"]);
    let (told, good) = setup(&machine, &["--run"], None);
    assert!(!good);
    assert!(
        told.contains("apt-get install -y --no-install-recommends gcc libc6-dev make\n"),
        "{told}"
    );
}

#[test]
fn what_is_missing_is_told_on_standard_error() {
    for arguments in [&["--run"][..], &["--check"], &[]] {
        let machine = machine(1000, &["cargo", "cc", "perl"]);
        let (told, good) = setup(&machine, arguments, None);
        assert!(!good);
        assert!(told.contains(" python3"), "{arguments:?}: {told}");
        assert!(told.contains(" make"), "{arguments:?}: {told}");
    }
}

#[test]
fn the_demo_runs_no_program_that_may_be_older_than_its_source() {
    let machine = machine(1000, &["tmux"]);
    let target = machine.path().join("target");
    fs::create_dir_all(target.join("release")).unwrap();
    program(&target.join("release"), "qpq", "exit 0");
    program(
        machine.path(),
        "cargo",
        "echo \"$@\" > \"$CARGO_TARGET_DIR/asked\"; exit 1",
    );
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/demo-lan.py");
    let mut command = Command::new("python3");
    let paths = std::env::join_paths([machine.path(), Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
    command
        .arg(demo)
        .env("PATH", paths)
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("QPQ_BIN");
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told, "demo-lan: qpq cannot be built (see above)\n");
    assert_eq!(output.status.code(), Some(1));
    let asked = fs::read_to_string(target.join("asked")).unwrap();
    assert_eq!(asked, "build --release --locked -p qpq-p2p\n");
}
