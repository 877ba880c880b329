//! Surroundings that are not as one would wish: each is told in three lines with what helps, and nothing is lost.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking, and print what was skipped"
)]
#![cfg(target_os = "linux")]

#[path = "support/home.rs"]
mod home;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use home::{Ended, Home};

const QPQ: &str = env!("CARGO_BIN_EXE_qpq");

fn run(command: &mut Command) -> Ended {
    Ended::from(command.output().unwrap())
}

/// A shell in which `$0` is the program.
fn shell(home: &Home, script: &str) -> Command {
    let mut command = home.command([""; 0]);
    let mut sh = Command::new("sh");
    sh.args(["-c", script, QPQ]).stdin(Stdio::null());
    for (name, value) in command.env("HOME", home.0.path()).get_envs() {
        match value {
            Some(value) => sh.env(name, value),
            None => sh.env_remove(name),
        };
    }
    sh
}

/// The same where it may mount what it likes. `None`: the system does not let us, and the test is skipped; it fails
/// where QPQ_REQUIRE_NETLAB says that it must run.
fn with_mounts(home: &Home, script: &str) -> Option<Ended> {
    let possible = Command::new("unshare").args(["-rm", "true"]).output();
    if !possible.is_ok_and(|ended| ended.status.success()) {
        let required = std::env::var_os("QPQ_REQUIRE_NETLAB").is_some();
        assert!(!required, "no user namespace with mounts is to be had here");
        println!("skipped: no user namespace with mounts is to be had here");
        return None;
    }
    let inner = shell(home, script);
    let mut command = Command::new("unshare");
    command
        .args(["-rm", "sh"])
        .args(inner.get_args())
        .stdin(Stdio::null());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Some(run(&mut command))
}

#[test]
fn a_reader_that_leaves_early_is_no_error_for_any_verb() {
    let home = Home::of_anna();
    for verb in [
        "whoami",
        "log",
        "config show",
        "config get timeout",
        "completions zsh",
        "man send",
        "--help",
    ] {
        let script = format!("{{ \"$0\" {verb}; echo $? >&2; }} | :");
        let ended = run(&mut shell(&home, &script));
        assert_eq!((ended.exit, ended.stderr.as_str()), (0, "0\n"), "{verb}");
    }
}

#[test]
fn what_is_closed_is_no_reason_to_fail_where_it_is_not_needed() {
    let home = Home::of_anna();
    fs::write(home.0.path().join("new"), "secret").unwrap();
    for (script, exit) in [
        ("exec \"$0\" whoami <&-", 0),
        ("exec \"$0\" whoami 2>&-", 0),
        ("exec \"$0\" whoami <&- 2>&-", 0),
        ("exec \"$0\" config set timeout 20s <&- >&- 2>&-", 0),
        ("exec \"$0\" send nobody hi <&- >&- 2>&-", 6),
        ("exec \"$0\" sned <&- >&- 2>&-", 2),
        // Where a text was to be read, there is none.
        ("exec \"$0\" send nobody <&-", 2),
        ("exec \"$0\" init -p second <&-", 2),
        ("exec \"$0\" passphrase set <&-", 3),
        (
            "QPQ_NEW_PASSPHRASE_FD=3 exec \"$0\" passphrase set 3<new <&- >&- 2>&-",
            0,
        ),
        ("exec \"$0\" whoami <&-", 3),
        ("QPQ_PASSPHRASE_FD=3 exec \"$0\" whoami 3<new", 0),
    ] {
        let ended = run(shell(&home, script).current_dir(home.0.path()));
        assert_eq!(ended.exit, exit, "{script}: {ended:?}");
        assert!(
            [0, 3].contains(&ended.stderr.lines().count()),
            "{script}: {ended:?}"
        );
    }
    assert_eq!(home.run(["config", "get", "timeout"]).stdout, "20s\n");
}

#[test]
fn a_home_that_nobody_named_is_told_or_found() {
    let home = Home::of_anna();
    // With a folder of our own, nothing of the user's surroundings is asked for.
    let mut bare = Command::new(QPQ);
    bare.args(["whoami", "--home"]).arg(home.0.path());
    assert_eq!(run(bare.env_clear()).exit, 0);
    // A home that is none.
    let mut nowhere = Command::new(QPQ);
    nowhere
        .args(["init", "anna"])
        .env_clear()
        .env("HOME", "/dev/null/x");
    let ended = run(&mut nowhere);
    assert!(ended.failed(3)[1].contains("/dev/null/x"), "{ended:?}");
    // None at all: the system knows one for most users.
    let mut unnamed = Command::new(QPQ);
    unnamed.args(["whoami", "-p", "nobody-of-this-name"]).env_clear();
    run(&mut unnamed).failed(3);
}

#[test]
fn what_is_set_aside_for_the_session_is_not_needed() {
    let home = Home::of_anna();
    for value in [None, Some(""), Some("/nonexistent"), Some("relative")] {
        let mut command = home.command(["whoami"]);
        match value {
            Some(value) => command.env("XDG_RUNTIME_DIR", value),
            None => command.env_remove("XDG_RUNTIME_DIR"),
        };
        assert_eq!(run(&mut command).exit, 0, "{value:?}");
    }
}

#[test]
fn a_terminal_that_can_do_nothing_is_sent_text_only() {
    let home = Home::new();
    let terminal = Command::new("script").arg("--version").output();
    if !terminal.is_ok_and(|found| found.status.success()) {
        return;
    }
    let log = home.0.path().join("typescript");
    for verb in ["init anna", "whoami", "config show", "sned", "chat", "--help"] {
        let mut command = home.command([""; 0]);
        let mut script = Command::new("script");
        for (name, value) in command.env("TERM", "dumb").env_remove("NO_COLOR").get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        let line = format!("{QPQ} {verb}");
        let played = script
            .args(["--quiet", "--command", &line])
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(played.unwrap().success());
        let seen = fs::read_to_string(&log).unwrap();
        // What `script` writes around it is its own.
        assert!(
            seen.lines().count() > 2 && !seen.contains('\u{1b}'),
            "{verb}: {seen:?}"
        );
    }
}

#[test]
fn a_home_that_can_only_be_read_is_told() {
    let home = Home::of_anna();
    fs::write(home.0.path().join("new"), "secret").unwrap();
    let read_only =
        "mount --bind \"$QPQ_HOME\" \"$QPQ_HOME\" && mount -o remount,ro,bind \"$QPQ_HOME\" || exit 99; ";
    for (verb, exit) in [
        ("exec \"$0\" init ben -p second", 3),
        ("exec \"$0\" config set timeout 20s", 2),
        ("exec \"$0\" config show", 0),
        (
            "QPQ_NEW_PASSPHRASE_FD=3 exec \"$0\" passphrase set 3<\"$QPQ_HOME/new\"",
            3,
        ),
        ("exec \"$0\" whoami", 0),
        ("exec \"$0\" log", 0),
        ("exec \"$0\" listen --timeout 1ms", 3),
    ] {
        let Some(ended) = with_mounts(&home, &format!("{read_only}{verb}")) else {
            return;
        };
        if exit == 0 {
            assert_eq!((ended.exit, ended.stderr.as_str()), (0, ""), "{verb}: {ended:?}");
            continue;
        }
        let [_, why, hint] = ended.failed(exit);
        let told = ["Read-only file system", "unable to open database file"];
        assert!(told.iter().any(|told| why.contains(told)), "{verb}: {ended:?}");
        assert!(hint.contains("permissions"), "{verb}: {ended:?}");
    }
    assert_eq!(home.run(["whoami"]).exit, 0);
    assert!(!home.0.path().join("second").exists());
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let home = Home::of_anna();
    fs::write(home.0.path().join("new"), "secret").unwrap();
    let small = "cp -a \"$QPQ_HOME\" /tmp/kept.$$ && mount -t tmpfs -o size=2M,mode=700 none \"$QPQ_HOME\" && \
                 cp -a /tmp/kept.$$/. \"$QPQ_HOME\" && rm -r /tmp/kept.$$ && \
                 { cat /dev/zero > \"$QPQ_HOME/filler\" 2>/dev/null; true; } || exit 99; ";
    for (verb, exit) in [
        ("init ben -p second", 3),
        ("config set timeout 20s", 2),
        ("passphrase set", 3),
    ] {
        // What was there before works after it, with and without room.
        let script = format!(
            "{small} QPQ_NEW_PASSPHRASE_FD=3 \"$0\" {verb} 3<\"$QPQ_HOME/new\"; ended=$?; rm \"$QPQ_HOME/filler\"; \
             \"$0\" whoami --quiet >&2 && \"$0\" config get timeout >&2 && ls -A \"$QPQ_HOME\" \"$QPQ_HOME/default\" >&2; \
             exit $ended"
        );
        let Some(ended) = with_mounts(&home, &script) else {
            return;
        };
        assert_eq!(ended.exit, exit, "{verb}: {ended:?}");
        let lines: Vec<_> = ended.stderr.lines().collect();
        assert_eq!(
            lines[1..3],
            [
                "no space left on this disk",
                "hint: make room, then try again; nothing was lost"
            ],
            "{verb}: {ended:?}"
        );
        assert!(lines[3].starts_with("anna · "), "{verb}: {ended:?}");
        assert!(
            ended.stderr.contains("\njoin 30s, send 10s\n"),
            "{verb}: {ended:?}"
        );
        assert!(!ended.stderr.contains(".new"), "{verb}: {ended:?}");
    }
    assert!(Path::new(&home.folder()).exists());
}
