//! People, as their users decide about them: links answered, keys that change, blocks, removals, safety numbers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

#[path = "support/people.rs"]
mod people;

use std::time::{Duration, Instant};

use people::{Person, Running, anna_and_ben, code_of, free_port, meet, object, text};
use serde_json::Value;

/// More than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

fn lines(person: &Person, arguments: &[&str], exit: i32) -> Vec<Value> {
    let output = person.command(arguments).env("QPQ_JSON", "1").output().unwrap();
    text(output, exit).lines().map(object).collect()
}

/// The object of a failure.
#[track_caller]
fn failure(person: &Person, arguments: &[&str], exit: i32) -> Value {
    let output = person.command(arguments).env("QPQ_JSON", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {output:?}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    object(str::from_utf8(&output.stderr).unwrap().lines().last().unwrap())
}

fn people_of(person: &Person) -> Vec<(String, String)> {
    let contacts = lines(person, &["contact", "list", "--all"], 0);
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    contacts
        .iter()
        .map(|contact| {
            let state = match &contact["trust"] {
                Value::String(trust) if contact["blocked"] == true => format!("{trust} blocked"),
                Value::String(trust) if contact["removed"] == true => format!("{trust} removed"),
                Value::String(trust) => trust.clone(),
                _ => word(&contact["type"]),
            };
            (word(&contact["name"]), state)
        })
        .collect()
}

fn pairs<const N: usize>(expected: [(&str, &str); N]) -> Vec<(String, String)> {
    expected
        .map(|(name, state)| (name.to_owned(), state.to_owned()))
        .into()
}

fn listen(person: &Person) -> Running {
    person.start(&["listen", "--json", "--timeout", "120s"])
}

/// Reads on until an event of this type.
fn next(listener: &mut Running, wanted: &str) -> Value {
    loop {
        let event = object(&listener.line());
        if event["type"] == wanted {
            return event;
        }
    }
}

fn until(what: &str, such: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !such() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What waits for whom, and why.
fn waits_because(person: &Person, code: &str) -> bool {
    let status = lines(person, &["status"], 0).remove(0);
    let outbox = status["outbox"].as_array().unwrap();
    !outbox.is_empty()
        && outbox
            .iter()
            .all(|queued| queued["waiting"][0]["reason_code"] == code)
}

/// Anna made a link and Ben used it, while Anna listens.
fn asked() -> (Person, Person, Running) {
    let (anna, ben) = anna_and_ben();
    let mut listener = listen(&anna);
    let invite = lines(&anna, &["invite", "--link"], 0).remove(0);
    let link = invite["link"].as_str().unwrap();
    let asked = lines(&ben, &["join", link, "--timeout", "40s"], 0).remove(0);
    assert_eq!(
        (&asked["type"], &asked["name"]),
        (&"asked".into(), &"anna".into())
    );
    assert_eq!(next(&mut listener, "request")["name"], "ben");
    (anna, ben, listener)
}

#[test]
fn a_request_by_link_is_accepted_and_both_talk_unverified() {
    let (anna, ben, mut listener) = asked();
    assert_eq!(people_of(&anna), pairs([("ben", "request")]));
    assert_eq!(people_of(&ben), pairs([("anna", "asked")]));
    assert_eq!(
        failure(&anna, &["send", "ben", "early"], 6)["code"],
        "unknown_chat"
    );
    let mut bens = listen(&ben);
    let accepted = lines(&anna, &["contact", "accept", "ben"], 0).remove(0);
    assert_eq!(
        (&accepted["name"], &accepted["trust"]),
        (&"ben".into(), &"link".into())
    );
    let joined = next(&mut bens, "joined");
    assert_eq!(
        (&joined["name"], &joined["verified"]),
        (&"anna".into(), &false.into())
    );
    assert_eq!(next(&mut listener, "joined")["verified"], false);
    lines(&ben, &["send", "anna", "hi", "--timeout", "40s"], 0);
    let message = next(&mut listener, "message");
    assert_eq!(
        (&message["text"], &message["verified"]),
        (&"hi".into(), &false.into())
    );
    lines(&anna, &["send", "ben", "hi", "--timeout", "40s"], 0);
    assert_eq!(next(&mut bens, "message")["text"], "hi");
    // Nothing is left to decide.
    assert_eq!(
        failure(&anna, &["contact", "accept", "ben"], 6)["code"],
        "nothing_to_decide"
    );
    listener.kill();
    bens.kill();
}

/// Nobody is left where a request is taken off the list, and that is told.
#[test]
fn a_request_can_be_removed_by_either_side() {
    let (anna, ben, listener) = asked();
    let renamed = lines(&anna, &["contact", "rename", "ben", "benjamin"], 0).remove(0);
    assert_eq!(
        (&renamed["type"], &renamed["name"]),
        (&"request".into(), &"benjamin".into())
    );
    for (person, other) in [(&anna, "benjamin"), (&ben, "anna")] {
        let removed = lines(person, &["contact", "remove", other], 0).remove(0);
        assert_eq!(
            (&removed["type"], &removed["name"], &removed["removed"]),
            (&"contact".into(), &other.into(), &true.into())
        );
        assert_eq!(people_of(person), pairs([]));
    }
    listener.kill();
}

/// The answer is kept until the other side is there: after kill -9 of both, too.
#[test]
fn an_answer_to_somebody_who_is_away_reaches_them_later() {
    for accepts in [true, false] {
        let (anna, ben, listener) = asked();
        listener.kill();
        let (verb, told) = if accepts {
            ("accept", "contact")
        } else {
            ("refuse", "refused")
        };
        let decided = lines(&anna, &["contact", verb, "ben"], 0).remove(0);
        assert_eq!(
            (&decided["type"], &decided["name"]),
            (&told.into(), &"ben".into())
        );
        let mut bens = listen(&ben);
        let annas = listen(&anna);
        let answer = next(&mut bens, if accepts { "joined" } else { "declined" });
        assert_eq!(answer["name"], "anna");
        let left = if accepts {
            pairs([("anna", "link")])
        } else {
            vec![]
        };
        assert_eq!(people_of(&ben), left);
        bens.kill();
        annas.kill();
    }
}

#[test]
fn a_new_key_under_a_known_name_is_held_until_the_user_decides() {
    let port = free_port();
    let (anna, ben, other) = (
        Person::new("anna", port),
        Person::new("ben", port),
        Person::new("ben", port),
    );
    meet(&anna, &ben);
    let mut invite = anna.start(&["invite", "--json", "--timeout", "60s"]);
    let code = code_of(&invite.line());
    let asked = object(&text(other.run(&["join", &code, "--json"]), 0));
    assert_eq!(asked["type"], "asked");
    let ended = invite.output();
    assert_eq!(ended.status.code(), Some(5), "{ended:?}");
    let told = object(str::from_utf8(&ended.stderr).unwrap().lines().last().unwrap());
    assert_eq!(told["code"], "key_changed");
    assert!(
        told["hint"].as_str().unwrap().contains("qpq contact replace ben"),
        "{told}"
    );

    let known = people_of(&anna);
    assert_eq!(known, pairs([("ben", "code"), ("ben (new key)", "held")]));
    for chat in ["ben", "ben (new key)"] {
        assert_eq!(
            failure(&anna, &["send", chat, "secret"], 5)["code"],
            "key_changed"
        );
    }
    assert_eq!(
        failure(&anna, &["contact", "accept", "ben"], 5)["code"],
        "key_changed"
    );
    let number = lines(&anna, &["verify", "ben (new key)"], 0).remove(0);
    let number = number["number"].as_str().unwrap();
    assert_eq!(
        failure(&anna, &["verify", "ben (new key)", "--number", number], 5)["code"],
        "key_changed"
    );
    // Whoever listens later learns it, and so does who listens to the name in question alone.
    let mut listener = listen(&anna);
    assert_eq!(next(&mut listener, "held")["name"], "ben (new key)");
    listener.kill();
    let told = lines(&anna, &["listen", "ben", "--timeout", "1ms"], 0).remove(0);
    assert_eq!(told["type"], "held");
    // What the newcomer writes is not shown, not even kept.
    text(other.run(&["send", "anna", "believe me", "--timeout", "1s"]), 6);
    assert_eq!(lines(&anna, &["log"], 0), Vec::<Value>::new());

    let replaced = lines(&anna, &["contact", "replace", "ben"], 0).remove(0);
    assert_eq!(
        (&replaced["name"], &replaced["trust"]),
        (&"ben".into(), &"code".into())
    );
    assert_eq!(
        people_of(&anna),
        pairs([("ben", "code"), ("ben", "code removed")])
    );
    let mut listener = listen(&other);
    lines(&anna, &["send", "ben", "welcome back", "--timeout", "40s"], 0);
    assert_eq!(next(&mut listener, "message")["text"], "welcome back");
    listener.kill();
}

#[test]
fn a_removed_contact_waits_and_says_so() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let annas = listen(&anna);
    lines(&anna, &["contact", "remove", "ben"], 0);
    let renamed = failure(&anna, &["contact", "rename", "ben", "benjamin"], 6);
    assert_eq!(renamed["code"], "unknown_contact");
    assert!(renamed["why"].as_str().unwrap().contains("removed"), "{renamed}");
    let bens = listen(&ben);
    text(ben.run(&["send", "anna", "are you there?", "--timeout", "1s"]), 7);
    until("closes", || waits_because(&ben, "closes"));
    assert_eq!(
        failure(&anna, &["send", "ben", "hi"], 6)["code"],
        "unknown_contact"
    );
    assert_eq!(lines(&anna, &["log"], 0), Vec::<Value>::new());
    // The same two meet again, and what waited arrives.
    bens.kill();
    meet(&anna, &ben);
    let bens = listen(&ben);
    until("the message", || lines(&anna, &["log", "ben"], 0).len() == 1);
    annas.kill();
    bens.kill();
}

/// Nobody is told to wait for what is not sent any more.
#[test]
fn a_message_to_somebody_who_is_removed_meanwhile_is_given_up() {
    for purge in [&[][..], &["--purge"]] {
        let (anna, ben) = anna_and_ben();
        meet(&anna, &ben);
        let sending = anna.start(&["send", "ben", "wait", "--json", "--timeout", "60s"]);
        until("the message", || waits_because(&anna, "away"));
        lines(&anna, &[&["contact", "remove", "ben"], purge].concat(), 0);
        let ended = sending.output();
        assert_eq!(ended.status.code(), Some(7), "{ended:?}");
        let sent = object(str::from_utf8(&ended.stdout).unwrap().trim_end());
        assert_eq!(sent["state"], "failed");
        let told = object(str::from_utf8(&ended.stderr).unwrap().lines().last().unwrap());
        assert_eq!(told["what"], "not delivered");
        if purge.is_empty() {
            assert_eq!(told["why"], "ben: removed by you");
            assert_eq!(lines(&anna, &["log"], 0).len(), 1);
        }
    }
}

#[test]
fn a_blocked_contact_is_shut_out_until_unblocked() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let mut annas = listen(&anna);
    lines(&anna, &["contact", "block", "ben"], 0);
    assert_eq!(people_of(&anna), pairs([("ben", "code blocked")]));
    let bens = listen(&ben);
    text(ben.run(&["send", "anna", "let me in", "--timeout", "2s"]), 7);
    assert_eq!(failure(&anna, &["send", "ben", "no"], 2)["code"], "blocked");
    assert_eq!(lines(&anna, &["log"], 0), Vec::<Value>::new());
    lines(&anna, &["contact", "unblock", "ben"], 0);
    assert_eq!(next(&mut annas, "message")["text"], "let me in");
    annas.kill();
    bens.kill();
}

#[test]
fn safety_numbers_are_equal_and_verify() {
    let (anna, ben, listener) = asked();
    lines(&anna, &["contact", "accept", "ben"], 0);
    listener.kill();
    let (annas, bens) = (listen(&anna), listen(&ben));
    until("ben's contact", || people_of(&ben) == pairs([("anna", "link")]));
    let number = |person: &Person, of: &str| {
        let told = lines(person, &["verify", of], 0).remove(0);
        assert_eq!(told["verified"], false);
        told["number"].as_str().unwrap().to_owned()
    };
    let (one, other) = (number(&anna, "ben"), number(&ben, "anna"));
    assert_eq!(one, other);
    assert_eq!(one.len(), 60);
    let wrong = format!("{}{}", if one.starts_with('0') { 1 } else { 0 }, &one[1..]);
    assert_eq!(
        failure(&anna, &["verify", "ben", "--number", &wrong], 5)["code"],
        "number_mismatch"
    );
    assert_eq!(
        failure(&anna, &["verify", "ben", "--number", "123"], 2)["code"],
        "usage"
    );
    assert_eq!(people_of(&anna), pairs([("ben", "link")]));
    let spaced = one
        .as_bytes()
        .chunks(5)
        .map(|five| str::from_utf8(five).unwrap())
        .collect::<Vec<_>>()
        .join(" ");
    let verified = lines(&anna, &["verify", "ben", "--number", &spaced], 0).remove(0);
    assert_eq!(verified["trust"], "number");
    annas.kill();
    bens.kill();
}

/// Introduced by link, then met: the code verifies what the link could not.
#[test]
fn a_code_verifies_whom_a_link_introduced() {
    let (anna, ben, listener) = asked();
    lines(&anna, &["contact", "accept", "ben"], 0);
    listener.kill();
    let (annas, bens) = (listen(&anna), listen(&ben));
    until("ben's contact", || people_of(&ben) == pairs([("anna", "link")]));
    meet(&anna, &ben);
    assert_eq!(people_of(&anna), pairs([("ben", "code")]));
    assert_eq!(people_of(&ben), pairs([("anna", "code")]));
    annas.kill();
    bens.kill();
}

#[test]
fn names_are_the_users_to_give_and_hostile_ones_are_refused() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let renamed = lines(&anna, &["contact", "rename", "BEN", "benjamin"], 0).remove(0);
    assert_eq!(
        (&renamed["name"], &renamed["display_name"]),
        (&"benjamin".into(), &"ben".into())
    );
    for name in [
        "",
        "anna",
        "a:b",
        "#x",
        "\u{1b}[2J",
        "e\u{202e}vil",
        &"x".repeat(65),
    ] {
        let told = failure(&anna, &["contact", "rename", "benjamin", "--", name], 2);
        assert_eq!(told["code"], "name_taken", "{name:?}");
    }
    for action in [
        "show", "accept", "refuse", "replace", "block", "unblock", "remove",
    ] {
        for nobody in ["nobody", "\u{1b}[31m", "' OR 1=1 --"] {
            let told = failure(&anna, &["contact", action, "--", nobody], 6);
            assert_eq!(told["code"], "unknown_contact", "{action} {nobody:?}");
        }
    }
    assert_eq!(people_of(&anna), pairs([("benjamin", "code")]));
    let purged = lines(&anna, &["contact", "remove", "benjamin", "--purge"], 0).remove(0);
    assert_eq!(
        (&purged["name"], &purged["removed"]),
        (&"benjamin".into(), &true.into())
    );
    assert_eq!(people_of(&anna), pairs([]));
}
