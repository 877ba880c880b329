//! The real program, killed by itself at points: a new profile, its passphrase, its update, and messages both ways.
#![cfg(debug_assertions)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking, and print what they did"
)]

#[path = "support/mortal.rs"]
mod mortal;
#[path = "support/people.rs"]
mod people;

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output},
};

use mortal::{assert_killed, database, ends, killed_at, points};
use people::{Person, Running, anna_and_ben, code_of, meet, object, text};
use tempfile::TempDir;

fn nobody() -> Person {
    Person {
        home: TempDir::new().unwrap(),
        mdns_port: 1,
    }
}

/// Points of an undisturbed `init`.
fn of_init() -> Vec<String> {
    let person = nobody();
    let note = TempDir::new().unwrap();
    points(
        &mut person.command(&["init", "anna"]),
        &note.path().join("points"),
    )
}

#[test]
fn init_killed_at_any_point_leaves_no_profile_or_a_whole_one() {
    let all = ends(&of_init());
    let mut made = 0;
    for (point, hit) in &all {
        let case = format!("{point}:{hit}");
        let person = nobody();
        let mut init = person.command(&["init", "anna"]);
        assert_killed(killed_at(&mut init, point, *hit).status().unwrap(), &case);
        let who = person.run(&["whoami"]);
        if who.status.success() {
            made += 1;
            text(person.run(&["log"]), 0);
        } else {
            assert_eq!(who.status.code(), Some(3), "{case}: {who:?}");
            text(person.run(&["init", "anna"]), 0);
            text(person.run(&["whoami"]), 0);
            let names = fs::read_dir(person.home.path()).unwrap();
            let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["default"], "{case}: a rest of the killed one stays");
        }
    }
    println!("init: {} kills, {made} profiles were whole", all.len());
    assert!(all.len() > 20 && made >= 2, "{} kills, {made} whole", all.len());
}

/// A file with a passphrase that only its owner reads.
fn secret(person: &Person, text: &str) -> PathBuf {
    let path = person.home.path().join(text);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn a_passphrase_verb_killed_at_any_point_leaves_the_old_or_the_new_one() {
    let files = ["first passphrase", "second passphrase"];
    // What opens the profile before, and after.
    for (verb, before, after) in [
        ("set", None, Some(files[0])),
        ("change", Some(files[0]), Some(files[1])),
        ("remove", Some(files[1]), None),
    ] {
        let person = Person::new("anna", 1);
        let with = |verb: &[&str], old: Option<&str>, new: Option<&str>| {
            let mut command = person.command(verb);
            for (name, text) in [("QPQ_PASSPHRASE_FILE", old), ("QPQ_NEW_PASSPHRASE_FILE", new)] {
                if let Some(text) = text {
                    command.env(name, secret(&person, text));
                }
            }
            command
        };
        let opens = |text: Option<&str>| {
            let who = with(&["whoami"], text, None).output().unwrap();
            who.status.success()
        };
        if before.is_some() {
            text(with(&["passphrase", "set"], None, before).output().unwrap(), 0);
        }
        let path = person.home.path().join("default/qpq-state.bin");
        let old = fs::read(&path).unwrap();
        let note = person.home.path().join("points");
        let all = ends(&points(&mut with(&["passphrase", verb], before, after), &note));
        println!("passphrase {verb}: {} kills", all.len());
        for (point, hit) in all {
            let case = format!("{verb}, {point}:{hit}");
            fs::write(&path, &old).unwrap();
            let mut killed = with(&["passphrase", verb], before, after);
            assert_killed(killed_at(&mut killed, &point, hit).status().unwrap(), &case);
            let is_new = fs::read(&path).unwrap() != old;
            assert_eq!(
                is_new,
                ["file.folder_sync", "file.whole"].contains(&point.as_str()),
                "{case}"
            );
            assert!(opens(if is_new { after } else { before }), "{case}");
            assert!(!path.with_extension("bin.new").exists(), "{case}: a draft stays");
        }
    }
}

/// Puts the database of a profile back to version 1, as an older build made it.
fn to_version_1(person: &Person) {
    let connection = database(&person.home.path().join("default"));
    let kept: Vec<Vec<u8>> = ["name", "lan_key"]
        .iter()
        .map(|key| {
            connection
                .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
                .unwrap()
        })
        .collect();
    connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    let ours = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'openmls%'
                AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'refinery%'";
    let ours: Vec<String> = connection
        .prepare(ours)
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for table in ours {
        connection
            .execute_batch(&format!("DROP TABLE \"{table}\""))
            .unwrap();
    }
    connection
        .execute_batch(include_str!("../../qpq-core/src/store/schema/1.sql"))
        .unwrap();
    for (key, value) in ["name", "lan_key"].iter().zip(kept) {
        connection
            .execute("INSERT INTO meta VALUES(?1, ?2)", (key, value))
            .unwrap();
    }
    connection
        .execute_batch(
            "INSERT INTO contact VALUES(zeroblob(32), 'ben', 1, zeroblob(32), zeroblob(32), 1, x'c0', zeroblob(64), 5);
             INSERT INTO chat VALUES(1, zeroblob(32), 0);
             INSERT INTO message VALUES(1, 1, zeroblob(16), zeroblob(32), zeroblob(8), 1, 1, 1, 0, 0,
                                        CAST('of version 1' AS BLOB));
             PRAGMA user_version = 1",
        )
        .unwrap();
}

#[test]
fn an_update_of_the_database_killed_at_any_point_is_done_at_the_next_start() {
    let note = TempDir::new().unwrap();
    let note = note.path().join("points");
    let person = Person::new("anna", 1);
    to_version_1(&person);
    let all = points(&mut person.command(&["log"]), &note);
    assert!(all.iter().any(|point| point == "schema.commit"), "{all:?}");
    println!("update: {} kills", ends(&all).len());
    for (point, hit) in ends(&all) {
        let case = format!("{point}:{hit}");
        let person = Person::new("anna", 1);
        to_version_1(&person);
        assert_killed(
            killed_at(&mut person.command(&["log"]), &point, hit)
                .status()
                .unwrap(),
            &case,
        );
        let log = text(person.run(&["log"]), 0);
        assert!(log.contains("of version 1"), "{case}: {log}");
        assert_eq!(
            text(person.run(&["whoami", "--json"]), 0)
                .matches("\"anna\"")
                .count(),
            1,
            "{case}"
        );
    }
}

/// Everything that both have, as (id, text): what one wrote is what the other got.
fn assert_same_log(anna: &Person, ben: &Person, expected: &[String]) {
    let log = |person: &Person| -> Vec<(String, String)> {
        let log = text(person.run(&["log", "--json", "-n", "0"]), 0);
        let field = |message: &serde_json::Value, name: &str| message[name].as_str().unwrap().to_owned();
        log.lines()
            .map(object)
            .map(|message| (field(&message, "id"), field(&message, "text")))
            .collect()
    };
    let (at_anna, at_ben) = (log(anna), log(ben));
    assert_eq!(at_anna, at_ben);
    let texts: Vec<_> = at_ben.iter().map(|(_, text)| text.clone()).collect();
    assert_eq!(texts, expected);
}

/// Points of a whole life with messages, with `qpq` as their victim.
const SENDING: [&str; 12] = [
    "message.add",
    "outbox.put",
    "recipient.add",
    "group.seal",
    "mls.secrets",
    "outbox.frame",
    "recipient.seal",
    "step.release",
    "commit.before",
    "commit.after",
    "recipient.ack",
    "outbox.done",
];

#[test]
fn a_sender_killed_at_a_point_sends_once_what_it_had_accepted() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let listen = Running::spawn(
        ben.command(&["listen", "--json"])
            .stdout(std::process::Stdio::piped()),
    );
    let mut expected = Vec::new();
    for (n, point) in SENDING.into_iter().enumerate() {
        let line = format!("{n} {point}");
        let send = |command: &mut Command| command.output().unwrap();
        let died = send(killed_at(
            &mut anna.command(&["send", "ben", &line, "--timeout", "30s"]),
            point,
            if point.starts_with("commit") { 2 } else { 1 },
        ));
        assert_killed(died.status, point);
        // Not accepted, it is written again by whoever finds it missing.
        if !text(anna.run(&["log"]), 0).contains(&line) {
            text(anna.run(&["send", "ben", &line, "--timeout", "30s"]), 0);
        }
        expected.push(line);
    }
    text(anna.run(&["send", "ben", "the last", "--timeout", "30s"]), 0);
    expected.push("the last".to_owned());
    listen.kill();
    assert_same_log(&anna, &ben, &expected);
}

const RECEIVING: [&str; 10] = [
    "socket.bind",
    "contact.last_seen",
    "mls.secrets",
    "member.opened",
    "message.add",
    "seen.put",
    "step.release",
    "commit.before",
    "commit.after",
    "read.mark",
];

#[test]
fn a_receiver_killed_at_a_point_shows_what_came_once() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let mut daemon = anna.start(&["daemon", "--json"]);
    assert_eq!(object(&daemon.line())["type"], "ready");
    let mut expected = Vec::new();
    for (n, point) in RECEIVING.into_iter().enumerate() {
        let line = format!("{n} {point}");
        text(anna.run(&["send", "ben", &line, "--wait", "queued"]), 0);
        let mut listen = ben.command(&["listen", "--json", "--count", "1", "--timeout", "60s"]);
        let died = killed_at(&mut listen, point, 1).output().unwrap();
        assert_killed(died.status, point);
        expected.push(line);
    }
    text(anna.run(&["send", "ben", "the last", "--wait", "queued"]), 0);
    expected.push("the last".to_owned());
    let mut listen = ben.start(&["listen", "--json", "--timeout", "30s"]);
    while object(&listen.line())["text"] != "the last" {}
    listen.kill();
    daemon.kill();
    assert_same_log(&anna, &ben, &expected);
}

/// The inviter and the joiner, each at the steps that decide. Each is a network of its own; all at once, for they
/// mostly wait.
#[test]
fn a_pairing_killed_at_a_point_is_done_with_another_code() {
    std::thread::scope(|scope| {
        for (is_inviter, point) in [
            (true, "mls.create"),
            (true, "accepted_join.put"),
            (true, "accepted_join.end"),
            (false, "pending_join.put"),
            (false, "mls.join"),
            (false, "pending_join.end"),
        ] {
            scope.spawn(move || kill_a_pairing(is_inviter, point));
        }
    });
}

fn kill_a_pairing(is_inviter: bool, point: &str) {
    let case = format!("inviter {is_inviter}, {point}");
    let (anna, ben) = anna_and_ben();
    let mut invite = anna.command(&["invite", "--json", "--timeout", "3s"]);
    if is_inviter {
        killed_at(&mut invite, point, 1);
    }
    let mut invite = Running::spawn(&mut invite);
    let code = code_of(&invite.line());
    let mut join = ben.command(&["join", &code, "--json", "--timeout", "3s"]);
    if !is_inviter {
        killed_at(&mut join, point, 1);
    }
    let (joined, invited) = (join.output().unwrap(), invite.output());
    let victim = if is_inviter { invited } else { joined };
    assert_killed(victim.status, &case);
    let mut invite = anna.start(&["invite", "--json", "--timeout", "60s"]);
    let code = code_of(&invite.line());
    let joined = ben.run(&["join", &code, "--json", "--timeout", "15s"]);
    drop(invite);
    // Or only a word was missing, and is there now: nobody was found, or the code is closed, or they are contacts.
    let code = joined.status.code();
    assert!(
        matches!(code, Some(0 | 4 | 9)) || stderr_has(&joined, "already_contact"),
        "{case}: {joined:?}"
    );
    let listen = ben.start(&["listen", "--json", "--count", "1", "--timeout", "30s"]);
    text(anna.run(&["send", "ben", &case, "--timeout", "30s"]), 0);
    assert_eq!(object(listen.ended(0).trim_end())["text"], case);
}

fn stderr_has(output: &Output, text: &str) -> bool {
    String::from_utf8_lossy(&output.stderr).contains(text)
}

/// The page names each point, and none that is not there.
#[test]
fn the_page_on_crashes_lists_all_points() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/robustness/crashes.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, list) = page.split_once("## The points").unwrap();
    let list = list.split("\n## ").next().unwrap();
    let is_point = |word: &&str| word.contains('.') && !word.contains('/') && *word != "config.toml";
    let told: BTreeSet<&str> = list.split('`').skip(1).step_by(2).filter(is_point).collect();
    let core = qpq_core::failpoint::POINTS.into_iter();
    let all: BTreeSet<&str> = core.chain(qpq_p2p::failpoint::POINTS).collect();
    assert_eq!(told, all);
}

#[test]
fn every_point_of_a_file_is_hit() {
    let person = Person::new("anna", 1);
    let note = person.home.path().join("points");
    let mut hit: BTreeSet<String> = of_init().into_iter().collect();
    let mut set = person.command(&["passphrase", "set"]);
    set.env("QPQ_NEW_PASSPHRASE_FILE", secret(&person, "some passphrase"));
    hit.extend(points(&mut set, &note));
    let other = Person::new("ben", 1);
    to_version_1(&other);
    hit.extend(points(&mut other.command(&["log"]), &note));
    let mut listen = other.command(&["listen", "--timeout", "1ms"]);
    hit.extend(points(&mut listen, &note));
    assert!(
        !hit.contains(qpq_core::failpoint::UNNAMED),
        "a write without a point"
    );
    let files = qpq_p2p::failpoint::POINTS.into_iter();
    let made = qpq_core::failpoint::POINTS
        .into_iter()
        .filter(|point| point.starts_with("create.") || point.starts_with("schema."));
    let missing: Vec<_> = files.chain(made).filter(|point| !hit.contains(*point)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let ours = |point: &&String| !qpq_core::failpoint::POINTS.contains(&point.as_str());
    let unknown: Vec<_> = hit
        .iter()
        .filter(ours)
        .filter(|point| !qpq_p2p::failpoint::POINTS.contains(&point.as_str()))
        .collect();
    assert!(unknown.is_empty(), "not in the list: {unknown:?}");
}
