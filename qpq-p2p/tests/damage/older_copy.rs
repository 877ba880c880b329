//! A profile folder that is put back to an older copy of itself: found out, and good again without a word of the user.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc::Receiver,
};

use serde_json::Value;

use crate::{
    copy, flipped,
    owners::{daemon, lines},
    people::{PATIENCE, Person, anna_and_ben, meet, object, text},
};

fn folder(person: &Person) -> PathBuf {
    person.home.path().join("default")
}

fn keep(person: &Person) -> PathBuf {
    let kept = person.home.path().join("kept");
    let _ = fs::remove_dir_all(&kept);
    copy(&folder(person), &kept);
    kept
}

fn put_back(person: &Person, kept: &Path) {
    fs::remove_dir_all(folder(person)).unwrap();
    copy(kept, &folder(person));
}

#[track_caller]
fn send(from: &Person, to: &str, message: &str) {
    let sent = from.run(&["send", to, message, "--json", "--timeout", "30s"]);
    assert_eq!(object(&text(sent, 0))["state"], "delivered", "{message}");
}

/// Texts of a log, of oneself or of others, oldest first.
fn texts(person: &Person, own: bool) -> Vec<String> {
    let log = text(person.run(&["log", "--json", "-n", "0"]), 0);
    let messages = log.lines().map(object).filter(|line| line["type"] == "message");
    messages
        .filter(|message| message.get("own").is_some() == own && message.get("notice").is_none())
        .map(|message| message["text"].as_str().unwrap().to_owned())
        .collect()
}

fn wait_for(heard: &Receiver<Value>, seen: &mut Vec<Value>, wanted: impl Fn(&Value) -> bool) {
    while !seen.iter().any(&wanted) {
        let Ok(line) = heard.recv_timeout(PATIENCE) else {
            panic!("it did not come: {seen:?}")
        };
        seen.push(line);
    }
}

#[test]
fn an_older_copy_of_a_folder_is_told_gets_back_what_it_lacks_and_talks_on() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let online = daemon(&ben);
    send(&anna, "ben", "one");
    let kept = keep(&anna);
    send(&anna, "ben", "two");
    send(&anna, "ben", "three");
    text(
        ben.run(&["send", "anna", "lost with the disk", "--timeout", "1ms"]),
        7,
    );
    let heard = text(
        anna.run(&["listen", "--count", "1", "--timeout", "30s", "--json"]),
        0,
    );
    assert_eq!(object(&heard)["text"], "lost with the disk");
    send(&anna, "ben", "four");
    put_back(&anna, &kept);

    let (listen, heard) = lines(anna.start(&["listen", "--json", "--timeout", "60s"]));
    let mut seen = Vec::new();
    wait_for(&heard, &mut seen, |line| {
        line["type"] == "rolled_back" && line["chat"] == "ben"
    });
    wait_for(&heard, &mut seen, |line| line["text"] == "lost with the disk");
    send(&anna, "ben", "after");
    send(&ben, "anna", "answer");
    wait_for(&heard, &mut seen, |line| line["text"] == "answer");
    let status = text(anna.run(&["status", "--json"]), 0);
    assert!(!status.contains("older_copy"), "{status}");
    drop(listen);
    // Each once, on both sides; what anna wrote after the copy was made is with ben alone.
    assert_eq!(texts(&ben, false), ["one", "two", "three", "four", "after"]);
    assert_eq!(texts(&anna, true), ["one", "after"]);
    assert_eq!(texts(&anna, false), ["lost with the disk", "answer"]);
    online.kill();
}

/// The one line that people read, and that `send` alone heals as well.
#[test]
fn a_person_reads_that_the_copy_is_older_and_what_becomes_of_it() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let online = daemon(&ben);
    let kept = keep(&anna);
    send(&anna, "ben", "one");
    put_back(&anna, &kept);
    let mut listen = anna.start(&["listen", "--timeout", "60s"]);
    assert_eq!(
        listen.line(),
        "  (this profile is an older copy of itself: ben has messages from you that it does not know; \
         the conversation is set up again before anything is sent there)"
    );
    send(&anna, "ben", "after");
    listen.kill();
    // Once more to the same copy, whose group is nobody's any more.
    put_back(&anna, &kept);
    send(&anna, "ben", "by send alone");
    assert_eq!(texts(&ben, false), ["one", "after", "by send alone"]);
    online.kill();
}

/// A log that is missing, cut or damaged takes with it what was written last: an older copy like any other.
#[test]
fn a_database_without_its_log_or_with_half_of_it_is_an_older_copy() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let online = daemon(&ben);
    let mut expected = Vec::new();
    for case in ["missing", "empty", "cut", "damaged"] {
        let own = daemon(&anna);
        for n in 0..3 {
            expected.push(format!("{case} {n}"));
            send(&anna, "ben", &expected[expected.len() - 1]);
        }
        own.kill();
        let log = folder(&anna).join("qpq.db-wal");
        let bytes = fs::read(&log).unwrap();
        let damaged = match case {
            "missing" => {
                fs::remove_file(&log).unwrap();
                None
            }
            "empty" => Some(Vec::new()),
            "cut" => Some(bytes[..bytes.len() / 2].to_vec()),
            _ => Some(flipped(&bytes, bytes.len() / 2)),
        };
        if let Some(damaged) = damaged {
            fs::write(&log, damaged).unwrap();
        }
        expected.push(format!("after {case}"));
        send(&anna, "ben", &expected[expected.len() - 1]);
        assert!(
            texts(&anna, true).len() < expected.len(),
            "{case}: it lost nothing"
        );
        assert_eq!(texts(&ben, false), expected, "{case}");
    }
    online.kill();
}

/// Copies of both that agree with each other: nobody is left who knows better.
#[test]
fn copies_put_back_on_both_sides_talk_on_and_nobody_can_tell() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let kept = [keep(&anna), keep(&ben)];
    let online = daemon(&ben);
    send(&anna, "ben", "forgotten by both");
    online.kill();
    put_back(&anna, &kept[0]);
    put_back(&ben, &kept[1]);
    let online = daemon(&ben);
    send(&anna, "ben", "after");
    assert_eq!(texts(&ben, false), ["after"]);
    // As soon as one of them is older than the other, it is told.
    let kept = keep(&anna);
    send(&anna, "ben", "more");
    put_back(&anna, &kept);
    let (listen, heard) = lines(anna.start(&["listen", "--json", "--timeout", "60s"]));
    wait_for(&heard, &mut Vec::new(), |line| line["type"] == "rolled_back");
    drop(listen);
    online.kill();
}
