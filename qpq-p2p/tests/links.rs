//! Invites by link with the real program: asked, refused, counted, taken back, and kept through kills.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/people.rs"]
mod people;

use std::time::Duration;

use people::{Person, Running, anna_and_ben, meet, object, text};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn invite_by_link(person: &Person, more: &[&str]) -> String {
    let arguments = [&["invite", "--link", "--json"], more].concat();
    let invite = object(&text(person.run(&arguments), 0));
    assert_eq!(invite["type"], "invite");
    assert!(invite.get("code").is_none() && invite["expires"].is_string());
    invite["link"].as_str().unwrap().to_owned()
}

fn listed(person: &Person) -> Vec<Value> {
    let lines = text(person.run(&["invite", "list", "--json"]), 0);
    lines.lines().map(object).collect()
}

fn listen(person: &Person) -> Running {
    person.start(&["listen", "--json", "--timeout", "60s"])
}

fn id(person: &Person) -> Value {
    object(&text(person.run(&["whoami", "--json"]), 0))["id"].clone()
}

/// The error's code and its reason.
#[track_caller]
fn refused(person: &Person, link: &str, exit: i32) -> (String, String) {
    let ended = person.run(&["join", link, "--json", "--timeout", "30s"]);
    let error = object(&String::from_utf8_lossy(&ended.stderr));
    text(ended, exit);
    let field = |name: &str| error[name].as_str().unwrap().to_owned();
    (field("code"), field("why"))
}

#[test]
fn a_link_leads_to_a_request_that_listen_tells() {
    let (anna, ben) = anna_and_ben();
    let link = invite_by_link(&anna, &[]);
    let mut heard = listen(&anna);
    let asked = object(&text(ben.run(&["join", &link, "--json"]), 0));
    assert_eq!(
        (&asked["type"], &asked["name"]),
        (&"asked".into(), &"anna".into())
    );
    assert_eq!(asked["id"], id(&anna));
    let request = object(&heard.line());
    assert_eq!(
        (&request["type"], &request["name"]),
        (&"request".into(), &"ben".into())
    );
    assert_eq!(request["id"], id(&ben));
    heard.kill();
    let [link] = &listed(&anna)[..] else {
        panic!("one link was expected")
    };
    assert_eq!(
        (&link["used_by"], &link["used_by_name"]),
        (&id(&ben), &"ben".into())
    );
    assert_eq!(link["refused"], 0);
}

#[test]
fn the_words_for_people_are_these() {
    let (anna, ben) = anna_and_ben();
    let made = anna.run(&["invite", "--link", "--expires", "10m"]);
    let note = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(
        note.starts_with("works on this network only: no relay is set up"),
        "{note}"
    );
    let made = text(made, 0);
    let lines: Vec<_> = made.lines().collect();
    let link = lines[0].strip_prefix("  Send them:   qpq join ").unwrap();
    assert_eq!(lines[1..], ["  for one person, 10 m"]);
    let mut heard = anna.start(&["listen", "--timeout", "60s"]);
    // As somebody pastes it, with what stood around it.
    let pasted = format!("Hi Ben! {} See you", link.to_lowercase());
    let asked = text(ben.run(&["join", &pasted]), 0);
    assert!(asked.starts_with("  asked anna · "), "{asked}");
    assert!(asked.ends_with("\n  waits for anna's word\n"), "{asked}");
    let expected = "  ben asks to be a contact · introduced by link: qpq contact accept ben";
    assert_eq!(heard.line(), expected);
    heard.kill();
    let list = text(anna.run(&["invite", "list"]), 0);
    assert!(list.trim_end().ends_with("used by ben"), "{list}");
}

#[test]
fn a_second_person_is_refused_and_counted() {
    let (anna, ben) = anna_and_ben();
    let carla = Person::new("carla", anna.mdns_port);
    let link = invite_by_link(&anna, &[]);
    let heard = listen(&anna);
    text(ben.run(&["join", &link]), 0);
    for count in 1..=2 {
        let (code, why) = refused(&carla, &link, 9);
        assert_eq!(
            (code.as_str(), why.as_str()),
            ("refused", "somebody else used this link before")
        );
        assert_eq!(listed(&anna)[0]["refused"], count);
    }
    heard.kill();
}

#[test]
fn an_expired_and_a_cancelled_link_are_refused_with_the_reason() {
    let (anna, ben) = anna_and_ben();
    let expired = invite_by_link(&anna, &["--expires", "1ms"]);
    let cancelled = invite_by_link(&anna, &[]);
    let [open] = &listed(&anna)[..] else {
        panic!("one open link was expected")
    };
    let id = open["id"].as_str().unwrap();
    let taken = object(&text(anna.run(&["invite", "cancel", id, "--json"]), 0));
    assert_eq!(
        (&taken["type"], &taken["id"]),
        (&"link_cancelled".into(), &open["id"])
    );
    text(anna.run(&["invite", "cancel", id]), 6);
    assert_eq!(listed(&anna), [Value::Null; 0]);
    let heard = listen(&anna);
    assert_eq!(refused(&ben, &expired, 9).1, "the link has expired");
    assert_eq!(refused(&ben, &cancelled, 9).1, "the link was cancelled");
    heard.kill();
}

#[test]
fn a_damaged_an_own_and_a_contacts_link_are_exit_2() {
    let (anna, ben) = anna_and_ben();
    let link = invite_by_link(&anna, &[]);
    for at in 4..link.len() {
        let other = if &link[at..=at] == "Z" { "Y" } else { "Z" };
        // What is wrong is found before anything else: no network, no profile.
        let damaged: qpq_core::invite::LinkError = format!("{}{other}{}", &link[..at], &link[at + 1..])
            .parse::<qpq_core::invite::Link>()
            .unwrap_err();
        assert_eq!(damaged, qpq_core::invite::LinkError::Damaged, "character {at}");
    }
    let cut = &link[..link.len() - 1];
    for damaged in [cut, "QPQ:", "QPQ:0000", "qpq:hello world"] {
        let (code, why) = refused(&ben, damaged, 2);
        assert_eq!(code, "usage");
        assert!(why.starts_with("the link is damaged"), "{why}");
    }
    assert_eq!(refused(&anna, &link, 2).1, "this link is your own");
    meet(&anna, &ben);
    let (code, _) = refused(&ben, &link, 2);
    assert_eq!(code, "already_contact");
}

#[test]
fn the_joiner_may_be_first_and_an_inviter_who_never_comes_is_exit_4() {
    let (anna, ben) = anna_and_ben();
    let link = invite_by_link(&anna, &[]);
    let (code, why) = {
        let ended = ben.run(&["join", &link, "--json", "--timeout", "1s"]);
        let error = object(&String::from_utf8_lossy(&ended.stderr));
        text(ended, 4);
        (error["code"].clone(), error["why"].as_str().unwrap().to_owned())
    };
    assert_eq!(code, "nobody_found");
    assert!(why.ends_with("the request was not sent"), "{why}");
    let join = ben.start(&["join", &link, "--json", "--timeout", "60s"]);
    let mut heard = listen(&anna);
    assert_eq!(object(&heard.line())["type"], "request");
    assert_eq!(object(&join.ended(0))["type"], "asked");
    heard.kill();
}

#[test]
fn a_request_outlives_kills_on_both_sides_and_is_told_again() {
    let (anna, ben) = anna_and_ben();
    let link = invite_by_link(&anna, &[]);
    let mut heard = listen(&anna);
    text(ben.run(&["join", &link]), 0);
    let request = heard.line();
    heard.kill();
    let waiting = listen(&ben);
    let mut heard = listen(&anna);
    assert_eq!(heard.line(), request);
    waiting.kill();
    heard.kill();
    // Asked before: answered from the disk, nobody else has to run.
    assert_eq!(
        object(&text(ben.run(&["join", &link, "--json"]), 0))["type"],
        "asked"
    );
    assert_eq!(listed(&anna)[0]["refused"], 0);
}

/// Killed at any moment after the join began, Ben asks once in the end.
#[test]
fn a_joiner_killed_at_any_moment_asks_once() {
    for delay in [0, 100, 200, 300, 500, 800] {
        let (anna, ben) = anna_and_ben();
        let link = invite_by_link(&anna, &[]);
        let mut heard = listen(&anna);
        let join = ben.start(&["join", &link, "--timeout", "60s"]);
        // A moment to die at, and nothing that is waited for.
        std::thread::sleep(Duration::from_millis(delay));
        join.kill();
        assert_eq!(
            object(&text(ben.run(&["join", &link, "--json"]), 0))["type"],
            "asked"
        );
        assert_eq!(object(&heard.line())["type"], "request");
        heard.kill();
        let again = text(anna.run(&["listen", "--json", "--timeout", "1ms"]), 0);
        assert_eq!(again.lines().count(), 1, "after {delay} ms: {again}");
    }
}

#[test]
fn invite_prints_code_and_link_and_the_link_outlives_the_code() {
    let (anna, ben) = anna_and_ben();
    let mut invite = anna.start(&["invite", "--json", "--timeout", "60s"]);
    let told = object(&invite.line());
    assert!(told["code"].is_string() && told["expires"].is_string());
    let link = told["link"].as_str().unwrap().to_owned();
    // By link while the code waits: told there, and the code goes on waiting.
    assert_eq!(
        object(&text(ben.run(&["join", &link, "--json"]), 0))["type"],
        "asked"
    );
    assert_eq!(object(&invite.line())["type"], "request");
    let child = Pid::from_child(&invite.child);
    kill_process(child, Signal::INT).unwrap();
    text(invite.output(), 130);
    assert_eq!(listed(&anna).len(), 1);
    let mut invite = anna.start(&["invite", "--timeout", "60s"]);
    assert!(invite.line().starts_with("  Tell them:   qpq join "));
    assert!(invite.line().starts_with("  or link:     QPQ:"));
    kill_process(Pid::from_child(&invite.child), Signal::INT).unwrap();
    let ended = invite.output();
    let note = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(
        note,
        "the code is cancelled; the link stays valid: qpq invite list\n"
    );
    assert_eq!(listed(&anna).len(), 2);
}

#[test]
fn eight_links_are_open_at_most_and_a_code_goes_without() {
    let (anna, _) = anna_and_ben();
    for _ in 0..8 {
        invite_by_link(&anna, &[]);
    }
    let full = anna.run(&["invite", "--link"]);
    assert!(full.stdout.is_empty());
    text(full, 2);
    let mut invite = anna.start(&["invite", "--json", "--timeout", "60s"]);
    let told = object(&invite.line());
    assert!(told["code"].is_string() && told.get("link").is_none());
    invite.kill();
}
