//! What is told, and in which form, where settings make no sense or the system refuses something.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/people.rs"]
mod people;

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use people::{Person, anna_and_ben, by, free_port, meet, object};

fn anna() -> Person {
    Person::new("anna", free_port())
}

/// Whether the error of a run that fails is told as JSON.
#[track_caller]
fn is_json(command: &mut Command, code: &str) -> bool {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(
        (status.code(), stdout.as_slice()),
        (Some(2), &b""[..]),
        "{stderr}"
    );
    match stderr.lines().count() {
        1 => assert_eq!(object(&stderr)["code"], code),
        lines => assert_eq!((lines, stderr.starts_with('{')), (3, false), "{stderr}"),
    }
    stderr.starts_with('{')
}

#[test]
fn errors_before_there_are_settings_are_json_where_a_variable_says_so() {
    let anna = anna();
    for (value, json) in [
        ("1", true),
        ("true", true),
        ("yes", true),
        ("on", true),
        ("0", false),
        ("off", false),
        ("", false),
    ] {
        let mut usage = anna.command(&["sned"]);
        assert_eq!(is_json(usage.env("QPQ_JSON", value), "usage"), json, "{value}");
        let mut config = anna.command(&["whoami"]);
        config.env("QPQ_JSON", value).env("QPQ_TIMEOUT", "soon");
        assert_eq!(is_json(&mut config, "config"), json, "{value}");
    }
}

#[test]
fn errors_before_there_are_settings_are_json_where_the_file_says_so() {
    let anna = anna();
    let config = anna.home.path().join("config.toml");
    for (text, json) in [
        ("json = true\n", true),
        ("json = \"on\"\n", true),
        ("json = false\n", false),
    ] {
        fs::write(&config, text).unwrap();
        assert_eq!(is_json(&mut anna.command(&["sned"]), "usage"), json);
        assert!(!is_json(anna.command(&["sned"]).env("QPQ_JSON", "0"), "usage"));
        // The file's other keys may make no sense, and the folder may be named by the line that makes none.
        fs::write(&config, format!("colour = 7\n{text}")).unwrap();
        assert_eq!(is_json(&mut anna.command(&["whoami"]), "config"), json);
        let folder = anna.home.path().to_str().unwrap();
        for home in [&["--home", folder][..], &[&format!("--home={folder}")]] {
            let mut named = anna.command(&[home, &["sned"]].concat());
            assert_eq!(is_json(named.env_remove("QPQ_HOME"), "usage"), json);
        }
    }
}

#[test]
fn what_stands_behind_two_dashes_asks_for_no_json() {
    let anna = anna();
    assert!(!is_json(
        &mut anna.command(&["init", "a", "--", "--json"]),
        "usage"
    ));
    assert!(is_json(
        &mut anna.command(&["init", "a", "--json", "--", "b"]),
        "usage"
    ));
}

#[test]
fn an_unknown_variable_is_a_warning_in_the_form_that_the_file_asks_for() {
    let anna = anna();
    fs::write(anna.home.path().join("config.toml"), "json = true\n").unwrap();
    let told = anna.command(&["whoami"]).env("QPQ_NOSUCH", "1").output().unwrap();
    assert_eq!(object(str::from_utf8(&told.stderr).unwrap())["type"], "warning");
}

#[test]
fn settings_that_are_changed_at_once_are_all_kept() {
    let anna = anna();
    let config = anna.home.path().join("config.toml");
    fs::write(&config, "# mine\n").unwrap();
    let pairs = [
        ["timeout", "20s"],
        ["color", "never"],
        ["no_input", "true"],
        ["profile", "work"],
    ];
    let children = pairs.map(|[key, value]| {
        let mut set = anna.command(&["config", "set", key, value]);
        set.stdout(Stdio::null()).spawn().unwrap()
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.starts_with("# mine\n"), "{text}");
    for [key, value] in pairs {
        let told = anna.run(&["config", "get", key]);
        assert_eq!(String::from_utf8(told.stdout).unwrap(), format!("{value}\n"));
    }
}

#[test]
fn a_setting_tells_the_flag_the_variable_or_the_line_it_comes_from() {
    let anna = anna();
    fs::write(anna.home.path().join("config.toml"), "\n\ntimeout = 5\n").unwrap();
    for (arguments, variable, value, origin) in [
        (&["--timeout", "7s"][..], "6", "7s", "--timeout"),
        (&[], "6", "6s", "QPQ_TIMEOUT"),
        (&[], "", "5s", "config.toml:3"),
    ] {
        let mut get = anna.command(&[&["config", "get", "timeout", "--json"], arguments].concat());
        if !variable.is_empty() {
            get.env("QPQ_TIMEOUT", variable);
        }
        let told = object(str::from_utf8(&get.output().unwrap().stdout).unwrap());
        assert_eq!((&told["value"], &told["origin"]), (&value.into(), &origin.into()));
    }
    // What does not win is told.
    let mut set = anna.command(&["config", "set", "timeout", "9s"]);
    let told = set.env("QPQ_TIMEOUT", "6").output().unwrap();
    assert_eq!(
        str::from_utf8(&told.stderr).unwrap(),
        "QPQ_TIMEOUT wins over config.toml\n"
    );
}

/// What is told on standard error about a message that the disk does not take.
fn told_on_a_full_disk(arguments: &[&str]) -> String {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    // No file may grow beyond 128 * 512 bytes: enough to open the database, not for this text.
    let command = anna.command(
        &[
            &["send", "ben", &"x".repeat(60_000), "--wait", "queued"],
            arguments,
        ]
        .concat(),
    );
    let script = "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\"";
    let mut limited = by("sh", &["-c", script], &command);
    let Output { status, stderr, .. } = limited.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    stderr
}

#[test]
fn what_goes_wrong_in_the_background_is_told_in_a_line() {
    let told = told_on_a_full_disk(&[]);
    let lines: Vec<_> = told.lines().collect();
    assert!(lines[0].starts_with("qpq: nothing could be stored: "), "{told}");
    assert_eq!(lines[1], "nothing was stored", "{told}");
}

#[test]
fn what_goes_wrong_in_the_background_is_an_object_for_programs() {
    let told = told_on_a_full_disk(&["--json"]);
    let objects: Vec<_> = told.lines().map(object).collect();
    let types: Vec<_> = objects
        .iter()
        .map(|object| object["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["warning", "error"]);
    let what = objects[0]["what"].as_str().unwrap();
    assert!(what.starts_with("nothing could be stored: "), "{what}");
    assert_eq!(objects[1]["code"], "not_stored");
}

#[test]
fn what_waits_for_a_network_says_so() {
    // A network namespace of its own has nothing that is up.
    let possible = Command::new("unshare").args(["-rn", "true"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        return;
    }
    let anna = anna();
    for (arguments, exit) in [
        (&["invite", "--timeout", "1s"][..], 4),
        (&["join", "4-otter-violin", "--timeout", "1s"], 4),
        (&["listen", "--timeout", "1s"], 0),
    ] {
        let mut alone = by("unshare", &["-rn"], &anna.command(arguments));
        let ended = alone.env("QPQ_INTERFACES", "all").output().unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(exit), "{stderr}");
        let lines: Vec<_> = stderr.lines().collect();
        assert_eq!(
            lines[0], "qpq: no network is up: waiting for one",
            "{arguments:?}"
        );
        if arguments[0] == "join" {
            assert_eq!(lines[1..3], ["nobody was found", "no network is up"]);
        }
    }
    let loopback = anna.run(&["listen", "--timeout", "1ms"]);
    assert_eq!(String::from_utf8(loopback.stderr).unwrap(), "");
}
