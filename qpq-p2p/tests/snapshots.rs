//! What every verb says: its help, its answer to people and its answer to programs, each as a file in `snapshots/`.
//! `QPQ_WRITE_GOLDEN=1` writes them anew; read what changed before you commit it.
//!
//! A new verb is a line in [`PLAY`]: without one, the test that asks the manual pages for all verbs fails.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/people.rs"]
mod people;

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use people::{Person, Running, anna_and_ben, json};

/// One step of the play; every answer in it becomes a snapshot.
enum Step {
    /// Anna invites, Ben joins.
    Meet,
    /// Ben listens, Anna sends.
    Talk,
    /// Anna does something alone; with these variables.
    Alone(&'static str, &'static [(&'static str, &'static str)]),
    /// Anna begins something that goes on, and ends it by SIGTERM once it has said something.
    Ended(&'static str),
    /// The same with lines to read.
    Reads(&'static str, &'static str),
}

const OLD: (&str, &str) = ("QPQ_PASSPHRASE_FILE", "old");
const NEW: (&str, &str) = ("QPQ_NEW_PASSPHRASE_FILE", "new");
const FIRST: (&str, &str) = ("QPQ_NEW_PASSPHRASE_FILE", "old");
const CHANGED: (&str, &str) = ("QPQ_PASSPHRASE_FILE", "new");

/// Played from the top, once for people and once with `--json`. The first step of a verb names it.
const PLAY: &[Step] = &[
    Step::Alone("init anna -p second", &[]),
    Step::Alone("whoami", &[]),
    Step::Alone("whoami -p nobody", &[]),
    Step::Meet,
    Step::Talk,
    Step::Alone("log ben", &[]),
    Step::Alone("send nobody hello", &[]),
    Step::Alone("status", &[]),
    Step::Alone("nearby --timeout 1s", &[]),
    Step::Alone("contact list", &[]),
    Step::Alone("contact show ben", &[]),
    Step::Alone("contact rename ben benjamin", &[]),
    Step::Alone("contact rename benjamin ben", &[]),
    Step::Alone("contact accept ben", &[]),
    Step::Alone("contact refuse ben", &[]),
    Step::Alone("contact replace ben", &[]),
    Step::Alone("contact block ben", &[]),
    Step::Alone("contact unblock ben", &[]),
    Step::Alone("verify ben", &[]),
    Step::Alone("verify ben --number 12345", &[]),
    Step::Alone("invite list", &[]),
    Step::Alone("invite cancel 2222-3333", &[]),
    Step::Ended("daemon"),
    Step::Reads("chat ben --timeout 1s", "are you there?\n"),
    Step::Alone("config set timeout 20s", &[]),
    Step::Alone("config set colour never", &[]),
    Step::Alone("config get timeout", &[]),
    Step::Alone("config show", &[]),
    Step::Alone("config path", &[]),
    Step::Alone("passphrase set", &[FIRST]),
    Step::Alone("passphrase change", &[OLD, NEW]),
    Step::Alone("passphrase change", &[]),
    Step::Alone("passphrase remove", &[CHANGED]),
    Step::Alone("completions bash", &[]),
    Step::Alone("man whoami", &[]),
    Step::Alone("contact remove ben", &[]),
];

/// Longer answers are for other programs, and not ours to word.
const LINES_MAX: usize = 40;

/// What was said, by verb: `config-set`.
type Shots = BTreeMap<String, String>;

#[test]
fn every_verb_says_what_it_said() {
    let (anna, _) = anna_and_ben();
    let verbs = verbs(&anna);
    let mut shots = Shots::new();
    for verb in &verbs {
        let words = verb.replace('-', " ");
        let line = format!("{words} --help");
        let mut help = anna.command(&line.split_whitespace().collect::<Vec<_>>());
        let said = said(&line, &help.env_remove("COLUMNS").output().unwrap(), &anna);
        shots.insert(verb.clone(), said);
    }
    for is_json in [false, true] {
        let stage = Stage::new(is_json);
        let played = stage.play();
        for verb in &verbs {
            let has_verbs_below = verbs.iter().any(|other| other.starts_with(&format!("{verb}-")));
            let answers = played.get(verb);
            assert!(has_verbs_below || answers.is_some(), "{verb} has no line in PLAY");
            shots.get_mut(verb).unwrap().extend(answers.map(String::as_str));
        }
    }
    compare(&shots);
}

/// Of the manual: it has a page for each.
fn verbs(anna: &Person) -> Vec<String> {
    let folder = anna.home.path().join("man");
    people::text(anna.run(&["man", "--dir", folder.to_str().unwrap()]), 0);
    let pages = fs::read_dir(folder).unwrap();
    let names = pages.map(|page| page.unwrap().file_name().into_string().unwrap());
    let verbs: Vec<_> = names
        .filter_map(|name| Some(name.strip_suffix(".1")?.strip_prefix("qpq-")?.to_owned()))
        .collect();
    assert!(verbs.len() > 15, "{verbs:?}");
    verbs
}

/// Two people who play.
struct Stage {
    anna: Person,
    ben: Person,
    is_json: bool,
}

impl Stage {
    fn new(is_json: bool) -> Self {
        let (anna, ben) = anna_and_ben();
        for (name, text) in [
            ("old", "six words that nobody ever guesses\n"),
            ("new", "others\n"),
        ] {
            let path = anna.home.path().join(name);
            fs::write(&path, text).unwrap();
            private(&path);
        }
        Self { anna, ben, is_json }
    }

    fn play(&self) -> Shots {
        let mut shots = Shots::new();
        let mut add = |line: &str, output: &Output, person: &Person| {
            if self.is_json && !["completions", "man"].contains(&first(line)) {
                check(output);
            }
            let said = said(line, output, person);
            shots.entry(verb_of(line)).or_default().push_str(&said);
        };
        for step in PLAY {
            match step {
                Step::Meet => {
                    let mut invite = self.start(&self.anna, "invite --timeout 60s");
                    let told = invite.line();
                    let code = told
                        .split(['"', ' '])
                        .find(|word| is_code(word))
                        .unwrap()
                        .to_owned();
                    let join = self.command(&self.ben, &format!("join {code}")).output().unwrap();
                    add("join 4-otter-violin", &join, &self.ben);
                    let mut output = invite.output();
                    output.stdout.splice(0..0, format!("{told}\n").into_bytes());
                    add("invite --timeout 60s", &output, &self.anna);
                }
                Step::Talk => {
                    let line = "listen --count 1 --timeout 60s";
                    let listen = self.start(&self.ben, line);
                    let send = self.command(&self.anna, "send ben hello --timeout 30s");
                    add("send ben hello", &{ send }.output().unwrap(), &self.anna);
                    add(line, &listen.output(), &self.ben);
                }
                Step::Alone(line, variables) => {
                    let mut command = self.command(&self.anna, line);
                    for (name, file) in *variables {
                        command.env(name, self.anna.home.path().join(file));
                    }
                    add(line, &command.output().unwrap(), &self.anna);
                }
                Step::Ended(line) => {
                    let mut running = self.start(&self.anna, line);
                    let told = running.line();
                    let pid = rustix::process::Pid::from_child(&running.child);
                    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
                    let mut output = running.output();
                    output.stdout.splice(0..0, format!("{told}\n").into_bytes());
                    add(line, &output, &self.anna);
                }
                Step::Reads(line, text) => {
                    let input = self.anna.home.path().join("input");
                    fs::write(&input, text).unwrap();
                    let mut command = self.command(&self.anna, line);
                    let read = command.stdin(fs::File::open(input).unwrap());
                    add(line, &read.output().unwrap(), &self.anna);
                }
            }
        }
        shots
    }

    fn command(&self, person: &Person, line: &str) -> Command {
        let mut command = person.command(&line.split_whitespace().collect::<Vec<_>>());
        command.env("QPQ_JSON", u8::from(self.is_json).to_string());
        command.env_remove("COLUMNS").stderr(Stdio::piped());
        command
    }

    fn start(&self, person: &Person, line: &str) -> Running {
        Running::spawn(&mut self.command(person, line))
    }
}

fn private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn first(line: &str) -> &str {
    line.split(' ').next().unwrap()
}

/// `config-set` of `config set timeout 20s`.
fn verb_of(line: &str) -> String {
    let words: Vec<_> = line.split(' ').collect();
    match words[..] {
        // Verbs that have verbs below them.
        ["config" | "passphrase" | "contact", below, ..] => format!("{}-{below}", words[0]),
        ["invite", below @ ("list" | "cancel"), ..] => format!("invite-{below}"),
        _ => words[0].to_owned(),
    }
}

/// Every line is one of the contract.
fn check(output: &Output) {
    for bytes in [&output.stdout, &output.stderr] {
        str::from_utf8(bytes).unwrap().lines().for_each(|line| {
            json::checked(line);
        });
    }
}

/// A command as it was typed, its end, and what it said; what is on standard error begins with `! `.
fn said(line: &str, output: &Output, person: &Person) -> String {
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| redacted(bytes, person));
    let exit = output.status.code().unwrap();
    let mut said = format!("$ qpq {line}    # {exit}\n");
    for (number, line) in stdout.lines().enumerate() {
        match number {
            0..LINES_MAX => writeln!(said, "{line}").unwrap(),
            LINES_MAX => writeln!(said, "…").unwrap(),
            _ => {}
        }
    }
    for line in stderr.lines() {
        writeln!(said, "! {line}").unwrap();
    }
    said + "\n"
}

/// What is another each time has a name instead.
fn redacted(bytes: &[u8], person: &Person) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let text = text.replace(person.home.path().to_str().unwrap(), "[HOME]");
    let mut told = String::new();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-:.".contains(c);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        if told.ends_with("\"pid\"") && word.starts_with(':') {
            told.push_str(":[PID]");
            rest = tail;
            continue;
        }
        let bare = word.trim_end_matches([':', '.']);
        told.push_str(name_of(bare, person).unwrap_or(bare));
        told.push_str(&word[bare.len()..]);
        let between = tail.find(is_part).unwrap_or(tail.len());
        let (gap, tail) = tail.split_at(between);
        told.push_str(gap);
        rest = tail;
    }
    // Columns move with the length of what stood there.
    while told.contains("]   ") {
        told = told.replace("]   ", "]  ");
    }
    told
}

fn name_of(word: &str, person: &Person) -> Option<&'static str> {
    let base32 = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    let time = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b':');
    let date = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'-') && text.contains('-');
    let halves = word.split_once('-');
    Some(match word.len() {
        52 if base32(word) => "[ID]",
        26 if word.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()) => "[ULID]",
        13 if base32(word) && word.bytes().any(|b| b.is_ascii_digit()) && word != "7k2f9qxm3m8t0" => {
            "[LINK-ID]"
        }
        10 if date(word) => "[DATE]",
        60.. if word.starts_with("QPQ:") => "[LINK]",
        60 if word.bytes().all(|b| b.is_ascii_digit()) => "[NUMBER]",
        5 if word.bytes().all(|b| b.is_ascii_digit()) && word != "12345" => "[DIGITS]",
        24 if word.ends_with('Z') && word.contains('T') => "[TIME]",
        5 if time(word) && word.contains(':') => "[TIME]",
        9 if halves.is_some_and(|(a, b)| a.len() == 4 && base32(a) && base32(b)) => "[SHORT]",
        _ if word == person.mdns_port.to_string() => "[PORT]",
        _ if word == env!("CARGO_PKG_VERSION") => "[VERSION]",
        // That of help and hints is always the same.
        _ if is_code(word) && word != "4-otter-violin" => "[CODE]",
        _ => return None,
    })
}

fn is_code(word: &str) -> bool {
    let parts: Vec<_> = word.split('-').collect();
    let letters = |text: &str| text.len() > 2 && text.bytes().all(|b| b.is_ascii_lowercase());
    matches!(parts[..], [number, a, b] if number.parse::<u16>().is_ok() && letters(a) && letters(b))
}

fn compare(shots: &Shots) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    if std::env::var_os("QPQ_WRITE_GOLDEN").is_some() {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        for (verb, said) in shots {
            fs::write(folder.join(format!("{verb}.txt")), said).unwrap();
        }
    }
    let files = fs::read_dir(&folder).unwrap();
    let mut kept: Shots = files
        .map(|file| {
            let path = file.unwrap().path();
            let verb = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (verb, fs::read_to_string(path).unwrap())
        })
        .collect();
    for (verb, said) in shots {
        let kept = kept.remove(verb).unwrap_or_default();
        for (old, new) in kept.lines().zip(said.lines()) {
            assert_eq!(old, new, "{verb}; QPQ_WRITE_GOLDEN=1 writes it anew");
        }
        assert_eq!(kept.lines().count(), said.lines().count(), "{verb}: {said}");
    }
    assert_eq!(kept.keys().collect::<Vec<_>>(), [""; 0], "no verb says these");
}
