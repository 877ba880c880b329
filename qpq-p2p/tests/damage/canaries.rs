//! Logs tell nothing: one run through everything with all that qpq logs, searched for what must not be in it.
//!
//! The rule. At every level: no text, no name, no passphrase, no code, no link, no key, in no encoding. Ids and
//! addresses of people in short form only, and at DEBUG or below: full ones never. That is `-vvv`, which is all that
//! qpq itself says. `QPQ_LOG=trace` adds what its libraries say: these name ids and addresses of endpoints, which are
//! what they work with, and nothing else of the list.

#[path = "canaries/stored.rs"]
mod stored;

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use qpq_core::{passphrase::Passphrase, vault::Vault};
use stored::{WAITING, database, of_mls, stored};

use crate::{
    owners::lines,
    people::{Person, Running, code_of, free_port, object, text, until},
};

const PASSPHRASES: [&str; 2] = ["canary-passphrase-of-old", "canary-passphrase-of-new"];
const NAMES: [&str; 3] = ["anna-canary-name", "ben-canary-name", "carla-canary-name"];
const TEXTS: [&str; 2] = ["canary text: the otter plays", "canary text: the violin sleeps"];

/// Something that must not be found.
struct Canary {
    what: String,
    bytes: Vec<u8>,
    /// Libraries work with it, and may name it.
    public: bool,
}

fn canary(what: impl Into<String>, bytes: &[u8], public: bool) -> Canary {
    Canary {
        what: what.into(),
        bytes: bytes.to_vec(),
        public,
    }
}

/// Fewer would be something that is not searched for any more.
const CANARIES: usize = 85;

/// So many bytes of a long one are looked for at its begin and in its middle: part of a key is too much as well.
const PART: usize = 12;

fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    if bytes.len() < 2 * PART {
        return vec![bytes];
    }
    let middle = bytes.len() / 2;
    vec![&bytes[..PART], &bytes[middle..middle + PART]]
}

/// Bits in groups of `width`, as digits of an alphabet, at every alignment, without the digits that depend on what
/// stands around.
fn digits(bytes: &[u8], width: usize, alphabet: &[u8]) -> Vec<Vec<u8>> {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |n| (byte >> n) & 1))
        .collect();
    (0..width)
        .map(|skip| {
            let whole = bits[skip..].chunks_exact(width);
            whole
                .map(|group| alphabet[group.iter().fold(0, |sum, bit| sum * 2 + usize::from(*bit))])
                .collect()
        })
        .collect()
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Every way in which a part may be written, by the name of the way. Letters of base32 and hex in either case.
fn encodings(part: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let list = |separator: &str, radix: fn(&u8) -> String| {
        part.iter()
            .map(radix)
            .collect::<Vec<_>>()
            .join(separator)
            .into_bytes()
    };
    let hex = list("", |byte| format!("{byte:02x}"));
    let mut all = vec![
        ("raw", part.to_vec()),
        ("hex", hex.clone()),
        ("hex", hex.to_ascii_uppercase()),
        ("hex list", list(", ", |byte| format!("0x{byte:02x}"))),
        ("decimal list", list(", ", u8::to_string)),
        ("decimal list", list(",", u8::to_string)),
        ("decimal list", list(" ", u8::to_string)),
    ];
    for alphabet in [BASE64, BASE64_URL] {
        all.extend(
            digits(part, 6, alphabet)
                .into_iter()
                .map(|digits| ("base64", digits)),
        );
    }
    for alphabet in [BASE32, CROCKFORD] {
        for digits in digits(part, 5, alphabet) {
            all.push(("base32", digits.to_ascii_uppercase()));
            all.push(("base32", digits));
        }
    }
    all
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    let first = needle[0];
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|byte| *byte == first) {
        if haystack[from + at..].starts_with(needle) {
            return true;
        }
        from += at + 1;
    }
    false
}

/// The line of a log that a canary was found in: whoever reads the failure wants to know who said it.
fn line_of(log: &[u8], needle: &[u8]) -> String {
    let mut lines = log.split(|byte| *byte == b'\n');
    let line = lines.find(|line| holds(line, needle)).unwrap_or_default();
    String::from_utf8_lossy(&line[..line.len().min(400)]).into_owned()
}

fn found(log: &[u8], canaries: &[Canary], is_wanted: impl Fn(&Canary) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for canary in canaries.iter().filter(|canary| is_wanted(canary)) {
        for part in parts(&canary.bytes) {
            for (encoding, needle) in encodings(part) {
                if holds(log, &needle) {
                    found.push(format!(
                        "{} as {encoding}: {}",
                        canary.what,
                        line_of(log, &needle)
                    ));
                }
            }
        }
    }
    found
}

/// A control for each canary in each encoding: planted in the middle of the log, it is found.
fn assert_search_works(log: &[u8], canaries: &[Canary]) {
    for canary in canaries {
        let part = parts(&canary.bytes)[0];
        for (encoding, planted) in encodings(part) {
            let one = std::slice::from_ref(canary);
            let half = log.len().min(2_000) / 2;
            let line = [&log[..half], b" ", &planted, b"\n", &log[half..2 * half]].concat();
            let hits = found(&line, one, |_| true);
            let hit = format!("{} as {encoding}:", canary.what);
            assert!(
                hits.iter().any(|found| found.starts_with(&hit)),
                "{} as {encoding} is not found",
                canary.what
            );
        }
    }
}

/// People whose every process writes its log into one file.
struct Logged {
    folder: PathBuf,
    filter: Option<&'static str>,
}

impl Logged {
    fn command(&self, person: &Person, arguments: &[&str]) -> Command {
        let mut command = person.command(arguments);
        match self.filter {
            Some(filter) => command.env("QPQ_LOG", filter),
            None => command.arg("-vvv"),
        };
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.folder.join("log"));
        command.stderr(log.unwrap());
        let place = |name: &str| person.home.path().join(name);
        if place("old").exists() {
            command.env("QPQ_PASSPHRASE_FILE", place("old"));
        }
        command
    }

    fn run(&self, person: &Person, arguments: &[&str]) -> String {
        text(self.command(person, arguments).output_to_log(), 0)
    }

    fn start(&self, person: &Person, arguments: &[&str]) -> Running {
        Running::spawn(&mut self.command(person, arguments))
    }

    fn log(&self) -> Vec<u8> {
        fs::read(self.folder.join("log")).unwrap()
    }
}

/// `Command::output` would take standard error away from the log.
trait OutputToLog {
    fn output_to_log(&mut self) -> std::process::Output;
}

impl OutputToLog for Command {
    fn output_to_log(&mut self) -> std::process::Output {
        self.stdout(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap()
    }
}

fn secret(person: &Person, name: &str, content: &str) -> PathBuf {
    let path = person.home.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn passphrase(logged: &Logged, person: &Person, verb: &str, new: &str) {
    let new = secret(person, "new", new);
    let mut command = logged.command(person, &["passphrase", verb]);
    let ended = command.env("QPQ_NEW_PASSPHRASE_FILE", &new).output_to_log();
    text(ended, 0);
    fs::rename(new, person.home.path().join("old")).unwrap();
}

/// Everything that people do, once; gives what must not be in the log.
fn live(logged: &Logged) -> Vec<Canary> {
    let port = free_port();
    let [anna, ben, carla] = NAMES.map(|name| {
        let person = Person {
            home: tempfile::TempDir::new().unwrap(),
            mdns_port: port,
        };
        logged.run(&person, &["init", name]);
        person
    });
    passphrase(logged, &anna, "set", PASSPHRASES[0]);
    // By code, and talk; the wrong code first.
    let mut invite = logged.start(&anna, &["invite", "--json", "--timeout", "60s"]);
    let code = code_of(&invite.line());
    logged.run(&ben, &["join", &code, "--json"]);
    text(invite.output(), 0);
    // By link.
    let link = object(&logged.run(&anna, &["invite", "--link", "--json"]));
    let link = link["link"].as_str().unwrap().to_owned();
    let (listen, heard) = lines(logged.start(&anna, &["listen", "--json", "--timeout", "90s"]));
    logged.run(&carla, &["join", &link, "--json", "--timeout", "30s"]);
    let folder = carla.home.path().join("default");
    let vault = Vault::open(&fs::read(folder.join("qpq-state.bin")).unwrap(), None).unwrap();
    let waiting = database(&folder, vault.database_key.expose());
    let mut waiting = of_mls(&waiting, WAITING.0, WAITING.1, NAMES[2]);
    logged.run(&anna, &["contact", "accept", NAMES[2]]);
    let (carla_listens, _) = lines(logged.start(&carla, &["listen", "--json", "--timeout", "90s"]));
    logged.run(&anna, &["send", NAMES[2], TEXTS[0], "--timeout", "30s"]);
    drop(carla_listens);
    // Ben writes, and answers after a link that was lost and a kill.
    logged.run(&ben, &["send", NAMES[0], TEXTS[1], "--timeout", "30s"]);
    until("ben's message", || {
        heard.try_recv().ok().filter(|line| line["text"] == TEXTS[1])
    });
    drop(listen);
    // What is told to people on standard error is for them: it names whom they wrote to.
    let mut waits = logged.command(&anna, &["send", NAMES[1], TEXTS[0], "--timeout", "1ms"]);
    text(waits.stderr(Stdio::null()).output_to_log(), 7);
    let (ben_listens, heard) = lines(logged.start(&ben, &["listen", "--json", "--timeout", "90s"]));
    let online = logged.start(&anna, &["listen", "--timeout", "90s"]);
    until("what waited", || {
        heard.try_recv().ok().filter(|line| line["text"] == TEXTS[0])
    });
    online.kill();
    drop(ben_listens);
    // What people decide.
    logged.run(&anna, &["verify", NAMES[1]]);
    logged.run(&anna, &["contact", "rename", NAMES[1], "canary-given-name"]);
    passphrase(logged, &anna, "change", PASSPHRASES[1]);
    logged.run(&anna, &["status"]);
    logged.run(&anna, &["log", "--grep", "otter"]);
    logged.run(&anna, &["contact", "list"]);
    logged.run(&anna, &["contact", "remove", NAMES[2], "--purge"]);
    let mut canaries = canaries(&[&anna, &ben, &carla], &code, &link);
    waiting.retain(|one| !is_id(one, &canaries));
    canaries.extend(waiting);
    canaries
}

/// Whether it is the key that people are known by: that is on the list once.
fn is_id(canary: &Canary, canaries: &[Canary]) -> bool {
    canaries
        .iter()
        .any(|known| known.public && known.bytes == canary.bytes)
}

fn canaries(people: &[&Person], code: &str, link: &str) -> Vec<Canary> {
    let mut canaries = Vec::new();
    for (n, person) in people.iter().enumerate() {
        let folder = person.home.path().join("default");
        let vault = fs::read(folder.join("qpq-state.bin")).unwrap();
        let key = Passphrase::from_bytes(Vec::from(PASSPHRASES[1]).into()).unwrap();
        let vault = Vault::open(&vault, Some(&key)).unwrap();
        let whose = NAMES[n];
        canaries.push(canary(
            format!("seed of {whose}"),
            vault.identity_seed.expose(),
            false,
        ));
        canaries.push(canary(
            format!("database key of {whose}"),
            vault.database_key.expose(),
            false,
        ));
        let identity = qpq_core::identity::Identity::from_seed(&vault.identity_seed).peer_id();
        canaries.push(canary(format!("id of {whose}"), &identity.0, true));
        canaries.extend(stored(&folder, whose, vault.database_key.expose()));
    }
    for name in NAMES.iter().chain(&["canary-given-name"]) {
        canaries.push(canary(format!("name {name}"), name.as_bytes(), false));
    }
    for said in TEXTS.iter().chain(&PASSPHRASES) {
        canaries.push(canary(format!("text {said}"), said.as_bytes(), false));
    }
    canaries.push(canary("code", code.as_bytes(), false));
    let words = code.split_once('-').unwrap().1;
    canaries.push(canary("words of the code", words.as_bytes(), false));
    canaries.push(canary("link", link.as_bytes(), false));
    canaries.push(canary("address", b"127.0.0.1:", true));
    canaries
}

fn search(filter: Option<&'static str>) {
    let folder = tempfile::TempDir::new().unwrap();
    let logged = Logged {
        folder: folder.path().to_owned(),
        filter,
    };
    let canaries = live(&logged);
    let log = logged.log();
    let lines = log.split(|byte| *byte == b'\n').count();
    assert!(lines > 150, "{lines} lines");
    let kinds: Vec<_> = canaries.iter().map(|canary| &canary.what).collect();
    assert_eq!(canaries.len(), CANARIES, "{kinds:#?}");
    assert_search_works(&log, &canaries);
    let hits = found(&log, &canaries, |canary| filter.is_none() || !canary.public);
    assert!(hits.is_empty(), "{hits:#?}");
}

#[test]
fn all_that_qpq_logs_holds_no_text_name_id_address_or_secret() {
    search(None);
}

#[test]
fn all_that_its_libraries_log_holds_no_text_name_or_secret() {
    search(Some("trace"));
}
