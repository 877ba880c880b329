//! Every argument of every verb gets what no user would type. What is refused is refused in three lines, nothing raw
//! reaches the terminal, and nothing changes on the disk.
//!
//! Verbs and arguments are those of the help: a new one is tried without a line here, but for what to put in its
//! place while others are tried ([`harmless`]).
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/people.rs"]
mod people;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStringExt,
    path::PathBuf,
    process::{Output, Stdio},
    sync::mpsc::channel,
    time::Duration,
};

use people::{Person, anna_and_ben, json, meet, object, text};
use rustix::process::{Pid, Signal, kill_process};

/// Whatever it is given, it ends by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is tried in each place.
fn hostile() -> Vec<OsString> {
    let mut hostile: Vec<OsString> = [
        "",
        "\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}[31m",
        "\u{9b}31m\u{202e}\u{2066}\u{200b}x\u{7f}",
        "a\r\nhint: rm -rf ~\n\u{8}\u{8}b",
        "--",
        "-1",
        "-\u{1b}[2J",
        "99999999999999999999999999",
        "../../x",
        "/dev/null/x",
        "' OR 1=1 --",
        "%s%n{}$(id)`id`\\",
    ]
    .map(OsString::from)
    .into();
    hostile.push("x".repeat(65_536).into());
    hostile.push(OsString::from_vec(b"gr\xfc\xdfe\x1b[2J".to_vec()));
    hostile
}

/// What a verb takes, as its help tells it.
struct Verb {
    words: Vec<String>,
    positional: Vec<String>,
    /// So many of the positional ones have to be there.
    required: usize,
    /// `--expires` of `--expires <TIME>`, its own and those of every verb.
    own: Vec<String>,
    global: Vec<String>,
}

impl Verb {
    fn of(person: &Person, page: &str) -> Self {
        let words: Vec<_> = page.split('-').map(str::to_owned).collect();
        let arguments: Vec<_> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let help = text(person.run(&arguments), 0);
        let mut verb = Self {
            words,
            positional: Vec::new(),
            required: 0,
            own: Vec::new(),
            global: Vec::new(),
        };
        let mut section = "";
        for line in help.lines() {
            if !line.starts_with(' ') {
                section = line;
            }
            let told = line.trim_start();
            // Where the text about one goes on, it stands further right.
            let is_first = line.len() - told.len() <= 6;
            let mut words = told.split(' ').skip_while(|word| word.ends_with(','));
            let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let takes_value = first.starts_with('-') && second.starts_with('<');
            match section {
                "Arguments:" if is_first && told.starts_with(['<', '[']) => {
                    let name = told.split(['<', '>', '[', ']']).nth(1).unwrap();
                    verb.positional.push(name.to_owned());
                    verb.required += usize::from(told.starts_with('<'));
                }
                "Options:" if is_first && takes_value => verb.own.push(first.to_owned()),
                "Global options:" if is_first && takes_value => verb.global.push(first.to_owned()),
                _ => {}
            }
        }
        assert_eq!(verb.global.len(), 4, "{page}: {:?}", verb.global);
        verb
    }

    /// The call with this in one positional place.
    fn at(&self, place: usize, value: &OsStr, ben: &str) -> Vec<OsString> {
        let mut call = self.call(ben);
        call[self.words.len() + place] = value.to_owned();
        call
    }

    /// The shortest call with this as the value of an option.
    fn with(&self, option: &str, value: &OsStr, ben: &str) -> Vec<OsString> {
        let mut call = self.call(ben);
        call.truncate(self.words.len() + self.required);
        call.extend([option.into(), value.to_owned()]);
        call
    }

    /// The call as it should be.
    fn call(&self, ben: &str) -> Vec<OsString> {
        let words = self.words.iter().map(OsString::from);
        let positional = self.positional.iter().map(|name| harmless(name, ben).into());
        words.chain(positional).collect()
    }
}

/// Something that is right in this place.
fn harmless<'a>(name: &str, ben: &'a str) -> &'a str {
    match name {
        "NAME" | "CHAT" => ben,
        "NEW_NAME" | "TEXT" => "benjamin",
        "KEY" => "timeout",
        "VALUE" => "1m",
        "SHELL" => "bash",
        "ID" => "7k2f9qxm3m8t0",
        "CODE|LINK" => "4-otter-violin",
        "VERB" => "send",
        other => panic!("what is right for {other}?"),
    }
}

/// Anna's profile, whose contact Ben is away.
struct Place {
    anna: Person,
    ben: String,
    verbs: BTreeMap<String, Verb>,
    vault: Vec<u8>,
}

impl Place {
    fn new() -> Self {
        let (anna, ben) = anna_and_ben();
        meet(&anna, &ben);
        let who = object(&text(ben.run(&["whoami", "--json"]), 0));
        let folder = anna.home.path().join("man");
        text(anna.run(&["man", "--dir", folder.to_str().unwrap()]), 0);
        let verbs: BTreeMap<_, _> = fs::read_dir(&folder)
            .unwrap()
            .filter_map(|page| {
                let name = page.unwrap().file_name().into_string().unwrap();
                let page = name.strip_suffix(".1")?.strip_prefix("qpq-")?.to_owned();
                let verb = Verb::of(&anna, &page);
                Some((page, verb))
            })
            .collect();
        assert!(verbs.len() > 30, "{:?}", verbs.keys());
        let vault = fs::read(anna.home.path().join("default/qpq-state.bin")).unwrap();
        // Paths that lead upwards do not lead out of it.
        fs::create_dir_all(anna.home.path().join("a/b/c")).unwrap();
        Self {
            anna,
            ben: who["id"].as_str().unwrap().to_owned(),
            verbs,
            vault,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.anna.home.path().join(name)
    }

    /// All that a refused call must leave as it is.
    fn kept(&self) -> (String, String, Option<Vec<u8>>) {
        (
            text(self.anna.run(&["log", "-n", "0", "--json"]), 0),
            text(self.anna.run(&["contact", "list", "--all", "--json"]), 0),
            fs::read(self.path("config.toml")).ok(),
        )
    }

    /// Runs a call, looks at all that it says, and returns how it ended.
    fn tried(&self, call: &[OsString], is_json: bool) -> i32 {
        let mut command = self.anna.command(&[]);
        command
            .args(call)
            .env("QPQ_TIMEOUT", "100ms")
            .env("QPQ_JSON", u8::from(is_json).to_string())
            .current_dir(self.path("a/b/c"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let shown: Vec<_> = call
            .iter()
            .map(|word| word.to_string_lossy().chars().take(60).collect::<String>())
            .collect();
        let child = command.spawn().unwrap();
        let pid = Pid::from_child(&child);
        let (to, ended) = channel();
        std::thread::spawn(move || to.send(child.wait_with_output().unwrap()));
        let output = ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let _ = kill_process(pid, Signal::KILL);
            panic!("{shown:?} does not end")
        });
        let exit = output
            .status
            .code()
            .unwrap_or_else(|| panic!("{shown:?}: {output:?}"));
        check(&shown, &output, exit, is_json);
        let vault = fs::read(self.path("default/qpq-state.bin")).unwrap();
        assert!(vault == self.vault, "{shown:?}: another vault");
        exit
    }
}

fn check(shown: &[String], output: &Output, exit: i32, is_json: bool) {
    // Those that the reference has; what is told of a panic is none of them.
    assert!((0..=9).contains(&exit), "{shown:?}: {output:?}");
    let [stdout, stderr] = [&output.stdout, &output.stderr]
        .map(|bytes| str::from_utf8(bytes).unwrap_or_else(|_| panic!("{shown:?}: {output:?}")));
    let is_raw = |c: char| {
        (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!stdout.contains(is_raw), "{shown:?}: {stdout:?}");
    assert!(!stderr.contains(is_raw), "{shown:?}: {stderr:?}");
    let is_fault = ["panicked", "qpq failed", "fault of qpq"]
        .iter()
        .any(|word| stderr.contains(word));
    assert!(!is_fault, "{shown:?}: {stderr}");
    if exit == 0 {
        return;
    }
    if is_json {
        let error = json::checked(stderr.lines().last().unwrap());
        assert_eq!(error["exit"], exit, "{shown:?}");
    } else {
        let lines: Vec<_> = stderr.lines().collect();
        let [what, why, hint] = lines[..] else {
            panic!("{shown:?}: three lines were expected: {stderr}")
        };
        let empty = what.is_empty() || why.is_empty() || hint == "hint: ";
        assert!(!empty && hint.starts_with("hint: "), "{shown:?}: {stderr}");
    }
}

#[test]
fn arguments_of_verbs_are_refused_or_harmless() {
    refused_or_harmless(&Place::new());
}

/// The same by way of its socket; it is there to the end.
#[test]
fn an_owner_refuses_what_others_pass_on() {
    let place = Place::new();
    let mut daemon = place.anna.start(&["daemon"]);
    assert_eq!(daemon.line(), "  ready");
    refused_or_harmless(&place);
    let status = object(&text(place.anna.run(&["status", "--json"]), 0));
    assert_eq!(status["pid"], daemon.child.id());
}

fn refused_or_harmless(place: &Place) {
    let hostile = hostile();
    let mut json = false;
    for (page, verb) in &place.verbs {
        let before = place.kept();
        let mut calls = Vec::new();
        for value in &hostile {
            let positional = 0..verb.positional.len();
            calls.extend(positional.map(|at| verb.at(at, value, &place.ben)));
            let options = verb.own.iter();
            calls.extend(options.map(|option| verb.with(option, value, &place.ben)));
            // One more than it takes; two dashes alone are nothing.
            if verb.positional.is_empty() && value != "--" {
                calls.push([verb.call(&place.ben), vec![value.clone()]].concat());
            }
        }
        // Right in form, and more than a clock or a counter takes.
        for value in ["18446744073709551615", "106751991167300d", "9999-12-31T23:59:59Z"] {
            let options = verb.own.iter();
            calls.extend(options.map(|option| verb.with(option, value.as_ref(), &place.ben)));
        }
        let mut done = 0;
        for call in &calls {
            json = !json;
            let exit = place.tried(call, json);
            // 7: kept, as Ben is away.
            done += u32::from(matches!(exit, 0 | 7));
        }
        let after = place.kept();
        match page.as_str() {
            "send" => {
                assert_eq!(after.0.lines().count(), before.0.lines().count() + done as usize);
                assert!(after.0.starts_with(&before.0));
                assert_eq!((after.1, after.2), (before.1, before.2));
            }
            "contact-rename" => {
                assert_eq!((after.0, after.2), (before.0, before.2));
                assert!(done > 0 || after.1 == before.1);
            }
            _ => assert!(after == before, "{page}: something has changed"),
        }
    }
}

#[test]
fn what_every_verb_takes_is_refused_or_harmless() {
    let place = Place::new();
    let hostile = hostile();
    let before = place.kept();
    // Three of them in each place, others for each verb.
    let mut next = (0..hostile.len()).cycle();
    let mut refused = 0;
    for verb in place.verbs.values() {
        for option in &verb.global {
            for is_json in [false, true, false] {
                let value = hostile[next.next().unwrap()].clone();
                let call = [vec![option.into(), value], verb.call(&place.ben)].concat();
                let exit = place.tried(&call, is_json);
                // What is in another home, or takes no time, is not refused.
                refused += u32::from(exit != 0);
            }
        }
    }
    assert!(refused > 200, "{refused}");
    assert!(place.kept() == before, "something has changed");
}
