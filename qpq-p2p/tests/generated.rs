//! Completions and manual pages: shells and `man` take them, and each verb is in them with its example.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/home.rs"]
mod home;

use std::{
    fs,
    io::Write,
    process::{Command, Output, Stdio},
};

use home::Home;

/// The output of another program for this input; `None` where it is not installed.
fn by(program: &str, arguments: &[&str], input: &str) -> Option<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("MANWIDTH", "100")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    Some(output)
}

#[test]
fn shells_take_their_completions() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let made = home.run(["completions", shell]);
        assert_eq!((made.exit, made.stderr.as_str()), (0, ""));
        for word in ["whoami", "passphrase", "change", "--no-input"] {
            assert!(
                made.stdout.contains(word.trim_start_matches('-')),
                "{shell}: {word}"
            );
        }
        if ["bash", "zsh", "fish"].contains(&shell)
            && let Some(checked) = by(shell, &["-n"], &made.stdout)
        {
            assert!(
                checked.status.success() && checked.stderr.is_empty(),
                "{checked:?}"
            );
        }
    }
    home.run(["completions", "tcsh"]).failed(2);
}

#[test]
fn bash_completes_a_verb() {
    let home = Home::new();
    let script = home.run(["completions", "bash"]).stdout;
    let asked =
        "\nCOMP_WORDS=(qpq passphrase ch); COMP_CWORD=2; _qpq qpq ch passphrase; echo \"${COMPREPLY[@]}\"\n";
    if let Some(output) = by("bash", &["--norc"], &(script + asked)) {
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "change\n");
    }
}

#[test]
fn every_page_of_the_manual_has_the_example_of_its_verb_and_is_taken_by_man() {
    let home = Home::new();
    let folder = home.0.path().join("deep/man1");
    assert_eq!(home.run(["man", "--dir", folder.to_str().unwrap()]).exit, 0);
    let mut pages = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let page = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let verb = name.replace('-', " ");
        let plain = page.replace('\\', "");
        let (_, example) = plain
            .split_once("Example")
            .unwrap_or_else(|| panic!("{name} has none"));
        assert!(example.contains(&verb), "{name}");
        // The same page by its verb.
        let words = verb.split(' ').skip(1);
        assert_eq!(home.run(["man"].into_iter().chain(words)).stdout, page, "{name}");
        if let Some(shown) = by("man", &["--warnings", "-l", path.to_str().unwrap()], "") {
            let text = String::from_utf8_lossy(&shown.stdout);
            // Small systems have a `man` that says only that it was left out.
            if shown.status.success() && text.contains("SYNOPSIS") {
                assert!(
                    text.contains(&verb) && shown.stderr.is_empty(),
                    "{name}: {shown:?}"
                );
            }
        }
        pages += 1;
    }
    assert!(pages > 15, "{pages} pages");
    let wrong = home.run(["man", "sned"]);
    assert!(wrong.failed(2)[1].contains("send"), "{wrong:?}");
    assert!(home.run(["man", "passphrase", "sett"]).failed(2)[1].contains("set, change, remove"));
    home.run(["man", "--dir", "/dev/null/x"]).failed(1);
}
