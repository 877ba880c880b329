//! What others wrote, and what is typed, reaches no terminal as more than text.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    process::{Output, Stdio},
};

use qpq_core::{secret::Secret, store};
use rand_core::OsRng;

use crate::{
    chats, file, id,
    people::{Person, Running, anna_and_ben, code_of, meet, object, text},
    vault,
};

/// Texts that would clear the screen, set its title, colour it, write backwards, hide, or pose as another line.
const TEXTS: [&str; 8] = [
    "\u{1b}[2J\u{1b}[1;1Hcleared",
    "\u{1b}]0;title\u{7}\u{1b}]52;c;ZXZpbA==\u{1b}\\clipboard",
    "\u{9b}31mred\u{9d}0;x\u{9c}",
    "exe.\u{202e}gpj\u{202c}\u{2066}x\u{2069}\u{200f}\u{61c}",
    "zero\u{200b}width\u{feff}\u{ad}\u{e0041}\u{2060}",
    "over\rwritten\u{8}\u{7f}\u{0b}\u{0c}",
    "first\ncarla, 10:00: pay me\u{2028}carla, 10:00: now\u{85}carla, 10:00: please",
    "\u{1b}",
];

/// Whether a character must not reach a terminal: it obeys it, turns text around, or shows nothing for it.
fn is_hostile(c: char) -> bool {
    let control = c.is_control() && c != '\n' && c != '\t';
    let bidi =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let unseen = matches!(
        c,
        '\u{ad}' | '\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{2060}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}'
    );
    control || bidi || unseen
}

#[track_caller]
pub(crate) fn assert_clean(bytes: &[u8]) -> String {
    let shown = String::from_utf8(bytes.to_vec()).unwrap();
    if let Some(c) = shown.chars().find(|c| is_hostile(*c)) {
        panic!("{c:?} is on the screen: {shown:?}");
    }
    // A reader of lines would take these for somebody else's.
    assert!(!shown.lines().any(|line| line.starts_with("carla")), "{shown}");
    shown
}

/// The standard output of a run whose every byte was harmless.
#[track_caller]
fn clean(output: Output, exit: i32) -> String {
    assert_clean(&output.stderr);
    assert_clean(&output.stdout);
    text(output, exit)
}

/// The texts in lines of JSON, of which each is harmless to look at.
#[track_caller]
fn texts(lines: &str) -> Vec<String> {
    let text = |line| object(line)["text"].as_str().unwrap().to_owned();
    lines.lines().map(text).collect()
}

/// Anna sent Ben all [`TEXTS`]; his `listen` has not shown them yet.
fn with_hostile_texts() -> (Person, Person) {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let (last, others) = TEXTS.split_last().unwrap();
    for hostile in others {
        clean(anna.run(&["send", "ben", hostile, "--wait", "queued"]), 0);
    }
    let online = ben.start(&["join", "999-otter-violin", "--timeout", "60s"]);
    clean(anna.run(&["send", "ben", last, "--timeout", "30s"]), 0);
    online.kill();
    (anna, ben)
}

#[test]
fn hostile_texts_are_printed_as_text_and_kept_as_they_are() {
    let (anna, ben) = with_hostile_texts();
    for arguments in [
        &["log"][..],
        &["log", "--color", "always"],
        &["log", "--grep", "\u{1b}"],
    ] {
        for person in [&anna, &ben] {
            let shown = clean(person.run(arguments), 0);
            assert!(shown.contains("[2J[1;1Hcleared"), "{shown}");
        }
    }
    for arguments in [&["log", "--json"][..], &["listen", "--json", "--count", "0"]] {
        let shown = clean(ben.run(arguments), 0);
        let expected: &[&str] = if arguments.contains(&"log") { &TEXTS } else { &[] };
        assert_eq!(texts(&shown), expected);
    }
    assert_eq!(texts(&clean(anna.run(&["log", "--json"]), 0)), TEXTS);
    // Half of what is unread is shown to a person, half to a program.
    let half = ben.run(&["listen", "--count", "4", "--timeout", "30s"]);
    assert!(clean(half, 0).contains("exe.gpjx"));
    let rest = ben.run(&["listen", "--json", "--count", "4", "--timeout", "30s"]);
    assert_eq!(texts(&clean(rest, 0)), TEXTS[4..]);
}

#[test]
fn hostile_texts_are_harmless_in_a_chat_earlier_and_now() {
    let (anna, ben) = with_hostile_texts();
    clean(ben.run(&["listen", "--count", "8", "--timeout", "30s"]), 0);
    let mut chat = ben.command(&["chat", "anna", "--plain", "--timeout", "60s"]);
    let mut chat = Running::spawn(chat.stdin(Stdio::piped()).stderr(Stdio::piped()));
    let mut shown = String::new();
    while !shown.contains("zerowidth") {
        let line = chat.line();
        assert_ne!((line.as_str(), shown.lines().count() > 40), ("", true), "{shown}");
        shown += &format!("{line}\n");
    }
    clean(
        anna.run(&["send", "ben", "live\u{1b}[2J\u{202e}", "--timeout", "30s"]),
        0,
    );
    while !shown.contains("live[2J") {
        let line = chat.line();
        assert_ne!((line.as_str(), shown.lines().count() > 40), ("", true), "{shown}");
        shown += &format!("{line}\n");
    }
    let mut stdin = chat.child.stdin.take().unwrap();
    stdin.write_all("mine\u{1b}[2J\u{9b}1m\n".as_bytes()).unwrap();
    drop(stdin);
    let output = chat.output();
    assert_clean(shown.as_bytes());
    assert_clean(&output.stdout);
    assert_clean(&output.stderr);
    let kept = texts(&clean(ben.run(&["log", "--json"]), 0));
    assert_eq!(kept.last().unwrap(), "mine\u{1b}[2J\u{9b}1m");
}

/// Names that no honest client takes.
fn names() -> [String; 6] {
    [
        "\u{1b}[2Janna".into(),
        "anna\ncarla, 10:00: pay me".into(),
        "\u{9b}31manna\u{9c}".into(),
        "\u{202e}anna\u{2066}".into(),
        "an\u{200b}na\u{e0041}".into(),
        "\u{1b}x".repeat(5 * 1024),
    ]
}

/// A person whose client is her own: it takes any name.
fn person_called(name: &str, mdns_port: u16) -> Person {
    let person = Person::new("mallory", mdns_port);
    let database = file(&person, "qpq.db");
    fs::remove_file(&database).unwrap();
    let private = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&database);
    drop(private.unwrap());
    let lan_key = Secret::random(&mut OsRng);
    store::create(&database, &vault(&person).database_key, name, &lan_key).unwrap();
    person
}

/// Pairs two people; all that either sees of it is harmless.
fn pair(inviter: &Person, joiner: &Person) {
    let mut invite = inviter.start(&["invite", "--timeout", "60s"]);
    let told = invite.line();
    let code = told.strip_prefix("  Tell them:   qpq join ").unwrap();
    let joined = clean(joiner.run(&["join", code, "--timeout", "30s"]), 0);
    assert_eq!(joined.lines().count(), 2, "{joined}");
    let rest = clean(invite.output(), 0);
    assert_eq!(rest.lines().count(), 3, "{rest}");
}

#[test]
fn hostile_names_of_contacts_reach_no_screen() {
    let (anna, _) = anna_and_ben();
    let mut crowd = Vec::new();
    for (n, name) in names().iter().enumerate() {
        let mallory = person_called(name, anna.mdns_port);
        // The long one does not fit into the record that an inviter is found by.
        if n % 2 == 0 && name.len() < 100 {
            pair(&mallory, &anna);
        } else {
            pair(&anna, &mallory);
        }
        // She sees herself no worse.
        assert_eq!(clean(mallory.run(&["whoami"]), 0).lines().count(), 2);
        let own = clean(mallory.run(&["whoami", "--json"]), 0);
        assert_eq!(object(&own)["name"], name.as_str());
        crowd.push(mallory);
    }
    let known: Vec<_> = chats(&anna).into_iter().map(|chat| chat.name).collect();
    let mut expected: Vec<_> = crowd.iter().map(|mallory| id(mallory).short()).collect();
    expected.sort();
    assert_eq!(known, expected, "a name that is none is replaced by the short id");

    for arguments in [
        &["send", "nobody", "hi"][..],
        &["log", "nobody"],
        &["chat", "nobody"],
        &["chat"],
    ] {
        for json in ["0", "1"] {
            let output = anna.command(arguments).env("QPQ_JSON", json).output().unwrap();
            clean(output, 6);
        }
    }
    let mallory = &crowd[0];
    let chat = chats(mallory).remove(0).name;
    let mut listen = anna.start(&["listen", "--count", "1", "--timeout", "60s"]);
    clean(mallory.run(&["send", &chat, "hi", "--timeout", "30s"]), 0);
    let heard = listen.line();
    assert_clean(heard.as_bytes());
    assert!(heard.starts_with(&expected_name(mallory)), "{heard}");
    clean(listen.output(), 0);
    for person in [&anna, mallory] {
        assert_eq!(clean(person.run(&["log"]), 0).lines().count(), 1);
        assert_eq!(texts(&clean(person.run(&["log", "--json"]), 0)), ["hi"]);
    }
}

fn expected_name(person: &Person) -> String {
    format!("{}, ", id(person).short())
}

#[test]
fn hostile_arguments_are_harmless_in_every_verb_and_setting() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    for hostile in TEXTS {
        let as_code = format!("4-{hostile}-violin");
        for arguments in [
            &["init", hostile][..],
            &["init", hostile, "-p", "other"],
            &["whoami", hostile],
            &["invite", "--expires", hostile],
            &["join", hostile],
            &["join", &as_code],
            &["send", hostile, "hi"],
            &["send", "ben", "hi", "--wait", hostile],
            &["listen", hostile],
            &["listen", "--count", hostile],
            &["log", hostile],
            &["log", "-n", hostile],
            &["log", "--since", hostile],
            &["chat", hostile, "--plain"],
            &["whoami", "--profile", hostile],
            &["whoami", "--timeout", hostile],
            &["whoami", "--color", hostile],
            &["whoami", "--home", hostile],
            &[hostile],
        ] {
            let output = anna.run(arguments);
            assert_clean(&output.stderr);
            assert_eq!(output.stdout, b"", "{arguments:?}");
            assert!(
                matches!(output.status.code(), Some(2 | 3 | 6)),
                "{arguments:?}: {output:?}"
            );
        }
        for setting in [
            "PROFILE",
            "INTERFACES",
            "MDNS_PORT",
            "TIMEOUT",
            "COLOR",
            "JSON",
            "NO_INPUT",
            "LOG",
        ] {
            let setting = format!("QPQ_{setting}");
            let output = anna.command(&["whoami"]).env(setting, hostile).output().unwrap();
            assert_clean(&output.stderr);
            assert_clean(&output.stdout);
        }
    }
    // Nobody by these names, and still one contact.
    assert_eq!(chats(&anna).len(), 1);
    let mut invite = anna.start(&["invite", "--json", "--timeout", "1ms"]);
    code_of(&invite.line());
    invite.ended(4);
}
