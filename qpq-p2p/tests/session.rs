//! The session on one network that must always work, word for word: two people, two commands each.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/people.rs"]
mod people;

use people::{anna_and_ben, code_of, meet, object, short_id, text};

#[test]
fn two_people_meet_by_a_spoken_code() {
    let (anna, ben) = anna_and_ben();
    let mut invite = anna.start(&["invite", "--timeout", "60s"]);
    let told = invite.line();
    let code = told.strip_prefix("  Tell them:   qpq join ").unwrap();
    let link = invite.line();
    assert!(link.starts_with("  or link:     QPQ:0"), "{link}");
    assert_eq!(invite.line(), "               waiting, 24 h, Ctrl+C cancels");
    let joined = text(ben.run(&["join", code]), 0);
    let expected = format!(
        "  found anna on this network\n  verified by code ✓   anna · {}\n",
        short_id(&anna)
    );
    assert_eq!(joined, expected);
    assert_eq!(invite.ended(0), "  ben joined · verified by code ✓\n");
}

#[test]
fn a_wrong_code_is_exit_5_and_the_right_one_works_after_it() {
    let (anna, ben) = anna_and_ben();
    // Words that exist, but are those of another invite.
    let other = text(ben.run(&["invite", "--json", "--timeout", "1ms"]), 4);
    let other = code_of(&other);
    let (_, other_words) = other.split_once('-').unwrap();
    let mut invite = anna.start(&["invite", "--json", "--timeout", "60s"]);
    let code = code_of(&invite.line());
    let (nameplate, words) = code.split_once('-').unwrap();
    assert_ne!(words, other_words, "one chance in 65,536");
    text(
        ben.run(&["join", &format!("{nameplate}-{other_words}"), "--timeout", "20s"]),
        5,
    );
    assert_eq!(object(&invite.line())["left"], 2);
    text(ben.run(&["join", &code]), 0);
    assert_eq!(object(&invite.ended(0))["type"], "joined");
}

#[test]
fn nobody_under_the_code_is_exit_4() {
    let (_, ben) = anna_and_ben();
    text(ben.run(&["join", "4-otter-violin", "--timeout", "1s"]), 4);
}

#[test]
fn messages_arrive_once_and_in_order_and_are_in_both_logs() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let mut listen = ben.start(&["listen", "--json", "--count", "3", "--timeout", "60s"]);
    for n in ["one", "two", "three"] {
        let sent = object(&text(
            anna.run(&["send", "ben", n, "--json", "--timeout", "30s"]),
            0,
        ));
        assert_eq!(
            (&sent["state"], &sent["recipients"][0]["name"]),
            (&"delivered".into(), &"ben".into())
        );
        let message = object(&listen.line());
        assert_eq!((&message["id"], &message["text"]), (&sent["id"], &n.into()));
        assert_eq!(
            (&message["from"], &message["verified"]),
            (&"anna".into(), &true.into())
        );
    }
    assert_eq!(listen.ended(0), "");
    assert_eq!(text(ben.run(&["listen", "--timeout", "1s"]), 0), "");
    for (person, own) in [(&anna, true), (&ben, false)] {
        let log = text(person.run(&["log", "--json"]), 0);
        let messages: Vec<_> = log.lines().map(object).collect();
        let texts: Vec<_> = messages
            .iter()
            .map(|message| message["text"].as_str().unwrap())
            .collect();
        assert_eq!(texts, ["one", "two", "three"]);
        assert!(messages.iter().all(|message| message.get("own").is_some() == own));
    }
}

#[test]
fn what_is_sent_to_somebody_away_is_exit_7_and_arrives_later() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    text(anna.run(&["send", "ben", "later", "--timeout", "1s"]), 7);
    text(anna.run(&["send", "ben", "and more", "--wait", "queued"]), 0);
    let online = anna.start(&["listen", "--timeout", "30s"]);
    let mut listen = ben.start(&["listen", "--json", "--count", "2", "--timeout", "30s"]);
    assert_eq!(object(&listen.line())["text"], "later");
    assert_eq!(object(&listen.line())["text"], "and more");
    listen.ended(0);
    online.kill();
}

#[test]
fn many_lines_go_through_a_pipe_in_order() {
    const LINES: usize = 500;
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let count = LINES.to_string();
    let mut listen = ben.start(&["listen", "--json", "--count", &count, "--timeout", "60s"]);
    let input = anna.home.path().join("lines");
    let lines: Vec<_> = (0..LINES).map(|n| format!("line {n}")).collect();
    std::fs::write(&input, lines.join("\n\n")).unwrap();
    let mut send = anna.command(&["send", "ben", "--lines", "--timeout", "30s"]);
    let sent = send.stdin(std::fs::File::open(&input).unwrap()).output().unwrap();
    assert_eq!(text(sent, 0), "  500 lines delivered\n");
    for line in &lines {
        assert_eq!(object(&listen.line())["text"], line.as_str());
    }
    listen.ended(0);
}
