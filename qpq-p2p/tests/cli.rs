//! The program from outside, as far as it goes without a network: help, exit codes, errors, files and modes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/home.rs"]
mod home;

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions, Permissions},
    io::Write,
    os::unix::{
        ffi::OsStringExt,
        fs::{MetadataExt, PermissionsExt},
    },
    process::{Command, Stdio},
};

use home::{Ended, Home, json};

const VERBS: [&str; 17] = [
    "init",
    "whoami",
    "invite",
    "join",
    "send",
    "listen",
    "log",
    "chat",
    "contact",
    "verify",
    "status",
    "nearby",
    "daemon",
    "passphrase",
    "config",
    "completions",
    "man",
];

#[test]
fn each_verb_has_help_with_an_example() {
    let home = Home::new();
    let all = home.run(["--help"]);
    assert_eq!(all.exit, 0);
    assert_eq!(home.run(["help"]).stdout, all.stdout);
    for verb in VERBS {
        assert!(all.stdout.contains(&format!("\n  {verb} ")), "{verb}");
        let help = home.run([verb, "--help"]);
        assert_eq!((help.exit, help.stderr.as_str()), (0, ""), "{verb}");
        assert_eq!(home.run(["help", verb]).stdout, help.stdout);
        let (_, example) = help.stdout.split_once("Example").unwrap();
        assert!(example.contains(&format!("qpq {verb}")), "{verb}");
    }
}

#[test]
fn help_names_nothing_that_does_not_work_yet() {
    let home = Home::new();
    for verb in VERBS {
        let help = home.run([verb, "--help"]).stdout.to_lowercase();
        for word in ["relay", "group"] {
            assert!(!help.contains(word), "{verb}: {word}");
        }
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let version = Home::new().run(["--version"]);
    assert_eq!(version.stdout, format!("qpq {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn without_arguments_and_terminal_there_is_help_and_exit_2() {
    let ended = Home::new().run([""; 0]);
    assert_eq!((ended.exit, ended.stdout.as_str()), (2, ""));
    assert!(ended.stderr.contains("qpq init anna"), "{}", ended.stderr);
}

#[test]
fn nonsense_on_the_command_line_is_exit_2_in_three_lines() {
    let home = Home::new();
    for arguments in [
        &["sned", "ben"][..],
        &["help", "sned"],
        &["--no-such"],
        &["join"],
        &["join", "nonsense"],
        &["init", "a", "b"],
        &["init", ""],
        &["init", "#anna"],
        &["init", "a\nb"],
        &["log", "-n", "-1"],
        &["log", "--since", "yesterday"],
        &["log", "--grep", ""],
        &["whoami", "--timeout", "soon"],
        &["whoami", "--color", "blue"],
        &["whoami", "--profile", "../x"],
        &["send", "ben", "x", "--wait", "relay"],
        &["send", "ben", "x", "--lines"],
        &["invite", "--expires", "0"],
        &["listen", "--count", "many"],
    ] {
        let ended = home.run(arguments);
        ended.failed(2);
    }
    assert!(!home.folder().exists());
}

#[test]
fn init_makes_a_private_profile_and_says_who_you_are() {
    let home = Home::new();
    let made = home.run(["init", "anna"]);
    assert_eq!((made.exit, made.stderr.as_str()), (0, ""));
    let lines: Vec<_> = made.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", made.stdout);
    let short = lines[0].strip_prefix("anna · ").unwrap();
    assert_eq!((short.len(), &short[4..5]), (9, "-"));
    assert_eq!(lines[1], "not protected by a passphrase: qpq passphrase set");
    assert_eq!(fs::metadata(home.folder()).unwrap().mode() & 0o777, 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(home.folder()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["lock", "qpq-state.bin", "qpq.db"]);
    assert_eq!(home.run(["whoami"]).stdout.lines().next(), Some(lines[0]));
}

#[test]
fn init_and_whoami_answer_the_same_json() {
    let home = Home::new();
    let made = home.run(["--json", "init", "anna"]).json();
    assert_eq!(
        (&made["v"], &made["type"], &made["name"]),
        (&1.into(), &"identity".into(), &"anna".into())
    );
    assert_eq!(made["id"].as_str().unwrap().len(), 52);
    assert_eq!(made.as_object().unwrap().len(), 4);
    assert_eq!(home.run(["whoami", "--json"]).json(), made);
    let mut by_environment = home.command(["whoami"]);
    let ended = Ended::from(by_environment.env("QPQ_JSON", "1").output().unwrap());
    assert_eq!(ended.json(), made);
}

#[test]
fn a_second_init_changes_nothing() {
    let home = Home::of_anna();
    let before = fs::read(home.folder().join("qpq-state.bin")).unwrap();
    let [_, why, _] = home.run(["init", "ben"]).failed(2).map(str::to_owned);
    assert!(why.contains("default exists"), "{why}");
    assert_eq!(fs::read(home.folder().join("qpq-state.bin")).unwrap(), before);
    assert_eq!(home.run(["whoami", "--json"]).json()["name"], "anna");
}

#[test]
fn init_does_not_ask_where_nobody_can_answer() {
    let home = Home::new();
    assert_eq!(home.run(["init"]).failed(2)[2], "qpq init NAME");
    assert_eq!(home.run(["--no-input", "init"]).failed(2)[2], "qpq init NAME");
}

#[test]
fn without_a_profile_every_verb_says_how_to_make_one() {
    let home = Home::new();
    for arguments in [
        &["whoami"][..],
        &["log"],
        &["listen"],
        &["invite"],
        &["join", "4-otter-violin"],
        &["send", "ben", "hi"],
        &["chat"],
    ] {
        let ended = home.run(arguments);
        assert_eq!(ended.failed(3)[2], "qpq init NAME", "{arguments:?}");
    }
}

#[test]
fn what_is_missing_of_a_profile_is_named() {
    for name in ["qpq-state.bin", "qpq.db"] {
        let home = Home::of_anna();
        let file = home.folder().join(name);
        fs::remove_file(&file).unwrap();
        for verb in ["whoami", "log", "listen"] {
            let ended = home.run([verb]);
            let told = [
                "the profile cannot be opened",
                &format!("{} is missing", file.display()),
                "put it back from a copy, or use another profile: --profile NAME",
            ];
            assert_eq!(ended.failed(3), told, "{verb}");
        }
    }
}

#[test]
fn quiet_leaves_out_the_hint_and_nothing_else() {
    let home = Home::of_anna();
    for arguments in [
        &["send", "nobody", "x"][..],
        &["sned"],
        &["whoami", "--home", "/dev/null/x"],
    ] {
        let told = home.run(arguments);
        let [what, why, _] = told.failed(told.exit);
        for quiet in ["-q", "--quiet"] {
            let ended = home.run(arguments.iter().chain([&quiet]));
            assert_eq!(ended.stderr, format!("{what}\n{why}\n"), "{arguments:?}");
            assert_eq!(ended.exit, told.exit);
        }
    }
    // Behind two dashes it is text.
    home.run(["init", "a", "--", "-q"]).failed(2);
    assert!(home.run(["-q", "--json", "sned"]).stderr.contains("\"hint\""));
}

#[test]
fn with_json_errors_are_objects_on_standard_error() {
    let home = Home::new();
    for (arguments, code, exit) in [
        (&["whoami", "--json"][..], "no_profile", 3),
        (&["--json", "sned"], "usage", 2),
        (&["--json", "init"], "usage", 2),
    ] {
        let ended = home.run(arguments);
        assert_eq!((ended.exit, ended.stdout.as_str()), (exit, ""));
        let error = json::checked(&ended.stderr);
        let fields: Vec<_> = error.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields.len(), 7);
        assert_eq!((&error["v"], &error["type"]), (&1.into(), &"error".into()));
        assert_eq!((&error["code"], &error["exit"]), (&code.into(), &exit.into()));
        assert!(
            ["what", "why", "hint"]
                .iter()
                .all(|field| !error[*field].as_str().unwrap().is_empty())
        );
    }
}

#[test]
fn a_profile_that_others_can_read_is_refused_until_the_hint_is_followed() {
    let home = Home::of_anna();
    for name in ["", "qpq-state.bin", "qpq.db", "lock"] {
        let path = home.folder().join(name);
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let ended = home.run(["whoami"]);
        let hint = ended.failed(3)[2];
        assert!(hint.starts_with("chmod "), "{hint}");
        assert!(Command::new("sh").args(["-c", hint]).status().unwrap().success());
        assert_eq!(home.run(["whoami"]).exit, 0, "{name}");
    }
}

#[test]
fn a_home_that_cannot_be_written_is_told_and_left_alone() {
    let home = Home::new();
    let file = home.0.path().join("file");
    fs::write(&file, "mine").unwrap();
    let ended = home.run([
        OsStr::new("--home"),
        file.as_os_str(),
        OsStr::new("init"),
        OsStr::new("anna"),
    ]);
    ended.failed(3);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn a_damaged_vault_is_refused_untouched() {
    let home = Home::of_anna();
    let path = home.folder().join("qpq-state.bin");
    for bytes in [&b""[..], b"nonsense", &[0xff; 70_000]] {
        fs::write(&path, bytes).unwrap();
        home.run(["whoami"]).failed(3);
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn a_second_process_ends_at_once_and_names_the_first_but_may_read() {
    let home = Home::of_anna();
    let mut lock = OpenOptions::new()
        .write(true)
        .open(home.folder().join("lock"))
        .unwrap();
    lock.try_lock().unwrap();
    lock.write_all(b"4242").unwrap();
    for arguments in [
        &["listen"][..],
        &["invite"],
        &["join", "4-otter-violin"],
        &["send", "ben", "hi"],
        &["chat"],
    ] {
        let ended = home.run(arguments);
        let [_, why, _] = ended.failed(8);
        assert!(why.contains("4242"), "{why}");
    }
    assert_eq!(home.run(["whoami"]).exit, 0);
    assert_eq!(home.run(["log"]).exit, 0);
    drop(lock);
    home.run(["send", "nobody", "hi"]).failed(6);
}

#[test]
fn a_chat_that_does_not_exist_is_exit_6() {
    let home = Home::of_anna();
    for arguments in [
        &["send", "ben", "hi"][..],
        &["send", "ben", "hi", "--wait", "queued"],
        &["log", "ben"],
        &["listen", "ben"],
        &["chat", "ben"],
        &["chat"],
    ] {
        home.run(arguments).failed(6);
    }
}

#[test]
fn texts_that_cannot_be_sent_are_refused_before_anything_happens() {
    let home = Home::of_anna();
    let long = "x".repeat(65_537);
    home.run(["send", "ben", ""]).failed(2);
    home.run(["send", "ben", &long]).failed(2);
    home.run_with_input(["send", "ben"], b"").failed(2);
    home.run_with_input(["send", "ben", "-"], b"\n").failed(2);
    home.run_with_input(["send", "ben"], long.as_bytes()).failed(2);
    let ended = home.run_with_input(["send", "ben"], b"one\ntwo \xff\n");
    assert!(ended.failed(2)[1].contains("line 2"), "{ended:?}");
    // One byte less is a matter of who it is for.
    home.run_with_input(["send", "ben"], &long.as_bytes()[1..])
        .failed(6);
}

#[test]
fn an_empty_history_is_no_error() {
    let home = Home::of_anna();
    for arguments in [
        &["log"][..],
        &["log", "--json"],
        &["log", "-n", "0", "--since", "7d", "--grep", "x"],
    ] {
        let ended = home.run(arguments);
        assert_eq!(
            (ended.exit, ended.stdout.as_str(), ended.stderr.as_str()),
            (0, "", "")
        );
    }
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let home = Home::new();
    for name in ["a", "b", "c"] {
        assert_eq!(home.run(["-p", name, "init", name]).exit, 0);
    }
    let who = |command: &mut Command| Ended::from(command.output().unwrap()).json()["name"].clone();
    home.config("profile = \"a\"\njson = true\n");
    assert_eq!(who(&mut home.command(["whoami"])), "a");
    assert_eq!(who(home.command(["whoami"]).env("QPQ_PROFILE", "b")), "b");
    assert_eq!(
        who(home.command(["whoami", "--profile", "c"]).env("QPQ_PROFILE", "b")),
        "c"
    );
}

#[test]
fn an_unknown_key_is_an_error_with_its_line_and_an_unknown_variable_a_warning() {
    let home = Home::of_anna();
    let ended = Ended::from(home.command(["whoami"]).env("QPQ_NOSUCH", "1").output().unwrap());
    assert_eq!(ended.exit, 0);
    assert_eq!(ended.stderr.lines().count(), 1);
    assert!(
        ended.stderr.starts_with("warning: QPQ_NOSUCH "),
        "{}",
        ended.stderr
    );
    let mut quiet = home.command(["whoami", "-q"]);
    assert_eq!(
        Ended::from(quiet.env("QPQ_NOSUCH", "1").output().unwrap()).stderr,
        ""
    );
    let mut json = home.command(["whoami", "--json"]);
    let ended = Ended::from(json.env("QPQ_NOSUCH", "1").output().unwrap());
    let warning = json::checked(&ended.stderr);
    assert_eq!(warning["type"], "warning");
    home.config("timeout = \"5s\"\ncolour = \"never\"\n");
    let ended = home.run(["whoami"]);
    let [_, why, _] = ended.failed(2);
    assert!(why.contains("line 2") && why.contains("colour"), "{why}");
}

#[test]
fn a_variable_without_sense_is_named() {
    let home = Home::of_anna();
    for (name, value) in [
        ("QPQ_TIMEOUT", "soon"),
        ("QPQ_MDNS_PORT", "0"),
        ("QPQ_JSON", "maybe"),
        ("QPQ_HOME", ""),
    ] {
        let ended = Ended::from(home.command(["whoami"]).env(name, value).output().unwrap());
        assert!(ended.failed(2)[1].contains(name), "{ended:?}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_error_and_a_full_disk_is_one() {
    let home = Home::of_anna();
    for arguments in [&["whoami"][..], &["whoami", "--json"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = Ended::from(home.command(arguments).stdout(writer).output().unwrap());
        assert_eq!((ended.exit, ended.stderr.as_str()), (0, ""), "{arguments:?}");
        if let Ok(full) = OpenOptions::new().write(true).open("/dev/full") {
            let ended = Ended::from(home.command(arguments).stdout(full).output().unwrap());
            assert_eq!(ended.exit, 1);
            assert!(
                ended.stderr.contains("the output could not be written"),
                "{ended:?}"
            );
        }
    }
}

#[test]
fn hostile_arguments_never_reach_the_terminal_raw() {
    let home = Home::of_anna();
    let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}\r\u{8}x";
    for arguments in [
        &["log", hostile][..],
        &["send", hostile, "hi"],
        &[hostile],
        &["--profile", hostile, "whoami"],
        &["--home", hostile, "whoami"],
        &["join", hostile],
        &["whoami", hostile],
        &["log", "--since", hostile],
        &["init", hostile, "-p", "other"],
    ] {
        for json in [false, true] {
            let mut command = home.command(arguments);
            let ended = Ended::from(
                command
                    .env("QPQ_JSON", u8::from(json).to_string())
                    .output()
                    .unwrap(),
            );
            assert_ne!(ended.exit, 0, "{arguments:?}");
            let printed = ended.stdout + &ended.stderr;
            let raw = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!printed.contains(raw), "{arguments:?}: {printed:?}");
        }
    }
}

#[test]
fn arguments_that_are_not_text_are_exit_2() {
    let home = Home::of_anna();
    let latin1 = std::ffi::OsString::from_vec(b"gr\xfc\xdfe".to_vec());
    for arguments in [
        vec![latin1.as_os_str()],
        vec!["send".as_ref(), "ben".as_ref(), latin1.as_os_str()],
    ] {
        home.run(arguments).failed(2);
    }
}

#[test]
fn the_log_is_silent_unless_asked_for() {
    let home = Home::of_anna();
    assert_eq!(home.run(["whoami"]).stderr, "");
    let ended = Ended::from(home.command(["whoami"]).env("QPQ_LOG", "a=b=c").output().unwrap());
    ended.failed(2);
}

#[test]
fn a_killed_init_leaves_no_profile_and_its_rest_is_swept() {
    let home = Home::new();
    let draft = home.0.path().join(".default.new-0123456789abcdef");
    fs::create_dir(&draft).unwrap();
    fs::set_permissions(&draft, Permissions::from_mode(0o700)).unwrap();
    File::create(draft.join("lock")).unwrap();
    fs::write(draft.join("qpq-state.bin"), "half").unwrap();
    home.run(["whoami"]).failed(3);
    assert_eq!(home.run(["init", "anna"]).exit, 0);
    assert!(!draft.exists());
}

/// Reads what the kernel tells about a process until it is as wanted.
#[cfg(target_os = "linux")]
#[track_caller]
fn await_in_proc(child: &mut std::process::Child, file: &str, wanted: impl Fn(&str) -> bool) {
    let path = format!("/proc/{}/{file}", child.id());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !fs::read_to_string(&path).is_ok_and(|text| wanted(&text)) {
        assert!(std::time::Instant::now() < deadline, "{path} is not as wanted");
        std::thread::yield_now();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn no_core_dump_can_hold_keys() {
    let home = Home::of_anna();
    // Waits for its standard input.
    let mut child = home
        .command(["send", "ben"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    await_in_proc(&mut child, "limits", |limits| {
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap_or_default();
        let words: Vec<_> = line.split_whitespace().collect();
        words.get(4..6) == Some(&["0", "0"])
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn hostile_names_of_the_program_itself_are_not_shown() {
    use std::os::unix::process::CommandExt;
    let home = Home::new();
    let ended = Ended::from(home.command(["join"]).arg0("\u{1b}[2Jqpq").output().unwrap());
    assert_eq!(ended.failed(2)[2], "qpq join --help");
}
