//! Many processes on one profile: whoever owns it, everything is shown once, in order.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![cfg(target_os = "linux")]

#[path = "support/owners.rs"]
mod owners;
#[path = "support/people.rs"]
mod people;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    os::unix::fs::{FileTypeExt, MetadataExt},
    process::Stdio,
    time::{Duration, Instant},
};

use owners::{clients, daemon, lines, lock_note, owner, sender, signal, socket};
use people::{PATIENCE, Running, anna_and_ben, code_of, meet, object, text, until};
use rustix::process::Signal;

#[test]
fn several_processes_of_one_profile_work_at_once() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let mut listen = ben.start(&["listen", "--json", "--count", "2", "--timeout", "30s"]);
    let daemon = daemon(&anna);
    assert_eq!(owner(&anna), daemon.child.id());
    for n in ["one", "two"] {
        let sent = text(anna.run(&["send", "ben", n, "--json"]), 0);
        assert_eq!(object(&sent)["state"], "delivered");
        assert_eq!(object(&listen.line())["text"], n);
    }
    assert_eq!(object(&text(anna.run(&["whoami", "--json"]), 0))["name"], "anna");
    assert_eq!(text(anna.run(&["log"]), 0).lines().count(), 2);
    // What does not exist is told in the same words as by an owner of one's own.
    text(anna.run(&["send", "carla", "hi"]), 6);
    assert_eq!(owner(&anna), daemon.child.id());
    listen.ended(0);
    // A socket for its user alone, in a folder for its user alone.
    let found = fs::metadata(socket(&anna)).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.mode() & 0o777, 0o600);
    signal(daemon.child.id(), Signal::TERM);
    daemon.ended(0);
    assert_eq!(lock_note(&anna), (None, None));
    assert!(!anna.home.path().join("default/socket").exists());
}

#[test]
fn twenty_processes_send_at_once_and_everything_arrives_once() {
    const PROCESSES: usize = 20;
    const LINES: usize = 5;
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let count = (PROCESSES * LINES).to_string();
    let listen = ben.start(&["listen", "--json", "--count", &count, "--timeout", "90s"]);
    let mut sending = Vec::new();
    for process in 0..PROCESSES {
        let mut command = anna.command(&["send", "ben", "--lines", "--timeout", "60s"]);
        let piped = command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Running::spawn(piped);
        let mut stdin = running.child.stdin.take().unwrap();
        (0..LINES).for_each(|line| writeln!(stdin, "{process} {line}").unwrap());
        sending.push(running);
    }
    for running in sending {
        assert_eq!(running.ended(0), format!("  {LINES} lines delivered\n"));
    }
    let heard = listen.ended(0);
    let texts: Vec<_> = heard
        .lines()
        .map(|line| object(line)["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(texts.len(), PROCESSES * LINES);
    for process in 0..PROCESSES {
        let of_process = |text: &&String| text.split_once(' ').unwrap().0 == process.to_string();
        let own: Vec<_> = texts.iter().filter(of_process).cloned().collect();
        let expected: Vec<_> = (0..LINES).map(|line| format!("{process} {line}")).collect();
        assert_eq!(own, expected);
    }
}

#[test]
fn listen_goes_on_when_its_owner_is_killed() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let first = daemon(&ben);
    let online = daemon(&anna);
    let (mut listen, heard) = lines(ben.start(&["listen", "--json", "--count", "3", "--timeout", "60s"]));
    let say = |n: &str| text(anna.run(&["send", "ben", n, "--timeout", "30s"]), 0);
    say("one");
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap()["text"], "one");
    first.kill();
    let killed = Instant::now();
    until("another owner", || (owner(&ben) == listen.id()).then_some(()));
    assert!(
        killed.elapsed() < Duration::from_secs(1),
        "{:?}",
        killed.elapsed()
    );
    say("two");
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap()["text"], "two");
    // Beside the new owner as beside the old one.
    assert_eq!(text(ben.run(&["log"]), 0).lines().count(), 2);
    say("three");
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap()["text"], "three");
    assert!(listen.wait().unwrap().success());
    assert!(heard.recv_timeout(PATIENCE).is_err(), "nothing is shown twice");
    online.kill();
}

#[test]
fn nothing_is_lost_or_doubled_while_owners_change() {
    const SENDERS: usize = 3;
    const LINES: usize = 40;
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let count = (SENDERS * LINES).to_string();
    let mut owners = [Some(daemon(&anna)), Some(daemon(&ben))];
    let (mut listen, heard) = lines(ben.start(&["listen", "--json", "--count", &count, "--timeout", "90s"]));
    let mut senders: Vec<_> = (0..SENDERS).map(|_| sender(&anna, "ben")).collect();
    let mut texts = Vec::new();
    for line in 0..LINES {
        for (at, (_, stdin)) in senders.iter_mut().enumerate() {
            writeln!(stdin, "{at} {line}").unwrap();
        }
        // In the middle of what the lines before started.
        if line % 10 == 5 {
            let at = (line / 10) % 2;
            owners[at].take().unwrap().kill();
            owners[at] = Some(daemon([&anna, &ben][at]));
        }
        texts.push(
            heard.recv_timeout(PATIENCE).unwrap()["text"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let mut told = Vec::new();
    for (running, stdin) in senders {
        drop(stdin);
        let sent = running.ended(0);
        assert_eq!(sent.lines().count(), LINES);
        assert!(sent.lines().all(|line| object(line)["state"] == "delivered"));
        told.extend(sent.lines().map(|line| object(line)["id"].to_string()));
    }
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), SENDERS * LINES);
    while texts.len() < SENDERS * LINES {
        texts.push(
            heard.recv_timeout(PATIENCE).unwrap()["text"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    assert!(listen.wait().unwrap().success());
    assert!(heard.recv_timeout(PATIENCE).is_err());
    for at in 0..SENDERS {
        let own: Vec<_> = texts
            .iter()
            .filter(|text| text.starts_with(&format!("{at} ")))
            .collect();
        let expected: Vec<_> = (0..LINES).map(|line| format!("{at} {line}")).collect();
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
    }
    owners.into_iter().flatten().for_each(Running::kill);
}

#[test]
fn an_invite_ends_with_its_process_and_not_with_the_owner() {
    let (anna, ben) = anna_and_ben();
    let first = daemon(&anna);
    // Killed: its code is worth nothing, and the next invite is not in its way.
    let mut killed = anna.start(&["invite", "--json", "--timeout", "60s"]);
    let dead = code_of(&killed.line());
    killed.kill();
    let mut invite = until("another invite", || {
        let mut invite = anna.start(&["invite", "--json", "--timeout", "60s"]);
        let line = invite.line();
        (!line.is_empty()).then_some((invite, line))
    });
    assert_ne!(code_of(&invite.1), dead);
    text(
        ben.run(&["join", &dead, "--timeout", "3s"]),
        if dead.split('-').next() == code_of(&invite.1).split('-').next() {
            5
        } else {
            4
        },
    );
    // The owner is killed: the code goes on.
    first.kill();
    until("another owner", || {
        (owner(&anna) == invite.0.child.id()).then_some(())
    });
    let code = code_of(&invite.1);
    assert_eq!(
        object(&text(ben.run(&["join", &code, "--json"]), 0))["name"],
        "anna"
    );
    let joined = object(&invite.0.line());
    assert_eq!(
        (&joined["type"], &joined["name"]),
        (&"joined".into(), &"ben".into())
    );
    let mut rest = String::new();
    invite.0.stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "the code is told once");
}

#[test]
fn everybody_who_listens_hears_everything() {
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let online = daemon(&anna);
    let daemon = daemon(&ben);
    text(anna.run(&["send", "ben", "before", "--timeout", "30s"]), 0);
    let (mut first, heard) = lines(ben.start(&["listen", "--json", "--count", "41", "--timeout", "60s"]));
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap()["text"], "before");
    let mut command = ben.command(&["chat", "anna", "--json"]);
    let mut chat = Running::spawn(command.stdin(Stdio::piped()).stderr(Stdio::piped()));
    let mut typed = chat.child.stdin.take().unwrap();
    assert_eq!(object(&chat.line())["text"], "before", "of the history");
    writeln!(typed, "and I am here").unwrap();
    assert_eq!(object(&chat.line())["state"], "delivered");
    let (sending, mut stdin) = sender(&anna, "ben");
    (0..40).for_each(|n| writeln!(stdin, "{n}").unwrap());
    drop(stdin);
    sending.ended(0);
    for n in 0..40 {
        assert_eq!(heard.recv_timeout(PATIENCE).unwrap()["text"], n.to_string());
        assert_eq!(object(&chat.line())["text"], n.to_string());
    }
    assert!(first.wait().unwrap().success());
    drop(typed);
    chat.ended(0);
    assert_eq!(
        text(ben.run(&["listen", "--timeout", "1ms"]), 0),
        "",
        "all is read"
    );
    online.kill();
    daemon.kill();
}

#[test]
fn a_client_that_does_not_read_keeps_nobody_waiting_and_loses_nothing_with_the_owner() {
    const LINES: usize = 2_000;
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let daemon = daemon(&anna);
    let mut command = anna.command(&["send", "ben", "--lines", "--wait", "queued"]);
    let mut send = Running::spawn(command.stdin(Stdio::piped()));
    let mut stdin = send.child.stdin.take().unwrap();
    // Far more than a pipe holds.
    (0..LINES).for_each(|n| writeln!(stdin, "{n} {}", "x".repeat(500)).unwrap());
    drop(stdin);
    send.ended(0);
    let mut log = anna.start(&["log", "-n", "0", "--json"]);
    let first = log.line();
    let began = Instant::now();
    text(anna.run(&["whoami"]), 0);
    text(anna.run(&["send", "ben", "last", "--wait", "queued"]), 0);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    daemon.kill();
    let rest = log.ended(0);
    let texts: Vec<_> = [first.as_str()]
        .into_iter()
        .chain(rest.lines())
        .map(|line| object(line)["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(texts.len(), LINES + 1);
    for (n, text) in texts.iter().take(LINES).enumerate() {
        assert!(text.starts_with(&format!("{n} ")), "{n}");
    }
}

/// More than are asked about at once.
#[test]
fn every_line_to_somebody_away_is_told_in_the_end() {
    const LINES: usize = 1_500;
    let (anna, ben) = anna_and_ben();
    meet(&anna, &ben);
    let mut command = anna.command(&["send", "ben", "--lines", "--json", "--timeout", "1s"]);
    let mut send = Running::spawn(command.stdin(Stdio::piped()).stderr(Stdio::null()));
    let mut stdin = send.child.stdin.take().unwrap();
    (0..LINES).for_each(|n| writeln!(stdin, "{n}").unwrap());
    drop(stdin);
    let told: Vec<_> = send.ended(7).lines().map(object).collect();
    assert!(told.iter().all(|sent| sent["state"] == "here"));
    let ids: Vec<_> = told.iter().map(|sent| sent["id"].as_str().unwrap()).collect();
    let logged = text(anna.run(&["log", "ben", "-n", "0", "--json"]), 0);
    let logged: Vec<_> = logged.lines().map(object).collect();
    assert_eq!(logged.len(), LINES);
    for (message, id) in logged.iter().zip(ids) {
        assert_eq!(message["id"], id);
    }
}

#[test]
fn a_join_goes_on_when_its_owner_is_killed() {
    let (anna, ben) = anna_and_ben();
    let daemon = daemon(&ben);
    let mut invite = anna.start(&["invite", "--json", "--timeout", "60s"]);
    let code = code_of(&invite.line());
    // Nobody is found before the owner has changed.
    signal(invite.child.id(), Signal::STOP);
    let join = ben.start(&["join", &code, "--json", "--timeout", "60s"]);
    until("join", || (clients(&ben) > 0).then_some(()));
    daemon.kill();
    until("another owner", || (owner(&ben) == join.child.id()).then_some(()));
    signal(invite.child.id(), Signal::CONT);
    assert_eq!(object(&join.ended(0))["name"], "anna");
    assert_eq!(object(&invite.ended(0))["name"], "ben");
    text(ben.run(&["send", "anna", "hi", "--wait", "queued"]), 0);
}
