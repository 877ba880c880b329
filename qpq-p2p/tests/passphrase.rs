//! Passphrases from outside: where they come from, what they keep closed, and what a kill leaves.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/home.rs"]
mod home;

use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use home::{Ended, Home, json};

const OLD: &str = "six words that nobody ever guesses";
const NEW: &str = "caf\u{e9} noir, two of them";

/// A file with a passphrase that only its owner reads.
fn secret(home: &Home, name: &str, text: &str) -> PathBuf {
    let path = home.0.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

fn run(command: &mut Command) -> Ended {
    Ended::from(command.output().unwrap())
}

/// Anna with a passphrase, and the file that holds it.
fn protected() -> (Home, PathBuf) {
    let home = Home::of_anna();
    let file = secret(&home, "old", OLD);
    let set = run(home
        .command(["passphrase", "set"])
        .env("QPQ_NEW_PASSPHRASE_FILE", &file));
    assert_eq!((set.exit, set.stderr.as_str()), (0, ""), "{set:?}");
    (home, file)
}

fn vault(home: &Home) -> Vec<u8> {
    fs::read(home.folder().join("qpq-state.bin")).unwrap()
}

#[test]
fn what_is_protected_opens_with_its_passphrase_only() {
    let (home, file) = protected();
    let before = vault(&home);
    for verb in [&["whoami"][..], &["log"], &["listen"], &["passphrase", "remove"]] {
        let ended = home.run(verb);
        let [what, why, hint] = ended.failed(3);
        assert_eq!(what, "the profile cannot be opened");
        assert!(why.contains("nobody to ask"), "{why}");
        assert!(hint.contains("QPQ_PASSPHRASE_FILE, QPQ_PASSPHRASE_FD"), "{hint}");
    }
    let needed = json::checked(&home.run(["whoami", "--json"]).stderr);
    assert_eq!(needed["code"], "passphrase_needed");
    let wrong = secret(&home, "wrong", "six words");
    let mut command = home.command(["whoami", "--json"]);
    let wrong = json::checked(&run(command.env("QPQ_PASSPHRASE_FILE", wrong)).stderr);
    assert_eq!(
        (&wrong["code"], &wrong["exit"]),
        (&"wrong_passphrase".into(), &3.into())
    );
    assert_eq!(vault(&home), before);
    let who = run(home.command(["whoami"]).env("QPQ_PASSPHRASE_FILE", file));
    assert!(who.stdout.starts_with("anna · "), "{who:?}");
}

#[test]
fn a_passphrase_is_changed_and_removed_by_who_knows_it() {
    let (home, old) = protected();
    let new = secret(&home, "new", &format!("{NEW}\n"));
    let mut change = home.command(["passphrase", "change", "--json"]);
    change
        .env("QPQ_PASSPHRASE_FILE", &old)
        .env("QPQ_NEW_PASSPHRASE_FILE", &new);
    assert_eq!(run(&mut change).json()["protected"], true);
    run(home.command(["whoami"]).env("QPQ_PASSPHRASE_FILE", &old)).failed(3);
    // The same in another Unicode form.
    let decomposed = secret(&home, "decomposed", &NEW.replace('\u{e9}', "e\u{301}"));
    let mut remove = home.command(["passphrase", "remove"]);
    let removed = run(remove.env("QPQ_PASSPHRASE_FILE", decomposed));
    assert_eq!(
        removed.stdout,
        "not protected by a passphrase: qpq passphrase set\n"
    );
    assert_eq!(home.run(["whoami"]).exit, 0);
}

#[test]
fn verbs_that_make_no_sense_say_which_does() {
    let (home, file) = protected();
    let mut set = home.command(["passphrase", "set"]);
    let ended = run(set
        .env("QPQ_PASSPHRASE_FILE", &file)
        .env("QPQ_NEW_PASSPHRASE_FILE", &file));
    assert_eq!(ended.failed(2)[2], "qpq passphrase change");
    let home = Home::of_anna();
    for verb in ["change", "remove"] {
        assert_eq!(home.run(["passphrase", verb]).failed(2)[2], "qpq passphrase set");
    }
    assert!(home.run(["passphrase", "set"]).failed(3)[2].contains("QPQ_NEW_PASSPHRASE_FD"));
}

#[test]
fn a_descriptor_gives_a_passphrase_as_well() {
    let (home, file) = protected();
    let script = "exec \"$0\" whoami 3<\"$1\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_qpq")])
        .arg(&file)
        .env("QPQ_HOME", home.0.path())
        .env("QPQ_PASSPHRASE_FD", "3");
    assert_eq!(run(&mut command).exit, 0);
    let mut piped = Command::new("sh");
    piped
        .args([
            "-c",
            "printf %s \"$1\" | \"$0\" whoami",
            env!("CARGO_BIN_EXE_qpq"),
            OLD,
        ])
        .env("QPQ_HOME", home.0.path())
        .env("QPQ_PASSPHRASE_FD", "0");
    assert_eq!(run(&mut piped).exit, 0);
    let mut closed = home.command(["whoami"]);
    run(closed.env("QPQ_PASSPHRASE_FD", "77")).failed(3);
    let mut both = home.command(["whoami"]);
    let both = run(both
        .env("QPQ_PASSPHRASE_FD", "0")
        .env("QPQ_PASSPHRASE_FILE", &file));
    assert_eq!(both.failed(2)[2], "unset one of them");
}

#[test]
fn a_file_that_holds_no_passphrase_or_is_read_by_others_is_refused_with_what_helps() {
    let (home, file) = protected();
    let before = vault(&home);
    let with = |file: &Path| run(home.command(["whoami"]).env("QPQ_PASSPHRASE_FILE", file));
    for mode in [0o640, 0o604, 0o666] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let ended = with(&file);
        let hint = ended.failed(3)[2];
        assert!(Command::new("sh").args(["-c", hint]).status().unwrap().success());
        assert_eq!(with(&file).exit, 0, "{mode:o}");
    }
    let link = home.0.path().join("link");
    symlink(&file, &link).unwrap();
    assert_eq!(with(&link).exit, 0);
    for (text, why) in [
        ("", "at least one character"),
        ("\n", "at least one character"),
        ("two\nlines\n", "no line ends"),
        ("a\r\n", "no line ends"),
        (&"x".repeat(1_025), "at most 1024 bytes"),
        (&"x".repeat(1_000_000), "at most 1024 bytes"),
    ] {
        let ended = with(&secret(&home, "odd", text));
        assert!(ended.failed(2)[1].contains(why), "{ended:?}");
    }
    assert!(with(Path::new("/nonexistent")).failed(3)[1].contains("No such file"));
    assert!(with(Path::new("/dev/zero")).exit != 0);
    assert_eq!(vault(&home), before);
}

#[test]
fn a_passphrase_in_the_environment_is_warned_of_and_shown_to_nobody() {
    let (home, _) = protected();
    let ended = run(home.command(["whoami"]).env("QPQ_PASSPHRASE", OLD));
    assert_eq!(ended.exit, 3);
    assert!(ended.stderr.contains("QPQ_PASSPHRASE_FILE"), "{ended:?}");
    assert!(!ended.stderr.contains(OLD));
}

#[test]
fn a_kill_at_any_time_leaves_the_old_vault_or_the_new_one() {
    let home = Home::of_anna();
    let file = secret(&home, "old", OLD);
    let draft = home.folder().join("qpq-state.bin.new");
    let path = home.folder().join("qpq-state.bin");
    let inode = || fs::metadata(&path).unwrap().ino();
    let is_protected = || vault(&home)[9] == 1;
    // Each round waits for another sign that it is at work: its draft, the new file, nothing at all.
    for round in 0..12 {
        let verb = if is_protected() { "remove" } else { "set" };
        let before = inode();
        let mut command = home.command(["passphrase", verb]);
        command
            .env("QPQ_PASSPHRASE_FILE", &file)
            .env("QPQ_NEW_PASSPHRASE_FILE", &file)
            .stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        spin_until(&mut child, || match round % 3 {
            0 => draft.exists(),
            1 => inode() != before,
            _ => true,
        });
        let _ = child.kill();
        child.wait().unwrap();
        let who = run(home.command(["whoami"]).env("QPQ_PASSPHRASE_FILE", &file));
        assert_eq!(who.exit, 0, "round {round}: {who:?}");
        assert!(!draft.exists(), "round {round}");
    }
}

/// Until it is so, or the child has ended.
fn spin_until(child: &mut Child, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline);
        std::hint::spin_loop();
    }
}

#[test]
fn two_at_once_leave_a_profile_that_one_of_them_made() {
    let (home, old) = protected();
    let files = ["a", "b"].map(|name| secret(&home, name, name));
    let children = files.each_ref().map(|file| {
        let mut command = home.command(["passphrase", "change"]);
        command
            .env("QPQ_PASSPHRASE_FILE", &old)
            .env("QPQ_NEW_PASSPHRASE_FILE", file)
            .stdout(Stdio::null());
        command.spawn().unwrap()
    });
    let mut done = 0;
    for mut child in children {
        // The second may find the passphrase changed already.
        done += i32::from(child.wait().unwrap().success());
    }
    assert!(done >= 1);
    let opens = |file: &PathBuf| run(home.command(["whoami"]).env("QPQ_PASSPHRASE_FILE", file)).exit == 0;
    assert_eq!(files.iter().filter(|file| opens(file)).count(), 1);
}

#[test]
fn it_works_beside_the_owner_of_the_profile() {
    let home = Home::of_anna();
    let lock = fs::OpenOptions::new()
        .write(true)
        .open(home.folder().join("lock"))
        .unwrap();
    lock.try_lock().unwrap();
    let file = secret(&home, "new", NEW);
    let mut set = home.command(["passphrase", "set"]);
    assert_eq!(run(set.env("QPQ_NEW_PASSPHRASE_FILE", file)).exit, 0);
}

/// `qpq` in a terminal of its own, where lines are typed when a prompt waits for them; what is to be seen there.
fn typed(home: &Home, arguments: &str, lines: &[(&str, &str)]) -> Option<(i32, String)> {
    let found = Command::new("script").arg("--version").output();
    if !found.is_ok_and(|found| found.status.success()) {
        return None;
    }
    let log = home.0.path().join("typescript");
    let _ = fs::remove_file(&log);
    // Ctrl+C goes to the shell as well, which is to see how the program ends.
    let line = format!("trap : INT; {} {arguments}", env!("CARGO_BIN_EXE_qpq"));
    let mut command = Command::new("script");
    command
        .args(["--quiet", "--flush", "--return", "--command", &line])
        .arg(&log)
        .env("QPQ_HOME", home.0.path())
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let seen = || String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    let mut asked = 0;
    for (prompt, answer) in lines {
        let deadline = Instant::now() + Duration::from_secs(30);
        while seen().matches(prompt).count() <= asked && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "no {prompt}: {}", seen());
            std::thread::yield_now();
        }
        asked = match lines.iter().all(|(other, _)| other == prompt) {
            true => asked + 1,
            false => 0,
        };
        // The program may have ended.
        let _ = stdin.write_all(answer.as_bytes());
        stdin.flush().unwrap();
    }
    let exit = child.wait().unwrap().code().unwrap();
    drop(stdin);
    Some((exit, seen()))
}

#[test]
fn a_prompt_takes_a_passphrase_that_is_never_shown() {
    let home = Home::of_anna();
    let line = format!("{OLD}\n");
    let asked = [("New passphrase: ", line.as_str()), ("The same again: ", &line)];
    let Some((exit, seen)) = typed(&home, "passphrase set", &asked) else {
        return;
    };
    assert_eq!(exit, 0, "{seen}");
    assert!(!seen.contains(OLD), "{seen}");
    // Three tries, the last of which is right.
    let tries = [
        ("Passphrase: ", "x\n"),
        ("Passphrase: ", "\n"),
        ("Passphrase: ", &line),
    ];
    let (exit, seen) = typed(&home, "whoami", &tries).unwrap();
    assert_eq!(exit, 0, "{seen}");
    assert_eq!(seen.matches("try again").count(), 2, "{seen}");
    assert!(seen.contains("anna · ") && !seen.contains(OLD), "{seen}");
    let (exit, seen) = typed(&home, "whoami", &[("Passphrase: ", "x\n"); 3]).unwrap();
    assert_eq!(exit, 3, "{seen}");
    // Ctrl+C ends it, and the terminal is as it was.
    let interrupted = typed(
        &home,
        "whoami; echo exit=$?; stty -a",
        &[("Passphrase: ", "\u{3}")],
    );
    let (_, seen) = interrupted.unwrap();
    assert!(seen.contains("exit=130") && seen.contains(" echo "), "{seen}");
    let (exit, seen) = typed(&home, "whoami --no-input", &[]).unwrap();
    assert_eq!(exit, 3, "{seen}");
}

#[test]
fn two_different_new_passphrases_are_refused() {
    let home = Home::of_anna();
    let before = vault(&home);
    let asked = [("New passphrase: ", "one\n"), ("The same again: ", "two\n")];
    let Some((exit, seen)) = typed(&home, "passphrase set", &asked) else {
        return;
    };
    assert_eq!(exit, 2, "{seen}");
    assert_eq!(vault(&home), before);
}
